"""What remembers legs: tiers and caps act on a fare by it, subsidies only count."""

from datetime import date, datetime, timedelta
from uuid import UUID

from msgspec import structs

from fare_rules.base_fare import percent_of
from fare_rules.compiled import CompiledTariff
from fare_rules.language.discounts import Accumulating, FareCap, FareTier
from fare_rules.legs import Leg
from fare_rules.paying import split_fen, tier_percent
from fare_rules.periods import Window, window_at, window_key
from fare_rules.plans import LegPlan
from fare_rules.running_sum import RunningSum
from fare_rules.states import PastLeg, RiderState
from fare_rules.zones import Span


class Counting:
    """The periods that one leg falls in. `windows` are those that it has touched."""

    def __init__(
        self,
        leg: Leg,
        tariff: CompiledTariff,
        plan: LegPlan,
        state: RiderState,
        day: date,
        journey_id: UUID,
        joined_to: PastLeg | None,
    ) -> None:
        self.leg = leg
        self.tariff = tariff
        # Of the leg, or of the whole journey that it is joined to.
        self.plan = plan
        self.state = state
        self.day = day
        self.windows: dict[str, Window] = {}
        # The leg that this one is joined to, or continues by transfer.
        self.follows = joined_to
        self.is_joined = joined_to is not None
        self._own_journey_id = journey_id

    @property
    def journey_id(self) -> UUID:
        return self.follows.journey_id if self.follows else self._own_journey_id

    def tier(self, rule: FareTier, total: RunningSum) -> None:
        key = self._key(rule) if self.tariff.counts_apart else rule.id
        if key is None or self._stands_apart(rule):
            return
        window = self._window(rule, key)
        if rule.reading == "split" and rule.steps[0].after_rides is None:
            due_fen = split_fen(
                rule,
                window.spent_fen,
                total.due_fen,
                by_payment=self.tariff.counts_payment(rule),
            )
        else:
            percent = tier_percent(rule.steps, self._before(rule, window))
            due_fen = percent_of(total.due_fen, percent, rule.rounding)
        due_fen = min(due_fen, total.due_fen)
        total.take(rule.id, total.due_fen - due_fen, rule.reference, rule.borne_by)

    def cap(self, rule: FareCap, total: RunningSum) -> None:
        if self._stands_apart(rule):
            return
        window = self._window(rule, rule.id)
        left_fen: int | None
        if rule.rides is not None:
            left_fen = 0 if self._before(rule, window).rides_count >= rule.rides else None
        else:
            limit_fen = self._limit_fen(rule, window)
            left_fen = None if limit_fen is None else max(limit_fen - window.spent_fen, 0)
        if left_fen is not None and left_fen < total.due_fen:
            total.take(rule.id, total.due_fen - left_fen, rule.reference, rule.borne_by)

    def remember(self, total: RunningSum, *, incomplete: bool, is_given: bool = False) -> None:
        """Add the leg to whatever counts it; what a promotion gave for nothing may be no ride."""
        journey_id, tariff = self.journey_id, self.tariff
        apart, trailing = tariff.counts_apart, tariff.trailing
        for rule in (*self.plan.tiers, *self.plan.caps, *self.plan.subsidies):
            key = self._key(rule) if apart else rule.id
            if key is None:
                continue
            if (incomplete and not rule.incomplete_legs) or self._stands_apart(rule):
                self.windows.pop(key, None)
                continue
            window = self._window(rule, key)
            spent_fen = 0 if is_given and not rule.counts_free else _counted_fen(rule, total)
            widest = self._span_with(window) or Span(-1, -1)
            counted = Window(
                window.first_day,
                window.opened_at,
                window.spent_fen + spent_fen,
                window.rides_count,
                widest.low,
                widest.high,
                window.journeys,
            )
            if rule.id in tariff.counts_journeys:
                is_ride = spent_fen > 0 or rule.counts_free
                counted = counted.with_ride(
                    journey_id, spent_fen, is_ride=is_ride, is_own=rule.counts_transfers
                )
            if rule.id in trailing:
                span = self.plan.span or Span(-1, -1)
                counted = counted.on_day(self._counted_at()[0], window, *span)
            self.windows[key] = counted

    def _before(self, rule: Accumulating, window: Window) -> Window:
        """What came before this ride; a leg that continues the last one counted is that ride."""
        if rule.counts_transfers:
            return window
        before = window.before_journey(self.journey_id)
        # A leg that is only cheaper after another is paid by itself.
        return before if self.is_joined else structs.replace(before, spent_fen=window.spent_fen)

    def _key(self, rule: Accumulating) -> str | None:
        """Which memory of a rule the leg is for; None where its route or a stop is not known."""
        for_each = self.tariff.counts_apart.get(rule.id)
        if for_each is None:
            return rule.id
        leg = self.leg
        if for_each == "route":
            return window_key(rule.id, leg.network, leg.route_id) if leg.route_id else None
        if leg.from_stop is None or leg.to_stop is None:
            return None
        return window_key(rule.id, *sorted((leg.from_stop, leg.to_stop)))

    def _window(self, rule: Accumulating, key: str) -> Window:
        found = self.windows.get(key)
        if found is None:
            known = self.state.windows.get(key)
            found = window_at(rule.period, known, *self._counted_at())
            self.windows[key] = found
        return found

    def _counted_at(self) -> tuple[date, datetime]:
        """The service day and moment that the ride counts for: of its journey's first boarding."""
        if not self.is_joined or self.state.journey is None:
            return self.day, self.leg.boarded_at
        began_at = self.state.journey.boarded_at
        return self.tariff.service_day_of(began_at), began_at

    def _limit_fen(self, rule: FareCap, window: Window) -> int | None:
        if rule.amount is not None:
            return int(rule.amount)
        return self.tariff.cap_limits[rule.id].of(self._span_with(window))

    def _span_with(self, window: Window) -> Span | None:
        """The zones of the leg, and of the window before it."""
        span = self.plan.span
        if window.low < 0:
            return span
        return Span(window.low, window.high).with_(span)

    def _stands_apart(self, rule: Accumulating) -> bool:
        """Whether the leg begins too soon after another at the same place to count."""
        if not rule.same_place_minutes or self.leg.place is None:
            return False
        apart = timedelta(minutes=rule.same_place_minutes)
        return any(
            before.place == self.leg.place
            and before.facts.network == self.leg.network
            and self.leg.boarded_at - before.boarded_at < apart
            for before in self.state.trail
        )


def _counted_fen(rule: Accumulating, total: RunningSum) -> int:
    match rule.counts:
        case "paid":
            return total.due_fen
        case "paid_by_all":
            return total.due_fen + total.sponsored_fen
        case "before_caps":
            return total.before_caps_fen
        case "full_fare":
            return total.full_fen
