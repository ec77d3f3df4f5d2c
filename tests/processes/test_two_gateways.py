"""Two gateways on one database, given the same taps at the same moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import aiohttp
import pytest
from _stack import Gateway, kept_ids

from gateway.example_city import ZONE, CityClient, bus_gate, media_token, morning, wallets

Opener = Callable[[str], Gateway]
TAPS = morning(date(2018, 9, 3))


@pytest.fixture
def open_gateway(folder: Path) -> Iterator[Opener]:
    opened: list[Gateway] = []

    def open_one(dsn: str) -> Gateway:
        gateway = Gateway(folder, dsn)
        opened.append(gateway)
        gateway.start()
        return gateway

    yield open_one
    for gateway in opened:
        assert gateway.stop() == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1, 2])
async def test_each_in_its_own_order_and_often_they_come_to_what_one_would(
    open_gateway: Opener, database: str, other_database: str, seed: int
) -> None:
    one, other, alone = (open_gateway(dsn) for dsn in (database, database, other_database))
    async with aiohttp.ClientSession() as session:
        first = CityClient(session, one.address, await asyncio.to_thread(one.admin_token))
        second = CityClient(session, other.address, await asyncio.to_thread(other.admin_token))
        third = CityClient(session, alone.address, await asyncio.to_thread(alone.admin_token))
        await asyncio.sleep(0.3)
        await first.register()
        second.share_keys(first)
        await third.register()
        await asyncio.sleep(0.3)
        here, there = await asyncio.gather(
            send_shuffled(first, seed), send_shuffled(second, seed + 100)
        )
        for tap in TAPS:
            await third.tap(tap)
        held, held_alone = await balances(first), await balances(third)
        charges, charges_alone = await charged(second), await charged(third)
    # Both gave every answer, to every repeat, in the same bytes.
    assert here.keys() == there.keys() == {tap["tap_id"] for tap in TAPS}
    assert all(len(here[tap_id] | there[tap_id]) == 1 for tap_id in here)
    assert held == held_alone
    assert charges == charges_alone
    assert await kept_ids(database) == sorted(here)
    assert one.audit().stdout.splitlines()[-1] == "audit passed"


@pytest.mark.timeout(120)
async def test_a_few_riders_tap_at_both_in_the_same_moment(
    open_gateway: Opener, database: str, other_database: str
) -> None:
    """Different taps meet at one wallet: who comes second decides again, and nobody hears of it."""
    one, other, alone = (open_gateway(dsn) for dsn in (database, database, other_database))
    taps = rides_of_a_day(riders_count=5, rides_count=40)
    async with aiohttp.ClientSession() as session:
        first = CityClient(session, one.address, await asyncio.to_thread(one.admin_token))
        second = CityClient(session, other.address, await asyncio.to_thread(other.admin_token))
        third = CityClient(session, alone.address, await asyncio.to_thread(alone.admin_token))
        await asyncio.sleep(0.3)
        await first.register()
        second.share_keys(first)
        await third.register()
        await asyncio.sleep(0.3)
        either = [client.tap(tap) for tap, client in zip(taps, cycle((first, second)))]
        answers = await asyncio.gather(*either)
        for tap in taps:
            await third.tap(tap)
        held, held_alone = await balances(first), await balances(third)
    assert {answer["outcome"] for answer in answers} == {"ride_charged"}
    assert held == held_alone
    assert sum(held) < 10_000 * len(held)
    assert await kept_ids(database) == sorted(tap["tap_id"] for tap in taps)
    assert one.audit().stdout.splitlines()[-1] == "audit passed"


def rides_of_a_day(*, riders_count: int, rides_count: int) -> list[dict[str, Any]]:
    """A bus every quarter of an hour from six in the morning; the riders board it in turn."""
    taps = []
    for ride in range(rides_count):
        for rider in range(riders_count):
            at = datetime(2018, 9, 3, 6, tzinfo=ZONE) + timedelta(minutes=15 * ride, seconds=rider)
            sequence = ride * riders_count + rider + 1
            taps.append(
                {
                    "tap_id": str(uuid5(NAMESPACE_URL, f"bus {sequence}")),
                    "gate_id": bus_gate("M486"),
                    "sequence": sequence,
                    "tapped_at": at.isoformat(),
                    "media_token": media_token(rider),
                    "action": "board",
                    "route_id": "M486",
                    "full_fare": 200,
                }
            )
    return taps


async def send_shuffled(client: CityClient, seed: int) -> dict[str, set[bytes]]:
    """Every tap twice or more, in an order of one's own, sixteen at a time: the answers' bytes."""
    draw = random.Random(seed)
    order = [*TAPS, *TAPS, *draw.sample(TAPS, 50)]
    draw.shuffle(order)
    heard: dict[str, set[bytes]] = {}
    at_once = asyncio.Semaphore(16)

    async def one(tap: dict[str, Any]) -> None:
        async with at_once:
            said = await client.tap_bytes(tap)
        heard.setdefault(tap["tap_id"], set()).add(said)

    await asyncio.gather(*(one(tap) for tap in order))
    return heard


async def balances(client: CityClient) -> list[int]:
    held = [await client.get(f"/v1/wallets/{wallet['wallet_id']}") for wallet in wallets()]
    return [one["balance_fen"] for one in held]


async def charged(client: CityClient) -> dict[str, int]:
    found = await client.post("/v1/charges", {"tap_ids": [tap["tap_id"] for tap in TAPS]})
    return {one["tap_id"]: one["fare_fen"] for one in found["charges"]}


def test_serving_on_a_database_without_its_tables_is_refused(folder: Path, server_dsn: str) -> None:
    gateway = Gateway(folder, server_dsn.replace("/postgres?", "/template1?"))
    with pytest.raises(AssertionError, match="faregate db upgrade"):
        gateway.start()
    assert gateway.process
    assert gateway.process.wait(10) == 3
