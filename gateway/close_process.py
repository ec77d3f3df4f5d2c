"""A settlement close in a process of its own, so that gates are answered as if nothing went on.

close_day    read the tariffs, open connections, close
close_apart  have a child do so, in a gateway that goes on serving
main         what the child does

Adding up a large day takes half a minute of one core and gigabytes; the child has them for itself.
It is told what to do on its standard input, where no list of processes shows a key, and answers on
its standard output. It may be killed at any time: the next close finishes what it began.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
from asyncio.subprocess import PIPE
from datetime import date, datetime
from pathlib import Path

import structlog

from fare_rules import TariffFaults, load_book
from gateway.core.settlement import Settlement
from gateway.settlement_path import CloseRefused, debtor_of, run_settlement_close
from gateway.shell import telemetry
from gateway.shell.database import open_pool
from gateway.shell.embedded_postgres import die_with
from gateway.shell.messages import JSON, encode
from gateway.shell.settings import Settings
from gateway.shell.signing import signer_of

log = structlog.get_logger()

# Of long work for the books: what others leave of a core is all that it gets.
NICENESS = 19
# Nicer before it imports anything, which takes some tenths of a second by itself.
_CHILD = f"import os; os.nice({NICENESS}); from gateway.close_process import main; main()"
# Python itself ends with 1 at a fault, and with 2 when it is called wrongly.
_REFUSED = 3


class CloseBroke(Exception):
    """The child ended before the day was closed; the text says how."""


async def close_day(
    settings: Settings, dsn: str, service_day: date, now: datetime, *, digest: str | None = None
) -> tuple[Settlement, list[Path]]:
    """Settle everything up to a service day, under the tariffs of this digest if one is given.

    Raises: CloseRefused, also when the tariffs are others; TariffFaults when they cannot be read.
    """
    book = load_book(settings.tariffs_dir)
    if digest not in (None, book.digest):
        raise CloseRefused(
            f"The tariffs in {settings.tariffs_dir} are not those that the gateway serves by. "
            "Restart it first, or bring them back."
        )
    pool = await open_pool(dsn)
    try:
        return await run_settlement_close(
            pool,
            service_day,
            book=book,
            now=now,
            folder=settings.settlement_dir,
            debtor=debtor_of(settings),
            archive=settings.archive_dir,
            signer=signer_of(settings),
        )
    finally:
        await pool.close()


async def close_apart(
    settings: Settings, dsn: str, service_day: date, now: datetime, *, digest: str
) -> bytes:
    """Close in a child, which ends with whoever waits here: the settlement, as JSON.

    Raises: CloseRefused; CloseBroke when the child met an outage or a fault, or was killed.
    """
    # Counters that the gateway's workers share are not a child's to count in.
    environment = {k: v for k, v in os.environ.items() if k != "PROMETHEUS_MULTIPROC_DIR"}
    try:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _CHILD),
            stdin=PIPE,
            stdout=PIPE,
            env=environment,
            # Ctrl-C reaches the gateway alone, which lets a close end while it drains.
            start_new_session=True,
        )
    except OSError as error:
        raise CloseBroke(f"There was no process to be had: {error}.") from error
    try:
        task = pickle.dumps((os.getpid(), settings, dsn, service_day, now, digest))
        said, _ = await child.communicate(task)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode == _REFUSED:
        raise CloseRefused(said.decode())
    if child.returncode:
        log.error("close broke off", service_day=str(service_day), exit_code=child.returncode)
        raise CloseBroke(f"The process that closed the day ended with {_end(child.returncode)}.")
    return said


def _end(code: int | None) -> str:
    assert code
    return f"exit code {code}" if code > 0 else f"signal {-code} ({signal.strsignal(-code)})"


def main() -> None:
    """Close as it is told, and say what has come of it."""
    parent_pid, settings, dsn, service_day, now, digest = pickle.load(sys.stdin.buffer)
    die_with(parent_pid, signal.SIGKILL)
    telemetry.start_logging(settings.log_level, settings.log_format)
    try:
        settlement, _ = asyncio.run(close_day(settings, dsn, service_day, now, digest=digest))
    except (CloseRefused, TariffFaults) as refused:
        sys.stdout.buffer.write(str(refused).encode())
        sys.exit(_REFUSED)
    sys.stdout.buffer.write(encode(settlement, JSON))
