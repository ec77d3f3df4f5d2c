"""Other processes: how much CPU they have used, and runners that are told what to do line by line.

A runner is a module of this package in a process of its own, so that its CPU can be told from the
rest. It reads orders from stdin and answers each with one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_LINE_BYTES_MAX = 16 * 2**20


class RunnerFailed(RuntimeError):
    """A runner ended before it answered; what it said is on stderr."""


def family_cpu_seconds(pid: int) -> float:
    """CPU of a process and its children, the ended ones that it waited for included."""
    return sum(sum(map(int, fields[11:15])) for fields in _family(pid)) * _TICK_SECONDS


def family_memory_bytes(pid: int) -> int:
    """What a process and its children hold in memory now."""
    return sum(int(fields[21]) for fields in _family(pid)) * os.sysconf("SC_PAGE_SIZE")


def _family(pid: int) -> Iterator[list[str]]:
    """What Linux says in /proc/PID/stat of a process and its children, from the third field on."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        try:
            # The command's name, in parentheses, may hold spaces.
            fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if pid in (int(entry.name), int(fields[1])):
            yield fields


def memory_bytes(pid: int) -> int:
    """What a process holds in memory now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Runner:
    """A module of this package in a process of its own."""

    def __init__(self, module: str, **facts: Any) -> None:
        self._module = module
        self._facts = facts
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self._module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES_MAX,
            env=own_environment(),
        )
        await self.order(**self._facts)
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._process
        assert self._process.stdin
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 60)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def order(self, **order: Any) -> dict[str, Any]:
        """Give one order and wait for its answer."""
        assert self._process
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise RunnerFailed(f"{self._module} ended while it was at {order}")
        answer: dict[str, Any] = json.loads(line)
        return answer


Obey = Callable[..., Awaitable[Mapping[str, Any]]]


async def obey_orders(obey: Obey) -> None:
    """A runner's side: answer each order of stdin until there are no more."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await obey(**json.loads(line))), flush=True)


async def first_order() -> dict[str, Any]:
    """The facts a runner starts with. It answers when it is ready."""
    line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    facts: dict[str, Any] = json.loads(line)
    return facts


def say_ready() -> None:
    print("{}", flush=True)


def own_environment() -> dict[str, str]:
    """The gateway's settings are the defaults, not those of whoever runs the race."""
    return {k: v for k, v in os.environ.items() if not k.startswith("FAREGATE_")}
