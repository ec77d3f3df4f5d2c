"""The tap log's statements: what a tap batch loads and saves.

Round trips of one tap batch:

    read the settlement clock with media, wallets and numbers seen
    few taps:   save everything in one statement
    many taps:  BEGIN, append sequences and taps and entries, update wallets, COMMIT

Late taps add one that reads days from the log. Nothing is locked: a wallet that somebody else has
changed meanwhile, a tap that somebody else has saved, or a day that was closed, is found out by
saving, and the batch is decided again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from uuid import UUID

import asyncpg
from asyncpg.transaction import Transaction
from msgspec import structs

from gateway.core.campaigns import Left, Usage
from gateway.core.days import Opening
from gateway.core.decide import KeptTap, Plan, Snapshot
from gateway.core.registry import Registry
from gateway.core.taps import Tap, TapOutcome
from gateway.core.wallets import Wallet
from gateway.shell import rows, telemetry
from gateway.shell.campaign_store import draw, spend
from gateway.shell.kept_store import load_these, read_days
from gateway.shell.transactions import Connection, LostRace, append
from gateway.shell.wallet_store import (
    LOCK_WALLETS,
    READ_CLOCK,
    move_wallets,
    save_wallets_and_entries,
)


class TapWork:
    """One tap batch's work: it reads without a transaction, and saves all or nothing."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._transaction: Transaction | None = None

    async def begin(self) -> None:
        """Begin the transaction in which the plan is saved, if it has not begun."""
        if self._transaction is None:
            self._transaction = self._connection.transaction()
            await self._transaction.start()

    async def end(self, *, is_kept: bool) -> None:
        """Keep what was done, or undo it."""
        if self._transaction is not None:
            work, self._transaction = self._transaction, None
            if is_kept:
                with telemetry.COMMIT_SECONDS.time():
                    await work.commit()
            else:
                await work.rollback()

    async def load_snapshot(
        self,
        taps: Sequence[Tap],
        registry: Registry,
        received_at: datetime,
        days: Sequence[date],
        *,
        is_locking: bool,
        left: dict[str, Left] | None = None,
    ) -> Snapshot:
        """Load what deciding these taps needs.

        Shape:  `days` are the days of the log that the taps are kept on. Wallets are not locked
                unless asked, nor is each id looked up: saving finds out whether anybody else has
                changed one.
        """
        if is_locking:
            await self.begin()
        found = await self._connection.fetch(
            _READ_RIDERS,
            list({tap.media_token for tap in taps}),
            [tap.gate_id for tap in taps],
            [tap.sequence for tap in taps],
        )
        media, wallets = rows.riders_from_rows(found)
        if is_locking:
            locked = await self._connection.fetch(LOCK_WALLETS, list(wallets))
            wallets = {row["wallet_id"]: rows.wallet_from_row(row) for row in locked}
        numbered = dict(zip(found[0]["seen_ids"] or (), found[0]["seen_days"] or (), strict=True))
        kept = await self._load_seen(taps, days, numbered, is_doubted=is_locking)
        return Snapshot(
            received_at=received_at,
            registry=registry,
            kept=kept,
            sequences={
                (one.tap.gate_id, one.tap.sequence): i
                for i, one in kept.items()
                if one.result.outcome is not TapOutcome.SEQUENCE_REUSED
            },
            media=media,
            wallets=wallets,
            closed_through=found[0]["closed_through"],
            left=left or {},
        )

    async def _load_seen(
        self,
        taps: Sequence[Tap],
        days: Sequence[date],
        numbered: Mapping[UUID, date],
        *,
        is_doubted: bool,
    ) -> dict[UUID, KeptTap]:
        """Taps in the log by these ids on these days, or with these gates' numbers on any day.

        What is in the log is there under its gate's number, or that number is another tap's. Only
        a faulty gate gives an id two numbers; within one day, saving finds that out: then it is
        doubted whether the number alone tells.
        """
        if not numbered and not is_doubted and len(set(days)) == 1:
            return {}
        ids = {tap.tap_id for tap in taps} | numbered.keys()
        on = {*days, *numbered.values()}
        return await load_these(self._connection, list(ids), list(on))

    async def load_days(self, snapshot: Snapshot, lacks: dict[UUID, date]) -> Snapshot:
        """Load the days of some wallets, too, each from the one given on."""
        if not lacks:
            return snapshot
        wallets = [snapshot.wallets[wallet_id] for wallet_id in lacks]
        found = await read_days(self._connection, wallets, list(lacks.values()))
        return structs.replace(snapshot, days=snapshot.days | found)

    async def draw_budgets(
        self, snapshot: Snapshot, short: Mapping[str, Usage], slot: int
    ) -> Snapshot:
        """Draw what campaigns' budgets still have for the lane."""
        if not short:
            return snapshot
        await self.begin()
        drawn = await draw(self._connection, short, slot)
        return structs.replace(snapshot, left=snapshot.left | drawn)

    async def save_plan(self, plan: Plan, snapshot: Snapshot, *, slot: int) -> None:
        """Save all of a plan.

        Raises: RACES when a tap of it is in the log already, a wallet has changed since it was
                loaded, or a day has been closed.
        """
        if not plan.kept:
            return
        # In one order everywhere, so that two batches with the same taps wait, not deadlock.
        kept = sorted(plan.kept, key=lambda one: one.tap.tap_id.bytes)
        if self._transaction is None and _is_small(plan, snapshot):
            await self._save_at_once(kept, plan, snapshot)
            return
        await self.begin()
        closed_through = await self._connection.fetchval(READ_CLOCK)
        if closed_through != snapshot.closed_through:
            raise LostRace("a day was closed by another process")
        await append(self._connection, "gate_sequence", *rows.sequence_rows(kept))
        await append(self._connection, "tap", *rows.kept_rows(kept))
        if plan.openings:
            await save_openings(self._connection, plan.openings)
        await save_wallets_and_entries(
            self._connection, plan.wallets, plan.entries, snapshot.received_at, snapshot.wallets
        )
        if plan.usage:
            await spend(self._connection, plan.usage, slot)
        await reopen_grants(self._connection, plan.wallets, snapshot.wallets)

    async def _save_at_once(self, kept: Sequence[KeptTap], plan: Plan, snapshot: Snapshot) -> None:
        in_order = sorted(plan.wallets, key=lambda wallet: wallet.wallet_id.bytes)
        try:
            with telemetry.COMMIT_SECONDS.time():
                await self._connection.fetchval(
                    _SAVE_AT_ONCE,
                    snapshot.closed_through,
                    snapshot.received_at,
                    len(in_order),
                    rows.kept_taps(kept),
                    rows.plain_entries(plan.entries),
                    rows.moved_wallets(in_order, snapshot.wallets),
                )
        except asyncpg.UniqueViolationError as lost:
            raise LostRace("a tap was saved by another process") from lost


def _is_small(plan: Plan, snapshot: Snapshot) -> bool:
    """Whether a plan is saved sooner by one statement: few rows, and none of the rarer tables."""
    return (
        len(plan.kept) <= _AT_ONCE_MAX
        and not plan.usage
        and not plan.openings
        and all(rows.is_plain(entry) for entry in plan.entries)
        and all(one.result.outcome is not TapOutcome.SEQUENCE_REUSED for one in plan.kept)
        and not _reopened(plan.wallets, snapshot.wallets)
    )


async def save_openings(connection: Connection, openings: dict[tuple[UUID, date], Opening]) -> None:
    await connection.execute(_UPSERT_OPENINGS, *rows.opening_columns(openings))


async def reopen_grants(
    connection: Connection, wallets: Sequence[Wallet], loaded: Mapping[UUID, Wallet]
) -> None:
    if reopened := _reopened(wallets, loaded):
        await connection.execute(_REOPEN_GRANTS, reopened)


def _reopened(wallets: Sequence[Wallet], loaded: Mapping[UUID, Wallet]) -> list[UUID]:
    """Grants that may have ended, and have money again: a ride that they paid for costs less.

    One that ended with nothing left lies empty in its wallet until another needs its place.
    """
    return [
        purse.grant_id
        for wallet in wallets
        if wallet.purses
        for held in [{one.grant_id: one.held_fen for one in loaded[wallet.wallet_id].purses}]
        for purse in wallet.purses
        if purse.held_fen and not held.get(purse.grant_id)
    ]


@asynccontextmanager
async def tap_work(connection: asyncpg.Connection) -> AsyncIterator[TapWork]:
    """Work on one tap batch. What it has saved is durable at the end, or nothing of it is."""
    work = TapWork(connection)
    try:
        yield work
    except BaseException:
        await work.end(is_kept=False)
        raise
    await work.end(is_kept=True)


# The clock's one row, and which of the gates' numbers are known, with each media and its wallet;
# with nothing, where no media is known. LIMIT 1 makes a plan for an empty table look by key, too.
_READ_RIDERS = f"""
SELECT {rows.RIDER_COLUMNS}, closed_through, seen_ids, seen_days FROM settlement_clock
CROSS JOIN (
    SELECT array_agg(tap_id) AS seen_ids, array_agg(service_day) AS seen_days
    FROM unnest($2::text[], $3::bigint[]) AS asked (gate_id, sequence)
    CROSS JOIN LATERAL (
        SELECT tap_id, service_day FROM gate_sequence
        WHERE gate_sequence.gate_id = asked.gate_id AND gate_sequence.sequence = asked.sequence
        LIMIT 1
    ) AS known
) AS seen
LEFT JOIN media ON media.media_token = ANY($1::text[])
LEFT JOIN wallet ON wallet.wallet_id = media.wallet_id
"""
# Up to so many taps are saved by one statement; more are cheaper by COPY.
_AT_ONCE_MAX = 64
_KEPT = "service_day, tap_id, needs_person, wallet_id, wallet_version, outcome, said, facts, answer"
_PLAIN = """
    wallet_id, wallet_version, effective_at, service_day, settlement_day, ride_count, cause_id,
    tap_id, kind, operator_id, product_id, purse_fen, debt_fen, operator_fen, bank_fen
"""
# The subqueries at the end run in the order in which they stand, which is that of many taps.
_SAVE_AT_ONCE = f"""
WITH said AS MATERIALIZED (
    SELECT * FROM unnest($4::kept_tap[])
), numbered AS (
    INSERT INTO gate_sequence (gate_id, sequence, service_day, tap_id)
    SELECT gate_id, sequence, service_day, tap_id FROM said RETURNING 1
), kept AS (
    INSERT INTO tap (received_at, {_KEPT}) SELECT $2, {_KEPT} FROM said RETURNING 1
), moved AS (
    {move_wallets(6)} RETURNING 1
), posted AS (
    INSERT INTO journal_entry (recorded_at, {_PLAIN})
    SELECT $2, {_PLAIN} FROM unnest($5::plain_entry[]) RETURNING 1
)
SELECT CASE WHEN (SELECT closed_through FROM settlement_clock) IS NOT DISTINCT FROM $1::date
    AND (SELECT count(*) FROM numbered) = (SELECT count(*) FROM kept)
    AND (SELECT count(*) FROM moved) = $3
    THEN (SELECT count(*) FROM posted) >= 0 ELSE lost_race() END
"""
_REOPEN_GRANTS = "UPDATE purse_grant SET ended_at = NULL WHERE grant_id = ANY($1::uuid[])"
_UPSERT_OPENINGS = """
INSERT INTO wallet_day (wallet_id, day, opening)
SELECT * FROM unnest($1::uuid[], $2::date[], $3::bytea[])
ON CONFLICT (wallet_id, day) DO UPDATE SET opening = excluded.opening
"""
