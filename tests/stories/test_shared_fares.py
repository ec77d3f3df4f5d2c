"""Operators share fares, however late a tap comes and however old its day has grown."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from _killed_close import SHARED
from _town import RETENTION_DAYS, Town, day_of

from fare_rules import load_book
from gateway.verify_commands import verify

ARCHIVING_DAY = RETENTION_DAYS + 4


@pytest.fixture
def town(database: str, tmp_path: Path) -> Iterator[Town]:
    """Ann changed from metro to bus; the bus told of it after the metro's day was closed."""
    town = Town(load_book(SHARED), database, tmp_path)
    town.rider("ann", issuer="icbc")
    town.tap("ann", "enter", "metro luohu", 0, "08:00")
    town.tap("ann", "exit", "metro laojie", 0, "08:20")
    town.close(0)
    town.tap("ann", "board", "bus M390", 0, "08:30", arrives=2)
    town.close(2)
    town.tap("ann", "board", "bus M390", ARCHIVING_DAY - 1, "08:00")
    town.close(ARCHIVING_DAY - 2)
    yield town
    town.store.close()


def test_a_ride_of_a_closed_day_bears_the_change_that_came_late(town: Town) -> None:
    first, second, _ = town.settlements()
    assert [(one.operator_id, one.shared_fen) for one in first.batches] == [
        ("icbc", 0), ("metro", 0),
    ]  # fmt: skip
    assert {one.operator_id: (one.gross_fen, one.shared_fen) for one in second.batches} == {
        "icbc": (0, 0), "bus": (150, 50), "metro": (0, -50),
    }  # fmt: skip
    town.check_audit()


def test_what_was_shared_comes_out_the_same_from_the_archive(town: Town) -> None:
    files, settlements = town.settlement_files(), town.settlements()
    town.archive(ARCHIVING_DAY)
    assert day_of(0) in town.archived_days()
    assert town.settlement_files() == files
    assert town.settlements() == settlements
    town.check_audit()


def test_a_day_closed_before_operators_were_told_of_fees_comes_out_as_it_was(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    files, folder = town.settlement_files(), town.folder / "settlement"
    own = folder / str(day_of(0)) / "operators" / "metro"
    assert (own / "fees_metro.csv").exists()
    town.store.run(_as_before_fees_were_told(town.dsn))
    shutil.rmtree(folder)
    town.close(0)
    assert town.settlement_files() == files
    assert sorted(path.name for path in own.iterdir()) == ["manifest.json", "operator_metro.csv"]
    # What lies there is not taken for edited, and what it cannot show is said.
    town.close(0)
    assert verify(own, own.parents[1]) == 0
    assert "fees -0.03 CNY; " in (said := capsys.readouterr().out)
    assert "no file shows the fees" in said


@pytest.mark.parametrize(
    ("arrives", "shared"),
    [("in its place", [73]), ("before the close", [73]), ("after the close", [83, -10])],
)
def test_a_ride_that_joins_another_journey_late_is_shared_as_a_part_of_it(
    database: str, tmp_path: Path, arrives: str, shared: list[int]
) -> None:
    """The bus takes 0.30 off the ferry, of which it is due a third: of 2.50 once, of 2.20 now."""
    town = Town(load_book(SHARED), database, tmp_path)
    town.rider("bob")
    if arrives == "in its place":
        town.tap("bob", "board", "bus M390", 0, "08:40")
    town.tap("bob", "board", "ferry east", 0, "09:00")
    town.tap("bob", "alight", "ferry west", 0, "09:20")
    if arrives == "before the close":
        town.tap("bob", "board", "bus M390", 0, "08:40", arrives=0)
    town.close(0)
    if arrives == "after the close":
        town.tap("bob", "board", "bus M390", 0, "08:40", arrives=1)
        town.close(1)
    assert [
        (one.operator_id, one.shared_fen)
        for settled in town.settlements()
        for one in settled.batches
        if one.shared_fen
    ] == [(name, fen * sign) for fen in shared for name, sign in (("bus", 1), ("ferry", -1))]
    files = town.settlement_files()
    town.check_audit()
    town.close(ARCHIVING_DAY - 2)
    town.archive(ARCHIVING_DAY)
    assert day_of(0) in town.archived_days()
    assert {day: town.settlement_files()[day] for day in files} == files
    town.store.close()


async def _as_before_fees_were_told(dsn: str) -> None:
    owner = await asyncpg.connect(dsn)
    try:
        async with owner.transaction():
            await owner.execute("SET LOCAL session_replication_role = replica")
            parties = await owner.fetchval("SELECT parties FROM settlement WHERE number = 1")
            assert b',"tells_fees":true' in parties
            await owner.execute(
                "UPDATE settlement SET parties = $1 WHERE number = 1",
                parties.replace(b',"tells_fees":true', b""),
            )
    finally:
        await owner.close()
