"""Rules that make up a table of pairs of areas, as one product with a CSV instead of thousands."""

from collections import defaultdict
from collections.abc import Iterable

from msgspec import Struct

from fare_rules.amounts import said
from fare_rules.gtfs.offers import Offer, share_networks
from fare_rules.gtfs.riders import Combo, Riders
from fare_rules.gtfs.text import table
from fare_rules.language.products import FareLegRule, FareProduct, Matrix

# Fewer rules are easier to read one by one.
RULES_MIN = 50


class Tabulated(Struct, frozen=True):
    """What one table became."""

    products: tuple[FareProduct, ...]
    leg_rules: tuple[FareLegRule, ...]
    csv_name: str
    csv_text: str


def take_tables(offers: list[Offer], transferring: bool) -> list[list[Offer]]:
    """Take out of the offers those that make up a table.

    A table answers for every pair of its areas, so no other rule may be for its network at its
    hours, and a transfer needs to know a product's one price.
    """
    alike: dict[tuple[object, ...], list[Offer]] = defaultdict(list)
    for offer in offers:
        rule = offer.rule
        if rule.from_area_id and rule.to_area_id and not offer.level and not transferring:
            hours = (rule.from_timeframe_group_id, rule.to_timeframe_group_id)
            buyers = frozenset(offer.prices)
            alike[offer.networks, *hours, rule.rule_priority, buyers].append(offer)
    taken: list[list[Offer]] = []
    for group in alike.values():
        members = set(map(id, group))
        others = (offer for offer in offers if id(offer) not in members)
        if len(group) >= RULES_MIN and not any(_may_meet(group[0], other) for other in others):
            taken.append(group)
    in_tables = {id(offer) for group in taken for offer in group}
    offers[:] = [offer for offer in offers if id(offer) not in in_tables]
    return taken


def _may_meet(one: Offer, other: Offer) -> bool:
    frames = (one.rule.from_timeframe_group_id, other.rule.from_timeframe_group_id)
    return (
        not one.prices.keys().isdisjoint(other.prices)
        and share_networks(one, other)
        and (frames[0] == frames[1] or not all(frames))
    )


def tabulate(
    number: int, group: list[Offer], riders: Riders, priority: int, currency_digits: int
) -> Tabulated:
    """Write a table of pairs, with a column for all riders and media that pay the same in it."""
    columns = _columns(group)
    first = group[0]
    name = f"table_{number}"
    file = f"{name}.csv"
    products: list[FareProduct] = []
    leg_rules: list[FareLegRule] = []
    header = ["from", "to"]
    for index, combos in enumerate(columns, start=1):
        column = "amount" if index == 1 else f"amount_{index}"
        header.append(column)
        product_id = name if index == 1 else f"{name}_{index}"
        products.append(
            FareProduct(
                id=product_id,
                reference=f"fare_leg_rules.txt:{first.rule.row}",
                pricing=Matrix(table=file, column=column, by="areas", both_ways=False),
            )
        )
        for part, (categories, media) in enumerate(riders.conditions(combos), start=1):
            leg_rules.append(
                FareLegRule(
                    id=f"leg_{product_id}" + (f"_{part}" if part > 1 else ""),
                    product=product_id,
                    networks=first.networks,
                    from_areas=_areas(offer.rule.from_area_id for offer in group),
                    to_areas=_areas(offer.rule.to_area_id for offer in group),
                    from_timeframes=_areas([first.rule.from_timeframe_group_id]),
                    to_timeframes=_areas([first.rule.to_timeframe_group_id]),
                    rider_categories=categories,
                    fare_media=media,
                    priority=priority,
                )
            )
    rows = [
        [
            offer.rule.from_area_id,
            offer.rule.to_area_id,
            *(said(offer.prices[min(combos)], currency_digits) for combos in columns),
        ]
        for offer in group
    ]
    return Tabulated(tuple(products), tuple(leg_rules), file, table(header, rows))


def _columns(group: list[Offer]) -> list[frozenset[Combo]]:
    alike: dict[tuple[int, ...], set[Combo]] = defaultdict(set)
    for combo in group[0].prices:
        alike[tuple(offer.prices[combo] for offer in group)].add(combo)
    return [frozenset(combos) for combos in alike.values()]


def _areas(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, names)))
