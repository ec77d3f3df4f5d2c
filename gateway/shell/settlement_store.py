"""Settlement's statements: the clock that closes days, and what was settled."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct

from fare_rules.language.clearing import Clearing
from gateway.core.clearing import NO_CLEARING
from gateway.core.payment_order import Debtor
from gateway.core.registry import Operator
from gateway.core.settlement import Settlement
from gateway.shell.delivery_store import enqueue


class SettlementRow(Struct, frozen=True):
    """One close. `is_saved` once its batches have been added up and kept."""

    settlement_day: date
    number: int
    days_after: date | None
    closed_at: datetime
    currency: str
    parties: bytes
    is_saved: bool
    # Where it is asked for.
    manifest: bytes | None = None


class Parties(Struct, frozen=True):
    """Who pays, who is paid into which account, and what is agreed, as it stood at a close."""

    debtor: Debtor
    operators: tuple[Operator, ...]
    clearing: Clearing = NO_CLEARING
    held: tuple[str, ...] = ()
    # Whether each operator's folder has its fees. Earlier closes had none, and are made again so.
    tells_fees: bool = False
    # Whether a ride is shared within the journey that it is part of by now; at earlier closes each
    # line was within its own.
    follows_rides: bool = False


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
        clearing: Clearing,
    ) -> None:
        found = await self._connection.fetch("SELECT * FROM operator ORDER BY operator_id")
        held = await self._connection.fetch(
            "SELECT DISTINCT operator_id FROM payout_hold WHERE released_at IS NULL ORDER BY 1"
        )
        parties = Parties(
            debtor,
            tuple(Operator(**row) for row in found),
            clearing,
            tuple(row["operator_id"] for row in held),
            tells_fees=True,
            follows_rides=True,
        )
        await self._connection.execute(
            """INSERT INTO settlement
            (settlement_day, number, days_after, closed_at, currency, parties)
            SELECT $1, count(*) + 1, $2, $3, $4, $5 FROM settlement""",
            service_day,
            days_after,
            closed_at,
            currency,
            # Amounts of the language are whole numbers with a name of their own.
            msgspec.json.encode(parties, enc_hook=int),
        )
        await self._connection.execute(
            "UPDATE payout_return SET carried_into = $1 WHERE carried_into IS NULL", service_day
        )
        await self._connection.execute(
            "UPDATE settlement_clock SET closed_through = $1", service_day
        )


@asynccontextmanager
async def close_work(pool: asyncpg.Pool) -> AsyncIterator[CloseWork]:
    async with pool.acquire() as connection, connection.transaction():
        yield CloseWork(connection)


async def list_settlement_rows(
    pool: asyncpg.Pool, *, with_manifests: bool = False
) -> list[SettlementRow]:
    """Every close, oldest first."""
    found = await pool.fetch(
        """SELECT settlement.*, manifest_sha256 IS NOT NULL AS is_saved,
            CASE WHEN $1 THEN manifest END AS manifest
        FROM settlement LEFT JOIN settlement_manifest USING (settlement_day) ORDER BY number""",
        with_manifests,
    )
    return [SettlementRow(**row) for row in found]


def parties_of(row: SettlementRow) -> Parties:
    return msgspec.json.decode(row.parties, type=Parties, dec_hook=lambda kind, said: kind(said))


async def load_carried(pool: asyncpg.Pool, before: date) -> dict[str, int]:
    """What each operator's latest batch before a day left to carry; and payments that came back."""
    found = await pool.fetch(
        """SELECT DISTINCT ON (operator_id) operator_id, carried_out_fen FROM settlement_batch
        WHERE settlement_day < $1 ORDER BY operator_id, settlement_day DESC""",
        before,
    )
    carried = {row["operator_id"]: row["carried_out_fen"] for row in found}
    for row in await pool.fetch(
        """SELECT operator_id, sum(amount_fen)::bigint AS fen FROM payout_return
        WHERE carried_into = $1 GROUP BY operator_id""",
        before,
    ):
        carried[row["operator_id"]] = carried.get(row["operator_id"], 0) + row["fen"]
    return {operator_id: amount_fen for operator_id, amount_fen in carried.items() if amount_fen}


async def load_previous_hash(pool: asyncpg.Pool, before: date) -> str | None:
    found: str | None = await pool.fetchval(
        """SELECT manifest_sha256 FROM settlement_manifest WHERE settlement_day < $1
        ORDER BY settlement_day DESC LIMIT 1""",
        before,
    )
    return found


class SettlementHead(Struct, frozen=True):
    """The newest settlement, and the hash of its manifest: all earlier ones lead to it."""

    number: int
    service_day: date
    manifest_sha256: str


async def load_head(pool: asyncpg.Pool) -> SettlementHead | None:
    row = await pool.fetchrow(
        """SELECT number, settlement_day, manifest_sha256
        FROM settlement JOIN settlement_manifest USING (settlement_day)
        ORDER BY number DESC LIMIT 1"""
    )
    return SettlementHead(*row) if row else None


async def check_kept(pool: asyncpg.Pool, *, service_day: date, manifest: bytes) -> None:
    """Raises: SettlementDiffers when another manifest was saved of the day."""
    kept = await pool.fetchval(
        "SELECT manifest_sha256 FROM settlement_manifest WHERE settlement_day = $1", service_day
    )
    digest = hashlib.sha256(manifest).hexdigest()
    if kept not in (None, digest):
        raise SettlementDiffers(f"settlement {service_day}: kept {kept}, added up now {digest}")


async def save_settlement(pool: asyncpg.Pool, settlement: Settlement, manifest: bytes) -> None:
    """Keep the batches and the manifest. Raises: SettlementDiffers when others were kept before."""
    day, digest = settlement.period.service_day, hashlib.sha256(manifest).hexdigest()
    async with pool.acquire() as connection, connection.transaction():
        await connection.executemany(
            "INSERT INTO settlement_batch VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
            "ON CONFLICT DO NOTHING",
            list(batch_rows(settlement)),
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
        await enqueue(connection, settlement, digest, settlement.period.closed_at)


def batch_rows(settlement: Settlement) -> Iterator[tuple[Any, ...]]:
    """A settlement's batches as they are kept."""
    for batch in settlement.batches:
        yield (
            settlement.period.service_day,
            batch.operator_id,
            batch.ride_count,
            batch.gross_fen,
            batch.carried_in_fen,
            batch.paid_fen,
            batch.carried_out_fen,
            batch.shared_fen,
            batch.fees_fen,
        )


class KeptSettlement(Struct, frozen=True):
    """What was kept of a settlement: its manifest, and its batches as rows."""

    manifest: bytes
    manifest_sha256: str
    batches: frozenset[tuple[Any, ...]]


async def load_kept_settlement(pool: asyncpg.Pool, service_day: date) -> KeptSettlement | None:
    """What was kept of a settlement; None where it was not saved yet."""
    row = await pool.fetchrow(
        "SELECT manifest, manifest_sha256 FROM settlement_manifest WHERE settlement_day = $1",
        service_day,
    )
    if row is None:
        return None
    batches = await pool.fetch(
        "SELECT * FROM settlement_batch WHERE settlement_day = $1", service_day
    )
    return KeptSettlement(**row, batches=frozenset(tuple(batch) for batch in batches))


async def list_operator_ids(pool: asyncpg.Pool) -> set[str]:
    return {row["operator_id"] for row in await pool.fetch("SELECT operator_id FROM operator")}
