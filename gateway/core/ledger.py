"""Double entry: postings that sum to zero and happen together, written once and never edited.

An entry is about one wallet at most. In it the accounts `purse` (what the rider holds) and `debt`
(what the rider owes, below zero) are that wallet's; all others are named in full:
`operator:metro_1`, `bank`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from uuid import UUID, uuid5

from msgspec import Struct

from fare_rules import CHANGE_SPONSORS_MAX, Charge, Fen
from fare_rules.charges import SharedLeg
from gateway.core.purses import PURSES_MAX
from gateway.core.wallet_classes import Spent
from gateway.core.wallets import Wallet

PURSE = "purse"
DEBT = "debt"
BANK = "bank"
# What an operator has earned, and what a sponsor has paid: each with its id, a sponsor also with
# the campaign that it pays for (fare_rules/quotes.py).
OPERATOR = "operator:"
SPONSOR = "sponsor:"
# What is left of a grant, in its wallet: `grant:` and its id.
GRANT = "grant:"
# The main purse, the debt, the operator and the bank; other purses, sponsors. So has the database.
POSTINGS_MAX = 4 + PURSES_MAX + CHANGE_SPONSORS_MAX


class Posting(Struct, frozen=True):
    """Fen added to one account."""

    account: str
    amount_fen: int


class JournalEntry(Struct, frozen=True):
    """Postings that sum to zero.

    `tap_id` is the tap that is charged, `cause_id` the tap or request that made us post: they
    differ when a late tap corrects an earlier one. `ride_count` is 1 for a ride, 0 for a changed
    amount, -1 for a ride that turned out to be another.
    """

    kind: str
    cause_id: UUID
    wallet_id: UUID
    wallet_version: int
    effective_at: datetime
    service_day: date
    settlement_day: date
    postings: tuple[Posting, ...]
    tap_id: UUID | None = None
    operator_id: str | None = None
    product_id: str | None = None
    ride_count: int = 0
    shared: SharedLeg | None = None
    # Rides that campaigns pay for now and did not before, or no longer do; not kept.
    campaign_uses: tuple[tuple[str, int], ...] = ()
    # When it was written; None until it is.
    recorded_at: datetime | None = None

    def __post_init__(self) -> None:
        assert 2 <= len(self.postings) <= POSTINGS_MAX, self.postings
        assert sum([posting.amount_fen for posting in self.postings]) == 0, self.postings

    @property
    def entry_id(self) -> UUID:
        """Follows from what made it: one entry for each cause, tap and product."""
        return entry_id(self.cause_id, self.tap_id, self.product_id)

    @property
    def operator_fen(self) -> int:
        return sum(
            posting.amount_fen for posting in self.postings if posting.account.startswith(OPERATOR)
        )

    @property
    def rider_fen(self) -> int:
        """What the rider has gained, in whichever purse; below zero, paid."""
        return self.main_fen + sum(self.grants_fen.values())

    @property
    def main_fen(self) -> int:
        """What the main purse and the debt have gained."""
        return sum(
            posting.amount_fen for posting in self.postings if posting.account in (PURSE, DEBT)
        )

    @property
    def grants_fen(self) -> dict[UUID, int]:
        """What each other purse has gained."""
        return {
            UUID(posting.account.removeprefix(GRANT)): posting.amount_fen
            for posting in self.postings
            if posting.account.startswith(GRANT)
        }


def is_riders(account: str) -> bool:
    """Whether an account is the rider's: the main purse, the debt, or another purse."""
    return account in (PURSE, DEBT) or account.startswith(GRANT)


def entry_id(cause_id: UUID, tap_id: UUID | None, product_id: str | None) -> UUID:
    """Name an entry by what made it. A top-up's entry has the top-up's own id."""
    return cause_id if tap_id is None else uuid5(cause_id, f"{tap_id} {product_id}")


class Change(Struct, frozen=True):
    """The difference between what a tap has been charged and what it costs now.

    `sponsors_fen` is what each sponsor pays more, or less; the rest is the rider's.
    """

    charge: Charge
    rider_fen: int
    sponsors_fen: Mapping[str, int]
    ride_count: int
    # The ride is part of another journey now, or is shared otherwise.
    is_shared_anew: bool = False
    # Of sponsors that are campaigns: 1 where one begins to pay for the ride, -1 where it ceases to.
    campaign_uses: tuple[tuple[str, int], ...] = ()

    @property
    def operator_fen(self) -> int:
        return self.rider_fen + sum(self.sponsors_fen.values())

    @property
    def is_nothing(self) -> bool:
        is_money = self.rider_fen or self.ride_count or any(self.sponsors_fen.values())
        return not (is_money or self.is_shared_anew)


def changes(
    before: dict[tuple[UUID, str], Charge], after: dict[tuple[UUID, str], Charge]
) -> list[Change]:
    """What must be posted so that `after` is charged instead of `before`.

    Shape:  vanished charges first, so that money is given back before it is asked for; a ride that
            costs nothing is still posted, because its operator carried a rider.
    """
    if not before:
        return [
            Change(
                charge,
                charge.rider_fen,
                charge.quote.sponsored,
                1,
                campaign_uses=_campaign_uses({}, charge.quote.sponsored),
            )
            for charge in after.values()
        ]
    vanished = [
        _change(charge, charge, None, -1) for key, charge in before.items() if key not in after
    ]
    found = [
        _change(charge, before.get(key), charge, 0 if key in before else 1)
        for key, charge in after.items()
    ]
    return [change for change in vanished + found if not change.is_nothing]


def _change(charge: Charge, old: Charge | None, new: Charge | None, ride_count: int) -> Change:
    before, after = _shares(old), _shares(new)
    return Change(
        charge,
        (new.rider_fen if new else 0) - (old.rider_fen if old else 0),
        {
            sponsor: after.get(sponsor, 0) - before.get(sponsor, 0)
            for sponsor in sorted(before.keys() | after.keys())
        },
        ride_count,
        old is not None and new is not None and old.shared != new.shared,
        _campaign_uses(before, after),
    )


def _campaign_uses(
    before: Mapping[str, int], after: Mapping[str, int]
) -> tuple[tuple[str, int], ...]:
    if not before and not after:
        return ()
    return tuple(
        [
            (account, (after.get(account, 0) > 0) - (before.get(account, 0) > 0))
            for account in sorted(before.keys() | after.keys())
            if "/" in account
        ]
    )


def _shares(charge: Charge | None) -> dict[str, Fen]:
    return charge.quote.sponsored if charge else {}


def spent_after(spent: Spent, entries: Iterable[JournalEntry]) -> Spent:
    """What a wallet has spent once some entries have charged it, or given back."""
    for entry in entries:
        spent = spent.after(entry.service_day, -entry.rider_fen)
    return spent


def rider_postings(before: Wallet, after: Wallet) -> tuple[Posting, ...]:
    """The rider's side of a move from one wallet state to the next: the purse, and any debt."""
    purse = Posting(PURSE, after.balance_fen - before.balance_fen)
    if before.owed_fen == after.owed_fen:
        return (purse,)
    return (purse, Posting(DEBT, before.owed_fen - after.owed_fen))
