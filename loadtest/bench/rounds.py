"""Rounds that are fair to both sides: there and back again, so that a drift of the machine cancels.

With two contenders a round is A B B A, with three A B C C B A.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple


class Run(NamedTuple):
    """What one contender did in its turn, and what it cost."""

    taps_count: int
    taps_per_second: float
    gateway_cpu_seconds: float = 0.0
    postgres_cpu_seconds: float = 0.0
    generator_cpu_seconds: float = 0.0
    wal_bytes: int = 0
    by_tenth_second: tuple[int, ...] = ()


class Turn(NamedTuple):
    """Both turns of one contender in one round, added up."""

    runs: tuple[Run, ...]

    @property
    def taps_per_second(self) -> float:
        return sum(run.taps_per_second for run in self.runs) / len(self.runs)

    def each_tap(self, name: str) -> float:
        """A cost, by its field's name, a tap."""
        return float(
            sum(getattr(run, name) for run in self.runs) / sum(run.taps_count for run in self.runs)
        )


Contender = Callable[[], Awaitable[Run]]
Round = dict[str, Turn]


async def race(contenders: Mapping[str, Contender], rounds_count: int) -> list[Round]:
    rounds = []
    for _ in range(rounds_count):
        runs: dict[str, list[Run]] = {name: [] for name in contenders}
        for name in (*contenders, *reversed(list(contenders))):
            runs[name].append(await contenders[name]())
        rounds.append({name: Turn(tuple(both)) for name, both in runs.items()})
    return rounds


def ratios(rounds: list[Round], above: str, below: str) -> list[float]:
    """How many times faster one contender was than another, round by round."""
    return [
        one_round[above].taps_per_second / one_round[below].taps_per_second for one_round in rounds
    ]


def costs(rounds: list[Round], contender: str, name: str, *, scale: float) -> list[float]:
    """What a tap cost a contender, round by round."""
    return [one_round[contender].each_tap(name) * scale for one_round in rounds]
