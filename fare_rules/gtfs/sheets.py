"""The rows of fare_products and fare_transfer_rules, from what each kind of leg costs."""

from collections.abc import Iterator
from itertools import product as pairs_of

from msgspec import Struct

from fare_rules.amounts import said
from fare_rules.gtfs.columns import Combo, LegKind, covers, unsayable
from fare_rules.gtfs.leftovers import unsaid
from fare_rules.language.conditions import LegFilter
from fare_rules.language.discounts import FareTransferRule, PaysDifference
from fare_rules.language.tariff import Tariff
from fare_rules.paying import payable_fen

Prices = dict[Combo, int]
Cells = tuple[object, ...]
# By what starts the window and what must come before it ends.
_DURATION_TYPES = {
    ("boarding", "last_tap"): 0,
    ("boarding", "boarding"): 1,
    ("last_tap", "boarding"): 2,
    ("last_tap", "last_tap"): 3,
}


class LegGroup(Struct):
    """Legs of one network and one price for each rider and media."""

    id: str
    product_id: str
    # Our products, which may differ between kinds of rider.
    products: dict[Combo, str]
    network: str
    prices: Prices
    kinds: list[LegKind]


class FareSheets:
    """The products of the feed, and the leg groups that need them."""

    def __init__(self, tariff: Tariff, currency_digits: int) -> None:
        self._tariff = tariff
        self._digits = currency_digits
        self._names = {each.id: each.name for each in tariff.fare_products}
        # Of each feed product: our product's name for riders, and the prices.
        self._products: dict[str, tuple[str, Prices]] = {}
        self._ids: dict[tuple[str, tuple[tuple[Combo, int], ...]], str] = {}
        self.groups: dict[str, LegGroup] = {}

    def leg_group(
        self,
        kind: LegKind,
        our_product: str,
        name: str,
        products: dict[Combo, str],
        prices: Prices,
    ) -> LegGroup:
        """Find the group of a kind of leg, or make one."""
        identity = " ".join(sorted({our_product, *products.values()}))
        product_id = self.product(identity, name, self._names[our_product], prices)
        group_id = f"{kind.network} {product_id}"
        if group_id not in self.groups:
            self.groups[group_id] = LegGroup(
                group_id, product_id, products, kind.network, prices, []
            )
        self.groups[group_id].kinds.append(kind)
        return self.groups[group_id]

    def product(self, identity: str, name: str, shown: str, prices: Prices) -> str:
        """Find the product of these prices, or make one of this name."""
        key = (identity, tuple(sorted(prices.items())))
        if key not in self._ids:
            number, product_id = 1, name
            while product_id in self._products:
                number += 1
                product_id = f"{name} ~{number}"
            self._products[product_id] = (shown, prices)
            self._ids[key] = product_id
        return self._ids[key]

    def product_rows(self) -> list[Cells]:
        rows: list[Cells] = []
        categories = [each.id for each in self._tariff.rider_categories]
        media = [each.id for each in self._tariff.fare_media]
        for product_id, (shown, prices) in self._products.items():
            for each in media:
                here = {c: prices[c, each] for c in categories if (c, each) in prices}
                # One price for all riders needs no kind of rider.
                if len(here) == len(categories) and len(set(here.values())) == 1:
                    here = {"": next(iter(here.values()))}
                rows += [
                    (product_id, shown, category, each, self._amount(price), self._currency)
                    for category, price in here.items()
                ]
        return rows

    @property
    def _currency(self) -> str:
        return self._tariff.currency

    def _amount(self, price: int) -> str:
        return said(price, self._digits)


def transfer_rows(tariff: Tariff, sheets: FareSheets, remarks: list[str]) -> list[Cells]:
    """Say of each leg group after each other what the second leg costs less.

    Of several rules the one with the highest priority acts, for each rider and media by itself. A
    discount is a product of a negative price (type 1); a free leg after another is type 0.
    """
    rows: list[Cells] = []
    rules = sorted(tariff.fare_transfer_rules, key=lambda rule: -rule.priority)
    counted: set[str] = set()
    used: set[str] = set()
    for before, after in pairs_of(list(sheets.groups.values()), repeat=2):
        taken: set[Combo] = set()
        for rule in rules:
            if rule.different_network and before.network == after.network:
                continue
            combos = [
                combo
                for combo in after.prices
                if combo in before.prices
                and combo not in taken
                and _fits(rule.from_, before, combo, tariff)
                and _fits(rule.to, after, combo, tariff)
            ]
            if not combos:
                continue
            taken.update(combos)
            used.add(rule.id)
            less = {
                combo: _second_leg(rule, before.prices[combo], after.prices[combo])
                - after.prices[combo]
                for combo in combos
            }
            if not any(less.values()):
                continue
            same = before.id == after.id
            if rule.transfers_max is not None and not same and rule.id not in counted:
                counted.add(rule.id)
                remarks.append(
                    f"fare_transfer_rules {rule.id}: GTFS counts transfers_max only between legs "
                    "of one group"
                )
            is_free = len(combos) == len(after.prices) and all(
                after.prices[combo] + amount == 0 for combo, amount in less.items()
            )
            product_id = (
                ""
                if is_free
                else sheets.product(f"transfer {rule.id}", f"transfer {rule.id}", "", less)
            )
            rows.append(
                (
                    before.id,
                    after.id,
                    (-1 if rule.transfers_max is None else rule.transfers_max) if same else "",
                    rule.window_minutes * 60,
                    _duration_type(rule),
                    0 if is_free else 1,
                    product_id,
                )
            )
    for rule in rules:
        remarks += _remarks(rule) if rule.id in used else (_why_left_out(rule),)
    return rows


def _second_leg(rule: FareTransferRule, first: int, second: int) -> int:
    if isinstance(rule.pays, PaysDifference):
        return max(second - first, 0)
    return min(payable_fen(rule.pays, second), second)


def _fits(conditions: LegFilter, group: LegGroup, combo: Combo, tariff: Tariff) -> bool:
    return all(
        covers(conditions, kind, combo, group.products[combo], tariff) for kind in group.kinds
    )


def _duration_type(rule: FareTransferRule) -> int:
    return _DURATION_TYPES[rule.window_from.split("_", 1)[1], rule.window_to]


def _remarks(rule: FareTransferRule) -> Iterator[str]:
    place = f"fare_transfer_rules {rule.id}"
    if keys := unsaid(rule):
        yield f"{place}: GTFS cannot say {', '.join(keys)}; the transfer is given without it"
    if rule.window_from.startswith("first") and rule.transfers_max != 1:
        yield (
            f"{place}: GTFS does not say of which leg of several the window counts; here it is "
            "the first of all"
        )
    if isinstance(rule.pays, PaysDifference) and rule.transfers_max != 1:
        yield f"{place}: GTFS takes the difference to the leg before, not to all so far"


def _why_left_out(rule: FareTransferRule) -> str:
    keys = dict.fromkeys((*unsayable(rule.from_), *unsayable(rule.to)))
    told = f" ({', '.join(keys)})" if keys else ""
    return (
        f"fare_transfer_rules {rule.id}: GTFS has none of its legs, or cannot tell them from "
        f"others{told}; left out"
    )
