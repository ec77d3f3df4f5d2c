"""Whether a rider may have a promotion now: its campaign, coupon, uses, and other offers."""

from datetime import date, datetime, timedelta

from msgspec import Struct

from fare_rules.compiled import CompiledTariff
from fare_rules.language.discounts import Promotion
from fare_rules.legs import Leg
from fare_rules.states import RiderState, Uses


class Offers(Struct, frozen=True):
    """What is on offer to the rider of one leg."""

    leg: Leg
    tariff: CompiledTariff
    state: RiderState
    day: date

    def is_usable(self, rule: Promotion) -> bool:
        instant, uses = self.leg.boarded_at, self.state.uses.get(rule.id)
        if not self.tariff.campaigns[rule.id].holds(instant):
            return False
        if rule.coupon is not None and not self._has_coupon(rule, uses):
            return False
        if uses is not None and not self._may_use_again(rule, uses):
            return False
        others = self.tariff.offers.get(rule.either_or or "", ())
        return not any(other != rule.id and other in self.state.uses for other in others)

    def _has_coupon(self, rule: Promotion, uses: Uses | None) -> bool:
        activated_at = self._coupon_of(rule)
        if activated_at is None:
            return False
        assert rule.coupon is not None
        left = rule.coupon.uses
        is_same = uses is not None and uses.coupon_at == activated_at
        return left is None or uses is None or not is_same or uses.coupon_count < left

    def _coupon_of(self, rule: Promotion) -> datetime | None:
        """When the rider activated the newest coupon of a promotion that is still alive."""
        coupon = rule.coupon
        assert coupon is not None
        return max(
            (
                activated_at
                for promotion_id, activated_at in self.leg.coupons
                if promotion_id == rule.id
                and activated_at <= self.leg.boarded_at
                and self.leg.boarded_at < self.tariff.coupon_ends_at(coupon, activated_at)
            ),
            default=None,
        )

    def _may_use_again(self, rule: Promotion, uses: Uses) -> bool:
        if rule.uses_max is not None and uses.count >= rule.uses_max:
            return False
        today = uses.day_count if uses.day == self.day else 0
        if rule.uses_per_day is not None and today >= rule.uses_per_day:
            return False
        ends_at = _pass_ends_at(rule, uses)
        return ends_at is None or self.leg.boarded_at < ends_at or self._begins_anew(rule, uses)

    def _begins_anew(self, rule: Promotion, uses: Uses) -> bool:
        """Whether a coupon activated since the last pass ended begins another."""
        ends_at = _pass_ends_at(rule, uses)
        if ends_at is None or self.leg.boarded_at < ends_at or rule.coupon is None:
            return False
        activated_at = self._coupon_of(rule)
        return activated_at is not None and activated_at > uses.first_at

    def used(self, rule: Promotion) -> Uses:
        """What is remembered of a promotion once this leg has had it."""
        known = self.state.uses.get(rule.id)
        coupon_at = self._coupon_of(rule) if rule.coupon else None
        if known is None:
            return Uses(1, self.leg.boarded_at, self.day, 1, coupon_at, 1)
        return Uses(
            count=known.count + 1,
            first_at=self.leg.boarded_at if self._begins_anew(rule, known) else known.first_at,
            day=self.day,
            day_count=known.day_count + 1 if known.day == self.day else 1,
            coupon_at=coupon_at,
            coupon_count=known.coupon_count + 1 if known.coupon_at == coupon_at else 1,
        )


def _pass_ends_at(rule: Promotion, uses: Uses) -> datetime | None:
    days = rule.days_from_first_use
    return None if days is None else uses.first_at + timedelta(days=days)
