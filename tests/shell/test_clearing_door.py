"""A close with agreements, fees, holds and an invoice, over HTTP on a real database."""

from __future__ import annotations

import csv
import io
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gateway.verify_commands import verify

SHARED = Path(__file__).parents[1] / "stories" / "harbour_shared"


@pytest.fixture
async def yesterday() -> datetime:
    """Three in the afternoon of yesterday at the harbour."""
    return (datetime.now(UTC) - timedelta(days=1)).replace(hour=7, minute=0, microsecond=0)


async def ridden(door, at: datetime) -> str:
    """A wallet that went by metro for 3.00, then by bus for 1.50, its change being 0.50 less."""
    wallet_id = await door.open_wallet(fen=10_000, issuer_id="metro")
    grant = {"grant_id": str(uuid4()), "rule_id": "gift", "funder_id": "icbc", "amount_fen": 100}
    valid = {"valid_from": (at - timedelta(hours=1)).isoformat()}
    said = await door.ask("POST", f"/v1/wallets/{wallet_id}/grants", {**grant, **valid})
    assert said.status == 200, said.body
    taps = [
        door.metro_tap("enter", tapped_at=at.isoformat(), offline=True),
        door.metro_tap(
            "exit",
            stop_id="futian",
            tapped_at=(at + timedelta(minutes=20)).isoformat(),
            offline=True,
        ),
        door.tap(tapped_at=(at + timedelta(minutes=30)).isoformat(), offline=True, full_fare=None),
    ]
    outcomes = [(await door.post_taps(tap)).message["outcome"] for tap in taps]
    assert outcomes == ["leg_opened", "ride_charged", "ride_charged"]
    return wallet_id


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))


async def fetched(door, day: str, name: str) -> list[dict[str, str]]:
    said = await door.ask("GET", f"/v1/settlements/{day}/files/{name}")
    assert said.status == 200, said.body
    return rows(said.body)


async def test_a_change_is_borne_by_the_leg_before_and_fees_are_netted(
    open_door, yesterday: datetime, tmp_path: Path
):
    async with open_door(tariffs_dir=SHARED, data_dir=tmp_path) as door:
        city = {"operators": [{"operator_id": "icbc", "name": "ICBC", "bank_account": "CN003"},
                              *[{"operator_id": name, "name": name} for name in ("ferry", "bus", "tram")]]}  # noqa: E501  # fmt: skip
        assert (await door.ask("POST", "/v1/registry", city)).status == 200
        await ridden(door, yesterday)
        day = str((yesterday + timedelta(hours=8)).date())
        settlement = (await door.ask("POST", "/v1/settlements", {"service_day": day})).message
        batches = {batch["operator_id"]: batch for batch in settlement["batches"]}
        assert {name: (b["gross_fen"], b["shared_fen"], b["fees_fen"], b["paid_fen"])
                for name, b in batches.items()} == {
            "metro": (300, -50, -3, 247),
            "buses": (150, 50, 0, 200),
            "icbc": (0, 0, 3, 3),
        }  # fmt: skip
        shared = await fetched(door, day, "clearing_buses.csv")
        assert [(row["agreement_id"], row["amount_fen"]) for row in shared] == [("changes", "50")]
        institutions = await fetched(door, day, "institutions.csv")
        assert [
            (row["issuer_id"], row["operator_id"], row["amount_fen"]) for row in institutions
        ] == [("metro", "buses", "150"), ("metro", "metro", "300")]
        folder = door.api.settings.settlement_dir
        keys = str(folder / "keys.json")
        own = folder / day / "operators"
        assert verify(folder / day, *own.iterdir(), key=keys) == 0
        fees = await fetched(door, day, "fees.csv")
        assert [(row["operator_id"], row["amount_fen"]) for row in fees] == [("metro", "3")]
        for name in ("metro", "icbc"):
            assert rows((own / name / f"fees_{name}.csv").read_bytes()) == fees
        assert not (own / "buses" / "fees_buses.csv").exists()
        own = f"/v1/settlements/{day}/operators/buses/files/manifest.json"
        assert (await door.ask("GET", own, who="finance")).status == 200
        head = (await door.ask("GET", "/v1/settlements/head")).message
        assert head["manifest_sha256"] in (await door.ask("GET", own)).body.decode()
        again = await door.ask("POST", "/v1/settlements", {"service_day": day})
        assert again.message == settlement


@pytest.mark.parametrize(
    "terms",
    [
        "agreements: [{id: a, reference: x, by: own_fare, operators: [bus]}]",
        "fees: [{id: a, reference: x, paid_to: metro, percent: 1, operators: [bus]}]",
        "fees: [{id: a, reference: x, paid_to: metro, percent: 1, issuers: [bus]}]",
    ],
)
async def test_nothing_is_closed_while_terms_name_somebody_unknown(
    open_door, yesterday: datetime, tmp_path: Path, terms: str
):
    """The operator is called buses here; read over, its fee would simply not be taken."""
    folder = tmp_path / "tariffs"
    shutil.copytree(SHARED, folder)
    (folder / "clearing.yaml").write_text(terms)
    async with open_door(tariffs_dir=folder, data_dir=tmp_path) as door:
        day = str((yesterday + timedelta(hours=8)).date())
        said = await door.ask("POST", "/v1/settlements", {"service_day": day})
        assert said.status == 409
        assert "clearing.yaml names bus, which is not registered" in said.message["detail"]


async def test_a_grant_of_today_is_on_no_invoice_of_yesterday(
    open_door, yesterday: datetime, tmp_path: Path
):
    async with open_door(tariffs_dir=SHARED, data_dir=tmp_path) as door:
        names = ("icbc", "ferry", "bus", "tram")
        city = {"operators": [{"operator_id": name, "name": name} for name in names]}
        assert (await door.ask("POST", "/v1/registry", city)).status == 200
        await ridden(door, yesterday)
        today = str((datetime.now(UTC) + timedelta(hours=4)).date())
        pool = door.api.pool
        owed = await pool.fetchval(
            "SELECT -sum(amount_fen)::bigint FROM posting WHERE account = 'sponsor:icbc'"
        )
        assert owed == 100
        # The grant was booked today, so it is invoiced with today's close, not yesterday's.
        day = str((yesterday + timedelta(hours=8)).date())
        await door.ask("POST", "/v1/settlements", {"service_day": day})
        said = await door.ask("GET", f"/v1/settlements/{day}/files/invoices.csv")
        assert said.status == 404
        assert today > day


async def test_a_payout_is_held_by_one_and_let_go_by_another(
    open_door, yesterday: datetime, tmp_path: Path
):
    async with open_door(tariffs_dir=SHARED, data_dir=tmp_path) as door:
        names = ("icbc", "ferry", "bus", "tram")
        city = {"operators": [{"operator_id": name, "name": name} for name in names]}
        assert (await door.ask("POST", "/v1/registry", city)).status == 200
        await ridden(door, yesterday)
        hold: dict[str, Any] = {
            "hold_id": str(uuid4()), "operator_id": "metro", "reason": "a dispute about line 1"
        }  # fmt: skip
        for _ in range(2):
            assert (await door.ask("POST", "/v1/payout-holds", hold)).status == 200
        path = f"/v1/payout-holds/{hold['hold_id']}/release"
        (await door.ask("POST", path)).check_problem(409, "same_person")
        day = (yesterday + timedelta(hours=8)).date()
        wish = {"service_day": str(day)}
        settlement = (await door.ask("POST", "/v1/settlements", wish)).message
        batches = {batch["operator_id"]: batch for batch in settlement["batches"]}
        assert (batches["metro"]["unpaid_reason"], batches["metro"]["carried_out_fen"]) == (
            "held", 247,
        )  # fmt: skip
        released = await door.ask("POST", path, who="finance")
        assert released.message["released_by"] != released.message["held_by"]
        assert len((await door.ask("GET", "/v1/payout-holds")).message) == 1


async def test_a_settlement_file_is_served_as_written_and_made_again_where_it_is_not_so(
    open_door, yesterday: datetime, tmp_path: Path
):
    async with open_door(data_dir=tmp_path) as door:
        await door.open_wallet()
        said = await door.post_taps(door.tap(tapped_at=yesterday.isoformat(), offline=True))
        assert said.message["outcome"] == "ride_charged"
        day = str(door.api.book.service_day_of(yesterday))
        assert (await door.ask("POST", "/v1/settlements", {"service_day": day})).status == 200
        folder = door.api.settings.settlement_dir / day
        names = [path.name for path in folder.iterdir() if path.is_file()]
        assert {"totals.csv", "manifest.json", "manifest.sig"} <= set(names)
        for name in names:
            found = await door.ask("GET", f"/v1/settlements/{day}/files/{name}")
            assert found.body == (folder / name).read_bytes()
        totals = folder / "totals.csv"
        written = totals.read_bytes()
        totals.write_bytes(b"edited")
        assert (await door.ask("GET", f"/v1/settlements/{day}/files/totals.csv")).body == written
        totals.unlink()
        assert (await door.ask("GET", f"/v1/settlements/{day}/files/totals.csv")).body == written
        for name in ("nothing.csv", "..%2Fkeys.json", "operators%2Fbuses%2Fmanifest.json"):
            missed = await door.ask("GET", f"/v1/settlements/{day}/files/{name}")
            missed.check_problem(404, "not_found")
