"""Settlement's statements: the clock that closes days, the lines to pay, and what was settled."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from pathlib import Path

import asyncpg
import msgspec
from msgspec import Struct, structs

from gateway.core.ledger import entry_id
from gateway.core.payment_order import Debtor
from gateway.core.registry import Operator
from gateway.core.settlement import SettledLine, Settlement
from gateway.shell.archive_files import ENTRIES, ArchivedDay, paths_of, read_settled_entries
from gateway.shell.store import Connection, load_archived_days, reading


class SettlementRow(Struct, frozen=True):
    """One close. `is_saved` once its batches have been added up and kept."""

    settlement_day: date
    number: int
    days_after: date | None
    closed_at: datetime
    currency: str
    parties: bytes
    is_saved: bool


class Parties(Struct, frozen=True):
    """Who pays, and who is paid into which account, as registered at a close."""

    debtor: Debtor
    operators: tuple[Operator, ...]


class SettlementDiffers(Exception):
    """What was settled no longer comes out of the ledger.

    Nothing is overwritten; call an auditor.
    """


class CloseWork:
    """The transaction that moves the clock."""

    def __init__(self, connection: asyncpg.pool.PoolConnectionProxy) -> None:
        self._connection = connection

    async def lock_clock(self) -> date | None:
        """Wait for the taps in flight, and keep new ones waiting until the commit."""
        await self._connection.execute("LOCK TABLE settlement_clock IN ACCESS EXCLUSIVE MODE")
        found: date | None = await self._connection.fetchval(
            "SELECT closed_through FROM settlement_clock"
        )
        return found

    async def is_settlement_day(self, service_day: date) -> bool:
        return bool(
            await self._connection.fetchval(
                "SELECT true FROM settlement WHERE settlement_day = $1", service_day
            )
        )

    async def save_close(
        self,
        service_day: date,
        days_after: date | None,
        closed_at: datetime,
        currency: str,
        debtor: Debtor,
    ) -> None:
        found = await self._connection.fetch("SELECT * FROM operator ORDER BY operator_id")
        parties = Parties(debtor, tuple(Operator(**row) for row in found))
        await self._connection.execute(
            """INSERT INTO settlement
            (settlement_day, number, days_after, closed_at, currency, parties)
            SELECT $1, count(*) + 1, $2, $3, $4, $5 FROM settlement""",
            service_day,
            days_after,
            closed_at,
            currency,
            msgspec.json.encode(parties),
        )
        await self._connection.execute(
            "UPDATE settlement_clock SET closed_through = $1", service_day
        )


@asynccontextmanager
async def close_work(pool: asyncpg.Pool) -> AsyncIterator[CloseWork]:
    async with pool.acquire() as connection, connection.transaction():
        yield CloseWork(connection)


async def list_settlement_rows(pool: asyncpg.Pool) -> list[SettlementRow]:
    """Every close, oldest first."""
    found = await pool.fetch(
        """SELECT settlement.*, manifest_sha256 IS NOT NULL AS is_saved
        FROM settlement LEFT JOIN settlement_manifest USING (settlement_day) ORDER BY number"""
    )
    return [SettlementRow(**row) for row in found]


async def load_lines(
    pool: asyncpg.Pool, row: SettlementRow, archive: Path | None
) -> list[SettledLine]:
    """What one close settles, from the ledger and from the archive.

    Raises: ArchiveMissing when some of it is archived, and the archive cannot be read.
    """
    async with reading(pool) as connection:
        lines = await _load_ledger_lines(connection, row)
        archived = [
            day
            for day in await load_archived_days(connection, row.settlement_day)
            if day.settled_through is not None
            and (row.days_after is None or day.settled_through > row.days_after)
        ]
    if archived:
        lines += await asyncio.to_thread(_read_archived_lines, archive, archived, row)
    return lines


def _read_archived_lines(
    archive: Path | None, days: list[ArchivedDay], row: SettlementRow
) -> list[SettledLine]:
    paths = paths_of(archive, days, ENTRIES)
    return [
        msgspec.convert(
            {
                "entry_id": entry.entry_id,
                "amount_fen": entry.operator_fen,
                **structs.asdict(entry),
            },
            SettledLine,
        )
        for entry in read_settled_entries(paths, row.days_after, row.settlement_day)
    ]


async def _load_ledger_lines(connection: Connection, row: SettlementRow) -> list[SettledLine]:
    found = await connection.fetch(
        """SELECT kind, tap_id, cause_id, operator_id, product_id, service_day,
            settlement_day, effective_at, recorded_at, ride_count,
            operator_fen AS amount_fen
        FROM journal_entry
        WHERE settlement_day <= $1 AND ($2::date IS NULL OR settlement_day > $2)
            AND operator_id IS NOT NULL""",
        row.settlement_day,
        row.days_after,
    )
    return [
        SettledLine(entry_id(line["cause_id"], line["tap_id"], line["product_id"]), **line)
        for line in found
    ]


def parties_of(row: SettlementRow) -> Parties:
    return msgspec.json.decode(row.parties, type=Parties)


async def load_carried(pool: asyncpg.Pool, before: date) -> dict[str, int]:
    """What each operator's latest batch before a day left to carry."""
    found = await pool.fetch(
        """SELECT DISTINCT ON (operator_id) operator_id, carried_out_fen FROM settlement_batch
        WHERE settlement_day < $1 ORDER BY operator_id, settlement_day DESC""",
        before,
    )
    return {row["operator_id"]: row["carried_out_fen"] for row in found if row["carried_out_fen"]}


async def load_previous_hash(pool: asyncpg.Pool, before: date) -> str | None:
    found: str | None = await pool.fetchval(
        """SELECT manifest_sha256 FROM settlement_manifest WHERE settlement_day < $1
        ORDER BY settlement_day DESC LIMIT 1""",
        before,
    )
    return found


async def save_settlement(pool: asyncpg.Pool, settlement: Settlement, manifest: bytes) -> None:
    """Keep the batches and the manifest. Raises: SettlementDiffers when others were kept before."""
    day, digest = settlement.period.service_day, hashlib.sha256(manifest).hexdigest()
    async with pool.acquire() as connection, connection.transaction():
        await connection.executemany(
            "INSERT INTO settlement_batch VALUES ($1, $2, $3, $4, $5, $6, $7) "
            "ON CONFLICT DO NOTHING",
            [
                (
                    day,
                    batch.operator_id,
                    batch.ride_count,
                    batch.gross_fen,
                    batch.carried_in_fen,
                    batch.paid_fen,
                    batch.carried_out_fen,
                )
                for batch in settlement.batches
            ],
        )
        await connection.execute(
            "INSERT INTO settlement_manifest VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            day,
            digest,
            manifest,
        )
        kept = await connection.fetchval(
            "SELECT manifest_sha256 FROM settlement_manifest WHERE settlement_day = $1", day
        )
        if kept != digest:
            raise SettlementDiffers(f"settlement {day}: kept {kept}, added up now {digest}")
