"""Several workers on one port: one gateway to whoever asks, whatever becomes of one of them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from _stack import FAREGATE, ROOT, Gateway, environment, is_running, kept_ids, run_faregate
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from gateway.example_city import CityClient, morning, wallets
from gateway.serving import stop_event

Opener = Callable[..., Gateway]


@pytest.fixture
def open_workers(folder: Path, database: str) -> Iterator[Opener]:
    """Two workers, unless a test wants it otherwise."""
    opened: list[Gateway] = []

    def open_one(*, workers: int = 2, **variables: str) -> Gateway:
        gateway = Gateway(folder, database, workers=workers, **variables)
        opened.append(gateway)
        gateway.start()
        return gateway

    yield open_one
    for gateway in opened:
        if gateway.process and gateway.process.poll() is None:
            gateway.stop()


def ask(gateway: Gateway, path: str) -> str:
    """On a connection of its own."""
    with urllib.request.urlopen(gateway.address + path, timeout=10) as response:
        return str(response.read().decode())


def metrics_folder(gateway: Gateway) -> Path:
    variables = Path(f"/proc/{gateway.worker_pids()[0]}/environ").read_text().split("\0")
    (named,) = [one for one in variables if one.startswith("PROMETHEUS_MULTIPROC_DIR=")]
    return Path(named.partition("=")[2])


def requests_of(gateway: Gateway, pid: int) -> float:
    """What one worker has counted by itself."""
    files = [str(path) for path in metrics_folder(gateway).glob(f"counter_{pid}.db")]
    return total(MultiProcessCollector.merge(files), "faregate_requests", route="GET /livez")


def shown(gateway: Gateway, name: str, **labels: str) -> float:
    return total(text_string_to_metric_families(ask(gateway, "/metrics")), name, **labels)


def total(families: Any, name: str, **labels: str) -> float:
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name in (name, f"{name}_total") and labels.items() <= sample.labels.items()
    )


def test_both_answer_and_any_of_them_tells_what_all_have_counted(open_workers: Opener) -> None:
    gateway = open_workers()
    first, second = gateway.worker_pids()
    for _ in range(60):
        ask(gateway, "/livez")
    assert requests_of(gateway, first) > 0
    assert requests_of(gateway, second) > 0
    assert requests_of(gateway, first) + requests_of(gateway, second) == 60
    for _ in range(8):
        assert shown(gateway, "faregate_requests", route="GET /livez") == 60
    assert shown(gateway, "faregate_workers") == shown(gateway, "faregate_workers_wanted") == 2
    assert shown(gateway, "faregate_build_info") == 1
    assert "pid=" not in ask(gateway, "/metrics")
    assert shown(gateway, "faregate_limit", setting="queue_taps_max") == 40_000


def test_what_a_dead_worker_counted_stays_and_what_it_held_goes(open_workers: Opener) -> None:
    gateway = open_workers()
    killed, kept = gateway.worker_pids()
    for _ in range(30):
        ask(gateway, "/livez")
    os.kill(killed, signal.SIGKILL)
    gateway.wait_until(lambda: gateway.said('"serving"') == 3)
    assert killed not in gateway.worker_pids()
    assert kept in gateway.worker_pids()
    assert shown(gateway, "faregate_requests", route="GET /livez") == 30
    assert shown(gateway, "faregate_workers") == 2
    assert shown(gateway, "faregate_worker_starts") == 3


def test_a_terminal_that_is_closed_ends_it_as_any_stop_does(open_workers: Opener) -> None:
    gateway = open_workers()
    assert gateway.stop(signal.SIGHUP) == 0
    assert gateway.said('"draining"') == 2


async def test_who_asked_to_outlive_the_terminal_does() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = stop_event()
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.01)
        assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_one_started_in_the_background_of_a_script_ends_at_an_interrupt() -> None:
    """Shells have such jobs ignore SIGINT, which nobody has asked for."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stop = stop_event()
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(stop.wait(), 5)
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_one_that_hangs_is_seen_to_be_behind(open_workers: Opener) -> None:
    gateway = open_workers(FAREGATE_DRAIN_SECONDS_MAX="1")
    hung, alive = gateway.worker_pids()
    folder, name = metrics_folder(gateway), "faregate_worker_seen_timestamp_seconds"

    def seen(*pids: int) -> float:
        files = [str(folder / f"gauge_livemin_{pid}.db") for pid in pids]
        return total(MultiProcessCollector.merge(files), name)

    gateway.wait_until(lambda: seen(hung) > 0 and seen(alive) > 0)
    os.kill(hung, signal.SIGSTOP)
    stood_at = seen(hung)
    gateway.wait_until(lambda: seen(alive) > stood_at + 2)
    assert seen(hung, alive) == stood_at


@pytest.mark.timeout(60)
def test_a_machine_that_slept_is_no_worker_that_hangs(open_workers: Opener) -> None:
    gateway = open_workers(FAREGATE_WORKER_SILENCE_SECONDS_MAX="5")
    assert gateway.process
    everyone = [gateway.process.pid, *gateway.worker_pids()]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(8)
    for pid in everyone:
        os.kill(pid, signal.SIGCONT)
    time.sleep(3)
    assert [gateway.process.pid, *gateway.worker_pids()] == everyone
    assert gateway.said("worker killed") == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("number", "variables"),
    [
        (signal.SIGKILL, {}),
        # It is answered by nobody until it is replaced: then its connections break.
        (signal.SIGSTOP, {"FAREGATE_WORKER_SILENCE_SECONDS_MAX": "5"}),
    ],
    ids=["killed", "hung"],
)
async def test_a_worker_lost_under_load_loses_and_doubles_no_tap(
    open_workers: Opener, number: signal.Signals, variables: dict[str, str]
) -> None:
    gateway = open_workers(**variables)
    lost, _ = gateway.worker_pids()
    taps = morning(date(2018, 9, 3))
    async with aiohttp.ClientSession() as session:
        client = await registered(session, gateway)
        answers, _ = await asyncio.gather(
            send(client, taps), lose_when_a_third_is_kept(gateway, lost, number, len(taps))
        )
        again = await send(client, taps)
        wish = {"tap_ids": [tap["tap_id"] for tap in taps]}
        charges = (await client.post("/v1/charges", wish))["charges"]
        held = [
            (await client.get(f"/v1/wallets/{one['wallet_id']}"))["balance_fen"]
            for one in wallets()
        ]
    assert answers == again
    assert sum(held) == 10_000 * len(held) - sum(one["fare_fen"] for one in charges)
    assert gateway.said("signal 9 (Killed)") == 1
    gateway.wait_until(lambda: gateway.said('"serving"') == 3)
    was_hung = number == signal.SIGSTOP
    assert gateway.said("it was silent for too long") == was_hung
    assert shown(gateway, "faregate_workers_silent") == was_hung
    assert gateway.stop() == 0
    assert await kept_ids(gateway.dsn) == sorted(one["tap_id"] for one in taps)
    assert gateway.audit().stdout.splitlines()[-1] == "audit passed"


@pytest.mark.timeout(120)
async def test_a_stop_drains_all_and_what_was_answered_was_kept(open_workers: Opener) -> None:
    gateway = open_workers()
    taps = morning(date(2018, 9, 3))
    answered: list[str] = []
    are_enough = asyncio.Event()

    async def send_until_it_stops(tap: dict[str, Any]) -> None:
        with contextlib.suppress(aiohttp.ClientError):
            answered.append((await client.tap(tap, patience_seconds=0))["tap_id"])
        if len(answered) > len(taps) // 3:
            are_enough.set()

    async with aiohttp.ClientSession() as session:
        client = await registered(session, gateway)
        sending = asyncio.gather(*(send_until_it_stops(tap) for tap in taps))
        await are_enough.wait()
        code = await asyncio.to_thread(gateway.stop)
        await sending
    assert code == 0
    assert gateway.said('"draining"') == 2
    assert not gateway.child_pids()
    assert set(answered) <= set(await kept_ids(gateway.dsn))
    assert gateway.audit().stdout.splitlines()[-1] == "audit passed"


def test_one_that_does_not_drain_is_killed_and_told(open_workers: Opener) -> None:
    gateway = open_workers(FAREGATE_DRAIN_SECONDS_MAX="1")
    stuck, _ = pids = gateway.worker_pids()
    os.kill(stuck, signal.SIGSTOP)
    assert gateway.stop() == 1
    assert gateway.said("did not drain in time") == 1
    assert not any(is_running(pid) for pid in pids)


def test_a_killed_supervisor_leaves_nobody(folder: Path, open_workers: Opener) -> None:
    """Nor do its counters stay in memory once the next one starts; those of another do."""
    other = metrics_folder(open_workers())
    gateway = Gateway(
        folder, "", workers=2, FAREGATE_GATE_MASTER_KEY="", FAREGATE_DATA_DIR=str(folder / "data")
    )
    gateway.start()
    pids, counters = gateway.child_pids(), metrics_folder(gateway)
    assert len(pids) == 3  # Two workers and their PostgreSQL.
    gateway.stop(signal.SIGKILL)
    gateway.wait_until(lambda: not any(is_running(pid) for pid in pids))
    assert counters.exists()
    open_workers()
    assert other.exists()
    assert not counters.exists()


@pytest.mark.timeout(60)
async def test_a_worker_that_dies_at_every_start_ends_it_all(open_workers: Opener) -> None:
    gateway = open_workers(FAREGATE_WORKER_DEATHS_COUNT_MAX="3")
    first, second = gateway.worker_pids()
    connection = await asyncpg.connect(gateway.dsn)
    await connection.execute("ALTER TABLE registry_version RENAME TO registry_version_gone")
    await connection.close()
    os.kill(first, signal.SIGKILL)
    assert gateway.process
    assert await asyncio.to_thread(gateway.process.wait, 40) == 3
    assert gateway.said("died 3 times in a row") == 1
    assert gateway.said("FAREGATE_WORKER_DEATHS_COUNT_MAX") == 1
    assert not is_running(second)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use_is_not_shared_with_strangers(open_workers: Opener, workers: str) -> None:
    """SO_REUSEPORT would let any process of the same user take half of the taps."""
    gateway = open_workers()
    said = subprocess.run(
        [*FAREGATE, "serve", "--workers", workers],
        cwd=ROOT,
        env=environment(**gateway.variables),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert said.returncode == 3
    assert "FAREGATE_PORT" in said.stderr


def test_workers_follow_a_single_gateway_on_its_port(open_workers: Opener) -> None:
    """The connections that it closed stay with the kernel for a minute."""
    gateway = open_workers(workers=1)
    kept = http.client.HTTPConnection("127.0.0.1", gateway.port)
    kept.request("GET", "/livez")
    kept.getresponse().read()
    assert gateway.stop() == 0
    kept.close()
    gateway.workers_count = 2
    gateway.start()
    assert len(gateway.worker_pids()) == 2


def test_workers_do_not_join_a_stranger_on_its_port(folder: Path, database: str) -> None:
    gateway = Gateway(folder, database)
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", gateway.port))
        stranger.listen()
        said = subprocess.run(
            [*FAREGATE, "serve", "--workers", "2"],
            cwd=ROOT,
            env=environment(**gateway.variables),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert said.returncode == 3
    assert "FAREGATE_PORT" in said.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_host_that_is_not_known_is_not_taken_for_the_database(
    folder: Path, database: str, workers: str
) -> None:
    gateway = Gateway(folder, database, FAREGATE_HOST="no-such-host.invalid")
    said = run_faregate("serve", "--workers", workers, **gateway.variables)
    assert said.returncode == 3
    assert "FAREGATE_HOST" in said.stderr
    assert "database" not in said.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_the_healthcheck_asks_where_the_gateway_listens(open_workers: Opener, host: str) -> None:
    gateway = open_workers(workers=1, FAREGATE_HOST=host)
    said = run_faregate("healthcheck", **gateway.variables)
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize("workers", ["0", "65"])
def test_a_number_of_workers_out_of_bounds_is_a_usage_error(workers: str) -> None:
    said = subprocess.run(
        [*FAREGATE, "serve", "--workers", workers],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert said.returncode == 2
    assert "FAREGATE_WORKERS_COUNT" in said.stderr


async def registered(session: aiohttp.ClientSession, gateway: Gateway) -> CityClient:
    token = await asyncio.to_thread(gateway.admin_token)
    # Each worker looks the city up anew by itself.
    await asyncio.sleep(0.3)
    client = CityClient(session, gateway.address, token)
    await client.register()
    await asyncio.sleep(0.3)
    return client


async def send(client: CityClient, taps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each tap until it is answered, 32 at a time: the answers, in order."""
    at_once = asyncio.Semaphore(32)

    async def one(tap: dict[str, Any]) -> dict[str, Any]:
        async with at_once:
            return await client.tap(tap)

    return list(await asyncio.gather(*(one(tap) for tap in taps)))


async def lose_when_a_third_is_kept(
    gateway: Gateway, pid: int, number: signal.Signals, count: int
) -> None:
    connection = await asyncpg.connect(gateway.dsn)
    kept_count = 0
    while kept_count < count // 3:
        kept_count = await connection.fetchval("SELECT count(*) FROM tap")
    os.kill(pid, number)
    await connection.close()
