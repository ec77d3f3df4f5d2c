"""The days of the log: those that it has partitions for, and those that are in the archive."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import asyncpg

from gateway.shell.archive_files import ArchivedDay
from gateway.shell.transactions import Connection


class LogDays:
    """The days that the tap log and the ledger are known to have partitions for."""

    def __init__(self) -> None:
        self._known: set[date] = set()

    async def open(self, connection: Connection | asyncpg.Pool, days: Iterable[date]) -> None:
        """Make the partitions of some days, where they are missing."""
        for day in sorted(set(days) - self._known):
            await connection.execute("SELECT open_log_day($1)", day)
            self._known.add(day)


async def load_archived_days(
    connection: Connection | asyncpg.Pool, through: date = date.max
) -> list[ArchivedDay]:
    """The days that are in the archive, oldest first."""
    found = await connection.fetch(
        """SELECT service_day, manifest_sha256, settled_through,
            unlinked_at IS NOT NULL AS is_unlinked
        FROM log_day WHERE archived_at IS NOT NULL AND service_day <= $1 ORDER BY service_day""",
        through,
    )
    return [ArchivedDay(**row) for row in found]
