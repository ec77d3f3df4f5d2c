"""Days that have passed: copies of one day's taps and entries, for tables as large as after years.

The only file of the race that knows the columns of the tap log and the ledger. A copy has its own
ids and wallets that nobody opened, so the audit would miss them; `forget` drops the copied days
before it, as archiving would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date

import asyncpg

# How a copy's value differs, by the column's name; what is not named is copied as it is. $1 is the
# copy's day, $2 its number, which no other copy has: it keeps their ids apart.
_CHANGED = {
    **dict.fromkeys(
        ("tap_id", "cause_id", "wallet_id", "journey_id"),
        "(left({column}::text, 28) || lpad(to_hex($2::int), 8, '0'))::uuid",
    ),
    **dict.fromkeys(("service_day", "settlement_day"), "$1::date"),
    **dict.fromkeys(
        ("tapped_at", "received_at", "effective_at", "recorded_at"),
        "{column} - ($3::date - $1::date) * interval '1 day'",
    ),
    "sequence": "{column} - $2::int * 86400000000",
}
_TABLES = {"tap": "true", "gate_sequence": "true", "journal_entry": "tap_id IS NOT NULL"}
_COPIERS = 2


async def copy_day(dsn: str, first: date, copies: Mapping[int, date]) -> None:
    """Copy one service day to earlier ones: by the copy's number, the day it becomes part of."""
    waiting = list(copies.items())

    async def copy_some() -> None:
        connection = await asyncpg.connect(dsn)
        while waiting:
            number, day = waiting.pop()
            await connection.execute("SELECT open_log_day($1)", day)
            for table, condition in _TABLES.items():
                statement = await _copy_statement(connection, table, condition)
                await connection.execute(statement, day, number, first)
        await connection.close()

    await asyncio.gather(*(copy_some() for _ in range(_COPIERS)))
    connection = await asyncpg.connect(dsn)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    await connection.close()


async def _copy_statement(connection: asyncpg.Connection, table: str, condition: str) -> str:
    names = [
        row["column_name"]
        for row in await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_name = $1 "
            "AND table_schema = 'public' ORDER BY ordinal_position",
            table,
        )
    ]
    values = [_CHANGED.get(name, "{column}").format(column=name) for name in names]
    return (
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(values)} FROM {table} "
        f"WHERE service_day = $3 AND {condition}"
    )


async def forget(dsn: str, days: Sequence[date]) -> None:
    """Drop copied days and what was settled of them, past the guards against edits."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("SET session_replication_role = replica")
    for day in days:
        for table in ("tap", "journal_entry"):
            await connection.execute(f"DROP TABLE {table}_{day:%Y%m%d}")
    for table in ("gate_sequence", "log_day"):
        await connection.execute(f"DELETE FROM {table} WHERE service_day = ANY($1::date[])", days)
    await connection.execute(
        "TRUNCATE settlement CASCADE; UPDATE settlement_clock SET closed_through = NULL"
    )
    await connection.close()


async def count_taps(dsn: str, day: date) -> int:
    return await _count(dsn, "tap", "service_day", day)


async def count_entries(dsn: str, day: date) -> int:
    """Those that the close of a day settles, if the day before is closed."""
    return await _count(dsn, "journal_entry", "settlement_day", day)


async def _count(dsn: str, table: str, column: str, day: date) -> int:
    connection = await asyncpg.connect(dsn)
    found: int = await connection.fetchval(f"SELECT count(*) FROM {table} WHERE {column} = $1", day)
    await connection.close()
    return found
