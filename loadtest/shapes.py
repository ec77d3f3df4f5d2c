"""How many gates are busy at each moment of a run.

Each shape is a share of the most, from 0 to 1, at each share of the run. `-u` is the most, `-t` how
long the run takes.
"""

from collections.abc import Callable

from locust import LoadTestShape
from locust.runners import MasterRunner

from loadtest.city.hours import rate_at
from loadtest.users.gates import TAPS_PER_SECOND

RUN_SECONDS = 60
USERS = 60
SPAWN_PER_SECOND = 100
WARM_UP_SECONDS = 5
WARM = "warm"  # what the master tells its workers when the warm-up is over


def _spike(share: float) -> float:
    """A stadium empties: more than three times as much, all at once, and it goes away again."""
    return 1.0 if 0.4 <= share < 0.6 else 0.3


SHAPES: dict[str, Callable[[float], float]] = {
    "steady": lambda share: 1.0,
    # A whole weekday from 04:00 to midnight, compressed into the run.
    "rush-hour": rate_at,
    "spike": _spike,
    # What a machine should carry for as long as one likes: 70 percent of its best.
    "soak": lambda share: 0.7,
}


class Shape(LoadTestShape):
    """The shape that `--shape` names. It also counts how many taps were asked for.

    Nothing counts before the warm-up is over: connections open, and the gateway's first statements
    are planned.
    """

    use_common_options = True
    asked_taps_count = 0.0
    is_over = False
    _counted_until = 0.0
    _is_warm = False

    def tick(self) -> tuple[int, float] | None:
        options = self.runner.environment.parsed_options
        run_seconds = float(options.run_time or RUN_SECONDS)
        seconds = self.get_run_time()
        if not self._is_warm and seconds >= min(WARM_UP_SECONDS, run_seconds / 4):
            self._is_warm = True
            self._counted_until = seconds
            self._forget_warm_up()
        if self._is_warm:
            self._count_asked(seconds)
        if self.is_over or seconds >= run_seconds:
            return None
        share = SHAPES[options.shape](seconds / run_seconds)
        gates_count = max(round((options.num_users or USERS) * share), 1)
        return gates_count + self._fixed_count(), options.spawn_rate or SPAWN_PER_SECOND

    def reset_time(self) -> None:
        super().reset_time()
        self.asked_taps_count = 0.0
        self._is_warm = False

    def _forget_warm_up(self) -> None:
        """Here, and in the processes that have not told of it yet."""
        self.runner.environment.stats.reset_all()
        if isinstance(self.runner, MasterRunner):
            self.runner.send_message(WARM)

    def _fixed_count(self) -> int:
        return sum(user.fixed_count for user in self.runner.user_classes)

    def _count_asked(self, seconds: float) -> None:
        gates_count = max(self.get_current_user_count() - self._fixed_count(), 0)
        self.asked_taps_count += gates_count * TAPS_PER_SECOND * (seconds - self._counted_until)
        self._counted_until = seconds
