"""What one leg costs under one tariff, and every reason for it.

The map: the product's full fare and what is added to it; then the steps that make it less, in the
tariff's `order`: concessions, transfers, tiers, caps, promotions. Concessions are for each rider of
the leg; what comes after them is for the holder of the card alone. `price_leg` changes nothing:
what the leg would leave behind in the rider's memory comes back with its price.
"""

from __future__ import annotations

from datetime import date
from uuid import UUID

from msgspec import Struct, structs

from fare_rules.base_fare import FareRefusal, Trip, percent_of
from fare_rules.compiled import CompiledTariff, incomplete_charge
from fare_rules.counting import Counting
from fare_rules.disruptions import touches
from fare_rules.following import Following
from fare_rules.full_fares import FullFares
from fare_rules.language.discounts import (
    FareTransferRule,
    PaysDifference,
    PaysExtension,
    PaysProduct,
    Promotion,
)
from fare_rules.language.journeys import FareLegJoinRule
from fare_rules.language.products import ProductCharge
from fare_rules.legs import Leg, minutes_begun
from fare_rules.money import Fen
from fare_rules.offers import Offers
from fare_rules.past_legs import journey_with, past_leg
from fare_rules.paying import payable_fen, surcharge_fen
from fare_rules.periods import Window
from fare_rules.quotes import Fare, Quote, quote_of, sponsor_account
from fare_rules.running_sum import RunningSum
from fare_rules.states import Journey, PastLeg, RiderState, Uses

NEVER_DEARER = "never_dearer_than"


class Priced(Struct, frozen=True, gc=False):
    """A price, and what must be remembered once it is charged."""

    quote: Quote
    past: PastLeg
    journey: Journey | None
    windows: dict[str, Window]
    uses: dict[str, Uses]
    is_joined: bool


def price_leg(
    leg: Leg, tariff: CompiledTariff, state: RiderState, *, day: date, journey_id: UUID
) -> Priced | FareRefusal:
    """Price one leg after all that is remembered of its rider.

    Shape:  the full fare's line, what is added, what is taken off. A leg that lacks an end is one
            line, of the rule for such legs. `journey_id` is for a leg that continues no other.
    Units:  fen for all riders of the leg together; never negative. `day` is its service day.
    Source: GTFS Fares v2, fare_leg_rules.rule_priority; the clause in each line's reference.
    """
    assert leg.riders_count >= 1
    assert leg.missing in (None, "entry", "exit")
    if leg.network not in tariff.networks:
        return FareRefusal.UNKNOWN_NETWORK
    if leg.rider_category not in tariff.rider_categories:
        return FareRefusal.UNKNOWN_RIDER_CATEGORY
    if leg.fare_media not in tariff.fare_media:
        return FareRefusal.UNKNOWN_FARE_MEDIA
    return _Pricing(leg, tariff, state, day, journey_id).price()


class _Pricing:
    """One call of price_leg."""

    def __init__(
        self, leg: Leg, tariff: CompiledTariff, state: RiderState, day: date, journey_id: UUID
    ) -> None:
        self.leg = leg
        self.tariff = tariff
        self.state = state
        self.day = day
        self.journey_id = journey_id
        self.plan = tariff.plan_of(leg)
        self.following = Following(leg, self.plan, tariff, state)
        # The leg that this one is joined to, or continues by transfer.
        self.follows: PastLeg | None = None
        self.is_transfer = False
        self.promotion: Promotion | None = None
        # The way of the legs before, where the leg's discounts act on what it adds to the whole.
        self.before: Trip | None = None
        # What prices the leg, or the journey that it is joined to.
        self.product_id = ""
        # What one rider pays for the whole journey after concessions, before all other steps; with
        # what first legs alone are spared.
        self.through_fen = 0
        self.kept_off_fen = 0
        self.full_fen = 0
        # What each sponsor bears by concessions: of the whole journey, and of this leg.
        self.borne: dict[str, int] = {}
        self.borne_of_leg: dict[str, int] = {}

    def price(self) -> Priced | FareRefusal:
        if self.leg.missing is not None and not self._is_ride_by_product():
            return self._price_incomplete()
        join = self.following.join_rule()
        if join is not None:
            joined = self._price_ride(join)
            if isinstance(joined, Priced):
                return joined
            # What cannot be priced as one, since some way is not known, is priced by itself.
        if self.plan.is_counted or self.tariff.never_dearer_than is not None:
            return self._price_ride(None)
        return self._price_known()

    def _is_ride_by_product(self) -> bool:
        """Whether a leg that lacks an end is priced as any other."""
        rule = self.plan.incomplete
        if rule is not None and isinstance(rule.charge, ProductCharge):
            return True
        fares = FullFares(self.leg, self.plan, self.tariff)
        return self.leg.missing == "entry" and fares.gate_fare_fen() is not None

    def _price_incomplete(self) -> Priced | FareRefusal:
        rule = self.plan.incomplete
        if rule is None:
            return FareRefusal.NO_FARE_RULE
        fare_fen = incomplete_charge(rule, self.tariff, self.plan.facts)
        for disruption in self.tariff.file.disruptions:
            pays_fen = disruption.incomplete_legs_pay
            if pays_fen is not None and touches(disruption, self.leg, self.tariff):
                fare_fen, rule_id, reference = Fen(pays_fen), disruption.id, disruption.reference
                break
        else:
            rule_id, reference = rule.id, rule.reference
        if isinstance(fare_fen, FareRefusal):
            return fare_fen
        total = RunningSum(self.leg, self.leg.boarded_at)
        total.add(rule_id, fare_fen, reference)
        total.full_fen = total.before_caps_fen = fare_fen
        counting = self._counting()
        for cap in self.plan.caps:
            if cap.incomplete_legs:
                counting.cap(cap, total)
        counting.remember(total, incomplete=True)
        fare = self._fare(total, rule_id, total.due_fen)
        return self._priced(fare, None, None, counting.windows)

    def _price_known(self) -> Priced | FareRefusal:
        """Price a leg that nothing counts.

        Others that were as far, changed alike and are offered the same promotions cost as much, so
        what such a leg comes to is worked out once.
        """
        rule, before = self.following.transfer()
        is_difference = rule is not None and isinstance(rule.pays, PaysDifference)
        leg = self.leg
        offered = tuple([each.id for each in self._offered(None)]) if self.plan.promotions else ()
        key = (
            leg.gate_fare_fen,
            leg.distance_m,
            leg.riders_count,
            leg.over_minutes,
            minutes_begun(leg.last_tap_at - leg.boarded_at) if self.tariff.times_rides else 0,
            rule.id if rule else None,
            (before.chain.paid_fen, before.chain.borne) if before and is_difference else None,
            offered,
        )
        fare = self.plan.fares.get(key)
        if fare is not None:
            self.follows = before
            return self._priced(fare, None, None, {})
        plan, priced = self.plan, self._price_ride(None)
        if isinstance(priced, Priced):
            self.tariff.keep(plan, key, self.fare)
        return priced

    def _price_ride(self, join: FareLegJoinRule | None) -> Priced | FareRefusal:
        journey = self.state.journey if join else None
        self.follows = joined_to = self.state.trail[-1] if join else None
        self.counting = self._counting()
        begun = self._begin(join, journey)
        if isinstance(begun, FareRefusal):
            return begun
        total, trip = begun
        rule, before = (None, None) if join else self.following.transfer()
        if rule is not None:
            # Whichever step comes first, the leg is of the ride that it continues.
            self.is_transfer = True
            self.follows = self.counting.follows = before
        self._surcharge(total, with_concessions=True, in_caps=True)
        for step in self.tariff.file.order:
            match step:
                case "concessions":
                    self._concede(total, trip, *self._borne_before(join, journey, rule))
                    self._surcharge(total, with_concessions=False, in_caps=True)
                    self._settle_journey(total, join, journey)
                    self._charge_over_time(total, in_caps=True)
                case "transfers" if rule is not None:
                    self._transfer(total, rule)
                case "tiers":
                    for tier in self.counting.plan.tiers:
                        self.counting.tier(tier, total)
                case "caps":
                    total.before_caps_fen = total.due_fen
                    for cap in self.counting.plan.caps:
                        self.counting.cap(cap, total)
                case "promotions":
                    self._promote(total, trip, joined_to.journey_id if joined_to else None)
        is_given = self.promotion is not None and total.due_fen == 0
        self.counting.remember(total, incomplete=False, is_given=is_given)
        paid_fen = total.due_fen
        is_due_once = join is not None and not join.leg_by_leg
        charged = journey.surcharges if journey and is_due_once else ()
        self._surcharge(total, with_concessions=False, in_caps=False, charged_already=charged)
        self._charge_over_time(total, in_caps=False)
        fare = self._fare(total, self.product_id, paid_fen)
        return self._priced(fare, join, journey, self.counting.windows)

    def _counting(self) -> Counting:
        return Counting(
            self.leg, self.tariff, self.plan, self.state, self.day, self.journey_id, self.follows
        )

    def _begin(
        self, join: FareLegJoinRule | None, journey: Journey | None
    ) -> tuple[RunningSum, Trip] | FareRefusal:
        """Find the full fare: of the leg, or of the whole journey that it is joined to."""
        fares = FullFares(self.leg, self.plan, self.tariff)
        facts, plan = self.plan.facts, self.plan
        if join and journey:
            facts, plan = fares.through(join, journey)
        if plan.product is None:
            return FareRefusal.NO_FARE_RULE
        trip = fares.trip(facts, plan, join, journey)
        own_fen = fares.full_fare(plan, trip)
        if isinstance(own_fen, FareRefusal):
            return own_fen
        self.product_id = plan.product.id
        is_sum = join is not None and join.price_as == "sum"
        before_fen = journey.full_fen if journey and is_sum else 0
        total = RunningSum(self.leg, journey.boarded_at if journey else self.leg.boarded_at)
        total.full_fen = before_fen + own_fen
        total.add(plan.product.id, total.full_fen, plan.product.reference)
        earlier_fen = fares.earlier_fen(trip, total.boarded_at)
        if earlier_fen is not None and earlier_fen < own_fen:
            self._take_back_to(Fen(before_fen + earlier_fen), total)
        if join and journey and join.less:
            # A sum grows by each change; any other whole is found afresh.
            changes_count = 1 if is_sum else len(journey.legs)
            self._credit(total, join, max(total.due_fen - join.less * changes_count, 0))
        self.full_fen = max(total.due_fen, journey.full_fen if journey else 0)
        if join and journey and join.leg_by_leg:
            self._credit(total, join, max(total.due_fen - journey.full_fen, 0))
            if not is_sum and self.follows is not None:
                self.before = fares.trip_before(trip, join, journey, self.follows.last_tap_at)
        else:
            self.plan = plan
        self.counting.plan = plan
        return total, trip

    def _settle_journey(
        self, total: RunningSum, join: FareLegJoinRule | None, journey: Journey | None
    ) -> None:
        """Take off what the legs before were charged, and keep what the journey comes to now."""
        self.through_fen = total.due_fen + self.kept_off_fen
        if join and journey and join.leg_by_leg:
            self.through_fen += journey.charged_fen
        elif join and journey:
            self._credit_journey(total, join, journey)

    def _take_back_to(self, earlier_fen: Fen, total: RunningSum) -> None:
        earlier, off_fen = self.tariff.never_dearer_than, total.full_fen - earlier_fen
        assert earlier is not None
        total.take_from_each(NEVER_DEARER, off_fen, off_fen, earlier.reference, None)
        total.full_fen = earlier_fen

    def _surcharge(
        self,
        total: RunningSum,
        *,
        with_concessions: bool,
        in_caps: bool,
        charged_already: tuple[str, ...] = (),
    ) -> None:
        for rule in self.plan.surcharges:
            if rule.over_time or rule.id in charged_already:
                continue
            if rule.with_concessions is with_concessions and rule.in_caps is in_caps:
                total.add(rule.id, surcharge_fen(rule, total.full_fen), rule.reference)

    def _charge_over_time(self, total: RunningSum, *, in_caps: bool) -> None:
        """Add what the leg itself costs for its time, whichever journey it is part of."""
        if not self.leg.over_minutes:
            return
        for rule in self.following.plan.surcharges:
            if rule.over_time and rule.in_caps is in_caps:
                each_fen = surcharge_fen(rule, total.full_fen, self.leg.over_minutes)
                total.add(rule.id, each_fen, rule.reference)

    def _borne_before(
        self, join: FareLegJoinRule | None, journey: Journey | None, rule: FareTransferRule | None
    ) -> tuple[FareLegJoinRule | FareTransferRule | None, dict[str, int]]:
        """What sponsors have borne of the way that is priced anew, and the rule that credits it."""
        if join and journey and not join.leg_by_leg:
            return join, dict(journey.borne)
        if rule is None or self.follows is None or not isinstance(rule.pays, PaysDifference):
            return None, {}
        # A difference that is taken first has what everybody paid taken off already.
        return (None, {}) if self.tariff.changes_first else (rule, dict(self.follows.chain.borne))

    def _concede(
        self,
        total: RunningSum,
        trip: Trip,
        credits: FareLegJoinRule | FareTransferRule | None,
        before: dict[str, int],
    ) -> None:
        for rule in self.plan.concessions:
            if rule.first_leg and self.counting.is_joined:
                continue
            holder_fen = self._pays(rule.pays, total.due_fen, trip)
            companion_fen = (
                holder_fen
                if total.companion_fen == total.due_fen
                else self._pays(rule.pays, total.companion_fen, trip)
            )
            borne_fen = companion_borne_fen = 0
            off_fen = max(total.due_fen - holder_fen, 0)
            companion_off_fen = max(total.companion_fen - companion_fen, 0)
            if rule.first_leg:
                self.kept_off_fen += off_fen
            elif sponsor := rule.borne_by:
                self.borne[sponsor] = self.borne.get(sponsor, 0) + off_fen
                borne_fen = min(before.get(sponsor, 0), off_fen)
                if isinstance(credits, FareLegJoinRule):
                    # All who ride are joined; a change is the holder's alone.
                    borne_fen = companion_borne_fen = min(borne_fen, companion_off_fen)
                before[sponsor] = before.get(sponsor, 0) - borne_fen
            off_fen, companion_off_fen = (
                off_fen - borne_fen,
                companion_off_fen - companion_borne_fen,
            )
            if rule.borne_by:
                of_leg = self.borne_of_leg
                of_leg[rule.borne_by] = of_leg.get(rule.borne_by, 0) + off_fen
            total.take_from_each(rule.id, off_fen, companion_off_fen, rule.reference, rule.borne_by)
            if credits is not None and borne_fen:
                total.take_from_each(
                    credits.id, borne_fen, companion_borne_fen, credits.reference, None
                )

    def _pays(self, pays: object, due_fen: int, trip: Trip) -> int:
        if isinstance(pays, (PaysProduct, PaysExtension)):
            whole_fen = self._of_product(pays, trip)
            before_fen = self._of_product(pays, self.before) if self.before else 0
            if whole_fen is None or before_fen is None:
                return due_fen
            return min(max(whole_fen - before_fen, 0), due_fen)
        return payable_fen(pays, due_fen)

    def _of_product(self, pays: PaysProduct | PaysExtension, trip: Trip) -> int | None:
        base_fares = self.tariff.base_fares
        if isinstance(pays, PaysExtension):
            paid = self.tariff.zones.places(pays.zones)
            fare = base_fares.extension(pays.product or self.product_id, trip, paid)
            return None if isinstance(fare, FareRefusal) else fare
        other = base_fares.full_fare(pays.product, trip)
        if isinstance(other, FareRefusal):
            return None
        return percent_of(other, pays.percent, pays.rounding)

    def _credit_journey(self, total: RunningSum, rule: FareLegJoinRule, journey: Journey) -> None:
        """Take off what the legs before were charged, and what the leg costs more than alone."""
        self.through_fen = max(total.due_fen, journey.charged_fen)
        added_fen = self.through_fen - journey.charged_fen
        if rule.at_most_alone:
            added_fen = min(added_fen, self._alone_fen())
            self.through_fen = journey.charged_fen + added_fen
        self._credit(total, rule, added_fen)

    def _credit(self, total: RunningSum, rule: FareLegJoinRule, added_fen: int) -> None:
        """Leave of what is due what the leg adds to the journey."""
        total.take_from_each(
            rule.id,
            max(total.due_fen - added_fen, 0),
            max(total.companion_fen - added_fen, 0),
            rule.reference,
            None,
        )

    def _alone_fen(self) -> int:
        """What one rider would pay for this leg if it were joined to nothing, before transfers."""
        alone = _Pricing(
            self.leg,
            self.tariff,
            structs.replace(self.state, journey=None, trail=()),
            self.day,
            self.journey_id,
        )
        priced = alone.price()
        return self.through_fen if isinstance(priced, FareRefusal) else alone.fare.through_fen

    def _transfer(self, total: RunningSum, rule: FareTransferRule) -> None:
        if isinstance(rule.pays, PaysDifference):
            by_all = self.tariff.changes_first
            paid_fen = self.follows.chain.paid(by_all=by_all) if self.follows is not None else 0
            due_fen = max(total.due_fen - paid_fen, 0)
        else:
            due_fen = min(payable_fen(rule.pays, total.due_fen), total.due_fen)
        companion_fen = total.companion_fen
        if rule.for_companions:
            companion_fen = min(payable_fen(rule.pays, companion_fen), companion_fen)
        total.take_from_each(
            rule.id,
            total.due_fen - due_fen,
            total.companion_fen - companion_fen,
            rule.reference,
            rule.borne_by,
        )

    def _offers(self, joined_to: UUID | None) -> Offers:
        return Offers(self.leg, self.tariff, self.state, self.day, joined_to)

    def _offered(self, joined_to: UUID | None) -> list[Promotion]:
        """The promotions that the rider may have now, whatever they would take off."""
        offers, campaign_of = self._offers(joined_to), self.tariff.campaign_of
        return [
            rule
            for rule in self.plan.promotions
            if campaign_of.get(rule.id) not in self.leg.without and offers.is_usable(rule)
        ]

    def _promote(self, total: RunningSum, trip: Trip, joined_to: UUID | None) -> None:
        for rule in self._offered(joined_to):
            off_fen = max(total.due_fen - self._pays(rule.pays, total.due_fen, trip), 0)
            if rule.sponsor_pays_max is not None:
                off_fen = min(off_fen, rule.sponsor_pays_max)
            if off_fen == 0:
                continue
            campaign = self.tariff.campaign_of.get(rule.id)
            borne_by = rule.borne_by
            if borne_by and campaign:
                borne_by = sponsor_account(borne_by, campaign)
            total.take(rule.id, off_fen, rule.reference, borne_by)
            self.promotion = rule
            return

    def _fare(self, total: RunningSum, product_id: str, paid_fen: int) -> Fare:
        lines, tariff_id = tuple(total.lines), self.tariff.tariff_id
        quote = quote_of(lines, product_id, tariff_id, is_transfer=self.is_transfer)
        assert quote.rider_fen >= 0
        borne, of_leg = tuple(self.borne.items()), tuple(self.borne_of_leg.items())
        return Fare(quote, paid_fen, self.through_fen, self.full_fen, self.promotion, borne, of_leg)

    def _priced(
        self,
        fare: Fare,
        join: FareLegJoinRule | None,
        journey: Journey | None,
        windows: dict[str, Window],
    ) -> Priced:
        self.fare = fare
        own, is_joined = self.following.plan, join is not None
        past = past_leg(
            self.leg, own, fare, self.tariff.tariff_id, self.journey_id, self.follows,
            is_joined=is_joined,
        )  # fmt: skip
        joinable = None
        if self.leg.missing is None and self.tariff.file.fare_leg_join_rules:
            joinable = journey_with(self.leg, own, self.plan, fare, join, journey)
        uses: dict[str, Uses] = {}
        if fare.promotion is not None:
            offers = self._offers(past.journey_id if join else None)
            uses[fare.promotion.id] = offers.used(fare.promotion, past.journey_id)
        return Priced(fare.quote, past, joinable, windows, uses, is_joined)
