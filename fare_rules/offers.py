"""Whether a rider may have a promotion now: its campaign, coupon, uses, and other offers."""

from datetime import date, datetime, timedelta
from uuid import UUID

from msgspec import Struct

from fare_rules.compiled import CompiledTariff
from fare_rules.language.discounts import Coupon, Promotion
from fare_rules.legs import Leg
from fare_rules.states import RiderState, Uses

# Coupons whose uses are remembered.
COUPONS_REMEMBERED_MAX = 20


class Offers(Struct, frozen=True, gc=False):
    """What is on offer to the rider of one leg."""

    leg: Leg
    tariff: CompiledTariff
    state: RiderState
    day: date
    # The journey that the leg is joined to.
    joined_to: UUID | None

    def is_usable(self, rule: Promotion) -> bool:
        instant, uses = self.leg.boarded_at, self.state.uses.get(rule.id)
        if self._is_same_use(uses):
            return True
        if not self.tariff.campaigns[rule.id].holds(instant):
            return False
        if rule.coupon is not None and self._coupon_of(rule, uses) is None:
            return False
        if uses is not None and not self._may_use_again(rule, uses):
            return False
        if rule.either_or is None:
            return True
        others = self.tariff.offers[rule.either_or]
        return not any(other != rule.id and other in self.state.uses for other in others)

    def used(self, rule: Promotion, journey_id: UUID) -> Uses:
        """What is remembered of a promotion once this leg has had it."""
        known = self.state.uses.get(rule.id)
        if known is not None and self._is_same_use(known):
            return known
        coupon_at, by_coupon = None, known.by_coupon if known else ()
        if rule.coupon is not None:
            coupon_at = self._coupon_of(rule, known)
            by_coupon = _counted(by_coupon, coupon_at)
        begins = known is None or self._pass_is_over(rule, known)
        return Uses(
            count=known.count + 1 if known else 1,
            first_at=self.leg.boarded_at if known is None or begins else known.first_at,
            day=self.day,
            day_count=known.day_count + 1 if known and known.day == self.day else 1,
            coupon_at=coupon_at,
            by_coupon=by_coupon,
            journey_id=journey_id,
        )

    def _is_same_use(self, uses: Uses | None) -> bool:
        """Whether the leg goes on with a journey that has had the promotion already."""
        return uses is not None and self.joined_to is not None and uses.journey_id == self.joined_to

    def _coupon_of(self, rule: Promotion, uses: Uses | None) -> datetime | None:
        """When the coupon was activated that would be used now: the oldest that is good for it."""
        assert rule.coupon is not None
        counts = dict(uses.by_coupon) if uses else {}
        good = [
            at
            for at in self._alive(rule.coupon, rule.id)
            if rule.coupon.uses is None or counts.get(at, 0) < rule.coupon.uses
        ]
        if uses is None or rule.days_from_first_use is None:
            return min(good, default=None)
        if not self._pass_is_over(rule, uses):
            return uses.coupon_at if uses.coupon_at in good else None
        return min((at for at in good if not counts.get(at)), default=None)

    def _alive(self, coupon: Coupon, promotion_id: str) -> list[datetime]:
        instant = self.leg.boarded_at
        return [
            activated_at
            for name, activated_at in self.leg.coupons
            if name == promotion_id
            and activated_at <= instant < self.tariff.coupon_ends_at(coupon, activated_at)
        ]

    def _may_use_again(self, rule: Promotion, uses: Uses) -> bool:
        if rule.uses_max is not None and uses.count >= rule.uses_max:
            return False
        today = uses.day_count if uses.day == self.day else 0
        if rule.uses_per_day is not None and today >= rule.uses_per_day:
            return False
        # A pass that is over begins anew with another coupon, if it has coupons at all.
        return rule.coupon is not None or not self._pass_is_over(rule, uses)

    def _pass_is_over(self, rule: Promotion, uses: Uses) -> bool:
        days = rule.days_from_first_use
        return days is not None and self.leg.boarded_at >= uses.first_at + timedelta(days=days)


def _counted(
    by_coupon: tuple[tuple[datetime, int], ...], coupon_at: datetime | None
) -> tuple[tuple[datetime, int], ...]:
    counts = dict(by_coupon)
    if coupon_at is not None:
        counts[coupon_at] = counts.get(coupon_at, 0) + 1
    return tuple(counts.items())[-COUPONS_REMEMBERED_MAX:]
