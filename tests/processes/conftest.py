"""Whole processes: a stack to kill, and a recorded morning to replay against it."""

from __future__ import annotations

import csv
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Test files are imported by path, so their helpers have to be found by name.
sys.path.insert(0, str(Path(__file__).parent))

from _stack import COLUMNS, Stack


@pytest.fixture
def folder() -> Iterator[Path]:
    # PostgreSQL runs as another user when we are root, and must be able to enter.
    path = Path(tempfile.mkdtemp(prefix="faregate-test-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def stack(folder: Path) -> Iterator[Stack]:
    stack = Stack(folder)
    stack.start()
    yield stack
    if stack.process and stack.process.poll() is None:
        stack.stop(signal.SIGTERM)


@pytest.fixture
def morning(folder: Path) -> Path:
    """A recorded morning of our own making, in the form of the Shenzhen Tong log."""
    path = folder / "morning.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for number in range(400):
            card, minute, second = f"CARD{number:05d}", number // 8, number % 60
            bus = (
                "巴士",
                160,
                200,
                f"2310{number % 40:02d}",
                "巴士集团",
                f"M{number % 7}",
                "B1",
                0,
            )
            rows.writerow(_row(card, f"07:{minute:02d}:{second:02d}", bus))
            into = ("地铁入站", 0, 0, f"2610{number % 30:02d}", "地铁一号线", "罗湖", "AGM-1", 0)
            rows.writerow(_row(card, f"08:{minute:02d}:{second:02d}", into))
            # The bus was at most ninety minutes before: 95 % of 5.00, less 0.40.
            out = ("地铁出站", 435, 500, f"2620{number % 30:02d}", "地铁一号线", "", "", 1)
            rows.writerow(_row(card, f"09:{minute:02d}:{second:02d}", out))
    return path


def _row(card: str, at: str, rest: tuple[object, ...]) -> list[object]:
    kind, money, value, gate, company, station, vehicle, mark = rest
    day = "2018-09-01"
    return [
        card, f"{day} {at}", kind, money, value, gate, company, station, vehicle, mark,
        f"{day} 00:00:00",
    ]  # fmt: skip
