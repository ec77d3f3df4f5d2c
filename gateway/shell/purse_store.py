"""Grants in the database: which are over, and what became of each fen of one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from uuid import UUID

import asyncpg

from gateway.core.ledger import JournalEntry
from gateway.core.wallets import Wallet
from gateway.shell import rows
from gateway.shell.log_days import LogDays
from gateway.shell.transactions import Connection
from gateway.shell.wallet_store import (
    END_GRANTS,
    LOCK_WALLETS,
    READ_CLOCK,
    save_wallets_and_entries,
)


class PurseWork:
    """One transaction that ends grants."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list_expired(
        self, now: datetime, limit: int
    ) -> list[tuple[UUID, UUID, datetime | None]]:
        """Grants that are over: each with its wallet and its end."""
        return [tuple(row) for row in await self._connection.fetch(_LIST_EXPIRED, now, limit)]

    async def list_of_rule(
        self, rule_id: str, funder_id: str | None, limit: int
    ) -> list[tuple[UUID, UUID, datetime | None]]:
        """Grants of a rule that have not ended, of one funder or of all."""
        found = await self._connection.fetch(_LIST_OF_RULE, rule_id, funder_id, limit)
        return [tuple(row) for row in found]

    async def lock_wallets(self, wallet_ids: Iterable[UUID]) -> dict[UUID, Wallet]:
        found = await self._connection.fetch(LOCK_WALLETS, list(wallet_ids))
        return {row["wallet_id"]: rows.wallet_from_row(row) for row in found}

    async def read_clock(self) -> date | None:
        found: date | None = await self._connection.fetchval(READ_CLOCK)
        return found

    async def save(
        self,
        wallets: Sequence[Wallet],
        entries: Sequence[JournalEntry],
        now: datetime,
        loaded: Mapping[UUID, Wallet],
        ended: Sequence[UUID],
    ) -> None:
        await LogDays().open(self._connection, {entry.service_day for entry in entries})
        await save_wallets_and_entries(self._connection, wallets, entries, now, loaded)
        await self._connection.execute(END_GRANTS, list(ended), now)


@asynccontextmanager
async def purse_work(pool: asyncpg.Pool) -> AsyncIterator[PurseWork]:
    async with pool.acquire() as connection, connection.transaction():
        yield PurseWork(connection)


async def load_grant_entries(
    pool: asyncpg.Pool, wallet_id: UUID, grant_id: UUID
) -> list[JournalEntry]:
    """Every entry that moved money of a grant, from the grant to its end."""
    found = await pool.fetch(_READ_GRANT_ENTRIES, wallet_id, grant_id)
    return [rows.entry_from_row(row) for row in found]


# The rows are locked, so that two gateways take turns; SKIP LOCKED would let one run end too soon.
_LIST_EXPIRED = """
SELECT grant_id, wallet_id, valid_until FROM purse_grant
WHERE ended_at IS NULL AND valid_until <= $1
ORDER BY valid_until, grant_id LIMIT $2 FOR UPDATE
"""
_LIST_OF_RULE = """
SELECT grant_id, wallet_id, valid_until FROM purse_grant
WHERE ended_at IS NULL AND rule_id = $1 AND ($2::text IS NULL OR funder_id = $2)
ORDER BY grant_id LIMIT $3 FOR UPDATE
"""
_READ_GRANT_ENTRIES = """
SELECT * FROM journal_entry WHERE wallet_id = $1 AND $2 = ANY(purses) ORDER BY wallet_version
"""
