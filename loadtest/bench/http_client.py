"""The gates' runner: what they say is signed beforehand, then sent in a closed or an open loop."""

from __future__ import annotations

import asyncio
import gc
import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import uvloop

from loadtest.bench.connections import HttpPool
from loadtest.bench.open_loop import Phase, run_open_loop
from loadtest.bench.processes import first_order, obey_orders, say_ready
from loadtest.bench.requests import batch_requests, load_keys, single_requests
from loadtest.bench.stage import CITY_TAPS_PER_SECOND_PER_WALLET
from loadtest.city import City

CONNECTIONS = 64
# The gateway takes a signature for 300 s.
_SIGNED_SECONDS_MAX = 100
_OUTCOME = re.compile(rb'"outcome":"(\w+)"')
_FIRST_REQUESTS_PER_SECOND = {"single": 5_000, "batch": 150, "stream": 15_000}


class Gates:
    """All gates of a city on a few connections. Other doors have other requests and pools."""

    under_way = CONNECTIONS

    def __init__(self, facts: dict[str, Any]) -> None:
        self._port: int = facts["port"]
        city = City(riders_count=facts["wallets_count"])
        self.taps = city.stream(
            datetime.fromisoformat(facts["starts_at"]),
            facts["wallets_count"] * CITY_TAPS_PER_SECOND_PER_WALLET,
        )
        gates = city.registry()["gates"]
        self.signers = {g["gate_id"]: g.get("concentrator_id", g["gate_id"]) for g in gates}
        self._requests = self._prepare(facts)
        self._per_second: float = _FIRST_REQUESTS_PER_SECOND[facts["form"]]
        self._left: list[Any] = []
        self._made_at = 0.0

    def _prepare(self, facts: dict[str, Any]) -> Iterator[Any]:
        keys = load_keys(facts["keys"])
        if facts["form"] == "single":
            return single_requests(self.taps, keys)
        return batch_requests(self.taps, keys, self.signers)

    def _pool(self) -> Any:
        return HttpPool()

    async def run(self, *, loop: str, **order: Any) -> dict[str, Any]:
        return await (self.run_closed if loop == "closed" else self.run_open)(**order)

    async def run_closed(self, *, seconds: float, crowd: int = 1) -> dict[str, Any]:
        """Each connection sends as soon as it has been answered; a crowd has more of them."""
        under_way = self.under_way * crowd
        ready = self._make(int(self._per_second * seconds * 1.2) + under_way)
        pool = self._pool()
        await pool.open("127.0.0.1", self._port, CONNECTIONS * crowd)
        answers: list[tuple[int, bytes]] = []
        ended = asyncio.get_running_loop().create_future()
        until = 0.0

        def send() -> None:
            nonlocal under_way
            request = next(ready, None) if time.perf_counter() < until else None
            if request is not None:
                pool.send(request, done)
                return
            under_way -= 1
            if under_way == 0:
                ended.set_result(None)

        def done(status: int, said: bytes) -> None:
            answers.append((status, said))
            send()

        gc.collect()
        gc.freeze()
        cpu_before, started_at = time.process_time(), time.perf_counter()
        until = started_at + seconds
        for _ in range(under_way):
            send()
        await ended
        elapsed = time.perf_counter() - started_at
        cpu_seconds = time.process_time() - cpu_before
        gc.unfreeze()
        pool.close()
        self._left = list(ready)
        self._per_second = len(answers) / elapsed
        outcomes = self._outcomes(answers)
        taps_count = sum(outcomes.values())
        return {
            "taps_count": taps_count,
            "taps_per_second": taps_count / elapsed,
            "cpu_seconds": cpu_seconds,
            "outcomes": outcomes,
        }

    async def run_open(
        self, *, phases: list[tuple[float, float]], connections: int
    ) -> dict[str, Any]:
        """Send by a schedule, whatever the gateway does."""
        planned = [Phase(*phase) for phase in phases]
        ready = self._make(int(sum(each.per_second * each.seconds for each in planned) * 1.1) + 500)
        pool = self._pool()
        await pool.open("127.0.0.1", self._port, connections)
        gc.collect()
        gc.freeze()
        reports = await run_open_loop(pool.send, ready, planned)
        gc.unfreeze()
        pool.close()
        self._left = list(ready)
        return {"phases": reports}

    def _make(self, count: int) -> Iterator[Any]:
        if time.monotonic() > self._made_at + _SIGNED_SECONDS_MAX:
            self._left = []
        self._made_at = time.monotonic()
        self._left += islice(self._requests, max(0, count - len(self._left)))
        return iter(self._left)

    @staticmethod
    def _outcomes(answers: list[tuple[int, bytes]]) -> Counter[str]:
        found: Counter[str] = Counter()
        for status, said in answers:
            if status == 200:
                found.update(name.decode() for name in _OUTCOME.findall(said))
            else:
                found[f"status {status}"] += 1
        return found


async def main() -> None:
    gates = Gates(await first_order())
    say_ready()
    await obey_orders(gates.run)


if __name__ == "__main__":
    uvloop.run(main())
