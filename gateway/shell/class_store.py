"""Classes of wallets in the database: which a gateway was started with, and who still has one.

A wallet's class lies in its state, where SQL finds no more than its name's bytes. So classes are
noted at each start, and wallets are looked through only for one that has left the file.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from fare_rules import TariffBook
from gateway.shell import rows
from gateway.shell.transactions import Connection


class ClassGone(Exception):
    """A class is no longer there, and wallets have it."""


async def prepare_wallet_classes(pool: asyncpg.Pool, book: TariffBook, now: datetime) -> None:
    """Note the classes of the book. Raises: ClassGone when wallets have one that was there."""
    kept = sorted({one.id for one in book.wallet_classes})
    async with pool.acquire() as connection, connection.transaction():
        gone = await connection.fetch(
            "SELECT class_id FROM wallet_class WHERE class_id <> ALL ($1::text[]) ORDER BY 1", kept
        )
        for (class_id,) in gone:
            if wallet_ids := await _wallets_of(connection, class_id):
                raise ClassGone(
                    f"wallets.yaml no longer has the class {class_id}, but wallets do "
                    f"({len(wallet_ids)}, the first is {wallet_ids[0]}), and what they may is not "
                    "known without it. Put it back; it can go once each of them has another "
                    "(PUT /v1/wallets/ID/class)."
                )
        await connection.execute("DELETE FROM wallet_class WHERE class_id <> ALL ($1)", kept)
        await connection.execute(
            "INSERT INTO wallet_class SELECT *, $2 FROM unnest($1::text[]) ON CONFLICT DO NOTHING",
            kept,
            now,
        )


async def _wallets_of(connection: Connection, class_id: str) -> list[UUID]:
    found: list[UUID] = []
    async for row in connection.cursor(
        f"""SELECT {rows.WALLET_COLUMNS} FROM wallet
        WHERE status <> 'closed' AND position($1::bytea IN state) > 0 ORDER BY wallet_id""",
        msgspec.msgpack.encode(class_id),
    ):
        wallet = rows.wallet_from_row(row)
        if wallet.terms is not None and wallet.terms.class_id == class_id:
            found.append(wallet.wallet_id)
    return found
