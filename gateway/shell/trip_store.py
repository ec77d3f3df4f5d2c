"""A service day's trips, read from the log and the ledger, or from the archive."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import asyncpg
from msgspec import Struct

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
from gateway.shell.store import load_archived_days, reading


class TripRows(Struct, frozen=True):
    """Taps that were let through, and entries that name an operator; each to be read once."""

    taps: Iterator[KeptTap]
    entries: Iterator[JournalEntry]


async def load_trips(pool: asyncpg.Pool, day: date, archive: Path | None) -> TripRows | None:
    """A day's trips; None where the log does not know the day.

    Raises: ArchiveMissing when the day is archived, and the archive cannot be read, or is unlinked.
    """
    async with reading(pool) as connection:
        if not await connection.fetchval("SELECT true FROM log_day WHERE service_day = $1", day):
            return None
        archived = [
            one for one in await load_archived_days(connection, day) if one.service_day == day
        ]
        if archived and archived[0].is_unlinked:
            where = archived[0].folder
            raise ArchiveMissing(f"{day} is unlinked: {where} has its taps, and no trips any more.")
        if archived:
            return TripRows(
                (
                    kept
                    for kept in read_taps(paths_of(archive, archived, TAPS))
                    if kept.result.outcome.is_let_through
                ),
                (
                    entry
                    for entry in read_entries(paths_of(archive, archived, ENTRIES))
                    if entry.operator_id is not None
                ),
            )
        taps = await connection.fetch(_READ_TAPS, day, LET_THROUGH)
        entries = await connection.fetch(_READ_ENTRIES, day)
    return TripRows(map(rows.kept_from_row, taps), map(rows.entry_from_row, entries))


_READ_TAPS = """
SELECT
    tap_id, said, answer, facts, received_at, outcome, wallet_id, wallet_version, service_day
FROM tap WHERE service_day = $1 AND outcome = ANY($2::text[])
"""
_READ_ENTRIES = "SELECT * FROM journal_entry WHERE service_day = $1 AND operator_id IS NOT NULL"
