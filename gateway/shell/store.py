"""PostgreSQL: every statement the gateway runs, and the transactions they run in.

Round trips of one tap batch, whatever its size:

    BEGIN, lock the wallets in order, read media and taps seen and the settlement clock,
    insert taps, insert entries, update wallets, COMMIT

A statement that waits for a lock still sees the other tables as they were before it waited; so what
must be true under the lock is read by the statements after it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from uuid import UUID

import asyncpg
from msgspec import structs

from fare_rules import TariffBook
from gateway.core.audit import WalletBooks
from gateway.core.days import WalletDay
from gateway.core.decide import KeptTap, Plan, Snapshot
from gateway.core.ledger import JournalEntry
from gateway.core.registry import Registry
from gateway.core.taps import Tap, TapOutcome
from gateway.core.wallet_desk import WalletPlan, WalletSnapshot, Wish
from gateway.core.wallets import Media, Wallet
from gateway.shell import rows, telemetry

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

# Lost connections, a server that starts, stops or is full: trying again is safe and may help.
OUTAGES = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # What asyncpg says when a connection is cut inside a transaction.
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)


# Durable whatever the server's default is, and with the grants of the gateway's role only: whoever
# owns the tables could still edit the ledger, the gateway cannot.
_SESSION = {
    "application_name": "faregate",
    "synchronous_commit": "on",
    "role": "faregate_gateway",
}


class LostRace(Exception):
    """Another process saved something of ours first. Load again and decide again."""


RACES = (LostRace, asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


async def connect(dsn: str, *, timeout_seconds: float = 60) -> asyncpg.Connection:
    """Open a connection that speaks our UUIDs and may append to the ledger but not edit it."""
    connection = await asyncpg.connect(
        dsn, command_timeout=timeout_seconds, server_settings=_SESSION
    )
    await _prepare(connection)
    return connection


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "uuid",
        schema="pg_catalog",
        encoder=rows.uuid_bytes,
        decoder=rows.uuid_from_bytes,
        format="binary",
    )


async def open_pool(dsn: str, *, size_max: int = 4) -> asyncpg.Pool:
    """Connections for everything but the hot path."""
    pool = await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size_max,
        init=_prepare,
        command_timeout=60,
        server_settings=_SESSION,
    )
    assert pool is not None
    return pool


class TapWork:
    """One tap batch's transaction."""

    def __init__(self, connection: asyncpg.Connection, book: TariffBook) -> None:
        self._connection = connection
        self._book = book

    async def load_snapshot(
        self, taps: Sequence[Tap], registry: Registry, received_at: datetime
    ) -> Snapshot:
        tokens = list({tap.media_token for tap in taps})
        connection = self._connection
        locked = await connection.fetch(_LOCK_WALLETS_OF_MEDIA, tokens)
        wallets = {row["wallet_id"]: rows.wallet_from_row(row) for row in locked}
        media = {
            row["media_token"]: rows.media_from_row(row)
            for row in await connection.fetch(_READ_MEDIA, tokens)
        }
        if any(one.wallet_id and one.wallet_id not in wallets for one in media.values()):
            raise LostRace("a media was bound to another wallet while we waited for the lock")
        seen = await connection.fetch(
            _READ_SEEN,
            [tap.tap_id for tap in taps],
            [tap.gate_id for tap in taps],
            [tap.sequence for tap in taps],
        )
        kept = {row["tap_id"]: rows.kept_from_row(row) for row in seen}
        return Snapshot(
            received_at=received_at,
            registry=registry,
            kept=kept,
            sequences={(one.tap.gate_id, one.tap.sequence): i for i, one in kept.items()},
            media=media,
            wallets=wallets,
            earlier_days=await self._load_earlier_days(taps, media, wallets),
            closed_through=await connection.fetchval(_READ_CLOCK),
        )

    async def _load_earlier_days(
        self, taps: Sequence[Tap], media: dict[str, Media], wallets: dict[UUID, Wallet]
    ) -> dict[UUID, tuple[WalletDay, ...]]:
        """The days before a wallet's newest that its late taps concern, in their order."""
        first_day: dict[UUID, date] = {}
        for tap in taps:
            one = media.get(tap.media_token)
            wallet = wallets[one.wallet_id] if one and one.wallet_id else None
            if wallet is None or wallet.day is None:
                continue
            day = self._book.service_day_of(tap.tapped_at)
            if day < wallet.day:
                first_day[wallet.wallet_id] = min(day, first_day.get(wallet.wallet_id, day))
        newest = {wallet_id: wallets[wallet_id].day for wallet_id in first_day}
        return await _read_days(self._connection, first_day, newest)

    async def save_plan(self, plan: Plan, received_at: datetime) -> None:
        """Save all of a plan. Raises LostRace when a tap of it is in the log already."""
        if plan.kept:
            # In one order everywhere, so that two batches with the same taps wait, not deadlock.
            kept = sorted(plan.kept, key=lambda one: one.tap.tap_id)
            status = await self._connection.execute(_INSERT_TAPS, *rows.kept_columns(kept))
            if int(status.rsplit(" ", 1)[1]) != len(kept):
                raise LostRace("a tap of this batch was saved by another process")
        if plan.openings:
            await self._connection.execute(_UPSERT_OPENINGS, *rows.opening_columns(plan.openings))
        await _save_wallets_and_entries(self._connection, plan.wallets, plan.entries, received_at)


async def _read_days(
    connection: Connection | asyncpg.Pool,
    first_day: dict[UUID, date],
    newest: dict[UUID, date | None],
) -> dict[UUID, tuple[WalletDay, ...]]:
    """Days of wallets before their newest, from the last one with taps up to the first asked."""
    if not first_day:
        return {}
    asked = (list(first_day), list(first_day.values()))
    found: dict[UUID, dict[date, WalletDay]] = {}
    for row in await connection.fetch(_READ_DAYS, *asked, _LET_THROUGH):
        wallet_id, day = row["wallet_id"], row["service_day"]
        if day != newest[wallet_id]:
            days = found.setdefault(wallet_id, {})
            known = days.get(day, WalletDay(day))
            days[day] = structs.replace(known, taps=(*known.taps, rows.facts_from_row(row)))
    for row in await connection.fetch(_READ_OPENINGS, list(first_day)):
        days = found.get(row["wallet_id"], {})
        if row["day"] in days:
            opening = rows.opening_from(row["opening"])
            days[row["day"]] = structs.replace(days[row["day"]], opening=opening)
    return {
        wallet_id: tuple(days[day] for day in sorted(days)) for wallet_id, days in found.items()
    }


async def _save_wallets_and_entries(
    connection: Connection,
    wallets: Sequence[Wallet],
    entries: Sequence[JournalEntry],
    recorded_at: datetime,
) -> None:
    if entries:
        await connection.execute(_INSERT_ENTRIES, recorded_at, *rows.entry_columns(entries))
    if wallets:
        await connection.execute(_UPDATE_WALLETS, *rows.wallet_columns(wallets))


@asynccontextmanager
async def tap_work(connection: asyncpg.Connection, book: TariffBook) -> AsyncIterator[TapWork]:
    async with connection.transaction():
        yield TapWork(connection, book)
        saved_at = time.perf_counter()
    telemetry.COMMIT_SECONDS.observe(time.perf_counter() - saved_at)


class WalletWork:
    """One transaction at the wallet desk."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def load_snapshot(
        self, wishes: Sequence[Wish], *, now: datetime, today: date, issuers: Iterable[str]
    ) -> WalletSnapshot:
        tokens, top_ups = [], []
        for wish in wishes:
            binds = [wish.binds] if wish.binds else list(wish.opens.media) if wish.opens else []
            tokens += [bind.media_token for bind in binds]
            tokens += [wish.unbinds] if wish.unbinds else []
            tokens += [wish.blocks_media[0]] if wish.blocks_media else []
            tokens += [wish.activates[0]] if wish.activates else []
            top_up = wish.top_up or (wish.opens.top_up if wish.opens else None)
            top_ups += [top_up.top_up_id] if top_up else []
        connection = self._connection
        ids = list({wish.wallet_id for wish in wishes})
        locked = await connection.fetch(_LOCK_WALLETS, ids)
        media = await connection.fetch(_LOCK_MEDIA, tokens)
        return WalletSnapshot(
            now=now,
            today=today,
            closed_through=await connection.fetchval(_READ_CLOCK),
            issuers=frozenset(issuers),
            wallets={row["wallet_id"]: rows.wallet_from_row(row) for row in locked},
            media={row["media_token"]: rows.media_from_row(row) for row in media},
            top_ups={
                row["entry_id"]: (row["wallet_id"], row["amount_fen"])
                for row in await connection.fetch(_READ_TOP_UPS, top_ups)
            },
        )

    async def save_plan(self, plan: WalletPlan, now: datetime) -> None:
        opened = plan.opened
        if opened:
            saved = await self._connection.fetch(
                _INSERT_WALLETS,
                now,
                [wallet.issuer_id for wallet in opened],
                [wallet.floor_fen for wallet in opened],
                *rows.wallet_columns(opened),
            )
            if len(saved) != len(opened):
                raise LostRace("a wallet was opened by another process")
        if plan.media:
            saved = await self._connection.fetch(
                _UPSERT_MEDIA,
                [one.media_token for one in plan.media],
                [one.wallet_id for one in plan.media],
                [one.rider_category for one in plan.media],
                [one.fare_media for one in plan.media],
                [one.is_blocked for one in plan.media],
                [rows.coupons_bytes(one) for one in plan.media],
            )
            if len(saved) != len(plan.media):
                raise LostRace("a media was bound by another process")
        await _save_wallets_and_entries(self._connection, plan.changed, plan.entries, now)


@asynccontextmanager
async def wallet_work(pool: asyncpg.Pool) -> AsyncIterator[WalletWork]:
    async with pool.acquire() as connection, connection.transaction():
        yield WalletWork(connection)


class SweepWork:
    """One transaction that ends days with open legs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock_wallets_with_late_legs(self, now: datetime, limit: int) -> list[Wallet]:
        found = await self._connection.fetch(_LOCK_LATE_LEGS, now, limit)
        return [rows.wallet_from_row(row) for row in found]

    async def read_clock(self) -> date | None:
        found: date | None = await self._connection.fetchval(_READ_CLOCK)
        return found

    async def save(
        self, wallets: Sequence[Wallet], entries: Sequence[JournalEntry], now: datetime
    ) -> None:
        await _save_wallets_and_entries(self._connection, wallets, entries, now)


@asynccontextmanager
async def sweep_work(pool: asyncpg.Pool) -> AsyncIterator[SweepWork]:
    async with pool.acquire() as connection, connection.transaction():
        yield SweepWork(connection)


async def load_kept(pool: asyncpg.Pool, tap_id: UUID) -> KeptTap | None:
    row = await pool.fetchrow(_READ_TAP, tap_id)
    return rows.kept_from_row(row) if row else None


async def list_taps_for_a_person(
    pool: asyncpg.Pool, after: UUID | None, limit: int
) -> list[KeptTap]:
    """Incomplete and quarantined taps, as they arrived; `after` is the last one seen."""
    found = await pool.fetch(_READ_FOR_A_PERSON, after, limit)
    return [rows.kept_from_row(row) for row in found]


async def load_wallet(pool: asyncpg.Pool, wallet_id: UUID) -> Wallet | None:
    row = await pool.fetchrow("SELECT * FROM wallet WHERE wallet_id = $1", wallet_id)
    return rows.wallet_from_row(row) if row else None


async def load_wallet_days(pool: asyncpg.Pool, wallet: Wallet, day: date) -> tuple[WalletDay, ...]:
    """The days before a wallet's newest that a tap of a day concerns."""
    if wallet.day is None or day >= wallet.day:
        return ()
    found = await _read_days(pool, {wallet.wallet_id: day}, {wallet.wallet_id: wallet.day})
    return found.get(wallet.wallet_id, ())


async def load_media(pool: asyncpg.Pool, media_token: str) -> Media | None:
    row = await pool.fetchrow(_READ_MEDIA, [media_token])
    return rows.media_from_row(row) if row else None


async def load_entries(pool: asyncpg.Pool, wallet_id: UUID, limit: int) -> list[asyncpg.Record]:
    """A wallet's newest entries first."""
    found: list[asyncpg.Record] = await pool.fetch(_READ_STATEMENT, wallet_id, limit)
    return found


async def load_charges(pool: asyncpg.Pool, tap_ids: Sequence[UUID]) -> list[asyncpg.Record]:
    found: list[asyncpg.Record] = await pool.fetch(_READ_CHARGES, tap_ids)
    return found


async def load_books(connection: Connection, after: UUID | None, limit: int) -> list[WalletBooks]:
    """All that is kept of the next wallets, in order of their ids."""
    wallets = [
        rows.wallet_from_row(row) for row in await connection.fetch(_READ_WALLETS, after, limit)
    ]
    ids = [wallet.wallet_id for wallet in wallets]
    taps: dict[UUID, list[KeptTap]] = {}
    for row in await connection.fetch(_READ_TAPS_OF_WALLETS, ids):
        taps.setdefault(row["wallet_id"], []).append(rows.kept_from_row(row))
    entries: dict[UUID, list[JournalEntry]] = {}
    for row in await connection.fetch(_READ_ENTRIES_OF_WALLETS, ids):
        entries.setdefault(row["wallet_id"], []).append(rows.entry_from_row(row))
    return [
        WalletBooks(w, tuple(taps.get(w.wallet_id, ())), tuple(entries.get(w.wallet_id, ())))
        for w in wallets
    ]


_LOCK_WALLETS_OF_MEDIA = """
SELECT * FROM wallet
WHERE wallet_id IN (SELECT wallet_id FROM media WHERE media_token = ANY($1::text[]))
ORDER BY wallet_id FOR UPDATE
"""
_LOCK_WALLETS = (
    "SELECT * FROM wallet WHERE wallet_id = ANY($1::uuid[]) ORDER BY wallet_id FOR UPDATE"
)
_LOCK_LATE_LEGS = """
SELECT * FROM wallet WHERE wallet_id IN (
    SELECT wallet_id FROM wallet WHERE open_until <= $1 ORDER BY wallet_id LIMIT $2
)
ORDER BY wallet_id FOR UPDATE
"""
_READ_MEDIA = "SELECT * FROM media WHERE media_token = ANY($1::text[])"
_LOCK_MEDIA = (
    "SELECT * FROM media WHERE media_token = ANY($1::text[]) ORDER BY media_token FOR UPDATE"
)
_READ_CLOCK = "SELECT closed_through FROM settlement_clock"
_KEPT = """
    tap.tap_id, tap.said, tap.answer, tap.facts, tap.received_at,
    tap.wallet_id, tap.wallet_version, tap.service_day
"""
_READ_TAP = f"SELECT {_KEPT} FROM tap WHERE tap_id = $1"
_READ_FOR_A_PERSON = f"""
SELECT {_KEPT} FROM tap WHERE needs_person AND ($1::uuid IS NULL OR (received_at, tap_id) > (
    SELECT seen.received_at, seen.tap_id FROM tap AS seen WHERE seen.tap_id = $1
))
ORDER BY received_at, tap_id LIMIT $2
"""
_READ_SEEN = f"""
SELECT {_KEPT} FROM tap WHERE tap_id = ANY($1::uuid[])
UNION
SELECT {_KEPT} FROM unnest($2::text[], $3::bigint[]) AS asked (gate_id, sequence)
JOIN tap USING (gate_id, sequence)
WHERE tap.outcome <> 'sequence_reused'
"""
_LET_THROUGH = [str(outcome) for outcome in TapOutcome if outcome.is_let_through]
# From the last day with taps up to the one asked for: the next begins as that one ended.
_READ_DAYS = f"""
SELECT {_KEPT} FROM unnest($1::uuid[], $2::date[]) AS asked (wallet_id, day)
JOIN tap ON tap.wallet_id = asked.wallet_id AND tap.service_day >= coalesce((
    SELECT max(before.service_day) FROM tap AS before
    WHERE before.wallet_id = asked.wallet_id AND before.service_day <= asked.day
    AND before.outcome = ANY($3::text[])
), asked.day)
WHERE tap.outcome = ANY($3::text[])
"""
_READ_OPENINGS = "SELECT * FROM wallet_day WHERE wallet_id = ANY($1::uuid[])"
_UPSERT_OPENINGS = """
INSERT INTO wallet_day (wallet_id, day, opening)
SELECT * FROM unnest($1::uuid[], $2::date[], $3::bytea[])
ON CONFLICT (wallet_id, day) DO UPDATE SET opening = excluded.opening
"""
_INSERT_TAPS = """
INSERT INTO tap (
    tap_id, gate_id, sequence, tapped_at, received_at, outcome, needs_person,
    wallet_id, wallet_version, service_day, said, facts, answer
)
SELECT * FROM unnest(
    $1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::text[],
    $7::boolean[], $8::uuid[], $9::bigint[], $10::date[], $11::bytea[], $12::bytea[], $13::bytea[]
)
ON CONFLICT DO NOTHING
"""
_INSERT_ENTRIES = f"""
INSERT INTO journal_entry (
    recorded_at, entry_id, kind, cause_id, wallet_id, wallet_version, effective_at, service_day,
    settlement_day, tap_id, operator_id, product_id, ride_count, accounts, amounts_fen
)
SELECT
    $1, entry_id, kind, cause_id, wallet_id, wallet_version, effective_at, service_day,
    settlement_day, tap_id, operator_id, product_id, ride_count,
    string_to_array(accounts, E'\\x{ord(rows.SEPARATOR):02x}'),
    string_to_array(amounts, E'\\x{ord(rows.SEPARATOR):02x}')::bigint[]
FROM unnest(
    $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::bigint[], $7::timestamptz[], $8::date[],
    $9::date[], $10::uuid[], $11::text[], $12::text[], $13::bigint[], $14::text[], $15::text[]
) AS entry (
    entry_id, kind, cause_id, wallet_id, wallet_version, effective_at, service_day,
    settlement_day, tap_id, operator_id, product_id, ride_count, accounts, amounts
)
"""
_WALLET_COLUMNS = """
    $1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::date[], $7::bytea[],
    $8::bytea[], $9::timestamptz[], $10::timestamptz[]
"""
_UPDATE_WALLETS = f"""
UPDATE wallet SET
    status = new.status, balance_fen = new.balance_fen, owed_fen = new.owed_fen,
    version = new.version, day = new.day, day_taps = new.day_taps,
    opening = new.opening, swept_until = new.swept_until, open_until = new.open_until
FROM unnest({_WALLET_COLUMNS}) AS new (
    wallet_id, status, balance_fen, owed_fen, version, day, day_taps, opening, swept_until,
    open_until
)
WHERE wallet.wallet_id = new.wallet_id
"""
_INSERT_WALLETS = """
INSERT INTO wallet (
    opened_at, issuer_id, floor_fen, wallet_id, status, balance_fen, owed_fen, version, day,
    day_taps, opening, swept_until, open_until
)
SELECT $1, * FROM unnest(
    $2::text[], $3::bigint[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
    $9::date[], $10::bytea[], $11::bytea[], $12::timestamptz[], $13::timestamptz[]
)
ON CONFLICT DO NOTHING RETURNING wallet_id
"""
_UPSERT_MEDIA = """
INSERT INTO media (media_token, wallet_id, rider_category, fare_media, is_blocked, coupons)
SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::boolean[], $6::bytea[])
ON CONFLICT (media_token) DO UPDATE SET
    wallet_id = excluded.wallet_id, rider_category = excluded.rider_category,
    fare_media = excluded.fare_media, is_blocked = excluded.is_blocked,
    coupons = excluded.coupons
WHERE media.wallet_id IS NULL OR media.wallet_id = excluded.wallet_id
    OR excluded.wallet_id IS NULL
RETURNING media_token
"""
_READ_TOP_UPS = """
SELECT entry_id, wallet_id, -amounts_fen[array_position(accounts, 'bank')] AS amount_fen
FROM journal_entry WHERE entry_id = ANY($1::uuid[])
"""
_READ_STATEMENT = """
SELECT * FROM journal_entry WHERE wallet_id = $1 ORDER BY wallet_version DESC LIMIT $2
"""
_READ_CHARGES = """
SELECT
    entry.tap_id, entry.operator_id, entry.product_id,
    sum(entry.ride_count)::bigint AS ride_count,
    sum(entry.amounts_fen[array_position(entry.accounts, 'operator:' || entry.operator_id)])::bigint
        AS fare_fen
FROM tap JOIN journal_entry AS entry USING (wallet_id, service_day)
WHERE tap.tap_id = ANY($1::uuid[]) AND entry.tap_id = tap.tap_id
GROUP BY entry.tap_id, entry.operator_id, entry.product_id
HAVING sum(entry.ride_count) <> 0
"""
_READ_WALLETS = """
SELECT * FROM wallet WHERE $1::uuid IS NULL OR wallet_id > $1 ORDER BY wallet_id LIMIT $2
"""
_READ_TAPS_OF_WALLETS = f"""
SELECT {_KEPT} FROM tap WHERE wallet_id = ANY($1::uuid[]) ORDER BY wallet_id, wallet_version
"""
_READ_ENTRIES_OF_WALLETS = """
SELECT * FROM journal_entry WHERE wallet_id = ANY($1::uuid[]) ORDER BY wallet_id, wallet_version
"""
