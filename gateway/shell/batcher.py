"""Micro-batches without a timer: a batch is sent when its lane is idle; meanwhile the next fills.

Quiet: a batch of one, answered now. Busy: whatever gathered. A lane is one task with one connection
of its own; taps go to lanes by their media token, and once several media of one wallet have been
seen, all of them to one lane. Where two lanes, or two gateways, meet at a wallet all the same, one
of them decides again. A client that goes away never cancels a commit.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import asyncpg
import structlog
from msgspec import Struct

from gateway.core.decide import Plan
from gateway.core.taps import Tap, TapResult
from gateway.shell import telemetry
from gateway.shell.store import OUTAGES, RACES, connect

log = structlog.get_logger()

# The last is whether to lock the wallets first and to look up every id: after a lost race, so that
# none is lost for ever.
RunBatch = Callable[[asyncpg.Connection, Sequence[Tap], bool], Awaitable[Plan]]
_RACES_MAX = 20
_HOMES_MAX = 100_000
_PAUSE_SECONDS_MAX = 0.5
_ANSWERS_AT_ONCE = 32


class Overloaded(Exception):
    """The queue is full. Nothing of the request was taken; sending it again is safe."""


class OutcomeUnknown(Exception):
    """The database was away too long to say what became of the taps.

    Asking or resending is safe.
    """


class Answer(Struct, frozen=True, gc=False):
    result: TapResult
    is_repeat: bool


class _Group(NamedTuple):
    """Some taps of one request."""

    taps: list[Tap]
    answers: asyncio.Future[list[Answer]]
    since: float


class Batcher:
    """Takes taps from requests and answers them when they are durable."""

    def __init__(
        self,
        dsn: str,
        run_batch: RunBatch,
        *,
        lanes_count: int,
        batch_taps_max: int,
        queue_taps_max: int,
        commit_timeout_seconds: float,
    ) -> None:
        self._queue_taps_max = queue_taps_max
        self._waiting_count = 0
        # Media of wallets that have several: by what of the wallet their lane is chosen.
        self._homes: dict[str, int] = {}
        self._lanes = [
            _Lane(dsn, run_batch, batch_taps_max, commit_timeout_seconds, self._taken, self._learn)
            for _ in range(lanes_count)
        ]

    @property
    def is_full(self) -> bool:
        return self._waiting_count >= self._queue_taps_max

    def start(self) -> None:
        for lane in self._lanes:
            lane.start()

    async def submit(self, taps: Sequence[Tap]) -> list[Answer]:
        """Wait for these taps' answers, in order.

        Raises: Overloaded at once rather than queue without bound; OutcomeUnknown after an outage.
        """
        if self._waiting_count + len(taps) > self._queue_taps_max:
            raise Overloaded
        self._waiting_count += len(taps)
        if len(taps) == 1:
            return await self._lane_of(taps[0]).put(list(taps))
        positions: dict[_Lane, list[int]] = {}
        for position, tap in enumerate(taps):
            positions.setdefault(self._lane_of(tap), []).append(position)
        found = await asyncio.gather(
            *(lane.put([taps[i] for i in mine]) for lane, mine in positions.items())
        )
        in_order: list[Any] = [None] * len(taps)
        for mine, answers in zip(positions.values(), found, strict=True):
            for position, answer in zip(mine, answers, strict=True):
                in_order[position] = answer
        return in_order

    async def drain(self) -> None:
        """Answer everything that waits, then stop. Nothing may be submitted any more."""
        await asyncio.gather(*(lane.stop() for lane in self._lanes))

    def _lane_of(self, tap: Tap) -> _Lane:
        home = self._homes.get(tap.media_token)
        if home is None:
            home = zlib.crc32(tap.media_token.encode())
        return self._lanes[home % len(self._lanes)]

    def _learn(self, plan: Plan) -> None:
        for wallet in plan.wallets:
            if len(wallet.riders) > 1:
                if len(self._homes) > _HOMES_MAX:
                    self._homes.clear()
                self._homes.update(dict.fromkeys(wallet.riders, wallet.wallet_id.int))

    def _taken(self, count: int) -> None:
        self._waiting_count -= count

    @property
    def waiting_count(self) -> int:
        """Taps taken in and not yet answered."""
        return self._waiting_count

    def oldest_wait_seconds(self) -> float:
        """How long the oldest of them has waited, counting while its batch is on its way."""
        since = [lane.waiting_since for lane in self._lanes if lane.waiting_since is not None]
        return time.monotonic() - min(since) if since else 0.0


class _Lane:
    def __init__(
        self,
        dsn: str,
        run_batch: RunBatch,
        batch_taps_max: int,
        commit_timeout_seconds: float,
        taken: Callable[[int], None],
        learn: Callable[[Plan], None],
    ) -> None:
        self._dsn = dsn
        self._run_batch = run_batch
        self._batch_taps_max = batch_taps_max
        self._commit_timeout_seconds = commit_timeout_seconds
        self._taken = taken
        self._learn = learn
        self._groups: deque[_Group] = deque()
        self._answering: list[_Group] = []
        self._has_work = asyncio.Event()
        self._is_stopping = False
        self._connection: asyncpg.Connection | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run_forever())

    async def stop(self) -> None:
        self._is_stopping = True
        self._has_work.set()
        if self._task:
            await self._task
        if self._connection:
            await self._connection.close()

    def put(self, taps: list[Tap]) -> asyncio.Future[list[Answer]]:
        answers: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._groups.append(_Group(taps, answers, time.monotonic()))
        self._has_work.set()
        return answers

    async def _run_forever(self) -> None:
        while True:
            if not self._groups:
                if self._is_stopping:
                    return
                self._has_work.clear()
                await self._has_work.wait()
                continue
            groups = self._answering = self._next_batch()
            telemetry.QUEUE_SECONDS.observe(time.monotonic() - groups[0].since)
            try:
                await self._answer(groups)
            finally:
                self._answering = []
                self._taken(sum(len(group.taps) for group in groups))

    @property
    def waiting_since(self) -> float | None:
        first = self._answering or self._groups
        return first[0].since if first else None

    def _next_batch(self) -> list[_Group]:
        groups = [self._groups.popleft()]
        count = len(groups[0].taps)
        while self._groups and count + len(self._groups[0].taps) <= self._batch_taps_max:
            group = self._groups.popleft()
            groups.append(group)
            count += len(group.taps)
        return groups

    async def _answer(self, groups: list[_Group]) -> None:
        taps = [tap for group in groups for tap in group.taps]
        telemetry.BATCH_TAPS.observe(len(taps))
        try:
            plan = await self._run_until_known(taps)
        except OutcomeUnknown as unknown:
            for group in groups:
                _fail(group, unknown)
        except Exception as error:
            # A bug, met by one of these requests: the others must not suffer for it.
            if len(groups) > 1:
                for group in groups:
                    await self._answer([group])
                return
            log.exception("tap batch failed", taps_count=len(taps))
            _fail(groups[0], error)
        else:
            self._learn(plan)
            await _resolve(groups, plan)

    async def _run_until_known(self, taps: list[Tap]) -> Plan:
        deadline = time.monotonic() + self._commit_timeout_seconds
        races, pause_seconds = 0, 0.02
        while True:
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await connect(
                        self._dsn, timeout_seconds=self._commit_timeout_seconds
                    )
                with telemetry.BATCH_SECONDS.time():
                    return await self._run_batch(self._connection, taps, races > 0)
            except RACES:
                telemetry.RACES.inc()
                races += 1
                if races > _RACES_MAX:
                    raise
            except OUTAGES as outage:
                self._drop_connection()
                telemetry.OUTAGES.inc()
                if time.monotonic() > deadline:
                    raise OutcomeUnknown from outage
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, _PAUSE_SECONDS_MAX)

    def _drop_connection(self) -> None:
        if self._connection:
            self._connection.terminate()
        self._connection = None


def _fail(group: _Group, error: Exception) -> None:
    if not group.answers.done():
        group.answers.set_exception(error)


async def _resolve(groups: list[_Group], plan: Plan) -> None:
    answers = [Answer(result, False) for result in plan.results]
    for position in plan.repeats:
        answers[position] = Answer(plan.results[position], True)
    start = 0
    for number, group in enumerate(groups, 1):
        end = start + len(group.taps)
        # The client may have gone; its taps are saved all the same.
        if not group.answers.done():
            group.answers.set_result(answers[start:end])
        start = end
        # Each answer is written by its request: between some of them, new requests are heard.
        if number % _ANSWERS_AT_ONCE == 0:
            await asyncio.sleep(0)
    telemetry.count_taps(plan.results)
