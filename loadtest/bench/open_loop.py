"""An open loop: requests go out by a schedule that does not wait for answers.

Latency counts from the instant at which a request was due, so one that a slow answer, a full
connection or a late generator held up is counted as the rider would feel it: no coordinated
omission. How late the generator itself was is reported beside it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from loadtest.bench.connections import Done

Send = Callable[[bytes, Done], None]
_GIVE_UP_TICKS, _GIVE_UP_TICK_SECONDS = 2_000, 0.01
_TICK_SECONDS = 0.001
# One gate's flood is refused by 429, everybody's by 503.
_REFUSALS = frozenset({429, 503})


class Phase(NamedTuple):
    """So many requests a second for so long."""

    per_second: float
    seconds: float


class Sent(NamedTuple):
    """One request and what became of it; instants by the generator's clock."""

    phase: int
    due_at: float
    sent_at: float
    answered_at: float
    status: int
    has_retry_after: bool


def schedule(phases: Sequence[Phase], seed: int = 1) -> Iterator[tuple[int, float]]:
    """When each request is due, in seconds from the start: riders come as they please (Poisson)."""
    draw = random.Random(seed)
    begins_at = 0.0
    for number, phase in enumerate(phases):
        at = begins_at
        begins_at += phase.seconds
        while (at := at + draw.expovariate(phase.per_second)) < begins_at:
            yield number, at


async def run_open_loop(
    send: Send, requests: Iterator[bytes], phases: Sequence[Phase]
) -> list[dict[str, Any]]:
    """Send by the schedule; one report a phase."""
    sent: list[Sent] = []
    due = list(schedule(phases))
    position = 0
    started_at = time.perf_counter()
    while position < len(due):
        now = time.perf_counter() - started_at
        while position < len(due) and due[position][1] <= now:
            phase, at = due[position]
            position += 1
            _send_one(send, next(requests), phase, started_at + at, sent)
        await asyncio.sleep(_TICK_SECONDS)
    for _ in range(_GIVE_UP_TICKS):
        if len(sent) == len(due):
            break
        await asyncio.sleep(_GIVE_UP_TICK_SECONDS)
    assert len(sent) == len(due), f"{len(due) - len(sent)} requests were never answered"
    return reports_of(phases, sent, started_at)


def _send_one(send: Send, request: bytes, phase: int, due_at: float, sent: list[Sent]) -> None:
    sent_at = time.perf_counter()

    def done(status: int, said: bytes) -> None:
        answered_at = time.perf_counter()
        is_told_when = status in _REFUSALS and b"retry-after" in said.lower()
        sent.append(Sent(phase, due_at, sent_at, answered_at, status, is_told_when))

    send(request, done)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not below this share of all; 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def reports_of(
    phases: Sequence[Phase], sent: Sequence[Sent], started_at: float
) -> list[dict[str, Any]]:
    """What each phase saw: its own requests' latencies, and the answers given while it lasted."""
    reports = []
    begins_at = started_at
    for number, phase in enumerate(phases):
        ends_at = begins_at + phase.seconds
        # A backlog that is answered when the overload is over was not carried by it.
        taken = sum(one.status == 200 and begins_at <= one.answered_at < ends_at for one in sent)
        mine = [one for one in sent if one.phase == number]
        reports.append({"taken_per_second": taken / phase.seconds, **_report(phase, mine)})
        begins_at = ends_at
    return reports


def _report(phase: Phase, mine: Sequence[Sent]) -> dict[str, Any]:
    taken_ms = [(one.answered_at - one.due_at) * 1000 for one in mine if one.status == 200]
    refused = [one for one in mine if one.status in _REFUSALS]
    # A refusal held up by the generator's own lack of connections is not the gateway's.
    refused_ms = [(one.answered_at - one.sent_at) * 1000 for one in refused]
    return {
        "per_second": phase.per_second,
        "p50_ms": percentile(taken_ms, 0.5),
        "p50_since_sent_ms": percentile(
            [(one.answered_at - one.sent_at) * 1000 for one in mine if one.status == 200], 0.5
        ),
        "p99_ms": percentile(taken_ms, 0.99),
        "p999_ms": percentile(taken_ms, 0.999),
        "send_lag_p99_ms": percentile([(one.sent_at - one.due_at) * 1000 for one in mine], 0.99),
        "statuses": Counter(one.status for one in mine),
        "refused_p99_ms": percentile(refused_ms, 0.99),
        "refused_without_retry_after": sum(not one.has_retry_after for one in refused),
    }
