"""The made-up city holds together, and a real gateway takes a whole day of it."""

from __future__ import annotations

import contextlib
import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core.taps import Tap
from loadtest.city import City, CityTap
from loadtest.city.hours import PERCENT_BY_HOUR
from loadtest.city.places import STATIONS, centre_of
from loadtest.city.riders import FARES
from tests.conftest import Client

DAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 4, tzinfo=UTC)
LINKS = Path(__file__).parents[2] / "fare_rules/tariffs/shenzhen/links.csv"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others():
    first, again, other = (
        msgspec.json.encode(list(City(seed, riders_count=500).day(DAY))) for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


def test_every_tap_is_a_tap_in_form():
    for tap in City(riders_count=300).day(DAY):
        read = msgspec.json.decode(msgspec.json.encode(tap), type=Tap)
        assert all(getattr(read, name) == getattr(tap, name) for name in CityTap.__struct_fields__)


def test_its_stations_are_those_the_tariff_can_price():
    with LINKS.open() as file:
        rows = list(csv.DictReader(file))
    assert {station for station, _, _ in STATIONS} == {row["from_stop"] for row in rows} | {
        row["to_stop"] for row in rows
    }


def test_taps_come_in_the_order_of_time():
    moments = [tap.tapped_at for tap in City(riders_count=2_000).day(DAY)]
    assert moments == sorted(moments)
    assert moments[0].date() == DAY


@pytest.mark.parametrize("zipf", [0.0, 1.0, 1.2])
def test_every_exit_follows_its_entrance(zipf: float):
    city = City(riders_count=2_000, zipf=zipf)
    for taps in _by_rider([*city.day(DAY, taps_count=10_000)]):
        entered_at: CityTap | None = None
        left_at: CityTap | None = None
        for tap in taps:
            if tap.action == "enter":
                entered_at = tap
            elif tap.action == "exit":
                if entered_at is None:
                    assert left_at, f"{tap} has no entrance"
                    assert _is_double(left_at, tap), f"{tap} has no entrance"
                else:
                    assert tap.stop_id != entered_at.stop_id
                    assert tap.tapped_at - entered_at.tapped_at < timedelta(minutes=180)
                entered_at, left_at = None, tap


def test_riders_go_to_work_and_come_home():
    there_and_back = 0
    for taps in _by_rider([*City(riders_count=1_000).day(DAY)]):
        stops = [tap.stop_id for tap in taps if tap.stop_id]
        there_and_back += len(stops) == 4 and stops[:2] == stops[:1:-1]
    assert there_and_back > 500  # of about 580 who ride the metro; some exits are lost


def test_shares_are_near_what_was_asked():
    city = City(riders_count=20_000)
    fares = Counter(
        (media["rider_category"], media["fare_media"])
        for wallet in city.wallets()
        for media in wallet["media"]
    )
    for fare, per_1000 in FARES.items():
        assert fares[fare] / 20 == pytest.approx(per_1000, abs=12)
    taps = [*city.day(DAY)]
    hours = Counter(tap.tapped_at.hour for tap in taps)
    best_hour = PERCENT_BY_HOUR.index(max(PERCENT_BY_HOUR)) + 4
    assert hours.most_common(1)[0][0] == best_hour
    boards = [tap for tap in taps if tap.action == "board"]
    assert len(boards) / len(taps) == pytest.approx(0.36, abs=0.03)
    assert sum(tap.offline for tap in boards) / len(boards) == pytest.approx(0.05, abs=0.03)
    assert not any(tap.offline for tap in taps if tap.action != "board")
    doubles = sum(_is_double(*two) for one in _by_rider(taps) for two in pairwise(one))
    assert doubles / (len(taps) - len(boards)) == pytest.approx(0.01, abs=0.003)


@pytest.mark.parametrize("asked_count", [1_000, 50_000])
def test_a_day_has_about_as_many_taps_as_asked(asked_count: int):
    taps = [*City(riders_count=20_000).day(DAY, taps_count=asked_count)]
    assert len(taps) == pytest.approx(asked_count, rel=0.05)


def test_neither_tap_ids_nor_sequences_ever_clash():
    """Over days, parts and streams of one city; and ids over cities as well."""
    parts = [City(riders_count=1_000, part=part, parts_count=3) for part in range(3)]
    other = City(2, riders_count=1_000)
    taps = []
    for city in parts:
        taps += [*city.day(DAY), *city.day(DAY + timedelta(days=1))]
        taps += islice(city.stream(NOON + timedelta(days=9), 100), 2_000)
    assert len({(tap.gate_id, tap.sequence) for tap in taps}) == len(taps)
    taps += other.day(DAY)
    assert len({tap.tap_id for tap in taps}) == len(taps)


def test_each_gate_counts_up_by_one():
    numbers = defaultdict(list)
    for tap in City(riders_count=1_000).day(DAY):
        numbers[tap.gate_id].append(tap.sequence)
    assert all(second == first + 1 for one in numbers.values() for first, second in pairwise(one))


def test_parts_of_a_city_share_no_rider_and_no_gate():
    gates, riders = [], []
    for part in range(4):
        taps = [*City(riders_count=2_000, part=part, parts_count=4).day(DAY)]
        gates.append({tap.gate_id for tap in taps})
        riders.append({tap.media_token for tap in taps})
    for sets in (gates, riders):
        assert sum(len(one) for one in sets) == len(set().union(*sets))
    assert len(set().union(*riders)) == 2_000


def test_each_tap_has_a_wallet_a_gate_and_a_stop_or_route_in_the_registry():
    city = City(riders_count=500, bus_operators_count=13)
    registry = city.registry()
    assert max(len(records) for records in registry.values()) <= 1_000
    known = {kind: {r[f"{kind[:-1]}_id"] for r in registry[kind]} for kind in registry}
    tokens = {media["media_token"] for wallet in city.wallets() for media in wallet["media"]}
    for tap in city.day(DAY):
        assert tap.gate_id in known["gates"]
        assert tap.media_token in tokens
        assert tap.stop_id in known["stops"] or tap.route_id in known["routes"]


def test_a_steady_stream_passes_through_simulated_days():
    city = City(riders_count=1_000)
    taps = [*islice(city.stream(NOON, 0.05), 10_000)]
    assert all(
        tap.tapped_at == NOON + timedelta(seconds=number / 0.05) for number, tap in enumerate(taps)
    )
    assert Counter(tap.action for tap in taps)["exit"] > 2_500


def test_zipf_makes_few_riders_ride_most():
    even = Counter(tap.media_token for tap in City(riders_count=2_000).day(DAY, taps_count=20_000))
    city = City(riders_count=2_000, zipf=1.0)
    uneven = Counter(tap.media_token for tap in city.day(DAY, taps_count=20_000))
    assert _share_of_first(uneven, 20) > 5 * _share_of_first(even, 20)


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"riders_count": 0},
        {"bus_operators_count": 14},
        {"parts_count": 5},
        {"part": 1},
        {"zipf": -0.5},
    ],
)
def test_a_city_that_cannot_be_is_refused_by_name(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        City(**wrong)


async def test_a_gateway_takes_a_whole_day_and_refuses_double_beeps_alone(
    open_door: Callable[..., contextlib.AbstractAsyncContextManager[Client]],
):
    city = City(riders_count=400, bus_operators_count=3)
    taps = [*city.day(DAY)]
    async with open_door(tap_age_days_max=36_500) as client:
        await _register(city, client)
        outcomes: Counter[str] = Counter()
        # The radio first; then, at night, what buses without it have stored.
        for is_offline in (False, True):
            for some in _hundreds(tap for tap in taps if tap.offline == is_offline):
                outcomes += await _post(some, city, client)
    doubles = Counter(
        second.action
        for one in _by_rider(taps)
        for first, second in pairwise(one)
        if _is_double(first, second)
    )
    assert outcomes.total() == len(taps)
    assert doubles.total()
    assert outcomes == {
        "leg_opened": sum(tap.action == "enter" for tap in taps) - doubles["enter"],
        "ride_charged": sum(tap.action != "enter" for tap in taps) - doubles["exit"],
        "passed_back": doubles["enter"],
        "double_beep": doubles["exit"],
    }


async def _register(city: City, client: Client) -> None:
    registry = city.registry()
    said = await client.ask("POST", "/v1/registry", registry)
    assert said.status == 200, said.body
    centres = [centre_of(one["operator_id"]) for one in registry["operators"]]
    said = await client.ask("POST", "/v1/gate-keys", {"gate_ids": centres})
    for key in said.message["keys"]:
        client.keys[key["gate_id"]] = (key["key_id"], bytes.fromhex(key["secret"]))
    said = await client.ask("POST", "/v1/wallets", [*city.wallets()])
    assert said.status == 200, said.body
    await client.api.door.registry.refresh()


async def _post(taps: Iterable[CityTap], city: City, client: Client) -> Counter[str]:
    """Each operator's centre sends what its gates have told it."""
    operators = {gate.gate_id: gate.operator_id for gate in city.places.gates}
    of_centre = defaultdict(list)
    for tap in taps:
        of_centre[centre_of(operators[tap.gate_id])].append(msgspec.to_builtins(tap))
    outcomes: Counter[str] = Counter()
    for centre, theirs in of_centre.items():
        said = await client.post_taps(theirs, gate_id=centre)
        assert said.status == 200, said.body
        outcomes.update(result["outcome"] for result in said.message)
    return outcomes


def _by_rider(taps: Iterable[CityTap]) -> Iterator[list[CityTap]]:
    of_rider = defaultdict(list)
    for tap in taps:
        of_rider[tap.media_token].append(tap)
    yield from of_rider.values()


def _is_double(first: CityTap, second: CityTap) -> bool:
    return (
        first.action != "board"
        and (first.action, first.stop_id) == (second.action, second.stop_id)
        and second.tapped_at - first.tapped_at <= timedelta(seconds=5)
    )


def _share_of_first(counts: Counter[str], count: int) -> float:
    return sum(n for _, n in counts.most_common(count)) / counts.total()


def _hundreds(taps: Iterator[CityTap]) -> Iterator[list[CityTap]]:
    while some := list(islice(taps, 100)):
        yield some
