"""A line of gates that is online: a turnstile, or the reader of a bus with radio."""

import random

import gevent
from locust import constant_throughput, task

from loadtest.users.signed import Played, SigningUser

# Of one line: at its busiest, a turnstile lets through about one rider a second.
TAPS_PER_SECOND = 5.0
ROWS = {"enter": "metro: enter", "exit": "metro: exit", "board": "bus: board"}


class GateLine(SigningUser):
    """Five lanes side by side. Each tap is its own request, and the rider waits for its answer."""

    wait_time = constant_throughput(TAPS_PER_SECOND)

    def on_start(self) -> None:
        # Riders do not come in step at all gates. `constant_throughput` counts from a user's
        # making, and would bring back into step whoever begins within the first period.
        gevent.sleep((1 + random.random()) / TAPS_PER_SECOND)

    @task
    def tap(self) -> None:
        tap = Played.feed.next_tap()
        self.post_taps(tap.gate_id, tap, ROWS[tap.action])
