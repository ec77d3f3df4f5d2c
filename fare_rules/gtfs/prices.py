"""What a feed's legs cost: products and leg rules, so that each rider and media pays its price.

In GTFS a product has a price for each kind of rider and media; here each price that some of them
pay is a product, and the leg rules say who needs which. Where a feed offers several products for
one leg, the cheapest that a rider can buy is charged: this gateway sells single rides.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator
from itertools import count, product

from msgspec import Struct

from fare_rules.currency import currency_digits
from fare_rules.gtfs.feed import ID_LENGTH_MAX, UnusableFeed, networks_of
from fare_rules.gtfs.files import Feed, LegRule
from fare_rules.gtfs.hours import Hours
from fare_rules.gtfs.stops import Places
from fare_rules.language.conditions import Named
from fare_rules.language.products import FareLegRule, FareProduct, Flat
from fare_rules.language.scalars import Money
from fare_rules.language.tariff import RiderCategory

# A kind of rider, and of media.
Combo = tuple[str, str]
Prices = dict[Combo, int]
NETWORK_OF_OTHERS = "other_routes"
ANY_MEDIA = "any_media"
OTHER_MEDIA = "other_media"


class Riders(Struct, frozen=True):
    """Kinds of rider and of media, and what each product of the feed costs each."""

    categories: tuple[RiderCategory, ...]
    media: tuple[Named, ...]
    prices: dict[str, Prices]

    def conditions(
        self, combos: Iterable[Combo]
    ) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Say who these are in as few pairs of lists as need be; an empty list is all."""
        media_of: dict[str, set[str]] = defaultdict(set)
        for category, media in combos:
            media_of[category].add(media)
        alike: dict[frozenset[str], list[str]] = defaultdict(list)
        for each in self.categories:
            if each.id in media_of:
                alike[frozenset(media_of[each.id])].append(each.id)
        return [
            (
                () if len(categories) == len(self.categories) else tuple(categories),
                ()
                if len(media_set) == len(self.media)
                else tuple(each.id for each in self.media if each.id in media_set),
            )
            for media_set, categories in alike.items()
        ]


class Sold(Struct, frozen=True):
    """Products and leg rules of ours, and what the rest of the tariff has to know of them."""

    products: tuple[FareProduct, ...]
    leg_rules: tuple[FareLegRule, ...]
    # Products of each leg group, with what they cost and who buys them.
    groups: dict[str, dict[str, tuple[int, frozenset[Combo]]]]
    networks: dict[str, str]
    # Networks in which the place or the time of the exit decides the fare.
    needs_exit: frozenset[str]


class _Offer(Struct):
    """A leg rule of the feed with all that an empty column of it stands for."""

    rule: LegRule
    networks: tuple[str, ...]
    from_areas: tuple[str, ...]
    to_areas: tuple[str, ...]
    prices: Prices
    level: int = 0

    def conditions(self) -> tuple[object, ...]:
        rule = self.rule
        frames = (rule.from_timeframe_group_id, rule.to_timeframe_group_id)
        return (self.networks, self.from_areas, self.to_areas, *frames, rule.rule_priority)


def read_riders(feed: Feed, remarks: list[str]) -> Riders:
    """Read who pays, and with what.

    A price without a kind of rider or media is for all that have none of their own; where there
    are media, it is also for riders with some other one.
    """
    categories = tuple(
        RiderCategory(
            id=each.rider_category_id,
            name=each.rider_category_name,
            default=bool(each.is_default_fare_category),
        )
        for each in feed.rider_categories
    ) or (RiderCategory(id="rider", name="Any rider", default=True),)
    if not any(each.default for each in categories):
        first = categories[0]
        categories = (RiderCategory(id=first.id, name=first.name, default=True), *categories[1:])
        remarks.append(f"rider_categories.txt:1: None is the default; '{first.id}' is taken")
    media = tuple(Named(id=m.fare_media_id, name=m.fare_media_name) for m in feed.fare_media)
    if not media:
        media = (Named(id=ANY_MEDIA, name="Any media"),)
    elif any(not row.fare_media_id for row in feed.fare_products):
        media = (*media, Named(id=OTHER_MEDIA, name="Any other media"))
    said: dict[str, dict[Combo, int]] = defaultdict(dict)
    digits = _digits(feed)
    for row in feed.fare_products:
        combo = (row.rider_category_id, row.fare_media_id)
        said[row.fare_product_id][combo] = int(row.amount.scaleb(digits))
    prices = {
        product_id: {
            (category.id, each.id): price
            for category in categories
            for each in media
            if (price := _price(rows, category.id, each.id)) is not None
        }
        for product_id, rows in said.items()
    }
    return Riders(categories, media, prices)


def _digits(feed: Feed) -> int:
    return currency_digits(feed.fare_products[0].currency)


def _price(rows: dict[Combo, int], category: str, media: str) -> int | None:
    if (category, media) in rows:
        return rows[category, media]
    partly = [rows[key] for key in ((category, ""), ("", media)) if key in rows]
    return min(partly) if partly else rows.get(("", ""))


def read_prices(
    feed: Feed, riders: Riders, places: Places, hours: Hours, remarks: list[str]
) -> Sold:
    """Make products and leg rules that give each leg, rider and media the feed's price."""
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
    _set_levels(offers, places, hours, remarks)
    return _sold(feed, riders, offers, networks)


def _offer(
    rule: LegRule, feed: Feed, riders: Riders, places: Places, networks: dict[str, str]
) -> _Offer:
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
    return _Offer(
        rule, in_networks, areas["from"], areas["to"], dict(riders.prices[rule.fare_product_id])
    )


def _can_be(offer: _Offer, remarks: list[str]) -> bool:
    if offer.networks == ("",):
        place = f"fare_leg_rules.txt:{offer.rule.row}"
        remarks.append(f"{place}: It is for no leg, since other rules name every network")
        return False
    return True


def _keep_cheapest(offers: list[_Offer], riders: Riders, remarks: list[str]) -> None:
    """Of the products offered for the same legs, leave each rider the cheapest that it can buy."""
    alike: dict[tuple[object, ...], list[_Offer]] = defaultdict(list)
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


def _set_levels(
    offers: list[_Offer], places: Places, hours: Hours, remarks: list[str]
) -> None:
    """Let the cheaper of two rules that fit a leg alike act, by a higher level."""
    def stops(areas: tuple[str, ...]) -> frozenset[str] | None:
        return frozenset[str]().union(*map(places.stops_of, areas)) if areas else None

    def meet(one: frozenset[str] | None, other: frozenset[str] | None) -> bool:
        return one is None or other is None or not one.isdisjoint(other)

    def meet_in_time(one: str, other: str) -> bool:
        return not (one and other) or bool(hours.minutes[one] & hours.minutes[other])

    ends = {areas: stops(areas) for offer in offers for areas in (offer.from_areas, offer.to_areas)}
    meeting = {one: {other for other in ends if meet(ends[one], ends[other])} for one in ends}
    placed: dict[tuple[int, tuple[str, ...], tuple[str, ...]], list[_Offer]] = defaultdict(list)
    dearest_first = sorted(offers, key=lambda offer: (-max(offer.prices.values()), -offer.rule.row))
    for offer in dearest_first:
        rule = offer.rule
        for from_areas in sorted(meeting[offer.from_areas]):
            for to_areas in sorted(meeting[offer.to_areas]):
                for other in placed.get((rule.rule_priority, from_areas, to_areas), ()):
                    if (
                        (not offer.networks or not other.networks
                         or not set(offer.networks).isdisjoint(other.networks))
                        and not offer.prices.keys().isdisjoint(other.prices)
                        and meet_in_time(
                            rule.from_timeframe_group_id, other.rule.from_timeframe_group_id
                        )
                        and meet_in_time(
                            rule.to_timeframe_group_id, other.rule.to_timeframe_group_id
                        )
                    ):
                        offer.level = max(offer.level, other.level + 1)
        if offer.level:
            remarks.append(
                f"fare_leg_rules.txt:{rule.row}: It fits legs that a dearer rule of the same "
                "priority fits, too; the cheaper is charged"
            )
        placed[rule.rule_priority, offer.from_areas, offer.to_areas].append(offer)


def _sold(feed: Feed, riders: Riders, offers: list[_Offer], networks: dict[str, str]) -> Sold:
    order = sorted({(offer.rule.rule_priority, offer.level) for offer in offers})
    priority_of = {level: index for index, level in enumerate(order)}
    rows_of = {row.fare_product_id: row for row in reversed(feed.fare_products)}
    has_transfers = bool(feed.fare_transfer_rules)
    names = _names(offers, has_transfers)
    ids: dict[tuple[str, str, int], str] = {}
    products: dict[str, FareProduct] = {}
    bought: dict[str, dict[str, tuple[int, frozenset[Combo]]]] = defaultdict(dict)
    leg_rules: list[FareLegRule] = []
    needs_exit: set[str] = set()
    for offer in offers:
        rule, row = offer.rule, rows_of[offer.rule.fare_product_id]
        if offer.to_areas or rule.to_timeframe_group_id:
            needs_exit |= set(offer.networks or networks)
        parts = list(_by_price(offer.prices))
        single = len(parts) == 1
        number = 0
        for price, combos in parts:
            identity = _identity(rule, has_transfers)
            sold_to = riders.conditions(combos)
            product_id = ids.get((*identity, price)) or _product_id(
                names[identity], sold_to, products
            )
            ids[*identity, price] = product_id
            products[product_id] = FareProduct(
                id=product_id,
                name=row.fare_product_name,
                reference=f"fare_products.txt:{row.row}",
                pricing=Flat(amount=Money(price)),
            )
            if rule.leg_group_id:
                _, known = bought[rule.leg_group_id].get(product_id, (price, frozenset()))
                bought[rule.leg_group_id][product_id] = (price, known | combos)
            for categories, media in sold_to:
                number += 1
                several = not single or len(sold_to) > 1
                leg_rules.append(
                    FareLegRule(
                        id=f"leg_{rule.row}_{number}" if several else f"leg_{rule.row}",
                        product=product_id,
                        networks=offer.networks,
                        from_areas=offer.from_areas,
                        to_areas=offer.to_areas,
                        from_timeframes=_one(rule.from_timeframe_group_id),
                        to_timeframes=_one(rule.to_timeframe_group_id),
                        rider_categories=categories,
                        fare_media=media,
                        priority=priority_of[rule.rule_priority, offer.level],
                    )
                )
    return Sold(
        tuple(products.values()), tuple(leg_rules), dict(bought), networks, frozenset(needs_exit)
    )


def _one(name: str) -> tuple[str, ...]:
    return (name,) if name else ()


def _identity(rule: LegRule, has_transfers: bool) -> tuple[str, str]:
    # A transfer asks for a leg group, which is a set of products here: no two groups share one.
    return rule.leg_group_id if has_transfers else "", rule.fare_product_id


def _names(offers: list[_Offer], has_transfers: bool) -> dict[tuple[str, str], str]:
    groups_of: dict[str, list[str]] = defaultdict(list)
    for offer in offers:
        group, product_id = _identity(offer.rule, has_transfers)
        if group not in groups_of[product_id]:
            groups_of[product_id].append(group)
    names: dict[tuple[str, str], str] = {}
    for product_id, groups in groups_of.items():
        for group in groups:
            said = f"{group} {product_id}" if len(groups) > 1 and group else product_id
            names[group, product_id] = said
    return names


def _product_id(
    base: str, sold_to: list[tuple[tuple[str, ...], tuple[str, ...]]], taken: Container[str]
) -> str:
    """Name a product after the feed's, and after its buyers where they are not all."""
    buyers = filter(None, (" ".join((*categories, *media)) for categories, media in sold_to))
    said = " ".join((base, *buyers))
    for number in count(1):
        tail = "" if number == 1 else f" ~{number}"
        product_id = said[: ID_LENGTH_MAX - len(tail)].rstrip() + tail
        if product_id not in taken:
            return product_id
    raise AssertionError("there are more numbers than products")


def _by_price(prices: Prices) -> Iterator[tuple[int, frozenset[Combo]]]:
    parts: dict[int, set[Combo]] = defaultdict(set)
    for combo, price in prices.items():
        parts[price].add(combo)
    for price, combos in parts.items():
        yield price, frozenset(combos)
