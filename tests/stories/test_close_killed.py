"""A close that is killed at any step is finished by the next one, of that day or a later."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from _killed_close import SHARED
from _town import Town, day_of

from fare_rules import load_book
from gateway.core.signed_books import operator_files
from gateway.verify_commands import verify

ROOT = Path(__file__).parents[2]
DAYS_COUNT = 90
SIGNED = {"manifest.sig"}


@pytest.fixture
def town(database: str, tmp_path: Path) -> Iterator[Town]:
    """Many days, each with a change from metro to bus, which two operators share, and a ferry."""
    town = Town(load_book(SHARED), database, tmp_path)
    for name in ("ann", "bob"):
        town.rider(name, issuer="icbc")
    for day in range(DAYS_COUNT):
        town.tap("ann", "enter", "metro luohu", day, "08:00")
        town.tap("ann", "exit", "metro laojie", day, "08:20")
        town.tap("ann", "board", "bus M390", day, "08:30")
        town.tap("bob", "enter", "metro luohu", day, "09:00")
    yield town
    town.store.close()


def test_a_close_killed_at_any_step_is_finished_by_the_next(town: Town) -> None:
    folder = town.folder / "settlement"
    ran = subprocess.run(
        [
            sys.executable, str(Path(__file__).with_name("_killed_close.py")), town.dsn,
            str(folder), str(day_of(0)), str(DAYS_COUNT),
        ],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    # Some closes had fewer steps than were allowed: every step has been killed at.
    unharmed = ran.stdout.split()
    assert str(day_of(DAYS_COUNT - 1)) in unharmed
    assert str(day_of(0)) not in unharmed
    made = town.settlement_files()
    # Killed before the clock was moved, a day is settled with the next.
    assert DAYS_COUNT // 2 < len(made) < DAYS_COUNT
    settlements = {one.period.service_day: one for one in town.settlements()}
    for day, files in made.items():
        kept = {
            str(path.relative_to(folder / str(day))): path.read_bytes()
            for path in (folder / str(day)).rglob("*")
            if path.is_file() and not path.name.startswith(".partial-")
        }
        signed = {name: kept.pop(name) for name in list(kept) if Path(name).name in SIGNED}
        assert kept == {**files, **operator_files(settlements[day], files)}
        assert len(signed) == 1 + len(settlements[day].batches)
    days = [folder / str(day) for day in made]
    assert verify(*days, key=str(folder / "keys.json")) == 0
    owed = town.store.run(town.store.pool.fetchval("SELECT sum(operator_fen) FROM journal_entry"))
    assert sum(one.totals.gross_fen for one in settlements.values()) == owed
    assert town.count("delivery") == sum(len(one.batches) for one in settlements.values())
    town.check_audit()
