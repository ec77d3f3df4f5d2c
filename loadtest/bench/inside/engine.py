"""The engine's runner: a gateway without its door, its batcher fed by tasks that never rest.

It is what `faregate serve` runs behind HTTP, with the settings that it has by default: taps go to
`Batcher.submit`, are decided, saved and answered. Taps are made before the clock starts.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid5
from zlib import crc32

import msgspec
import uvloop
from msgspec import structs

from gateway.api import Api
from gateway.core.registry import Registry
from gateway.core.taps import Action, Tap
from gateway.serving import gateway
from gateway.shell import telemetry
from gateway.shell.batcher import Answer
from gateway.shell.settings import Settings
from loadtest.bench.processes import first_order, obey_orders, say_ready
from loadtest.bench.stage import (
    CITY_TAPS_PER_SECOND_PER_WALLET,
    COMPANY,
    COMPANY_MEDIA_COUNT,
    MASTER_KEY,
    company_token,
)
from loadtest.city import City

# As much as 64 station computers have under way, each with what its gates gathered meanwhile.
SUBMITTERS = 64
GROUP_TAPS = 16
_FIRST_TAPS_PER_SECOND = 20_000
# The engine may be faster than it was in its last run.
_MADE_SHARE = 1.3
COMPANY_TAPS_SHARE = 10
# Beyond the sequences of the buses themselves.
_COMPANY_SEQUENCES = 10**15


class Engine:
    """Feeds a gateway's batcher with the city's taps."""

    def __init__(self, api: Api, taps: Iterator[Tap]) -> None:
        self._api = api
        self._taps = taps
        self._made: list[Tap] = []
        self._taps_per_second: float = _FIRST_TAPS_PER_SECOND
        self._company_taps_count = 0
        registry = api.door.registry
        self._registries = {
            "several": registry.current,
            "one": _with_one_operator(registry.current),
        }

    async def obey(self, *, prepares: bool = False, **order: Any) -> dict[str, Any]:
        """Make the taps of a run beforehand, or run it."""
        if prepares:
            self._make(int(self._taps_per_second * order["seconds"] * _MADE_SHARE))
            return {}
        return await self.run(**order)

    async def run(
        self,
        *,
        seconds: float,
        operators: str = "several",
        company: int | None = None,
        begins_at: float = 0,
    ) -> dict[str, Any]:
        """Decide and save for so long; `company` names a wallet that gets one tap in ten."""
        self._api.door.registry.current = self._registries[operators]
        self._make(int(self._taps_per_second * seconds * _MADE_SHARE))
        taps = self._made if company is None else list(self._with_company(self._made, company))
        groups = iter([taps[i : i + GROUP_TAPS] for i in range(0, len(taps), GROUP_TAPS)])
        found: list[tuple[float, list[Answer]]] = []
        # Live, the taps of the next seconds would not be in memory to be looked through.
        gc.collect()
        gc.freeze()
        await asyncio.sleep(max(0, begins_at - time.time()))
        cpu_before, started_at = time.process_time(), time.perf_counter()
        until = started_at + seconds
        await asyncio.gather(*(self._submit(groups, until, found) for _ in range(SUBMITTERS)))
        elapsed = time.perf_counter() - started_at
        cpu_seconds = time.process_time() - cpu_before
        gc.unfreeze()
        left = [tap for group in groups for tap in group]
        self._made = [tap for tap in left if not tap.media_token.startswith(COMPANY)]
        taps_count = sum(len(answers) for _, answers in found)
        tenths = Counter[int]()
        for answered_at, answers in found:
            tenths[int((answered_at - started_at) * 10)] += len(answers)
        self._taps_per_second = taps_count / elapsed
        return {
            "taps_count": taps_count,
            "taps_per_second": self._taps_per_second,
            "cpu_seconds": cpu_seconds,
            "outcomes": Counter(one.result.outcome for _, answers in found for one in answers),
            "by_tenth_second": [tenths[i] for i in range(max(tenths, default=0) + 1)],
        }

    async def _submit(
        self, groups: Iterator[list[Tap]], until: float, found: list[tuple[float, list[Answer]]]
    ) -> None:
        submit = self._api.batcher.submit
        for group in groups:
            answers = await submit(group)
            now = time.perf_counter()
            found.append((now, answers))
            if now > until:
                return

    def _make(self, taps_count: int) -> None:
        self._made += islice(self._taps, max(0, taps_count - len(self._made)))

    def _with_company(self, taps: Sequence[Tap], company: int) -> Iterator[Tap]:
        """Every tenth tap is by one of a company's cards, which never leave the metro for long.

        A card enters or leaves with whoever did so last; then it is the next card's turn.
        """
        last: dict[Action, Tap] = {}
        for position, tap in enumerate(taps):
            yield tap
            last[tap.action] = tap
            number = self._company_taps_count
            is_way_out = number // COMPANY_MEDIA_COUNT % 2
            beside = last.get(Action.EXIT if is_way_out else Action.ENTER)
            if beside is None or position % (COMPANY_TAPS_SHARE - 1):
                continue
            self._company_taps_count += 1
            yield structs.replace(
                beside,
                tap_id=uuid5(beside.tap_id, str(number)),
                sequence=_COMPANY_SEQUENCES + number,
                tapped_at=tap.tapped_at,
                media_token=company_token(company, number % COMPANY_MEDIA_COUNT),
            )


def _with_one_operator(registry: Registry) -> Registry:
    """The same city, if all of it belonged to one company."""
    owner = min(registry.operators)
    gates = {i: structs.replace(g, operator_id=owner) for i, g in registry.gates.items()}
    return structs.replace(registry, gates=gates)


async def main() -> None:
    facts = await first_order()
    telemetry.start_logging("warning", "json")
    city = City(riders_count=facts["wallets_count"], zipf=facts.get("zipf", 0.0))
    stream = city.stream(
        datetime.fromisoformat(facts["starts_at"]),
        facts["wallets_count"] * CITY_TAPS_PER_SECOND_PER_WALLET,
    )
    number, count = facts.get("share", (0, 1))
    taps = (
        msgspec.convert(tap, Tap, from_attributes=True)
        for tap in stream
        if count == 1 or crc32(tap.media_token.encode()) % count == number
    )
    # The days of the race lie in the past, because it runs through one in minutes.
    settings = structs.replace(Settings(), tap_age_days_max=36_500)
    if "tariffs_dir" in facts:
        settings = structs.replace(settings, tariffs_dir=Path(facts["tariffs_dir"]))
    async with gateway(settings, facts["dsn"], MASTER_KEY) as api:
        engine = Engine(api, taps)
        say_ready()
        await obey_orders(engine.obey)


if __name__ == "__main__":
    uvloop.run(main())
