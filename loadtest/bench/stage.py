"""Where the race is run: one PostgreSQL, a city's wallets, and the days that are still unused."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg

from loadtest.bench.databases import Databases
from loadtest.bench.processes import family_cpu_seconds

ZONE = ZoneInfo("Asia/Shanghai")
# In a city of this size a busy hour has about so many taps a second; the race runs time faster.
CITY_TAPS_PER_SECOND_PER_WALLET = 60 / 300_000
MASTER_KEY = bytes(range(32))
# A company pays for many riders from one wallet.
COMPANY = "company "
COMPANY_MEDIA_COUNT = 8
COMPANIES_COUNT = 12
_DAYS_MAX = 60
# Before the race's days lie those of which only the history is wanted; wallets are older still.
HISTORY_DAYS = 50


def company_token(company: int, number: int) -> str:
    return f"{COMPANY}{company} card {number}"


@dataclass(frozen=True, slots=True)
class Meter:
    """What PostgreSQL has done so far."""

    wal_bytes: int
    cpu_seconds: float

    def since(self, before: Meter) -> Meter:
        return Meter(self.wal_bytes - before.wal_bytes, self.cpu_seconds - before.cpu_seconds)


@dataclass(slots=True)
class Stage:
    """One server with one or more databases, of which `dsn` is the one raced on."""

    databases: Databases
    dsn: str
    postgres_pid: int
    bin_folder: Path
    folder: Path
    wallets_count: int
    first_day: datetime
    days_used: int = field(default=0)

    @property
    def keys_path(self) -> Path:
        return self.folder / "gate_keys.json"

    def next_day(self) -> datetime:
        """The start of a service day that no tap was made on yet: no row's taps come late."""
        self.days_used += 1
        assert self.days_used <= _DAYS_MAX, "the race has more rows than days were made for"
        return self.first_day + timedelta(days=self.days_used)

    async def on_copy(self, name: str) -> Stage:
        """The same city in a database of its own, without what was raced here."""
        return replace(self, dsn=await self.databases.copy(name))

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.dsn)
        try:
            yield connection
        finally:
            await connection.close()

    async def meter(self) -> Meter:
        async with self.connected() as connection:
            wal = await connection.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return Meter(int(wal), family_cpu_seconds(self.postgres_pid))

    def city_facts(self, **changes: Any) -> dict[str, Any]:
        """What a runner needs to make taps of its own."""
        return {
            "dsn": self.dsn,
            "wallets_count": self.wallets_count,
            "starts_at": self.next_day().isoformat(),
            **changes,
        }


def first_day_of_race(now: datetime) -> datetime:
    """Far enough back that the last row's last tap is still in the past."""
    today = now.astimezone(ZONE).replace(hour=5, minute=0, second=0, microsecond=0)
    return today - timedelta(days=_DAYS_MAX + 3)
