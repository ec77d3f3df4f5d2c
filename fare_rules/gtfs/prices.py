"""What a feed's legs cost: products and leg rules, so that each rider and media pays its price.

In GTFS a product has a price for each kind of rider and media; here each price that some of them
pay is a product, and the leg rules say who needs which.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterator
from itertools import count

from msgspec import Struct

from fare_rules.currency import currency_digits
from fare_rules.gtfs.feed import ID_LENGTH_MAX
from fare_rules.gtfs.files import Feed, LegRule
from fare_rules.gtfs.hours import Hours
from fare_rules.gtfs.matrices import tabulate, take_tables
from fare_rules.gtfs.offers import Offer, read_offers
from fare_rules.gtfs.riders import Buyers, Combo, Prices, Riders
from fare_rules.gtfs.stops import Places
from fare_rules.language.products import FareLegRule, FareProduct, Flat
from fare_rules.language.scalars import Money


class Sold(Struct, frozen=True):
    """Products and leg rules of ours, and what the rest of the tariff has to know of them."""

    products: tuple[FareProduct, ...]
    leg_rules: tuple[FareLegRule, ...]
    # Products of each leg group, with what they cost and who buys them.
    groups: dict[str, dict[str, tuple[int, frozenset[Combo]]]]
    networks: dict[str, str]
    # Networks in which the place or the time of the exit decides the fare.
    needs_exit: frozenset[str]
    # CSV files by name, with fares of pairs of areas.
    tables: dict[str, str]


def read_prices(
    feed: Feed, riders: Riders, places: Places, hours: Hours, remarks: list[str]
) -> Sold:
    """Make products and leg rules that give each leg, rider and media the feed's price."""
    offers, networks = read_offers(feed, riders, places, hours, remarks)
    return _sold(feed, riders, offers, networks, remarks)


def _sold(
    feed: Feed,
    riders: Riders,
    offers: list[Offer],
    networks: dict[str, str],
    remarks: list[str],
) -> Sold:
    order = sorted({offer.rank for offer in offers})
    priority_of = {level: index for index, level in enumerate(order)}
    rows_of = {row.fare_product_id: row for row in reversed(feed.fare_products)}
    has_transfers = bool(feed.fare_transfer_rules)
    needs_exit: set[str] = set()
    for offer in offers:
        if offer.to_areas or offer.rule.to_timeframe_group_id:
            needs_exit |= set(offer.networks or networks)
    tables = [
        tabulate(
            number,
            group,
            riders,
            priority_of[group[0].rank],
            currency_digits(feed.fare_products[0].currency),
        )
        for number, group in enumerate(take_tables(offers, has_transfers), start=1)
    ]
    for each in tables:
        place = each.products[0].reference
        remarks.append(f"{place}: It and others for pairs of areas are the table {each.csv_name}")
    names = _names(offers, has_transfers)
    ids: dict[tuple[str, str, int], str] = {}
    products: dict[str, FareProduct] = {}
    bought: dict[str, dict[str, tuple[int, frozenset[Combo]]]] = defaultdict(dict)
    leg_rules: list[FareLegRule] = []
    # Leg rules so far of each row.
    said: Counter[int] = Counter()
    for offer in offers:
        rule, row = offer.rule, rows_of[offer.rule.fare_product_id]
        for price, combos in _by_price(offer.prices):
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
                said[rule.row] += 1
                number = f"_{said[rule.row]}" if said[rule.row] > 1 else ""
                leg_rules.append(
                    FareLegRule(
                        id=f"leg_{rule.row}{number}",
                        product=product_id,
                        networks=offer.networks,
                        from_areas=offer.from_areas,
                        to_areas=offer.to_areas,
                        from_timeframes=_one(rule.from_timeframe_group_id),
                        to_timeframes=_one(rule.to_timeframe_group_id),
                        rider_categories=categories,
                        fare_media=media,
                        priority=priority_of[offer.rank],
                    )
                )
    return Sold(
        products=(*products.values(), *(one for each in tables for one in each.products)),
        leg_rules=(*leg_rules, *(one for each in tables for one in each.leg_rules)),
        groups=dict(bought),
        networks=networks,
        needs_exit=frozenset(needs_exit),
        tables={each.csv_name: each.csv_text for each in tables},
    )


def _one(name: str) -> tuple[str, ...]:
    return (name,) if name else ()


def _identity(rule: LegRule, has_transfers: bool) -> tuple[str, str]:
    # A transfer asks for a leg group, which is a set of products here: no two groups share one.
    return rule.leg_group_id if has_transfers else "", rule.fare_product_id


def _names(offers: list[Offer], has_transfers: bool) -> dict[tuple[str, str], str]:
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


def _product_id(base: str, sold_to: list[Buyers], taken: Container[str]) -> str:
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
