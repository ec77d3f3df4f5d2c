"""When legs of unlinked days were given up: later days are computed again as if that were known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from _stores import MIDNIGHT
from _town import RETENTION_DAYS, UNLINK_DAYS, Town

from fare_rules import load_book
from gateway.core.taps import TapOutcome

LAST_DAY = 3
ARCHIVING_DAY = LAST_DAY + RETENTION_DAYS + 1


@pytest.fixture
def town(database: str, tmp_path: Path) -> Iterator[Town]:
    town = Town(load_book(MIDNIGHT), database, tmp_path)
    town.rider("ann", others=("her phone",))
    yield town
    town.store.close()


def test_a_leg_that_the_next_one_ended_was_not_swept(town: Town) -> None:
    """The next one came in late, and was swept itself."""
    town.tap("ann", "enter", "metro luohu", 0, "09:00")
    town.tap("ann", "enter", "metro luohu", 2, "09:00", arrives=3)
    town.close(3)
    town.archive(ARCHIVING_DAY)
    assert len(town.unlink(UNLINK_DAYS + 1)) == 1
    town.check_audit()


def test_a_late_entry_is_charged_as_swept_though_the_sweep_was_of_a_free_leg_first(
    town: Town,
) -> None:
    town.tap("her phone", "enter", "tram park", 0, "09:00")
    town.tap("ann", "enter", "metro luohu", 2, "09:00")
    town.close(ARCHIVING_DAY - 1)
    town.archive(ARCHIVING_DAY)
    today = UNLINK_DAYS + LAST_DAY
    assert len(town.unlink(today)) == 2
    late = town.tap("ann", "enter", "metro luohu", ARCHIVING_DAY - 2, "09:00", arrives=today)
    assert late.outcome is TapOutcome.RIDE_CHARGED
    town.check_audit()
