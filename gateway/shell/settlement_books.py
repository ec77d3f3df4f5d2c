"""What a close settles: its lines, from the ledger and from the archive."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date, timedelta
from hashlib import sha1
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
from asyncpg.pgproto.pgproto import UUID as DriverUUID
from msgspec import Struct, structs

from fare_rules.quotes import sponsored_by
from gateway.core.invoices import InstitutionTotal, SponsoredLine
from gateway.core.ledger import JournalEntry, entry_id
from gateway.core.settlement import SettledLine
from gateway.shell.archive_files import ENTRIES, ArchivedDay, paths_of, read_settled_entries
from gateway.shell.log_days import load_archived_days
from gateway.shell.settlement_store import SettlementRow, parties_of
from gateway.shell.transactions import Connection, reading


class SettlementBooks(Struct, frozen=True):
    """What one close settles; and lines of the same journeys that earlier closes settled."""

    lines: list[SettledLine]
    earlier: list[SettledLine]
    sponsored: list[SponsoredLine]
    institutions: list[InstitutionTotal]


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
    # A journey's rides lie on two service days at most.
    since = min(line.service_day for line in rides) - timedelta(days=1)
    until = max(line.service_day for line in rides) + timedelta(days=1)
    archived = list[SettledLine]()
    near = [day for day in days if since <= day.service_day <= until]
    if near:
        paths = paths_of(archive, near, ENTRIES)
        assert row.days_after is not None
        entries = await asyncio.to_thread(read_settled_entries, paths, None, row.days_after)
        archived = [settled_line(entry) for entry in entries if entry.operator_id and entry.shared]
    taps = {line.tap_id for line in rides}
    journeys = {line.journey_id for line in (*rides, *archived) if line.tap_id in taps}
    found = await _load_ledger_lines(
        connection, _READ_EARLIER_OF, list(journeys), row.days_after, since, list(taps)
    )
    journeys |= {line.journey_id for line in found}
    wanted = {line.tap_id for line in archived if line.journey_id in journeys}
    books.earlier.extend(found)
    books.earlier.extend(line for line in archived if line.tap_id in wanted)


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


# The server's process that reads them is no nicer than those that save taps. It rests after so
# many.
_LINES_AT_ONCE = 500
_PERIOD = "settlement_day <= $1 AND ($2::date IS NULL OR settlement_day > $2)"
_LINE = """
    kind, tap_id, cause_id, operator_id, product_id, service_day, settlement_day, effective_at,
    recorded_at, ride_count, operator_fen AS amount_fen, journey_id, own_fen, distance_m,
    change_fen, wallet_version
"""
_READ_LINES = f"SELECT {_LINE} FROM journal_entry WHERE {_PERIOD} AND operator_id IS NOT NULL"
# All lines of a journey's rides, for some may say that they are part of another by now. A journey's
# rides lie on two service days at most.
_READ_EARLIER = f"""
WITH touched AS (
    SELECT DISTINCT tap_id, min(service_day) OVER () - 1 AS since FROM journal_entry
    WHERE {_PERIOD} AND journey_id IS NOT NULL
), journeys AS (
    SELECT DISTINCT journey_id, since FROM journal_entry JOIN touched USING (tap_id)
    WHERE service_day >= since AND settlement_day <= $1
), rides AS (
    SELECT DISTINCT tap_id, since FROM journal_entry JOIN journeys USING (journey_id)
    WHERE service_day >= since AND settlement_day <= $2
)
SELECT {_LINE} FROM journal_entry JOIN rides USING (tap_id)
WHERE settlement_day <= $2 AND service_day >= since AND operator_id IS NOT NULL
    AND journey_id IS NOT NULL
"""
_READ_EARLIER_OF = f"""
WITH journeys AS (
    SELECT unnest($1::uuid[]) AS journey_id
    UNION SELECT journey_id FROM journal_entry
    WHERE tap_id = ANY($4::uuid[]) AND settlement_day <= $2 AND service_day >= $3
), rides AS (
    SELECT DISTINCT tap_id FROM journal_entry JOIN journeys USING (journey_id)
    WHERE settlement_day <= $2 AND service_day >= $3
)
SELECT {_LINE} FROM journal_entry JOIN rides USING (tap_id)
WHERE settlement_day <= $2 AND service_day >= $3 AND operator_id IS NOT NULL
    AND journey_id IS NOT NULL
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
