"""What correcting loads and saves: one transaction, in which the wallet's row is locked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from fare_rules import TariffBook
from gateway.core.amendments import Amendment
from gateway.core.campaigns import usage_of
from gateway.core.correction_wishes import (
    CorrectionKind,
    CorrectionSnapshot,
    CorrectionTerms,
    CorrectionWish,
)
from gateway.core.corrections import GOODWILL_WINDOW, Booking
from gateway.core.days import Opening
from gateway.core.decide import KeptTap
from gateway.core.ledger import JournalEntry
from gateway.core.registry import Registry
from gateway.core.wallets import Wallet
from gateway.core.wished_amendments import begins_at
from gateway.shell import rows
from gateway.shell.amendment_rows import decode_amendment, decode_wish, encode_amendment
from gateway.shell.campaign_store import load_left, spend_anywhere
from gateway.shell.kept_store import load_kept, read_days
from gateway.shell.log_days import LogDays
from gateway.shell.tap_store import reopen_grants, save_openings
from gateway.shell.transactions import Connection, LostRace, append
from gateway.shell.wallet_store import (
    LOCK_WALLETS,
    READ_CLOCK,
    load_media,
    save_wallets_and_entries,
)


class Correction(Struct, frozen=True, omit_defaults=True):
    """What was asked, by whom, and what became of it: proposed, booked or rejected."""

    wish: CorrectionWish
    state: str
    amount_fen: int
    maker: str
    proposed_at: datetime
    checker: str | None = None
    decided_at: datetime | None = None


class CorrectionWork:
    """One transaction at the desk."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find(self, correction_id: UUID) -> Correction | None:
        return await find_correction(self._connection, correction_id)

    async def load_snapshot(
        self,
        wish: CorrectionWish,
        *,
        now: datetime,
        registry: Registry,
        book: TariffBook,
        terms: CorrectionTerms,
    ) -> CorrectionSnapshot:
        connection, wallet_id = self._connection, wish.wallet_id
        locked = await connection.fetch(LOCK_WALLETS, [wallet_id])
        wallet = rows.wallet_from_row(locked[0]) if locked else None
        closed_through: date | None = await connection.fetchval(READ_CLOCK)
        tap = await load_kept(connection, wish.tap_id) if wish.tap_id else None
        undone = await self._find_amendment(wish) if wish.reverses else None
        since = begins_at(wish, tap, undone, book)
        days = None
        if wallet is not None and since is not None and wish.kind is not CorrectionKind.REFUND:
            days = (await read_days(connection, [wallet], [book.service_day_of(since)]))[wallet_id]
        charged_fen, operator_id = await self._charged(tap) if tap else (0, None)
        known = await connection.fetchrow(
            _READ_SUBJECT, wish.subject, wish.correction_id, wish.kind == CorrectionKind.REFUND
        )
        assert known is not None
        top_up = None
        if wish.top_up_id:
            row = await connection.fetchrow(
                "SELECT wallet_id, amount_fen FROM top_up WHERE top_up_id = $1", wish.top_up_id
            )
            top_up = (row["wallet_id"], row["amount_fen"]) if row else None
        return CorrectionSnapshot(
            now=now,
            closed_through=closed_through,
            registry=registry,
            wallet=wallet,
            tap=tap,
            media=await load_media(connection, wish.media_token) if wish.media_token else None,
            left=await load_left(connection),
            days=days,
            charged_fen=charged_fen,
            operator_id=operator_id,
            refunded_fen=known["refunded_fen"],
            left_fen={
                row["tap_id"]: row["left_fen"]
                for row in await connection.fetch(_READ_LEFT, wallet_id)
            },
            goodwill_fen=await connection.fetchval(
                _SUM_GOODWILL, wallet_id, now - GOODWILL_WINDOW, wish.correction_id
            )
            if wish.kind is CorrectionKind.GOODWILL
            else 0,
            is_corrected=known["is_corrected"],
            top_up=top_up,
            reversed=undone,
            # Read after the days: one that left before them is seen to have left.
            archived_through=known["archived_through"],
            self_count=await connection.fetchval(
                _COUNT_SELF, wallet_id, now - terms.self_window, wish.correction_id
            )
            if wish.by_rider
            else 0,
        )

    async def _charged(self, tap: KeptTap) -> tuple[int, str | None]:
        row = await self._connection.fetchrow(_READ_CHARGED, tap.wallet_id, tap.tap.tap_id)
        return (row["charged_fen"], row["operator_id"]) if row else (0, None)

    async def _find_amendment(self, wish: CorrectionWish) -> Amendment | None:
        found = await self._connection.fetchval(_READ_AMENDMENT, wish.reverses, wish.wallet_id)
        return decode_amendment(found) if found else None

    async def save_proposal(
        self, wish: CorrectionWish, booking: Booking, *, maker: str, now: datetime
    ) -> None:
        saved = await self._connection.fetchval(
            _INSERT_CORRECTION,
            wish.correction_id,
            wish.wallet_id,
            str(wish.kind),
            str(wish.reason),
            wish.note,
            wish.subject,
            msgspec.json.encode(wish),
            encode_amendment(booking.amendment) if booking.amendment else None,
            booking.amount_fen,
            maker,
            wish.by_rider,
            now,
        )
        if saved is None:
            raise LostRace("a correction was proposed by another process")

    async def save_booking(
        self,
        correction_id: UUID,
        booking: Booking,
        snapshot: CorrectionSnapshot,
        *,
        checker: str | None,
    ) -> None:
        connection, wallet, now = self._connection, booking.wallet, snapshot.now
        loaded = snapshot.wallet
        assert loaded is not None
        await self.save_decision(correction_id, "booked", checker, now, wallet.version)
        opened = {kept.service_day for kept in booking.kept}
        opened |= {entry.service_day for entry in booking.entries}
        await LogDays().open(connection, opened)
        if booking.kept:
            await append(connection, "gate_sequence", *rows.sequence_rows(booking.kept))
            await append(connection, "tap", *rows.kept_rows(booking.kept))
        if openings := _openings(wallet, booking, snapshot):
            await save_openings(connection, openings)
        before = {wallet.wallet_id: loaded}
        await save_wallets_and_entries(connection, [wallet], booking.entries, now, before)
        await spend_anywhere(connection, usage_of(booking.entries))
        await reopen_grants(connection, [wallet], before)

    async def save_decision(
        self,
        correction_id: UUID,
        state: str,
        checker: str | None,
        now: datetime,
        version: int | None = None,
    ) -> None:
        saved = await self._connection.fetchval(
            _INSERT_DECISION, correction_id, state, checker, version, now
        )
        if saved is None:
            raise LostRace("a correction was decided by another process")


def _openings(
    wallet: Wallet, booking: Booking, snapshot: CorrectionSnapshot
) -> dict[tuple[UUID, date], Opening]:
    if booking.moved is None or snapshot.days is None:
        return {}
    known = {each.day: each.opening for each in snapshot.days.days}
    openings = {
        (wallet.wallet_id, each.day): each.opening
        for each in booking.moved.days[:-1]
        if each.opening != known.get(each.day, {})
    }
    # A ride that no gate saw may begin a newer day than the wallet's row tells of.
    loaded = snapshot.wallet
    assert loaded is not None
    if loaded.day is not None and loaded.day != wallet.day and loaded.opening:
        openings[wallet.wallet_id, loaded.day] = loaded.opening
    return openings


@asynccontextmanager
async def correction_work(pool: asyncpg.Pool) -> AsyncIterator[CorrectionWork]:
    async with pool.acquire() as connection, connection.transaction():
        yield CorrectionWork(connection)


async def find_correction(
    connection: Connection | asyncpg.Pool, correction_id: UUID
) -> Correction | None:
    row = await connection.fetchrow(f"{_READ} WHERE correction_id = $1", correction_id)
    return _correction(row) if row else None


async def list_corrections(
    pool: asyncpg.Pool, after: UUID | None, limit: int, *, state: str | None = None
) -> list[Correction]:
    """Corrections as they were proposed; `after` is the last one seen."""
    found = await pool.fetch(_LIST, after, limit, state)
    return [_correction(row) for row in found]


async def list_corrections_of_tap(pool: asyncpg.Pool, tap_id: UUID) -> list[Correction]:
    """What was asked about one tap, or added it."""
    found = await pool.fetch(
        f"{_READ} WHERE subject = $1 OR correction_id = $1 ORDER BY proposed_at", tap_id
    )
    return [_correction(row) for row in found]


async def list_corrections_of_wallet(pool: asyncpg.Pool, wallet_id: UUID) -> list[Correction]:
    found = await pool.fetch(
        f"{_READ} WHERE wallet_id = $1 ORDER BY proposed_at, correction_id", wallet_id
    )
    return [_correction(row) for row in found]


async def load_correction_entries(pool: asyncpg.Pool, wish: CorrectionWish) -> list[JournalEntry]:
    found = await pool.fetch(
        """SELECT * FROM journal_entry WHERE wallet_id = $1 AND cause_id = ANY($2::uuid[])
        ORDER BY wallet_version""",
        wish.wallet_id,
        [wish.correction_id, *wish.ride],
    )
    return [rows.entry_from_row(row) for row in found]


def _correction(row: asyncpg.Record) -> Correction:
    return Correction(
        wish=decode_wish(row["wish"]),
        state=row["state"] or "proposed",
        amount_fen=row["amount_fen"],
        maker=row["maker"],
        proposed_at=row["proposed_at"],
        checker=row["checker"],
        decided_at=row["decided_at"],
    )


_READ = "SELECT * FROM correction LEFT JOIN correction_decision USING (correction_id)"
_LIST = f"""
{_READ} WHERE ($1::uuid IS NULL OR (proposed_at, correction_id) > (
    SELECT seen.proposed_at, seen.correction_id FROM correction AS seen
    WHERE seen.correction_id = $1
)) AND ($3::text IS NULL OR coalesce(state, 'proposed') = $3)
ORDER BY proposed_at, correction_id LIMIT $2
"""
# Of one subject: neither rejected nor undone, and not this one.
_READ_SUBJECT = """
SELECT
    coalesce(sum(amount_fen) FILTER (WHERE kind = 'refund'), 0)::bigint AS refunded_fen,
    count(*) FILTER (WHERE NOT $3 OR kind <> 'refund') > 0 AS is_corrected,
    (SELECT max(service_day) FROM log_day WHERE archived_at IS NOT NULL) AS archived_through
FROM correction LEFT JOIN correction_decision USING (correction_id)
WHERE subject = $1 AND correction_id <> $2 AND state IS DISTINCT FROM 'rejected'
AND NOT EXISTS (
    SELECT FROM correction AS undoing
    JOIN correction_decision AS undone USING (correction_id)
    WHERE undoing.subject = correction.correction_id AND undoing.kind = 'reversal'
    AND undone.state = 'booked'
)
"""
_COUNT_SELF = """
SELECT count(*) FROM correction
WHERE wallet_id = $1 AND by_rider AND proposed_at > $2 AND correction_id <> $3
"""
_SUM_GOODWILL = """
SELECT coalesce(sum(amount_fen), 0)::bigint
FROM correction LEFT JOIN correction_decision USING (correction_id)
WHERE wallet_id = $1 AND kind = 'goodwill' AND proposed_at > $2 AND correction_id <> $3
    AND state IS DISTINCT FROM 'rejected'
"""
# What the main purse paid: nothing that was given for a purpose becomes money for any.
_READ_CHARGED = """
SELECT
    -sum(purse_fen + coalesce(debt_fen, 0))::bigint AS charged_fen,
    max(operator_id) AS operator_id
FROM journal_entry
WHERE wallet_id = $1 AND tap_id = $2 AND kind IN ('fare', 'correction')
HAVING count(*) > 0
"""
_READ_LEFT = """
SELECT tap_id, -sum(purse_fen + coalesce(debt_fen, 0))::bigint AS left_fen
FROM journal_entry
WHERE wallet_id = $1 AND tap_id IN (
    SELECT subject FROM correction WHERE wallet_id = $1 AND kind = 'refund'
)
GROUP BY tap_id
"""
_READ_AMENDMENT = """
SELECT amendment FROM correction JOIN correction_decision USING (correction_id)
WHERE correction_id = $1 AND wallet_id = $2 AND state = 'booked' AND kind <> 'reversal'
"""
_INSERT_CORRECTION = """
INSERT INTO correction (
    correction_id, wallet_id, kind, reason, note, subject, wish, amendment, amount_fen, maker,
    by_rider, proposed_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT DO NOTHING RETURNING correction_id
"""
_INSERT_DECISION = """
INSERT INTO correction_decision (correction_id, state, checker, wallet_version, decided_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING RETURNING correction_id
"""
