"""Wallet classes: how much a wallet may hold and spend, and how long it may pay without a network.

A class is configuration (`wallets.yaml`). A child's own limits are cut out of its parent's: what a
child may spend on a day, the parent may not. So the two together never exceed the parent's class,
and no tap ever needs to look at another wallet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct, structs

from fare_rules.language.scalars import Count, Money
from fare_rules.language.wallets import OfflineLimits, WalletClass

BoundFen = Annotated[int, Meta(ge=0, le=10**15, description="minor units")]


class Bounds(Struct, frozen=True, array_like=True, gc=False):
    """The most of one payment, of a service day, of a calendar year, and that may be held.

    None is no bound.
    """

    single_fen: int | None = None
    day_fen: int | None = None
    year_fen: int | None = None
    balance_fen: int | None = None

    def at_most(self, other: Bounds) -> Bounds:
        """The lower bound of each two."""
        return Bounds(*map(_lower, structs.astuple(self), structs.astuple(other)))

    def less(self, other: Bounds) -> Bounds:
        """What is left when others may use up so much; of one payment each may have the whole."""
        left = [
            mine if mine is None or theirs is None else max(mine - theirs, 0)
            for mine, theirs in zip(structs.astuple(self), structs.astuple(other), strict=True)
        ]
        return Bounds(self.single_fen, *left[1:])

    def plus(self, other: Bounds, sign: int = 1) -> Bounds:
        """What all children together may use up, with one more (or, with -1, one less)."""
        summed = [
            (mine or 0) + sign * (theirs or 0)
            for mine, theirs in zip(structs.astuple(self), structs.astuple(other), strict=True)
        ]
        return Bounds(None, *summed[1:])

    def holds(self, other: Bounds) -> bool:
        """Whether another's bounds all lie within these."""
        return all(
            mine is None or (theirs is not None and theirs <= mine)
            for mine, theirs in zip(structs.astuple(self), structs.astuple(other), strict=True)
        )

    def covers(self, used: Bounds) -> bool:
        """Whether so much may be used up; what is not bound may always."""
        return all(
            bound is None or (amount or 0) <= bound
            for bound, amount in zip(structs.astuple(self), structs.astuple(used), strict=True)
        )

    def still_holds(self, allotted: Bounds, before: Bounds) -> bool:
        """Whether these may take the place of others, of which children were allotted so much.

        Where there was no bound before, a child need not have been given one.
        """
        named = zip(structs.astuple(self)[1:], structs.astuple(before)[1:], strict=True)
        return all(bound is None or old is not None for bound, old in named) and self.covers(
            allotted
        )


UNBOUND = Bounds()
# Of a class that nobody knows: it had limits.
_NOTHING_MAY = Bounds(0, 0, 0, 0)
_NOTHING_OFFLINE = OfflineLimits(single=Money(0), payments=Count(0))


class WalletClasses(Struct, frozen=True):
    """All classes: of each its limits, those of the newest day first."""

    by_id: Mapping[str, tuple[WalletClass, ...]] = {}

    @classmethod
    def of(cls, classes: Iterable[WalletClass]) -> WalletClasses:
        by_id: dict[str, tuple[WalletClass, ...]] = {}
        for one in sorted(classes, key=_first_day, reverse=True):
            by_id[one.id] = (*by_id.get(one.id, ()), one)
        return cls(by_id)

    def at(self, class_id: str, day: date) -> WalletClass | None:
        """The class in force on a service day; before its first day, the first."""
        versions = self.by_id.get(class_id, ())
        return next((one for one in versions if _first_day(one) <= day), None) or (
            versions[-1] if versions else None
        )

    def bounds(self, terms: Terms | None, day: date) -> Bounds:
        """What a wallet itself may do on a day, what its children may use up taken off.

        One of a class that is not known may do nothing.
        """
        if terms is None:
            return UNBOUND
        bounds = UNBOUND
        if terms.class_id is not None:
            found = self.at(terms.class_id, day)
            bounds = (
                Bounds(found.single, found.day, found.year, found.balance)
                if found
                else _NOTHING_MAY
            )
        return bounds.at_most(terms.own).less(terms.allotted)

    def offline(self, terms: Terms | None, day: date) -> OfflineLimits:
        if terms is None or terms.class_id is None:
            return OfflineLimits()
        found = self.at(terms.class_id, day)
        return found.offline if found else _NOTHING_OFFLINE


NO_CLASSES = WalletClasses()


class AutoTopUp(Struct, frozen=True, array_like=True, gc=False):
    """Once a day, when less than this is in the main purse at the gate, so much is paid in."""

    below_fen: BoundFen
    amount_fen: Annotated[int, Meta(ge=1, le=10**12)]


class Terms(Struct, frozen=True, array_like=True, gc=False):
    """What was agreed about one wallet. `own` are a child's limits, `allotted` its children's."""

    class_id: str | None = None
    parent_id: UUID | None = None
    own: Bounds = UNBOUND
    allotted: Bounds = UNBOUND
    auto_top_up: AutoTopUp | None = None
    topped_up_on: date | None = None
    children_count: int = 0


class Spent(Struct, frozen=True, array_like=True, gc=False):
    """What a wallet has spent on its newest service day and in its year, whichever purse paid.

    `offline_count` is how many rides it has paid for without a network since `online_at`, when it
    was last seen with one.
    """

    day: date
    day_fen: int = 0
    year_fen: int = 0
    offline_count: int = 0
    online_at: datetime | None = None

    def after(self, day: date, amount_fen: int) -> Spent:
        """What is spent after an amount of a day more."""
        if day > self.day:
            year_fen = self.year_fen if day.year == self.day.year else 0
            return structs.replace(
                self, day=day, day_fen=amount_fen, year_fen=year_fen + amount_fen
            )
        return structs.replace(
            self,
            day_fen=self.day_fen + (amount_fen if day == self.day else 0),
            year_fen=self.year_fen + (amount_fen if day.year == self.day.year else 0),
        )

    def seen(self, instant: datetime, *, is_offline: bool, is_paid: bool) -> Spent:
        """What is known after a tap with or without a network."""
        is_before = self.online_at is not None and instant <= self.online_at
        if is_before:
            return self
        if not is_offline:
            return structs.replace(self, offline_count=0, online_at=instant)
        return structs.replace(self, offline_count=self.offline_count + is_paid)


def spent_on(spent: Spent | None, day: date) -> tuple[int, int]:
    """What was spent on a day and in its year."""
    if spent is None or spent.day.year != day.year:
        return 0, 0
    return (spent.day_fen if spent.day == day else 0), spent.year_fen


def in_use(held_fen: int, spent: Spent | None, day: date) -> Bounds:
    """What a wallet holds, and has spent by now, as parts of its bounds."""
    day_fen, year_fen = spent_on(spent, day)
    return Bounds(None, day_fen, year_fen, held_fen)


def joined(spent: Spent | None, other: Spent | None) -> Spent | None:
    """What a parent and a child that leaves it have spent together, on the newest day of both."""
    if other is None:
        return spent
    if spent is None:
        return structs.replace(other, offline_count=0, online_at=None)
    day = max(spent.day, other.day)
    mine, theirs = spent_on(spent, day), spent_on(other, day)
    return structs.replace(
        spent, day=day, day_fen=mine[0] + theirs[0], year_fen=mine[1] + theirs[1]
    )


def exceeded(bounds: Bounds, spent: Spent | None, day: date, amount_fen: int) -> str | None:
    """Which bound a payment would exceed: `single`, `day` or `year`; None if none."""
    day_fen, year_fen = spent_on(spent, day)
    for name, bound_fen, total_fen in (
        ("single", bounds.single_fen, amount_fen),
        ("day", bounds.day_fen, day_fen + amount_fen),
        ("year", bounds.year_fen, year_fen + amount_fen),
    ):
        if bound_fen is not None and total_fen > bound_fen:
            return name
    return None


def _first_day(one: WalletClass) -> date:
    return one.effective_from or date.min


def _lower(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)
