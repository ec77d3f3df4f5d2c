"""A ride that no gate saw, over HTTP: proposed, agreed to, paid, exported, settled and undone."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from _refund_desk import NOON, at

from gateway.audit_path import run_audit
from gateway.export_commands import export_trips
from gateway.settlement_path import debtor_of, run_settlement_close

STORIES = Path(__file__).parents[1] / "stories"


async def missing(
    door: Any, wallet_id: str, minutes: int, *, who: str = "desk", **told: Any
) -> Any:
    """A metro ride of 20 minutes, from Luohu to Futian."""
    wish = {
        "correction_id": str(uuid4()),
        "wallet_id": wallet_id,
        "kind": "missing_ride",
        "reason": "gate_fault",
        "note": "receipt of gate luohu-in, its screen was dark",
        "media_token": "card-1",
        "gate_id": "luohu-in",
        "stop_id": "luohu",
        "since": at(minutes),
        "exit_stop_id": "futian",
        "until": at(minutes + 20),
    }
    return await door.ask("POST", "/v1/corrections", {**wish, **told}, who=who)


async def check_audit(door: Any) -> None:
    report = await run_audit(door.api.pool, door.api.book)
    assert report.is_passed, "\n".join(report.lines())


async def test_it_is_booked_when_another_person_agrees_and_never_was_when_undone(
    open_door, server_dsn: str, tmp_path: Path
):
    async with open_door(tariffs_dir=STORIES / "harbour", correction_unchecked_fen_max=200) as door:
        wallet_id = await door.open_wallet()
        # The bus from there continues the journey, for 0.50 less, once the metro is known.
        bus = (await door.post_taps(door.tap(tapped_at=at(30), full_fare=None))).message
        assert bus["fare_fen"] == 200
        said = await missing(door, wallet_id, 0)
        assert (said.message["state"], said.message["amount_fen"]) == ("proposed", 250), said.body
        books = await door.books()
        assert (books["taps"], (await door.wallet(wallet_id))["balance_fen"]) == (1, 800)
        path = f"/v1/corrections/{said.message['wish']['correction_id']}"
        for _ in range(2):
            agreed = await door.ask("POST", f"{path}/approve", who="checker")
            assert (agreed.status, agreed.message["state"]) == (200, "booked"), agreed.body
        assert (await door.wallet(wallet_id))["balance_fen"] == 550
        shown = (await door.ask("GET", path, who="auditor")).message
        # As when a gate sends both late: between them the metro ride had no end.
        charged = Counter[str]()
        for entry in shown["entries"]:
            charged[entry["tap_id"]] += operator_fen(entry)
        bus_fen, (ride,) = charged.pop(bus["tap_id"]), [i for i, fen in charged.items() if fen]
        assert (charged[ride], bus_fen) == (300, -50)
        told = await door.ask("GET", f"/v1/taps/{ride}/explanation", who="auditor")
        assert told.message["lines"][-1] == (
            "missing_ride booked: gate_fault, by desk, agreed by checker"
        )
        (first, last) = [
            tap
            for journey in (await door.ask("GET", f"/v1/wallets/{wallet_id}/journeys")).message
            for tap in journey["taps"]
            if tap["action"] in ("enter", "exit")
        ]
        assert (first["action"], last["action"], last["fare_fen"]) == ("enter", "exit", 300)
        await check_audit(door)
        assert await exported(door, server_dsn, tmp_path) == {"metro": 300, "buses": 150}
        assert await settled(door) == {"metro": (1, 300), "buses": (1, 150)}
        undo = {"correction_id": str(uuid4()), "kind": "reversal", "reason": "staff_error"}
        undo |= {"wallet_id": wallet_id, "reverses": shown["correction"]["wish"]["correction_id"]}
        undone = await door.ask("POST", "/v1/corrections", undo, who="desk")
        path = f"/v1/corrections/{undone.message['wish']['correction_id']}"
        assert (await door.ask("POST", f"{path}/approve", who="checker")).status == 200
        assert (await door.wallet(wallet_id))["balance_fen"] == 800
        await check_audit(door)


def operator_fen(entry: dict[str, Any]) -> int:
    postings = entry["postings"]
    return sum(fen for account, fen in postings if account.startswith("operator:"))


async def exported(door: Any, server_dsn: str, folder: Path) -> dict[str, int]:
    """What planners get: the desk's taps beside the gates', and what each operator's come to."""
    database = await door.api.pool.fetchval("SELECT current_database()")
    dsn = urlsplit(server_dsn)._replace(path=f"/{database}").geturl()
    day, to = door.api.book.service_day_of(NOON), folder / "trips"
    assert await export_trips(door.api.settings, dsn, b"s" * 32, day, to) == 0
    found, devices = Counter[str](), set[str]()
    for path in to.glob("*.csv"):
        for row in csv.DictReader(path.read_text().splitlines()):
            name = path.stem.removeprefix("fare_transactions_")
            found[name] += round(Decimal(row["amount"]) * 100)
            devices.add(f"{row['device_id']} {row['fare_action']}")
    assert {"desk Enter", "desk Exit", "bus-1 Enter"} <= devices
    return dict(found)


async def settled(door: Any) -> dict[str, tuple[int, int]]:
    settlement, _ = await run_settlement_close(
        door.api.pool,
        door.api.book.service_day_of(NOON),
        book=door.api.book,
        now=datetime.now(UTC) + timedelta(days=2),
        folder=door.api.settings.settlement_dir,
        debtor=debtor_of(door.api.settings),
    )
    return {one.operator_id: (one.ride_count, one.gross_fen) for one in settlement.batches}


async def test_what_is_wrong_is_told_and_riders_do_not_do_it_themselves(open_door):
    async with open_door(tariffs_dir=STORIES / "harbour") as door:
        wallet_id, _ = await door.open_wallet(), await door.open_wallet("card-2")
        for told, status, slug in (
            ({"until": None}, 422, "fields_differ"),
            ({"exit_stop_id": None, "until": None}, 422, "fields_differ"),
            ({"gate_id": "bus-1"}, 422, "fields_differ"),
            ({"by_rider": True}, 409, "not_self_service"),
            ({"gate_id": "luohu-side"}, 422, "unknown_gate"),
            ({"media_token": "card-2"}, 422, "unknown_media"),
            ({"exit_stop_id": "moon"}, 422, "unknown_stop"),
            ({"until": at(300)}, 409, "wrong_time"),
        ):
            (await missing(door, wallet_id, 0, **told)).check_problem(status, slug)
        for who in ("checker", "gate_operator", "finance"):
            assert (await missing(door, wallet_id, 0, who=who)).status == 403
        assert (await door.books())["taps"] == 0


async def test_of_two_identical_wishes_at_once_one_ride_comes(open_door):
    async with open_door(tariffs_dir=STORIES / "harbour") as door:
        wallet_id, correction_id = await door.open_wallet(), str(uuid4())
        for _ in range(2):
            said = await missing(door, wallet_id, 0, correction_id=correction_id)
            assert said.message["state"] == "booked", said.body
        (await missing(door, wallet_id, 0)).check_problem(409, "wrong_time")
        assert (await door.wallet(wallet_id))["balance_fen"] == 700
        await check_audit(door)


async def test_the_operator_that_carried_the_rider_may_look_it_up_and_no_other(open_door):
    async with open_door(tariffs_dir=STORIES / "harbour") as door:
        wallet_id = await door.open_wallet()
        bus = {"gate_id": "bus-1", "route_id": "M486", "full_fare_fen": 150}
        bus |= dict.fromkeys(("stop_id", "exit_stop_id", "until"))
        for told, status in (({}, 404), (bus, 200)):
            said = await missing(door, wallet_id, 60 if told else 0, **told)
            assert said.message["state"] == "booked", said.body
            path = f"/v1/corrections/{said.message['wish']['correction_id']}"
            shown = (await door.ask("GET", path, who="auditor")).message
            tap = f"/v1/taps/{shown['entries'][-1]['tap_id']}"
            assert (await door.ask("GET", tap, who="buses_gate_operator")).status == status
            assert (await door.ask("GET", tap, who="gate_operator")).status == 200
        await check_audit(door)


async def test_a_campaign_pays_for_it_as_long_as_it_has_the_money(open_door):
    """15 rides are paid for, of which 14 are gone."""
    async with open_door(tariffs_dir=STORIES / "midnight_campaign") as door:
        await door.ask(
            "POST", "/v1/registry", {"operators": [{"operator_id": "icbc", "name": "ICBC"}]}
        )
        for number in range(7):
            await door.open_wallet(f"rider {number}", issuer_id="icbc")
            for minutes in (0, 60):
                more = {"media_token": f"rider {number}", "offline": True}
                for action, later in (("enter", 0), ("exit", 20)):
                    tap = door.metro_tap(action, tapped_at=at(minutes + later), **more)
                    assert (await door.post_taps(tap)).status == 200
        paid = []
        for number in (1, 2):
            wallet_id = await door.open_wallet(f"late {number}", issuer_id="icbc")
            said = await missing(door, wallet_id, 0, media_token=f"late {number}")
            assert said.message["state"] == "booked", said.body
            paid.append(1000 - (await door.wallet(wallet_id))["balance_fen"])
        assert paid == [1, 300]
        await check_audit(door)
