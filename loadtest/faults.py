"""Kill -9 at random moments under load, again and again; nothing may be lost, nothing doubled.

python -m loadtest.faults --cycles 50 [--seed N]

Each cycle kills one of: a gateway worker, the gateway's supervisor, a PostgreSQL backend, the
postmaster, a settlement close that has begun. Whatever does not start again by itself is started
again, and the cycle ends when every client has been answered and every worker runs. Clients send
each tap until it is answered, some twice, some days late. After every ten cycles, and at the end,
every answer is compared with the database, days are closed twice into two folders, and
`faregate audit` computes everything again. The last line says how it went.

Only processes that it started are killed. A cycle and the whole have a limit of time; what could
not be done is a break.
"""

import argparse
import asyncio
import contextlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import asyncpg
import psutil

from loadtest.audit import audit
from loadtest.faults_load import Load
from loadtest.faults_stack import WORKERS_COUNT, FaultStack, runs

KINDS = ("worker", "supervisor", "backend", "postmaster", "close")
CYCLES_A_CHECK = 10
CYCLE_SECONDS_MAX, CHECK_SECONDS_MAX = 90, 600
# So many days can be settled; a further close settles the newest of them again.
_DAYS_MAX = 30
_POLL_SECONDS = 0.005
CLOCK_OPEN = "clock open"


class Faults:
    """One stack and its load, what breaks it, and what was found broken."""

    def __init__(self, stack: FaultStack, load: Load, draw: random.Random, days_count: int) -> None:
        self.stack, self.load, self.draw = stack, load, draw
        self.breaks: list[str] = []
        self.at = "the opening"
        self.killed: Counter[str] = Counter()
        self.killed_closes: Counter[str] = Counter()
        today = (datetime.now(UTC) + timedelta(hours=4)).date()
        self._days = [today - timedelta(days=back) for back in range(days_count, 0, -1)]
        self._begun: list[date] = []
        self._files: dict[date, dict[str, str]] = {}
        self._close_seconds = 0.3

    async def run(self, kinds: Sequence[str]) -> None:
        for start in range(0, len(kinds), CYCLES_A_CHECK):
            self.load.start()
            for number, kind in enumerate(kinds[start : start + CYCLES_A_CHECK], start + 1):
                self.at = f"cycle {number}, {kind}"
                await self._cycle(kind)
                taps = len(self.load.acknowledged)
                print(f"  {number:>4} {kind:<11} {taps:>9,} taps", flush=True)
            self.at = f"the check after cycle {number}"
            async with asyncio.timeout(CYCLE_SECONDS_MAX):
                await self.load.finish()
            async with asyncio.timeout(CHECK_SECONDS_MAX):
                await self._check(is_last=start + CYCLES_A_CHECK >= len(kinds))

    async def _cycle(self, kind: str) -> None:
        """Kill something at a random moment, mend it, and wait until all is as it was.

        Raises: TimeoutError when that took too long; whatever a client met.
        """
        async with asyncio.timeout(CYCLE_SECONDS_MAX):
            await asyncio.sleep(self.draw.uniform(0.1, 0.6))
            await getattr(self, f"_kill_{kind}")()
            self.killed[kind] += 1
            killed_at = time.monotonic()
            while not self._is_mended_since(killed_at):
                self.load.check()
                self.stack.start_gateway_again_if_it_ended()
                await asyncio.sleep(0.05)

    def _is_mended_since(self, moment: float) -> bool:
        is_answered = min(self.load.answered_at) > moment
        return is_answered and len(self.stack.workers()) == WORKERS_COUNT

    async def _kill_worker(self) -> None:
        await self._kill_one(self.stack.workers)

    async def _kill_backend(self) -> None:
        await self._kill_one(self.stack.backends)

    async def _kill_one(self, processes: Callable[[], list[psutil.Process]]) -> None:
        while True:
            with contextlib.suppress(psutil.NoSuchProcess):
                if found := processes():
                    self.draw.choice(found).kill()
                    return
            await asyncio.sleep(_POLL_SECONDS)

    async def _kill_supervisor(self) -> None:
        """Its workers end by themselves; the port is free once they have."""
        left = self.stack.kill_supervisor()
        await _until(lambda: not any(map(runs, left)))
        self.stack.start_gateway()

    async def _kill_postmaster(self) -> None:
        self.stack.kill_postgres()
        await asyncio.sleep(0.2)
        await asyncio.to_thread(self.stack.start_postgres)

    async def _kill_close(self) -> None:
        """Kill a close between its first connection and its end; a later one finishes it."""
        day = self._days[min(len(self._begun), len(self._days) - 1)]
        while not await self._killed_within(day):
            pass
        state = await self._state_of(day)
        self.killed_closes[state] += 1
        # One that had not moved the clock has left nothing; the next begins with its day.
        if state != CLOCK_OPEN and day not in self._begun:
            self._begun.append(day)

    async def _killed_within(self, day: date) -> bool:
        """False if it ended first: the next one is given less time."""
        words, environment = self.stack.close_command(day)
        closing = await asyncio.create_subprocess_exec(
            *words,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ended = asyncio.create_task(closing.wait())
        try:
            await _until(lambda: ended.done() or self.stack.is_a_close_connected())
            connected_at = time.monotonic()
            await asyncio.wait({ended}, timeout=self.draw.uniform(0, self._close_seconds))
            if ended.done():
                self._close_seconds = max(time.monotonic() - connected_at, 0.05)
            return not ended.done()
        finally:
            with contextlib.suppress(ProcessLookupError):
                closing.kill()
            await ended

    async def _state_of(self, day: date) -> str:
        connection = await asyncpg.connect(self.stack.dsn)
        try:
            is_closed, is_saved = await connection.fetchrow(_STATE, day)
        finally:
            await connection.close()
        if is_saved:
            return "saved"
        return "clock closed, not saved" if is_closed else CLOCK_OPEN

    async def _check(self, *, is_last: bool) -> None:
        """Compare every answer, compute everything again, and close the days that were begun."""
        for day in self._begun:
            if day not in self._files:
                await self._close_day(day, "settlement")
            if is_last or day == self._begun[-1]:
                await self._close_day(day, "settled_again")
        for one in await audit(self.stack.dsn, self.load.folder, None):
            print(one, flush=True)
            if not one.is_passed:
                self.breaks.append(str(one))

    async def _close_day(self, day: date, folder: str) -> None:
        """Finish what was killed, or make the files again: they are the same bytes ever after."""
        files = await asyncio.to_thread(self.stack.close, day, folder)
        if isinstance(files, str):
            self.breaks.append(f"close of {day}: {files}")
            return
        first = self._files.setdefault(day, files)
        if differing := sorted(dict(first.items() ^ files.items())):
            self.breaks.append(f"close of {day}, {folder}: not as at first: {differing}")


_STATE = """
    SELECT
        EXISTS (SELECT FROM settlement WHERE settlement_day = $1),
        EXISTS (SELECT FROM settlement_manifest WHERE settlement_day = $1)
"""


async def _until(is_so: Callable[[], bool]) -> None:
    """Look again and again: no process tells anyone but its parent of its end."""
    while not is_so():  # noqa: ASYNC110
        await asyncio.sleep(_POLL_SECONDS)


async def run(folder: Path, cycles: int, seed: int) -> tuple[int, list[str]]:
    """So many cycles: how many taps were acknowledged, and every break that was found."""
    draw = random.Random(seed)
    kinds = [KINDS[number % len(KINDS)] for number in range(cycles)]
    draw.shuffle(kinds)
    days_count = min(max(kinds.count("close"), 1), _DAYS_MAX)
    main_task = asyncio.current_task()
    assert main_task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, main_task.cancel)
    stack = FaultStack(folder)
    breaks: list[str] = []
    taps = 0
    try:
        token = await asyncio.to_thread(stack.prepare)
        records = folder / "records"
        load = Load(stack.address, token, records, days_back=days_count + 1, seed=seed)
        faults = Faults(stack, load, draw, days_count)
        try:
            await stack.add_closer()
            async with asyncio.timeout(CYCLE_SECONDS_MAX):
                await load.open_city()
            await faults.run(kinds)
        except Exception as error:
            breaks.append(f"ended at {faults.at}: {error!r}")
        finally:
            await load.close()
        breaks += faults.breaks + load.breaks
        taps = len(load.acknowledged)
        print("killed: " + _counted(faults.killed))
        print("closes when they were killed: " + _counted(faults.killed_closes))
    finally:
        breaks += stack.stop()
    return taps, breaks


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{what} {count}" for what, count in sorted(counts.items())) or "none"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtest.faults", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="faregate-faults-", dir="/tmp"))
    try:
        taps, breaks = asyncio.run(run(folder, options.cycles, options.seed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for one in breaks:
        print(f"BREAK {one}")
    print(f"{options.cycles} cycles, {taps} taps, {len(breaks)} breaks")
    return 1 if breaks else 0


if __name__ == "__main__":
    sys.exit(main())
