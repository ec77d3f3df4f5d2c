"""A city with more riders than the desk has opened wallets for: copies of what it saved for one.

Opening millions of wallets one by one would take longer than the race.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from loadtest.bench.stage import Stage
from loadtest.city import City

_OWN = ("wallet_id", "media_token", "rider_category", "fare_media", "top_up_id")
_TYPES = ("uuid", "text", "text", "text", "uuid")
# Where a column's name does not say which of these it is.
_NAMED_OTHERWISE = {"cause_id": "top_up_id"}
_TABLES = ("wallet", "media", "top_up", "journal_entry")


async def add_wallets(stage: Stage, wallets_count: int) -> None:
    """Let a database have so many riders, each as if the desk had opened a wallet for it.

    Nobody may have tapped yet: what is copied is the first rider's.
    """
    city = City(riders_count=wallets_count)
    async with stage.connected() as connection:
        columns = ", ".join(map(" ".join, zip(_OWN, _TYPES, strict=True)))
        await connection.execute(f"CREATE TEMPORARY TABLE rider ({columns})")
        await connection.copy_records_to_table(
            "rider",
            records=_riders(city, stage.wallets_count, wallets_count),
            columns=_OWN,
        )
        # Every copy refers to another copy; to look each one up would take as long again.
        await connection.execute("SET session_replication_role = replica")
        for table in _TABLES:
            names = await connection.fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 "
                "AND NOT attisdropped ORDER BY attnum",
                table,
            )
            values = (_value(row["attname"]) for row in names)
            await connection.execute(
                f"INSERT INTO {table} SELECT {', '.join(values)} FROM rider, "
                f"(SELECT * FROM {table} WHERE wallet_id = '{city.wallet_id(0)}') AS example"
            )
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    stage.wallets_count = wallets_count


def _value(column: str) -> str:
    own = _NAMED_OTHERWISE.get(column, column)
    return f"rider.{own}" if own in _OWN else f"example.{column}"


def _riders(city: City, start: int, end: int) -> Iterator[tuple[Any, ...]]:
    for wallet in city.wallets(start, end - start):
        (media,) = wallet["media"]
        yield (wallet["wallet_id"], *media.values(), wallet["top_up"]["top_up_id"])
