"""Campaigns' money in the database: drawn into a lane's slot, spent from it, given back.

A lane spends from its own slot by one conditional update in the transaction of its batch, so two
lanes do not wait for each other. An empty slot draws from the pool; when the pool is short, all
slots are locked in order and gathered, so not a fen is left where nobody can use it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from weakref import WeakKeyDictionary

import asyncpg
from msgspec import Struct

from fare_rules import TariffBook
from fare_rules.amounts import said
from fare_rules.quotes import sponsor_account, sponsored_by
from gateway.core.campaigns import ENDLESS, Left, Usage
from gateway.shell.transactions import Connection, LostRace, rows_changed

POOL = 0
# Of what is in the pool, a lane draws one part at a time, or what it needs.
_PARTS = 16
# How long a campaign that has run out is taken to have: then it may have been given something back.
_GONE_SECONDS = 1.0


class CampaignState(Struct, frozen=True):
    """How one campaign stands. What is reserved is a part of what is left: drawn by the lanes of
    running gateways for the taps that come next.
    """

    account: str
    sponsor_id: str
    campaign_id: str
    budget_fen: int
    left_fen: int
    reserved_fen: int
    spent_fen: int
    reversed_fen: int
    invoiced_fen: int
    uses_max: int | None
    left_uses: int | None
    claims_max: int | None
    claims_count: int

    @property
    def is_exact(self) -> bool:
        """Whether what is left and what was spent are the budget."""
        return self.left_fen + self.spent_fen - self.reversed_fen == self.budget_fen


class CampaignDay(Struct, frozen=True):
    """What a campaign paid for rides of one service day; all in minor units."""

    service_day: date
    entries_count: int
    spent_fen: int
    reversed_fen: int
    invoiced_fen: int


class LaneBudget:
    """What one lane may spend, as far as it knows."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self._left: dict[str, Left] = {}
        self._gone_until: dict[str, float] = {}

    @property
    def left(self) -> dict[str, Left]:
        now = time.monotonic()
        for account in [a for a, until in self._gone_until.items() if until <= now]:
            del self._gone_until[account]
            self._left.pop(account, None)
        return dict(self._left)

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Forget what is known when the transaction does not end well."""
        try:
            yield
        except BaseException:
            self._left.clear()
            self._gone_until.clear()
            raise

    def keep(self, left: Mapping[str, Left]) -> None:
        now = time.monotonic()
        for account, one in left.items():
            self._left[account] = one
            if one.is_all:
                self._gone_until.setdefault(account, now + _GONE_SECONDS)


def left_after(left: Mapping[str, Left], usage: Mapping[str, Usage]) -> dict[str, Left]:
    """What a lane may spend after a batch."""
    return {
        account: one.less(usage[account]) if account in usage else one
        for account, one in left.items()
    }


class Budgets:
    """The lanes' budgets of one process."""

    def __init__(self) -> None:
        self._lanes: WeakKeyDictionary[asyncpg.Connection, LaneBudget] = WeakKeyDictionary()

    async def lane(self, connection: asyncpg.Connection) -> LaneBudget:
        """The budget of a connection, in a slot that no other connection of now has."""
        found = self._lanes.get(connection)
        if found is None:
            # A server process has one connection, so its number is a slot of one's own.
            found = self._lanes[connection] = LaneBudget(connection.get_server_pid())
        return found


async def draw(connection: Connection, needed: Mapping[str, Usage], slot: int) -> dict[str, Left]:
    """Fill a lane's slot, so that it has what is needed if anybody has."""
    return {
        account: await _draw(connection, account, needed[account], slot)
        for account in sorted(needed)
    }


async def _draw(connection: Connection, account: str, needed: Usage, slot: int) -> Left:
    rows = await connection.fetch(_LOCK_TWO, account, slot)
    slots = {row["slot"]: (row["left_fen"], row["left_uses"]) for row in rows}
    mine = slots.get(slot, (0, 0))
    # What spends from the pool itself has nothing to draw from.
    pool = (0, 0) if slot == POOL else slots.get(POOL, (0, 0))
    fen = _part(mine[0], pool[0], needed.fen)
    uses = _part(mine[1], pool[1], needed.uses)
    if mine[0] + fen >= needed.fen and mine[1] + uses >= needed.uses:
        if slot != POOL:
            await connection.execute(_TAKE, account, POOL, fen, uses)
            await connection.execute(_PUT, account, slot, mine[0] + fen, mine[1] + uses)
        return Left(mine[0] + fen, mine[1] + uses, False)
    rows = await connection.fetch(_LOCK_ALL, account)
    whole = Left(sum(row[1] for row in rows), sum(row[2] for row in rows), True)
    await connection.execute(_EMPTY, account, slot)
    await connection.execute(_PUT, account, slot, whole.fen, whole.uses)
    return whole


def _part(mine: int, pool: int, needed: int) -> int:
    return min(pool, max(needed - mine, pool // _PARTS))


async def spend(connection: Connection, usage: Mapping[str, Usage], slot: int) -> None:
    """Take from a slot what a batch has spent, or put back what it gives back.

    Raises: LostRace when the slot has less than was thought.
    """
    for account in sorted(usage):
        one = usage[account]
        if one.takes:
            status = await connection.execute(_TAKE, account, slot, one.fen, one.uses)
            if not rows_changed(status):
                raise LostRace(f"the budget of {account} was spent by another process")
        elif one.fen or one.uses:
            # A lane that has drawn nothing so far has no slot yet.
            await connection.execute(_GIVE_BACK, account, slot, -one.fen, -one.uses)


async def load_left(connection: Connection) -> dict[str, Left]:
    """What campaigns have left, whoever has drawn it."""
    found = await connection.fetch(
        """SELECT account, sum(left_fen)::bigint AS fen, sum(left_uses)::bigint AS uses
        FROM campaign_slot GROUP BY account"""
    )
    return {row["account"]: Left(row["fen"], row["uses"], True) for row in found}


async def spend_anywhere(connection: Connection, usage: Mapping[str, Usage]) -> None:
    """Take from the pool, filled from all slots where it must be; for what no lane does.

    Raises: LostRace when nobody has so much.
    """
    for account, one in sorted(usage.items()):
        known = await connection.fetchval(
            "SELECT true FROM campaign_slot WHERE account = $1 AND slot = $2", account, POOL
        )
        if not known:
            continue
        if one.takes:
            await _draw(connection, account, one, POOL)
        await spend(connection, {account: one}, POOL)


async def prepare_campaigns(pool: asyncpg.Pool, book: TariffBook, now: datetime) -> None:
    """Let each campaign of the book have its budget; one that was raised has more from now on.

    Raises: CampaignLowered when a budget is lower than it was, or a campaign that has spent is no
            longer there: what was promised stays.
    """
    kept = [sponsor_account(campaign.sponsor, campaign.id) for campaign in book.campaigns]
    gone = await pool.fetchval(_READ_GONE, kept)
    if gone is not None:
        raise CampaignLowered(
            f"campaigns.yaml no longer has {gone}, which has given something. Without it there is "
            "no limit, and what it paid cannot be audited. Put it back, and let the promotion end."
        )
    digits = book.tariffs[-1].currency_digits
    for campaign in book.campaigns:
        account = sponsor_account(campaign.sponsor, campaign.id)
        budget_fen = ENDLESS if campaign.budget is None else int(campaign.budget)
        uses = ENDLESS if campaign.uses is None else int(campaign.uses)
        claims = None if campaign.claims.count is None else int(campaign.claims.count)
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(
                """INSERT INTO campaign (account, budget_fen, uses_max, claims_max, began_at)
                VALUES ($1, 0, 0, $2, $3) ON CONFLICT DO NOTHING""",
                account,
                claims,
                now,
            )
            row = await connection.fetchrow(
                """SELECT budget_fen, uses_max, coalesce(claims_max, $2) AS claims_max
                FROM campaign WHERE account = $1 FOR UPDATE""",
                account,
                ENDLESS,
            )
            assert row is not None
            more_fen, more_uses = budget_fen - row["budget_fen"], uses - row["uses_max"]
            more_claims = (claims or ENDLESS) - row["claims_max"]
            if min(more_fen, more_uses, more_claims) < 0:
                was = [
                    f"{name} {'without limit' if most == ENDLESS else write(most)}"
                    for name, more, most, write in (
                        ("budget", more_fen, row["budget_fen"], lambda fen: said(fen, digits)),
                        ("uses", more_uses, row["uses_max"], str),
                        ("claims", more_claims, row["claims_max"], str),
                    )
                    if more < 0
                ]
                raise CampaignLowered(
                    f"campaigns.yaml lowers what {account} gives; it was {', '.join(was)}. "
                    "Let the promotion end earlier instead."
                )
            if more_fen or more_uses:
                await connection.execute(
                    """INSERT INTO campaign_slot VALUES ($1, 0, $2, $3)
                    ON CONFLICT (account, slot) DO UPDATE SET
                        left_fen = campaign_slot.left_fen + excluded.left_fen,
                        left_uses = campaign_slot.left_uses + excluded.left_uses""",
                    account,
                    more_fen,
                    more_uses,
                )
                await connection.execute(
                    "INSERT INTO campaign_budget VALUES ($1, $2, $3, $4)",
                    account,
                    now,
                    budget_fen,
                    uses,
                )
            await connection.execute(
                """UPDATE campaign SET budget_fen = $2, uses_max = $3, claims_max = $4
                WHERE account = $1""",
                account,
                budget_fen,
                uses,
                claims,
            )


class CampaignLowered(Exception):
    """A budget was lowered, or taken away, after it had been promised."""


async def list_campaigns(pool: asyncpg.Pool, account: str | None = None) -> list[CampaignState]:
    found = await pool.fetch(_READ_CAMPAIGNS, account)
    return [
        CampaignState(
            account=row["account"],
            sponsor_id=sponsored_by(row["account"])[0],
            campaign_id=sponsored_by(row["account"])[1],
            budget_fen=row["budget_fen"],
            left_fen=row["left_fen"],
            reserved_fen=row["reserved_fen"],
            spent_fen=row["spent_fen"],
            reversed_fen=row["reversed_fen"],
            invoiced_fen=row["invoiced_fen"],
            uses_max=None if row["uses_max"] == ENDLESS else row["uses_max"],
            left_uses=None if row["uses_max"] == ENDLESS else row["left_uses"],
            claims_max=row["claims_max"],
            claims_count=row["claims_count"],
        )
        for row in found
    ]


async def list_campaign_days(pool: asyncpg.Pool, account: str) -> list[CampaignDay]:
    return [CampaignDay(*row) for row in await pool.fetch(_READ_DAYS, account)]


class ClaimRefused(Exception):
    """A coupon that its campaign does not give any more."""


async def claim(
    connection: Connection,
    book: TariffBook,
    claims: Sequence[tuple[str, str, str, datetime]],
    wallet_ids: Mapping[str, object],
    now: datetime,
) -> None:
    """Count coupons that riders activate: promotion, campaign, media and instant of each.

    Raises: ClaimRefused when one is too many, too early or too late.
    """
    campaigns = {campaign.id: campaign for campaign in book.campaigns}
    for promotion_id, campaign_id, media_token, activated_at in claims:
        campaign = campaigns[campaign_id]
        account = sponsor_account(campaign.sponsor, campaign.id)
        begins, ends = book.window_of(campaign.claims.begins, campaign.claims.ends)
        if not begins <= now.astimezone(UTC) < ends:
            raise ClaimRefused
        wallet_id = wallet_ids[media_token]
        count = await connection.fetchval(
            "SELECT count(*) FROM campaign_claim WHERE account = $1 AND wallet_id = $2",
            account,
            wallet_id,
        )
        if campaign.claims.per_rider is not None and count >= campaign.claims.per_rider:
            raise ClaimRefused
        status = await connection.execute(
            """UPDATE campaign SET claims_count = claims_count + 1
            WHERE account = $1 AND (claims_max IS NULL OR claims_count < claims_max)""",
            account,
        )
        if not rows_changed(status):
            raise ClaimRefused
        await connection.execute(
            "INSERT INTO campaign_claim VALUES ($1, $2, $3, $4, $5, $6)",
            account,
            wallet_id,
            media_token,
            promotion_id,
            activated_at,
            now,
        )


_READ_GONE = """
SELECT account FROM campaign JOIN (
    SELECT account, sum(left_fen) AS left_fen, sum(left_uses) AS left_uses
    FROM campaign_slot GROUP BY account
) AS slots USING (account)
WHERE account <> ALL ($1::text[])
    AND (left_fen < budget_fen OR left_uses < uses_max OR claims_count > 0)
ORDER BY account LIMIT 1
"""
_LOCK_TWO = """
SELECT slot, left_fen, left_uses FROM campaign_slot
WHERE account = $1 AND slot IN (0, $2) ORDER BY slot FOR UPDATE
"""
_LOCK_ALL = """
SELECT slot, left_fen, left_uses FROM campaign_slot WHERE account = $1 ORDER BY slot FOR UPDATE
"""
_TAKE = """
UPDATE campaign_slot SET left_fen = left_fen - $3, left_uses = left_uses - $4
WHERE account = $1 AND slot = $2 AND left_fen >= $3 AND left_uses >= $4
"""
_GIVE_BACK = """
INSERT INTO campaign_slot VALUES ($1, $2, $3, $4)
ON CONFLICT (account, slot) DO UPDATE
SET left_fen = campaign_slot.left_fen + $3, left_uses = campaign_slot.left_uses + $4
"""
_EMPTY = """
UPDATE campaign_slot SET left_fen = 0, left_uses = 0
WHERE account = $1 AND slot <> $2 AND (left_fen <> 0 OR left_uses <> 0)
"""
_PUT = """
INSERT INTO campaign_slot VALUES ($1, $2, $3, $4)
ON CONFLICT (account, slot) DO UPDATE SET left_fen = $3, left_uses = $4
"""
# What a campaign paid, day by day; a day in the archive is settled, so all of it is invoiced.
_PAID = """
    SELECT
        share.sponsor AS account, service_day, count(*) AS entries_count,
        coalesce(sum(-share.amount_fen) FILTER (WHERE share.amount_fen < 0), 0) AS spent_fen,
        coalesce(sum(share.amount_fen) FILTER (WHERE share.amount_fen > 0), 0) AS reversed_fen,
        coalesce(sum(-share.amount_fen) FILTER (WHERE settlement_day <= closed_through), 0)
            AS invoiced_fen
    FROM journal_entry CROSS JOIN settlement_clock
    CROSS JOIN unnest(sponsors, sponsors_fen) AS share (sponsor, amount_fen)
    WHERE sponsors IS NOT NULL AND share.sponsor LIKE '%/%'
    GROUP BY share.sponsor, service_day
    UNION ALL
    SELECT account, service_day, entries_count, spent_fen, reversed_fen, spent_fen - reversed_fen
    FROM campaign_old_day
"""
_READ_CAMPAIGNS = f"""
WITH slots AS (
    SELECT account, sum(left_fen)::bigint AS left_fen, sum(left_uses)::bigint AS left_uses,
        coalesce(sum(left_fen) FILTER (WHERE slot <> {POOL}), 0)::bigint AS reserved_fen
    FROM campaign_slot GROUP BY account
), paid AS (
    SELECT
        account, sum(spent_fen)::bigint AS spent_fen, sum(reversed_fen)::bigint AS reversed_fen,
        sum(invoiced_fen)::bigint AS invoiced_fen
    FROM ({_PAID}) AS day GROUP BY account
)
SELECT campaign.*, slots.left_fen, slots.left_uses, slots.reserved_fen,
    coalesce(spent_fen, 0) AS spent_fen,
    coalesce(reversed_fen, 0) AS reversed_fen, coalesce(invoiced_fen, 0) AS invoiced_fen
FROM campaign JOIN slots USING (account) LEFT JOIN paid USING (account)
WHERE $1::text IS NULL OR account = $1 ORDER BY account
"""
_READ_DAYS = f"""
SELECT
    service_day, entries_count, spent_fen::bigint, reversed_fen::bigint, invoiced_fen::bigint
FROM ({_PAID}) AS day WHERE account = $1 ORDER BY service_day
"""
