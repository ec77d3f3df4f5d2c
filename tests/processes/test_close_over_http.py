"""A close asked for over HTTP is done in a process of its own, whatever becomes of that."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from _stack import ROOT, Gateway, is_running, run_faregate

from gateway.example_city import CityClient, morning

DAY = date(2018, 9, 3)
SIGNING_KEY = "cd" * 32
# What a close waits for while somebody else has it, and how far it has come by then.
CLOCK_IS_HELD = "settlement IN EXCLUSIVE MODE"
DAY_IS_CLOSED = "settlement_batch IN ACCESS EXCLUSIVE MODE"
FILES_ARE_WRITTEN = "settlement_manifest IN EXCLUSIVE MODE"


class Town:
    """A gateway that has carried the riders of a morning, and whoever closes its day."""

    def __init__(self, gateway: Gateway, folder: Path, session: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.folder = folder
        self._session = session
        self._token = gateway.admin_token()
        self.client = CityClient(session, gateway.address, self._token)

    async def ride(self) -> None:
        await asyncio.sleep(0.3)
        await self.client.register()
        await asyncio.sleep(0.3)
        await asyncio.gather(*(self.client.tap(tap) for tap in morning(DAY, riders_count=60)))

    async def close(self, day: date = DAY) -> tuple[int, Any]:
        async with self._session.post(
            f"{self.gateway.address}/v1/settlements",
            json={"service_day": str(day)},
            headers={"Authorization": f"Bearer {self._token}"},
        ) as said:
            retry = {"retry_after": after} if (after := said.headers.get("Retry-After")) else {}
            return said.status, json.loads(await said.read()) | retry

    @contextlib.asynccontextmanager
    async def close_that_waits(self, at: str) -> AsyncIterator[tuple[asyncio.Task[Any], int]]:
        """A close under way, which somebody keeps from a table until this is left; its process."""
        holder = await asyncpg.connect(self.gateway.dsn)
        try:
            async with holder.transaction():
                await holder.execute(f"LOCK TABLE {at}")
                closing = asyncio.create_task(self.close())
                while not await holder.fetchval(
                    "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::regclass",
                    at.split()[0],
                ):
                    assert not closing.done(), closing.result()
                    await asyncio.sleep(0.02)
                [child] = self.gateway.child_pids()
                yield closing, child
        finally:
            await holder.close()

    def settled(self) -> dict[str, bytes]:
        """Every file of the day, by its place."""
        day = self.folder / "settlement" / str(DAY)
        return {
            str(path.relative_to(day)): path.read_bytes()
            for path in day.rglob("*")
            if path.is_file()
        }

    def lines(self) -> dict[str, list[dict[str, str]]]:
        """Every table of the day, but for the moments at which its rows were recorded."""
        found = {}
        for name, content in self.settled().items():
            if name.endswith(".csv"):
                rows = found[name] = list(csv.DictReader(io.StringIO(content.decode())))
                for row in rows:
                    row.pop("recorded_at", None)
        return found


Opener = Callable[..., contextlib.AbstractAsyncContextManager[Town]]


@pytest.fixture
def open_town(folder: Path) -> Opener:
    @contextlib.asynccontextmanager
    async def open_one(dsn: str, name: str = "town", **variables: str) -> AsyncIterator[Town]:
        own = folder / name
        own.mkdir()
        gateway = Gateway(
            own,
            dsn,
            FAREGATE_DATA_DIR=str(own),
            FAREGATE_SIGNING_KEY=SIGNING_KEY,
            **variables,
        )
        await asyncio.to_thread(gateway.start)
        try:
            async with aiohttp.ClientSession() as session:
                yield Town(gateway, own, session)
        finally:
            assert gateway.process
            if gateway.process.poll() is None:
                gateway.stop()

    return open_one


@pytest.mark.timeout(180)
async def test_a_close_killed_at_any_moment_is_finished_by_the_next(
    open_town: Opener, database: str, other_database: str
) -> None:
    tap, *later = morning(DAY + timedelta(days=7), riders_count=10)
    async with open_town(database) as town:
        await town.ride()
        for moment in (CLOCK_IS_HELD, DAY_IS_CLOSED, FILES_ARE_WRITTEN):
            async with town.close_that_waits(moment) as (closing, child):
                assert os.getpriority(os.PRIO_PROCESS, child) == 19
                command = Path(f"/proc/{child}/cmdline").read_text()
                assert SIGNING_KEY not in command
                assert database not in command
                # Who moves the clock keeps taps waiting, and nobody else does.
                if moment != CLOCK_IS_HELD:
                    assert await town.client.tap(tap)
                    tap, *later = later
                os.kill(child, signal.SIGKILL)
                status, said = await closing
                assert status == 503, said
                assert said["type"] == "urn:faregate:problem:close_broke_off"
                assert "signal 9 (Killed)" in said["detail"]
                assert "Ask again" in said["detail"]
                assert said["retry_after"] == "5"
        status, settlement = await town.close()
        assert status == 200, settlement
        files = town.settled()
        assert await town.close() == (200, settlement)
        assert town.settled() == files
        keys = str(town.folder / "settlement" / "keys.json")
        verified = run_faregate("verify", str(town.folder / "settlement" / str(DAY)), "--key", keys)
        assert verified.returncode == 0, verified.stdout
        assert town.gateway.audit().stdout.splitlines()[-1] == "audit passed"
        assert SIGNING_KEY not in town.gateway.log.read_text()
    async with open_town(other_database, "undisturbed") as undisturbed:
        await undisturbed.ride()
        status, alone = await undisturbed.close()
        assert status == 200
        assert alone["batches"] == settlement["batches"]
        assert undisturbed.lines() == town.lines()
        assert undisturbed.settled().keys() == files.keys()


async def test_a_day_that_cannot_be_closed_is_refused_with_the_reason(
    open_town: Opener, database: str, folder: Path
) -> None:
    tariffs = folder / "tariffs"
    shutil.copytree(ROOT / "fare_rules" / "tariffs" / "shenzhen", tariffs)
    async with open_town(database, FAREGATE_TARIFFS_DIR=str(tariffs)) as town:
        assert (await town.close(DAY))[0] == 200
        reasons = {date(2999, 1, 1): "is not over yet", DAY - timedelta(days=1): "a later close"}
        for day, reason in reasons.items():
            status, said = await town.close(day)
            assert status == 409
            assert said["type"] == "urn:faregate:problem:close_refused"
            assert reason in said["detail"]
        notice = max(tariffs.glob("2*.yaml"))
        notice.write_text(notice.read_text() + "# Somebody edits it.\n")
        status, said = await town.close(DAY + timedelta(days=1))
        assert status == 409
        assert "Restart it first" in said["detail"]
        notice.write_text("nothing: of the kind")
        status, said = await town.close(DAY + timedelta(days=1))
        assert status == 409
        assert notice.name in said["detail"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_no_close_outlives_its_gateway(
    open_town: Opener, database: str, number: signal.Signals
) -> None:
    async with open_town(database, FAREGATE_DRAIN_SECONDS_MAX="1") as town:
        async with town.close_that_waits(DAY_IS_CLOSED) as (closing, child):
            code = await asyncio.to_thread(town.gateway.stop, number)
            assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)
            town.gateway.wait_until(lambda: not is_running(child))
            with pytest.raises(aiohttp.ClientError):
                await closing
        finished = run_faregate(
            "settle", "close", "--service-day", str(DAY), **town.gateway.variables
        )
        assert finished.returncode == 0, finished.stderr


async def test_a_close_whose_client_went_away_comes_to_its_end(
    open_town: Opener, database: str
) -> None:
    async with open_town(database) as town:
        async with town.close_that_waits(DAY_IS_CLOSED) as (closing, child):
            closing.cancel()
            await asyncio.wait([closing])
            assert is_running(child)
        await asyncio.to_thread(town.gateway.wait_until, lambda: not town.gateway.child_pids())
        assert "manifest.sig" in town.settled()
        assert (await town.close())[0] == 200
