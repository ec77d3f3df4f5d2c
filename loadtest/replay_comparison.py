"""What the gateway made of a replay, held against the answer key."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from shenzhen_taps import StoredTap, StoredTaps

LET_THROUGH = frozenset({"double_beep", "leg_opened", "ride_charged", "ride_owed"})


@dataclass(frozen=True, slots=True)
class Replay:
    """All that the gateway said, by tap; what is settled is by operator."""

    results: Mapping[str, Mapping[str, Any]]
    charges_fen: Mapping[str, int]  # in the end: a later tap may have corrected an answer
    answered_otherwise: frozenset[str] = frozenset()  # a later copy, not byte for byte
    settled_fen: Mapping[str, int] | None = None


@dataclass(slots=True)
class Comparison:
    """How many rows the gateway charged as the key, and by line and operator what is wrong."""

    key_count: int = 0
    charged_count: int = 0
    incomplete_count: int = 0
    differing: dict[int, str] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    unsettled: dict[str, str] = field(default_factory=dict)

    @property
    def is_faultless(self) -> bool:
        return not (self.differing or self.refused or self.unsettled)

    def faults(self) -> Iterator[str]:
        yield from (f"{operator}: {fault}" for operator, fault in self.unsettled.items())
        yield from (f"line {line}: {fault}" for line, fault in self.differing.items())
        yield from (f"line {line}: {outcome}" for line, outcome in self.refused.items())

    def __str__(self) -> str:
        return (
            f"charged {self.charged_count} of {self.key_count}, "
            f"differing {len(self.differing)}, refused {len(self.refused)}, "
            f"incomplete {self.incomplete_count}"
        )


def compare(stored: StoredTaps, replay: Replay) -> Comparison:
    """Hold every row against the key: entries cost nothing, and even a free ride has its charge."""
    found = Comparison(differing=dict(stored.faults))
    for tap in stored.taps:
        result = replay.results.get(tap.tap_id, {"outcome": "not answered"})
        found.incomplete_count += result.get("incomplete", False)
        if result["outcome"] not in LET_THROUGH:
            found.refused[tap.line] = result["outcome"]
        charge_fen = replay.charges_fen.get(tap.tap_id, None if tap.is_charged else 0)
        is_as_key = charge_fen == tap.key_fen
        found.key_count += tap.is_charged
        found.charged_count += tap.is_charged and is_as_key
        if not is_as_key:
            found.differing.setdefault(tap.line, f"charged {charge_fen} fen, not {tap.key_fen}")
        elif tap.tap_id in replay.answered_otherwise:
            found.differing.setdefault(tap.line, "a later copy was answered otherwise")
    if replay.settled_fen is not None:
        key_fen = _key_by_operator(stored.taps)
        for operator in sorted(key_fen.keys() | replay.settled_fen.keys()):
            settled_fen = replay.settled_fen.get(operator, 0)
            if settled_fen != key_fen[operator]:
                found.unsettled[operator] = f"settled {settled_fen} fen, not {key_fen[operator]}"
    return found


def operator_table(taps: list[StoredTap], replay: Replay) -> Iterator[str]:
    """One line per operator, its name last because Chinese is wider than it counts."""
    charged_fen: Counter[str] = Counter()
    for tap in taps:
        charged_fen[tap.operator_id] += replay.charges_fen.get(tap.tap_id, 0)
    columns: dict[str, Mapping[str, int]] = {
        "rows": Counter(tap.operator_id for tap in taps),
        "key fen": _key_by_operator(taps),
        "charged fen": charged_fen,
    }
    if replay.settled_fen is not None:
        columns["settled fen"] = replay.settled_fen
    yield _row(columns, "operator")
    for operator, _ in _key_by_operator(taps).most_common():
        yield _row((column.get(operator, 0) for column in columns.values()), operator)
    yield _row((sum(column.values()) for column in columns.values()), "all")


def _key_by_operator(taps: list[StoredTap]) -> Counter[str]:
    key_fen: Counter[str] = Counter()
    for tap in taps:
        key_fen[tap.operator_id] += tap.key_fen
    return key_fen


def _row(cells: Iterable[object], name: str) -> str:
    return " ".join(f"{cell:>12}" for cell in cells) + f"  {name}"
