"""The load test as locust runs it, from the root of the checkout, against any gateway:

python -m loadtest.register --base-url URL --admin-token-file FILE --keys keys.json
locust -f loadtest/locustfile.py --host URL --keys keys.json --headless -t 60s -u 60
"""

import os
import signal
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import gevent
import msgspec
from locust import events
from locust.env import Environment
from locust.runners import STATE_INIT, MasterRunner, WorkerRunner

from loadtest.feed import Feed
from loadtest.keys_file import KeysFile
from loadtest.objectives import judge
from loadtest.records import Recorder
from loadtest.shapes import SHAPES, USERS, WARM, Shape
from loadtest.users.desks import Desk
from loadtest.users.gates import TAPS_PER_SECOND, GateLine
from loadtest.users.night_buses import NightBus
from loadtest.users.signed import Played

__all__ = ["Desk", "GateLine", "NightBus", "Shape"]

# More than in the city's days, so that a short run sees depots deliver, too.
OFFLINE_BUSES_PER_1000 = 200


@events.init_command_line_parser.add_listener
def add_options(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("faregate")
    group.add_argument("--keys", env_var="FAREGATE_KEYS", help="from loadtest.register")
    group.add_argument("--shape", choices=sorted(SHAPES), default="steady")
    group.add_argument(
        "--parts",
        type=int,
        default=0,
        help="how many processes share the city; by default as many as --processes",
    )
    group.add_argument(
        "--token-file", env_var="FAREGATE_TOKEN_FILE", help="a finance token; without it, no desks"
    )
    group.add_argument("--desks", type=int, default=1, help="people in the back office")
    group.add_argument("--records", default="", help="a folder to write what was answered")


@events.init.add_listener
def prepare(environment: Environment, **_: Any) -> None:
    options = environment.parsed_options
    if not options.keys:
        sys.exit("--keys FILE is missing: make it with python -m loadtest.register")
    try:
        keys = KeysFile.read(Path(options.keys))
    except (OSError, msgspec.MsgspecError) as error:
        sys.exit(f"--keys {options.keys} cannot be read: {error}")
    if _parts_count(environment) > keys.gates_per_line:
        sys.exit(f"the city was registered for {keys.gates_per_line} parts: see --gates-per-line")
    if options.headless and not isinstance(environment.runner, WorkerRunner):
        gevent.signal_handler(signal.SIGTERM, _end_early, environment)
    if isinstance(environment.runner, WorkerRunner):
        environment.runner.register_message(WARM, lambda **_: environment.stats.reset_all())
    NightBus.fixed_count = _parts_count(environment)
    Desk.fixed_count = options.desks if options.token_file else 0
    # A worker plays what its master says, and hears of a token from it.
    if not Desk.fixed_count and not isinstance(environment.runner, WorkerRunner):
        environment.user_classes = [one for one in environment.user_classes if one is not Desk]


@events.test_start.add_listener
def begin(environment: Environment, **_: Any) -> None:
    """Take this process's part of the city: its own cards, its own gates."""
    runner, options = environment.runner, environment.parsed_options
    if isinstance(runner, MasterRunner):
        return
    part = runner.worker_index if isinstance(runner, WorkerRunner) else 0
    parts_count = _parts_count(environment)
    if part >= parts_count:
        sys.exit(f"this is process {part + 1} of {parts_count}: say --parts on every process")
    Played.keys = KeysFile.read(Path(options.keys))
    city = Played.keys.city(part, parts_count, offline_buses_per_1000=OFFLINE_BUSES_PER_1000)
    users_count = options.num_users or USERS
    Played.feed = Feed(city, users_count * TAPS_PER_SECOND / parts_count)
    folder = Path(options.records) if options.records else None
    Played.recorder = Recorder(folder, f"part-{part}-{os.getpid()}")
    if options.token_file:
        Played.token = Path(options.token_file).read_text().strip()


@events.test_stop.add_listener
def end(environment: Environment, **_: Any) -> None:
    if not isinstance(environment.runner, MasterRunner):
        Played.recorder.close()


@events.quitting.add_listener
def report(environment: Environment, **_: Any) -> None:
    """Judge the run where all figures come together; the exit code says whether it was met."""
    if isinstance(environment.runner, WorkerRunner):
        return
    asked = environment.shape_class.asked_taps_count if environment.shape_class else 0.0
    verdicts = judge(environment.stats, asked)
    print(*verdicts, sep="\n", flush=True)
    environment.process_exit_code = 0 if all(one.is_met for one in verdicts) else 1


def _end_early(environment: Environment) -> None:
    """End as if the time were over: locust itself listens to SIGTERM only when a shape is done."""
    if environment.runner.state == STATE_INIT:  # It waits for its workers.
        sys.exit(128 + signal.SIGTERM)
    environment.shape_class.is_over = True


def _parts_count(environment: Environment) -> int:
    options = environment.parsed_options
    return options.parts or max(options.processes or 1, 1)
