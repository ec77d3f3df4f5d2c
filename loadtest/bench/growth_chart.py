"""Two small charts of what a tap costs, one over wallets and one over stored taps, as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 300, 180, 60, 30, 120
# What is drawn, what it is called, and in which colour.
_LINES = (
    ("python_us", "Python, µs", "#1f6fb2", 1.0),
    ("postgres_us", "PostgreSQL, µs", "#c0392b", 1.0),
    ("wal_bytes", "WAL, tens of bytes", "#2e8b57", 0.1),
)


def chart(points: Sequence[Mapping[str, Any]]) -> str:
    """Costs from 0 upwards, at equal steps of size: steps are many times the last, and may be 0."""
    most = max(point[name] * scale for point in points for name, _, _, scale in _LINES)
    width = 2 * (_LEFT + _WIDTH) + _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT + 90}" '
        'font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, (what, group) in enumerate(groupby(points, key=lambda point: point["what"])):
        left = _LEFT + number * (_WIDTH + _GAP)
        parts += _one_chart(what, list(group), left, most)
    for number, (_, label, colour, _) in enumerate(_LINES):
        parts.append(_text(_LEFT + 140 * number, _HEIGHT + 80, label, colour=colour))
    return "\n".join([*parts, "</svg>", ""])


def _one_chart(
    what: str, points: Sequence[Mapping[str, Any]], left: float, most: float
) -> Iterator[str]:
    bottom = _TOP + _HEIGHT
    step = _WIDTH / max(1, len(points) - 1)
    yield _text(left, _TOP - 12, f"Cost of a tap by {what}")
    yield (f'<path d="M{left} {_TOP}V{bottom}H{left + _WIDTH}" fill="none" stroke="#888"/>')
    for share in (0, 0.5, 1):
        at = bottom - share * _HEIGHT
        yield _text(left - 6, at + 4, f"{most * share:.0f}", anchor="end")
    for position, point in enumerate(points):
        yield _text(left + position * step, bottom + 18, _short(point["size"]), anchor="middle")
    for name, _, colour, scale in _LINES:
        places = " ".join(
            f"{left + position * step:.1f},{bottom - point[name] * scale / most * _HEIGHT:.1f}"
            for position, point in enumerate(points)
        )
        yield f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _text(x: float, y: float, said: str, *, anchor: str = "start", colour: str = "#222") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{said}</text>'


def _short(size: int) -> str:
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if size >= unit:
            return f"{size / unit:g}{name}"
    return str(size)
