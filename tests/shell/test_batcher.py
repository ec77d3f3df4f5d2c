"""Which taps wait for which: one batch at a time while it is quiet, several where it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import pytest

from gateway.core.days import NOTHING_REMEMBERED, RiderToday
from gateway.core.decide import Plan
from gateway.core.taps import Action, Tap, TapOutcome, TapResult
from gateway.core.wallets import Wallet
from gateway.shell.batcher import Answer, Batcher

NOON = datetime(2018, 9, 3, 4, tzinfo=UTC)


def tap_of(media_token: str) -> Tap:
    return Tap(uuid4(), "bus-1", 1, NOON, media_token, Action.BOARD)


class Held:
    """Batches on their way: each comes back when it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.wallets: tuple[Wallet, ...] = ()
        self._let_go: list[asyncio.Event] = []

    async def run_batch(
        self, _connection: asyncpg.Connection, taps: Sequence[Tap], _is_locking: bool
    ) -> Plan:
        self.batches.append([tap.media_token for tap in taps])
        let_go = asyncio.Event()
        self._let_go.append(let_go)
        await let_go.wait()
        told = [TapResult(tap.tap_id, TapOutcome.LEG_OPENED, True, "") for tap in taps]
        return Plan(tuple(told), (), (), (), self.wallets)

    def let_go(self, number: int) -> None:
        self._let_go[number].set()

    def let_all_go(self) -> None:
        for each in self._let_go:
            each.set()


class Gates:
    """Taps handed in one by one, each answered when its batch is."""

    def __init__(self, batcher: Batcher, held: Held) -> None:
        self.held = held
        self._batcher = batcher
        self.answering: list[asyncio.Task[list[Answer]]] = []
        self.submitted: list[Tap] = []

    async def beep(self, *media_tokens: str) -> None:
        for token in media_tokens:
            self.answering.append(asyncio.create_task(self._batcher.submit([tap_of(token)])))
        await asyncio.sleep(0)

    async def submit(self, media_tokens: Sequence[str]) -> list[Answer]:
        """Hand taps in by one request."""
        self.submitted = [tap_of(token) for token in media_tokens]
        return await self._batcher.submit(self.submitted)

    async def learn_that_they_share(self, *media_tokens: str) -> None:
        """One batch that shows a wallet of several media."""
        riders = {token: RiderToday(NOTHING_REMEMBERED) for token in media_tokens}
        self.held.wallets = (Wallet(uuid4(), riders=riders),)
        await self.beep(media_tokens[0])
        await self.away(1)
        self.held.let_go(0)
        await self.answered()

    async def away(self, count: int) -> list[list[str]]:
        """The batches that were sent, once there are so many."""
        for _ in range(10_000):
            if len(self.held.batches) >= count:
                return self.held.batches
            await asyncio.sleep(0.001)
        raise AssertionError(f"only {self.held.batches} were sent")

    async def answered(self) -> list[TapResult]:
        return [(await one)[0].result for one in self.answering]

    async def drain(self) -> None:
        """Let every batch go, until all that waited is answered."""
        draining = asyncio.create_task(self._batcher.drain())
        while not draining.done():
            self.held.let_all_go()
            await asyncio.sleep(0.001)
        await draining


@pytest.fixture
async def gates(database: str) -> AsyncIterator[Gates]:
    held = Held()
    batcher = Batcher(
        database,
        held.run_batch,
        lanes_count=2,
        batch_taps_max=512,
        queue_taps_max=10_000,
        commit_timeout_seconds=10,
    )
    batcher.start()
    gates = Gates(batcher, held)
    yield gates
    await gates.drain()


MANY = [f"rider {n}" for n in range(100)]


async def test_few_taps_that_come_while_a_batch_is_away_go_together_when_it_is_back(gates: Gates):
    await gates.beep("ann")
    await gates.away(1)
    await gates.beep("bob", "eve")
    gates.held.let_go(0)
    assert await gates.away(2) == [["ann"], ["bob", "eve"]]


async def test_many_taps_go_at_once_although_a_batch_is_away(gates: Gates):
    await gates.beep("ann")
    await gates.away(1)
    await gates.beep(*MANY)
    batches = await gates.away(2)
    assert [token for batch in batches[1:] for token in batch] == MANY[: len(batches[1])]
    assert len(batches[1]) >= 64


async def test_a_tap_that_has_waited_long_goes_although_a_batch_is_away(gates: Gates):
    await gates.beep("ann")
    await gates.away(1)
    await gates.beep("bob")
    assert await gates.away(2) == [["ann"], ["bob"]]


async def test_a_riders_taps_wait_for_those_before_them_and_others_overtake(gates: Gates):
    await gates.beep("ann")
    await gates.away(1)
    await gates.beep("ann", *MANY, "ann")
    await gates.away(2)
    gates.held.let_go(1)
    await asyncio.wait(gates.answering[2:-1])
    assert not any("ann" in batch for batch in gates.held.batches[1:])
    gates.held.let_go(0)
    count = len(gates.held.batches)
    assert (await gates.away(count + 1))[count] == ["ann", "ann"]


async def test_media_of_one_wallet_wait_for_each_other_once_that_is_known(gates: Gates):
    await gates.learn_that_they_share("ann", "bob")
    await gates.beep("ann")
    await gates.away(2)
    await gates.beep("bob", *MANY)
    await gates.away(3)
    assert "bob" not in gates.held.batches[2]


async def test_a_request_need_not_wait_whole_for_a_wallet_that_many_ride_on(gates: Gates):
    await gates.learn_that_they_share("ann", "bob")
    await gates.beep("ann")
    await gates.away(2)
    request = asyncio.create_task(gates.submit(["eve", "bob", *MANY]))
    assert (await gates.away(3))[2] == ["eve", *MANY]
    gates.held.let_go(1)
    gates.held.let_go(2)
    await gates.away(4)
    gates.held.let_go(3)
    told = [one.result.tap_id for one in await request]
    assert told == [tap.tap_id for tap in gates.submitted]


async def test_what_waits_at_a_stop_is_answered_first(gates: Gates):
    await gates.beep("ann", "ann", *MANY)
    await gates.away(1)
    await gates.drain()
    assert len(await gates.answered()) == len(MANY) + 2
