"""What a feed says of changes: transfers that make a leg cheaper, and legs priced as one."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Literal

from msgspec import Struct

from fare_rules.gtfs.files import Feed, JoinRule, TransferRule
from fare_rules.gtfs.prices import Sold
from fare_rules.gtfs.riders import Combo, Prices, Riders
from fare_rules.gtfs.stops import Places
from fare_rules.language.conditions import LegFilter
from fare_rules.language.discounts import (
    FareTransferRule,
    Free,
    PaysAmount,
    PaysLess,
    TransferPays,
)
from fare_rules.language.journeys import FareLegJoinRule, StopPair
from fare_rules.language.scalars import Money

# Where the feed names no time, a journey has no end: but a gate has to know when one is over.
TRANSFER_MINUTES = 120
JOIN_MINUTES = 60

_WindowFrom = Literal["previous_boarding", "previous_last_tap", "first_boarding", "first_last_tap"]
_WindowTo = Literal["boarding", "last_tap"]
# By duration_limit_type: from the departure or the arrival of the one leg, to those of the next.
_WINDOWS: dict[int, tuple[_WindowFrom, _WindowTo]] = {
    0: ("previous_boarding", "last_tap"),
    1: ("previous_boarding", "boarding"),
    2: ("previous_last_tap", "boarding"),
    3: ("previous_last_tap", "last_tap"),
}


class _Change(Struct, frozen=True):
    """What some riders pay for some legs after some others."""

    before: frozenset[str]
    after: frozenset[str]
    pays: TransferPays
    combos: frozenset[Combo]


def read_transfers(
    feed: Feed, riders: Riders, sold: Sold, remarks: list[str]
) -> tuple[FareTransferRule, ...]:
    """Read the transfer rules.

    Source: fare_transfer_rules.fare_transfer_type. With A and B for the legs and AB for the rule's
    product, the second leg costs AB (type 0), AB + B (type 1) or AB - A (type 2), never below zero.
    """
    rules: list[FareTransferRule] = []
    for row in feed.fare_transfer_rules:
        place = f"fare_transfer_rules.txt:{row.row}"
        before = _groups(row.from_leg_group_id, "from", feed, sold)
        after = _groups(row.to_leg_group_id, "to", feed, sold)
        if not before or not after:
            remarks.append(f"{place}: It is for no change, since other rules name every leg group")
            continue
        changes = list(_changes(row, place, before, after, riders, sold, remarks))
        if _priority(row, feed):
            remarks.append(
                f"{place}: Another row counts the transfers of these groups, too; here a leg that "
                "is one too many for this row may begin its next count"
            )
        window_from, window_to, minutes = _window(row, place, remarks)
        conditions = [
            (change, *buyers) for change in changes for buyers in riders.conditions(change.combos)
        ]
        for number, (change, categories, media) in enumerate(conditions, start=1):
            rules.append(
                FareTransferRule(
                    id=f"transfer_{row.row}" + (f"_{number}" if len(conditions) > 1 else ""),
                    reference=f"fare_transfer_rules.txt:{row.row}",
                    from_=LegFilter(products=tuple(sorted(change.before))),
                    to=LegFilter(
                        products=tuple(sorted(change.after)),
                        rider_categories=categories,
                        fare_media=media,
                    ),
                    pays=change.pays,
                    window_minutes=minutes,
                    window_from=window_from,
                    window_to=window_to,
                    transfers_max=_transfers_max(row),
                    priority=_priority(row, feed),
                )
            )
    return tuple(rules)


def _transfers_max(row: TransferRule) -> int | None:
    if row.fare_transfer_type == 2:
        return 1
    return row.transfer_count if row.transfer_count and row.transfer_count > 0 else None


def _priority(row: TransferRule, feed: Feed) -> int:
    """Of several rules for one pair of groups, let the one with the fewest transfers act."""
    pair = (row.from_leg_group_id, row.to_leg_group_id)
    same = [
        other
        for other in feed.fare_transfer_rules
        if (other.from_leg_group_id, other.to_leg_group_id) == pair
    ]
    return sum(_rank(other) > _rank(row) for other in same)


def _rank(row: TransferRule) -> tuple[float, int]:
    return _transfers_max(row) or math.inf, row.row


def _groups(named: str, end: str, feed: Feed, sold: Sold) -> tuple[str, ...]:
    """List the leg groups of a column: empty is all that no rule of the file names there."""
    if named:
        return (named,) if named in sold.groups else ()
    listed = {getattr(each, f"{end}_leg_group_id") for each in feed.fare_transfer_rules}
    return tuple(group for group in sold.groups if group not in listed)


def _changes(
    row: TransferRule,
    place: str,
    before: tuple[str, ...],
    after: tuple[str, ...],
    riders: Riders,
    sold: Sold,
    remarks: list[str],
) -> Iterator[_Change]:
    everybody = {(one.id, other.id): 0 for one in riders.categories for other in riders.media}
    added = riders.prices[row.fare_product_id] if row.fare_product_id else everybody
    lost: set[str] = set()
    found: dict[tuple[frozenset[str], int, str], dict[str, set[Combo]]] = defaultdict(
        lambda: defaultdict(set)
    )
    first = {name: bought for group in before for name, bought in sold.groups[group].items()}
    second = {name: bought for group in after for name, bought in sold.groups[group].items()}
    by_price: dict[int, set[str]] = defaultdict(set)
    for name, (price, _) in first.items():
        by_price[price if row.fare_transfer_type == 2 else 0].add(name)
    for first_price, names in by_price.items():
        for name, (full, buyers) in second.items():
            for combo in sorted(buyers & added.keys()):
                amount, kind = _second_leg(row, added, combo, first_price, full, lost)
                if kind:
                    found[frozenset(names), amount, kind][name].add(combo)
    for what in sorted(lost):
        remarks.append(f"{place}: {what}")
    for (names_before, amount, kind), buyers_of in found.items():
        alike: dict[frozenset[Combo], set[str]] = defaultdict(set)
        for name, combos in buyers_of.items():
            alike[frozenset(combos)].add(name)
        for combos_alike, products in alike.items():
            pays: TransferPays = Free()
            if kind == "less":
                pays = PaysLess(amount=Money(amount))
            elif amount:
                pays = PaysAmount(amount=Money(amount))
            # Who may not buy a product has no leg of it, so everybody is a shorter way to say so.
            every_buyer = frozenset[Combo]().union(*(second[name][1] for name in products))
            whole = frozenset(everybody) if combos_alike == every_buyer else combos_alike
            yield _Change(names_before, frozenset(products), pays, whole)
    if row.fare_transfer_type == 2 and row.transfer_count != 1:
        remarks.append(f"{place}: Only the first transfer of a journey has this price")


def _second_leg(
    row: TransferRule, added: Prices, combo: Combo, first_price: int, full: int, lost: set[str]
) -> tuple[int, str]:
    """Say what the second leg costs: an amount at most, or so much less; or nothing of the kind."""
    extra = added[combo]
    if row.fare_transfer_type == 1:
        if extra > 0:
            lost.add("A transfer that costs something on top of both legs cannot be said; left out")
        if -extra > full:
            lost.add("It takes off more than the second leg costs; here the leg is free")
        return (-extra, "less") if extra < 0 else (0, "")
    amount = extra - first_price
    if amount < 0:
        lost.add("It gives back a part of the first leg; here the second is free")
        amount = 0
    if amount > full:
        lost.add("It makes the second leg dearer than it is alone; here it costs the same")
        return 0, ""
    return amount, "amount"


def _window(
    row: TransferRule, place: str, remarks: list[str]
) -> tuple[_WindowFrom, _WindowTo, int]:
    if row.duration_limit is None or row.duration_limit_type is None:
        remarks.append(f"{place}: It names no time; here it is {TRANSFER_MINUTES} minutes")
        return "previous_last_tap", "boarding", TRANSFER_MINUTES
    minutes, rest = divmod(row.duration_limit, 60)
    if rest:
        remarks.append(f"{place}: {row.duration_limit} seconds are taken as {minutes} minutes")
    window_from, window_to = _WINDOWS[row.duration_limit_type]
    if row.transfer_count is not None and row.transfer_count != 1:
        # As the specification's own example has it: any number of transfers within one window.
        remarks.append(f"{place}: The time is counted from the first leg, for all its transfers")
        window_from = "first_boarding" if window_from == "previous_boarding" else "first_last_tap"
    return window_from, window_to, minutes


def read_joins(
    feed: Feed, places: Places, networks: Collection[str], remarks: list[str]
) -> tuple[FareLegJoinRule, ...]:
    """Read which legs are priced as one. A station stands for its platforms, too."""
    alike: dict[tuple[str, str, bool], list[JoinRule]] = defaultdict(list)
    for row in feed.fare_leg_join_rules:
        place = f"fare_leg_join_rules.txt:{row.row}"
        if not {row.from_network_id, row.to_network_id} <= set(networks):
            remarks.append(f"{place}: One of its networks has no fare; left out")
            continue
        alike[row.from_network_id, row.to_network_id, bool(row.from_stop_id)].append(row)
        remarks.append(f"{place}: It names no time; here it is {JOIN_MINUTES} minutes")
    rules: list[FareLegJoinRule] = []
    for (before, after, has_stops), rows in alike.items():
        pairs = dict.fromkeys(
            (one, other)
            for row in rows
            for one in places.parts_of.get(row.from_stop_id, ())
            for other in places.parts_of.get(row.to_stop_id, ())
        )
        rules.append(
            FareLegJoinRule(
                id=f"join_{rows[0].row}",
                reference=f"fare_leg_join_rules.txt:{rows[0].row}",
                from_=LegFilter(networks=(before,)),
                to=LegFilter(networks=(after,)),
                pairs=tuple(StopPair(from_stop=one, to_stop=other) for one, other in pairs),
                window_minutes=JOIN_MINUTES,
                priority=1 if has_stops else 0,
            )
        )
    return tuple(rules)
