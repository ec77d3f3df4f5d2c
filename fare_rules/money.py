"""Money is a whole number of minor units: fen; or cents, pence, won, where the tariff says so."""

from enum import StrEnum
from typing import NewType

Fen = NewType("Fen", int)


class Rounding(StrEnum):
    """What becomes of a part of a fen."""

    HALF_UP = "half_up"
    UP = "up"
    DOWN = "down"


_HUNDREDTHS_ADDED = {Rounding.HALF_UP: 50, Rounding.UP: 99, Rounding.DOWN: 0}


def round_hundredths(hundredths: int, rounding: Rounding) -> Fen:
    """Turn hundredths of a fen into whole fen. Every percentage of money is rounded here.

    Units:  hundredths of a fen in, fen out; never negative, so half up and half away are one.
    """
    assert hundredths >= 0
    return Fen((hundredths + _HUNDREDTHS_ADDED[rounding]) // 100)


def percent_of(amount: Fen, percent: int, rounding: Rounding = Rounding.HALF_UP) -> Fen:
    """Take a whole percentage of an amount, rounding half a fen up unless told otherwise.

    Units:  fen in, fen out; percent is 0..100.
    """
    assert 0 <= percent <= 100
    return round_hundredths(amount * percent, rounding)
