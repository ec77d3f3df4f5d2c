"""The worked cases of promotions and settlement as gates and desks meet them: over HTTP.

Each names its number, ECN-* or SET-*, and ends with an audit that passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gateway.audit_path import run_audit
from gateway.purse_path import run_expiry

TARIFFS = Path(__file__).parents[2] / "fare_rules" / "tariffs"
HARBOUR = Path(__file__).parents[1] / "stories" / "harbour"
BEIJING = ("subway", "airport_line")
ALIKE = """
agreements:
  - id: alike
    reference: k.1
    by: table
    products: [metro_ride]
    weights: [{operator: metro, weight: 1}, {operator: buses, weight: 1}, {operator: ferry, weight: 1}]
"""  # noqa: E501


@contextlib.asynccontextmanager
async def opened(
    open_door, tariffs: Path, networks: tuple[str, ...] = ("metro",)
) -> AsyncIterator[Any]:
    """A gateway that takes taps of any age, with gates of metro's on some networks."""
    gates = [
        {
            "gate_id": f"{network} {action}",
            "operator_id": "metro",
            "network": network,
            "concentrator_id": "futian-station",
        }
        for network in networks
        for action in ("enter", "exit")
    ]
    operators = [{"operator_id": name, "name": name} for name in ("icbc", "ccb", "ferry")]
    city = {"operators": operators, "stops": [{"stop_id": "laojie"}], "gates": gates}
    async with open_door(
        tariffs_dir=tariffs, tap_age_days_max=10_000, retention_days=10_002
    ) as door:
        said = await door.ask("POST", "/v1/registry", city)
        assert said.status == 200, said.body
        yield door
        report = await run_audit(door.api.pool, door.api.book)
        assert report.is_passed, "\n".join(report.lines())


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"{clock}+08:00")


def both_ends(
    door, token: str, network: str, since: datetime, until: datetime, **more: Any
) -> list[dict[str, Any]]:
    """A ride's two taps; the exit names the fare, if there is one."""
    ends = (("enter", since, {"full_fare": None}), ("exit", until, {"full_fare": None, **more}))
    return [
        door.tap(
            gate_id=f"{network} {action}", action=action, stop_id="laojie", route_id=None,
            media_token=token, tapped_at=moment.isoformat(), **{"offline": False, **said},
        )
        for action, moment, said in ends
    ]  # fmt: skip


async def send(door, taps: Any) -> list[dict[str, Any]]:
    said = await door.post_taps(taps, gate_id="futian-station")
    assert said.status == 200, said.body
    return said.message if isinstance(taps, list) else [said.message]


async def paid_for(door, token: str, network: str, clock: str, **more: Any) -> dict[str, int]:
    """Who paid how much for a ride of ten minutes."""
    since = at(clock)
    taps = both_ends(door, token, network, since, since + timedelta(minutes=10), **more)
    answers = await send(door, taps)
    assert [one["outcome"] for one in answers] == ["leg_opened", "ride_charged"], answers
    return {payer["account"]: payer["amount_fen"] for payer in answers[1]["payers"]}


def wallet_of(token: str, fen: int, media: str = "ecny", **more: Any) -> dict[str, Any]:
    """A wallet to open, with one card or phone."""
    top_up = {"top_up_id": str(uuid4()), "amount_fen": fen}
    bound = [{"media_token": token, "fare_media": media}]
    return {"wallet_id": str(uuid4()), "media": bound, "top_up": top_up, **more}


async def open_wallets(door, *wallets: dict[str, Any]) -> None:
    said = await door.ask("POST", "/v1/wallets", wallets)
    assert said.status == 200, said.body


async def claim(door, wallet: dict[str, Any], promotion_id: str, clock: str) -> None:
    token = wallet["media"][0]["media_token"]
    path = f"/v1/wallets/{wallet['wallet_id']}/media/{token}/coupons"
    coupon = {"promotion_id": promotion_id, "activated_at": at(clock).isoformat()}
    said = await door.ask("POST", path, coupon)
    assert said.status == 200, said.body


async def close(door, day: str) -> dict[str, dict[str, Any]]:
    said = await door.ask("POST", "/v1/settlements", {"service_day": day})
    assert said.status == 200, said.body
    return {batch["operator_id"]: batch for batch in said.message["batches"]}


async def lines(door, day: str, name: str) -> list[dict[str, str]]:
    said = await door.ask("GET", f"/v1/settlements/{day}/files/{name}")
    assert said.status == 200, said.body
    return list(csv.DictReader(io.StringIO(said.body.decode(), newline=""), strict=True))


@pytest.mark.parametrize(
    ("network", "fare", "payers"),
    [
        pytest.param("subway", 300, {"purse": 1, "sponsor:icbc": 299}, id="ECN-01"),
        pytest.param("subway", 500, {"purse": 1, "sponsor:icbc": 499}, id="ECN-02"),
        pytest.param("subway", 1_000, {"purse": 1, "sponsor:icbc": 999}, id="ECN-03"),
        pytest.param("airport_line", None, {"purse": 2_500}, id="ECN-06"),
    ],
)
async def test_a_coupon_of_the_bank_makes_one_subway_ride_cost_a_cent(
    open_door, network: str, fare: int | None, payers: dict[str, int]
):
    async with opened(open_door, TARIFFS / "beijing", BEIJING) as door:
        wallet = wallet_of("phone", 3_000, issuer_id="icbc")
        await open_wallets(door, wallet)
        await claim(door, wallet, "one_cent_icbc", "2021-10-12T09:00")
        assert await paid_for(door, "phone", network, "2021-10-14T08:00", full_fare=fare) == payers


async def test_the_seventh_ride_after_six_coupons_costs_the_full_fare(open_door):
    """ECN-07."""
    async with opened(open_door, TARIFFS / "changzhou") as door:
        wallet = wallet_of("phone", 3_000, issuer_id="ccb")
        await open_wallets(door, wallet)
        await claim(door, wallet, "one_cent_ccb", "2023-03-01T10:00")
        paid = [
            await paid_for(door, "phone", "metro", f"2023-03-06T{hour:02}:00", full_fare=400)
            for hour in range(8, 15)
        ]
        assert paid == [{"purse": 1, "sponsor:ccb": 399}] * 6 + [{"purse": 400}]


async def test_an_envelope_pays_in_part_until_its_end_and_the_main_purse_after_it(open_door):
    """ECN-08 and ECN-09. The envelope's end lies ahead of now, by less than gates' clocks may."""
    async with opened(open_door, TARIFFS / "luohu") as door:
        wallet = wallet_of("phone", 1_000)
        await open_wallets(door, wallet)
        path = f"/v1/wallets/{wallet['wallet_id']}"
        ends = datetime.now(UTC) + timedelta(seconds=90)
        grant = {"grant_id": str(uuid4()), "rule_id": "envelope", "funder_id": "luohu_district",
                 "amount_fen": 20_000, "valid_until": ends.isoformat()}  # fmt: skip
        said = await door.ask("POST", f"{path}/grants", grant)
        assert said.status == 200, said.body

        async def ride_until(moment: datetime) -> tuple[int, list[int]]:
            since = moment - timedelta(seconds=30)
            await send(door, both_ends(door, "phone", "metro", since, moment, full_fare=475))
            held = (await door.ask("GET", path)).message
            return held["balance_fen"], [one["held_fen"] for one in held["purses"]]

        assert await ride_until(ends - timedelta(seconds=60)) == (1_000, [19_525])
        assert await ride_until(ends + timedelta(seconds=60)) == (525, [19_525])
        returned = await run_expiry(door.api.pool, door.api.book, ends + timedelta(seconds=60))
        assert returned.amount_fen == 19_525
        held = (await door.ask("GET", path)).message
        assert (held["balance_fen"], held.get("purses", [])) == (525, [])


async def test_an_envelope_does_not_lift_a_wallet_above_its_class(open_door):
    """ECN-10."""
    async with opened(open_door, TARIFFS / "luohu") as door:
        wallet = wallet_of("phone", 900_000, class_id="class_4")
        await open_wallets(door, wallet)
        grant = {"grant_id": str(uuid4()), "rule_id": "envelope", "funder_id": "luohu_district",
                 "amount_fen": 150_000}  # fmt: skip
        path = f"/v1/wallets/{wallet['wallet_id']}"
        (await door.ask("POST", f"{path}/grants", grant)).check_problem(409, "balance_limit")
        assert (await door.ask("GET", path)).message["balance_fen"] == 900_000


async def test_the_eleventh_ride_without_a_network_waits_for_a_check(open_door):
    """ECN-11."""
    async with opened(open_door, TARIFFS / "changzhou") as door:
        await open_wallets(door, wallet_of("phone", 100_000, class_id="class_4"))
        outcomes = []
        for hour in range(11):
            since = datetime.now(UTC) - timedelta(hours=12 - hour)
            taps = both_ends(
                door, "phone", "metro", since, since + timedelta(minutes=20), full_fare=400
            )
            answers = await send(door, [{**tap, "offline": True} for tap in taps])
            outcomes.append([one["outcome"] for one in answers])
        assert outcomes[:10] == [["leg_opened", "ride_charged"]] * 10
        assert outcomes[10][0] == "verification_required"


async def test_three_operators_of_equal_weight_share_ten_yuan_to_the_fen(open_door, tmp_path: Path):
    """SET-02."""
    tariffs = tmp_path / "tariffs"
    tariffs.mkdir()
    (tariffs / "2018-08-01.yaml").write_bytes((HARBOUR / "2018-08-01.yaml").read_bytes())
    (tariffs / "clearing.yaml").write_text(ALIKE)
    async with opened(open_door, tariffs) as door:
        await open_wallets(door, wallet_of("phone", 3_000, "qr"))
        await paid_for(door, "phone", "metro", "2018-08-31T08:00", full_fare=1_000)
        batches = await close(door, "2018-08-31")
        due = {name: one["gross_fen"] + one["shared_fen"] for name, one in batches.items()}
        assert due == {"buses": 334, "ferry": 333, "metro": 333}


async def test_a_thousand_rides_of_a_cent_are_one_invoice(open_door):
    """SET-03: ECN-02, a thousand times on one day."""
    async with opened(open_door, TARIFFS / "beijing", BEIJING) as door:
        wallets = [wallet_of(f"phone {n}", 3_000, issuer_id="icbc") for n in range(1_000)]
        for some in in_parts(wallets, 200):
            await open_wallets(door, *some)
            await asyncio.gather(
                *(claim(door, one, "one_cent_icbc", "2021-10-12T09:00") for one in some)
            )
        since = at("2021-10-14T08:00")
        taps = [
            both_ends(
                door, one["media"][0]["media_token"], "subway",
                since + timedelta(seconds=number), since + timedelta(minutes=30, seconds=number),
                full_fare=500,
            )
            for number, one in enumerate(wallets)
        ]  # fmt: skip
        for some in in_parts(taps, 250):
            await send(door, [tap for ride in some for tap in ride])
        batches = await close(door, "2021-10-14")
        assert batches["metro"]["paid_fen"] == 500_000
        (invoice,) = await lines(door, "2021-10-14", "invoices.csv")
        assert (invoice["sponsor_id"], invoice["amount_fen"]) == ("icbc", "499000")
        assert (await door.books())["balances_fen"] == 1_000 * 3_000 - 1_000


async def test_a_tap_that_comes_after_its_days_close_is_settled_with_the_next(open_door):
    """SET-04: event day 31 August, settlement day 1 September."""
    async with opened(open_door, HARBOUR) as door:
        await open_wallets(door, wallet_of("phone", 3_000, "qr"))
        assert await close(door, "2018-08-31") == {}
        tap = door.tap(
            media_token="phone", tapped_at=at("2018-08-31T22:14:50").isoformat(), full_fare=200
        )
        assert (await door.post_taps(tap)).message["outcome"] == "ride_charged"
        assert await close(door, "2018-08-31") == {}
        assert (await close(door, "2018-09-01"))["buses"]["paid_fen"] == 200
        (line,) = await lines(door, "2018-09-01", "operator_buses.csv")
        assert line["tap_id"] == tap["tap_id"]
        assert (line["service_day"], line["settlement_day"]) == ("2018-08-31", "2018-09-01")


async def test_a_row_that_is_uploaded_twice_is_debited_once(open_door):
    """SET-05: the same card, time, device and sequence; sent again, or under another id."""
    async with opened(open_door, HARBOUR) as door:
        await open_wallets(door, wallet_of("DIBHICCCI", 3_000, "card"))
        row = door.tap(
            media_token="DIBHICCCI", tapped_at=at("2018-09-01T09:42:31").isoformat(), full_fare=200
        )
        first = await door.post_taps(row)
        assert first.message["outcome"] == "ride_charged"
        assert (await door.post_taps(row)).body == first.body
        again = await door.post_taps([row, row, {**row, "tap_id": str(uuid4())}])
        outcomes = [one["outcome"] for one in again.message]
        assert outcomes == ["ride_charged", "ride_charged", "sequence_reused"]
        books = await door.books()
        assert books["balances_fen"] == 3_000 - 200


def in_parts(found: list[Any], size: int) -> list[list[Any]]:
    return [found[start : start + size] for start in range(0, len(found), size)]
