"""Campaigns' budgets: exact under load, and the same for whoever computes it again.

What is left of a budget lies in slots, one for each lane that spends. A tap is priced with its
campaign while there is enough in the lane's slot; if there is not, and nothing more is to be had,
it is priced without, and that is recorded with the tap, so that everybody sees the same later. So
is a leg that the tap leaves open, and that was to be paid for when it began.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

from msgspec import Struct, structs

from fare_rules import RideTap
from fare_rules.quotes import sponsored_by
from gateway.core.ledger import SPONSOR, JournalEntry

# Where a campaign has no limit.
ENDLESS = 2**53


class Usage(Struct, frozen=True, gc=False):
    """What some entries take of a budget: fen and rides; below zero, what they give back."""

    fen: int
    uses: int

    def plus(self, other: Usage) -> Usage:
        return Usage(self.fen + other.fen, self.uses + other.uses)

    @property
    def takes(self) -> bool:
        return self.fen > 0 or self.uses > 0


class Left(Struct, frozen=True, gc=False):
    """What a lane may still spend. `is_all`: nobody else has anything more."""

    fen: int
    uses: int
    is_all: bool

    def less(self, usage: Usage) -> Left:
        return Left(self.fen - usage.fen, self.uses - usage.uses, self.is_all)

    def allows(self, usage: Usage) -> bool:
        """Whether there is enough. What is given back always fits."""
        return (usage.fen <= 0 or usage.fen <= self.fen) and (
            usage.uses <= 0 or usage.uses <= self.uses
        )


NOTHING_LEFT = Left(0, 0, False)
NOTHING_USED = Usage(0, 0)


def usage_of(entries: Iterable[JournalEntry]) -> dict[str, Usage]:
    """What entries take of each campaign's budget, by its account: `icbc/one_cent`."""
    found: dict[str, Usage] = {}
    for entry in entries:
        for account, uses in entry.campaign_uses:
            sponsor = f"{SPONSOR}{account}"
            fen = -sum([each.amount_fen for each in entry.postings if each.account == sponsor])
            found[account] = found.get(account, NOTHING_USED).plus(Usage(fen, uses))
    return found


def without(
    tap: RideTap, account: str, entries: Iterable[JournalEntry], *, own: Collection[UUID]
) -> RideTap | None:
    """A tap that takes less of a campaign which has not the money for what it leads to.

    Its own leg goes without where that would be paid for, otherwise the one that it leaves open.
    None where both do already: another ride than these would cost the campaign what it has not.
    """
    campaign_id = sponsored_by(account)[1]
    used = usage_of([entry for entry in entries if entry.tap_id in own])
    legs = ["without", "leaves_without"]
    for leg in legs if used.get(account, NOTHING_USED).takes else reversed(legs):
        known: tuple[str, ...] = getattr(tap, leg)
        if campaign_id not in known:
            return structs.replace(tap, **{leg: (*known, campaign_id)})
    return None
