"""Two tariffs compared: what they say, and what a single ride costs whom."""

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from fare_rules import CompiledTariff, load_tariff
from fare_rules.ask import Question, ask
from fare_rules.book import load_book
from fare_rules.diff import TariffDiff, as_json, as_text, diff_tariffs
from fare_rules.price_changes import AmountCount, FareChange

HARBOUR = Path(__file__).parent / "harbour"
TARIFFS = Path(__file__).parents[2] / "fare_rules" / "tariffs"
FILE = "2026-01-01.yaml"
STOPS = ("pier", "market", "museum", "tower")

Compare = Callable[..., TariffDiff]


@pytest.fixture(scope="module")
def old() -> CompiledTariff:
    return load_tariff(HARBOUR / FILE)


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """A copy of the harbour's folder with some words of its tariff, or of its links, replaced."""

    def make(*replacements: tuple[str, str], links: tuple[str, str] = ("", "")) -> Path:
        folder = tmp_path / f"changed {len(list(tmp_path.iterdir()))}"
        shutil.copytree(HARBOUR, folder)
        text = (folder / FILE).read_text()
        for before, after in replacements:
            assert text.count(before) == 1, before
            text = text.replace(before, after)
        (folder / FILE).write_text(text)
        table = folder / "links.csv"
        table.write_text(table.read_text().replace(*links) if links[0] else table.read_text())
        return folder

    return make


@pytest.fixture
def compare(old: CompiledTariff, changed: Callable[..., Path]) -> Compare:
    def make(*replacements: tuple[str, str], **said: Any) -> TariffDiff:
        return diff_tariffs(old, load_tariff(changed(*replacements, **said) / FILE))

    return make


def fares(diff: TariffDiff, network: str, **riders: tuple[str, ...]) -> FareChange:
    [found] = [one for one in diff.fares if one.network == network and one.riders == riders]
    return found


def test_a_tariff_is_equal_to_itself_whatever_its_comments_and_numbers_look_like(
    compare: Compare,
):
    diff = compare(
        ("# A small harbour city", "# Another harbour city"),
        ("amount: 2.00}", "amount: 2}"),
        ("{id: bus, taps: board, reference: s.2}", "{reference: s.2, taps: board, id: bus}"),
    )
    assert diff.is_empty
    assert "nothing else" in as_text(diff)


def test_a_changed_key_is_told_with_both_values_and_places(compare: Compare):
    diff = compare(("up_to_km: 5, amount: 3.00", "up_to_km: 5, amount: 3.50"))
    [change] = diff.rules
    assert (change.section, change.id, change.kind) == ("fare_products", "metro_ride", "changed")
    [key] = change.keys
    assert (key.key, key.old, key.new) == ("pricing.bands[5].amount", "3.00", "3.50")
    assert change.old_place == change.new_place != ""
    assert "    pricing.bands[5].amount: 3.00 -> 3.50" in as_text(diff).splitlines()


def test_an_id_that_stands_in_two_sections_is_told_with_the_place_of_each(
    changed: Callable[..., Path],
):
    folder, other = changed(), changed(("board, reference: s.2", "board, reference: s.3"))
    for one in (folder, other):
        (one / FILE).write_text((one / FILE).read_text().replace("bus_ride", "bus"))
    [change] = diff_tariffs(load_tariff(folder / FILE), load_tariff(other / FILE)).rules
    assert (change.section, change.id) == ("networks", "bus")
    lines = (other / FILE).read_text().splitlines()
    assert "reference: s.3" in lines[int(change.new_place.rpartition(":")[2]) - 1]


def test_a_band_more_does_not_shift_the_others(compare: Compare):
    first = "{up_to_km: 2, amount: 2.00}"
    diff = compare((first, f"{{up_to_km: 1, amount: 1.00}}\n        - {first}"))
    keys = [(key.key, key.old, key.new) for key in diff.rules[0].keys]
    assert keys == [
        ("pricing.bands[1].up_to_km", None, "1"),
        ("pricing.bands[1].amount", None, "1.00"),
    ]


def test_rules_may_come_and_go_and_keys_of_the_file_change(compare: Compare):
    rule = "{id: no_exit, networks: [metro, ferry], charge: {kind: amount, amount: 9.00}"
    diff = compare(
        ("Harbour fare notice 2025/11", "Harbour fare notice 2025/12"),
        (rule, rule.replace("no_exit", "half_a_ride")),
    )
    assert [(one.section, one.id, one.kind) for one in diff.rules] == [
        ("tariff", "the file", "changed"),
        ("incomplete_leg_rules", "no_exit", "removed"),
        ("incomplete_leg_rules", "half_a_ride", "added"),
    ]
    removed = diff.rules[1]
    assert ("charge.amount", "9.00", None) in [(k.key, k.old, k.new) for k in removed.keys]
    assert removed.new_place == ""


def test_the_order_of_caps_is_a_meaning(changed: Callable[..., Path]):
    cap = "  - {id: day_cap, period: {kind: service_day}, amount: 10.00, reference: d.1}\n"
    other = cap.replace("day_cap", "week_cap").replace("service_day", "week")
    diff = diff_tariffs(
        load_tariff(changed((cap, cap + other)) / FILE),
        load_tariff(changed((cap, other + cap)) / FILE),
    )
    [change] = diff.rules
    [key] = change.keys
    assert (change.id, key.key) == ("the file", "order of fare_caps")
    assert (key.old, key.new) == ("day_cap, week_cap", "week_cap, day_cap")


def test_each_pair_of_stops_is_counted_once_each_way_by_how_much_it_changed(compare: Compare):
    diff = compare(
        ("up_to_km: 5, amount: 3.00", "up_to_km: 5, amount: 2.00"),
        ("add: 1.00", "add: 2.50"),
    )
    # Of the three of two to five kilometres each way, and those of more.
    found = fares(diff, "metro", rider=("adult",), hours=("any other",))
    distances = {"pier": 0, "market": 1500, "museum": 4000, "tower": 8000}
    metres = [abs(distances[one] - distances[two]) for one, two in permutations(STOPS, 2)]
    cheaper = sum(2000 < each <= 5000 for each in metres)
    dearer = sum(each > 5000 for each in metres)
    assert found.changes == (AmountCount(-100, cheaper), AmountCount(50, dearer))
    assert (found.cheaper_count, found.dearer_count) == (cheaper, dearer)
    assert found.equal_count == len(metres) - cheaper - dearer
    assert (found.max_old_fen, found.max_new_fen) == (400, 450)
    half = fares(diff, "metro", rider=("student",))
    assert [each.change_fen for each in half.changes] == [-50, 25]
    assert f"{cheaper} pairs -1.00, {dearer} pairs +0.50" in as_text(diff)


def test_hours_are_told_apart_where_a_rule_asks_for_them(compare: Compare):
    diff = compare(("percent: 80", "percent: 60"))
    early = fares(diff, "metro", rider=("adult",), hours=("early",))
    assert early.cheaper_count == 12
    # At other hours nothing changed, and a student's half goes by no hour.
    assert not fares(diff, "metro", rider=("adult",), hours=("any other",)).differs
    assert not fares(diff, "metro", rider=("student",)).differs


def test_every_count_agrees_with_the_fares_of_single_rides(changed: Callable[..., Path]):
    folder = changed(
        ("up_to_km: 5, amount: 3.00", "up_to_km: 5, amount: 3.30"), ("percent: 80", "percent: 70")
    )
    books = load_book(HARBOUR), load_book(folder)
    diff = diff_tariffs(books[0].tariffs[0], books[1].tariffs[0])
    hours = {"early": "2026-01-05 06:00", "any other": "2026-01-05 12:00"}
    for rider in ("adult", "student"):
        for hour, at in hours.items():
            changes = []
            for one, other in permutations(STOPS, 2):
                asked = Question(
                    network="metro",
                    at=datetime.fromisoformat(at),
                    from_stop=one,
                    to_stop=other,
                    rider_category=rider,
                )
                old, new = (
                    sum(each.rider_fen for each in ask(book, asked).charges.values())
                    for book in books
                )
                changes.append(new - old)
            [found] = [
                one
                for one in diff.fares
                if one.network == "metro"
                and rider in one.riders.get("rider", (rider,))
                and hour in one.riders.get("hours", (hour,))
            ]
            assert {each.change_fen: each.count for each in found.changes} == {
                change: changes.count(change) for change in set(changes) if change
            }
            assert found.equal_count == changes.count(0)


def test_a_promotion_changes_no_fare_of_a_single_ride(compare: Compare):
    diff = compare(("pays: {kind: amount, amount: 0.01}", "pays: {kind: free}"))
    assert [one.id for one in diff.rules] == ["one_cent"]
    assert not any(one.differs for one in diff.fares)


def test_a_flat_fare_is_one_line(compare: Compare):
    diff = compare(("amount: 1.50", "amount: 1.80"))
    found = fares(diff, "bus", rider=("adult",))
    assert (found.unit, found.max_old_fen, found.max_new_fen) == ("rides", 150, 180)
    assert "  bus, bus_ride: rider adult: 1.50 -> 1.80" in as_text(diff).splitlines()


def test_distances_without_tables_are_compared_at_every_metre_where_a_band_ends(compare: Compare):
    diff = compare(("up_to_km: 4, amount: 4.00", "up_to_km: 5.5, amount: 4.00"))
    found = fares(diff, "ferry", rider=("adult",))
    assert found.unit == "distances"
    ranges = [(one.first, one.last, one.old_fen, one.new_fen) for one in found.ranges]
    assert ranges == [(1, 4000, 400, 400), (4001, 5500, 600, 400), (5501, 8001, 600, 600)]
    assert "    4.001 to 5.5 km: 6.00 -> 4.00 (-2.00)" in as_text(diff).splitlines()


def test_a_network_that_is_new_or_gone_is_counted_as_such(compare: Compare):
    diff = compare(
        ("  - {id: bus, taps: board, reference: s.2}\n", ""),
        ("  - {id: by bus, networks: [bus], product: bus_ride}\n", ""),
        ("    to: {networks: [bus]}\n", ""),
    )
    found = fares(diff, "bus", rider=("adult",))
    assert (found.gone_count, found.new_product, found.max_new_fen) == (1, "", None)


def test_rows_of_a_table_are_counted(compare: Compare):
    diff = compare(links=("market,museum,2500", "market,museum,500\npier,museum,9000"))
    [table] = diff.tables
    assert (table.section, table.id) == ("links", "links.csv")
    assert (table.added_count, table.removed_count, table.changed_count) == (1, 0, 1)
    assert diff.rules == ()
    assert fares(diff, "metro", rider=("adult",), hours=("any other",)).cheaper_count > 0


@pytest.mark.parametrize(
    "path",
    sorted(TARIFFS.glob("*/[0-9]*.yaml")),
    ids=lambda path: f"{path.parent.name} {path.stem}",
)
def test_a_shipped_tariff_is_equal_to_itself_and_has_a_price_for_everybody(path: Path):
    diff = diff_tariffs(load_tariff(path), load_tariff(path))
    assert diff.is_empty
    networks = {one.network for one in diff.fares}
    assert networks == set(load_tariff(path).networks)


def test_fares_that_a_gate_names_are_compared_between_the_places_that_rules_name():
    path = TARIFFS / "luohu" / "2020-10-12.yaml"
    diff = diff_tariffs(load_tariff(path), load_tariff(path))
    assert {one.new_product for one in diff.fares} == {"ride_in_luohu", "ride_elsewhere"}


def test_a_new_line_makes_no_pair_dearer_where_the_old_fare_is_kept(changed: Callable[..., Path]):
    """Source: Shenzhen's rule that a fare falls with a shorter path and never rises."""
    folder = changed(links=("market,museum,2500", "market,museum,700"))
    text = (folder / FILE).read_text()
    later = text.replace("effective_from: 2026-01-01", "effective_from: 2026-07-01")
    later = later.replace("up_to_km: 2, amount: 2.00", "up_to_km: 2, amount: 2.60")
    later = later.replace("currency: SGD", "currency: SGD\nnever_dearer_than: 2026-01-01")
    later = later.replace("links.csv", "more_links.csv")
    (folder / "more_links.csv").write_text((folder / "links.csv").read_text())
    (folder / "links.csv").write_text((HARBOUR / "links.csv").read_text())
    (folder / "2026-07-01.yaml").write_text(later)
    (folder / "examples.yaml").unlink()
    old, new = load_book(folder).tariffs
    found = fares(diff_tariffs(old, new), "metro", rider=("adult",), hours=("any other",))
    # From market to museum it is 700 m and 2.60 now, where 2500 m cost 3.00.
    assert found.changes == (AmountCount(-100, 2), AmountCount(-40, 2))
    assert found.dearer_count == 0


def test_currencies_that_differ_are_not_compared_in_price(compare: Compare):
    diff = compare(("currency: SGD", "currency: MYR"))
    assert diff.fares == ()
    assert "not comparable" in as_text(diff)


def test_json_says_the_same(compare: Compare):
    diff = compare(("amount: 1.50", "amount: 1.80"))
    told = json.loads(as_json(diff))
    assert told["rules"][0]["keys"] == [{"key": "pricing.amount", "old": "1.50", "new": "1.80"}]
    bus = next(
        one
        for one in told["fares"]
        if one["network"] == "bus" and "adult" in one["riders"]["rider"]
    )
    assert (bus["max_old_fen"], bus["max_new_fen"]) == (150, 180)
