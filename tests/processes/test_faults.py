"""Five kinds of kill -9 under load, one after the other: nothing lost, nothing doubled."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(240)
def test_five_cycles_end_without_a_break() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "loadtest.faults", "--cycles", "5", "--seed", "7"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    *_, killed, closes, last = ran.stdout.splitlines()
    assert re.fullmatch(r"5 cycles, [1-9]\d{2,} taps, 0 breaks", last)
    assert killed == "killed: backend 1, close 1, postmaster 1, supervisor 1, worker 1"
    assert closes.startswith("closes when they were killed: "), "none ended before it was killed"
    assert closes.endswith(" 1")
