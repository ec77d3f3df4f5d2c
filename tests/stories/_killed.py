"""Work in a child process that is killed after so many steps.

A step is a statement that the database has done, or a file written and not yet named.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import asyncpg

Step = Callable[[], None]


def watched_pool(dsn: str, step: Step) -> Any:
    """A pool, to be opened, whose statements are steps."""

    async def watch(connection: asyncpg.Connection) -> None:
        connection.add_query_logger(lambda _: step())

    return asyncpg.create_pool(dsn, min_size=1, max_size=2, init=watch)


def done_in_a_child(
    work: Callable[[Step], Coroutine[Any, Any, object]],
    steps_max: int | None,
    folder: Path | None = None,
) -> bool:
    """Whether it came to its end; None lets it."""
    child = os.fork()
    if not child:
        left = steps_max

        def step() -> None:
            nonlocal left
            if left is not None:
                left -= 1
                if left <= 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        def watch(event: str, arguments: tuple[object, ...]) -> None:
            if event == "os.rename" and str(folder) in str(arguments[0]):
                step()

        if folder:
            sys.addaudithook(watch)
        asyncio.run(work(step))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0, status
    return status == 0
