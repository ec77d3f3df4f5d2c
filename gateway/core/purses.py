"""Money that is bound to a purpose: which purse pays how much of a ride, and gets it back.

A purse is what is left of one grant. Where the tariff's purse rules let several pay for a ride, its
`purse_order` says which goes first; what they do not pay, the main purse does. A fare that becomes
less is given back in the opposite order: to the main purse first, then to the purse that paid last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from uuid import UUID

from msgspec import Struct, structs

from fare_rules.plans import PurseTerms

# Each rides along with every tap of its wallet; and an entry has room for so many.
PURSES_MAX = 12
_NEVER = datetime.max.replace(tzinfo=UTC)


class Purse(Struct, frozen=True, array_like=True, gc=False):
    """What is left of one grant. `funder_id` is the sponsor that gave it; None, the rider himself.

    `rides_count` is how many rides of the service day `day` it has paid for.
    """

    grant_id: UUID
    rule_id: str
    funder_id: str | None
    valid_from: datetime
    valid_until: datetime | None
    held_fen: int
    day: date | None = None
    rides_count: int = 0

    @property
    def emptied(self) -> Purse:
        return structs.replace(self, held_fen=0, day=None, rides_count=0)

    def is_valid_at(self, instant: datetime) -> bool:
        """Whether it may be spent: from its first moment to the one before its end."""
        return self.valid_from <= instant < (self.valid_until or _NEVER)

    def moved(self, amount_fen: int, rides_count: int, day: date) -> Purse:
        """The purse after an amount is added (or taken), and rides of a day are counted."""
        held_fen = self.held_fen + amount_fen
        assert held_fen >= 0, self
        if self.day is None or day > self.day:
            return structs.replace(
                self, held_fen=held_fen, day=day, rides_count=max(rides_count, 0)
            )
        if day < self.day:
            return structs.replace(self, held_fen=held_fen)
        return structs.replace(
            self, held_fen=held_fen, rides_count=max(self.rides_count + rides_count, 0)
        )


class PaidShare(Struct, frozen=True, gc=False):
    """What a purse has paid for one ride of a service day.

    `purse` is the purse as it was granted, with nothing in it: it is opened again when money comes
    back after its end, and goes to its funder from there.
    """

    purse: Purse
    day: date
    amount_fen: int

    @property
    def grant_id(self) -> UUID:
        return self.purse.grant_id


# What purses have paid for each tap and product, in the order in which they did.
Paid = Mapping[tuple[UUID, str], tuple[PaidShare, ...]]


class Split(Struct, frozen=True):
    """How an amount that a rider pays is split: `shares_fen` from purses, the rest from the main.

    Below zero is given back.
    """

    purses: tuple[Purse, ...]
    shares_fen: dict[UUID, int]
    main_fen: int


def with_purse(purses: tuple[Purse, ...], purse: Purse) -> tuple[Purse, ...]:
    """Add a purse. Empty ones that were over before it begins leave; and the first that is empty
    makes room where there is none.
    """
    purses = tuple(
        one for one in purses if one.held_fen or (one.valid_until or _NEVER) > purse.valid_from
    )
    if len(purses) >= PURSES_MAX:
        empty = next(one for one in purses if not one.held_fen)
        purses = tuple(one for one in purses if one is not empty)
    return (*purses, purse)


def pay(
    purses: tuple[Purse, ...],
    amount_fen: int,
    terms: Sequence[PurseTerms],
    *,
    instant: datetime,
    day: date,
    tap: tuple[UUID, str],
    paid: Paid,
) -> Split:
    """Take an amount for a ride from the purses that may pay it, first those that go first."""
    already = {share.grant_id: share.amount_fen for share in paid.get(tap, ())}
    rest_fen, shares_fen, after = amount_fen, dict[UUID, int](), {p.grant_id: p for p in purses}
    for purse, rule in _in_order(purses, terms, instant):
        before_fen = already.get(purse.grant_id, 0)
        # More than a wallet is granted may lie in it, when rides of used up grants cost less later.
        if not before_fen and len(already.keys() | shares_fen.keys()) >= PURSES_MAX:
            continue
        most = rule.rides_per_day
        if most is not None and not before_fen and _rides_of(purse, day, paid) >= most:
            continue
        room_fen = rest_fen if rule.ride_max is None else max(rule.ride_max - before_fen, 0)
        share_fen = min(rest_fen, purse.held_fen, room_fen)
        if share_fen:
            rest_fen -= share_fen
            shares_fen[purse.grant_id] = share_fen
            after[purse.grant_id] = purse.moved(-share_fen, 0 if before_fen else 1, day)
    return Split(tuple(after.values()), shares_fen, rest_fen)


def give_back(
    purses: tuple[Purse, ...],
    amount_fen: int,
    *,
    left_fen: int,
    tap: tuple[UUID, str],
    paid: Paid,
) -> Split:
    """Give back what a ride costs less: to the main purse first, to purses what they paid above it.

    Units:  `left_fen` is what the rider still pays for the ride.
    """
    after = {purse.grant_id: purse for purse in purses}
    shares = paid.get(tap, ())
    over_fen = max(sum(share.amount_fen for share in shares) - left_fen, 0)
    main_fen = amount_fen - over_fen
    shares_fen: dict[UUID, int] = {}
    for share in reversed(shares):
        back_fen = min(over_fen, share.amount_fen)
        if not back_fen:
            break
        over_fen -= back_fen
        purse = after.get(share.grant_id, share.purse)
        is_whole = back_fen == share.amount_fen
        after[share.grant_id] = purse.moved(back_fen, -1 if is_whole else 0, share.day)
        shares_fen[share.grant_id] = -back_fen
    assert over_fen == 0, (tap, shares)
    return Split(tuple(after.values()), shares_fen, -main_fen)


def merged(
    paid: Paid,
    tap: tuple[UUID, str],
    day: date,
    gained_fen: Mapping[UUID, int],
    purses: Mapping[UUID, Purse],
) -> Paid:
    """What purses have paid, after an entry moved money of theirs: what each gained."""
    shares = {share.grant_id: share for share in paid.get(tap, ())}
    for grant_id, gain_fen in gained_fen.items():
        known = shares.get(grant_id)
        if known is None:
            known = PaidShare(purses[grant_id].emptied, day, 0)
        share = structs.replace(known, amount_fen=known.amount_fen - gain_fen)
        if share.amount_fen:
            shares[grant_id] = share
        else:
            shares.pop(grant_id, None)
    return {**paid, tap: tuple(shares.values())}


def _in_order(
    purses: Iterable[Purse], terms: Sequence[PurseTerms], instant: datetime
) -> list[tuple[Purse, PurseTerms]]:
    rules = {rule.rule_id: rule for rule in terms}
    found = [
        (purse, rules[purse.rule_id])
        for purse in purses
        if purse.rule_id in rules and purse.held_fen and purse.is_valid_at(instant)
    ]
    return sorted(found, key=lambda one: _place(*one))


def _place(purse: Purse, rule: PurseTerms) -> tuple[object, ...]:
    by = {
        "expiry": purse.valid_until or _NEVER,
        "restriction": -rule.restriction,
        "kind": rule.kind,
    }
    return (*[by[each] for each in rule.order], -rule.priority, purse.valid_from, purse.grant_id)


def _rides_of(purse: Purse, day: date, paid: Paid) -> int:
    """How many rides of a day a purse has paid for; of an earlier day, `paid` has them."""
    if purse.day is None or day > purse.day:
        return 0
    if day == purse.day:
        return purse.rides_count
    return sum(
        share.grant_id == purse.grant_id and share.day == day
        for shares in paid.values()
        for share in shares
    )
