"""What a feed offers for each leg: its leg rules, with all that their empty columns stand for.

Where a feed offers several products for one leg, the cheapest that a rider can buy is charged: this
gateway sells single rides.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import product

from msgspec import Struct

from fare_rules.gtfs.feed import UnusableFeed, networks_of
from fare_rules.gtfs.files import Feed, LegRule
from fare_rules.gtfs.hours import Hours
from fare_rules.gtfs.riders import Prices, Riders
from fare_rules.gtfs.stops import Places

NETWORK_OF_OTHERS = "other_routes"


class Offer(Struct):
    """A leg rule of the feed with all that an empty column of it stands for."""

    rule: LegRule
    networks: tuple[str, ...]
    from_areas: tuple[str, ...]
    to_areas: tuple[str, ...]
    prices: Prices
    level: int = 0

    def ends(self) -> tuple[tuple[str, ...], tuple[str, ...], str, str]:
        """Say where and when its legs begin and end."""
        frames = (self.rule.from_timeframe_group_id, self.rule.to_timeframe_group_id)
        return (self.from_areas, self.to_areas, *frames)

    def conditions(self) -> tuple[object, ...]:
        return (self.networks, *self.ends(), self.rule.rule_priority)

    @property
    def rank(self) -> tuple[int, int]:
        """Of the offers that fit a leg, the one with the highest acts."""
        return self.rule.rule_priority, self.level

    def is_within_networks_of(self, other: "Offer") -> bool:
        return not other.networks or (
            bool(self.networks) and set(self.networks) <= set(other.networks)
        )


def read_offers(
    feed: Feed, riders: Riders, places: Places, hours: Hours, remarks: list[str]
) -> tuple[list[Offer], dict[str, str]]:
    """List the offers of a feed, each for the riders that take it, and name the networks.

    Raises: UnusableFeed when there are none.
    """
    networks = networks_of(feed)
    in_network = {each.route_id for each in feed.route_networks}
    in_network |= {route.route_id for route in feed.routes if route.network_id}
    others = [route for route in feed.routes if route.route_id not in in_network]
    if others or not networks:
        networks[NETWORK_OF_OTHERS] = "Routes of no network" if networks else "All routes"
    offers = [
        offer
        for offer in (_offer(rule, feed, riders, places, networks) for rule in feed.fare_leg_rules)
        if _can_be(offer, remarks)
    ]
    _keep_cheapest(offers, riders, remarks)
    offers = [offer for offer in offers if offer.prices]
    if not offers:
        raise UnusableFeed(["fare_leg_rules.txt:1: No rule has a leg and a price"])
    if all(offer.networks for offer in offers):
        ridden = {network for offer in offers for network in offer.networks}
        for network in sorted(set(networks) - ridden):
            del networks[network]
            remarks.append(f"fare_leg_rules.txt:1: No rule is for network '{network}'; left out")
    offers = _parted(offers, places, hours)
    _set_levels(offers, places, hours, remarks)
    _drop_shadowed(offers, remarks)
    return [offer for offer in offers if offer.prices], networks


def _offer(
    rule: LegRule, feed: Feed, riders: Riders, places: Places, networks: dict[str, str]
) -> Offer:
    """Say what the empty columns of a rule stand for.

    Source: fare_leg_rules.rule_priority. Where the file has it, empty is any; where not, empty is
    all that no rule of the file names.
    """
    in_networks: tuple[str, ...] = (rule.network_id,) if rule.network_id else ()
    areas: dict[str, tuple[str, ...]] = {
        "from": (rule.from_area_id,),
        "to": (rule.to_area_id,),
    }
    for end, (area_id,) in areas.items():
        if area_id:
            continue
        areas[end] = ()
        listed = {getattr(each, f"{end}_area_id") for each in feed.fare_leg_rules} - {""}
        if listed and not feed.has_priorities:
            areas[end] = (places.area_of_all_but(listed),)
    if not rule.network_id and not feed.has_priorities:
        listed = {each.network_id for each in feed.fare_leg_rules} - {""}
        if listed:
            in_networks = tuple(each for each in networks if each not in listed) or ("",)
    return Offer(
        rule, in_networks, areas["from"], areas["to"], dict(riders.prices[rule.fare_product_id])
    )


def _drop_shadowed(offers: list[Offer], remarks: list[str]) -> None:
    """Take from an offer the riders who always take another that goes before it."""
    alike: dict[tuple[object, ...], list[Offer]] = defaultdict(list)
    for offer in offers:
        alike[offer.ends()].append(offer)
    for offer in sorted(offers, key=lambda offer: offer.rank):
        start, end, *hours = offer.ends()
        for key in product({start, ()}, {end, ()}, *({hour, ""} for hour in hours)):
            for other in alike.get(key, ()):
                if other.rank > offer.rank and offer.is_within_networks_of(other):
                    for combo in offer.prices.keys() & other.prices.keys():
                        del offer.prices[combo]
        if not offer.prices:
            remarks.append(
                f"fare_leg_rules.txt:{offer.rule.row}: It never acts, since wider rules go before "
                "it; left out"
            )


def _can_be(offer: Offer, remarks: list[str]) -> bool:
    if offer.networks == ("",):
        place = f"fare_leg_rules.txt:{offer.rule.row}"
        remarks.append(f"{place}: It is for no leg, since other rules name every network")
        return False
    return True


def _keep_cheapest(offers: list[Offer], riders: Riders, remarks: list[str]) -> None:
    """Of the products offered for the same legs, leave each rider the cheapest that it can buy."""
    alike: dict[tuple[object, ...], list[Offer]] = defaultdict(list)
    for offer in offers:
        alike[offer.conditions()].append(offer)
    for same in alike.values():
        for category, media in product(riders.categories, riders.media):
            if not any((category.id, media.id) in offer.prices for offer in same):
                remarks.append(
                    f"fare_leg_rules.txt:{same[0].rule.row}: No price for rider '{category.id}' "
                    f"with media '{media.id}'"
                )
        for combo in sorted({combo for offer in same for combo in offer.prices}):
            sellers = [offer for offer in same if combo in offer.prices]
            best = min(sellers, key=lambda offer: (offer.prices[combo], offer.rule.row))
            for offer in sellers:
                if offer is not best:
                    del offer.prices[combo]
        for offer in same:
            if not offer.prices:
                remarks.append(
                    f"fare_leg_rules.txt:{offer.rule.row}: '{offer.rule.fare_product_id}' is not "
                    "sold; another product for the same legs is cheaper or the same"
                )


def _set_levels(offers: list[Offer], places: Places, hours: Hours, remarks: list[str]) -> None:
    """Let the cheaper of two rules that fit a leg alike act, by a higher level."""
    dearest_first = sorted(offers, key=lambda offer: (-max(offer.prices.values()), -offer.rule.row))
    for offer, other in _meeting(dearest_first, places, hours):
        offer.level = max(offer.level, other.level + 1)
    for row in sorted({offer.rule.row for offer in offers if offer.level}):
        remarks.append(
            f"fare_leg_rules.txt:{row}: It fits legs that a dearer rule of the same priority fits, "
            "too; the cheaper is charged"
        )


def _parted(offers: list[Offer], places: Places, hours: Hours) -> list[Offer]:
    """Part the offers that share legs by their prices: which is cheaper may depend on the rider."""
    sharing = {id(offer) for pair in _meeting(offers, places, hours) for offer in pair}
    parted: list[Offer] = []
    for offer in offers:
        if id(offer) not in sharing:
            parted.append(offer)
            continue
        parts: dict[int, Prices] = defaultdict(dict)
        for combo, price in offer.prices.items():
            parts[price][combo] = price
        parted += [
            Offer(offer.rule, offer.networks, offer.from_areas, offer.to_areas, prices)
            for prices in parts.values()
        ]
    return parted


def share_networks(one: Offer, other: Offer) -> bool:
    """Say whether two offers may be for one network."""
    return (
        not one.networks or not other.networks or not set(one.networks).isdisjoint(other.networks)
    )


def _meeting(offers: list[Offer], places: Places, hours: Hours) -> Iterator[tuple[Offer, Offer]]:
    """List each offer with those before it of the same priority that may share a leg with it."""

    def stops(areas: tuple[str, ...]) -> frozenset[str] | None:
        return frozenset[str]().union(*map(places.stops_of, areas)) if areas else None

    def meet(one: frozenset[str] | None, other: frozenset[str] | None) -> bool:
        return one is None or other is None or not one.isdisjoint(other)

    def meet_in_time(one: str, other: str) -> bool:
        return not (one and other) or bool(hours.minutes[one] & hours.minutes[other])

    ends = {areas: stops(areas) for offer in offers for areas in (offer.from_areas, offer.to_areas)}
    meeting = {one: sorted(other for other in ends if meet(ends[one], ends[other])) for one in ends}
    placed: dict[tuple[int, tuple[str, ...], tuple[str, ...]], list[Offer]] = defaultdict(list)
    for offer in offers:
        rule = offer.rule
        for pair in product(meeting[offer.from_areas], meeting[offer.to_areas]):
            for other in placed.get((rule.rule_priority, *pair), ()):
                if (
                    share_networks(offer, other)
                    and not offer.prices.keys().isdisjoint(other.prices)
                    and meet_in_time(
                        rule.from_timeframe_group_id, other.rule.from_timeframe_group_id
                    )
                    and meet_in_time(rule.to_timeframe_group_id, other.rule.to_timeframe_group_id)
                ):
                    yield offer, other
        placed[rule.rule_priority, offer.from_areas, offer.to_areas].append(offer)
