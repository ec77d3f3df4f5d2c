"""Rides of a disruption are put right once each, however often the job is killed and run again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import pytest
from _stores import HARBOUR
from _town import Town, moment

from fare_rules import load_book
from gateway.core.disruptions import DisruptionWish
from gateway.disruption_path import run_disruptions
from gateway.settlement_path import sweep_late_legs
from gateway.shell.disruption_store import save_approval, save_disruption

ROOT = Path(__file__).parents[2]
LET_OUT = [f"let out {number}" for number in range(3)]
LET_IN = [f"let in {number}" for number in range(2)]
NEXT_NOON = moment(1, "12:00")


@pytest.fixture
def town(database: str, tmp_path: Path) -> Iterator[Town]:
    """Luohu lets riders out without a tap in the morning, and Laojie lets them in so at night.

    Those of the morning pay for a ride to Laojie, those of the night nothing.
    """
    town = Town(load_book(HARBOUR), database, tmp_path)
    run, pool = town.store.run, town.store.pool
    for number, name in enumerate((*LET_OUT, *LET_IN, "elsewhere")):
        town.rider(name)
        if name in LET_OUT:
            town.tap(name, "enter", "metro luohu", 0, f"08:{number:02}")
        elif name in LET_IN:
            town.tap(name, "exit", "metro laojie", 0, f"20:{number:02}")
        else:
            town.tap(name, "enter", "metro huaqiang_lu", 0, "08:00")
    for station, hours, treatment, completed_at in (
        ("luohu", ("07:00", "10:00"), "completed", "laojie"),
        ("laojie", ("19:00", "22:00"), "free", None),
    ):
        wish = DisruptionWish(
            uuid5(NAMESPACE_URL, station),
            (station,),
            *(moment(0, hour) for hour in hours),
            treatment,
            completed_at,
        )
        run(save_disruption(pool, wish, "maker", NEXT_NOON))
        run(save_approval(pool, wish.disruption_id, "checker", NEXT_NOON))
    run(sweep_late_legs(pool, NEXT_NOON, town.book))
    yield town
    town.store.close()


def paid_fen(town: Town) -> dict[str, int]:
    names = (*LET_OUT, *LET_IN, "elsewhere")
    return {name: 100_000 - town.store.wallet(uuid5(NAMESPACE_URL, name)).net_fen for name in names}


def check_each_is_put_right_once(town: Town) -> None:
    right = dict.fromkeys(LET_OUT, 300) | dict.fromkeys(LET_IN, 0) | {"elsewhere": 900}
    assert paid_fen(town) == right
    booked = town.store.run(
        town.store.pool.fetch(
            """SELECT wallet_id, count(*) FROM correction
            JOIN correction_decision USING (correction_id) WHERE state = 'booked' GROUP BY 1"""
        )
    )
    assert {row["wallet_id"]: row["count"] for row in booked} == {
        uuid5(NAMESPACE_URL, name): 1 for name in (*LET_OUT, *LET_IN)
    }
    town.check_audit()
    town.close(0)
    (settlement,) = town.settlements()
    assert settlement.totals.gross_fen == sum(right.values())
    assert paid_fen(town) == right
    town.check_audit()


def test_each_ride_is_put_right_once_though_the_job_is_killed_at_any_step(town: Town) -> None:
    assert set(paid_fen(town).values()) == {700, 900}
    ran = subprocess.run(
        [
            sys.executable, str(Path(__file__).with_name("_killed_disruption.py")), town.dsn,
            str(HARBOUR), NEXT_NOON.isoformat(),
        ],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 20
    again = town.store.run(run_disruptions(town.store.pool, town.book, NEXT_NOON))
    assert (again.disruptions_count, again.corrected_count, again.refused_count) == (2, 0, 0)
    check_each_is_put_right_once(town)


def test_each_ride_is_put_right_once_though_two_run_the_job_at_one_time(town: Town) -> None:
    async def both() -> None:
        jobs = (run_disruptions(town.store.pool, town.book, NEXT_NOON) for _ in range(3))
        await asyncio.gather(*jobs)

    town.store.run(both())
    check_each_is_put_right_once(town)
