"""A service day's trips, wallet by wallet, from the log and the ledger or from the archive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import NamedTuple, TypeVar

import asyncpg

from gateway.core.decide import KeptTap
from gateway.core.ledger import JournalEntry
from gateway.core.taps import LET_THROUGH
from gateway.shell import rows
from gateway.shell.archive_files import (
    ENTRIES,
    TAPS,
    ArchiveMissing,
    paths_of,
    read_entries,
    read_taps,
)
from gateway.shell.log_days import load_archived_days
from gateway.shell.transactions import Connection, reading

_ROWS_AT_ONCE = 5_000
T = TypeVar("T")


class WalletTrips(NamedTuple):
    """A wallet's taps that were let through, and its entries that name an operator."""

    taps: list[KeptTap]
    entries: list[JournalEntry]


@asynccontextmanager
async def reading_trips(
    pool: asyncpg.Pool, day: date, archive: Path | None
) -> AsyncIterator[AsyncIterator[WalletTrips] | None]:
    """A day's trips, to be read once; None where the log does not know the day.

    Shape:  one wallet after the other. Until this ends, the day is neither archived nor unlinked.
    Raises: ArchiveMissing when the day is archived, and the archive cannot be read, or is unlinked.
    """
    async with reading(pool) as connection:
        if not await connection.fetchval("SELECT true FROM log_day WHERE service_day = $1", day):
            yield None
            return
        archived = [
            one for one in await load_archived_days(connection, day) if one.service_day == day
        ]
        if not archived:
            yield _by_wallet(_taps(connection, day), _entries(connection, day))
            return
        if archived[0].is_unlinked:
            where = archived[0].folder
            raise ArchiveMissing(f"{day} is unlinked: {where} has its taps, and no trips any more.")
        taps, entries = paths_of(archive, archived, TAPS), paths_of(archive, archived, ENTRIES)
        yield _by_wallet(
            _each(kept for kept in read_taps(taps) if kept.result.outcome.is_let_through),
            _each(entry for entry in read_entries(entries) if entry.operator_id is not None),
        )


async def _by_wallet(
    taps: AsyncIterator[KeptTap], entries: AsyncIterator[JournalEntry]
) -> AsyncIterator[WalletTrips]:
    tap, entry = await anext(taps, None), await anext(entries, None)
    while tap or entry:
        wallet_id = min(one.wallet_id for one in (tap, entry) if one and one.wallet_id)
        found = WalletTrips([], [])
        while tap and tap.wallet_id == wallet_id:
            found.taps.append(tap)
            tap = await anext(taps, None)
        while entry and entry.wallet_id == wallet_id:
            found.entries.append(entry)
            entry = await anext(entries, None)
        yield found


async def _taps(connection: Connection, day: date) -> AsyncIterator[KeptTap]:
    async for row in connection.cursor(_READ_TAPS, day, LET_THROUGH, prefetch=_ROWS_AT_ONCE):
        yield rows.kept_from_row(row)


async def _entries(connection: Connection, day: date) -> AsyncIterator[JournalEntry]:
    async for row in connection.cursor(_READ_ENTRIES, day, prefetch=_ROWS_AT_ONCE):
        yield rows.entry_from_row(row)


async def _each(found: Iterable[T]) -> AsyncIterator[T]:
    for one in found:
        yield one


_READ_TAPS = f"""
SELECT {rows.KEPT_COLUMNS}
FROM tap WHERE service_day = $1 AND outcome = ANY($2::text[]) ORDER BY wallet_id
"""
_READ_ENTRIES = """
SELECT * FROM journal_entry WHERE service_day = $1 AND operator_id IS NOT NULL ORDER BY wallet_id
"""
