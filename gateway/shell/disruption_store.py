"""Declared disruptions, who agreed to them, and the wallets that rode then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from gateway.core.days import LoadedDays
from gateway.core.disruptions import DisruptionWish
from gateway.core.taps import LET_THROUGH
from gateway.shell import rows
from gateway.shell.kept_store import read_days
from gateway.shell.wallet_store import READ_WALLETS

_decode = msgspec.json.Decoder(DisruptionWish).decode


class Declared(Struct, frozen=True, omit_defaults=True):
    """A disruption as it was declared; nothing is done until another person has agreed."""

    disruption: DisruptionWish
    maker: str
    declared_at: datetime
    checker: str | None = None
    approved_at: datetime | None = None


async def save_disruption(
    pool: asyncpg.Pool, disruption: DisruptionWish, maker: str, now: datetime
) -> Declared:
    """Declare a disruption; one that is known stays as it was, and is given back."""
    await pool.execute(
        """INSERT INTO disruption (disruption_id, wish, maker, declared_at)
        VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING""",
        disruption.disruption_id,
        msgspec.json.encode(disruption),
        maker,
        now,
    )
    found = await find_disruption(pool, disruption.disruption_id)
    assert found is not None
    return found


async def save_approval(
    pool: asyncpg.Pool, disruption_id: UUID, checker: str, now: datetime
) -> None:
    await pool.execute(
        """INSERT INTO disruption_approval (disruption_id, checker, approved_at)
        VALUES ($1, $2, $3) ON CONFLICT DO NOTHING""",
        disruption_id,
        checker,
        now,
    )


async def find_disruption(pool: asyncpg.Pool, disruption_id: UUID) -> Declared | None:
    row = await pool.fetchrow(f"{_READ} WHERE disruption_id = $1", disruption_id)
    return _declared(row) if row else None


async def list_disruptions(pool: asyncpg.Pool, limit: int) -> list[Declared]:
    """The newest first."""
    found = await pool.fetch(f"{_READ} ORDER BY declared_at DESC, disruption_id LIMIT $1", limit)
    return [_declared(row) for row in found]


async def load_riders_of(
    pool: asyncpg.Pool, days: Sequence[date], after: UUID | None, limit: int
) -> list[tuple[UUID, LoadedDays]]:
    """The next wallets that were let through on some days, with their days from the first on."""
    found = await pool.fetch(
        """SELECT DISTINCT wallet_id FROM tap WHERE service_day = ANY($1::date[])
        AND outcome = ANY($2::text[]) AND ($3::uuid IS NULL OR wallet_id > $3)
        ORDER BY wallet_id LIMIT $4""",
        days,
        LET_THROUGH,
        after,
        limit,
    )
    ids = [row["wallet_id"] for row in found]
    kept = await pool.fetch(
        f"{READ_WALLETS} WHERE wallet_id = ANY($1::uuid[]) ORDER BY wallet_id", ids
    )
    wallets = [rows.wallet_from_row(row) for row in kept]
    loaded = await read_days(pool, wallets, [min(days)] * len(wallets))
    return [(wallet.wallet_id, loaded[wallet.wallet_id]) for wallet in wallets]


def _declared(row: asyncpg.Record) -> Declared:
    return Declared(
        _decode(row["wish"]), row["maker"], row["declared_at"], row["checker"], row["approved_at"]
    )


_READ = "SELECT * FROM disruption LEFT JOIN disruption_approval USING (disruption_id)"
