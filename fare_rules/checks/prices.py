"""Legs that would have no price: networks without rules, missing terms, holes in tables."""

from collections.abc import Iterator
from itertools import combinations_with_replacement, permutations
from typing import Any

from fare_rules.base_fare import FareRefusal
from fare_rules.checks.finding import Finding
from fare_rules.checks.names import known_stops, stops_in_tables
from fare_rules.checks.overlaps import City, city_of, filters_overlap
from fare_rules.compiled import CompiledTariff
from fare_rules.faults import FaultCode
from fare_rules.language.conditions import LegConditions
from fare_rules.language.discounts import PaysLess
from fare_rules.language.places import Network
from fare_rules.language.products import (
    BestOf,
    DearestCharge,
    DistanceBands,
    FareLegRule,
    FareProduct,
    Flat,
    Formula,
    GateNames,
    Matrix,
    PerKm,
    ProductCharge,
    StopBands,
    TimeBands,
    ZoneCount,
    ZoneFares,
)
from fare_rules.language.tariff import Tariff
from fare_rules.legs import LegFacts
from fare_rules.source import Place
from fare_rules.tables import Tables

_STOPS_COMPARED_MAX = 60
# Conditions that can share all legs out among rules, as each has all its values in the file.
_SHARED_OUT = ("rider_categories", "fare_media", "carriage_classes")
_BY_PLACE = (
    "routes",
    "from_stops",
    "to_stops",
    "between_stops",
    "from_areas",
    "to_areas",
    "via_stops",
    "within_zones",
)


def networks_without_rule(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Each network has a rule for its legs."""
    for index, network in enumerate(tariff.networks):
        if not any(_is_for(rule, network) for rule in tariff.fare_leg_rules):
            message = f"No fare_leg_rule prices the legs of '{network.id}'"
            remedy = "Add one, or take the network out"
            yield Finding(("networks", index, "id"), FaultCode.NO_FARE_LEG_RULE, message, remedy)


def exit_terms(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Where riders tap out, it is said what becomes of a tap that is missing or late."""
    for index, network in enumerate(tariff.networks):
        if network.taps == "board":
            continue
        place = ("networks", index)
        if network.journey_time is None:
            message = f"Riders tap out of '{network.id}', but journey_time is not said"
            remedy = "Add it: without it, no leg is ever given up"
            yield Finding(place, FaultCode.NO_EXIT_TERMS, message, remedy)
        for end in ("entry", "exit"):
            if not _is_complete(tariff, network, end):
                message = f"No incomplete_leg_rule is for every leg of '{network.id}' without {end}"
                remedy = "Add one: taps go missing wherever there are two"
                yield Finding(place, FaultCode.NO_EXIT_TERMS, message, remedy)


def _is_complete(tariff: Tariff, network: Network, end: str) -> bool:
    rules = [
        rule
        for rule in tariff.incomplete_leg_rules
        if rule.missing in ("either", end) and _is_for(rule, network)
    ]
    if any(_conditions(rule) <= {"networks"} for rule in rules):
        return True
    for key in _SHARED_OUT:
        named = [getattr(rule, key) for rule in rules if _conditions(rule) <= {"networks", key}]
        if {each.id for each in getattr(tariff, key)} <= {name for one in named for name in one}:
            return True
    return False


def _conditions(rule: LegConditions) -> set[str]:
    return {key for key in LegConditions.__struct_fields__ if getattr(rule, key)}


def _is_for(rule: LegConditions, network: Network) -> bool:
    return not rule.networks or network.id in rule.networks


def products_in_a_circle(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """No product's fare is found by way of itself."""
    products = {product.id: product for product in tariff.fare_products}
    for index, product in enumerate(tariff.fare_products):
        if product.id in _reached(product, products):
            message = f"The fare of '{product.id}' is found by way of itself"
            remedy = "Name a product that has a fare of its own"
            place = ("fare_products", index, "pricing")
            yield Finding(place, FaultCode.PRODUCTS_IN_A_CIRCLE, message, remedy)


def through_in_a_circle(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """No product leads back to itself by way of `through`."""
    through = {product.id: product.through for product in tariff.fare_products}
    for index, product in enumerate(tariff.fare_products):
        reached, name = set[str](), product.through
        while name is not None and name not in reached:
            reached.add(name)
            name = through.get(name)
        if product.id in reached:
            message = f"'{product.id}' is priced through itself"
            remedy = "Name a product for joined legs only, or take through out"
            place = ("fare_products", index, "through")
            yield Finding(place, FaultCode.PRODUCTS_IN_A_CIRCLE, message, remedy)


def _reached(product: FareProduct, products: dict[str, FareProduct]) -> set[str]:
    """The products by whose fares that of one is found."""
    reached, waiting = set[str](), list(_needed(product.pricing))
    while waiting:
        name = waiting.pop()
        if name not in reached and name in products:
            reached.add(name)
            waiting += _needed(products[name].pricing)
    return reached


def _goes_by_time(product: FareProduct, products: dict[str, FareProduct]) -> bool:
    found = (product, *(products[name] for name in _reached(product, products)))
    return any(isinstance(each.pricing, TimeBands) for each in found)


def _needed(pricing: Any) -> tuple[str, ...]:
    match pricing:
        case Formula():
            return (pricing.of_product,)
        case BestOf():
            return pricing.of_products
        case _:
            return ()


def dearest_charges(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """A dearest fare can be found: the stops are known, and what a ride between them costs."""
    for index, rule in enumerate(tariff.incomplete_leg_rules):
        if not isinstance(rule.charge, DearestCharge):
            continue
        for network in tariff.networks:
            if network.taps == "board" or not _is_for(rule, network):
                continue
            why = _why_not_dearest(tariff, tables, network)
            if why:
                message = f"No fare of '{network.id}' can be the dearest: {why}"
                remedy = "Add what is lacking, or write charge: {kind: amount, amount: ...}"
                place = ("incomplete_leg_rules", index, "charge")
                yield Finding(place, FaultCode.PRICE_MISSING, message, remedy)


def _why_not_dearest(tariff: Tariff, tables: Tables, network: Network) -> str | None:
    # A table of fares tells stops, too.
    if not (stops_in_tables(tables, network) or tables.stops or _names_stops(tariff)):
        return "its stops are not known"
    products = {product.id: product.pricing for product in tariff.fare_products}
    sold = [rule.product for rule in tariff.fare_leg_rules if _is_for(rule, network)]
    pricings = [products[name] for name in sold if name in products]
    if pricings and all(isinstance(pricing, GateNames) for pricing in pricings):
        return "only the gate names its fares"
    if pricings and all(isinstance(pricing, TimeBands) for pricing in pricings):
        return "how long a ride takes has no end"
    by_distance = (DistanceBands, PerKm, StopBands)
    has_distances = network.links or network.distances or network.route_stops
    if pricings and all(isinstance(p, by_distance) for p in pricings) and not has_distances:
        return "its distances are not known"
    return None


def _names_stops(tariff: Tariff) -> bool:
    pricings = [product.pricing for product in tariff.fare_products]
    return any(isinstance(pricing, Matrix) and pricing.by == "stops" for pricing in pricings)


def charged_products(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """A product that is charged for an incomplete leg has a fare with one stop known."""
    products = {product.id: product for product in tariff.fare_products}
    for index, rule in enumerate(tariff.incomplete_leg_rules):
        if isinstance(rule.charge, ProductCharge) and rule.charge.product in products:
            name = rule.charge.product
            by_time = _goes_by_time(products[name], products)
            if by_time or _needs_both_stops(name, products):
                what = "tap" if by_time else "stop"
                message = f"'{name}' has no fare where only one {what} is known"
                remedy = "Name a product with a flat fare, or write kind: amount or dearest"
                place = ("incomplete_leg_rules", index, "charge", "product")
                yield Finding(place, FaultCode.PRICE_MISSING, message, remedy)


def _needs_both_stops(name: str, products: dict[str, FareProduct]) -> bool:
    seen = set[str]()
    while isinstance(formula := products[name].pricing, Formula) and name not in seen:
        seen.add(name)
        name = formula.of_product
    by_both = isinstance(products[name].pricing, (DistanceBands, PerKm, StopBands, Matrix))
    return by_both and not products[name].gate_may_name_fare


def times_of_habits(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """A tap that is taken from habit does not say when it was."""
    products = {product.id: product for product in tariff.fare_products}
    for index, network in enumerate(tariff.networks):
        sold = [rule.product for rule in tariff.fare_leg_rules if _is_for(rule, network)]
        timed = [name for name in sold if _goes_by_time(products[name], products)]
        if network.completion is not None and timed:
            message = f"'{timed[0]}' goes by the time ridden, which no habit tells"
            remedy = "Take completion out, or sell a product by place"
            place = ("networks", index, "completion")
            yield Finding(place, FaultCode.PRICE_MISSING, message, remedy)


def nothing_to_count(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Where fares go by zones or by stops, the tables tell them."""
    has_zones = any(stop.zones for stop in tables.stops)
    for index, product in enumerate(tariff.fare_products):
        sold = [rule for rule in tariff.fare_leg_rules if rule.product == product.id]
        networks = [n for n in tariff.networks if any(_is_for(rule, n) for rule in sold)]
        has_routes = any(network.links or network.route_stops for network in networks)
        if not sold or product.gate_may_name_fare:
            continue
        if isinstance(product.pricing, (ZoneFares, ZoneCount)) and not has_zones:
            message, remedy = "No stop has a zone", "Write zones at the stops"
        elif isinstance(product.pricing, StopBands) and not has_routes:
            message = "None of its networks tells how many stops are ridden"
            remedy = "Add route_stops or links to the network"
        else:
            continue
        place = ("fare_products", index, "pricing")
        yield Finding(place, FaultCode.PRICE_MISSING, message, remedy)


def zones_without_fare(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Every run of zones that a leg can have is within one that has a fare."""
    city = city_of(tariff, tables)
    used = {str(zone) for stop in tables.stops for zone in stop.zones} or set(city.zones)
    for index, product in enumerate(tariff.fare_products):
        pricing = product.pricing
        if not isinstance(pricing, ZoneFares):
            continue
        priced = [city.run(fare.zones) for fare in pricing.fares]
        for low, high in _runs_sold(tariff, product.id, city, used):
            if not any(start <= low and high <= end for start, end in priced):
                ends = city.zones[low], city.zones[high]
                message = f"No run of zones with a fare holds {'-'.join(dict.fromkeys(ends))}"
                remedy = "Add the fare, or limit the fare_leg_rule by within_zones"
                place = ("fare_products", index, "pricing", "fares")
                yield Finding(place, FaultCode.PRICE_MISSING, message, remedy)
                break


def _runs_sold(
    tariff: Tariff, product_id: str, city: City, used: set[str]
) -> Iterator[tuple[int, int]]:
    for rule in _undisputed_rules(tariff, product_id, city):
        if any(getattr(rule, key) for key in _BY_PLACE if key != "within_zones"):
            continue
        first, last = city.run(rule.within_zones) if rule.within_zones else (0, len(city.zones) - 1)
        places = [at for at in range(first, last + 1) if city.zones[at] in used]
        yield from combinations_with_replacement(places, 2)


def pairs_without_fare(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Every two places that a leg can lead between have a fare in the table."""
    city = city_of(tariff, tables)
    for index, product in enumerate(tariff.fare_products):
        pricing = product.pricing
        if not isinstance(pricing, Matrix) or product.gate_may_name_fare:
            continue
        fares = tables.matrices[pricing.table][pricing.column]
        if not fares:
            continue  # The table itself is at fault.
        for rule in _undisputed_rules(tariff, product.id, city):
            if any(getattr(rule, key) for key in _BY_PLACE):
                continue
            places = _places(tariff, tables, pricing, rule)
            apart = _never_ridden(tariff, tables, pricing, rule)
            missing = [
                pair
                for pair in permutations(sorted(places), 2)
                if pair not in fares
                and not (pricing.both_ways and pair[::-1] in fares)
                and pair not in apart
            ]
            if missing:
                one, other = missing[0]
                more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
                message = f"{pricing.table} lacks the fare from '{one}' to '{other}'{more}"
                place = ("fare_products", index, "pricing", "table")
                remedy = "Add the rows, or a fare_leg_rule of higher priority for those legs"
                yield Finding(place, FaultCode.PRICE_MISSING, message, remedy)
                break


def _never_ridden(
    tariff: Tariff, tables: Tables, pricing: Matrix, rule: FareLegRule
) -> set[tuple[str, str]]:
    """Pairs of stops that no route of the networks serves both of."""
    networks = [network for network in tariff.networks if _is_for(rule, network)]
    has_routes = all(n.route_stops and not n.links and not n.distances for n in networks)
    if pricing.by != "stops" or not has_routes:
        return set()
    routes = [
        set(stops)
        for network in networks
        for stops in tables.route_stops.get(network.route_stops or "", {}).values()
    ]
    stops = sorted(set[str]().union(*routes))
    return {
        pair
        for pair in permutations(stops, 2)
        if not any(route.issuperset(pair) for route in routes)
    }


def ends_without_fare(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """Between any two kinds of stop there is a fare, whichever rules share the legs out."""
    compiled = CompiledTariff(tariff, tables, {})
    # Stops of the same zones and areas are priced alike; two of each make pairs of them, too.
    alike: dict[tuple[object, ...], list[str]] = {}
    for stop in tables.stops:
        alike.setdefault((stop.zones, stop.areas), []).append(stop.id)
    stops = sorted(stop for kind in alike.values() for stop in kind[:2])[:_STOPS_COMPARED_MAX]
    for index, product in enumerate(tariff.fare_products):
        if not isinstance(product.pricing, (ZoneFares, Matrix)) or product.gate_may_name_fare:
            continue
        holes: list[str] = []
        for network in tariff.networks:
            if network.taps == "board" or stops_in_tables(tables, network):
                continue
            for pair in permutations(stops, 2):
                plan = compiled.plan(_plain_facts(compiled, network.id, pair))
                is_its = plan.product is not None and plan.product.id == product.id
                is_hole = plan.full_fare is FareRefusal.NO_PAIR or (
                    plan.full_fare is FareRefusal.NO_ZONE and _is_on_no_other(compiled, pair)
                )
                if is_its and is_hole:
                    holes.append(f"from '{pair[0]}' to '{pair[1]}'")
        if holes:
            more = f" and {len(holes) - 1} more" if len(holes) > 1 else ""
            message = f"There is no fare {holes[0]}{more}"
            remedy = "Add it, or say the zones of the stops"
            place = ("fare_products", index, "pricing")
            yield Finding(place, FaultCode.PRICE_MISSING, message, remedy)


def _is_on_no_other(tariff: CompiledTariff, ends: tuple[str, str]) -> bool:
    """Whether no network at all has a fare without zones between two stops."""
    plans = [tariff.plan(_plain_facts(tariff, name, ends)) for name in tariff.networks]
    return all(plan.full_fare is FareRefusal.NO_ZONE for plan in plans)


def _plain_facts(tariff: CompiledTariff, network: str, ends: tuple[str, str]) -> LegFacts:
    return LegFacts(
        network=network,
        operator_id="",
        route_id=None,
        carriage_class=tariff.file.carriage_classes[0].id,
        from_stop=ends[0],
        to_stop=ends[1],
        via_stops=(),
        rider_category=tariff.default_rider_category,
        fare_media=tariff.default_fare_media,
        issuer_id=None,
        from_frames=0,
        to_frames=0,
        missing=None,
    )


def _places(tariff: Tariff, tables: Tables, pricing: Matrix, rule: FareLegRule) -> set[str]:
    if pricing.by == "zones":
        return {str(zone) for stop in tables.stops for zone in stop.zones} or set(
            map(str, tariff.zones)
        )
    if pricing.by == "areas":
        return {area.id for area in tariff.areas}
    networks = [network for network in tariff.networks if _is_for(rule, network)]
    found = {stop for network in networks for stop in stops_in_tables(tables, network)}
    if not found and len(tariff.networks) == 1:
        found = {stop.id for stop in tables.stops}
    return found


def names_in_tables(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """A table of fares is for places that there are."""
    zones = set(map(str, tariff.zones))
    areas = {area.id for area in tariff.areas} | {a for stop in tables.stops for a in stop.areas}
    for index, product in enumerate(tariff.fare_products):
        pricing = product.pricing
        if not isinstance(pricing, Matrix):
            continue
        known = {"zones": zones, "areas": areas, "stops": _listed_stops(tariff, tables)}[pricing.by]
        pairs = tables.matrices[pricing.table][pricing.column]
        for name in sorted({name for pair in pairs for name in pair} - (known or set())):
            if known is not None:
                message = f"'{name}' in {pricing.table} is not among the {pricing.by}"
                place = ("fare_products", index, "pricing", "table")
                remedy = f"Name {pricing.by} of this tariff in the table"
                yield Finding(place, FaultCode.UNKNOWN_NAME, message, remedy)


def _listed_stops(tariff: Tariff, tables: Tables) -> set[str] | None:
    if not tables.stops:
        return None
    return known_stops(tariff, tables, (), with_matrices=False)


def more_than_any_fare(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """What is taken off is not more than every fare, where all fares are flat."""
    if tariff.surcharges:
        return  # What they add is not known before the ride.
    flat = {product.id: _flat_fare(product) for product in tariff.fare_products}
    for section in ("concessions", "fare_transfer_rules", "promotions"):
        for index, rule in enumerate(getattr(tariff, section)):
            if not isinstance(rule.pays, PaysLess):
                continue
            products = getattr(rule, "to", rule).products or tuple(flat)
            fares = [flat[name] for name in products]
            known = [fare for fare in fares if fare is not None]
            if len(known) == len(fares) and rule.pays.amount > max(known):
                message = "More is taken off than any of these legs costs"
                place: Place = (section, index, "pays", "amount")
                yield Finding(place, FaultCode.OVER_THE_FARE, message, "Write kind: free")
    fares = list(flat.values())
    known = [fare for fare in fares if fare is not None]
    for index, join in enumerate(tariff.fare_leg_join_rules):
        if len(known) == len(fares) and join.less > max(known):
            message = "More is taken off for a change than any leg costs"
            place = ("fare_leg_join_rules", index, "less")
            yield Finding(place, FaultCode.OVER_THE_FARE, message, "Write less")


def _flat_fare(product: FareProduct) -> int | None:
    if product.gate_may_name_fare or not isinstance(product.pricing, Flat):
        return None
    return product.pricing.amount


def _undisputed_rules(tariff: Tariff, product_id: str, city: City) -> list[FareLegRule]:
    """Find the rules for a product whose legs no rule of higher priority takes from them."""
    return [
        rule
        for rule in tariff.fare_leg_rules
        if rule.product == product_id
        and not any(
            other.priority > rule.priority and filters_overlap(other, rule, city)
            for other in tariff.fare_leg_rules
        )
    ]


CHECKS = (
    networks_without_rule,
    exit_terms,
    products_in_a_circle,
    through_in_a_circle,
    dearest_charges,
)
LOOK_UPS = (
    charged_products,
    times_of_habits,
    names_in_tables,
    nothing_to_count,
    zones_without_fare,
    pairs_without_fare,
    more_than_any_fare,
)
