"""What the gateway says of itself is so: each figure moves with what it is the figure of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from gateway import serving
from gateway.core.taps import TapOutcome, TapResult
from gateway.shell import telemetry


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_OBSERVE_SECONDS", 0.02)


def figure(name: str, **labels: str) -> float:
    """The process's own; 0 for what never was."""
    return telemetry.METRICS.get_sample_value(name, labels) or 0.0


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(1000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about in ten seconds")


async def grown(name: str, work: Callable[[], Awaitable[object]], **labels: str) -> float:
    before = figure(name, **labels)
    await work()
    return figure(name, **labels) - before


async def test_a_batch_is_seen_in_each_of_its_parts(door):
    await door.open_wallet()
    parts = ("queue_seconds", "batch_taps", "batch_seconds", "commit_seconds")
    names = [f"faregate_{part}_count" for part in parts]
    before = [figure(name) for name in names]
    assert (await door.post_taps([door.tap()])).status == 200
    assert [figure(name) for name in names] == [count + 1 for count in before]


async def test_outcomes_are_counted_tap_by_tap(door):
    await door.open_wallet(fen=200)
    taps = [door.tap(), door.tap(media_token="nobody")]
    charged = figure("faregate_taps_total", outcome="ride_charged")
    unknown = figure("faregate_taps_total", outcome="unknown_media")
    await door.post_taps(taps)
    assert figure("faregate_taps_total", outcome="ride_charged") == charged + 1
    assert figure("faregate_taps_total", outcome="unknown_media") == unknown + 1


def test_a_batch_of_many_outcomes_is_counted_as_its_taps_would_be():
    outcomes = [TapOutcome.LEG_OPENED] * 3 + [TapOutcome.RIDE_CHARGED] * 2
    before = {one: figure("faregate_taps_total", outcome=one) for one in set(outcomes)}
    telemetry.count_taps([TapResult(uuid4(), one, True, "") for one in outcomes])
    assert figure("faregate_taps_total", outcome="leg_opened") == before["leg_opened"] + 3
    assert figure("faregate_taps_total", outcome="ride_charged") == before["ride_charged"] + 2


async def test_taps_held_up_at_a_wallet_are_seen_waiting_and_their_age_grows(door):
    await door.open_wallet()
    async with door.api.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM wallet FOR UPDATE")
        flying = asyncio.create_task(door.post_taps([door.tap(), door.tap()]))
        await until(lambda: figure("faregate_queue_taps") == 2)
        assert figure("faregate_requests_in_flight") == 1
        first = figure("faregate_oldest_tap_seconds")
        await until(lambda: figure("faregate_oldest_tap_seconds") > first > 0)
    assert (await flying).status == 200
    await until(lambda: figure("faregate_queue_taps") == 0)
    assert figure("faregate_oldest_tap_seconds") == 0
    await until(lambda: figure("faregate_requests_in_flight") == 0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"queue_taps_max": 1}, "queue_full"),
        ({"request_taps_max": 1}, "too_many_taps"),
        ({"body_bytes_max": 64}, "body_too_large"),
        ({"header_count_max": 1}, "too_many_headers"),
        ({"requests_in_flight_max": 0}, "too_many_requests"),
    ],
)
async def test_a_refusal_is_counted_by_its_reason(open_door, changes, reason):
    async with open_door(**changes) as door:
        taps = [door.tap(), door.tap()]
        by = await grown("faregate_refusals_total", lambda: door.post_taps(taps), reason=reason)
    assert by == 1


async def test_a_stop_and_a_database_away_are_counted_apart(door):
    door.api.door.is_draining = True
    stopping = await grown(
        "faregate_refusals_total", lambda: door.send("GET", "/readyz"), reason="stopping"
    )
    door.api.door.is_draining = False
    await door.api.pool.close()
    away = await grown(
        "faregate_refusals_total", lambda: door.send("GET", "/readyz"), reason="database_away"
    )
    assert (stopping, away) == (1, 1)


async def test_connections_of_the_pool_are_seen_in_use(door):
    async with door.api.pool.acquire(), door.api.pool.acquire():
        await until(lambda: figure("faregate_pool_connections_in_use") >= 2)
        assert figure("faregate_pool_connections") >= 2
    await until(lambda: figure("faregate_pool_connections_in_use") <= 1)


async def test_a_full_pool_is_seen_in_the_wait_and_in_the_age_of_the_city(open_door):
    async with open_door(pool_connections_count_max=2, registry_poll_ms=50) as door:
        waited = figure("faregate_pool_wait_seconds_sum")
        async with door.api.pool.acquire(), door.api.pool.acquire():
            await until(lambda: figure("faregate_registry_age_seconds") > 0.3)
        await until(lambda: figure("faregate_registry_age_seconds") < 0.2)
        assert figure("faregate_pool_wait_seconds_sum") - waited > 0.1


async def test_looking_the_city_up_goes_on_after_a_fault(
    open_door, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(serving, "_BEGIN_AGAIN_SECONDS", 0.05)
    async with open_door(registry_poll_ms=50) as door:
        rename = "SET ROLE NONE; ALTER TABLE {} RENAME TO {}; SET ROLE faregate_gateway"
        await door.api.pool.execute(rename.format("registry_version", "gone"))
        await until(lambda: figure("faregate_registry_age_seconds") > 0.3)
        await door.api.pool.execute(rename.format("gone", "registry_version"))
        await until(lambda: figure("faregate_registry_age_seconds") < 0.2)
    assert "begun again after a fault" in "".join(capsys.readouterr())


async def test_the_process_and_its_limits_are_told(open_door):
    async with open_door(queue_taps_max=4321) as door:
        await until(lambda: figure("faregate_memory_bytes") > 10_000_000)
        looked = figure("faregate_loop_lag_seconds_count")
        await until(lambda: figure("faregate_loop_lag_seconds_count") > looked)
        said = await door.ask("GET", "/metrics")
    shown = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(said.body.decode())
        for sample in family.samples
    }
    assert shown["faregate_limit", "queue_taps_max"] == 4321
    assert shown["faregate_limit", "requests_in_flight_max"] == 512
    assert shown["faregate_limit", "pool_connections_count_max"] == 4
    assert (shown[("faregate_workers",)], shown[("faregate_workers_wanted",)]) == (1, 1)


async def test_what_operators_wait_for_is_shown(open_door, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(serving, "_OBSERVE_BACKLOG_SECONDS", 0.02)
    async with open_door() as door:
        await door.api.pool.execute(
            """INSERT INTO settlement (settlement_day, number, closed_at, currency, parties)
            VALUES ('2026-03-02', 1, now() - interval '1 hour', 'CNY', '{}')"""
        )
        await until(lambda: figure("faregate_close_age_seconds") >= 3_600)


async def test_a_row_that_the_database_refused_is_not_logged(
    door, capsys: pytest.CaptureFixture[str]
):
    """It would tell whose card it was, and what the wallet holds."""
    telemetry.start_logging("debug", "json")
    await door.api.pool.execute(
        """SET ROLE NONE;
        ALTER TABLE media ADD CONSTRAINT unlucky CHECK (media_token <> 'card-13') NOT VALID;
        SET ROLE faregate_gateway"""
    )
    media = {"media_token": "card-13", "rider_category": "free", "fare_media": "qr"}
    said = await door.ask("POST", "/v1/wallets", [{"wallet_id": str(uuid4()), "media": [media]}])
    assert said.status == 500
    structlog.reset_defaults()
    logged = "".join(capsys.readouterr())
    assert 'violates check constraint \\"unlucky\\"' in logged
    assert "DETAIL:  (left out)" in logged
    assert "card-13" not in logged
