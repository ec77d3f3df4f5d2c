"""The race is fair, its table is true, and it ends as it says."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from loadtest.bench import __main__ as bench
from loadtest.bench.growth_chart import chart
from loadtest.bench.open_loop import Phase, Sent, reports_of
from loadtest.bench.rounds import Run, race, ratios
from loadtest.bench.stream_client import STREAMS, streams_of
from loadtest.bench.table import ON_DEMAND, ROWS, Measured, lines_of
from loadtest.city import City

ROOT = Path(__file__).parents[2]


async def test_contenders_take_turns_there_and_back_so_that_a_drift_of_the_machine_cancels():
    turns: list[str] = []

    def contender(name: str, speed: float):
        async def turn() -> Run:
            turns.append(name)
            # A machine that loses a tap a second with every turn.
            return Run(1, speed - len(turns))

        return turn

    rounds = await race({"A": contender("A", 100), "B": contender("B", 100)}, 2)
    assert "".join(turns) == "ABBAABBA"
    assert ratios(rounds, "A", "B") == [1, 1]


def test_a_row_prints_its_median_and_range_and_what_it_is_held_against():
    (line,) = lines_of([Measured("P1", 0, [3.05, 2.7, 2.91])])
    assert re.sub(" +", " ", line.text()) == "P1 2.91 (2.70-3.05) at least 2.5 aim 5 ok"


@pytest.mark.parametrize(
    ("row_id", "values", "is_ok"),
    [
        ("P4", [0.7], True),
        ("P4", [0.69], False),
        ("P4", [5, 0.69, 0.69], False),
        ("L1", [2.5], True),
        ("L1", [2.51], False),
    ],
)
def test_a_row_is_kept_or_missed_by_its_median(row_id: str, values: list[float], is_ok: bool):
    (line,) = lines_of([Measured(row_id, 0, values)])
    assert line.is_ok() is is_ok
    assert line.text().endswith("ok" if is_ok else "MISSED")
    kept = lines_of([Measured("P1", 0, [9])])
    assert bench._exit_code([*kept, line], is_audited=True) == (0 if is_ok else 1)


def test_a_race_whose_audit_fails_fails():
    assert bench._exit_code(lines_of([Measured("P1", 0, [9])]), is_audited=False) == 1


def test_one_figure_of_a_row_that_is_missed_is_enough():
    (line,) = lines_of([Measured("P9", 0, [600]), Measured("P9", 1, [41])])
    assert "600 B (600-600), 41 µs (41-41)" in line.text()
    assert not line.is_ok()


def test_long_rows_run_only_when_they_are_asked_for():
    assert bench._wish([]).rows == ROWS.keys() - ON_DEMAND
    assert bench._wish(["--rows", "K,P1"]).rows == {"K memory", "K p99", "K table", "P1"}
    with pytest.raises(SystemExit) as refused:
        bench._wish(["--rows", "P99"])
    assert refused.value.code == 2


def test_every_gate_taps_on_a_stream_of_its_own_signer():
    gates = City(riders_count=10).registry()["gates"]
    signers = {gate["gate_id"]: gate.get("concentrator_id", gate["gate_id"]) for gate in gates}
    owners, places = streams_of(signers)
    assert len(owners) == STREAMS
    assert {gate: owners[place] for gate, place in places.items()} == signers
    assert set(places.values()) == set(range(STREAMS))


def test_a_tap_waits_from_the_moment_it_was_due_however_late_it_was_sent():
    late = Sent(0, due_at=10.0, sent_at=10.2, answered_at=10.3, status=200, has_retry_after=False)
    (report,) = reports_of([Phase(1, 1.0)], [late], started_at=10.0)
    assert report["p50_ms"] == pytest.approx(300)
    assert report["send_lag_p99_ms"] == pytest.approx(200)


def test_a_backlog_answered_after_an_overload_was_not_carried_by_it():
    in_time = Sent(0, due_at=0.1, sent_at=0.1, answered_at=0.9, status=200, has_retry_after=False)
    backlog = Sent(0, due_at=0.2, sent_at=0.2, answered_at=1.5, status=200, has_retry_after=False)
    refused = Sent(0, due_at=0.3, sent_at=0.3, answered_at=0.31, status=503, has_retry_after=True)
    overload, after = reports_of(
        [Phase(3, 1.0), Phase(1, 1.0)], [in_time, backlog, refused], started_at=0.0
    )
    assert (overload["taken_per_second"], after["taken_per_second"]) == (1, 1)
    assert overload["refused_p99_ms"] == pytest.approx(10)
    assert overload["refused_without_retry_after"] == 0


def test_growth_is_drawn_from_nothing_stored_to_millions():
    costs = {"python_us": 30.0, "postgres_us": 40.0, "wal_bytes": 600.0}
    drawn = chart(
        [
            {"what": "wallets", "size": 10_000, **costs},
            {"what": "taps stored", "size": 0, **costs},
            {"what": "taps stored", "size": 5_000_000, **costs},
        ]
    )
    for said in ("by wallets<", "by taps stored<", ">10k<", ">0<", ">5M<"):
        assert said in drawn
    assert drawn.count("<polyline") == 6


async def _run_bench(*arguments: str) -> tuple[str, int | None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "loadtest.bench", "--no-results", "--rounds", "1", "--wallets", "2000"),
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return said.decode(), process.returncode


async def test_a_short_race_is_run_audited_and_told():
    said, code = await _run_bench("--rows", "P1", "--seconds", "1")
    verdict = re.search(
        r"^P1 +[\d.]+ \([\d.]+-[\d.]+\)  at least 2.5  aim 5  (ok|MISSED)$", said, re.M
    )
    assert verdict, said
    assert "audit passed" in said
    assert code == (0 if verdict.group(1) == "ok" else 1)
