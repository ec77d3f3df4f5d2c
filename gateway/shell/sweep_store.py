"""Open legs that nobody can close any more: which wallets have one, and what a sweep saves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from uuid import UUID

import asyncpg

from gateway.core.campaigns import Left, usage_of
from gateway.core.ledger import JournalEntry
from gateway.core.wallets import Wallet
from gateway.shell import rows
from gateway.shell.campaign_store import load_left, spend_anywhere
from gateway.shell.transactions import Connection
from gateway.shell.wallet_store import READ_CLOCK, READ_WALLETS, save_wallets_and_entries


class SweepWork:
    """One transaction that ends days with open legs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock_late(self, wallet_ids: Sequence[UUID], now: datetime) -> list[Wallet]:
        """Those of some wallets whose open leg nobody can close any more."""
        found = await self._connection.fetch(_LOCK_LATE, wallet_ids, now)
        return [rows.wallet_from_row(row) for row in found]

    async def read_clock(self) -> date | None:
        found: date | None = await self._connection.fetchval(READ_CLOCK)
        return found

    async def read_left(self) -> dict[str, Left]:
        return await load_left(self._connection)

    async def save(
        self,
        wallets: Sequence[Wallet],
        entries: Sequence[JournalEntry],
        now: datetime,
        loaded: Sequence[Wallet],
    ) -> None:
        known = {wallet.wallet_id: wallet for wallet in loaded}
        await save_wallets_and_entries(self._connection, wallets, entries, now, known)
        await spend_anywhere(self._connection, usage_of(entries))


@asynccontextmanager
async def sweep_work(pool: asyncpg.Pool) -> AsyncIterator[SweepWork]:
    async with pool.acquire() as connection, connection.transaction():
        yield SweepWork(connection)


async def list_late_wallets(pool: asyncpg.Pool, now: datetime) -> list[UUID]:
    """The wallets with an open leg that nobody can close any more."""
    return [row[0] for row in await pool.fetch(_LIST_LATE, now)]


# No index leads to open legs: keeping one would cost each tap more than this costs a close.
_LIST_LATE = "SELECT wallet_id FROM wallet WHERE open_until <= $1 ORDER BY wallet_id"
_LOCK_LATE = f"""
{READ_WALLETS} WHERE wallet_id = ANY($1::uuid[]) AND open_until <= $2
ORDER BY wallet_id FOR UPDATE
"""
