"""The load test itself, as an engineer runs it. Locust stays in processes of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from loadtest.back_office import BackOffice
from loadtest.city import hours
from loadtest.keys_file import KeysFile
from loadtest.records import TAP, TOP_UP, Recorder, read_records
from loadtest.register import register
from loadtest.stack import Stack, free_port, own_environment

ROOT = Path(__file__).parents[2]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=own_environment(),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_two_processes_play_a_day_and_the_audit_passes(tmp_path: Path):
    done = _run(
        "loadtest.run",
        *("--reports", str(tmp_path), "--riders", "400", "--bus-operators", "2"),
        *("--shape", "rush-hour", "-t", "8s", "-u", "12", "--processes", "2"),
    )
    assert "objective  audit  ok" in done.stdout, done.stdout + done.stderr
    assert "BROKEN" not in done.stdout
    failed = next(line for line in done.stdout.splitlines() if line.startswith("failed requests"))
    assert failed.split()[2] == "0.000", done.stdout
    # How fast it was is the machine's business; that it is said and decides the exit code is ours.
    assert done.returncode == (1 if "MISSED" in done.stdout else 0)
    for name in ("report.html", "report_stats.csv"):
        assert (tmp_path / name).stat().st_size > 0
    parts = sorted((tmp_path / "records").glob("part-*.tsv"))
    assert [path.name[:6] for path in parts] == ["part-0", "part-1"]
    heard = [answer for answer in read_records(tmp_path / "records") if answer.kind == TAP]
    assert len(heard) > 50
    assert len({answer.id for answer in heard}) == len(heard)


def test_a_gateway_that_is_not_there_misses_the_objectives(tmp_path: Path):
    KeysFile(1, 100, 1, 4, _some_keys()).write(tmp_path / "keys.json")
    done = _run(
        *("locust", "-f", "loadtest/locustfile.py", "--host", "http://127.0.0.1:1", "--headless"),
        *("--keys", str(tmp_path / "keys.json"), "-u", "3", "-r", "10", "-t", "3s"),
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "failed requests" in done.stdout
    assert "MISSED" in done.stdout


def test_workers_play_what_their_master_alone_was_told(tmp_path: Path):
    with Stack() as stack:
        keys, records = KeysFile(1, 200, 1, 2), tmp_path / "records"
        with BackOffice(stack.address, stack.token_file.read_text().strip()) as office:
            register(office, keys)
        keys.write(tmp_path / "keys.json")
        port = str(free_port())
        command = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py"]
        command += ["--keys", str(tmp_path / "keys.json")]
        workers = [
            subprocess.Popen(
                [*command, "--worker", "--master-host", "127.0.0.1", "--master-port", port],
                cwd=ROOT,
                env=own_environment(),
            )
            for _ in range(2)
        ]
        _run(
            *command[2:],
            *("--host", stack.address, "--token-file", str(stack.token_file)),
            *("--records", str(records), "--parts", "2", "--master", "--master-bind-port", port),
            *("--master-bind-host", "127.0.0.1", "--expect-workers", "2", "--headless"),
            *("-u", "6", "-r", "10", "-t", "8s"),
        )
        assert [worker.wait(30) for worker in workers] == [0, 0]
    heard = list(read_records(records))
    assert {one.kind for one in heard} == {TAP, TOP_UP}


@contextlib.contextmanager
def under_load(reports: Path) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """A short run, and its gateway, when the load has begun."""
    running = subprocess.Popen(
        [
            *(sys.executable, "-m", "loadtest.run", "--reports", str(reports)),
            *("--riders", "200", "--bus-operators", "1", "-t", "5s", "-u", "2"),
        ],
        cwd=ROOT,
        env=own_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with running:
        while not list(reports.glob("records/*")):
            assert running.poll() is None
            time.sleep(0.1)
        children = psutil.Process(running.pid).children()
        (gateway,) = [one for one in children if "demo-stack" in one.cmdline()]
        yield running, gateway


def test_a_gateway_that_dies_meanwhile_is_told(tmp_path: Path):
    with under_load(tmp_path) as (running, gateway):
        gateway.kill()
        said, _ = running.communicate(timeout=100)
    assert running.returncode == 1
    assert f"the gateway ended by itself (exit code -9): {tmp_path}/gateway.log" in said
    assert (tmp_path / "gateway.log").exists()


def test_a_run_that_is_told_to_end_takes_its_gateway_with_it(tmp_path: Path):
    with under_load(tmp_path) as (running, gateway):
        running.terminate()
        assert running.wait(60) == 128 + signal.SIGTERM
        assert not gateway.is_running()


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_run_that_is_told_to_end_is_judged_and_leaves_no_process(tmp_path: Path, processes: str):
    with Stack() as stack:
        keys, report = KeysFile(1, 200, 1, 2), tmp_path / "report.html"
        with BackOffice(stack.address, stack.token_file.read_text().strip()) as office:
            register(office, keys)
        keys.write(tmp_path / "keys.json")
        running = subprocess.Popen(
            [
                *(sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless"),
                *("--host", stack.address, "--keys", str(tmp_path / "keys.json"), "-u", "4"),
                *("-t", "10m", "--html", str(report), "--records", str(tmp_path / "records")),
                *(("--processes", processes) if processes != "1" else ()),
            ],
            cwd=ROOT,
            env=own_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        with running:
            while len(list(tmp_path.glob("records/*"))) < int(processes):
                assert running.poll() is None
                time.sleep(0.1)
            workers = psutil.Process(running.pid).children()
            running.terminate()
            said, _ = running.communicate(timeout=60)
    assert "failed requests" in said
    assert running.returncode == (1 if "MISSED" in said else 0)
    assert report.exists()
    assert len(workers) == (2 if processes == "2" else 0)
    assert not any(worker.is_running() for worker in workers)


def test_without_keys_it_says_how_to_get_them():
    done = _run("locust", "-f", "loadtest/locustfile.py", "--headless", "-t", "1s")
    assert done.returncode != 0
    assert "loadtest.register" in done.stderr


def test_keys_that_do_not_fit_end_the_run_before_it_begins(tmp_path: Path):
    keys = tmp_path / "keys.json"
    command = ("locust", "-f", "loadtest/locustfile.py", "--headless", "-t", "1s", "--keys")
    done = _run(*command, str(keys))
    assert done.returncode == 1
    assert "keys.json cannot be read" in done.stderr
    KeysFile(1, 100, 1, 4, _some_keys()).write(keys)
    done = _run(*command, str(keys), "--parts", "5")
    assert done.returncode == 1
    assert "registered for 4 parts" in done.stderr


def test_nobody_else_can_read_the_keys_even_where_a_file_lay_open(tmp_path: Path):
    path = tmp_path / "keys.json"
    path.touch(mode=0o644)
    KeysFile(1, 100, 1, 4, _some_keys()).write(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert KeysFile.read(path).key("luohu-in-1").secret == bytes(32)


def test_what_was_recorded_is_read_back(tmp_path: Path):
    recorder = Recorder(tmp_path, "part-0")
    recorder.write(TAP, "1b81ecc1-eb0d-8422-8d74-9548f454288f", "ride_charged")
    recorder.close()
    (heard,) = read_records(tmp_path)
    assert (heard.kind, heard.answer, heard.wallet_id) == (TAP, "ride_charged", None)


def test_a_line_that_a_killed_process_did_not_finish_is_left_out(tmp_path: Path):
    recorder = Recorder(tmp_path, "part-0")
    recorder.write(TAP, "1b81ecc1-eb0d-8422-8d74-9548f454288f", "ride_charged")
    recorder.close()
    with (tmp_path / "part-0.tsv").open("a") as file:
        file.write("tap\t01a22e8d-8726-790c-bffa")
    assert len(list(read_records(tmp_path))) == 1


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_day_is_never_busier_than_its_best_hour(share: float):
    assert 0 < hours.rate_at(share) <= 1


def test_the_best_hour_is_at_its_place_in_the_day():
    best = hours.PERCENT_BY_HOUR.index(max(hours.PERCENT_BY_HOUR))
    assert hours.rate_at((best + 0.5) / len(hours.PERCENT_BY_HOUR)) == 1


def _some_keys() -> dict[str, tuple[str, str]]:
    city = KeysFile(1, 100, 1, 4).city()
    return {gate["gate_id"]: ("gk_1", "00" * 32) for gate in city.registry()["gates"]}
