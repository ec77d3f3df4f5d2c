"""The tap log, read: taps by id, days of wallets, whole books, what waits for a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from uuid import UUID

import asyncpg

from fare_rules import RideTap
from gateway.core.amendments import loaded_from
from gateway.core.audit_books import Break, KeptCorrection, WalletBooks
from gateway.core.days import LoadedDays, Opening, WalletDay
from gateway.core.decide import KeptTap
from gateway.core.ledger import JournalEntry
from gateway.core.purse_desk import KnownGrant
from gateway.core.purses import Paid, merged
from gateway.core.taps import LET_THROUGH
from gateway.core.unlinking import Base
from gateway.core.wallets import Wallet
from gateway.shell import rows
from gateway.shell.amendment_rows import READ_CORRECTIONS, correction_from_row, load_amendments
from gateway.shell.transactions import Connection
from gateway.shell.wallet_store import READ_WALLETS, load_grants


class UnreadableBooks(Exception):
    """A row of a wallet's books is not what we write. An audit names all such rows."""


async def read_days(
    connection: Connection | asyncpg.Pool, wallets: Sequence[Wallet], since: Sequence[date]
) -> dict[UUID, LoadedDays]:
    """Days of wallets up to their newest, from the last one with taps up to the first asked.

    Earlier where a ride was put right that may reach into that one. Where it is archived, the day
    after it stands in: that has no taps, and its opening is what was remembered then.
    """
    if not wallets:
        return {}
    ids = [wallet.wallet_id for wallet in wallets]
    amendments = {
        i: [one for _, one in found]
        for i, found in (await load_amendments(connection, ids)).items()
    }
    since = [loaded_from(day, amendments.get(i, ())) for i, day in zip(ids, since, strict=True)]
    asked = dict(zip(ids, since, strict=True))
    openings: dict[tuple[UUID, date], Opening] = {
        (row["wallet_id"], row["day"]): rows.opening_from(row["opening"])
        for row in await connection.fetch(_READ_OPENINGS, ids)
    }
    for wallet in wallets:
        if wallet.day is not None:
            openings[wallet.wallet_id, wallet.day] = wallet.opening
    taps: dict[UUID, dict[date, list[RideTap]]] = {}
    bases: dict[UUID, date] = {}
    for row in await _read_log(connection, ids, since):
        days = taps.setdefault(row["wallet_id"], {})
        days.setdefault(row["service_day"], []).append(rows.facts_from_row(row))
    for wallet_id, day in sorted(openings):
        if day <= asked[wallet_id]:
            found = taps.setdefault(wallet_id, {})
            if day not in found and min(found, default=date.max) > asked[wallet_id]:
                bases[wallet_id] = day
    for wallet_id, day in bases.items():
        taps[wallet_id][day] = []
    paid = await _read_paid(connection, ids, since)
    return {
        wallet_id: LoadedDays(
            first,
            tuple(
                WalletDay(day, tuple(found), openings.get((wallet_id, day), {}))
                for day, found in sorted(taps.get(wallet_id, {}).items())
            ),
            paid.get(wallet_id, {}),
            tuple(amendments.get(wallet_id, ())),
        )
        for wallet_id, first in asked.items()
    }


async def _read_log(
    connection: Connection | asyncpg.Pool, ids: Sequence[UUID], since: Sequence[date]
) -> list[asyncpg.Record]:
    """Taps let through, from the last day with any up to the one asked for; mostly, that is near.

    Days stand in the statements, so that a plan has theirs alone: one for any days opens them all.
    """
    near = min(since) - _NEAR
    found = list(await connection.fetch(_READ_NEAR.format(near=near), ids, since, LET_THROUGH))
    asked = dict(zip(ids, since, strict=True))
    begun = {row["wallet_id"] for row in found if row["service_day"] <= asked[row["wallet_id"]]}
    if far := [wallet_id for wallet_id in ids if wallet_id not in begun]:
        found += await connection.fetch(_READ_FAR.format(near=near), far, LET_THROUGH)
    return found


async def _read_paid(
    connection: Connection | asyncpg.Pool, ids: Sequence[UUID], since: Sequence[date]
) -> dict[UUID, Paid]:
    """What purses have paid for the rides of some wallets' days."""
    # From a month before: a ride of a day that is folded afresh may have begun on an earlier one.
    found = await connection.fetch(_READ_PAID.format(near=min(since) - _NEAR), ids)
    if not found:
        return {}
    grants = await load_grants(connection, sorted({i for row in found for i in row["purses"]}))
    purses = {grant_id: known.purse for grant_id, known in grants.items()}
    paid: dict[UUID, Paid] = {}
    for row in found:
        gained_fen = dict(zip(row["purses"], row["purses_fen"], strict=True))
        tap, day = (row["tap_id"], row["product_id"]), row["service_day"]
        paid[row["wallet_id"]] = merged(
            paid.get(row["wallet_id"], {}), tap, day, gained_fen, purses
        )
    return paid


async def load_these(
    connection: Connection, tap_ids: Sequence[UUID], days: Sequence[date]
) -> dict[UUID, KeptTap]:
    """Taps that are kept under these ids on any of these days."""
    among = ", ".join(f"'{day}'" for day in sorted(set(days)))
    found = await connection.fetch(_READ_THESE.format(days=among), tap_ids)
    return {row["tap_id"]: rows.kept_from_row(row) for row in found}


async def load_kept(pool: Connection | asyncpg.Pool, tap_id: UUID) -> KeptTap | None:
    row = await pool.fetchrow(_READ_TAP, tap_id)
    return rows.kept_from_row(row) if row else None


async def list_taps_for_a_person(
    pool: asyncpg.Pool, after: UUID | None, limit: int, *, operator_id: str | None = None
) -> list[KeptTap]:
    """Incomplete and quarantined taps, as they arrived, of one operator's gates or of all.

    Shape:  `after` is the last one seen; fewer than the limit means that there are no more.
    """
    gates = await pool.fetch(
        "SELECT gate_id FROM gate WHERE $1::text IS NULL OR operator_id = $1", operator_id
    )
    own = {row["gate_id"] for row in gates}
    kept: list[KeptTap] = []
    while len(kept) < limit:
        found = [
            rows.kept_from_row(row) for row in await pool.fetch(_READ_FOR_A_PERSON, after, limit)
        ]
        kept += [one for one in found if operator_id is None or one.tap.gate_id in own]
        if len(found) < limit:
            break
        after = found[-1].tap.tap_id
    return kept[:limit]


async def load_wallet_days(pool: asyncpg.Pool, wallet: Wallet, day: date) -> LoadedDays:
    """The days of a wallet that a tap of a day concerns."""
    return (await read_days(pool, [wallet], [day]))[wallet.wallet_id]


async def load_charges(pool: asyncpg.Pool, tap_ids: Sequence[UUID]) -> list[asyncpg.Record]:
    found: list[asyncpg.Record] = await pool.fetch(_READ_CHARGES, tap_ids)
    return found


async def load_books(
    connection: Connection, after: UUID | None, limit: int, *, until: UUID | None = None
) -> list[WalletBooks]:
    """All that is kept of the next wallets, in order of their ids, up to one of them.

    Shape:  rows that cannot be read are named in the books, and left out of them.
    """
    found = await connection.fetch(_READ_WALLETS_BETWEEN, after, until, limit)
    return await _books_of(connection, found)


async def load_books_of(
    connection: Connection, wallet_ids: Sequence[UUID], *, names_unreadable: bool = False
) -> list[WalletBooks]:
    """All that is kept of some wallets, in order of their ids.

    Raises: UnreadableBooks when a row cannot be read, unless those are to be named in the books.
    """
    found = await connection.fetch(_READ_THESE_WALLETS, wallet_ids)
    books = await _books_of(connection, found)
    unreadable = [one for each in books for one in each.unreadable]
    if unreadable and not names_unreadable:
        raise UnreadableBooks(f"{unreadable[0].subject}: {unreadable[0].fault}")
    return books


async def _books_of(connection: Connection, found: Sequence[asyncpg.Record]) -> list[WalletBooks]:
    """What cannot be read is named, for whoever changed it must not stop the audit."""
    ids = [row["wallet_id"] for row in found]
    unreadable: dict[UUID, list[Break]] = {}
    wallets = [_wallet_of(row, unreadable) for row in found]
    taps: dict[UUID, list[KeptTap]] = {}
    for row in await connection.fetch(_READ_TAPS_OF_WALLETS, ids):
        try:
            taps.setdefault(row["wallet_id"], []).append(rows.kept_from_row(row))
        except rows.UNREADABLE as error:
            one = Break("tap_unreadable", f"tap {row['tap_id']}", str(error))
            unreadable.setdefault(row["wallet_id"], []).append(one)
    entries: dict[UUID, list[JournalEntry]] = {}
    for row in await connection.fetch(_READ_ENTRIES_OF_WALLETS, ids):
        try:
            entries.setdefault(row["wallet_id"], []).append(rows.entry_from_row(row))
        except rows.UNREADABLE as error:
            subject = f"{row['wallet_id']} {row['wallet_version']}"
            one = Break("entry_unreadable", subject, str(error))
            unreadable.setdefault(row["wallet_id"], []).append(one)
    grants: dict[UUID, dict[UUID, KnownGrant]] = {}
    for row in await connection.fetch(_READ_GRANTS_OF_WALLETS, ids):
        grants.setdefault(row["wallet_id"], {})[row["grant_id"]] = KnownGrant(**row)
    corrections: dict[UUID, dict[UUID, KeptCorrection]] = {}
    for row in await connection.fetch(READ_CORRECTIONS, ids):
        correction_id, wallet_id = row["correction_id"], row["wallet_id"]
        try:
            corrections.setdefault(wallet_id, {})[correction_id] = correction_from_row(row)
        except rows.UNREADABLE as error:
            one = Break("correction_unreadable", f"correction {correction_id}", str(error))
            unreadable.setdefault(wallet_id, []).append(one)
    bases = await load_bases(connection, ids)
    return [
        WalletBooks(
            w,
            tuple(taps.get(w.wallet_id, ())),
            tuple(entries.get(w.wallet_id, ())),
            grants.get(w.wallet_id, {}),
            corrections.get(w.wallet_id, {}),
            unreadable=tuple(unreadable.get(w.wallet_id, ())),
            base=bases.get(w.wallet_id),
        )
        for w in wallets
    ]


async def load_bases(
    connection: Connection | asyncpg.Connection, wallet_ids: Sequence[UUID]
) -> dict[UUID, Base]:
    """Where the books of wallets begin of which some days are unlinked."""
    return {
        row["wallet_id"]: Base(
            row["day"], row["version"], rows.opening_from(row["opening"]), row["swept_until"]
        )
        for row in await connection.fetch(_READ_BASES, wallet_ids)
    }


def _wallet_of(row: asyncpg.Record, unreadable: dict[UUID, list[Break]]) -> Wallet:
    try:
        return rows.wallet_from_row(row)
    except rows.UNREADABLE as error:
        wallet_id = row["wallet_id"]
        unreadable[wallet_id] = [Break("wallet_unreadable", f"wallet {wallet_id}", str(error))]
        return Wallet(
            wallet_id,
            balance_fen=row["balance_fen"],
            owed_fen=row["owed_fen"],
            floor_fen=row["floor_fen"],
            version=row["version"],
        )


_KEPT = rows.KEPT_COLUMNS
_READ_TAP = f"SELECT {_KEPT} FROM tap WHERE tap_id = $1"
_READ_FOR_A_PERSON = f"""
SELECT {_KEPT} FROM tap WHERE needs_person AND ($1::uuid IS NULL OR (received_at, tap_id) > (
    SELECT seen.received_at, seen.tap_id FROM tap AS seen WHERE seen.tap_id = $1
))
ORDER BY received_at, tap_id LIMIT $2
"""
_READ_THESE = (
    f"SELECT {_KEPT} FROM tap WHERE service_day IN ({{days}}) AND tap_id = ANY($1::uuid[])"
)
_NEAR = timedelta(days=31)
# The day before the one asked for is wanted, too: the next begins as that one ended.
_READ_NEAR = f"""
SELECT {_KEPT} FROM unnest($1::uuid[], $2::date[]) AS asked (wallet_id, day)
JOIN tap ON tap.wallet_id = asked.wallet_id AND tap.service_day >= coalesce((
    SELECT max(before.service_day) FROM tap AS before
    WHERE before.wallet_id = asked.wallet_id AND before.service_day <= asked.day
    AND before.service_day >= '{{near}}' AND before.outcome = ANY($3::text[])
), asked.day)
WHERE tap.service_day >= '{{near}}' AND tap.outcome = ANY($3::text[])
"""
_READ_FAR = f"""
SELECT {_KEPT} FROM unnest($1::uuid[]) AS asked (wallet_id)
JOIN tap ON tap.wallet_id = asked.wallet_id AND tap.service_day = (
    SELECT max(before.service_day) FROM tap AS before
    WHERE before.wallet_id = asked.wallet_id AND before.service_day < '{{near}}'
    AND before.outcome = ANY($2::text[])
)
WHERE tap.service_day < '{{near}}' AND tap.outcome = ANY($2::text[])
"""
_READ_PAID = """
SELECT wallet_id, tap_id, product_id, service_day, purses, purses_fen FROM journal_entry
WHERE wallet_id = ANY($1::uuid[]) AND service_day >= '{near}'
    AND purses IS NOT NULL AND tap_id IS NOT NULL
ORDER BY wallet_id, wallet_version
"""
_READ_OPENINGS = "SELECT * FROM wallet_day WHERE wallet_id = ANY($1::uuid[])"
_READ_CHARGES = """
SELECT
    entry.tap_id, entry.operator_id, entry.product_id,
    sum(entry.ride_count)::bigint AS ride_count,
    sum(entry.operator_fen)::bigint AS fare_fen
FROM tap JOIN journal_entry AS entry USING (wallet_id, service_day)
WHERE tap.tap_id = ANY($1::uuid[]) AND entry.tap_id = tap.tap_id
GROUP BY entry.tap_id, entry.operator_id, entry.product_id
HAVING sum(entry.ride_count) <> 0
"""
_READ_WALLETS_BETWEEN = f"""
{READ_WALLETS} WHERE ($1::uuid IS NULL OR wallet_id > $1) AND ($2::uuid IS NULL OR wallet_id <= $2)
ORDER BY wallet_id LIMIT $3
"""
_READ_THESE_WALLETS = f"{READ_WALLETS} WHERE wallet_id = ANY($1::uuid[]) ORDER BY wallet_id"
_READ_TAPS_OF_WALLETS = f"""
SELECT {_KEPT} FROM tap WHERE wallet_id = ANY($1::uuid[]) ORDER BY wallet_id, wallet_version
"""
_READ_BASES = "SELECT * FROM wallet_base WHERE wallet_id = ANY($1::uuid[])"
_READ_GRANTS_OF_WALLETS = "SELECT * FROM purse_grant WHERE wallet_id = ANY($1::uuid[])"
_READ_ENTRIES_OF_WALLETS = """
SELECT * FROM journal_entry WHERE wallet_id = ANY($1::uuid[]) ORDER BY wallet_id, wallet_version
"""
