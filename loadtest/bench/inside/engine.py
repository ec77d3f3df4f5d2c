"""The engine's runner: a gateway without its door, its batcher fed by tasks that never rest.

It is what `faregate serve` runs behind HTTP, with the settings that it has by default: taps go to
`Batcher.submit`, are decided, saved and answered. Taps are made before the clock starts.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec
import uvloop
from city import City
from msgspec import structs

from bench.processes import first_order, obey_orders, say_ready
from bench.stage import CITY_TAPS_PER_SECOND_PER_WALLET, MASTER_KEY
from gateway.api import Api
from gateway.core.taps import Tap
from gateway.serving import gateway
from gateway.shell.batcher import Answer
from gateway.shell.settings import Settings

# As much as 64 station computers have under way, each with what its gates gathered meanwhile.
SUBMITTERS = 64
GROUP_TAPS = 16
_FIRST_TAPS_PER_SECOND = 20_000


class Engine:
    def __init__(self, api: Api, taps: Iterator[Tap], submitters: int, group_taps: int) -> None:
        self._api = api
        self._taps = taps
        self._submitters = submitters
        self._group_taps = group_taps
        self._made: list[list[Tap]] = []
        self._taps_per_second: float = _FIRST_TAPS_PER_SECOND

    async def run(self, *, seconds: float) -> dict[str, Any]:
        self._make(int(self._taps_per_second * seconds * 1.2))
        groups = iter(self._made)
        found: list[list[Answer]] = []
        # Live, the taps of the next seconds would not be in memory to be looked through.
        gc.collect()
        gc.freeze()
        cpu_before, started_at = time.process_time(), time.perf_counter()
        until = started_at + seconds
        await asyncio.gather(*(self._submit(groups, until, found) for _ in range(self._submitters)))
        elapsed = time.perf_counter() - started_at
        cpu_seconds = time.process_time() - cpu_before
        gc.unfreeze()
        self._made = list(groups)
        taps_count = sum(map(len, found))
        self._taps_per_second = taps_count / elapsed
        return {
            "taps_count": taps_count,
            "taps_per_second": self._taps_per_second,
            "cpu_seconds": cpu_seconds,
            "outcomes": Counter(answer.result.outcome for answers in found for answer in answers),
        }

    async def _submit(
        self, groups: Iterator[list[Tap]], until: float, found: list[list[Answer]]
    ) -> None:
        submit = self._api.batcher.submit
        for group in groups:
            found.append(await submit(group))
            if time.perf_counter() > until:
                return

    def _make(self, taps_count: int) -> None:
        while len(self._made) * self._group_taps < taps_count:
            self._made.append(list(islice(self._taps, self._group_taps)))


async def main() -> None:
    facts = await first_order()
    city = City(riders_count=facts["wallets_count"], zipf=facts.get("zipf", 0.0))
    stream = city.stream(
        datetime.fromisoformat(facts["starts_at"]),
        facts["wallets_count"] * CITY_TAPS_PER_SECOND_PER_WALLET,
    )
    taps = (msgspec.convert(tap, Tap, from_attributes=True) for tap in stream)
    # The days of the race lie in the past, because it runs through one in minutes.
    settings = structs.replace(Settings(), tap_age_days_max=36_500)
    async with gateway(settings, facts["dsn"], MASTER_KEY) as api:
        engine = Engine(
            api, taps, facts.get("submitters", SUBMITTERS), facts.get("group_taps", GROUP_TAPS)
        )
        say_ready()
        await obey_orders(engine.run)


if __name__ == "__main__":
    uvloop.run(main())
