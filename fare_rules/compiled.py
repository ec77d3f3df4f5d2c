"""A tariff made ready for pricing: what concerns a leg is found by look-up.

compile_tariff expects a tariff in which check.py has found no fault.
"""

from collections.abc import Iterator, Mapping
from datetime import date, time
from itertools import product as combinations
from zoneinfo import ZoneInfo

from msgspec import Struct

from fare_rules.legs import Leg
from fare_rules.links import Links, shortest_distances
from fare_rules.model import (
    Concession,
    FareLegRule,
    FareProduct,
    FareTransferRule,
    Network,
    Taps,
    Tariff,
)
from fare_rules.money import Fen


class NetworkRules(Struct, frozen=True):
    """How a network is tapped, and what its legs need."""

    id: str
    taps: Taps
    reference: str
    minimum_balance_fen: Fen
    # A like tap of the same media at the same gate within this is the same tap again; 0 is never.
    pass_back_seconds: int
    # A later exit does not close its entry; 0 where nobody taps out.
    journey_minutes_max: int
    unclosed_leg_fen: Fen
    unmatched_exit_fen: Fen
    leg_rules: tuple[FareLegRule, ...]
    distances_m: Mapping[str, Mapping[str, int]]

    def product_id_for(self, leg: Leg) -> str | None:
        """Choose the product of the highest leg rule that fits; an empty condition fits any leg."""
        for rule in self.leg_rules:
            if (
                (rule.carriage_class is None or rule.carriage_class == leg.carriage_class)
                and (rule.operator is None or rule.operator == leg.operator_id)
                and (rule.route is None or rule.route == leg.route_id)
                and (rule.from_stop is None or rule.from_stop == leg.from_stop)
                and (rule.to_stop is None or rule.to_stop == leg.to_stop)
            ):
                return rule.product
        return None

    def distance_m_of(self, leg: Leg) -> int | None:
        """The distance that the gate measured, or else the shortest path; None when not known."""
        if leg.distance_m is not None:
            return leg.distance_m
        if leg.from_stop is None or leg.to_stop is None:
            return None
        if leg.from_stop == leg.to_stop:
            return 0
        return self.distances_m.get(leg.from_stop, {}).get(leg.to_stop)


class CompiledTariff(Struct, frozen=True):
    """One tariff in the form in which it prices legs."""

    # Name and day, to be kept with whatever it priced: shenzhen/2018-08-01.
    tariff_id: str
    name: str
    reference: str
    currency: str
    timezone: ZoneInfo
    service_day_starts: time
    effective_from: date
    rider_categories: frozenset[str]
    default_rider_category: str
    fare_media: frozenset[str]
    networks: Mapping[str, NetworkRules]
    products: Mapping[str, FareProduct]
    # By product, rider category and fare media.
    concessions: Mapping[tuple[str, str, str], Concession]
    # By the network changed to, product, rider category and fare media; highest priority first.
    transfers: Mapping[tuple[str, str, str, str], tuple[FareTransferRule, ...]]

    def network(self, name: str) -> NetworkRules | None:
        return self.networks.get(name)


def compile_tariff(tariff: Tariff, links: Mapping[str, Links]) -> CompiledTariff:
    """Turn a tariff without faults into look-ups.

    Shape:  links are those of each CSV file that a network names.
    """
    return CompiledTariff(
        tariff_id=f"{tariff.tariff}/{tariff.effective_from}",
        name=tariff.tariff,
        reference=tariff.reference,
        currency=tariff.currency,
        timezone=ZoneInfo(tariff.timezone),
        service_day_starts=time.fromisoformat(tariff.service_day_starts),
        effective_from=tariff.effective_from,
        rider_categories=frozenset(category.id for category in tariff.rider_categories),
        default_rider_category=next(c.id for c in tariff.rider_categories if c.default),
        fare_media=frozenset(media.id for media in tariff.fare_media),
        networks={n.id: _network_rules(n, tariff, links) for n in tariff.networks},
        products={product.id: product for product in tariff.fare_products},
        concessions=_concessions(tariff),
        transfers=_transfers(tariff),
    )


def _network_rules(network: Network, tariff: Tariff, links: Mapping[str, Links]) -> NetworkRules:
    rules = (rule for rule in tariff.fare_leg_rules if rule.network == network.id)
    return NetworkRules(
        id=network.id,
        taps=network.taps,
        reference=network.reference,
        minimum_balance_fen=network.minimum_balance_fen,
        pass_back_seconds=network.pass_back_seconds,
        journey_minutes_max=network.journey_minutes_max or 0,
        unclosed_leg_fen=network.unclosed_leg_fen or Fen(0),
        unmatched_exit_fen=network.unmatched_exit_fen or Fen(0),
        leg_rules=tuple(sorted(rules, key=_highest_first)),
        distances_m=shortest_distances(links[network.links]) if network.links else {},
    )


def _concessions(tariff: Tariff) -> dict[tuple[str, str, str], Concession]:
    chosen: dict[tuple[str, str, str], Concession] = {}
    for concession in sorted(tariff.concessions, key=_highest_first):
        for key in _keys(concession, tariff):
            chosen.setdefault(key, concession)
    return chosen


def _transfers(tariff: Tariff) -> dict[tuple[str, str, str, str], tuple[FareTransferRule, ...]]:
    found: dict[tuple[str, str, str, str], tuple[FareTransferRule, ...]] = {}
    for rule in sorted(tariff.fare_transfer_rules, key=_highest_first):
        for key in _keys(rule, tariff):
            to_key = (rule.to_network, *key)
            found[to_key] = (*found.get(to_key, ()), rule)
    return found


def _keys(rule: Concession | FareTransferRule, tariff: Tariff) -> Iterator[tuple[str, str, str]]:
    """Every product, rider category and fare media that a rule is for; an empty list is all."""
    return combinations(
        rule.products or [product.id for product in tariff.fare_products],
        rule.rider_categories or [category.id for category in tariff.rider_categories],
        rule.fare_media or [media.id for media in tariff.fare_media],
    )


def _highest_first(rule: FareLegRule | Concession | FareTransferRule) -> int:
    return -rule.priority
