"""Disruptions over HTTP on a real database: every test ends with an audit that passes."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from _refund_desk import AFTER_TURN, BEFORE_TURN, NOON, at, dsn_of, metro, net

from gateway import correction_commands
from gateway.disruption_path import run_disruptions
from gateway.settlement_path import sweep_late_legs


async def test_rides_of_a_disruption_are_put_right_once_two_people_have_agreed(desk, server_dsn):
    """Three left at Luohu, where the gates had let them in without a tap; one at another hour."""
    ids = [await desk.open_wallet(f"card-{number}") for number in range(3)]
    for number in range(3):
        await metro(desk, "exit", number, media_token=f"card-{number}")
    other = await desk.open_wallet("card-9")
    await metro(desk, "exit", 200, media_token="card-9")
    wish = {
        "disruption_id": str(uuid4()),
        "stops": ["luohu"],
        "begins": at(-30),
        "ends": at(100),
        "treatment": "free",
    }
    said = await desk.ask("POST", "/v1/disruptions", {**wish, "stops": ["nowhere"]}, who="desk")
    said.check_problem(422, "unknown_stop")
    said = await desk.ask("POST", "/v1/disruptions", {**wish, "networks": ["mtro"]}, who="desk")
    said.check_problem(422, "unknown_network", "mtro")
    for _ in range(2):
        said = await desk.ask("POST", "/v1/disruptions", wish, who="desk")
        assert said.status == 200, said.body
    again = await desk.ask("POST", "/v1/disruptions", {**wish, "ends": at(99)}, who="desk")
    again.check_problem(409, "disruption_id_reused")
    pool, book = desk.api.pool, desk.api.book
    await sweep_late_legs(pool, datetime.now(UTC), book)
    paid = [1000 - await net(desk, wallet_id) for wallet_id in (*ids, other)]
    assert min(paid) > 0
    nothing = await run_disruptions(pool, book, datetime.now(UTC))
    assert nothing.disruptions_count == 0
    path = f"/v1/disruptions/{wish['disruption_id']}/approve"
    assert (await desk.ask("POST", path, who="desk")).status == 403
    assert (await desk.ask("POST", path, who="checker")).message["checker"] == "checker"
    await correction_commands._apply(await dsn_of(desk, server_dsn), desk.api.settings.tariffs_dir)
    assert [await net(desk, wallet_id) for wallet_id in ids] == [1000] * 3
    assert await net(desk, other) == 1000 - paid[3]
    again = await run_disruptions(pool, book, datetime.now(UTC))
    assert (again.corrected_count, again.refused_count) == (0, 0)
    listed = await desk.ask("GET", "/v1/disruptions", who="auditor")
    assert len(listed.message["disruptions"]) == 1


async def test_a_ride_over_the_turn_of_the_day_lacks_no_end_in_a_disruption(desk):
    """One rode home at four in the morning; the other never tapped out, nor in the next noon."""
    home, lost = await desk.open_wallet(), await desk.open_wallet("card-2")
    await metro(desk, "enter", BEFORE_TURN)
    await metro(desk, "exit", AFTER_TURN)
    await metro(desk, "enter", BEFORE_TURN, media_token="card-2")
    await metro(desk, "exit", 0, media_token="card-2")
    paid = await net(desk, home)
    for begins, ends in ((BEFORE_TURN, BEFORE_TURN + 5), (AFTER_TURN, 5)):
        wish = {
            "disruption_id": str(uuid4()),
            "stops": ["luohu"],
            "begins": at(begins),
            "ends": at(ends),
            "treatment": "free",
        }
        await desk.ask("POST", "/v1/disruptions", wish, who="desk")
        await desk.ask("POST", f"/v1/disruptions/{wish['disruption_id']}/approve", who="checker")
    now = datetime.now(UTC)
    done = await run_disruptions(desk.api.pool, desk.api.book, now)
    await sweep_late_legs(desk.api.pool, now, desk.api.book)
    assert (done.corrected_count, done.refused_count) == (2, 0)
    assert await net(desk, home) == paid
    assert await net(desk, lost) == 1000


@pytest.mark.parametrize("minutes", [40, 600])
async def test_a_free_ride_stays_free_when_its_other_end_comes_in(desk, minutes):
    """One entered at Luohu, another left there; the gates of their other ends were offline."""
    ids = [await desk.open_wallet(token) for token in ("card-1", "card-2")]
    entry = await metro(desk, "enter", -minutes)
    left = await metro(desk, "exit", 0, media_token="card-2")
    ends = 30 - minutes, 1
    for number, end in enumerate(ends):
        wish = {
            "disruption_id": str(uuid4()),
            "stops": ["luohu"],
            "begins": at((-minutes, 0)[number]),
            "ends": at(end),
            "treatment": "free",
        }
        await desk.ask("POST", "/v1/disruptions", wish, who="desk")
        await desk.ask("POST", f"/v1/disruptions/{wish['disruption_id']}/approve", who="checker")
    now = datetime.now(UTC)
    await sweep_late_legs(desk.api.pool, now, desk.api.book)
    done = await run_disruptions(desk.api.pool, desk.api.book, now)
    assert (done.corrected_count, done.refused_count) == (2, 0)
    late = await metro(desk, "exit", -5 if minutes < 100 else -minutes + 200)
    assert (late["outcome"], late["fare_fen"]) == ("ride_charged", 0)
    before = await metro(desk, "enter", -15, media_token="card-2", offline=True)
    assert (before["outcome"], before["open"]) == ("leg_opened", True)
    await sweep_late_legs(desk.api.pool, now, desk.api.book)
    assert [await net(desk, wallet_id) for wallet_id in ids] == [1000, 1000]
    for tap in (entry, late, left, before):
        told = await desk.ask("GET", f"/v1/taps/{tap['tap_id']}/explanation")
        assert told.message["lines"] == ["free_ride booked: disruption, by desk"]


async def test_rides_of_a_disruption_end_where_riders_were_let_out_at_the_next_close(desk):
    wallet_id, like = await desk.open_wallet(), await desk.open_wallet("card-2")
    entry = await metro(desk, "enter", 0)
    await metro(desk, "enter", 0, media_token="card-2")
    leaves = {"gate_id": "futian-in", "stop_id": "futian", "media_token": "card-2"}
    left = desk.metro_tap("exit", tapped_at=at(1), **leaves)
    said = await desk.post_taps(left, gate_id="futian-station")
    assert said.message["outcome"] == "ride_charged", said.body
    wish = {
        "disruption_id": str(uuid4()),
        "stops": ["luohu"],
        "begins": at(-30),
        "ends": at(100),
        "treatment": "completed",
        "completed_at": "futian",
    }
    await desk.ask("POST", "/v1/disruptions", wish, who="desk")
    path = f"/v1/disruptions/{wish['disruption_id']}/approve"
    await desk.ask("POST", path, who="checker")
    closed = await desk.ask("POST", "/v1/settlements", {"service_day": str(NOON.date())})
    assert closed.status == 200, closed.body
    assert await net(desk, wallet_id) == await net(desk, like) < 1000
    told = await desk.ask("GET", f"/v1/taps/{entry['tap_id']}/explanation")
    assert "missing_exit booked: disruption, by desk" in told.message["lines"]
