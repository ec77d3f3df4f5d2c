"""The refund desk over HTTP on a real database: every test ends with an audit that passes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from _refund_desk import AFTER_TURN, BEFORE_TURN, NOON, at, audited, dsn_of, metro, net

from gateway import correction_commands
from gateway.core.correction_wishes import CorrectionKind, CorrectionWish, Reason
from gateway.correction_path import correction_terms, run_correction
from gateway.settlement_path import debtor_of, run_settlement_close
from gateway.shell.correction_store import Correction

HARBOUR = Path(__file__).parents[1] / "stories" / "harbour"


async def correct(
    client: Any,
    wallet_id: str,
    kind: str,
    *,
    reason: str = "gate_fault",
    who: str = "desk",
    **m: Any,
) -> Any:
    wish = {"correction_id": str(uuid4()), "wallet_id": wallet_id, "kind": kind, "reason": reason}
    return await client.ask("POST", "/v1/corrections", {**wish, **m}, who=who)


async def test_staff_clear_an_entry_and_leaving_where_one_came_in_costs_nothing(desk):
    """SZM-28 and SZM-29: 1.90 after 15 minutes, 0.00 when staff clear the entry."""
    wallet_id = await desk.open_wallet()
    entry = await metro(desk, "enter", 0)
    await metro(desk, "exit", 15)
    paid = 1000 - await net(desk, wallet_id)
    assert paid > 0
    said = await correct(
        desk, wallet_id, "clearance", reason="not_travelled", tap_id=entry["tap_id"]
    )
    assert (said.status, said.message["state"], said.message["amount_fen"]) == (200, "booked", paid)
    assert await net(desk, wallet_id) == 1000
    told = await desk.ask("GET", f"/v1/taps/{entry['tap_id']}/explanation")
    assert told.message["lines"] == ["clearance booked: not_travelled, by desk"]


async def test_an_entry_cleared_before_the_exit_comes_in_costs_nothing_either(desk):
    wallet_id = await desk.open_wallet()
    entry = await metro(desk, "enter", 0)
    exit_tap = desk.metro_tap("exit", tapped_at=at(15))
    late = await correct(desk, wallet_id, "clearance", tap_id=entry["tap_id"])
    late.check_problem(409, "wrong_time")
    await desk.post_taps(exit_tap)
    assert (await correct(desk, wallet_id, "clearance", tap_id=entry["tap_id"])).status == 200
    assert await net(desk, wallet_id) == 1000


async def test_an_entry_is_not_cleared_after_its_minutes(desk):
    wallet_id = await desk.open_wallet()
    entry = await metro(desk, "enter", 0)
    await metro(desk, "exit", 21)
    said = await correct(desk, wallet_id, "clearance", tap_id=entry["tap_id"])
    said.check_problem(409, "wrong_time")


async def test_a_duplicate_is_voided_once_however_often_it_is_asked(desk):
    wallet_id = await desk.open_wallet()
    taps = [(await desk.post_taps(desk.tap(tapped_at=at(minutes)))).message for minutes in (0, 30)]
    before = await net(desk, wallet_id)
    wish = {"correction_id": str(uuid4()), "tap_id": taps[1]["tap_id"], "reason": "duplicate"}
    for _ in range(2):
        said = await correct(desk, wallet_id, "void", **wish)
        assert said.message["state"] == "booked", said.body
    assert await net(desk, wallet_id) == before + taps[1]["payers"][0]["amount_fen"]
    (await correct(desk, wallet_id, "void", **{**wish, "note": "other"})).check_problem(
        409, "correction_id_reused"
    )
    (await correct(desk, wallet_id, "void", tap_id=taps[1]["tap_id"])).check_problem(
        409, "already_corrected"
    )
    shown = (
        await desk.ask("GET", f"/v1/corrections/{wish['correction_id']}", who="auditor")
    ).message
    assert [entry["kind"] for entry in shown["entries"]] == ["correction"]
    assert shown["entries"][0]["tap_id"] == taps[1]["tap_id"]


async def test_a_reversed_correction_leaves_the_money_as_it_was(desk):
    wallet_id = await desk.open_wallet()
    tap = (await desk.post_taps(desk.tap(tapped_at=at(0)))).message
    before = await net(desk, wallet_id)
    voided = await correct(desk, wallet_id, "void", tap_id=tap["tap_id"])
    correction_id = voided.message["wish"]["correction_id"]
    undone = await correct(
        desk, wallet_id, "reversal", reason="staff_error", reverses=correction_id
    )
    assert (undone.status, await net(desk, wallet_id)) == (200, before)
    again = await correct(desk, wallet_id, "reversal", reverses=correction_id)
    again.check_problem(409, "already_corrected")
    assert (await correct(desk, wallet_id, "void", tap_id=tap["tap_id"])).status == 200


async def test_a_rider_names_a_missing_exit_once_and_then_a_person_must(desk):
    wallet_id = await desk.open_wallet()
    entries = [await metro(desk, "enter", minutes) for minutes in (0, 60, 120)]
    incomplete = await net(desk, wallet_id)
    ends = {"stop_id": "futian", "reason": "forgotten_tap", "by_rider": True}
    first = {**ends, "tap_id": entries[0]["tap_id"], "at": at(25)}
    said = await correct(desk, wallet_id, "missing_exit", **first)
    assert said.message["state"] == "booked", said.body
    assert await net(desk, wallet_id) != incomplete
    second = {**ends, "tap_id": entries[1]["tap_id"], "at": at(85)}
    (await correct(desk, wallet_id, "missing_exit", **second)).check_problem(
        409, "too_many_self_service"
    )
    assert (
        await correct(desk, wallet_id, "missing_exit", **{**second, "by_rider": False})
    ).status == 200
    (
        await correct(desk, wallet_id, "void", by_rider=True, tap_id=entries[0]["tap_id"])
    ).check_problem(409, "not_self_service")


async def test_an_exit_that_comes_in_late_takes_the_place_of_the_one_that_was_named(desk):
    wallet_id, other = await desk.open_wallet(), await desk.open_wallet("card-2")
    entry = await metro(desk, "enter", 0)
    await metro(desk, "enter", 0, media_token="card-2")
    named = {"tap_id": entry["tap_id"], "stop_id": "futian", "at": at(25)}
    assert (await correct(desk, wallet_id, "missing_exit", **named)).status == 200
    await metro(desk, "exit", 10)
    await metro(desk, "exit", 10, media_token="card-2")
    assert await net(desk, wallet_id) == await net(desk, other)


@pytest.mark.parametrize("has_ridden_since", [False, True])
async def test_an_exit_named_before_the_turn_of_the_day_gives_way_to_one_after_it(
    desk, has_ridden_since
):
    """The gate of the exit was offline; were its exit another's, the named one would count."""
    wallet_id, other = await desk.open_wallet(), await desk.open_wallet("card-2")
    entry = await metro(desk, "enter", BEFORE_TURN)
    await metro(desk, "enter", BEFORE_TURN, media_token="card-2")
    named = {"tap_id": entry["tap_id"], "stop_id": "futian", "at": at(BEFORE_TURN + 5)}
    assert (await correct(desk, wallet_id, "missing_exit", **named)).status == 200
    if has_ridden_since:
        for token in ("card-1", "card-2"):
            await metro(desk, "enter", 0, media_token=token)
            await metro(desk, "exit", 20, media_token=token)
    before = await net(desk, wallet_id)
    late = await metro(desk, "exit", AFTER_TURN)
    await metro(desk, "exit", AFTER_TURN, media_token="card-2")
    assert await net(desk, wallet_id) == await net(desk, other) != before
    assert (await correct(desk, wallet_id, "void", tap_id=late["tap_id"])).status == 200
    assert await net(desk, wallet_id) == before


async def test_an_entry_named_after_the_turn_of_the_day_gives_way_to_one_before_it(desk):
    wallet_id, other = await desk.open_wallet(), await desk.open_wallet("card-2")
    left = await metro(desk, "exit", AFTER_TURN)
    await metro(desk, "exit", AFTER_TURN, media_token="card-2")
    named = {"tap_id": left["tap_id"], "stop_id": "futian", "at": at(AFTER_TURN - 5)}
    assert (await correct(desk, wallet_id, "missing_entry", **named)).status == 200
    before = await net(desk, wallet_id)
    for token in ("card-1", "card-2"):
        late = await metro(desk, "enter", BEFORE_TURN, media_token=token, offline=True)
        assert late["open"], late
    assert await net(desk, wallet_id) == await net(desk, other) != before


async def test_an_entry_cleared_before_the_turn_of_the_day_is_left_after_it_for_nothing(desk):
    wallet_id = await desk.open_wallet()
    entry = await metro(desk, "enter", AFTER_TURN - 15)
    left = await metro(desk, "exit", AFTER_TURN - 5)
    assert (await correct(desk, wallet_id, "clearance", tap_id=entry["tap_id"])).status == 200
    assert await net(desk, wallet_id) == 1000
    told = await desk.ask("GET", f"/v1/taps/{left['tap_id']}/explanation")
    assert told.message["lines"] == []


async def test_neither_end_of_a_ride_over_the_turn_of_the_day_is_missing(desk):
    wallet_id = await desk.open_wallet()
    entry = await metro(desk, "enter", BEFORE_TURN)
    left = await metro(desk, "exit", AFTER_TURN)
    paid = await net(desk, wallet_id)
    named = {"tap_id": entry["tap_id"], "stop_id": "futian", "at": at(BEFORE_TURN + 5)}
    said = await correct(desk, wallet_id, "missing_exit", **named)
    said.check_problem(409, "not_incomplete")
    named = {"tap_id": left["tap_id"], "stop_id": "futian", "at": at(AFTER_TURN - 5)}
    said = await correct(desk, wallet_id, "missing_entry", **named)
    said.check_problem(409, "not_incomplete")
    assert await net(desk, wallet_id) == paid


async def test_an_end_is_missing_though_the_next_day_has_one_hours_later(desk):
    wallet_id = await desk.open_wallet()
    entry = await metro(desk, "enter", BEFORE_TURN)
    left = await metro(desk, "exit", 0)
    named = {"tap_id": entry["tap_id"], "stop_id": "futian", "at": at(BEFORE_TURN + 5)}
    assert (await correct(desk, wallet_id, "missing_exit", **named)).status == 200
    named = {"tap_id": left["tap_id"], "stop_id": "futian", "at": at(-5)}
    assert (await correct(desk, wallet_id, "missing_entry", **named)).status == 200


async def test_a_ride_that_its_campaign_has_no_money_for_is_not_put_right(open_door, tmp_path):
    """A campaign pays for one ride, and another rider has had it."""
    text = (HARBOUR.parent / "midnight_campaign" / "2018-08-01.yaml").read_text("utf-8")
    (tmp_path / "2018-08-01.yaml").write_text(text.replace("    issuers: [icbc]\n", "", 1), "utf-8")
    terms = "id: metro, sponsor: icbc, promotions: [one_cent], budget: 50.00, uses: 1"
    (tmp_path / "campaigns.yaml").write_text(f"campaigns: [{{{terms}, reference: k.1}}]", "utf-8")
    async with open_door(tariffs_dir=tmp_path) as client:
        wallet_id, other = await client.open_wallet(), await client.open_wallet("card-2")
        entry = await metro(client, "enter", 0)
        await metro(client, "enter", 0, media_token="card-2")
        await metro(client, "exit", 20, media_token="card-2")
        assert await net(client, other) == 999
        named = {"tap_id": entry["tap_id"], "stop_id": "futian", "at": at(20)}
        said = await correct(client, wallet_id, "missing_exit", **named)
        said.check_problem(409, "no_fare")
        assert await net(client, wallet_id) == 1000
        assert (await audited(client))[-1] == "audit passed"


async def test_a_ride_gets_the_class_that_the_rider_has(desk):
    wallet_id = await desk.open_wallet()
    await desk.ask(
        "POST", f"/v1/wallets/{wallet_id}/media", {"media_token": "card-1", "fare_media": "card"}
    )
    paid = (await desk.post_taps(desk.tap(tapped_at=at(0)))).message["payers"][0]["amount_fen"]
    wish = {"media_token": "card-1", "rider_category": "free", "since": at(-5), "until": at(5)}
    said = await correct(desk, wallet_id, "reclass", reason="wrong_class", **wish)
    assert said.status == 200, said.body
    cheaper = 1000 - await net(desk, wallet_id)
    assert cheaper < paid
    late = await desk.post_taps(desk.tap(tapped_at=at(-4)))
    assert late.status == 200
    assert 1000 - await net(desk, wallet_id) == 2 * cheaper


async def test_much_money_needs_a_second_person(open_door):
    async with open_door(tariffs_dir=HARBOUR, correction_unchecked_fen_max=500) as door:
        wallet_id = await door.open_wallet()
        wish = {"amount_fen": 501, "sponsor_id": "icbc", "reason": "complaint"}
        said = await correct(door, wallet_id, "goodwill", **{**wish, "sponsor_id": "nobody"})
        said.check_problem(422, "unknown_sponsor")
        said = await correct(door, wallet_id, "goodwill", **wish, who="admin")
        assert said.message["state"] == "proposed"
        assert await net(door, wallet_id) == 1000
        path = f"/v1/corrections/{said.message['wish']['correction_id']}"
        (await door.ask("POST", path + "/approve")).check_problem(403, "same_person")
        assert (await door.ask("POST", path + "/approve", who="desk")).status == 403
        for _ in range(2):
            agreed = await door.ask("POST", path + "/approve", who="checker")
            assert (agreed.message["state"], agreed.message["checker"]) == ("booked", "checker")
        assert await net(door, wallet_id) == 1501
        (await door.ask("POST", path + "/reject", who="checker")).check_problem(
            409, "already_decided"
        )
        assert (await audited(door))[-1] == "audit passed"


async def test_a_refund_in_parts_needs_a_second_person_as_a_whole_one_does(open_door):
    async with open_door(tariffs_dir=HARBOUR, correction_unchecked_fen_max=100) as door:
        wallet_id = await door.open_wallet()
        tap = (await door.post_taps(door.tap())).message
        part = {"tap_id": tap["tap_id"], "reason": "complaint"}
        states = []
        for fen in (60, 40, 1):
            said = await correct(door, wallet_id, "refund", **part, amount_fen=fen)
            states.append(said.message["state"])
        assert states == ["booked", "booked", "proposed"]


async def test_goodwill_in_parts_needs_a_second_person_for_a_month(open_door):
    async with open_door(tariffs_dir=HARBOUR, correction_unchecked_fen_max=100) as door:
        wallet_id, other_id = await door.open_wallet(), await door.open_wallet("card-2")
        part = {"reason": "complaint", "sponsor_id": "icbc"}

        async def given(wallet_id: str, fen: int) -> Any:
            said = await correct(door, wallet_id, "goodwill", **part, amount_fen=fen)
            return said.message

        assert [(await given(wallet_id, fen))["state"] for fen in (60, 30)] == ["booked"] * 2
        more = await given(wallet_id, 20)
        assert more["state"] == "proposed"
        assert (await given(other_id, 100))["state"] == "booked"
        # What is only proposed counts, what was rejected no longer does; nor what is a month old.
        registry, book = door.api.door.registry.current, door.api.book
        terms, later = correction_terms(door.api.settings), timedelta(days=30, hours=1)

        async def given_later(fen: int, age: timedelta) -> str:
            wish = CorrectionWish(
                uuid4(), UUID(wallet_id), CorrectionKind.GOODWILL, Reason.COMPLAINT,
                amount_fen=fen, sponsor_id="icbc",
            )  # fmt: skip
            found = await run_correction(
                door.api.pool, wish, maker="carla", registry=registry, book=book, terms=terms,
                now=datetime.now(UTC) + age,
            )  # fmt: skip
            assert isinstance(found, Correction)
            return found.state

        assert await given_later(5, timedelta(days=29)) == "proposed"
        path = f"/v1/corrections/{more['wish']['correction_id']}/reject"
        assert (await door.ask("POST", path, who="checker")).status == 200
        assert await given_later(5, timedelta(days=29)) == "booked"
        assert await given_later(90, later) == "booked"
        assert await given_later(1, later) == "proposed"


async def test_no_more_is_refunded_than_was_paid(desk):
    wallet_id = await desk.open_wallet()
    tap = (await desk.post_taps(desk.tap(tapped_at=at(0)))).message
    paid = tap["payers"][0]["amount_fen"]
    part = {"tap_id": tap["tap_id"], "reason": "complaint"}
    assert (await correct(desk, wallet_id, "refund", **part, amount_fen=paid - 50)).status == 200
    (await correct(desk, wallet_id, "refund", **part, amount_fen=51)).check_problem(
        409, "more_than_charged"
    )
    assert (await correct(desk, wallet_id, "refund", **part, amount_fen=50)).status == 200
    assert await net(desk, wallet_id) == 1000
    buses = await desk.api.pool.fetchval(
        "SELECT sum(amount_fen)::bigint FROM posting WHERE account = 'operator:buses'"
    )
    assert buses == 0
    pool, settings = desk.api.pool, desk.api.settings
    today = desk.api.book.service_day_of(datetime.now(UTC))
    settlement, _ = await run_settlement_close(
        pool,
        today,
        book=desk.api.book,
        now=datetime.now(UTC) + timedelta(days=2),
        folder=settings.settlement_dir,
        debtor=debtor_of(settings),
    )
    assert [(one.ride_count, one.gross_fen) for one in settlement.batches] == [(1, 0)]
    (await correct(desk, wallet_id, "void", tap_id=tap["tap_id"])).check_problem(
        409, "already_corrected"
    )


async def test_a_top_up_paid_in_by_mistake_is_voided_and_what_was_spent_is_owed(desk):
    wallet_id, top_up_id = await desk.open_wallet(fen=0), str(uuid4())
    paid_in = {"top_up_id": top_up_id, "amount_fen": 300}
    await desk.ask("POST", f"/v1/wallets/{wallet_id}/top-ups", paid_in)
    tap = (await desk.post_taps(desk.tap(tapped_at=at(0)))).message
    spent = tap["payers"][0]["amount_fen"]
    wish = {"top_up_id": top_up_id, "reason": "paid_by_mistake"}
    assert (await correct(desk, wallet_id, "top_up_void", **wish)).status == 200
    assert (await desk.wallet(wallet_id))["owed_fen"] == spent
    (await correct(desk, wallet_id, "top_up_void", **wish)).check_problem(409, "already_corrected")


async def test_who_owes_too_much_does_not_begin_a_ride_until_it_is_paid(open_door):
    async with open_door(debt_block_fen=100) as door:
        wallet_id = await door.open_wallet(fen=10)
        riding = await door.post_taps(door.tap(offline=True))
        assert riding.message["outcome"] == "ride_owed"
        refused = await door.post_taps(door.tap())
        assert refused.message["outcome"] == "debt_too_high"
        assert (await door.post_taps(door.tap(offline=True))).message["outcome"] == "ride_owed"
        paid_in = {"top_up_id": str(uuid4()), "amount_fen": 2000}
        await door.ask("POST", f"/v1/wallets/{wallet_id}/top-ups", paid_in)
        assert (await door.post_taps(door.tap())).message["outcome"] == "ride_charged"
        assert (await audited(door))[-1] == "audit passed"


async def test_what_was_refunded_of_a_ride_is_not_given_back_once_more(desk):
    """Of two rides as an adult one was refunded; the rider turns out to be one who rides free."""
    wallet_id = await desk.open_wallet()
    media = {"media_token": "card-1", "fare_media": "card"}
    await desk.ask("POST", f"/v1/wallets/{wallet_id}/media", media)
    taps = [(await desk.post_taps(desk.tap(tapped_at=at(minutes)))).message for minutes in (0, 90)]
    paid = [tap["payers"][0]["amount_fen"] for tap in taps]
    refund = {"tap_id": taps[0]["tap_id"], "amount_fen": paid[0], "reason": "complaint"}
    assert (await correct(desk, wallet_id, "refund", **refund)).status == 200
    wish = {"media_token": "card-1", "rider_category": "free", "reason": "wrong_class"}
    said = await correct(desk, wallet_id, "reclass", **wish, since=at(-5), until=at(95))
    said.check_problem(409, "refunded", "leave it out")
    assert await net(desk, wallet_id) == 1000 - paid[1]
    said = await correct(desk, wallet_id, "reclass", **wish, since=at(5), until=at(95))
    assert said.status == 200, said.body
    assert 1000 - paid[1] < await net(desk, wallet_id) <= 1000


async def test_a_closed_wallet_takes_what_is_its_riders_and_nothing_else(desk):
    wallet_id, top_up_id = await desk.open_wallet(), str(uuid4())
    paid_in = {"top_up_id": top_up_id, "amount_fen": 300}
    await desk.ask("POST", f"/v1/wallets/{wallet_id}/top-ups", paid_in)
    taps = [(await desk.post_taps(desk.tap(tapped_at=at(minutes)))).message for minutes in (0, 30)]
    close = f"/v1/wallets/{wallet_id}/close"
    assert (await desk.ask("POST", close)).status == 200
    refund = {"tap_id": taps[0]["tap_id"], "amount_fen": 10, "reason": "complaint"}
    assert (await correct(desk, wallet_id, "refund", **refund)).status == 200
    voided = await correct(desk, wallet_id, "void", tap_id=taps[1]["tap_id"])
    back_fen = 10 + taps[1]["payers"][0]["amount_fen"]
    assert await net(desk, wallet_id) == back_fen
    for wish in (
        {"kind": "reversal", "reverses": voided.message["wish"]["correction_id"]},
        {"kind": "top_up_void", "top_up_id": top_up_id},
    ):
        said = await correct(desk, wallet_id, **wish)
        said.check_problem(409, "wallet_closed", "nothing more can be charged to it")
    assert (await desk.ask("POST", close)).status == 200
    assert await net(desk, wallet_id) == 0
    paid_out = await desk.api.pool.fetch(
        "SELECT bank_fen FROM journal_entry WHERE kind = 'payout' ORDER BY wallet_version"
    )
    assert paid_out[-1]["bank_fen"] == back_fen


async def test_what_is_not_the_desks_is_refused(desk):
    wallet_id, stranger = await desk.open_wallet(), await desk.open_wallet("card-2")
    tap = (await desk.post_taps(desk.tap(tapped_at=at(0)))).message
    said = await correct(desk, stranger, "void", tap_id=tap["tap_id"])
    said.check_problem(404, "unknown_tap", "goodwill")
    said = await correct(desk, wallet_id, "void", tap_id=tap["tap_id"], amount_fen=1)
    said.check_problem(422, "fields_differ")
    said = await correct(desk, wallet_id, "void", tap_id=tap["tap_id"], note="4111 1111 1111 1111")
    said.check_problem(422, "card_number")
    for who in ("checker", "auditor", "gate_operator", "finance"):
        said = await correct(desk, wallet_id, "void", tap_id=tap["tap_id"], who=who)
        assert said.status == 403, who


async def test_a_tap_longer_ago_than_rides_are_priced_again_is_for_money_only(desk):
    late_days = desk.api.book.tariffs[-1].late_taps_days
    wallet_id = await desk.open_wallet()
    since, until = (
        (datetime.now(UTC) - timedelta(days=late_days + more)).isoformat() for more in (2, 1)
    )
    wish = {"media_token": "card-1", "rider_category": "free", "since": since, "until": until}
    (await correct(desk, wallet_id, "reclass", **wish)).check_problem(
        409, "too_old", "refund money"
    )


async def test_a_settled_day_stays_and_its_correction_is_the_next_days(desk):
    wallet_id = await desk.open_wallet()
    tap = (await desk.post_taps(desk.tap(tapped_at=at(0)))).message
    day = NOON.date()
    closed = await desk.ask("POST", "/v1/settlements", {"service_day": str(day)})
    assert closed.status == 200, closed.body
    said = await correct(desk, wallet_id, "void", tap_id=tap["tap_id"])
    path = f"/v1/corrections/{said.message['wish']['correction_id']}"
    (entry,) = (await desk.ask("GET", path)).message["entries"]
    assert (entry["service_day"], entry["settlement_day"]) == (
        str(day),
        str(day + timedelta(days=1)),
    )


async def test_the_audit_finds_a_correction_that_was_booked_wrongly(open_door, server_dsn):
    async with open_door() as door:
        wallet_id = await door.open_wallet()
        taps = [(await door.post_taps(door.tap(tapped_at=at(m)))).message for m in (0, 30)]
        await correct(door, wallet_id, "void", tap_id=taps[0]["tap_id"])
        owner = await asyncpg.connect(await dsn_of(door, server_dsn))
        await owner.execute("ALTER TABLE correction DISABLE TRIGGER append_only")
        await owner.execute(
            "UPDATE correction SET amendment = convert_to(replace("
            "convert_from(amendment, 'UTF8'), $1, $2), 'UTF8')",
            taps[0]["tap_id"],
            taps[1]["tap_id"],
        )
        await owner.close()
        lines = await audited(door)
        assert any("correction_differs: void" in line for line in lines), lines
        assert any("charge_differs" in line for line in lines), lines


@pytest.mark.parametrize(
    ("statements", "fault"),
    [
        (
            "UPDATE journal_entry SET purse_fen = purse_fen + 5, operator_fen = operator_fen - 5"
            " WHERE kind = 'refund'; UPDATE wallet SET balance_fen = balance_fen + 5",
            "correction_without_decision",
        ),
        ("UPDATE correction SET amount_fen = 90", "correction_without_decision"),
        ("DELETE FROM correction", "correction_without_decision"),
        ("UPDATE journal_entry SET cause_id = tap_id WHERE kind = 'refund'",
         "correction_without_entry"),
    ],
)  # fmt: skip
async def test_the_audit_finds_money_that_nobody_agreed_to(
    open_door, server_dsn, statements, fault
):
    async with open_door() as door:
        wallet_id = await door.open_wallet()
        tap = (await door.post_taps(door.tap(tapped_at=at(0)))).message
        said = await correct(door, wallet_id, "refund", tap_id=tap["tap_id"], amount_fen=100)
        assert said.message["state"] == "booked"
        assert (await audited(door))[-1] == "audit passed"
        owner = await asyncpg.connect(await dsn_of(door, server_dsn))
        await owner.execute("SET session_replication_role = replica")
        await owner.execute(statements)
        await owner.close()
        lines = await audited(door)
        assert any(fault in line for line in lines), lines


async def test_corrections_are_listed_on_the_command_line(desk, server_dsn, capsys):
    wallet_id = await desk.open_wallet()
    tap = (await desk.post_taps(desk.tap(tapped_at=at(0)))).message
    await correct(desk, wallet_id, "void", tap_id=tap["tap_id"])
    await correction_commands._list(await dsn_of(desk, server_dsn), None)
    said = capsys.readouterr().out
    assert "void" in said
    assert said.endswith("1 corrections\n")
    listed = await desk.ask("GET", "/v1/corrections", who="checker")
    assert len(listed.message["corrections"]) == 1
