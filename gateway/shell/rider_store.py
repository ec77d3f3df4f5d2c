"""What riders ask after: their newest taps, what was paid for them, and their cards."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

import asyncpg
from msgspec import Struct

from gateway.core.decide import KeptTap
from gateway.core.ledger import JournalEntry
from gateway.shell import rows


async def load_newest_taps(
    pool: asyncpg.Pool, wallet_id: UUID, since: datetime | None, limit: int
) -> list[KeptTap]:
    found = await pool.fetch(
        """SELECT tap_id, said, answer, facts, received_at, outcome, wallet_id, wallet_version,
            service_day
        FROM tap WHERE wallet_id = $1 AND ($2::date IS NULL OR service_day >= $2)
        ORDER BY service_day DESC, wallet_version DESC LIMIT $3""",
        wallet_id,
        since.date() if since else None,
        limit,
    )
    return [rows.kept_from_row(row) for row in found]


async def load_entries_of_taps(
    pool: asyncpg.Pool, wallet_id: UUID, tap_ids: Sequence[UUID]
) -> list[JournalEntry]:
    found = await pool.fetch(
        """SELECT * FROM journal_entry WHERE wallet_id = $1 AND tap_id = ANY($2::uuid[])
        ORDER BY wallet_version""",
        wallet_id,
        tap_ids,
    )
    return [rows.entry_from_row(row) for row in found]


async def load_all_entries(pool: asyncpg.Pool, wallet_id: UUID, limit: int) -> list[JournalEntry]:
    found = await pool.fetch(
        """SELECT * FROM journal_entry WHERE wallet_id = $1
        ORDER BY wallet_version DESC LIMIT $2""",
        wallet_id,
        limit,
    )
    return [rows.entry_from_row(row) for row in found]


async def load_media_tokens(pool: asyncpg.Pool, wallet_id: UUID) -> list[str]:
    found = await pool.fetch(
        "SELECT media_token FROM media WHERE wallet_id = $1 ORDER BY media_token", wallet_id
    )
    return [row["media_token"] for row in found]


async def erase(pool: asyncpg.Pool, wallet_id: UUID) -> int:
    """Unbind every card of a closed wallet and forget what it remembers; how many cards."""
    async with pool.acquire() as connection, connection.transaction():
        status = await connection.execute(
            "UPDATE media SET wallet_id = NULL, coupons = '' WHERE wallet_id = $1", wallet_id
        )
    return int(status.rsplit(" ", 1)[1])


class Held(Struct, frozen=True):
    """Money that is held for riders, of one kind: how much, for how many, and how old."""

    what: str
    wallets_count: int
    amount_fen: int
    under_30_days_fen: int
    under_365_days_fen: int
    older_fen: int


class HeldReport(Struct, frozen=True):
    """What is held, whose the matching money is, and what the bank last said."""

    held: tuple[Held, ...]
    owed_by_riders_fen: int
    ledger_bank_fen: int
    statement_fen: int | None
    statement_on: date | None


async def load_held(pool: asyncpg.Pool, now: datetime) -> HeldReport:
    """What is held for riders in main purses and grants, by how long ago it was paid in.

    Shape:  of a main purse the newest money is what is left: the oldest was spent first.
    """
    main = await pool.fetchrow(_READ_MAIN, now)
    grants = await pool.fetch(_READ_GRANTS, now)
    statement = await pool.fetchrow(
        """SELECT amount_fen, balance_on FROM bank_balance ORDER BY balance_on DESC LIMIT 1"""
    )
    sums = await pool.fetchrow(
        """SELECT (SELECT coalesce(sum(owed_fen), 0)::bigint FROM wallet),
            (SELECT coalesce(sum(bank_fen), 0)::bigint FROM journal_entry)"""
    )
    assert main is not None
    assert sums is not None
    return HeldReport(
        (Held("main purses", *main), *(Held(*row) for row in grants)),
        sums[0],
        -sums[1],
        statement["amount_fen"] if statement else None,
        statement["balance_on"] if statement else None,
    )


_READ_MAIN = """
WITH paid_in AS (
    SELECT wallet.wallet_id, wallet.balance_fen, top_up.amount_fen, top_up.recorded_at,
        coalesce(sum(top_up.amount_fen) OVER (
            PARTITION BY wallet.wallet_id ORDER BY top_up.recorded_at DESC, top_up.top_up_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ), 0) AS newer_fen
    FROM wallet LEFT JOIN top_up USING (wallet_id) WHERE wallet.balance_fen > 0
), left_of AS (
    SELECT recorded_at,
        least(coalesce(amount_fen, balance_fen), greatest(balance_fen - newer_fen, 0)) AS fen
    FROM paid_in
)
SELECT (SELECT count(*) FROM wallet WHERE balance_fen > 0),
    (SELECT coalesce(sum(balance_fen), 0)::bigint FROM wallet WHERE balance_fen > 0),
    coalesce(sum(fen) FILTER (WHERE recorded_at > $1::timestamptz - interval '30 days'), 0)::bigint,
    coalesce(sum(fen) FILTER (WHERE recorded_at <= $1::timestamptz - interval '30 days'
        AND recorded_at > $1::timestamptz - interval '365 days'), 0)::bigint,
    coalesce(sum(fen) FILTER (WHERE recorded_at IS NULL
        OR recorded_at <= $1::timestamptz - interval '365 days'), 0)::bigint
FROM left_of
"""
_READ_GRANTS = """
WITH held AS (
    SELECT share.grant_id, sum(share.fen)::bigint AS fen
    FROM journal_entry CROSS JOIN unnest(purses, purses_fen) AS share (grant_id, fen)
    WHERE purses IS NOT NULL GROUP BY share.grant_id HAVING sum(share.fen) <> 0
)
SELECT rule_id || ' of ' || coalesce(funder_id, 'the riders themselves'),
    count(DISTINCT wallet_id), sum(fen)::bigint,
    coalesce(sum(fen) FILTER (WHERE granted_at > $1::timestamptz - interval '30 days'), 0)::bigint,
    coalesce(sum(fen) FILTER (WHERE granted_at <= $1::timestamptz - interval '30 days'
        AND granted_at > $1::timestamptz - interval '365 days'), 0)::bigint,
    coalesce(sum(fen) FILTER (WHERE granted_at <= $1::timestamptz - interval '365 days'), 0)::bigint
FROM held JOIN purse_grant USING (grant_id) GROUP BY 1 ORDER BY 1
"""
