"""The archive's statements: which days are old, what still needs one, and taking it out.

All of it needs the tables' owner: the gateway's own role can neither drop a partition nor delete.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg

from gateway.core.amendments import Amendment
from gateway.core.days import Opening, WalletDay
from gateway.core.decide import KeptTap
from gateway.core.ledger import JournalEntry
from gateway.core.taps import LET_THROUGH
from gateway.core.wallets import Wallet
from gateway.shell import rows
from gateway.shell.amendment_rows import load_amendments
from gateway.shell.tap_store import save_openings
from gateway.shell.wallet_store import READ_WALLETS

_ROWS_AT_ONCE = 5_000
_WALLETS_AT_ONCE = 1_000
# How long taps may have to wait behind us for the log's lock. Then we step back and try again.
_LOCK_MS = 200
_TRIES_MAX = 20
_TRY_AGAIN_SECONDS = 0.5


class NotTheOwner(Exception):
    """The database's user may not archive; the text says who may."""


class DayInUse(Exception):
    """Somebody else holds what would have to be taken."""


@asynccontextmanager
async def archive_connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection with its user's own rights. Raises: NotTheOwner when they do not suffice."""
    connection: asyncpg.Connection = await asyncpg.connect(
        dsn, server_settings={"application_name": "faregate archive", "synchronous_commit": "on"}
    )
    try:
        if not await connection.fetchval(_IS_OWNER):
            user = await connection.fetchval("SELECT current_user")
            raise NotTheOwner(
                f"Old days are archived and unlinked by the owner of the tables alone, and {user} "
                "is not. Set FAREGATE_DATABASE_URL to the user that ran `faregate db upgrade`."
            )
        yield connection
    finally:
        await connection.close()


async def try_again(work: Callable[[], Awaitable[None]]) -> None:
    """Do it when whoever holds a day has let go of it. Raises: DayInUse when nobody did."""
    for tries in range(1, _TRIES_MAX + 1):
        try:
            return await work()
        except DayInUse:
            if tries == _TRIES_MAX:
                raise
            await asyncio.sleep(_TRY_AGAIN_SECONDS)


async def list_days(connection: asyncpg.Connection) -> dict[date, bool]:
    """The days of the log, oldest first, and whether each is archived."""
    found = await connection.fetch(
        "SELECT service_day, archived_at IS NOT NULL AS is_archived FROM log_day ORDER BY 1"
    )
    return {row["service_day"]: row["is_archived"] for row in found}


class DayWork:
    """One day's transaction. Nobody writes to the day's partitions while it lasts."""

    def __init__(self, connection: asyncpg.Connection, day: date) -> None:
        self._connection = connection
        self._day = day
        self._tap = f"tap_{day:%Y%m%d}"
        self._entry = f"journal_entry_{day:%Y%m%d}"

    async def lock(self) -> None:
        """Raises: DayInUse when another process is archiving the day."""
        try:
            await self._connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MS}")
            await self._connection.execute(
                "SELECT FROM log_day WHERE service_day = $1 FOR UPDATE NOWAIT", self._day
            )
            await self._connection.execute(
                f"LOCK TABLE {self._tap}, {self._entry} IN SHARE MODE NOWAIT"
            )
        except asyncpg.LockNotAvailableError:
            raise DayInUse(f"{self._day} is being archived, or written to, by another.") from None

    async def closed_through(self) -> date | None:
        """The last closed day whose settlement was added up, with all before it."""
        found: date | None = await self._connection.fetchval(
            """SELECT max(settlement_day) FROM settlement_manifest
            WHERE settlement_day < coalesce((
                SELECT min(settlement_day) FROM settlement WHERE NOT EXISTS (
                    SELECT FROM settlement_manifest AS kept
                    WHERE kept.settlement_day = settlement.settlement_day)), 'infinity')"""
        )
        return found

    async def settled_through(self) -> date | None:
        """The newest settlement day of the day's entries."""
        found: date | None = await self._connection.fetchval(
            f"SELECT max(settlement_day) FROM {self._entry}"
        )
        return found

    async def list_wallets_with_open_legs(self) -> list[Wallet]:
        """Those that rode on the day and have a leg that is neither closed nor charged."""
        found = await self._connection.fetch(
            f"""{READ_WALLETS} WHERE open_until IS NOT NULL
            AND EXISTS (SELECT FROM {self._tap} AS tap WHERE tap.wallet_id = wallet.wallet_id)"""
        )
        return [rows.wallet_from_row(row) for row in found]

    async def schema(self) -> str:
        """The newest migration."""
        return str(await self._connection.fetchval("SELECT max(version) FROM schema_migrations"))

    async def taps(self) -> AsyncIterator[list[KeptTap]]:
        """All taps of the day in the order of wallet and version."""
        async for chunk in self._chunks(self._tap, "wallet_id, wallet_version, tap_id"):
            yield [rows.kept_from_row(row) for row in chunk]

    async def entries(self) -> AsyncIterator[list[JournalEntry]]:
        """All entries of the day in the order of wallet and version."""
        async for chunk in self._chunks(self._entry, "wallet_id, wallet_version"):
            yield [rows.entry_from_row(row) for row in chunk]

    async def _chunks(self, table: str, order: str) -> AsyncIterator[list[Any]]:
        # A cursor that can be closed, for no table is dropped while one is open on it; named after
        # its table, for the driver remembers the columns of a FETCH by its words.
        await self._connection.execute(
            f"DECLARE old_{table} NO SCROLL CURSOR FOR SELECT * FROM {table} ORDER BY {order}"
        )
        while chunk := await self._connection.fetch(f"FETCH {_ROWS_AT_ONCE} FROM old_{table}"):
            yield chunk
        await self._connection.execute(f"CLOSE old_{table}")

    async def wallet_days_to_remember(
        self, late_since: date
    ) -> AsyncIterator[list[tuple[UUID, WalletDay, list[Amendment]]]]:
        """The day of each wallet that did not ride again until taps could still be late."""
        # A rider who rode again did so soon, mostly, and the days are looked through in order.
        await self._connection.execute("SET LOCAL enable_hashjoin = off")
        await self._connection.execute("SET LOCAL enable_mergejoin = off")
        found = await self._connection.fetch(
            f"""SELECT DISTINCT wallet_id FROM {self._tap} AS day
            WHERE outcome = ANY($1::text[]) AND NOT EXISTS (
                SELECT FROM tap WHERE tap.wallet_id = day.wallet_id
                AND tap.outcome = ANY($1::text[])
                AND tap.service_day > $2 AND tap.service_day <= $3)""",
            LET_THROUGH,
            self._day,
            late_since,
        )
        ids = [row["wallet_id"] for row in found]
        for start in range(0, len(ids), _WALLETS_AT_ONCE):
            yield await self._load_wallet_days(ids[start : start + _WALLETS_AT_ONCE])

    async def _load_wallet_days(
        self, ids: list[UUID]
    ) -> list[tuple[UUID, WalletDay, list[Amendment]]]:
        openings: dict[UUID, Opening] = {}
        kept = await self._connection.fetch(
            "SELECT * FROM wallet_day WHERE day = $1 AND wallet_id = ANY($2::uuid[])",
            self._day,
            ids,
        )
        openings |= {row["wallet_id"]: rows.opening_from(row["opening"]) for row in kept}
        for row in await self._connection.fetch(
            f"{READ_WALLETS} WHERE wallet_id = ANY($1::uuid[])", ids
        ):
            wallet = rows.wallet_from_row(row)
            if wallet.day == self._day:
                openings[wallet.wallet_id] = wallet.opening
        taps: dict[UUID, list[Any]] = {}
        for row in await self._connection.fetch(
            f"SELECT * FROM {self._tap} WHERE wallet_id = ANY($1::uuid[]) "
            "AND outcome = ANY($2::text[])",
            ids,
            LET_THROUGH,
        ):
            taps.setdefault(row["wallet_id"], []).append(rows.facts_from_row(row))
        amendments = await load_amendments(self._connection, ids)
        return [
            (
                i,
                WalletDay(self._day, tuple(taps[i]), openings.get(i, {})),
                [one for _, one in amendments.get(i, ())],
            )
            for i in ids
        ]

    async def remember(self, closings: dict[tuple[UUID, date], Opening]) -> None:
        """Keep what the rest of a wallet's days begins with, instead of what went before."""
        await save_openings(self._connection, closings)

    async def take_out(self, manifest_sha256: str, late_since: date) -> None:
        """Forget the day here. Its own attempt: a lock that does not come undoes all of it.

        Raises: DayInUse when the lock that taps need, too, did not come in time.
        """
        try:
            async with self._connection.transaction():
                await self._connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MS}")
                await self._forget(late_since)
                await self._connection.execute(
                    """UPDATE log_day SET archived_at = now(), manifest_sha256 = $2,
                    settled_through = (SELECT max(settlement_day) FROM journal_entry
                        WHERE service_day = $1) WHERE service_day = $1""",
                    self._day,
                    manifest_sha256,
                )
                await self._connection.execute(_KEEP_CAMPAIGNS.format(entry=self._entry))
                # Last, for taps wait from here until the commit.
                await self._connection.execute(f"DROP TABLE {self._tap}, {self._entry}")
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            raise DayInUse(
                f"{self._day} is still being read, by an audit perhaps. Archive again later."
            ) from None

    async def _forget(self, late_since: date) -> None:
        await self._connection.execute(
            "DELETE FROM gate_sequence WHERE service_day = $1", self._day
        )
        # A wallet that did not ride since keeps what it is to go on from.
        await self._connection.execute(
            """DELETE FROM wallet_day WHERE day <= $1 AND (
                EXISTS (SELECT FROM wallet_day AS newer WHERE newer.day = $1 + 1
                    AND newer.wallet_id = wallet_day.wallet_id)
                OR EXISTS (SELECT FROM tap WHERE tap.wallet_id = wallet_day.wallet_id
                    AND tap.outcome = ANY($3::text[])
                    AND tap.service_day > $1 AND tap.service_day <= $2))""",
            self._day,
            late_since,
            LET_THROUGH,
        )


@asynccontextmanager
async def day_work(connection: asyncpg.Connection, day: date) -> AsyncIterator[DayWork]:
    async with connection.transaction():
        yield DayWork(connection, day)


# What campaigns spent must be told without the archive, with every look at what they have left.
_KEEP_CAMPAIGNS = """
INSERT INTO campaign_old_day (account, service_day, entries_count, spent_fen, reversed_fen)
SELECT
    account, service_day, count(*),
    coalesce(sum(-share.fen) FILTER (WHERE share.fen < 0), 0),
    coalesce(sum(share.fen) FILTER (WHERE share.fen > 0), 0)
FROM {entry} CROSS JOIN unnest(sponsors, sponsors_fen) AS share (account, fen)
JOIN campaign USING (account)
WHERE sponsors IS NOT NULL GROUP BY account, service_day
"""
_IS_OWNER = """
SELECT bool_and(pg_has_role(relowner, 'USAGE')) FROM pg_class
WHERE oid IN ('tap'::regclass, 'journal_entry'::regclass, 'log_day'::regclass)
"""
