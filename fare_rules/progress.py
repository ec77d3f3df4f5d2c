"""How far a rider is from free travel: what each cap has counted, and what is left."""

from __future__ import annotations

from datetime import date, datetime

from msgspec import Struct

from fare_rules.compiled import CompiledTariff
from fare_rules.language.discounts import FareCap
from fare_rules.periods import Window, is_over, window_at
from fare_rules.states import RiderState
from fare_rules.zones import Span


class CapProgress(Struct, frozen=True, omit_defaults=True):
    """One cap in its newest period. Of the limit or the rides, one is said.

    Units:  fen. A limit by zones is the one of the zones travelled so far.
    """

    rule_id: str
    spent_fen: int
    rides_count: int
    limit_fen: int | None = None
    left_fen: int | None = None
    rides_left: int | None = None


def cap_progress(
    state: RiderState, tariff: CompiledTariff, *, day: date, instant: datetime
) -> tuple[CapProgress, ...]:
    """Say of each cap that has begun to count where the rider stands."""
    return tuple(
        _progress(rule, window_at(rule.period, window, day, instant), tariff)
        for rule in tariff.file.fare_caps
        if (window := state.windows.get(rule.id)) is not None
        and not is_over(rule.period, window, day, instant)
    )


def _progress(rule: FareCap, window: Window, tariff: CompiledTariff) -> CapProgress:
    if rule.rides is not None:
        left = max(rule.rides - window.rides_count, 0)
        return CapProgress(rule.id, window.spent_fen, window.rides_count, rides_left=left)
    limit_fen: int | None = None if rule.amount is None else int(rule.amount)
    if limit_fen is None and window.low >= 0:
        limit_fen = tariff.cap_limits[rule.id].of(Span(window.low, window.high))
    left_fen = None if limit_fen is None else max(limit_fen - window.spent_fen, 0)
    return CapProgress(rule.id, window.spent_fen, window.rides_count, limit_fen, left_fen)
