"""Red envelopes: who registered, whom the lot fell on, how much is in each; for all to verify.

Before registration opens, the SHA-256 of a secret seed is published with the campaign. After it has
closed, the list of tickets is fixed; then the seed is opened, and mixed with that list and with a
public value that nobody could know before (the closing figure of an exchange, say):

    ticket   = SHA-256 of campaign id, line feed, wallet id: a rider knows the own one only
    list     = SHA-256 of all tickets in order, each with a line feed
    key      = SHA-256 of seed, line feed, list, line feed, public value
    score    = HMAC-SHA-256 of the ticket under the key

The lowest scores win. Whoever has the tickets, the seed and the public value comes to the same.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Annotated
from uuid import NAMESPACE_OID, UUID, uuid5

from msgspec import Meta, Struct

from gateway.core.purse_desk import Amount
from gateway.core.taps import Instant, Name

# As in delivery.py: no line break after the last digit.
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)", description="SHA-256 in hexadecimal")]
ENVELOPES_MAX = 10_000_000


class RandomAmount(Struct, frozen=True, forbid_unknown_fields=True):
    """So much in all envelopes together, in each between two amounts."""

    total_fen: Annotated[int, Meta(ge=1, le=10**15)]
    least_fen: Amount
    most_fen: Amount


class EnvelopeCampaign(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The terms of one campaign; fixed once it is announced. Ends are the first moment after."""

    campaign_id: Name
    rule_id: Annotated[Name, Meta(description="the purse rule: what it may be spent for")]
    funder_id: Annotated[Name, Meta(description="the sponsor whose money it is")]
    envelopes_count: Annotated[int, Meta(ge=1, le=ENVELOPES_MAX)]
    registration_opens: Instant
    registration_closes: Instant
    valid_from: Instant
    valid_until: Instant
    seed_sha256: Sha256
    amount_fen: Annotated[Amount | None, Meta(description="in each; or else random_amount")] = None
    random_amount: RandomAmount | None = None

    @property
    def total_fen(self) -> int:
        if self.random_amount:
            return self.random_amount.total_fen
        assert self.amount_fen is not None
        return self.amount_fen * self.envelopes_count


class EnvelopeRefusal(StrEnum):
    """Why something is not done with a campaign. Ordered by precedence."""

    UNKNOWN_CAMPAIGN = "unknown_campaign"
    CAMPAIGN_DIFFERS = "campaign_differs"
    UNKNOWN_PURSE_RULE = "unknown_purse_rule"
    UNKNOWN_FUNDER = "unknown_funder"
    AMOUNT_IMPOSSIBLE = "amount_impossible"
    TIMES_OUT_OF_ORDER = "times_out_of_order"
    ANNOUNCED_TOO_LATE = "announced_too_late"
    REGISTRATION_CLOSED = "registration_closed"
    REGISTRATION_OPEN = "registration_open"
    UNKNOWN_WALLET = "unknown_wallet"
    SEED_DIFFERS = "seed_differs"
    DRAWN_OTHERWISE = "drawn_otherwise"
    CAMPAIGN_OVER = "campaign_over"


class Win(Struct, frozen=True):
    """One envelope: its place in the draw, counted from 1, and what is in it."""

    rank: int
    ticket: str
    score: str
    amount_fen: int


class Draw(Struct, frozen=True):
    """A draw that was made, and all that is needed to make it again."""

    campaign_id: str
    seed: str
    public_value: str
    tickets_sha256: str
    winners_sha256: str
    winners_count: int


def faults_of(
    campaign: EnvelopeCampaign,
    now: datetime,
    *,
    purse_rules: Iterable[str],
    sponsors: Iterable[str],
) -> EnvelopeRefusal | None:
    """Why a campaign cannot be announced; None if it can."""
    if campaign.rule_id not in purse_rules:
        return EnvelopeRefusal.UNKNOWN_PURSE_RULE
    if campaign.funder_id not in sponsors:
        return EnvelopeRefusal.UNKNOWN_FUNDER
    amount, count = campaign.random_amount, campaign.envelopes_count
    if (amount is None) == (campaign.amount_fen is None):
        return EnvelopeRefusal.AMOUNT_IMPOSSIBLE
    if amount and not amount.least_fen * count <= amount.total_fen <= amount.most_fen * count:
        return EnvelopeRefusal.AMOUNT_IMPOSSIBLE
    times = (
        campaign.registration_opens,
        campaign.registration_closes,
        campaign.valid_from,
        campaign.valid_until,
    )
    is_in_order = times[0] < times[1] <= times[2] < times[3]
    if not is_in_order:
        return EnvelopeRefusal.TIMES_OUT_OF_ORDER
    # The seed must have been promised before anybody could choose it to suit those who came.
    if now >= campaign.registration_opens:
        return EnvelopeRefusal.ANNOUNCED_TOO_LATE
    return None


def ticket_of(campaign_id: str, wallet_id: UUID) -> str:
    return sha256(f"{campaign_id}\n{wallet_id}".encode()).hexdigest()


def grant_id_of(campaign_id: str, wallet_id: UUID) -> UUID:
    """The id of an envelope's grant: drawn twice, it is granted once."""
    return uuid5(uuid5(NAMESPACE_OID, f"red envelope {campaign_id}"), str(wallet_id))


def tickets_sha256(tickets: Iterable[str]) -> str:
    return _sha256_of_lines(sorted(tickets))


def winners_sha256(wins: Iterable[Win]) -> str:
    return _sha256_of_lines(f"{win.rank},{win.ticket},{win.score},{win.amount_fen}" for win in wins)


def _sha256_of_lines(lines: Iterable[str]) -> str:
    digest = sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def draw(
    campaign: EnvelopeCampaign, tickets: Sequence[str], *, seed: str, public_value: str
) -> tuple[Win, ...]:
    """Draw the envelopes of a campaign.

    Shape:  tickets in any order -> wins in the order of their scores; where fewer registered than
            there are envelopes, everybody wins and the rest stays with the sponsor.
    """
    assert sha256(seed.encode()).hexdigest() == campaign.seed_sha256
    mixed = f"{seed}\n{tickets_sha256(tickets)}\n{public_value}"
    key = sha256(mixed.encode()).digest()
    scores = sorted((hmac.digest(key, t.encode(), "sha256").hex(), t) for t in tickets)
    drawn = scores[: campaign.envelopes_count]
    if campaign.random_amount is None:
        assert campaign.amount_fen is not None
        amounts_fen = [campaign.amount_fen] * len(drawn)
    else:
        amounts_fen = split_at_random(
            campaign.random_amount, campaign.envelopes_count, [score for score, _ in drawn]
        )
    return tuple(
        Win(rank, ticket, score, amount_fen)
        for rank, ((score, ticket), amount_fen) in enumerate(
            zip(drawn, amounts_fen, strict=True), start=1
        )
    )


def split_at_random(amount: RandomAmount, count: int, scores: Sequence[str]) -> list[int]:
    """What is in each envelope: the least, and a part of the rest by the end of its score.

    The rest is parted in proportion to the last 16 digits of the scores. What that rounds away, or
    would put above the most, goes to the envelopes that have room, in their order. If not all are
    drawn, the total is less in proportion.
    """
    if not scores:
        return []
    total_fen = max(amount.total_fen * len(scores) // count, amount.least_fen * len(scores))
    rest_fen = total_fen - amount.least_fen * len(scores)
    weights = [int(score[-16:], 16) for score in scores]
    sum_of_weights = sum(weights) or 1
    room_fen = amount.most_fen - amount.least_fen
    parts = [min(rest_fen * weight // sum_of_weights, room_fen) for weight in weights]
    left_fen = rest_fen - sum(parts)
    # One fen each first, for roundings; then whatever is left, up to the brim.
    for step_fen in (1, room_fen):
        for index, part in enumerate(parts):
            more_fen = min(step_fen, left_fen, room_fen - part)
            parts[index] = part + more_fen
            left_fen -= more_fen
    assert left_fen == 0, (amount, count, len(scores))
    return [amount.least_fen + part for part in parts]
