"""Amounts as people read them: 2.90, -0.40, 1300 where a currency has no minor unit."""

from functools import lru_cache


# Fares, and what cards have left, are the same amounts all the time.
@lru_cache(maxsize=16_384)
def said(amount_fen: int, digits: int) -> str:
    """Write minor units as a decimal of the main unit."""
    sign = "-" if amount_fen < 0 else ""
    whole, part = divmod(abs(amount_fen), 10**digits)
    return f"{sign}{whole}.{part:0{digits}}" if digits else f"{sign}{whole}"
