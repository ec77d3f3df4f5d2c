"""A tariff made ready for pricing: what concerns a leg is found by look-up.

The rules that fit legs of the same facts are the same, so they are looked for once and kept as a
`LegPlan`. A `CompiledTariff` is made of a tariff without faults.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from msgspec import Struct

from fare_rules.base_fare import BaseFares, FareRefusal, Trip
from fare_rules.currency import currency_digits
from fare_rules.filters import Filter, compile_filter
from fare_rules.language.discounts import (
    Concession,
    Coupon,
    FareTier,
    FareTransferRule,
    Promotion,
)
from fare_rules.language.journeys import Disruption, FareLegJoinRule
from fare_rules.language.places import SameStopExit
from fare_rules.language.products import (
    DearestCharge,
    FareLegRule,
    FixedCharge,
    IncompleteLegRule,
    Matrix,
    ProductCharge,
    TimeBands,
)
from fare_rules.language.scalars import moment
from fare_rules.language.tariff import Tariff
from fare_rules.legs import Leg, LegFacts
from fare_rules.memories import (
    accumulators,
    counts_apart,
    counts_journeys,
    lookback,
    trailing,
)
from fare_rules.money import Fen
from fare_rules.networks import NetworkRules
from fare_rules.paths import Paths
from fare_rules.plans import LegPlan, purse_terms
from fare_rules.quotes import Fare
from fare_rules.service_day import service_day_of
from fare_rules.states import ChainLeg, PastLeg
from fare_rules.tables import RulePlaces, Tables
from fare_rules.timeframes import Timeframes
from fare_rules.zones import ByZones, Span, ZoneMap

# More kinds of leg, and more fares, than a city has; then they are found anew.
PLANS_MAX = 200_000
FARES_MAX = 200_000
_ALWAYS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))

R = TypeVar("R")


class Campaign(Struct, frozen=True):
    """From when until when a rule acts."""

    begins_at: datetime
    ends_at: datetime

    def holds(self, instant: datetime) -> bool:
        return self.begins_at <= instant < self.ends_at


class CompiledTariff:
    """One tariff in the form in which it prices legs."""

    def __init__(self, tariff: Tariff, tables: Tables, places: RulePlaces) -> None:
        self.file = tariff
        self.tables = tables
        self.name = tariff.tariff
        # Name and day, to be kept with whatever it priced: shenzhen/2018-08-01.
        self.tariff_id = f"{tariff.tariff}/{tariff.effective_from}"
        self.reference = tariff.reference
        self.currency = tariff.currency
        self.currency_digits = currency_digits(tariff.currency)
        self.timezone = ZoneInfo(tariff.timezone)
        self.service_day_starts = time.fromisoformat(tariff.service_day_starts)
        self.effective_from = tariff.effective_from
        self.last_day = date.max  # The day before the next tariff's first; load_book sets it.
        self.late_taps_days = tariff.late_taps_days
        self.places = places
        self.rider_categories = frozenset(each.id for each in tariff.rider_categories)
        self.default_rider_category = next(c.id for c in tariff.rider_categories if c.default)
        self.fare_media = frozenset(each.id for each in tariff.fare_media)
        self.default_fare_media = tariff.fare_media[0].id
        # The earlier tariff whose full fares this one must not exceed; load_book sets it.
        self.never_dearer_than: CompiledTariff | None = None
        # Whether a transfer acts on the fare before a concession does.
        self.changes_first = tariff.order.index("transfers") < tariff.order.index("concessions")

        self.stops = tables.stops
        self.zones = ZoneMap(tariff.zones, tables.stops)
        self.timeframes = Timeframes(
            tariff.timeframes, tariff.holidays, self.timezone, self.service_day_starts
        )
        paths = {name: Paths(links) for name, links in tables.links.items()}
        self.networks = {
            network.id: NetworkRules(
                network,
                paths=paths[network.links] if network.links else None,
                distances=tables.distances[network.distances] if network.distances else {},
                route_stops=tables.route_stops[network.route_stops] if network.route_stops else {},
                zones=self.zones,
                timeframes=self.timeframes,
            )
            for network in tariff.networks
        }
        areas_of = {stop.id: set(stop.areas) for stop in tables.stops}
        for area in tariff.areas:
            for stop_id in area.stops:
                areas_of.setdefault(stop_id, set()).add(area.id)
        self._stops_of = {area.id: frozenset(area.stops) for area in tariff.areas}
        for stop in tables.stops:
            for area_id in stop.areas:
                self._stops_of[area_id] = self._stops_of.get(area_id, frozenset()) | {stop.id}
        self.base_fares = BaseFares(
            {product.id: product for product in tariff.fare_products},
            tables.matrices,
            {stop_id: tuple(sorted(areas)) for stop_id, areas in areas_of.items()},
            self.zones,
            10**self.currency_digits,
        )
        self.products = {product.id: product for product in tariff.fare_products}
        # Whether a full fare depends on the time ridden; load_book asks the earlier tariff, too.
        self.times_rides = any(isinstance(p.pricing, TimeBands) for p in tariff.fare_products)
        self._matrix_stops = frozenset(
            stop
            for product in tariff.fare_products
            if isinstance(product.pricing, Matrix) and product.pricing.by == "stops"
            for pair in tables.matrices[product.pricing.table][product.pricing.column]
            for stop in pair
        )
        self._filters: dict[tuple[str, str], Filter] = {}
        self._plans: dict[tuple[object, ...], LegPlan] = {}
        self._fares_count = 0
        self.cap_limits = {
            cap.id: ByZones(
                (self.zones.span(each.zones), int(each.amount)) for each in cap.by_zones
            )
            for cap in tariff.fare_caps
        }
        dated: list[Promotion | FareLegJoinRule | Disruption] = [
            *tariff.promotions,
            *tariff.fare_leg_join_rules,
            *tariff.disruptions,
        ]
        self.campaigns = {rule.id: self._campaign(rule.begins, rule.ends) for rule in dated}
        self.accumulators = accumulators(tariff)
        # Of these: which keep a memory for each route or each two stops, which trail behind each
        # ride, and of which it must be known what journeys were counted.
        self.counts_apart = counts_apart(tariff)
        self.trailing = trailing(tariff)
        self.counts_journeys = counts_journeys(tariff)
        # The campaign that pays for a promotion; load_book sets it.
        self.campaign_of: dict[str, str] = {}
        self.change_ids = frozenset(rule.id for rule in tariff.fare_transfer_rules)
        # Whether operators share fares; load_book sets it.
        self.shares_fares = False
        self.sponsors = frozenset(each.id for each in tariff.sponsors)
        self.purse_rules = {rule.id: rule for rule in tariff.purses}
        self.coupon_promotions = frozenset(p.id for p in tariff.promotions if p.coupon)
        self.offers: dict[str, tuple[str, ...]] = {}
        for promotion in tariff.promotions:
            if offer := promotion.either_or:
                self.offers[offer] = (*self.offers.get(offer, ()), promotion.id)
        self.lookback = lookback(tariff)
        self.has_holds = any(network.hold_fen for network in self.networks.values())

    def service_day_of(self, instant: datetime) -> date:
        return service_day_of(instant, self.timezone, self.service_day_starts, self.last_day)

    def network(self, name: str) -> NetworkRules | None:
        return self.networks.get(name)

    def facts_of(self, leg: Leg, boarded_at: datetime | None = None) -> LegFacts:
        """Say of a leg what rules may ask; a joined leg boards when its journey began."""
        return LegFacts._make(self._asked_of(leg, boarded_at or leg.boarded_at))

    def plan_of(self, leg: Leg) -> LegPlan:
        asked = self._asked_of(leg, leg.boarded_at)
        return self._plans.get(asked) or self.plan(LegFacts._make(asked))

    def _asked_of(self, leg: Leg, boarded_at: datetime) -> tuple[object, ...]:
        # Equal to the facts, and quicker to make.
        from_frames = to_frames = 0
        if self.file.timeframes:
            from_frames = self.timeframes.at(boarded_at)
            to_frames = self.timeframes.at(leg.last_tap_at)
        return (
            leg.network,
            leg.operator_id,
            leg.route_id,
            leg.carriage_class,
            leg.from_stop,
            leg.to_stop,
            leg.via_stops,
            leg.rider_category,
            leg.fare_media,
            leg.issuer_id,
            from_frames,
            to_frames,
            leg.missing,
            False,
        )

    def plan(self, facts: LegFacts) -> LegPlan:
        found = self._plans.get(facts)
        if found is None:
            if len(self._plans) >= PLANS_MAX:
                self._forget()
            found = self._plans[facts] = self._make_plan(facts)
        return found

    def keep(self, plan: LegPlan, key: tuple[object, ...], fare: Fare) -> None:
        """Remember what legs of one plan come to."""
        if self._fares_count >= FARES_MAX:
            self._forget()
        self._fares_count += 1
        plan.fares[key] = fare

    def _forget(self) -> None:
        self._plans.clear()
        self._fares_count = 0

    def leads_to(self, past: PastLeg | ChainLeg, tariff_id: str) -> frozenset[str]:
        """The joins and transfers that may follow a leg, whichever tariff it was priced by."""
        if past.facts.network not in self.networks:
            return frozenset()
        facts = past.facts
        if tariff_id != self.tariff_id and self.file.timeframes:
            facts = facts._replace(
                from_frames=self.timeframes.at(past.boarded_at),
                to_frames=self.timeframes.at(past.last_tap_at),
            )
        return self.plan(facts).leads_to

    def span_of(
        self,
        network: NetworkRules,
        from_stop: str | None,
        via_stops: tuple[str, ...],
        to_stop: str | None,
    ) -> Span | None:
        """Find the zones that a leg counts as travelled."""
        stops = tuple(stop for stop in (from_stop, *via_stops, to_stop) if stop is not None)
        return self.zones.span_of(network.stops_travelled(stops))

    def counts_payment(self, rule: FareTier) -> bool:
        """Whether what a tier remembers is what it left to pay, and not what it began with."""
        order = self.file.order
        match rule.counts:
            case "paid":
                return True
            case "paid_by_all":
                return rule.borne_by is None
            case "before_caps":
                return order.index("tiers") < order.index("caps")
            case "full_fare":
                return False

    def begins_with(self, rule: FareTransferRule, first: LegFacts) -> bool:
        """Whether a chain that begins with a leg may be continued by a rule."""
        return self._filter("first", rule, rule.first).fits(first, None, None)

    def next_full_hour(self, instant: datetime) -> datetime:
        local = instant.astimezone(self.timezone)
        past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return instant + timedelta(hours=1) - past if past else instant

    def is_excepted(self, rule: FareTransferRule, before: LegFacts, now: LegFacts) -> bool:
        """Whether a transfer rule is not for this change."""
        return any(
            self._filter(f"except {index} from", rule, change.from_).fits(before, None, None)
            and self._filter(f"except {index} to", rule, change.to).fits(now, None, None)
            for index, change in enumerate(rule.except_)
        )

    def same_stop_band(
        self, network: NetworkRules, leg: Leg, stay: timedelta
    ) -> SameStopExit | None:
        """Find what an exit at the stop of entry comes to."""
        if not network.same_stop_exit:
            return None
        plan = self.plan_of(leg)
        facts, span = plan.facts, plan.span
        for index, band in enumerate(network.same_stop_exit):
            fits = self._filter(f"same stop {index}", network, band).fits(facts, None, span)
            if fits and (
                band.up_to_minutes is None or stay <= timedelta(minutes=band.up_to_minutes)
            ):
                return band
        return None

    def coupon_ends_at(self, coupon: Coupon, activated_at: datetime) -> datetime:
        if coupon.counted == "hours":
            return activated_at + timedelta(days=coupon.days)
        after = activated_at.astimezone(self.timezone).date() + timedelta(days=coupon.days)
        if coupon.counted == "calendar_months":
            first = activated_at.astimezone(self.timezone).date().replace(day=1)
            months = first.month - 1 + coupon.days
            after = first.replace(year=first.year + months // 12, month=months % 12 + 1)
        return datetime.combine(after, time(), tzinfo=self.timezone).astimezone(UTC)

    def dearest_fare(self, facts: LegFacts) -> Fen | FareRefusal:
        """Find the dearest full fare between the stop of a leg that is known and any other."""
        network = self.networks[facts.network]
        known = facts.from_stop or facts.to_stop
        stops = network.stops_of_route(facts.route_id) or network.stops
        stops = stops or frozenset(stop.id for stop in self.stops) or self._matrix_stops
        fares: list[Fen] = []
        for stop in sorted(stops):
            whole = facts._replace(
                missing=None,
                from_stop=facts.from_stop or stop,
                to_stop=stop if facts.from_stop else facts.to_stop,
            )
            fare = self.plan(whole).full_fare
            if stop != known and not isinstance(fare, FareRefusal):
                fares.append(fare)
        return max(fares) if fares else FareRefusal.NO_PAIR

    def _make_plan(self, facts: LegFacts) -> LegPlan:
        tariff, network = self.file, self.networks[facts.network]
        span = self.span_of(network, facts.from_stop, facts.via_stops, facts.to_stop)
        rule = self._first("fare_leg_rules", tariff.fare_leg_rules, facts, None, span)
        product = self.products[rule.product] if rule else None
        incomplete = self._incomplete(facts, span)
        if incomplete and isinstance(incomplete.charge, ProductCharge):
            product = self.products[incomplete.charge.product]
        if product and product.through and facts.is_joined:
            product = self.products[product.through]
        product_id = product.id if product else None

        def fitting(section: str, rules: tuple[R, ...]) -> tuple[R, ...]:
            return tuple(self._fitting(section, rules, facts, product_id, span))

        surcharges = fitting("surcharges", tariff.surcharges)
        added_m = sum(one.add_km for one in surcharges if one.add_km is not None)
        full_fare: Fen | FareRefusal = FareRefusal.NO_FARE_RULE
        if product:
            trip = Trip(facts, network, span, added_m=added_m)
            full_fare = self.base_fares.full_fare(product.id, trip)
        tiers = fitting("fare_tiers", tariff.fare_tiers)
        caps = fitting("fare_caps", tariff.fare_caps)
        subsidies = fitting("subsidies", tariff.subsidies)
        return LegPlan(
            facts=facts,
            product=product,
            span=span,
            network=network,
            full_fare=full_fare,
            added_m=added_m,
            incomplete=incomplete,
            surcharges=tuple(one for one in surcharges if one.add_km is None),
            concessions=_one_a_layer(
                rule
                for rule in fitting("concessions", tariff.concessions)
                if not (rule.first_leg and facts.is_joined)
            ),
            joins=_highest_first(
                self._to("fare_leg_join_rules", tariff.fare_leg_join_rules, facts, product_id, span)
            ),
            transfers=_highest_first(
                self._to("fare_transfer_rules", tariff.fare_transfer_rules, facts, product_id, span)
            ),
            tiers=tiers,
            caps=caps,
            promotions=_highest_first(fitting("promotions", tariff.promotions)),
            subsidies=subsidies,
            purses=purse_terms(fitting("purses", tariff.purses), tariff.purse_order),
            leads_to=self._leads_to(facts, product_id, span, incomplete),
            is_counted=bool(tiers or caps or subsidies),
            fares={},
        )

    def _fitting(
        self,
        section: str,
        rules: Iterable[R],
        facts: LegFacts,
        product_id: str | None,
        span: Span | None,
    ) -> Iterable[R]:
        return (
            rule
            for rule in rules
            if self._filter(section, rule, rule).fits(facts, product_id, span)
        )

    def _first(
        self,
        section: str,
        rules: tuple[FareLegRule, ...],
        facts: LegFacts,
        product_id: str | None,
        span: Span | None,
    ) -> FareLegRule | None:
        found = _highest_first(tuple(self._fitting(section, rules, facts, product_id, span)))
        return found[0] if found else None

    def _incomplete(self, facts: LegFacts, span: Span | None) -> IncompleteLegRule | None:
        if facts.missing is None:
            return None
        rules = tuple(
            rule
            for rule in self.file.incomplete_leg_rules
            if rule.missing in ("either", facts.missing)
        )
        fitting = tuple(self._fitting("incomplete_leg_rules", rules, facts, None, span))
        return next(iter(_highest_first(fitting)), None)

    def _to(
        self,
        section: str,
        rules: tuple[Any, ...],
        facts: LegFacts,
        product_id: str | None,
        span: Span | None,
    ) -> tuple[Any, ...]:
        return tuple(
            rule
            for rule in rules
            if self._filter(f"{section} to", rule, rule.to).fits(facts, product_id, span)
        )

    def _leads_to(
        self,
        facts: LegFacts,
        product_id: str | None,
        span: Span | None,
        incomplete: IncompleteLegRule | None,
    ) -> frozenset[str]:
        # A leg never closed has no known end, so nothing can be shown to follow it in time.
        is_ride = incomplete is not None and isinstance(incomplete.charge, ProductCharge)
        if facts.missing == "exit" and not is_ride:
            return frozenset()
        rules: tuple[FareLegJoinRule | FareTransferRule, ...] = (
            *self.file.fare_leg_join_rules,
            *self.file.fare_transfer_rules,
        )
        return frozenset(
            rule.id
            for rule in rules
            if self._filter("from", rule, rule.from_).fits(facts, product_id, span)
        )

    def _filter(self, section: str, rule: Any, conditions: Any) -> Filter:
        key = (section, rule.id)
        found = self._filters.get(key)
        if found is None:
            found = self._filters[key] = compile_filter(
                conditions, stops_of=self._stops_of, zones=self.zones, timeframes=self.timeframes
            )
        return found

    def _campaign(self, begins: str | None, ends: str | None) -> Campaign:
        first, last = _ALWAYS
        return Campaign(
            moment(begins).replace(tzinfo=self.timezone).astimezone(UTC) if begins else first,
            moment(ends).replace(tzinfo=self.timezone).astimezone(UTC) if ends else last,
        )


def incomplete_charge(
    rule: IncompleteLegRule, tariff: CompiledTariff, facts: LegFacts
) -> Fen | FareRefusal:
    """What one rider pays for a leg without an end."""
    match rule.charge:
        case FixedCharge(amount=amount):
            return Fen(amount)
        case DearestCharge():
            return tariff.dearest_fare(facts)
        case ProductCharge():
            return tariff.plan(facts).full_fare


def _one_a_layer(concessions: Iterable[Concession]) -> tuple[Concession, ...]:
    chosen: dict[int, Concession] = {}
    for concession in _highest_first(tuple(concessions)):
        chosen.setdefault(concession.layer, concession)
    return tuple(chosen[layer] for layer in sorted(chosen))


def _highest_first(rules: tuple[R, ...]) -> tuple[R, ...]:
    return tuple(sorted(rules, key=lambda rule: -rule.priority))  # type: ignore[attr-defined]
