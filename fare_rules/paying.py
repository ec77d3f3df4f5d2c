"""The ways of paying less, each of which says what of an amount is paid; and of paying more."""

from collections.abc import Iterable
from fractions import Fraction

from fare_rules.base_fare import percent_of
from fare_rules.language.discounts import (
    FareTier,
    Free,
    PaysAmount,
    PaysBands,
    PaysFormula,
    PaysLess,
    PaysPercent,
    TierStep,
)
from fare_rules.language.products import Surcharge
from fare_rules.language.scalars import RoundTo
from fare_rules.money import WHOLE, round_parts
from fare_rules.periods import Window


def payable_fen(pays: object, due_fen: int) -> int:
    """What is left of an amount by one way of paying less."""
    match pays:
        case PaysPercent():
            return percent_of(due_fen, pays.percent, pays.rounding)
        case PaysBands():
            return _banded_fen(pays, due_fen)
        case PaysAmount():
            return min(int(pays.amount), due_fen)
        case PaysLess():
            return max(due_fen - pays.amount, 0)
        case PaysFormula():
            reduced_fen = max(due_fen - pays.subtract, 0)
            return percent_of(reduced_fen, pays.percent, pays.rounding) + pays.add
        case Free():
            return 0
    raise AssertionError(f"no such way of paying: {pays}")


def surcharge_fen(rule: Surcharge, full_fen: int, over_minutes: int = 0) -> int:
    """What one rider is charged by a surcharge of an amount or a percentage of the full fare."""
    if rule.amount is not None:
        each_fen = int(rule.amount)
    else:
        assert rule.percent is not None
        each_fen = percent_of(full_fen, rule.percent, None)
    if rule.every_minutes is not None:
        each_fen *= -(-over_minutes // rule.every_minutes)
    return each_fen if rule.maximum is None else min(each_fen, rule.maximum)


def _banded_fen(pays: PaysBands, due_fen: int) -> int:
    parts = 0
    starts_fen = 0
    for band in pays.bands:
        ends_fen = due_fen if band.up_to is None else int(band.up_to)
        part_fen = min(due_fen, ends_fen) - starts_fen
        if part_fen <= 0:
            break
        parts += part_fen * band.percent
        starts_fen = ends_fen
    return _round_share(parts, pays.rounding)


def _round_share(parts: int, rounding: RoundTo) -> int:
    step_fen = int(rounding.step or 1)
    return round_parts(parts, WHOLE * step_fen, rounding.mode) * step_fen


def tier_percent(steps: Iterable[TierStep], window: Window) -> int:
    """Find the rate that is reached: by what was spent, or by how many rides came before."""
    percent = WHOLE
    for step in steps:
        if (
            (step.after_rides is not None and window.rides_count >= step.after_rides)
            or (step.from_ is not None and window.spent_fen >= step.from_)
            or (step.above is not None and window.spent_fen > step.above)
        ):
            percent = int(step.percent)
    return percent


def split_fen(rule: FareTier, spent_fen: int, due_fen: int, *, by_payment: bool) -> int:
    """Charge each part of a fare at the rate of the tier that it falls in."""
    rest, spent, paid = Fraction(due_fen), Fraction(spent_fen), Fraction(0)
    starts = [
        int((step.from_ if step.from_ is not None else step.above) or 0) for step in rule.steps
    ]
    rates = [WHOLE, *(int(step.percent) for step in rule.steps)]
    for rate, end in zip(rates, [*starts, None], strict=True):
        if end is not None and spent >= end:
            continue
        share = Fraction(rate, WHOLE)
        part = rest
        if end is not None:
            # How much of the full fare brings what is counted to the end of this tier.
            counted = share if by_payment else Fraction(1)
            part = min(rest, (end - spent) / counted) if counted else rest
        paid += part * share
        spent += part * (share if by_payment else 1)
        rest -= part
        if not rest:
            break
    step_fen = int(rule.rounding.step or 1)
    return round_parts(paid.numerator, paid.denominator * step_fen, rule.rounding.mode) * step_fen
