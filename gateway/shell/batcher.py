"""Micro-batches without a timer: a batch is sent when a lane is idle; meanwhile the next fills.

Quiet: a batch of one, answered now. Busy: whatever gathered. A lane is one task with one connection
of its own. One takes all that waits; another begins while it is away only once many taps wait, or
one has waited long: few taps cost less in one batch than in two. No wallet is in two lanes at once:
its taps wait for those before them. Where two gateways meet at a wallet, one of them decides again.
A client that goes away never cancels a commit.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg
import structlog
from msgspec import Struct

from gateway.core.decide import Plan
from gateway.core.taps import Tap, TapResult
from gateway.shell import telemetry
from gateway.shell.database import OUTAGES, connect
from gateway.shell.transactions import RACES

log = structlog.get_logger()

# The last is whether to lock the wallets first and to look up every id: after a lost race, so that
# none is lost for ever.
RunBatch = Callable[[asyncpg.Connection, Sequence[Tap], bool], Awaitable[Plan]]
_RACES_MAX = 20
# When another lane than the first goes: loadtest/RESULTS.md says what other numbers gave.
_MANY_TAPS = 16
_LONG_SECONDS = 0.02
# How many requests a lane passes over because their riders are away with another.
_HELD_MAX = 64
_SHARED_MAX = 100_000
_PAUSE_SECONDS_MAX = 0.5
_ANSWERS_AT_ONCE = 16


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

    taps: Sequence[Tap]
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
        self._batch_taps_max = batch_taps_max
        self._waiting_count = 0
        self._queue: deque[_Group] = deque()
        self._queued_count = 0
        self._is_watching = False
        self._is_stopping = False
        # Media of wallets that have several, with their wallets.
        self._shared: dict[str, UUID] = {}
        self._lanes = [
            _Lane(dsn, run_batch, commit_timeout_seconds, self) for _ in range(lanes_count)
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
        on_shared = [tap.media_token in self._shared for tap in taps]
        if not any(on_shared) or all(on_shared):
            return await self._put(taps)
        # Where many ride on one wallet, the others of a request need not wait for its lane.
        apart = [tap for tap, is_so in zip(taps, on_shared, strict=True) if is_so]
        others = [tap for tap, is_so in zip(taps, on_shared, strict=True) if not is_so]
        found = await asyncio.gather(self._put(apart), self._put(others))
        of_shared, of_others = map(iter, found)
        return [next(of_shared if is_so else of_others) for is_so in on_shared]

    def _put(self, taps: Sequence[Tap]) -> asyncio.Future[list[Answer]]:
        answers: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._waiting_count += len(taps)
        self._queued_count += len(taps)
        self._queue.append(_Group(taps, answers, time.monotonic()))
        if self._is_watching:
            self.wake()
        else:
            self._watch()
        return answers

    def _watch(self) -> None:
        """Look again and again for as long as anything waits, whether or not more comes."""
        self.wake()
        self._is_watching = bool(self._queue)
        if self._is_watching:
            asyncio.get_running_loop().call_later(_LONG_SECONDS, self._watch)

    async def drain(self) -> None:
        """Answer everything that waits, then stop. Nothing may be submitted any more."""
        self._is_stopping = True
        for lane in self._lanes:
            lane.has_work.set()
        await asyncio.gather(*(lane.stop() for lane in self._lanes))

    @property
    def is_drained(self) -> bool:
        return self._is_stopping and not self._queue

    def wake(self) -> None:
        """Let an idle lane go, if it is time."""
        if self._is_time():
            for lane in self._lanes:
                if not lane.groups:
                    lane.has_work.set()
                    return

    def _is_time(self) -> bool:
        if not self._queue:
            return False
        return (
            self._queued_count >= _MANY_TAPS
            or not any(lane.groups for lane in self._lanes)
            or time.monotonic() - self._queue[0].since >= _LONG_SECONDS
        )

    def next_batch(self) -> list[_Group]:
        """What an idle lane is to decide now, if anything."""
        if not self._is_time():
            return []
        away = self._keys_of(group for lane in self._lanes for group in lane.groups)
        batch: list[_Group] = []
        count = 0
        held: list[_Group] = []
        while self._queue and len(held) < _HELD_MAX:
            group = self._queue[0]
            if batch and count + len(group.taps) > self._batch_taps_max:
                break
            self._queue.popleft()
            if away and not away.isdisjoint(keys := self._keys_of([group])):
                away |= keys
                held.append(group)
            else:
                batch.append(group)
                count += len(group.taps)
        self._queue.extendleft(reversed(held))
        self._queued_count -= count
        return batch

    def _keys_of(self, groups: Iterable[_Group]) -> set[str | UUID]:
        """How lanes keep out of each other's way: media, or the wallet where it has several."""
        shared = self._shared
        tokens = [tap.media_token for group in groups for tap in group.taps]
        return {shared.get(token, token) for token in tokens}

    def answered(self, groups: Iterable[_Group]) -> None:
        """Count what a lane is done with."""
        self._waiting_count -= sum(len(group.taps) for group in groups)
        if self._is_stopping:
            for lane in self._lanes:
                lane.has_work.set()

    def learn(self, plan: Plan) -> None:
        """See which media share a wallet."""
        for wallet in plan.wallets:
            if len(wallet.riders) > 1:
                if len(self._shared) > _SHARED_MAX:
                    self._shared.clear()
                self._shared.update(dict.fromkeys(wallet.riders, wallet.wallet_id))

    @property
    def waiting_count(self) -> int:
        """Taps taken in and not yet answered."""
        return self._waiting_count

    def oldest_wait_seconds(self) -> float:
        """How long the oldest of them has waited, counting while its batch is on its way."""
        waiting = [self._queue, *(lane.groups for lane in self._lanes)]
        since = [groups[0].since for groups in waiting if groups]
        return time.monotonic() - min(since) if since else 0.0


class _Lane:
    def __init__(
        self, dsn: str, run_batch: RunBatch, commit_timeout_seconds: float, batcher: Batcher
    ) -> None:
        self._dsn = dsn
        self._run_batch = run_batch
        self._commit_timeout_seconds = commit_timeout_seconds
        self._batcher = batcher
        # What it is away with.
        self.groups: list[_Group] = []
        self.has_work = asyncio.Event()
        self._connection: asyncpg.Connection | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run_forever())

    async def stop(self) -> None:
        if self._task:
            await self._task
        if self._connection:
            await self._connection.close()

    async def _run_forever(self) -> None:
        batcher = self._batcher
        while not batcher.is_drained:
            groups = self.groups = batcher.next_batch()
            if not groups:
                self.has_work.clear()
                await self.has_work.wait()
                continue
            batcher.wake()
            telemetry.QUEUE_SECONDS.observe(time.monotonic() - groups[0].since)
            try:
                await self._answer(groups)
            finally:
                self.groups = []
                batcher.answered(groups)

    async def _answer(self, groups: list[_Group]) -> None:
        taps = [tap for group in groups for tap in group.taps]
        telemetry.BATCH_TAPS.observe(len(taps))
        try:
            plan = await self._run_until_known(taps)
        except OutcomeUnknown as unknown:
            log.warning("tap batch met an outage", taps_count=len(taps), exc_info=True)
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
            self._batcher.learn(plan)
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
