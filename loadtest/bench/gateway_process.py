"""The gateway as an operator starts it: `faregate serve`, told by its environment, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import NamedTuple

from loadtest.bench.engines import ENGINES_COUNT
from loadtest.bench.faregate_command import PROGRAM, environment
from loadtest.bench.stage import Stage
from loadtest.stack import free_port

_READY_SECONDS_MAX = 30


class GatewayProcess(NamedTuple):
    pid: int
    port: int


@contextlib.asynccontextmanager
async def serving(stage: Stage, **settings: object) -> AsyncIterator[GatewayProcess]:
    """A gateway on the stage's database, ready; drained on leaving.

    A worker a core, each with one lane, as the README sizes it.
    """
    port = free_port()
    sized = {"workers_count": ENGINES_COUNT, "lanes_count": 1, **settings}
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "serve", env=environment(stage, port=port, **sized)
    )
    try:
        await _wait_until_ready(port, process)
        yield GatewayProcess(process.pid, port)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def _wait_until_ready(port: int, process: asyncio.subprocess.Process) -> None:
    gives_up_at = time.monotonic() + _READY_SECONDS_MAX
    while time.monotonic() < gives_up_at and process.returncode is None:
        with contextlib.suppress(urllib.error.URLError, OSError):
            await asyncio.to_thread(
                urllib.request.urlopen, f"http://127.0.0.1:{port}/readyz", timeout=2
            )
            return
        await asyncio.sleep(0.1)
    raise RuntimeError("faregate serve did not become ready")
