"""Grants, classes of wallets and families, over HTTP on a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from gateway import purse_path


async def granted(door, wallet_id: str, fen: int, **more: Any) -> Any:
    wish = {"grant_id": str(uuid4()), "rule_id": "gift", "funder_id": "icbc", "amount_fen": fen}
    return await door.ask("POST", f"/v1/wallets/{wallet_id}/grants", {**wish, **more})


async def ride(door, **changes: Any) -> dict[str, Any]:
    said = await door.post_taps(door.tap(**changes))
    found: dict[str, Any] = said.message
    return found


async def held(door, wallet_id: str) -> dict[str, int]:
    wallet = await door.wallet(wallet_id)
    return {purse["rule_id"]: purse["held_fen"] for purse in wallet.get("purses", [])}


async def test_a_grant_sent_twice_is_granted_once_and_every_fen_is_traced(harbour):
    wallet_id = await harbour.open_wallet(fen=1_000)
    grant_id = str(uuid4())
    for _ in range(2):
        said = await granted(harbour, wallet_id, 300, grant_id=grant_id)
        assert said.status == 200, said.body
    (await granted(harbour, wallet_id, 301, grant_id=grant_id)).check_problem(
        409, "grant_id_reused"
    )
    assert await held(harbour, wallet_id) == {"gift": 300}
    first, second = await ride(harbour), await ride(harbour)
    assert [len(tap["payers"]) for tap in (first, second)] == [1, 2]
    assert await held(harbour, wallet_id) == {"gift": 0}
    trace = (await harbour.ask("GET", f"/v1/grants/{grant_id}")).message
    moved = [
        (entry["kind"], dict(entry["postings"])[f"grant:{grant_id}"]) for entry in trace["entries"]
    ]
    assert moved == [("grant", 300), ("fare", -200), ("fare", -100)]
    assert trace["entries"][1]["tap_id"] == first["tap_id"]


async def test_a_grant_is_returned_and_a_rule_is_stopped(harbour):
    first = await harbour.open_wallet("card-1", fen=100)
    second = await harbour.open_wallet("card-2", fen=100)
    given = {"funder_id": "abc", "amount_fen": 50}
    grants = [
        {"wallet_id": wallet_id, "grant": {"grant_id": str(uuid4()), "rule_id": rule, **given}}
        for wallet_id in (first, second)
        for rule in ("gift", "bus_money")
    ]  # fmt: skip
    assert (await harbour.ask("POST", "/v1/grants", grants)).status == 200
    gift = grants[0]["grant"]["grant_id"]
    assert (await harbour.ask("POST", f"/v1/grants/{gift}/return")).status == 200
    assert await held(harbour, first) == {"bus_money": 50}
    stopped = await harbour.ask("POST", "/v1/purse-rules/bus_money/returns", {"funder_id": "abc"})
    assert stopped.message == {"grants_count": 2, "amount_fen": 100, "more": False}
    assert await held(harbour, first) == {}
    assert await held(harbour, second) == {"gift": 50}
    again = await harbour.ask("POST", "/v1/purse-rules/bus_money/returns", {})
    assert again.message == {"grants_count": 0, "amount_fen": 0, "more": False}
    misspelt = await harbour.ask("POST", "/v1/purse-rules/bus_mony/returns", {})
    misspelt.check_problem(404, "not_found", "No tariff has such a rule for purses")
    pool = harbour.api.pool
    owed = await pool.fetchval(
        "SELECT sum(amount_fen)::bigint FROM posting WHERE account = 'sponsor:abc'"
    )
    assert owed == -50


async def test_what_is_left_goes_back_at_the_minute(harbour):
    wallet_id = await harbour.open_wallet(fen=100)
    soon = datetime.now(UTC) + timedelta(seconds=30)
    said = await granted(harbour, wallet_id, 500, valid_until=soon.isoformat())
    assert said.status == 200, said.body
    await ride(harbour)
    pool, book = harbour.api.pool, harbour.api.book
    early = await purse_path.run_expiry(pool, book, soon - timedelta(microseconds=1))
    assert (early.grants_count, await held(harbour, wallet_id)) == (0, {"gift": 300})
    late = await purse_path.run_expiry(pool, book, soon)
    assert (late.grants_count, late.amount_fen) == (1, 300)
    assert await held(harbour, wallet_id) == {}
    assert (await harbour.wallet(wallet_id))["balance_fen"] == 100
    again = await purse_path.run_expiry(pool, book, soon + timedelta(days=1))
    assert again.grants_count == 0


async def test_an_envelope_spent_to_the_last_fen_may_end_like_any_other(harbour):
    """Nothing goes back, so no entry tells of its end; the audit after the test replays it."""
    wallet_id = await harbour.open_wallet(fen=1_000)
    for fen, until in ((100, timedelta(hours=1)), (200, None)):
        ends = (datetime.now(UTC) + until).isoformat() if until else None
        said = await granted(harbour, wallet_id, fen, valid_until=ends)
        assert said.status == 200, said.body
    assert len((await ride(harbour))["payers"]) == 2
    assert len((await ride(harbour))["payers"]) == 2
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    returned = await purse_path.run_expiry(harbour.api.pool, harbour.api.book, tomorrow)
    assert (returned.grants_count, returned.amount_fen) == (1, 0)
    assert (await harbour.ask("POST", f"/v1/wallets/{wallet_id}/close")).status == 200


async def test_a_class_bounds_what_is_held_and_spent(harbour):
    wallet_id = await harbour.open_wallet(class_id="small", fen=9_000)
    (await granted(harbour, wallet_id, 1_500)).check_problem(409, "balance_limit")
    assert (await granted(harbour, wallet_id, 1_000)).status == 200
    outcomes = [(await ride(harbour, full_fare=fare))["outcome"] for fare in (501, 400, 400, 1)]
    assert outcomes == ["limit_reached", "ride_charged", "ride_charged", "limit_reached"]
    assert await held(harbour, wallet_id) == {"gift": 200}


@pytest.mark.parametrize("offline", [False, True])
async def test_a_ride_left_open_yesterday_is_no_part_of_todays_payment(harbour, offline):
    """9.00 for the one and 2.00 for the other, where 5.00, or 4.00, are the most of one payment."""
    wallet_id = await harbour.open_wallet(class_id="small", fen=9_000)
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    await harbour.post_taps(harbour.metro_tap("enter", tapped_at=yesterday))
    assert (await ride(harbour, full_fare=200, offline=offline))["outcome"] == "ride_charged"
    assert (await harbour.wallet(wallet_id))["balance_fen"] == 9_000 - 900 - 200


async def test_a_bound_holds_however_many_pay_in_at_once(harbour):
    wallet_id = await harbour.open_wallet(class_id="small", fen=9_000)
    said = await asyncio.gather(*(granted(harbour, wallet_id, 300) for _ in range(8)))
    assert sorted(one.status for one in said) == [200] * 3 + [409] * 5
    wallet = await harbour.wallet(wallet_id)
    assert [purse["held_fen"] for purse in wallet["purses"]] == [300] * 3


async def test_the_eleventh_ride_without_a_network_waits_for_a_check(harbour):
    """ECN-11, with a limit of three."""
    wallet_id = await harbour.open_wallet(class_id="small", fen=9_000)
    clock = datetime.now(UTC) - timedelta(minutes=50)
    outcomes = []
    for minute in range(4):
        at = (clock + timedelta(minutes=minute)).isoformat()
        outcomes.append((await ride(harbour, offline=True, tapped_at=at))["outcome"])
    assert outcomes == ["ride_charged"] * 3 + ["verification_required"]
    assert (await harbour.ask("POST", f"/v1/wallets/{wallet_id}/verifications")).status == 200
    at = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    assert (await ride(harbour, offline=True, tapped_at=at))["outcome"] == "ride_charged"
    listed = (await harbour.ask("GET", "/v1/taps")).message
    assert "verification_required" in {one["result"]["outcome"] for one in listed["taps"]}


@pytest.mark.parametrize("exit_is_offline", [False, True])
async def test_a_ride_begun_beyond_the_limit_waits_for_a_check_with_both_its_ends(
    harbour, exit_is_offline
):
    """An exit alone would cost 9.00."""
    wallet_id = await harbour.open_wallet(class_id="small", fen=9_000)
    clock = datetime.now(UTC) - timedelta(minutes=50)
    for minute in range(3):
        await ride(harbour, offline=True, tapped_at=(clock + timedelta(minutes=minute)).isoformat())
    paid = (await harbour.wallet(wallet_id))["balance_fen"]
    said = []
    for minute, action, offline in ((10, "enter", True), (30, "exit", exit_is_offline)):
        at = (clock + timedelta(minutes=minute)).isoformat()
        tap = harbour.metro_tap(action, tapped_at=at, offline=offline)
        said.append((await harbour.post_taps(tap)).message)
    assert [one["outcome"] for one in said] == ["verification_required"] * 2
    assert said[1]["open"]
    assert (await harbour.wallet(wallet_id))["balance_fen"] == paid
    # An entry that a gate let in with a network is nobody's to look at, nor is what follows.
    for minute, action in ((40, "enter"), (45, "exit")):
        at = (clock + timedelta(minutes=minute)).isoformat()
        await harbour.post_taps(harbour.metro_tap(action, tapped_at=at))
    assert (await harbour.wallet(wallet_id))["balance_fen"] == paid - 300


async def test_an_entry_that_comes_in_after_its_exit_is_no_further_payment(harbour):
    """The exit is the third payment, of three; alone it had cost 9.00."""
    wallet_id = await harbour.open_wallet(class_id="small", fen=9_000)
    clock = datetime.now(UTC) - timedelta(minutes=50)
    for minute in range(2):
        await ride(harbour, offline=True, tapped_at=(clock + timedelta(minutes=minute)).isoformat())
    paid = (await harbour.wallet(wallet_id))["balance_fen"]
    for minute, action, outcome in ((30, "exit", "ride_charged"), (10, "enter", "leg_opened")):
        at = (clock + timedelta(minutes=minute)).isoformat()
        tap = harbour.metro_tap(action, tapped_at=at, offline=True)
        assert (await harbour.post_taps(tap)).message["outcome"] == outcome
    assert (await harbour.wallet(wallet_id))["balance_fen"] == paid - 300


async def test_an_entry_that_comes_in_once_its_ride_was_made_free_is_no_payment(harbour):
    """Nothing of the ride is left to remember."""
    wallet_id = await harbour.open_wallet(class_id="small", fen=9_000)
    clock = datetime.now(UTC) - timedelta(minutes=50)
    said = {}
    for minute, action in ((30, "exit"), (10, "enter")):
        at = (clock + timedelta(minutes=minute)).isoformat()
        tap = harbour.metro_tap(action, tapped_at=at, offline=True)
        said[action] = (await harbour.post_taps(tap)).message
        if action == "exit":
            wish = {
                "correction_id": str(uuid4()),
                "wallet_id": wallet_id,
                "kind": "free_ride",
                "reason": "gate_fault",
                "tap_id": said["exit"]["tap_id"],
            }
            made = await harbour.ask("POST", "/v1/corrections", wish, who="desk")
            assert made.status == 200, made.body
    assert said["enter"]["outcome"] == "leg_opened"
    assert (await harbour.wallet(wallet_id))["balance_fen"] == 9_000


async def test_a_child_spends_within_limits_cut_out_of_its_parents(harbour):
    parent = await harbour.open_wallet("hers", class_id="small", fen=5_000)
    child, limits = (
        str(uuid4()),
        {"single_fen": 300, "day_fen": 300, "year_fen": 10_000, "balance_fen": 2_000},
    )
    wish = {
        "wallet_id": child,
        "parent_id": parent,
        "limits": limits,
        "media": [{"media_token": "his"}],
    }
    for _ in range(2):
        assert (await harbour.ask("POST", "/v1/wallets", [wish])).status == 200
    second = {**wish, "wallet_id": str(uuid4()), "limits": {**limits, "day_fen": 501}, "media": []}
    (await harbour.ask("POST", "/v1/wallets", [second])).check_problem(409, "child_limits_too_high")
    moves = {"transfer_id": str(uuid4()), "to_wallet_id": child, "amount_fen": 1_500}
    for _ in range(2):
        said = await harbour.ask("POST", f"/v1/wallets/{parent}/transfers", moves)
        assert said.message["balance_fen"] == 3_500
    assert (await ride(harbour, media_token="his", full_fare=300))["outcome"] == "ride_charged"
    assert (await ride(harbour, media_token="his", full_fare=1))["outcome"] == "limit_reached"
    # What is the child's is not the parent's to spend: 8.00 less 3.00.
    assert (await ride(harbour, media_token="hers", full_fare=500))["outcome"] == "ride_charged"
    assert (await ride(harbour, media_token="hers", full_fare=1))["outcome"] == "limit_reached"
    (await harbour.ask("POST", f"/v1/wallets/{parent}/close")).check_problem(
        409, "wallet_has_children"
    )
    assert (await harbour.ask("POST", f"/v1/wallets/{child}/close")).status == 200
    assert (await harbour.ask("POST", f"/v1/wallets/{parent}/close")).status == 200


async def test_a_family_never_has_more_than_its_parents_class(harbour):
    """What the parent holds and has spent already is not cut out for a child, and what a child has
    spent is not the parent's to spend when the child leaves."""
    parent = await harbour.open_wallet("hers", class_id="small", fen=9_000)
    assert (await ride(harbour, media_token="hers", full_fare=500))["outcome"] == "ride_charged"
    limits = {"single_fen": 300, "day_fen": 300, "year_fen": 10_000, "balance_fen": 1_500}

    async def opened(**changes: int) -> tuple[str, Any]:
        wish = {"wallet_id": str(uuid4()), "parent_id": parent, "limits": {**limits, **changes}}
        wish["media"] = [{"media_token": "his"}]
        return wish["wallet_id"], await harbour.ask("POST", "/v1/wallets", [wish])

    for too_high in ({"balance_fen": 1_501}, {"day_fen": 301}, {"year_fen": 89_501}):
        (await opened(**too_high))[1].check_problem(409, "child_limits_too_high")
    child, said = await opened()
    assert said.status == 200, said.body
    moves = {"transfer_id": str(uuid4()), "to_wallet_id": child, "amount_fen": 300}
    assert (await harbour.ask("POST", f"/v1/wallets/{parent}/transfers", moves)).status == 200
    assert (await ride(harbour, media_token="his", full_fare=300))["outcome"] == "ride_charged"
    assert (await harbour.ask("POST", f"/v1/wallets/{child}/close")).status == 200
    assert (await ride(harbour, media_token="hers", full_fare=1))["outcome"] == "limit_reached"


async def test_a_wallet_tops_itself_up_once_a_day(harbour):
    wallet_id = await harbour.open_wallet(class_id="large", fen=150)
    rule = {"below_fen": 200, "amount_fen": 1_000}
    said = await harbour.ask("PUT", f"/v1/wallets/{wallet_id}/auto-top-up", rule)
    assert said.status == 200, said.body
    assert said.message["auto_top_up"] == rule
    assert (await ride(harbour))["balance_fen"] == 950
    for _ in range(4):
        await ride(harbour)
    assert (await ride(harbour))["outcome"] == "balance_too_low"
    assert (await harbour.wallet(wallet_id))["balance_fen"] == 150
    said = await harbour.ask("DELETE", f"/v1/wallets/{wallet_id}/auto-top-up")
    assert "auto_top_up" not in said.message


async def test_the_desk_says_what_is_wrong_with_a_grant(harbour):
    wallet_id = await harbour.open_wallet(fen=100)
    (await granted(harbour, wallet_id, 1, rule_id="x")).check_problem(422, "unknown_purse_rule")
    (await granted(harbour, wallet_id, 1, funder_id="x")).check_problem(422, "unknown_funder")
    (await granted(harbour, str(uuid4()), 1)).check_problem(404, "not_found")
    (await granted(harbour, wallet_id, 0)).check_problem(422, "invalid_message")
    (await granted(harbour, wallet_id, 101, funder_id=None)).check_problem(409, "balance_too_low")
    (await harbour.ask("GET", f"/v1/grants/{uuid4()}")).check_problem(404, "not_found")
    said = await harbour.ask("POST", f"/v1/wallets/{wallet_id}/grants", {}, who="auditor")
    assert said.status == 403
