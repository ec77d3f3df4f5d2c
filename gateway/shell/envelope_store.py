"""Red envelopes in the database: campaigns, who registered, what was drawn and granted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.envelopes import Draw, EnvelopeCampaign, Win
from gateway.shell.transactions import Connection, rows_changed

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(EnvelopeCampaign).decode


class Envelope(msgspec.Struct, frozen=True):
    """One envelope that has still to be granted."""

    rank: int
    wallet_id: UUID
    amount_fen: int


async def load_campaign(
    connection: Connection | asyncpg.Pool, campaign_id: str
) -> EnvelopeCampaign | None:
    row = await connection.fetchrow(
        "SELECT terms FROM envelope_campaign WHERE campaign_id = $1", campaign_id
    )
    return _decode(row["terms"]) if row else None


async def save_campaign(pool: asyncpg.Pool, campaign: EnvelopeCampaign, now: datetime) -> bool:
    """Whether it was saved; False when its id is taken."""
    status = await pool.execute(
        "INSERT INTO envelope_campaign VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        campaign.campaign_id,
        _encode(campaign),
        now,
    )
    return rows_changed(status) > 0


async def unknown_wallets(
    pool: asyncpg.Pool, wallet_ids: Sequence[UUID], issuer_id: str | None
) -> list[UUID]:
    """Those of some wallets that are not open, or not one institution's if one is named."""
    found = await pool.fetch(
        """SELECT wallet_id FROM wallet WHERE wallet_id = ANY($1::uuid[]) AND status <> 'closed'
        AND ($2::text IS NULL OR issuer_id = $2)""",
        wallet_ids,
        issuer_id,
    )
    known = {row["wallet_id"] for row in found}
    return [wallet_id for wallet_id in wallet_ids if wallet_id not in known]


async def save_registrations(
    pool: asyncpg.Pool, campaign_id: str, wallet_ids: Sequence[UUID], now: datetime
) -> int | None:
    """How many of them are new; None when the campaign was drawn meanwhile."""
    async with pool.acquire() as connection, connection.transaction():
        # Many at once; but a draw waits for those under way, so that its list stays as it was.
        await connection.execute(f"SELECT pg_advisory_xact_lock_shared({_DRAW_LOCK})", campaign_id)
        if await load_draw(connection, campaign_id):
            return None
        status = await connection.execute(
            """INSERT INTO envelope_registration (campaign_id, wallet_id, registered_at)
            SELECT $1, *, $3 FROM unnest($2::uuid[]) ON CONFLICT DO NOTHING""",
            campaign_id,
            wallet_ids,
            now,
        )
    return rows_changed(status)


@asynccontextmanager
async def drawing(pool: asyncpg.Pool, campaign_id: str) -> AsyncIterator[Connection]:
    """A transaction in which nobody else registers for a campaign, or draws it."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({_DRAW_LOCK})", campaign_id)
        yield connection


async def load_registered(connection: Connection | asyncpg.Pool, campaign_id: str) -> list[UUID]:
    found = await connection.fetch(
        "SELECT wallet_id FROM envelope_registration WHERE campaign_id = $1", campaign_id
    )
    return [row["wallet_id"] for row in found]


async def load_draw(connection: Connection | asyncpg.Pool, campaign_id: str) -> Draw | None:
    row = await connection.fetchrow(
        """SELECT campaign_id, seed, public_value, tickets_sha256, winners_sha256, winners_count
        FROM envelope_draw WHERE campaign_id = $1""",
        campaign_id,
    )
    return Draw(**row) if row else None


async def save_draw(
    connection: Connection, drawn: Draw, wins: Sequence[tuple[Win, UUID]], now: datetime
) -> None:
    """Save a draw with all its envelopes."""
    await connection.execute(
        "INSERT INTO envelope_draw VALUES ($1, $2, $3, $4, $5, $6, $7)",
        *msgspec.structs.astuple(drawn),
        now,
    )
    await connection.copy_records_to_table(
        "envelope",
        columns=("campaign_id", "rank", "wallet_id", "amount_fen"),
        records=[
            (drawn.campaign_id, win.rank, wallet_id, win.amount_fen) for win, wallet_id in wins
        ],
    )


async def list_draws(connection: Connection, rows_age: int | None) -> list[str]:
    """Campaigns that were drawn; with an age, those of which any row is no older."""
    found = await connection.fetch(_READ_DRAWS, rows_age)
    return [row["campaign_id"] for row in found]


async def load_envelopes(connection: Connection, campaign_id: str) -> list[asyncpg.Record]:
    """All envelopes that were drawn, and whether each was granted."""
    found: list[asyncpg.Record] = await connection.fetch(
        """SELECT rank, wallet_id, amount_fen,
            decided_at IS NOT NULL AND refusal IS NULL AS is_granted
        FROM envelope WHERE campaign_id = $1 ORDER BY rank""",
        campaign_id,
    )
    return found


async def load_granted(connection: Connection, grant_ids: Sequence[UUID]) -> dict[UUID, int]:
    """What was granted under some ids."""
    found = await connection.fetch(
        "SELECT grant_id, amount_fen FROM purse_grant WHERE grant_id = ANY($1::uuid[])", grant_ids
    )
    return {row["grant_id"]: row["amount_fen"] for row in found}


async def list_open_envelopes(pool: asyncpg.Pool, campaign_id: str, limit: int) -> list[Envelope]:
    """Envelopes that were drawn and neither granted nor refused yet."""
    found = await pool.fetch(
        """SELECT rank, wallet_id, amount_fen FROM envelope
        WHERE campaign_id = $1 AND decided_at IS NULL ORDER BY rank LIMIT $2""",
        campaign_id,
        limit,
    )
    return [Envelope(**row) for row in found]


async def save_decided(
    pool: asyncpg.Pool,
    campaign_id: str,
    ranks: Sequence[int],
    refusals: Sequence[str | None],
    now: datetime,
) -> None:
    """Save what became of some envelopes.

    Of two who decide one at once, whoever granted it is right: the money is in the wallet.
    """
    await pool.execute(
        """UPDATE envelope SET refusal = new.refusal, decided_at = $4
        FROM unnest($2::bigint[], $3::text[]) AS new (rank, refusal)
        WHERE envelope.campaign_id = $1 AND envelope.rank = new.rank AND (
            decided_at IS NULL OR (envelope.refusal IS NOT NULL AND new.refusal IS NULL)
        )""",
        campaign_id,
        ranks,
        refusals,
        now,
    )


async def load_progress(pool: asyncpg.Pool, campaign_id: str) -> asyncpg.Record:
    """Counts of registrations and envelopes, and the money that lies where."""
    row = await pool.fetchrow(_READ_PROGRESS, campaign_id)
    assert row is not None
    return row


# A number of its own for each campaign; two that share one would only wait for each other.
_DRAW_LOCK = "hashtextextended('red envelopes ' || $1, 0)"
_READ_DRAWS = """
SELECT campaign_id FROM envelope_draw AS draw
WHERE $1::int IS NULL OR age(xmin) BETWEEN 0 AND $1 OR EXISTS (
    SELECT FROM envelope WHERE envelope.campaign_id = draw.campaign_id
    AND age(envelope.xmin) BETWEEN 0 AND $1
) OR EXISTS (
    SELECT FROM envelope_registration AS one WHERE one.campaign_id = draw.campaign_id
    AND age(one.xmin) BETWEEN 0 AND $1
)
ORDER BY campaign_id
"""
_READ_PROGRESS = """
SELECT
    (SELECT count(*) FROM envelope_registration WHERE campaign_id = $1) AS registered_count,
    count(*) AS drawn_count,
    count(*) FILTER (WHERE decided_at IS NOT NULL AND refusal IS NULL) AS granted_count,
    count(refusal) AS refused_count,
    coalesce(sum(amount_fen) FILTER (WHERE decided_at IS NOT NULL AND refusal IS NULL), 0)::bigint
        AS granted_fen
FROM envelope WHERE campaign_id = $1
"""
