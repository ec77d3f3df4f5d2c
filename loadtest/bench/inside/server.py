"""A PostgreSQL for the race, with a city in it as the desk would have saved it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import asyncpg
import msgspec

from fare_rules import TariffBook, load_book
from gateway import registry_path
from gateway.core.registry import Gate, Operator, Route, Stop
from gateway.core.wallet_desk import WalletPlan
from gateway.core.wallet_wishes import BindMedia, OpenWallet, TopUp, Wish
from gateway.shell import migrations
from gateway.shell.database import open_pool
from gateway.shell.embedded_postgres import EmbeddedPostgres, find_bin
from gateway.shell.registry_store import load_registry
from gateway.shell.settings import Settings
from gateway.wallet_path import run_wallet_wishes
from loadtest.bench.databases import TEMPLATE, Databases
from loadtest.bench.stage import (
    COMPANIES_COUNT,
    COMPANY,
    COMPANY_MEDIA_COUNT,
    HISTORY_DAYS,
    MASTER_KEY,
    Stage,
    company_token,
    first_day_of_race,
)
from loadtest.city import City

# The same for both sides. Durable, which the embedded server is in any case.
SERVER = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "max_connections": "200",
    "shared_preload_libraries": "pg_stat_statements",
}
_WALLETS_AT_ONCE = 5_000
# By Zipf's law one rider makes a journey in twenty: enough for many minutes of the race.
_TOP_UP_FEN = 10_000_000
_COMPANY_FEN = 100_000_000


@contextlib.asynccontextmanager
async def stage(wallets_count: int) -> AsyncIterator[Stage]:
    """A warm server with a city's operators, gates, keys and wallets; gone afterwards."""
    # PostgreSQL runs as another user when we are root, and must be able to enter.
    folder = _open_folder()
    try:
        with EmbeddedPostgres(folder, settings=SERVER) as server:
            assert server.pid is not None
            databases = Databases(server.dsn)
            made = Stage(
                databases=databases,
                dsn=databases.dsn_of(TEMPLATE),
                postgres_pid=server.pid,
                bin_folder=find_bin(),
                folder=folder,
                wallets_count=wallets_count,
                first_day=first_day_of_race(datetime.now(UTC)),
            )
            await databases.make(TEMPLATE)
            await _load(made)
            made.dsn = await databases.copy("race")
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _open_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="faregate-bench-", dir="/tmp"))
    folder.chmod(0o755)
    return folder


async def _load(made: Stage) -> None:
    """Fill the template: each copy of it begins with the same city, analyzed and written out."""
    await migrations.upgrade(made.dsn)
    opened_at = made.first_day - timedelta(days=HISTORY_DAYS + 10)
    await load_city(made.dsn, made.wallets_count, opened_at, made.keys_path)
    async with made.connected() as connection:
        await connection.execute("CREATE EXTENSION pg_stat_statements")
        await connection.execute("CREATE EXTENSION pg_prewarm")
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")


async def load_city(dsn: str, wallets_count: int, opened_at: datetime, keys_path: Path) -> None:
    """Register the city, hand out its gates' keys and open its wallets."""
    city = City(riders_count=wallets_count, top_up_fen=_TOP_UP_FEN)
    book = load_book(Settings().tariffs_dir)
    pool = await open_pool(dsn)
    try:
        records = _records(city)
        await registry_path.run_city_registration(pool, records)
        issued = await registry_path.run_key_issue(
            pool,
            registry_path.KeyWish(tuple(gate.gate_id for gate in records.gates)),
            registry=await load_registry(pool),
            master_key=MASTER_KEY,
            now=opened_at,
        )
        assert isinstance(issued, list)
        _write_keys(issued, keys_path)
        for first in range(0, wallets_count, _WALLETS_AT_ONCE):
            count = min(_WALLETS_AT_ONCE, wallets_count - first)
            opens = msgspec.convert(list(city.wallets(first, count)), list[OpenWallet])
            await _grant(pool, [Wish(one.wallet_id, opens=one) for one in opens], book, opened_at)
        for company in range(COMPANIES_COUNT):
            await _grant(pool, list(_company_wishes(company)), book, opened_at)
    finally:
        await pool.close()


def _write_keys(issued: Sequence[registry_path.IssuedKey], path: Path) -> None:
    path.write_bytes(msgspec.json.encode({one.gate_id: (one.key_id, one.secret) for one in issued}))


def _records(city: City) -> registry_path.City:
    said = city.registry()
    return registry_path.City(
        operators=msgspec.convert(said["operators"], tuple[Operator, ...]),
        stops=msgspec.convert(said["stops"], tuple[Stop, ...]),
        routes=msgspec.convert(said["routes"], tuple[Route, ...]),
        gates=msgspec.convert(said["gates"], tuple[Gate, ...]),
    )


async def _grant(
    pool: asyncpg.Pool, wishes: Sequence[Wish], book: TariffBook, now: datetime
) -> None:
    found = await run_wallet_wishes(
        pool, wishes, registry=await load_registry(pool), book=book, now=now, floor_fen=0
    )
    assert isinstance(found, WalletPlan), found


def _company_wishes(company: int) -> Iterator[Wish]:
    wallet_id = uuid5(NAMESPACE_URL, f"{COMPANY}{company}")
    top_up = TopUp(uuid5(wallet_id, "first"), _COMPANY_FEN)
    yield Wish(wallet_id, opens=OpenWallet(wallet_id, top_up=top_up))
    for number in range(COMPANY_MEDIA_COUNT):
        yield Wish(wallet_id, binds=BindMedia(company_token(company, number)))
