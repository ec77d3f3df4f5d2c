"""Settlement's statements: the clock that closes days, the lines to pay, and what was settled."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from hashlib import sha1
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from asyncpg.pgproto.pgproto import UUID as DriverUUID
from msgspec import Struct, structs

from fare_rules.language.clearing import Clearing
from gateway.core.clearing import NO_CLEARING
from gateway.core.invoices import InstitutionTotal, SponsoredLine, sponsored_by
from gateway.core.ledger import JournalEntry, entry_id
from gateway.core.payment_order import Debtor
from gateway.core.registry import Operator
from gateway.core.settlement import SettledLine, Settlement
from gateway.shell.archive_files import ENTRIES, ArchivedDay, paths_of, read_settled_entries
from gateway.shell.delivery_store import enqueue
from gateway.shell.store import load_archived_days, reading
from gateway.shell.transactions import Connection


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


class SettlementBooks(Struct, frozen=True):
    """What one close settles; and lines of the same journeys that earlier closes settled."""

    lines: list[SettledLine]
    earlier: list[SettledLine]
    sponsored: list[SponsoredLine]
    institutions: list[InstitutionTotal]


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


async def load_settlement_books(
    pool: asyncpg.Pool, row: SettlementRow, archive: Path | None
) -> SettlementBooks:
    """What one close settles, from the ledger and from the archive.

    Raises: ArchiveMissing when some of it is archived, and the archive cannot be read.
    """
    shares = row.days_after is not None and bool(parties_of(row).clearing.agreements)
    async with reading(pool) as connection:
        books = SettlementBooks(
            await _load_ledger_lines(connection, _READ_LINES, *_days_of(row)),
            [],
            await _load_sponsored(connection, row),
            # Sorted here: a database elsewhere may have another order of letters.
            sorted(
                InstitutionTotal(*total)
                for total in await connection.fetch(_READ_INSTITUTIONS, *_days_of(row))
            ),
        )
        days = await load_archived_days(connection)
        archived = [
            day
            for day in days
            if day.settled_through is not None
            and day.service_day <= row.settlement_day
            and (row.days_after is None or day.settled_through > row.days_after)
        ]
        if archived:
            paths = paths_of(archive, archived, ENTRIES)
            entries = await asyncio.to_thread(
                read_settled_entries, paths, row.days_after, row.settlement_day
            )
            await _add_archived(connection, books, entries)
        if shares and days:
            await _add_earlier(connection, books, row, days, archive)
        elif shares:
            found = await _load_ledger_lines(connection, _READ_EARLIER, *_days_of(row))
            books.earlier.extend(found)
    return books


async def _add_earlier(
    connection: Connection,
    books: SettlementBooks,
    row: SettlementRow,
    days: list[ArchivedDay],
    archive: Path | None,
) -> None:
    """Add what earlier closes settled of the same journeys, where some days are archived."""
    rides = [line for line in books.lines if line.journey_id is not None]
    if not rides:
        return
    journeys = {line.journey_id for line in rides}
    # A journey's rides lie on two service days at most.
    since = min(line.service_day for line in rides) - timedelta(days=1)
    until = max(line.service_day for line in rides) + timedelta(days=1)
    books.earlier.extend(
        await _load_ledger_lines(
            connection, _READ_EARLIER_OF, list(journeys), row.days_after, since
        )
    )
    near = [day for day in days if since <= day.service_day <= until]
    if near:
        paths = paths_of(archive, near, ENTRIES)
        assert row.days_after is not None
        entries = await asyncio.to_thread(read_settled_entries, paths, None, row.days_after)
        books.earlier.extend(
            settled_line(entry)
            for entry in entries
            if entry.operator_id and entry.shared and entry.shared.journey_id in journeys
        )


async def _add_archived(
    connection: Connection, books: SettlementBooks, entries: list[JournalEntry]
) -> None:
    """Add what is archived of a close to what the ledger has of it."""
    issuers = {
        row["wallet_id"]: row["issuer_id"] or ""
        for row in await connection.fetch(
            "SELECT wallet_id, issuer_id FROM wallet WHERE wallet_id = ANY($1::uuid[])",
            list({entry.wallet_id for entry in entries}),
        )
    }
    totals = {(one.issuer_id, one.operator_id): one for one in books.institutions}
    for entry in entries:
        books.sponsored.extend(sponsored_lines(entry))
        if entry.operator_id is None:
            continue
        books.lines.append(settled_line(entry))
        key = (issuers[entry.wallet_id], entry.operator_id)
        known = totals.get(key) or InstitutionTotal(*key, 0, 0)
        totals[key] = InstitutionTotal(
            *key, known.ride_count + entry.ride_count, known.amount_fen - entry.rider_fen
        )
    books.institutions[:] = [totals[key] for key in sorted(totals)]


def settled_line(entry: JournalEntry) -> SettledLine:
    """The operator's side of an entry."""
    shared = structs.asdict(entry.shared) if entry.shared else {}
    sides = {"entry_id": entry.entry_id, "amount_fen": entry.operator_fen}
    return msgspec.convert({**structs.asdict(entry), **sides, **shared}, SettledLine)


def sponsored_lines(entry: JournalEntry) -> Iterator[SponsoredLine]:
    """The sponsors' sides of an entry."""
    for posting in entry.postings:
        kind, _, account = posting.account.partition(":")
        if kind == "sponsor":
            yield SponsoredLine(
                entry.entry_id,
                entry.kind,
                *sponsored_by(account),
                entry.service_day,
                entry.settlement_day,
                entry.effective_at,
                -posting.amount_fen,
                entry.tap_id,
            )


def _days_of(row: SettlementRow) -> tuple[date, date | None]:
    return row.settlement_day, row.days_after


async def _load_ledger_lines(
    connection: Connection, statement: str, *arguments: object
) -> list[SettledLine]:
    return [
        SettledLine(_entry_id(line[2], line[1], line[4]), *line)
        async for line in connection.cursor(statement, *arguments, prefetch=_LINES_AT_ONCE)
    ]


def _entry_id(cause_id: UUID, tap_id: UUID, product_id: str) -> UUID:
    """The ledger's entry_id by the driver's UUIDs, which are made in a tenth of the time."""
    digest = bytearray(sha1(cause_id.bytes + f"{tap_id} {product_id}".encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return DriverUUID(bytes(digest))


async def _load_sponsored(connection: Connection, row: SettlementRow) -> list[SponsoredLine]:
    found = await connection.fetch(_READ_SPONSORED, *_days_of(row))
    return [
        SponsoredLine(
            entry_id(line["cause_id"], line["tap_id"], line["product_id"]),
            line["kind"],
            *sponsored_by(line["sponsor"]),
            line["service_day"],
            line["settlement_day"],
            line["effective_at"],
            -line["amount_fen"],
            line["tap_id"],
        )
        for line in found
    ]


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


class Head(Struct, frozen=True):
    """The newest settlement, and the hash of its manifest: all earlier ones lead to it."""

    number: int
    service_day: date
    manifest_sha256: str


async def load_head(pool: asyncpg.Pool) -> Head | None:
    row = await pool.fetchrow(
        """SELECT number, settlement_day, manifest_sha256
        FROM settlement JOIN settlement_manifest USING (settlement_day)
        ORDER BY number DESC LIMIT 1"""
    )
    return Head(*row) if row else None


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


class Kept(Struct, frozen=True):
    """What was kept of a settlement: its manifest, and its batches as rows."""

    manifest: bytes
    manifest_sha256: str
    batches: frozenset[tuple[Any, ...]]


async def load_kept(pool: asyncpg.Pool, service_day: date) -> Kept | None:
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
    return Kept(**row, batches=frozenset(tuple(batch) for batch in batches))


class PayoutHold(Struct, frozen=True, omit_defaults=True):
    """A payout kept back: by whom, why, and who let it go."""

    hold_id: UUID
    operator_id: str
    reason: str
    held_by: str
    held_at: datetime
    released_by: str | None = None
    released_at: datetime | None = None


async def save_hold(pool: asyncpg.Pool, hold: PayoutHold) -> PayoutHold:
    """Keep an operator's payout back; under an id that is known, nothing is done."""
    await pool.execute(
        """INSERT INTO payout_hold (hold_id, operator_id, reason, held_by, held_at)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING""",
        *structs.astuple(hold)[:5],
    )
    found = await load_hold(pool, hold.hold_id)
    assert found is not None
    return found


async def load_hold(pool: asyncpg.Pool, hold_id: UUID) -> PayoutHold | None:
    row = await pool.fetchrow("SELECT * FROM payout_hold WHERE hold_id = $1", hold_id)
    return PayoutHold(**row) if row else None


async def release_hold(pool: asyncpg.Pool, hold_id: UUID, by: str, now: datetime) -> bool:
    """Whether it was let go: not by the one who holds, and not twice."""
    status = await pool.execute(
        """UPDATE payout_hold SET released_by = $2, released_at = $3
        WHERE hold_id = $1 AND released_at IS NULL AND held_by <> $2""",
        hold_id,
        by,
        now,
    )
    return bool(status.endswith(" 1"))


async def list_holds(pool: asyncpg.Pool) -> list[PayoutHold]:
    found = await pool.fetch("SELECT * FROM payout_hold ORDER BY held_at, hold_id")
    return [PayoutHold(**row) for row in found]


async def list_operator_ids(pool: asyncpg.Pool) -> set[str]:
    return {row["operator_id"] for row in await pool.fetch("SELECT operator_id FROM operator")}


# So many lines are read before others of this process get their turn.
_LINES_AT_ONCE = 5_000
_PERIOD = "settlement_day <= $1 AND ($2::date IS NULL OR settlement_day > $2)"
_LINE = """
    kind, tap_id, cause_id, operator_id, product_id, service_day, settlement_day, effective_at,
    recorded_at, ride_count, operator_fen AS amount_fen, journey_id, own_fen, distance_m, change_fen
"""
_READ_LINES = f"SELECT {_LINE} FROM journal_entry WHERE {_PERIOD} AND operator_id IS NOT NULL"
# A journey's rides lie on two service days at most.
_READ_EARLIER = f"""
WITH touched AS (
    SELECT DISTINCT journey_id, min(service_day) OVER () AS since FROM journal_entry
    WHERE {_PERIOD} AND journey_id IS NOT NULL
)
SELECT {_LINE} FROM journal_entry JOIN touched USING (journey_id)
WHERE settlement_day <= $2 AND service_day >= since - 1
"""
_READ_EARLIER_OF = f"""
SELECT {_LINE} FROM journal_entry
WHERE journey_id = ANY($1::uuid[]) AND settlement_day <= $2 AND service_day >= $3
    AND operator_id IS NOT NULL
"""
_READ_SPONSORED = f"""
SELECT
    cause_id, tap_id, product_id, kind, service_day, settlement_day, effective_at,
    share.sponsor, share.amount_fen
FROM journal_entry CROSS JOIN unnest(sponsors, sponsors_fen) AS share (sponsor, amount_fen)
WHERE {_PERIOD} AND sponsors IS NOT NULL AND share.amount_fen <> 0
"""
# What wallets paid is what the operator gained, less what sponsors did.
_READ_INSTITUTIONS = f"""
SELECT
    coalesce(issuer_id, ''), operator_id, sum(ride_count)::bigint,
    sum(operator_fen + CASE
        WHEN sponsors_fen IS NULL THEN 0
        ELSE (SELECT coalesce(sum(fen), 0) FROM unnest(sponsors_fen) AS fen)
    END)::bigint
FROM journal_entry LEFT JOIN wallet USING (wallet_id)
WHERE {_PERIOD} AND operator_id IS NOT NULL
GROUP BY 1, 2
"""
