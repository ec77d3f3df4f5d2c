"""The depots' uplinks: what buses without radio stored, delivered at night."""

import time

from locust import constant_throughput, task

from loadtest.users.signed import Played, SigningUser

REQUEST_TAPS = 100
NIGHT_COMES_SECONDS = 10.0
ROW = "depot: 100 stored taps"


class NightBus(SigningUser):
    """Sends full hundreds as they come, and every ten seconds, its night, whatever there is."""

    wait_time = constant_throughput(2)

    def on_start(self) -> None:
        self._night_at = time.monotonic() + NIGHT_COMES_SECONDS

    @task
    def deliver(self) -> None:
        is_night = time.monotonic() > self._night_at
        if is_night:
            self._night_at = time.monotonic() + NIGHT_COMES_SECONDS
        if stored := Played.feed.take_stored(REQUEST_TAPS, is_night=is_night):
            depot, taps = stored
            self.post_taps(depot, taps, ROW)
