"""`make loadtest`: a gateway of its own, a city in it, a minute of load, the audit, a verdict.

python -m loadtest.run --shape rush-hour -t 120s -u 100 --processes 2

Options that are not its own go to locust. It exits with 1 when an objective is missed.
"""

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg

from loadtest.back_office import BackOffice
from loadtest.keys_file import KeysFile
from loadtest.register import add_city_options, register
from loadtest.stack import Stack, own_environment

ROOT = Path(__file__).parent.parent
LOCUSTFILE = ROOT / "loadtest" / "locustfile.py"
LOOPBACK = ("--web-host", "127.0.0.1", "--master-bind-host", "127.0.0.1")
# Riders who wait at a gate when the run ends are still answered.
FINISH = ("--stop-timeout", "10", "--only-summary")
STORED = """
    SELECT
        (SELECT count(*) FROM tap) AS taps,
        pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 AS "WAL",
        pg_database_size(current_database())::float8 AS disk
"""
# What comes later on the command line counts.
DEFAULTS = ("-u", "60", "-r", "100")


def main() -> int:
    options, more = _options()
    # Whoever ends the run so leaves no gateway behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    reports = options.reports.resolve()
    records = reports / "records"
    shutil.rmtree(records, ignore_errors=True)
    reports.mkdir(parents=True, exist_ok=True)
    with Stack() as stack:
        keys_path = _registered(stack, options)
        locust = [
            *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--host", stack.address),
            *("--keys", str(keys_path), "--token-file", str(stack.token_file)),
            *("--records", str(records), *LOOPBACK, *FINISH),
            *("--html", str(reports / "report.html"), "--csv", str(reports / "report")),
            *(() if options.ui else ("--headless",)),
            *(*DEFAULTS, *more),
        ]
        audit = [
            *(sys.executable, "-m", "loadtest.audit", "--dsn", stack.dsn),
            *("--records", str(records)),
            *("--base-url", stack.address, "--token-file", str(stack.token_file)),
        ]
        before, started_at = _spent(stack), time.monotonic()
        is_met = _went_well(locust)
        shutil.copy(stack.log, reports)
        if (code := stack.exit_code()) is not None:
            print(f"the gateway ended by itself (exit code {code}): {reports / stack.log.name}")
            return 1
        _print_spent(before, _spent(stack), time.monotonic() - started_at)
        is_true = _went_well(audit)
        shutil.copy(stack.log, reports)
    print(f"objective  load   {'ok' if is_met else 'MISSED'}")
    print(f"objective  audit  {'ok' if is_true else 'MISSED'}")
    print(f"reports in {reports}: report.html, report_stats.csv, gateway.log")
    return 0 if is_met and is_true else 1


def _registered(stack: Stack, options: argparse.Namespace) -> Path:
    """Register the city that was asked for; where its keys are."""
    keys = KeysFile(options.seed, options.riders, options.bus_operators, options.gates_per_line)
    with BackOffice(stack.address, stack.token_file.read_text().strip()) as office:
        register(office, keys)
    path = stack.folder / "keys.json"
    keys.write(path)
    print(f"{len(keys.keys):,} gates, {keys.riders_count:,} wallets, {stack.address}", flush=True)
    return path


def _went_well(command: list[str]) -> bool:
    """Run a command and say if it went well. Ctrl-C ends it, and not what comes after it."""
    # A handler is not handed on to the command, as ignoring would be.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    with subprocess.Popen(command, cwd=ROOT, env=own_environment()) as running:
        try:
            return running.wait() == 0
        finally:
            signal.signal(signal.SIGINT, before)
            running.terminate()  # Where we are ended ourselves: it says how far it came.


def _spent(stack: Stack) -> dict[str, float]:
    """What was used so far; of the load test, by those processes that have ended."""
    gateway, postgres = stack.cpu_seconds()
    times = os.times()
    load_test = times.children_user + times.children_system
    cpu = {"gateway": gateway, "PostgreSQL": postgres, "load test": load_test}
    return {**cpu, **asyncio.run(_stored(stack.dsn))}


async def _stored(dsn: str) -> dict[str, float]:
    connection = await asyncpg.connect(dsn)
    try:
        return dict(await connection.fetchrow(STORED))
    finally:
        await connection.close()


def _print_spent(before: dict[str, float], after: dict[str, float], seconds: float) -> None:
    spent = {name: after[name] - before[name] for name in after}
    taps_count = spent.pop("taps") or 1
    for name in ("WAL", "disk"):
        used = spent.pop(name)
        print(f"{name:<12}{used / 1e6:9,.1f} MB  {used / taps_count:7,.0f} bytes a tap")
    for name, used in spent.items():
        share, each_us = 100 * used / seconds, 1e6 * used / taps_count
        print(f"{name:<12}{used:9,.1f} s   {each_us:7,.0f} us a tap   {share:6.1f} % of a core")


def _options() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="python -m loadtest.run", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--ui", action="store_true", help="locust's pages on http://127.0.0.1:8089")
    parser.add_argument("--reports", type=Path, default=ROOT / ".data" / "loadtest")
    add_city_options(parser)
    return parser.parse_known_args()


if __name__ == "__main__":
    sys.exit(main())
