"""What one leg costs under one tariff, and every reason for it.

The map: the full fare of the product that the leg needs, for each rider; then at most one
concession, for each rider; then at most one transfer discount, for the holder of the card alone.
"""

from collections.abc import Iterable
from datetime import UTC, timedelta
from enum import StrEnum

from msgspec import Struct

from fare_rules.compiled import CompiledTariff, NetworkRules
from fare_rules.legs import Leg
from fare_rules.model import (
    Concession,
    DistanceBands,
    FareProduct,
    FareTransferRule,
    Flat,
    GateNames,
    Multiple,
    PaysBands,
    PaysPercent,
)
from fare_rules.money import Fen, percent_of, round_hundredths

UNCLOSED_LEG = "unclosed_leg"
UNMATCHED_EXIT = "unmatched_exit"
_NO_TIME = timedelta(0)


class QuoteLine(Struct, frozen=True):
    """One reason in a price: the rule that acted, and the clause that the rule is from."""

    rule_id: str
    amount_fen: Fen
    reference: str


class Quote(Struct, frozen=True):
    """The price of a leg as a sum of reasons, the full fare first."""

    lines: tuple[QuoteLine, ...]
    product_id: str
    # The leg continues the ride before it, even where no fare was left to take a discount off.
    is_transfer: bool = False

    @property
    def fare_fen(self) -> Fen:
        return _sum_fen(self.lines)


class FareRefusal(StrEnum):
    """Why a leg has no price. Ordered by precedence: of two that apply, the earlier is reported."""

    UNKNOWN_NETWORK = "unknown_network"
    UNKNOWN_RIDER_CATEGORY = "unknown_rider_category"
    UNKNOWN_FARE_MEDIA = "unknown_fare_media"
    NO_FARE_RULE = "no_fare_rule"
    NO_GATE_FARE = "no_gate_fare"
    NO_DISTANCE = "no_distance"


def quote(leg: Leg, tariff: CompiledTariff, *, previous: Leg | None) -> Quote | FareRefusal:
    """Price one leg; `previous` is the same rider's ride before it, in the order of events.

    Shape:  the full fare's line, then at most one for a concession and one for a transfer, both
            negative. A leg that lacks an end it should have is one line, from its network's terms.
    Units:  fen for all riders of the leg together; never negative.
    Source: GTFS Fares v2, fare_leg_rules.rule_priority; the clause in each line's reference.
    """
    assert leg.riders_count >= 1
    assert leg.missing in (None, "entry", "exit")
    assert leg.gate_fare_fen is None or leg.gate_fare_fen >= 0
    network = tariff.network(leg.network)
    if network is None:
        return FareRefusal.UNKNOWN_NETWORK
    if leg.rider_category not in tariff.rider_categories:
        return FareRefusal.UNKNOWN_RIDER_CATEGORY
    if leg.fare_media not in tariff.fare_media:
        return FareRefusal.UNKNOWN_FARE_MEDIA
    if leg.missing == "exit":
        return _incomplete_leg_quote(UNCLOSED_LEG, network.unclosed_leg_fen, leg, network)
    product = tariff.products.get(network.product_id_for(leg) or "")
    if leg.missing == "entry" and (product is None or _gate_fare_fen(product, leg) is None):
        return _incomplete_leg_quote(UNMATCHED_EXIT, network.unmatched_exit_fen, leg, network)
    if product is None:
        return FareRefusal.NO_FARE_RULE
    return _product_quote(product, leg, network, tariff, previous)


def _incomplete_leg_quote(rule_id: str, amount_fen: Fen, leg: Leg, network: NetworkRules) -> Quote:
    line = QuoteLine(rule_id, Fen(amount_fen * leg.riders_count), network.reference)
    return Quote((line,), rule_id)


def _product_quote(
    product: FareProduct,
    leg: Leg,
    network: NetworkRules,
    tariff: CompiledTariff,
    previous: Leg | None,
) -> Quote | FareRefusal:
    full_fare_fen = _full_fare_fen(product, leg, network, tariff)
    if isinstance(full_fare_fen, FareRefusal):
        return full_fare_fen
    lines = [QuoteLine(product.id, Fen(full_fare_fen * leg.riders_count), product.reference)]
    lines += _concession_lines(full_fare_fen, product, leg, tariff)
    transfer = _transfer_rule_for(product, leg, tariff, previous)
    if transfer is not None:
        lines += _discount_lines(transfer, min(transfer.discount_fen, _sum_fen(lines)))
    priced = Quote(tuple(lines), product.id, is_transfer=transfer is not None)
    assert priced.fare_fen >= 0
    return priced


def _full_fare_fen(
    product: FareProduct, leg: Leg, network: NetworkRules, tariff: CompiledTariff
) -> Fen | FareRefusal:
    gate_fare_fen = _gate_fare_fen(product, leg)
    if gate_fare_fen is not None:
        return gate_fare_fen
    match product.pricing:
        case Flat(amount_fen=amount_fen):
            return amount_fen
        case DistanceBands():
            distance_m = network.distance_m_of(leg)
            if distance_m is None:
                return FareRefusal.NO_DISTANCE
            return _distance_fare_fen(product.pricing, distance_m)
        case Multiple(of_product=of_product, times=times):
            single_fen = _full_fare_fen(tariff.products[of_product], leg, network, tariff)
            return single_fen if isinstance(single_fen, FareRefusal) else Fen(single_fen * times)
        case GateNames():
            return FareRefusal.NO_GATE_FARE


def _gate_fare_fen(product: FareProduct, leg: Leg) -> Fen | None:
    may_name = product.gate_may_name_fare or isinstance(product.pricing, GateNames)
    return leg.gate_fare_fen if may_name else None


def _distance_fare_fen(pricing: DistanceBands, distance_m: int) -> Fen:
    for band in pricing.bands:
        if distance_m <= band.up_to_m:
            return band.amount_fen
    last = pricing.bands[-1]
    if pricing.beyond is None:
        return last.amount_fen
    steps_begun = -(-(distance_m - last.up_to_m) // pricing.beyond.every_m)
    return Fen(last.amount_fen + steps_begun * pricing.beyond.add_fen)


def _concession_lines(
    full_fare_fen: Fen, product: FareProduct, leg: Leg, tariff: CompiledTariff
) -> list[QuoteLine]:
    concession = tariff.concessions.get((product.id, leg.rider_category, leg.fare_media))
    if concession is None:
        return []
    discount_fen = full_fare_fen - _payable_fen(concession.pays, full_fare_fen)
    return _discount_lines(concession, discount_fen * leg.riders_count)


def _payable_fen(pays: PaysPercent | PaysBands, full_fare_fen: Fen) -> Fen:
    if isinstance(pays, PaysPercent):
        return percent_of(full_fare_fen, pays.percent, pays.rounding)
    hundredths = 0
    part_starts_fen = 0
    for band in pays.bands:
        part_ends_fen = full_fare_fen if band.up_to_fen is None else band.up_to_fen
        part_fen = min(full_fare_fen, part_ends_fen) - part_starts_fen
        if part_fen <= 0:
            break
        hundredths += part_fen * band.percent
        part_starts_fen = part_ends_fen
    return round_hundredths(hundredths, pays.rounding)


def _transfer_rule_for(
    product: FareProduct, leg: Leg, tariff: CompiledTariff, previous: Leg | None
) -> FareTransferRule | None:
    rules = tariff.transfers.get((leg.network, product.id, leg.rider_category, leg.fare_media), ())
    for rule in rules:
        if (rule.proven and leg.transfer_proven) or _is_transfer(rule, previous, leg):
            return rule
    return None


def _is_transfer(rule: FareTransferRule, previous: Leg | None, leg: Leg) -> bool:
    # Without an entry the moment of the change is not known; without an exit there was no ride.
    if previous is None or leg.missing == "entry" or previous.missing == "exit":
        return False
    return (
        previous.network in rule.from_networks
        and _NO_TIME <= _time_between(previous, leg) <= timedelta(minutes=rule.window_minutes)
        and (not rule.different_route or _is_different_route(previous, leg))
    )


def _time_between(previous: Leg, leg: Leg) -> timedelta:
    # In UTC: two datetimes of one zone are otherwise subtracted as wall clocks, across any change
    # of the clocks.
    return leg.boarded_at.astimezone(UTC) - previous.last_tap_at.astimezone(UTC)


def _is_different_route(previous: Leg, leg: Leg) -> bool:
    if previous.network != leg.network:
        return True
    # A route that is not known is not known to differ.
    return None not in (previous.route_id, leg.route_id) and previous.route_id != leg.route_id


def _discount_lines(rule: Concession | FareTransferRule, discount_fen: int) -> list[QuoteLine]:
    return [QuoteLine(rule.id, Fen(-discount_fen), rule.reference)] if discount_fen else []


def _sum_fen(lines: Iterable[QuoteLine]) -> Fen:
    return Fen(sum(line.amount_fen for line in lines))
