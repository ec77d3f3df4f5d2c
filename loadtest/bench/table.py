"""The table of the race: what is measured, what must be reached, and what is aimed at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple


class Figure(NamedTuple):
    """The median of some rounds, with their range."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        return cls(median(values), min(values), max(values))


class Bound(NamedTuple):
    """What one figure is held against. With `is_ceiling` less is better."""

    at_least: float
    aim: float
    unit: str = ""
    is_ceiling: bool = False

    def is_kept_by(self, value: float) -> bool:
        return value <= self.at_least if self.is_ceiling else value >= self.at_least


class Row(NamedTuple):
    """One line of the table; some have several figures."""

    what: str
    bounds: tuple[Bound, ...]


def _ceilings(unit: str, *pairs: tuple[float, float]) -> tuple[Bound, ...]:
    return tuple(Bound(at_least, aim, unit, is_ceiling=True) for at_least, aim in pairs)


def _latency(what: str, ms_max: float) -> Row:
    return Row(what, (Bound(ms_max, ms_max, "ms", is_ceiling=True),))


# Ratios of taps a second, unless a unit is named.
ROWS: Mapping[str, Row] = {
    "P1": Row("engine ÷ pgbench A", (Bound(2.5, 5),)),
    "P2": Row("engine ÷ pgbench B", (Bound(1.8, 3.5),)),
    "P3": Row("HTTP, 100 signed taps a request ÷ pgbench A", (Bound(2, 4),)),
    "P4": Row("HTTP, one signed tap a request, 64 connections ÷ pgbench A", (Bound(0.7, 1.2),)),
    "P5": Row("stream, one tap a message ÷ pgbench A", (Bound(1.2, 2.5),)),
    "P6": Row("all taps to one operator ÷ spread over 8", (Bound(0.9, 1),)),
    "P7": Row("10 % of taps on one wallet: the others' rate ÷ engine", (Bound(0.8, 1),)),
    "P8": Row(
        "settlement close running ÷ none; 50 times the history ÷ empty",
        (Bound(0.85, 0.95), Bound(0.85, 0.95)),
    ),
    "P9": Row(
        "WAL and PostgreSQL CPU a tap", _ceilings("B", (900, 500)) + _ceilings("µs", (40, 25))
    ),
    "P10": Row(
        "Python CPU a tap: engine, HTTP batch, HTTP single",
        _ceilings("µs", (45, 25), (55, 35), (160, 110)),
    ),
    "P11": Row("every ride sponsored by a campaign ÷ none", (Bound(0.9, 1),)),
    "P12": Row("riders by Zipf's law ÷ everyone in turn", (Bound(0.9, 1),)),
    "L50 p50": _latency("one tap a request, open loop at 50 % of its peak", 4),
    "L50 p99": _latency("the same", 15),
    "L70 p99": _latency("at 70 %, with a checkpoint inside", 25),
    "L70 p99.9": _latency("the same", 100),
    "L1": _latency("one lone tap on a quiet gateway, median", 2.5),
    "S50 p50": _latency("stream, open loop at 50 % of its peak", 4),
    "S50 p99": _latency("the same", 15),
    "S70 p99": _latency("stream at 70 %, with a checkpoint inside", 25),
    "S70 p99.9": _latency("the same", 100),
    "O goodput": Row("twice the peak offered: answered ÷ peak", (Bound(0.9, 1),)),
    "O refusal": _latency("the same: time to a refusal with Retry-After, p99", 10),
    "O memory": Row("the same: growth of the gateway", _ceilings("MB", (200, 100))),
    "O after": _latency("p99 in the second that begins 5 s after", 25),
    "K memory": Row("soak at 70 %: growth of the gateway", _ceilings("MB", (60, 20))),
    "K p99": Row("the same: p99, last third ÷ first", _ceilings("", (1.5, 1.1))),
    "K table": Row("the same: size of the wallets' table", _ceilings("", (1.15, 1.02))),
}
# These take long, so they are run only when they are asked for.
ON_DEMAND = frozenset({"K memory", "K p99", "K table"})


class Measured(NamedTuple):
    """One figure of a row, round by round."""

    row_id: str
    position: int
    values: list[float]


def lines_of(measured: Sequence[Measured], rows: Mapping[str, Row] = ROWS) -> list[Line]:
    """The rows of which anything was measured, in the table's order."""
    found = {(one.row_id, one.position): Figure.of(one.values) for one in measured}
    return [
        Line(row_id, tuple(found.get((row_id, i)) for i in range(len(row.bounds))))
        for row_id, row in rows.items()
        if any(known == row_id for known, _ in found)
    ]


class Line(NamedTuple):
    """A row with what was measured; a figure that was not is None."""

    row_id: str
    figures: tuple[Figure | None, ...]

    def is_ok(self, rows: Mapping[str, Row] = ROWS) -> bool:
        return all(
            bound.is_kept_by(figure.middle)
            for figure, bound in zip(self.figures, rows[self.row_id].bounds, strict=True)
            if figure is not None
        )

    def text(self, rows: Mapping[str, Row] = ROWS) -> str:
        """Such as `P1  2.91 (2.70-3.05)  at least 2.5  aim 5  ok`."""
        bounds = rows[self.row_id].bounds
        shown = ", ".join(map(_shown, self.figures, bounds))
        word = "at most" if bounds[0].is_ceiling else "at least"
        at_least = ", ".join(f"{bound.at_least:g}" for bound in bounds)
        aim = ", ".join(f"{bound.aim:g}" for bound in bounds)
        verdict = "ok" if self.is_ok(rows) else "MISSED"
        return f"{self.row_id:<9} {shown}  {word} {at_least}  aim {aim}  {verdict}"


def _shown(figure: Figure | None, bound: Bound) -> str:
    if figure is None:
        return "not run"
    unit = f" {bound.unit}" if bound.unit else ""
    middle, low, high = (_rounded(value) for value in figure)
    return f"{middle}{unit} ({low}-{high})"


def _rounded(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"
