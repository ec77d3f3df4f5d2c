"""A database that takes what it is sent and answers nothing: the desk hears 503 in time."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Iterator, Sequence
from typing import Any
from uuid import uuid4

import psutil
import pytest

# Far below what a statement may take elsewhere, and far above what this machine needs for one.
COMMIT_TIMEOUT_MS = 1000
PATIENCE_SECONDS = 20

pytestmark = pytest.mark.skipif(
    "FAREGATE_DATABASE_URL" in os.environ, reason="stops processes of a server of its own"
)


@contextlib.contextmanager
def stopped(processes: Sequence[psutil.Process]) -> Iterator[None]:
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


async def server_processes(door) -> tuple[psutil.Process, list[psutil.Process]]:
    """The server, and those of its processes that serve this gateway's pool."""
    backend = psutil.Process(await door.api.pool.fetchval("SELECT pg_backend_pid()"))
    pids = await door.api.pool.fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    )
    server = backend.parent()
    assert server
    return server, [psutil.Process(row["pid"]) for row in pids]


async def told(asked: Awaitable[Any]) -> Any:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await asked


@pytest.mark.parametrize("is_whole", [True, False], ids=["whole server", "its connections"])
async def test_the_desk_hears_in_time_that_the_database_hangs(open_door, is_whole: bool):
    async with open_door(commit_timeout_ms=COMMIT_TIMEOUT_MS) as door:
        wallet_id = await door.open_wallet(fen=1000)
        path, top_up = f"/v1/wallets/{wallet_id}", {"top_up_id": str(uuid4()), "amount_fen": 500}
        server, connections = await server_processes(door)
        with stopped([server, *server.children()] if is_whole else connections):
            # More at once than there are connections; a report, too.
            asked = [
                door.ask("POST", f"{path}/top-ups", top_up),
                *(door.ask("GET", f"{path}/entries") for _ in range(6)),
                door.ask("GET", "/v1/held"),
                door.post_taps(door.tap(media_token="stranger")),
            ]
            said = await told(asyncio.gather(*asked))
            # Nor when no connection is left, and a new one has to be opened.
            said += await told(
                asyncio.gather(
                    door.ask("GET", path), door.post_taps(door.tap(media_token="stranger"))
                )
            )
        for one in said:
            # Where only old connections hang, who gets a new one is answered.
            assert one.status == 503 or (one.status == 200 and not is_whole), one.body
            assert (one.status == 503) == ("Retry-After" in one.headers)
        assert (await told(door.ask("POST", f"{path}/top-ups", top_up))).status == 200
        assert (await door.wallet(wallet_id))["balance_fen"] == 1500


async def test_a_report_may_take_longer_than_the_desk(open_door):
    async with open_door(commit_timeout_ms=COMMIT_TIMEOUT_MS) as door:
        path = f"/v1/wallets/{await door.open_wallet()}/entries"
        async with door.api.pool.acquire() as owner, owner.transaction():
            await owner.execute("SET LOCAL ROLE NONE; LOCK TABLE journal_entry")
            report = asyncio.create_task(door.ask("GET", "/v1/held"))
            (await told(door.ask("GET", path))).check_problem(503, "busy", "Send the same again")
            assert not report.done()
        assert (await told(report)).status == 200
