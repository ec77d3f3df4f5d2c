"""Payouts that are kept back: by whom, why, and who let them go."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg
from msgspec import Struct, structs

from gateway.shell.transactions import rows_changed


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
    return rows_changed(status) > 0


async def list_holds(pool: asyncpg.Pool) -> list[PayoutHold]:
    found = await pool.fetch("SELECT * FROM payout_hold ORDER BY held_at, hold_id")
    return [PayoutHold(**row) for row in found]
