"""A recorded morning goes in at the HTTP door and comes out exact, whatever happens meanwhile."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from _stack import Stack

LAST_LINE = "charged 800 of 800, differing 0, refused 0, incomplete 400"


@pytest.mark.timeout(200)
def test_every_tap_is_charged_what_the_record_says_and_settled(stack: Stack, morning: Path) -> None:
    replay = stack.replay(morning, "--settle", "--repeat", "3")
    said, _ = replay.communicate(timeout=150)
    assert said.splitlines()[-1] == LAST_LINE
    assert replay.returncode == 0
    assert stack.stop(signal.SIGTERM) == 0
    audit = stack.audit()
    assert audit.stdout.splitlines()[-1] == "audit passed"


@pytest.mark.timeout(200)
def test_five_kills_during_a_shuffled_replay_lose_and_double_nothing(
    stack: Stack, morning: Path
) -> None:
    replay = stack.replay(morning, "--settle", "--shuffle", "11", "--repeat", "3")
    for _ in range(5):
        time.sleep(1.0)
        stack.stop(signal.SIGKILL)
        stack.start()
    said, faults = replay.communicate(timeout=150)
    assert said.splitlines()[-1:] == [LAST_LINE], faults
    assert stack.stop(signal.SIGTERM) == 0
    audit = stack.audit()
    assert audit.returncode == 0, audit.stdout


@pytest.mark.timeout(120)
def test_a_stop_in_the_middle_answers_what_is_in_flight_and_the_rest_waits(
    stack: Stack, morning: Path
) -> None:
    replay = stack.replay(morning, "--shuffle", "3", "--repeat", "2")
    time.sleep(1.5)
    assert stack.stop(signal.SIGTERM) == 0
    stack.start()
    said, faults = replay.communicate(timeout=90)
    assert said.splitlines()[-1:] == [LAST_LINE], faults
