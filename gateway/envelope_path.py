"""Red envelopes from the announcement to the last grant.

Every step may be asked for again: a campaign is announced once, a wallet registers once, a draw is
made once, and an envelope is granted under an id that follows from campaign and wallet.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from uuid import UUID

import asyncpg
from msgspec import Struct

from fare_rules import TariffBook
from gateway.core.audit_books import Break
from gateway.core.envelopes import (
    Draw,
    EnvelopeCampaign,
    EnvelopeRefusal,
    Win,
    draw,
    faults_of,
    grant_id_of,
    ticket_of,
    tickets_sha256,
    winners_sha256,
)
from gateway.core.purse_desk import GrantMoney
from gateway.core.registry import Registry
from gateway.core.wallet_classes import WalletClasses
from gateway.core.wallet_wishes import WalletRefusal, Wish
from gateway.shell import envelope_store as store
from gateway.shell.transactions import Connection
from gateway.wallet_path import run_wallet_wishes

_GRANTS_AT_ONCE = 1_000


class EnvelopeReport(Struct, frozen=True, omit_defaults=True):
    """A campaign and how far it has come."""

    campaign: EnvelopeCampaign
    registered_count: int
    drawn_count: int
    granted_count: int
    refused_count: int
    granted_fen: int
    draw: Draw | None = None


async def announce(
    pool: asyncpg.Pool, campaign: EnvelopeCampaign, book: TariffBook, now: datetime
) -> EnvelopeRefusal | None:
    """Announce a campaign, with the hash of the seed that will be opened at the draw."""
    known = await store.load_campaign(pool, campaign.campaign_id)
    if known is None:
        tariff = book.tariff_at(campaign.valid_from) or book.tariffs[-1]
        refused = faults_of(campaign, now, purse_rules=tariff.purse_rules, sponsors=tariff.sponsors)
        if refused:
            return refused
        if await store.save_campaign(pool, campaign, now):
            return None
        known = await store.load_campaign(pool, campaign.campaign_id)
    return None if known == campaign else EnvelopeRefusal.CAMPAIGN_DIFFERS


async def register(
    pool: asyncpg.Pool,
    campaign_id: str,
    wallet_ids: Sequence[UUID],
    *,
    issuer_id: str | None,
    now: datetime,
) -> int | EnvelopeRefusal:
    """Register wallets for a draw; all or none. How many are new."""
    campaign = await store.load_campaign(pool, campaign_id)
    if campaign is None:
        return EnvelopeRefusal.UNKNOWN_CAMPAIGN
    if not campaign.registration_opens <= now < campaign.registration_closes:
        return EnvelopeRefusal.REGISTRATION_CLOSED
    wanted = list(dict.fromkeys(wallet_ids))
    if await store.unknown_wallets(pool, wanted, issuer_id):
        return EnvelopeRefusal.UNKNOWN_WALLET
    new_count = await store.save_registrations(pool, campaign_id, wanted, now)
    return EnvelopeRefusal.REGISTRATION_CLOSED if new_count is None else new_count


async def run_draw(
    pool: asyncpg.Pool, campaign_id: str, *, seed: str, public_value: str, now: datetime
) -> Draw | EnvelopeRefusal:
    """Draw a campaign's envelopes. Drawn once; asked again with the same, it is told again."""
    campaign = await store.load_campaign(pool, campaign_id)
    if campaign is None:
        return EnvelopeRefusal.UNKNOWN_CAMPAIGN
    if now < campaign.registration_closes:
        return EnvelopeRefusal.REGISTRATION_OPEN
    if sha256(seed.encode()).hexdigest() != campaign.seed_sha256:
        return EnvelopeRefusal.SEED_DIFFERS
    async with store.drawing(pool, campaign_id) as connection:
        known = await store.load_draw(connection, campaign_id)
        if known is None:
            known, wins = await _draw(connection, campaign, seed, public_value)
            await store.save_draw(connection, known, wins, now)
    return known if known.public_value == public_value else EnvelopeRefusal.DRAWN_OTHERWISE


async def audit_draw(connection: Connection, campaign_id: str) -> list[Break]:
    """A draw must come out the same again, and be granted as it was drawn."""
    subject = f"red envelopes {campaign_id}"
    campaign = await store.load_campaign(connection, campaign_id)
    kept = await store.load_draw(connection, campaign_id)
    assert campaign is not None, campaign_id
    assert kept is not None, campaign_id
    if sha256(kept.seed.encode()).hexdigest() != campaign.seed_sha256:
        return [Break("draw_differs", subject, "its seed is not the one that was promised")]
    drawn, wins = await _draw(connection, campaign, kept.seed, kept.public_value)
    envelopes = await store.load_envelopes(connection, campaign_id)
    due = [(win.rank, wallet_id, win.amount_fen) for win, wallet_id in wins]
    if drawn != kept or [tuple(one)[:3] for one in envelopes] != due:
        return [Break("draw_differs", subject, "the same seed and tickets draw others")]
    owed = {
        grant_id_of(campaign_id, one["wallet_id"]): one["amount_fen"]
        for one in envelopes
        if one["is_granted"]
    }
    granted = await store.load_granted(connection, list(owed))
    return [
        Break("draw_differs", subject, f"grant {grant_id}: drawn {owed_fen}, granted {given_fen}")
        for grant_id, owed_fen in owed.items()
        if (given_fen := granted.get(grant_id, 0)) != owed_fen
    ]


async def _draw(
    pool: Connection | asyncpg.Pool, campaign: EnvelopeCampaign, seed: str, public_value: str
) -> tuple[Draw, list[tuple[Win, UUID]]]:
    registered = await store.load_registered(pool, campaign.campaign_id)
    owners = {ticket_of(campaign.campaign_id, wallet_id): wallet_id for wallet_id in registered}
    wins = draw(campaign, list(owners), seed=seed, public_value=public_value)
    drawn = Draw(
        campaign_id=campaign.campaign_id,
        seed=seed,
        public_value=public_value,
        tickets_sha256=tickets_sha256(owners),
        winners_sha256=winners_sha256(wins),
        winners_count=len(wins),
    )
    return drawn, [(win, owners[win.ticket]) for win in wins]


async def grant_envelopes(
    pool: asyncpg.Pool,
    campaign_id: str,
    *,
    registry: Registry,
    book: TariffBook,
    now: datetime,
    envelopes_max: int,
) -> int | EnvelopeRefusal:
    """Grant envelopes that were drawn, so many at most; how many are left."""
    campaign = await store.load_campaign(pool, campaign_id)
    if campaign is None:
        return EnvelopeRefusal.UNKNOWN_CAMPAIGN
    if now >= campaign.valid_until:
        return EnvelopeRefusal.CAMPAIGN_OVER
    classes, done = WalletClasses.of(book.wallet_classes), 0
    while done < envelopes_max:
        envelopes = await store.list_open_envelopes(pool, campaign_id, _GRANTS_AT_ONCE)
        if not envelopes:
            break

        async def grant(some: Sequence[store.Envelope]) -> list[str | None]:
            """Grant some; where one is refused, none is, and each is tried by itself."""
            found = await run_wallet_wishes(
                pool,
                [_wish(campaign, one) for one in some],
                registry=registry,
                book=book,
                now=now,
                floor_fen=0,
                classes=classes,
            )
            if not isinstance(found, WalletRefusal):
                return [None] * len(some)
            if len(some) == 1:
                return [str(found)]
            middle = len(some) // 2
            return [*await grant(some[:middle]), *await grant(some[middle:])]

        refusals = await grant(envelopes)
        ranks = [envelope.rank for envelope in envelopes]
        await store.save_decided(pool, campaign_id, ranks, refusals, now)
        done += len(envelopes)
    progress = await store.load_progress(pool, campaign_id)
    decided: int = progress["granted_count"] + progress["refused_count"]
    return int(progress["drawn_count"]) - decided


def _wish(campaign: EnvelopeCampaign, envelope: store.Envelope) -> Wish:
    granted = GrantMoney(
        grant_id=grant_id_of(campaign.campaign_id, envelope.wallet_id),
        rule_id=campaign.rule_id,
        amount_fen=envelope.amount_fen,
        funder_id=campaign.funder_id,
        valid_from=campaign.valid_from,
        valid_until=campaign.valid_until,
    )
    return Wish(envelope.wallet_id, grants=granted)


async def report(pool: asyncpg.Pool, campaign_id: str) -> EnvelopeReport | None:
    campaign = await store.load_campaign(pool, campaign_id)
    if campaign is None:
        return None
    progress = await store.load_progress(pool, campaign_id)
    return EnvelopeReport(campaign, **progress, draw=await store.load_draw(pool, campaign_id))


async def ticket_lists(
    pool: asyncpg.Pool, campaign_id: str
) -> tuple[EnvelopeCampaign, list[str], tuple[Win, ...]] | None:
    """All tickets in order, and the wins, made again from seed and public value."""
    campaign, drawn = (
        await store.load_campaign(pool, campaign_id),
        await store.load_draw(pool, campaign_id),
    )
    if campaign is None:
        return None
    registered = await store.load_registered(pool, campaign_id)
    tickets = sorted(ticket_of(campaign_id, wallet_id) for wallet_id in registered)
    if drawn is None:
        return campaign, tickets, ()
    wins = draw(campaign, tickets, seed=drawn.seed, public_value=drawn.public_value)
    return campaign, tickets, wins
