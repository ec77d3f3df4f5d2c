"""A gateway put together, serving until it is told to stop, and stopping without losing a tap."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import structlog
from aiohttp import web
from msgspec import structs

from fare_rules import TariffBook, load_book
from gateway.api import VERSION, Api
from gateway.archive_path import late_days_max
from gateway.core.decide import Limits, Plan
from gateway.core.registry import Role
from gateway.core.taps import Tap
from gateway.core.wallet_classes import WalletClasses
from gateway.purse_path import run_expiry
from gateway.registry_path import run_token_issue
from gateway.shell import migrations, telemetry
from gateway.shell.batcher import Batcher
from gateway.shell.campaign_store import Budgets, CampaignLowered, prepare_campaigns
from gateway.shell.class_store import ClassGone, prepare_wallet_classes
from gateway.shell.database import OUTAGES, open_pool
from gateway.shell.delivery_store import load_backlog
from gateway.shell.files import write_secret
from gateway.shell.log_days import LogDays
from gateway.shell.registry_store import RegistryHolder
from gateway.shell.settings import Settings, retention_fault
from gateway.shell.transactions import RACES
from gateway.shell.web import Door
from gateway.tap_path import run_tap_batch

log = structlog.get_logger()

_BEGIN_AGAIN_SECONDS = 1.0
_DAYS_AHEAD = 3
_DAYS_AHEAD_EVERY_SECONDS = 600
_OBSERVE_SECONDS = 1.0
# Beside those of the desk, which reports must not keep waiting.
_LONG_CONNECTIONS_COUNT = 2
_OBSERVE_BACKLOG_SECONDS = 15.0
# Connections to PostgreSQL, files that are read and written, the event loop's own.
_OTHER_FILES_COUNT = 256


class CannotRun(Exception):
    """The gateway cannot start; the text says what is missing and how to get it."""


async def prepare_database(settings: Settings, dsn: str) -> None:
    """Apply pending migrations if that was asked for. Raises: CannotRun when it was not."""
    missing = await migrations.pending(dsn)
    if missing and settings.auto_migrate:
        applied = await migrations.upgrade(dsn)
        log.info("migrated", migrations=applied)
    elif missing:
        raise migrations_pending(missing)


def migrations_pending(missing: Sequence[str]) -> CannotRun:
    return CannotRun(
        f"{len(missing)} migrations are pending; `faregate db status` lists them. "
        "Run `faregate db upgrade`, or set FAREGATE_AUTO_MIGRATE=true and serve."
    )


@contextlib.asynccontextmanager
async def gateway(settings: Settings, dsn: str, master_key: bytes) -> AsyncIterator[Api]:
    """Everything that one process needs, started; on leaving, drained and closed."""
    settings = with_files_for_connections(settings)
    book = load_book(settings.tariffs_dir)
    # Where the setting says how late, it was held against the retention when it was read.
    late_days = late_days_max(settings, book)
    if not settings.tap_age_days_max and (
        fault := retention_fault(settings, late_days, "the tariff")
    ):
        raise CannotRun(fault)
    await prepare_database(settings, dsn)
    _say_what_runs(settings)
    timeout_seconds = settings.commit_timeout_ms / 1000
    async with (
        await open_pool(
            dsn,
            connections_count_max=settings.pool_connections_count_max,
            acquire_seconds_max=timeout_seconds,
            statement_seconds_max=timeout_seconds,
        ) as pool,
        await open_pool(
            dsn, connections_count_max=_LONG_CONNECTIONS_COUNT, acquire_seconds_max=timeout_seconds
        ) as long_pool,
    ):
        try:
            await prepare_campaigns(long_pool, book, datetime.now(UTC))
            await prepare_wallet_classes(long_pool, book, datetime.now(UTC))
        except (CampaignLowered, ClassGone) as promised:
            raise CannotRun(str(promised)) from None
        registry = RegistryHolder(pool)
        await registry.refresh()
        batcher = batcher_of(settings, dsn, registry, book)
        batcher.start()
        door = Door(settings, master_key, registry)
        watching = [
            asyncio.create_task(_go_on_forever(name, begin))
            for name, begin in (
                ("registry", lambda: registry.run_forever(settings.registry_poll_ms / 1000)),
                ("days ahead", lambda: _keep_days_open(long_pool, book)),
                ("metrics", lambda: _observe_forever(door, pool, batcher)),
                ("backlog", lambda: _observe_backlog(long_pool)),
                ("leftovers", lambda: _return_leftovers(long_pool, book)),
            )
        ]
        _rest_the_collector()
        try:
            yield Api(door, dsn, pool, long_pool, batcher, book, settings, master_key)
        finally:
            for task in watching:
                task.cancel()
            await batcher.drain()


def with_files_for_connections(settings: Settings) -> Settings:
    """Ask for as many open files as connections may need; fewer files are fewer connections."""
    wanted = settings.connections_count_max + _OTHER_FILES_COUNT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    may_be = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < may_be:
        resource.setrlimit(resource.RLIMIT_NOFILE, (may_be, hard))
    if may_be == wanted:
        return settings
    count = max(may_be - _OTHER_FILES_COUNT, 1)
    log.warning("fewer connections than set, for want of open files (ulimit -Hn)", count=count)
    return structs.replace(settings, connections_count_max=count)


async def _go_on_forever(name: str, begin: Callable[[], Awaitable[None]]) -> None:
    """Begin again whatever it fails by: whoever comes next must not find that it ended long ago."""
    while True:
        try:
            await begin()
        except Exception:
            log.exception("begun again after a fault", task=name)
        await asyncio.sleep(_BEGIN_AGAIN_SECONDS)


async def _keep_days_open(pool: asyncpg.Pool, book: TariffBook) -> None:
    """Make the partitions of the days to come before the first tap of each."""
    log_days = LogDays()
    while True:
        today = book.service_day_of(datetime.now(UTC))
        with contextlib.suppress(*OUTAGES):
            await log_days.open(pool, [today + timedelta(days=n) for n in range(_DAYS_AHEAD + 1)])
        await asyncio.sleep(_DAYS_AHEAD_EVERY_SECONDS)


async def _return_leftovers(pool: asyncpg.Pool, book: TariffBook) -> None:
    """Take back what is left of grants, at the minute at which they end."""
    while True:
        now = datetime.now(UTC)
        await asyncio.sleep(60 - now.second - now.microsecond / 1e6)
        with contextlib.suppress(*OUTAGES, *RACES):
            await run_expiry(pool, book, datetime.now(UTC))


def _rest_the_collector() -> None:
    """Let Python look for cycles seldom, and never among the tariffs and the registry.

    Deciding makes many small objects and no cycles: looking among them cost a fifth of each tap.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _say_what_runs(settings: Settings) -> None:
    telemetry.BUILD.labels(VERSION).set(1)
    telemetry.WORKERS.set(1)
    telemetry.WORKERS_WANTED.set(settings.workers_count)
    telemetry.WORKER_STARTS.inc()
    telemetry.begin_counting()
    for name in (
        "connections_count_max",
        "requests_in_flight_max",
        "queue_taps_max",
        "pool_connections_count_max",
    ):
        telemetry.LIMIT.labels(name).set(getattr(settings, name))


async def _observe_forever(door: Door, pool: asyncpg.Pool, batcher: Batcher) -> None:
    """Look at what goes up and down once a second, so that no tap pays for it."""
    while True:
        slept_at = time.monotonic()
        await asyncio.sleep(_OBSERVE_SECONDS)
        now = time.monotonic()
        telemetry.LOOP_LAG_SECONDS.observe(now - slept_at - _OBSERVE_SECONDS)
        telemetry.WORKER_SEEN.set(time.time())
        telemetry.IN_FLIGHT.set(door.in_flight_count)
        telemetry.QUEUE_TAPS.set(batcher.waiting_count)
        telemetry.OLDEST_SECONDS.set(batcher.oldest_wait_seconds())
        telemetry.POOL_SIZE.set(pool.get_size())
        telemetry.POOL_IN_USE.set(pool.get_size() - pool.get_idle_size())
        telemetry.REGISTRY_AGE_SECONDS.set(now - door.registry.refreshed_at)
        telemetry.MEMORY_BYTES.set(telemetry.resident_bytes())


async def _observe_backlog(pool: asyncpg.Pool) -> None:
    """Look at what operators wait for; `faregate deliver` itself has no page of metrics."""
    while True:
        with contextlib.suppress(*OUTAGES):
            found = await load_backlog(pool, datetime.now(UTC))
            telemetry.DELIVERY_WAIT_SECONDS.set(found.wait_seconds)
            telemetry.DELIVERIES_GIVEN_UP.set(found.given_up_count)
            telemetry.CLOSE_AGE_SECONDS.set(found.close_age_seconds)
        await asyncio.sleep(_OBSERVE_BACKLOG_SECONDS)


def batcher_of(settings: Settings, dsn: str, registry: RegistryHolder, book: TariffBook) -> Batcher:
    limits = Limits(
        debt_block_fen=settings.debt_block_fen,
        tap_ahead_max=timedelta(seconds=settings.tap_ahead_seconds_max),
        tap_age_max=timedelta(days=days) if (days := settings.tap_age_days_max) else None,
        classes=WalletClasses.of(book.wallet_classes),
    )

    log_days, budgets = LogDays(), Budgets()

    async def run_batch(
        connection: asyncpg.Connection, taps: Sequence[Tap], is_locking: bool
    ) -> Plan:
        return await run_tap_batch(
            connection,
            taps,
            registry=registry.current,
            book=book,
            limits=limits,
            log_days=log_days,
            is_locking=is_locking,
            budgets=budgets,
            received_at=datetime.now(UTC),
        )

    return Batcher(
        dsn,
        run_batch,
        lanes_count=settings.lanes_count,
        batch_taps_max=settings.batch_taps_max,
        queue_taps_max=settings.queue_taps_max,
        commit_timeout_seconds=settings.commit_timeout_ms / 1000,
    )


@contextlib.asynccontextmanager
async def serving(api: Api, *, shares_port: bool = False) -> AsyncIterator[str]:
    """The HTTP door, open; its address. On leaving: not ready, taps in flight answered, closed."""
    settings = api.settings
    runner = api.door.runner(api.routes)
    await runner.setup()
    site = web.TCPSite(runner, settings.host, settings.port, backlog=1024, reuse_port=shares_port)
    try:
        try:
            await site.start()
        except OSError as error:
            raise port_taken(settings, error) from error
        yield f"http://{settings.host}:{_port(runner)}"
    finally:
        log.info("draining")
        await api.door.stop()
        await runner.cleanup()


def port_taken(settings: Settings, error: OSError) -> CannotRun:
    return CannotRun(
        f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}. Choose "
        "another with FAREGATE_HOST or FAREGATE_PORT."
    )


def _port(runner: web.AppRunner) -> int:
    return int(runner.addresses[0][1])


async def serve_until_stopped(
    settings: Settings, dsn: str, master_key: bytes, *, shares_port: bool = False
) -> None:
    """Serve until told to stop."""
    stop = stop_event()
    async with (
        gateway(settings, dsn, master_key) as api,
        serving(api, shares_port=shares_port) as address,
    ):
        tariff_id = api.book.tariffs[-1].tariff_id
        log.info("serving", address=address, tariff=tariff_id, pid=os.getpid())
        await stop.wait()


def stop_event() -> asyncio.Event:
    """Set at the first SIGTERM, SIGINT or SIGHUP (a terminal that was closed)."""
    stop = asyncio.Event()
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # As `nohup` wants it.
        numbers.append(signal.SIGHUP)
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def master_key_of(settings: Settings) -> bytes:
    """The key that gates' secrets derive from: the setting, else one kept in the data folder."""
    if settings.gate_master_key is not None:
        return bytes(settings.gate_master_key)
    path = settings.data_dir / "gate_master_key"
    if not path.exists():
        write_secret(path, secrets.token_hex(32))
    return bytes.fromhex(path.read_text().strip())


async def ensure_admin_token(pool: asyncpg.Pool, path: Path) -> str:
    """The admin token kept in a file, made when there is none.

    Only for stacks that run by themselves.
    """
    if kept := _kept_secret(path):
        return kept
    token = await run_token_issue(pool, f"admin-{secrets.token_hex(4)}", Role.ADMIN)
    write_secret(path, token)
    return token


def _kept_secret(path: Path) -> str | None:
    return path.read_text().strip() if path.exists() else None
