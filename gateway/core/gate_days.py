"""What each gate has sent of one service day, and what seems to be missing.

A gate's numbers count up from wherever it began, over all days. A gap belongs to the day of the
number that follows it, so each is told once, those between two days, too. It says only that nothing
was seen yet: a gate without a network keeps its taps and sends them later.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct, structs

from gateway.core.decide import KeptTap
from gateway.core.registry import Gate

# So many gaps are told of each gate, the lowest numbers first; the others are counted.
GAPS_MAX = 5
_MILLISECOND = timedelta(milliseconds=1)


class Gap(Struct, frozen=True):
    """Numbers of a gate that were not seen yet, from one to another, both included."""

    first: int
    last: int


class Seen(Struct, frozen=True):
    """What the log has of one gate and day; of reused numbers it has the taps, and no sequence."""

    taps_count: int = 0
    refused_count: int = 0
    for_a_person_count: int = 0
    newest_received_at: datetime | None = None
    first_sequence: int | None = None
    last_sequence: int | None = None
    missing_count: int = 0
    gaps_count: int = 0
    gaps: tuple[Gap, ...] = ()
    sequence_reused_count: int = 0


class GateDay(Struct, frozen=True, omit_defaults=True):
    """One gate on one service day.

    `refused_count` has all taps that were not let through; `sequence_reused_count` those of them
    whose number another tap had: a device that was replaced, and counts anew. `for_a_person_count`
    has those that a person must look at, refused or not. `clock_behind_ms` is the least time
    between the tap and its receipt among the newest taps made with a network; below zero, the
    gate's clock is ahead.
    """

    gate_id: str
    operator_id: str
    network: str
    taps_count: int
    refused_count: int
    sequence_reused_count: int
    for_a_person_count: int
    missing_count: int
    gaps_count: int
    gaps: tuple[Gap, ...]
    first_sequence: int | None = None
    last_sequence: int | None = None
    newest_received_at: datetime | None = None
    clock_behind_ms: int | None = None


def gate_day(gate: Gate, seen: Seen, newest: Iterable[KeptTap]) -> GateDay:
    """Tell a gate's day; `newest` are the last taps received from it."""
    return GateDay(
        gate_id=gate.gate_id,
        operator_id=gate.operator_id,
        network=gate.network,
        clock_behind_ms=clock_behind_ms(newest),
        **structs.asdict(seen),
    )


def clock_behind_ms(newest: Iterable[KeptTap]) -> int | None:
    """How far a gate's clock seems behind; None where no tap was made with a network.

    The way to us only adds to it, so the least is nearest to the truth.
    """
    lags = [kept.received_at - kept.tap.tapped_at for kept in newest if not kept.tap.offline]
    return min(lags) // _MILLISECOND if lags else None
