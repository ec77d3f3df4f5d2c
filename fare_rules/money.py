"""Money is a whole number of minor units: fen; or cents, pence, won, where the tariff says so."""

from enum import StrEnum
from typing import NewType

Fen = NewType("Fen", int)
WHOLE = 10_000  # A hundred percent, in hundredths of a percent.
ONE_PERCENT = 100


class Rounding(StrEnum):
    """What becomes of a part of a minor unit, or of a step."""

    HALF_UP = "half_up"
    HALF_EVEN = "half_even"
    UP = "up"
    DOWN = "down"


def round_parts(parts: int, parts_in_one: int, rounding: Rounding) -> int:
    """Turn parts into wholes. All money that has to be rounded is rounded here.

    Units:  parts, and how many of them make one; never negative, so half up and half away are one.
    """
    assert parts >= 0
    whole, rest = divmod(parts, parts_in_one)
    if rest == 0 or rounding is Rounding.DOWN:
        return whole
    if rounding is Rounding.UP or 2 * rest > parts_in_one:
        return whole + 1
    if 2 * rest < parts_in_one:
        return whole
    return whole + 1 if rounding is Rounding.HALF_UP else whole + whole % 2


def share_of(
    amount_fen: int, hundredths: int, rounding: Rounding = Rounding.HALF_UP, step_fen: int = 1
) -> Fen:
    """Take a percentage of an amount, rounded to a multiple of a step.

    Units:  fen in, fen out; hundredths of a percent, 9,500 for 95 %.
    """
    return Fen(round_parts(amount_fen * hundredths, WHOLE * step_fen, rounding) * step_fen)
