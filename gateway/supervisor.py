"""Several gateways on one port: kept alive, counted together, stopped together.

Every worker is a whole gateway in a process of its own, with its own listening socket, lanes and
connections; the kernel deals new connections out among the sockets. The supervisor serves nothing.
It holds what they share: the port, the folder of their metrics and, in `__main__`, the embedded
PostgreSQL. Each worker writes a byte a second into a pipe; one that goes silent is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog
from prometheus_client.multiprocess import mark_process_dead

from fare_rules import load_book
from gateway.serving import (
    CannotRun,
    master_key_of,
    port_taken,
    prepare_database,
    serve_until_stopped,
    stop_event,
)
from gateway.shell import telemetry
from gateway.shell.settings import Settings

log = structlog.get_logger()

# Who lives so long has started well: what kills it later is no fault of the start.
_SETTLED_SECONDS = 10
_PAUSE_SECONDS, _PAUSE_SECONDS_MAX = 0.1, 5.0
# Longer than a worker's own limit of draining, so that its last answers are not cut off.
_GRACE_SECONDS = 2
_BEAT_SECONDS = 1.0
# Counters are written through mapped files. On a disk, a write waits while the page is being
# flushed; in memory it never does.
_MEMORY_FOLDER = Path("/dev/shm")
_FOLDER_PREFIX = "faregate-metrics-"


async def supervise_until_stopped(settings: Settings, dsn: str) -> bool:
    """Serve with `workers_count` processes until told to stop. True when all have drained.

    Raises: CannotRun for what would stop every worker, before there is any, and for a worker that
            dies at every start. TariffFaults likewise.
    """
    stop = stop_event()
    load_book(settings.tariffs_dir)
    await prepare_database(settings, dsn)
    with _port_held(settings), _metrics_folder() as folder:
        crew = _Crew(settings, _environment(settings, dsn, folder), folder)
        return await crew.serve_until(stop)


class _Crew:
    """The workers, by number: where one has died, the next takes its place."""

    def __init__(self, settings: Settings, environment: dict[str, str], folder: Path) -> None:
        self._settings = settings
        self._environment = environment
        self._folder = folder
        self._processes: dict[int, Process] = {}

    async def serve_until(self, stop: asyncio.Event) -> bool:
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(stop.wait())]
        for number in range(1, self._settings.workers_count + 1):
            tasks.append(asyncio.create_task(self._keep_alive(number)))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            has_drained = await self._drain()
        for task in done:
            task.result()
        return has_drained

    async def _keep_alive(self, number: int) -> None:
        """Runs for ever. Raises: CannotRun when there is no point in going on."""
        loop, deaths_count, was_silent = asyncio.get_running_loop(), 0, False
        while True:
            started_at = loop.time()
            said, was_silent = await self._live_once(number, after_silence=was_silent)
            is_settled = loop.time() - started_at >= _SETTLED_SECONDS
            deaths_count = 1 if is_settled else deaths_count + 1
            log.error("worker died", worker=number, death=said, deaths_count=deaths_count)
            if deaths_count >= self._settings.worker_deaths_count_max:
                raise CannotRun(
                    f"worker {number} died {deaths_count} times in a row, each time within "
                    f"{_SETTLED_SECONDS} seconds of its start, at last with {said}; the log above "
                    "has its own words. FAREGATE_WORKER_DEATHS_COUNT_MAX is the limit."
                )
            await asyncio.sleep(min(_PAUSE_SECONDS * 2 ** (deaths_count - 1), _PAUSE_SECONDS_MAX))

    async def _live_once(self, number: int, *, after_silence: bool) -> tuple[str, bool]:
        """One worker, from its start to its death: what it died of, and whether it was silent."""
        with _pipe() as (heard, beaten):
            try:
                process = self._processes[number] = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "gateway", "worker", "--supervisor", str(os.getpid())),
                    *("--heartbeat", str(beaten), *(["--after-silence"] * after_silence)),
                    env=self._environment,
                    pass_fds=(beaten,),
                    # Ctrl-C reaches the supervisor alone, which tells all at the same moment.
                    start_new_session=True,
                )
            except OSError as error:
                return f"no process to be had: {error}", False
            was_silent = await self._is_silenced(process, heard)
        code = await process.wait()
        # Its counters stay in the sum; what it held at the moment does not.
        mark_process_dead(process.pid, str(self._folder))  # type: ignore[no-untyped-call]
        said = f"exit code {code}" if code >= 0 else f"signal {-code} ({signal.strsignal(-code)})"
        return said, was_silent

    async def _is_silenced(self, process: Process, heard: int) -> bool:
        """Wait for a worker's end, or kill it once it is silent for too long: whether it was.

        Time is counted by looking: however long we are stopped ourselves, it is one look.
        """
        ending, silent_count = asyncio.create_task(process.wait()), 0
        seconds_max = self._settings.worker_silence_seconds_max
        while silent_count * _BEAT_SECONDS < seconds_max:
            done, _ = await asyncio.wait({ending}, timeout=_BEAT_SECONDS)
            if done:
                return False
            silent_count = 0 if _has_beaten(heard) else silent_count + 1
        log.error("worker killed: it was silent for too long", pid=process.pid, seconds=seconds_max)
        process.kill()
        return True

    async def _drain(self) -> bool:
        """Tell all at once; kill who does not come to an end in time."""
        alive = [one for one in self._processes.values() if one.returncode is None]
        for process in alive:
            process.send_signal(signal.SIGTERM)
        late: set[asyncio.Task[int]] = set()
        if waits := {asyncio.create_task(one.wait()) for one in alive}:
            timeout = self._settings.drain_seconds_max + _GRACE_SECONDS
            _, late = await asyncio.wait(waits, timeout=timeout)
        for process in alive:
            if process.returncode is None:
                log.error("worker killed: it did not drain in time", pid=process.pid)
                process.kill()
        await asyncio.gather(*late)
        return not late


async def serve_and_beat(
    settings: Settings, dsn: str, master_key: bytes, heartbeat: int, *, after_silence: bool
) -> None:
    """What a worker does: serve, and show its supervisor each second that its loop turns."""
    if after_silence:
        telemetry.WORKERS_SILENT.inc()
    _beat(heartbeat)
    beating = asyncio.create_task(_beat_forever(heartbeat))
    try:
        await serve_until_stopped(settings, dsn, master_key, shares_port=True)
    finally:
        beating.cancel()


async def _beat_forever(heartbeat: int) -> None:
    while True:
        await asyncio.sleep(_BEAT_SECONDS)
        _beat(heartbeat)


def _beat(heartbeat: int) -> None:
    # Full after hours in which the supervisor was stopped, and gone when it was killed.
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(heartbeat, b".")


def _has_beaten(heard: int) -> bool:
    try:
        return bool(os.read(heard, 65_536))
    except BlockingIOError:
        return False


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """The end that is read and the one that is written to; neither waits for the other."""
    ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def _environment(settings: Settings, dsn: str, folder: Path) -> dict[str, str]:
    """What a worker reads its settings from: ours, and what only we could know."""
    environment = {
        **os.environ,
        "FAREGATE_AUTO_MIGRATE": "false",
        "PROMETHEUS_MULTIPROC_DIR": str(folder),
    }
    if not settings.database_url:
        environment["FAREGATE_DATABASE_URL"] = dsn
    if settings.gate_master_key is None:
        master_key_of(settings)
        environment["FAREGATE_GATE_MASTER_KEY_FILE"] = str(settings.data_dir / "gate_master_key")
    return environment


@contextlib.contextmanager
def _port_held(settings: Settings) -> Iterator[None]:
    """Bind the port without listening, so that only our workers can share it.

    SO_REUSEPORT alone would let a second gateway of the same user in, and half the taps with it.
    """
    with contextlib.ExitStack() as held:
        try:
            places = socket.getaddrinfo(
                settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, kind, protocol, _, place in places:
                with socket.socket(family, kind, protocol) as alone:
                    _bind(alone, family, place, socket.SO_REUSEADDR)
                shared = held.enter_context(socket.socket(family, kind, protocol))
                # What connections of a single gateway have left on the port does not matter; from
                # then on, whoever would share the port so is refused.
                _bind(shared, family, place, socket.SO_REUSEADDR, socket.SO_REUSEPORT)
                shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        except OSError as error:
            raise port_taken(settings, error) from error
        yield


def _bind(held: socket.socket, family: int, place: tuple[object, ...], *options: int) -> None:
    for option in options:
        held.setsockopt(socket.SOL_SOCKET, option, 1)
    if family == socket.AF_INET6:
        held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    held.bind(place)


@contextlib.contextmanager
def _metrics_folder() -> Iterator[Path]:
    """An empty folder for the counters, which outlive the worker that counted.

    Its supervisor holds it locked; an unlocked one was left behind by one that was killed.
    """
    parent = _MEMORY_FOLDER if os.access(_MEMORY_FOLDER, os.W_OK) else Path(tempfile.gettempdir())
    for left in parent.glob(f"{_FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError), _locked(left):
            shutil.rmtree(left)
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir=parent))
    with _locked(folder):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raises: OSError when another process holds it, or when it is not a folder of ours."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
