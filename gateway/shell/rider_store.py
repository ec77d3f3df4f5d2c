"""What riders ask after: their newest taps, what was paid for them, and their cards."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from msgspec import Struct

from gateway.core.decide import KeptTap
from gateway.core.ledger import JournalEntry
from gateway.core.wallets import Media
from gateway.shell import rows
from gateway.shell.transactions import rows_changed


async def load_newest_taps(
    pool: asyncpg.Pool, wallet_id: UUID, since: datetime | None, limit: int
) -> list[KeptTap]:
    found = await pool.fetch(
        f"""SELECT {rows.KEPT_COLUMNS} FROM tap
        WHERE wallet_id = $1 AND ($2::date IS NULL OR service_day >= $2)
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


class ClaimedCoupon(Struct, frozen=True):
    """A coupon that was claimed of a campaign."""

    campaign: str
    promotion_id: str
    media_token: str
    activated_at: datetime
    claimed_at: datetime


async def load_media_of(pool: asyncpg.Pool, wallet_id: UUID) -> list[Media]:
    found = await pool.fetch(
        "SELECT * FROM media WHERE wallet_id = $1 ORDER BY media_token", wallet_id
    )
    return [rows.media_from_row(row) for row in found]


async def load_claimed_coupons(pool: asyncpg.Pool, wallet_id: UUID) -> list[ClaimedCoupon]:
    found = await pool.fetch(
        """SELECT account, promotion_id, media_token, activated_at, claimed_at
        FROM campaign_claim WHERE wallet_id = $1 ORDER BY claimed_at, promotion_id""",
        wallet_id,
    )
    return [ClaimedCoupon(*row) for row in found]


async def load_registrations(pool: asyncpg.Pool, wallet_id: UUID) -> list[str]:
    """Campaigns of red envelopes that a wallet registered for."""
    found = await pool.fetch(
        """SELECT campaign_id FROM envelope_registration WHERE wallet_id = $1
        ORDER BY registered_at, campaign_id""",
        wallet_id,
    )
    return [row["campaign_id"] for row in found]


async def erase(pool: asyncpg.Pool, wallet_id: UUID, by: str, now: datetime) -> int:
    """Forget every card of a closed wallet; how many.

    What was claimed with them stays claimed, under names that nothing leads to or from.
    """
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO erasure VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", wallet_id, by, now
        )
        # Cards first: whoever is claiming with one of them is waited for, and nobody else can.
        status = await connection.execute("DELETE FROM media WHERE wallet_id = $1", wallet_id)
        await connection.execute(
            """UPDATE campaign_claim SET media_token = 'erased ' || gen_random_uuid()
            WHERE wallet_id = $1 AND media_token NOT LIKE 'erased %'""",
            wallet_id,
        )
    return rows_changed(status)


async def is_erased(pool: asyncpg.Pool, wallet_id: UUID) -> bool:
    return bool(await pool.fetchval("SELECT true FROM erasure WHERE wallet_id = $1", wallet_id))
