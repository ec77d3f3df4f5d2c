"""What all stores share: a connection, a picture to read, rows added, and lost races."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import asyncpg

T = TypeVar("T")
Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy


def rows_changed(status: str) -> int:
    """How many rows a statement inserted, updated or deleted.

    Shape:  `status` is PostgreSQL's command tag, such as `UPDATE 1` or `INSERT 0 1`.
    """
    return int(status.rsplit(" ", 1)[1])


class LostRace(Exception):
    """Another process saved something of ours first. Load again and decide again."""


RACES = (LostRace, asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_TRIES_MAX = 5


async def until_first(transact: Callable[[], Awaitable[T]]) -> T:
    """Do a whole transaction again as long as other processes are first; a few times at most.

    Raises: one of RACES when all of them were lost.
    """
    for _ in range(_TRIES_MAX - 1):
        with suppress(*RACES):
            return await transact()
    return await transact()


@asynccontextmanager
async def reading(pool: asyncpg.Pool) -> AsyncIterator[Connection]:
    """One consistent picture of the log and the ledger, of which no day is archived meanwhile,
    nor unlinked.
    """
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        # Before the first look, so that the picture is of after the lock.
        await connection.execute("LOCK TABLE tap, journal_entry, log_day IN ACCESS SHARE MODE")
        yield connection


async def append(
    connection: Connection, table: str, columns: tuple[str, ...], content: bytes
) -> None:
    """Append rows to a table. Raises: LostRace when one of them is there already."""
    # A memoryview, for plain bytes would be taken for the name of a file.
    source: Any = memoryview(content)
    try:
        await connection.copy_to_table(table, source=source, columns=columns, format="binary")
    except asyncpg.UniqueViolationError as lost:
        raise LostRace(f"a row of {table} was saved by another process") from lost
