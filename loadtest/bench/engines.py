"""Several engines at once, as `faregate serve --workers N` runs several gateways on one database.

Each is a process with a batcher of its own, fed in-process with the taps of its own riders. All of
them begin at one instant, after every one has made its taps.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from contextlib import AsyncExitStack
from itertools import zip_longest
from typing import Any, Self

from loadtest.bench.processes import Runner

# Python decides on one core; PostgreSQL and pgbench use all of them, so the engines may, too.
ENGINES_COUNT = os.cpu_count() or 1
_BEGIN_TOGETHER_SECONDS = 1.0


class Engines:
    """Gives its order to all, and adds up what they answer."""

    def __init__(self, module: str, *, count: int = ENGINES_COUNT, **facts: Any) -> None:
        self._runners = [Runner(module, **facts, share=(number, count)) for number in range(count)]
        self._started = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as starting:
            for runner in self._runners:
                await starting.enter_async_context(runner)
            self._started = starting.pop_all()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._started.aclose()

    async def order(self, **order: Any) -> dict[str, Any]:
        await asyncio.gather(*(one.order(prepares=True, **order) for one in self._runners))
        begins_at = time.time() + _BEGIN_TOGETHER_SECONDS
        answers = await asyncio.gather(
            *(one.order(begins_at=begins_at, **order) for one in self._runners)
        )
        added = {
            name: sum(one[name] for one in answers)
            for name in ("taps_count", "taps_per_second", "cpu_seconds")
        }
        tenths = zip_longest(*(one["by_tenth_second"] for one in answers), fillvalue=0)
        outcomes = sum((Counter(one["outcomes"]) for one in answers), Counter[str]())
        return {**added, "outcomes": outcomes, "by_tenth_second": [sum(all_) for all_ in tenths]}
