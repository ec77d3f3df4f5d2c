"""What the gateway made of a replay, held against the answer key."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from shenzhen_taps import StoredTap, StoredTaps

LET_THROUGH = frozenset({"double_beep", "leg_opened", "ride_charged", "ride_owed"})


@dataclass(frozen=True, slots=True)
class Replay:
    """All that the gateway said: each tap's result, and what it is charged in the end."""

    results: Mapping[UUID, dict[str, Any]]
    charges_fen: Mapping[UUID, int]
    answered_otherwise: frozenset[UUID] = frozenset()  # a later copy, not byte for byte


@dataclass(slots=True)
class Comparison:
    charged_count: int = 0
    key_charged_count: int = 0
    incomplete_count: int = 0
    differing: dict[int, str] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)

    @property
    def is_faultless(self) -> bool:
        return not self.differing and not self.refused

    def __str__(self) -> str:
        return (
            f"charged {self.charged_count} of {self.key_charged_count}, "
            f"differing {len(self.differing)}, refused {len(self.refused)}, "
            f"incomplete {self.incomplete_count}"
        )


def compare(stored: StoredTaps, replay: Replay) -> Comparison:
    """Hold every row against the key: entries cost nothing, and even a free ride has a charge.

    Shape: `differing` and `refused` say what is wrong by the file's line; a row may be in both.
    """
    found = Comparison(differing=dict(stored.faults))
    for tap in stored.taps:
        result = replay.results[tap.tap_id]
        found.incomplete_count += bool(result.get("incomplete"))
        if result["outcome"] not in LET_THROUGH:
            found.refused[tap.line] = result["outcome"]
        charge_fen = replay.charges_fen.get(tap.tap_id)
        is_as_key = charge_fen == tap.key_fen or not (tap.is_charged or tap.key_fen or charge_fen)
        found.key_charged_count += tap.is_charged
        found.charged_count += tap.is_charged and is_as_key
        if not is_as_key:
            found.differing[tap.line] = f"charged {charge_fen} fen instead of {tap.key_fen}"
        elif tap.tap_id in replay.answered_otherwise:
            found.differing[tap.line] = "a later copy was answered otherwise"
    return found


def operator_totals(taps: list[StoredTap], fen_of: Mapping[UUID, int]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for tap in taps:
        totals[tap.operator_id] += fen_of.get(tap.tap_id, 0)
    return totals


def operator_table(
    taps: list[StoredTap], replay: Replay, settled_fen: Mapping[str, int] | None
) -> Iterator[str]:
    """One line per operator, its name last because Chinese is wider than it counts."""
    rows = Counter(tap.operator_id for tap in taps)
    key_fen = operator_totals(taps, {tap.tap_id: tap.key_fen for tap in taps})
    columns: dict[str, Mapping[str, int]] = {
        "rows": rows,
        "key fen": key_fen,
        "charged fen": operator_totals(taps, replay.charges_fen),
    }
    if settled_fen is not None:
        columns["settled fen"] = settled_fen
    yield " ".join(f"{name:>12}" for name in columns) + "  operator"
    names = sorted({*rows, *(settled_fen or ())}, key=lambda name: (-key_fen[name], name))
    for name in names:
        yield " ".join(f"{column.get(name, 0):>12}" for column in columns.values()) + f"  {name}"
    yield " ".join(f"{sum(column.values()):>12}" for column in columns.values()) + "  all"
