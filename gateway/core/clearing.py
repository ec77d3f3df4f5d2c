"""Who is due what of a ride that several operators carried, and what clearing costs each.

An entry credits the operator whose gate charged the ride. What the agreements move from one to the
other is worked out at the close: for each journey, what all its entries so far come to, less what
they came to at the close before. So a correction moves the difference, whenever it comes, and what
is moved sums to zero always.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

from msgspec import Struct

from fare_rules.base_fare import percent_of
from fare_rules.language.clearing import Agreement, Clearing, Fee
from gateway.core.invoices import InstitutionTotal
from gateway.core.settlement import SettledLine

NO_CLEARING = Clearing()


class ClearingLine(Struct, frozen=True):
    """What an agreement moves to one operator for one journey; below zero, from it."""

    agreement_id: str
    journey_id: UUID
    operator_id: str
    amount_fen: int


class FeeLine(Struct, frozen=True):
    """What one operator pays of one fee."""

    fee_id: str
    operator_id: str
    paid_to: str
    amount_fen: int


class _Leg(Struct):
    """One ride of a journey as its entries leave it."""

    operator_id: str
    product_id: str
    effective_at: datetime
    paid_fen: int = 0
    rides_count: int = 0
    own_fen: int = 0
    distance_m: int = 0
    change_fen: int = 0


def largest_remainder(amount_fen: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Part an amount by weights so that the parts sum to it.

    Shape:  what rounding down leaves goes, one each, to the largest remainders; ties by id. Below
            zero it is parted as above, and the sign put back. If none weighs, all do alike.
    Source: the method of largest remainder (Hamilton).
    """
    if not weights:
        return {}
    total = sum(weights.values())
    if not total:
        weights, total = dict.fromkeys(weights, 1), len(weights)
    sign, whole_fen = (-1, -amount_fen) if amount_fen < 0 else (1, amount_fen)
    parts = {name: divmod(whole_fen * weight, total) for name, weight in weights.items()}
    left = whole_fen - sum(part for part, _ in parts.values())
    first = sorted(parts, key=lambda name: (-parts[name][1], name))[:left]
    return {name: sign * (part + (name in first)) for name, (part, _) in parts.items()}


def share(
    lines: Iterable[SettledLine],
    clearing: Clearing,
    days_after: date | None,
    *,
    follows_rides: bool = True,
) -> list[ClearingLine]:
    """Move what riders paid between operators, as the agreements say.

    Shape:  the lines of a period, and earlier ones of the same rides and journeys; those settled by
            `days_after` were shared at an earlier close, so only what has changed since is moved.
            A ride is part of the journey that its newest line names, unless each line is shared
            within its own, as it was in the beginning (`follows_rides`).
    """
    if not clearing.agreements:
        return []
    rides: dict[tuple[object, ...], list[SettledLine]] = {}
    for line in sorted(lines, key=_age if follows_rides else _age_by_id):
        if line.journey_id is not None:
            journey_id = None if follows_rides else line.journey_id
            rides.setdefault((line.tap_id, line.product_id, journey_id), []).append(line)
    journeys: dict[UUID, list[SettledLine]] = {}
    journeys_before: dict[UUID, list[SettledLine]] = {}
    for ride in rides.values():
        _join(journeys, ride)
        if days_after is not None:
            _join(journeys_before, [line for line in ride if line.settlement_day <= days_after])
    moved: list[ClearingLine] = []
    for journey_id in sorted(journeys.keys() | journeys_before.keys()):
        now = _due(journeys.get(journey_id, ()), clearing)
        then = _due(journeys_before.get(journey_id, ()), clearing)
        for key in sorted(now.keys() | then.keys()):
            amount_fen = now.get(key, 0) - then.get(key, 0)
            if amount_fen:
                agreement_id, operator_id = key
                moved.append(ClearingLine(agreement_id, journey_id, operator_id, amount_fen))
    return moved


def _age(line: SettledLine) -> tuple[datetime, int, UUID]:
    """Taps that come in one batch are recorded at one instant, and change a ride one by one."""
    return line.recorded_at, line.wallet_version, line.entry_id


def _age_by_id(line: SettledLine) -> tuple[datetime, UUID]:
    return line.recorded_at, line.entry_id


def _join(journeys: dict[UUID, list[SettledLine]], ride: Sequence[SettledLine]) -> None:
    """Add a ride's lines to the journey that the newest names."""
    if ride and ride[-1].journey_id is not None:
        journeys.setdefault(ride[-1].journey_id, []).extend(ride)


def _due(lines: Sequence[SettledLine], clearing: Clearing) -> dict[tuple[str, str], int]:
    """What agreements move to each operator, for one journey's lines, each ride's by their age."""
    legs: dict[tuple[UUID, str], _Leg] = {}
    for line in lines:
        ride = (line.tap_id, line.product_id)
        leg = legs.setdefault(ride, _Leg(line.operator_id, line.product_id, line.effective_at))
        leg.paid_fen += line.amount_fen
        leg.rides_count += line.ride_count
        leg.own_fen, leg.distance_m = line.own_fen or 0, line.distance_m or 0
        leg.change_fen = line.change_fen or 0
    in_order = sorted(legs.items(), key=lambda one: (one[1].effective_at, one[0]))
    ridden = [leg for _, leg in in_order if leg.rides_count > 0]
    before_each = dict(zip(map(id, ridden), [None, *ridden], strict=False))
    found: dict[tuple[str, str], int] = {}
    for agreement in clearing.agreements:
        fitting = [leg for leg in ridden if _fits(agreement, leg)]
        ridden = [leg for leg in ridden if not _fits(agreement, leg)]
        for operator_id, amount_fen in _moved_by(agreement, fitting, before_each).items():
            if amount_fen:
                key = (agreement.id, operator_id)
                found[key] = found.get(key, 0) + amount_fen
    return found


def _fits(agreement: Agreement, leg: _Leg) -> bool:
    return (not agreement.products or leg.product_id in agreement.products) and (
        not agreement.operators or leg.operator_id in agreement.operators
    )


def _moved_by(
    agreement: Agreement, legs: Sequence[_Leg], before_each: Mapping[int, _Leg | None]
) -> dict[str, int]:
    moved: dict[str, int] = {}
    for leg in legs:
        moved.setdefault(leg.operator_id, 0)
    table = {each.operator: int(each.weight) for each in agreement.weights}
    match agreement.by:
        case "table":
            for leg in legs:
                _add(moved, largest_remainder(leg.paid_fen, table))
                moved[leg.operator_id] -= leg.paid_fen
        case "bearer":
            for leg in legs:
                bearers = _bearers(agreement, table, before_each[id(leg)], leg)
                _add(moved, {leg.operator_id: leg.change_fen})
                shares = largest_remainder(leg.change_fen, bearers)
                _add(moved, {name: -fen for name, fen in shares.items()})
        case "own_fare" | "distance":
            if len(legs) > 1:
                weights: dict[str, int] = {}
                for leg in legs:
                    weight = leg.own_fen if agreement.by == "own_fare" else leg.distance_m
                    weights[leg.operator_id] = weights.get(leg.operator_id, 0) + weight
                    moved[leg.operator_id] -= leg.paid_fen
                _add(moved, largest_remainder(sum(leg.paid_fen for leg in legs), weights))
    assert sum(moved.values()) == 0, (agreement, legs)
    return moved


def _bearers(
    agreement: Agreement, table: dict[str, int], before: _Leg | None, leg: _Leg
) -> dict[str, int]:
    if agreement.bearers == "table":
        return table
    return {before.operator_id if before and agreement.bearers == "before" else leg.operator_id: 1}


def _add(moved: dict[str, int], more: Mapping[str, int]) -> None:
    for name, amount_fen in more.items():
        moved[name] = moved.get(name, 0) + amount_fen


def fees(
    earned_fen: Mapping[str, int],
    ride_counts: Mapping[str, int],
    clearing: Clearing,
    institutions: Iterable[InstitutionTotal] = (),
) -> list[FeeLine]:
    """What each operator pays of each fee, by what it earned in a period and the rides it carried.

    Shape:  who earned nothing, or gave back more than it earned, pays no percentage; a fee for some
            institutions looks only at what their wallets paid.
    """
    totals = list(institutions)
    found: list[FeeLine] = []
    for fee in clearing.fees:
        basis_fen, rides = (
            _paid_by(fee.issuers, totals) if fee.issuers else (earned_fen, ride_counts)
        )
        found += [
            FeeLine(fee.id, operator_id, fee.paid_to, amount_fen)
            for operator_id in sorted(basis_fen)
            if operator_id != fee.paid_to and (not fee.operators or operator_id in fee.operators)
            if (amount_fen := _fee_fen(fee, basis_fen[operator_id], rides.get(operator_id, 0)))
        ]
    return sorted(found, key=lambda line: (line.operator_id, line.fee_id))


def _paid_by(
    issuers: Container[str], totals: Iterable[InstitutionTotal]
) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """What wallets of some institutions paid to each operator, and how many rides they had."""
    paid_fen, rides = Counter[str](), Counter[str]()
    for total in totals:
        if total.issuer_id in issuers:
            paid_fen[total.operator_id] += total.amount_fen
            rides[total.operator_id] += total.ride_count
    return paid_fen, rides


def _fee_fen(fee: Fee, earned_fen: int, rides_count: int) -> int:
    amount_fen = 0
    if fee.percent is not None and earned_fen > 0:
        amount_fen += percent_of(earned_fen, fee.percent, fee.rounding)
    if fee.per_ride is not None and rides_count > 0:
        amount_fen += fee.per_ride * rides_count
    if fee.minimum is not None and (earned_fen > 0 or rides_count > 0):
        amount_fen = max(amount_fen, fee.minimum)
    return amount_fen if fee.maximum is None else min(amount_fen, fee.maximum)
