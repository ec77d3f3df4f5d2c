"""`faregate unlink` killed in the middle of its work, and simply run again."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from pathlib import Path
from uuid import UUID

import aiohttp
import asyncpg
import duckdb
import pytest
from _stack import FAREGATE, ROOT, Gateway, environment, run_faregate

from gateway.example_city import STATIONS, CityClient, media_token, morning, wallets

RIDERS_COUNT = 120
DAYS = [date(2018, 9, 3) + timedelta(days=2 * number) for number in range(3)]


class Archive:
    """Three mornings, long ago: settled and archived, and riders who have not ridden since."""

    def __init__(self, dsn: str, folder: Path, tap_ids: list[UUID]) -> None:
        self.folder = folder / "archive"
        self.where = {
            "FAREGATE_DATABASE_URL": dsn,
            "FAREGATE_DATA_DIR": str(folder),
            "FAREGATE_UNLINK_DAYS": "400",
        }
        wallet_ids = [UUID(wallet["wallet_id"]) for wallet in wallets()]
        self._riders = [media_token(number).encode() for number in range(RIDERS_COUNT)]
        for each in wallet_ids + tap_ids:
            self._riders += [each.bytes, str(each).encode()]

    async def kill_when(self, is_so: Callable[[], Awaitable[bool]], *options: str) -> None:
        """Run `faregate unlink`, and kill it with -9 as soon as this is so."""
        process = subprocess.Popen(
            [*FAREGATE, "unlink", *options], cwd=ROOT, env=environment(**self.where)
        )
        try:
            while not await is_so():
                assert process.poll() is None, "it ended before it could be killed"
                await asyncio.sleep(0.001)
        finally:
            process.kill()
            process.wait()

    async def kill_where_it_waits(self, database: asyncpg.Connection, lock: str) -> None:
        """Kill it when it waits for a table that somebody else has."""

        async def is_waiting() -> bool:
            return bool(
                await database.fetchval(
                    "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::regclass",
                    lock.split()[0],
                )
            )

        async with database.transaction():
            await database.execute(f"LOCK TABLE {lock}")
            await self.kill_when(is_waiting)

    def folders(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def audit(self, unlinked_count: int) -> list[str]:
        """Audit everything: the kinds of the breaks."""
        audited = run_faregate("audit", "--full", **self.where)
        said = f"of them unlinked and verified by their entries alone {unlinked_count}\n"
        assert said in audited.stdout, audited.stdout + audited.stderr
        return [
            line.split(":")[0].strip() for line in audited.stdout.splitlines() if line[0] == " "
        ]

    async def leads(self, database: asyncpg.Connection) -> set[str]:
        """The tables and files in which a row names a rider, or a ride, and a station."""
        found = set()
        tables = await database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for [table] in tables:
            rows = await database.fetch(f'SELECT * FROM "{table}"')
            found |= {table for row in rows if self._leads(row.values())}
        for path in self.folder.rglob("*.parquet"):
            rows = duckdb.sql(f"SELECT COLUMNS(*)::VARCHAR FROM '{path}'").fetchall()
            found |= {path.name for row in rows if self._leads(row)}
        return found

    def _leads(self, row: object) -> bool:
        said = b"\0".join(one if isinstance(one, bytes) else str(one).encode() for one in row)
        return any(one.encode() in said for one in STATIONS) and any(
            rider in said for rider in self._riders
        )


@pytest.fixture
async def archive(database: str, folder: Path) -> Archive:
    gateway = Gateway(folder, database, FAREGATE_DATA_DIR=str(folder))
    tap_ids = []
    try:
        await asyncio.to_thread(gateway.start)
        async with aiohttp.ClientSession() as session:
            client = CityClient(session, gateway.address, gateway.admin_token())
            await asyncio.sleep(0.3)
            await client.register()
            await asyncio.sleep(0.3)
            for number, day in enumerate(DAYS):
                taps = morning(day, number, RIDERS_COUNT)
                tap_ids += [UUID(tap["tap_id"]) for tap in taps]
                await asyncio.gather(*(client.tap(tap) for tap in taps))
    finally:
        gateway.stop()
    made = Archive(database, folder, tap_ids)
    for command in (("settle", "close", "--service-day", str(DAYS[-1])), ("archive",)):
        done = run_faregate(*command, **made.where)
        assert done.returncode == 0, done.stdout + done.stderr
    assert made.folders() == [str(day) for day in DAYS]
    return made


@pytest.mark.timeout(300)
async def test_a_run_killed_at_any_moment_is_simply_run_again(
    archive: Archive, database: str
) -> None:
    owner = await asyncpg.connect(database)
    assert {"tap.parquet", "wallet"} <= await archive.leads(owner)
    first, *later = (str(day) for day in DAYS)

    # Nothing of the riders is forgotten yet; then what is forgotten of some is not kept.
    for table in ("wallet", "wallet_base"):
        await archive.kill_where_it_waits(owner, f"{table} IN EXCLUSIVE MODE")
        assert archive.folders() == [first, *later]
        assert archive.audit(0) == []

    # The day is being written without its riders; it cannot be marked before it was looked at.
    async def is_being_written() -> bool:
        return any(archive.folder.glob("*.unlinked*"))

    async with owner.transaction():
        await owner.execute("LOCK TABLE log_day IN ACCESS SHARE MODE")
        await archive.kill_when(is_being_written)
    assert archive.audit(0) == []

    # It is written twice, and the mark still says that the first one counts.
    await archive.kill_where_it_waits(owner, "log_day IN ACCESS SHARE MODE")
    assert archive.folders() == [first, f"{first}.unlinked", *later]
    assert archive.audit(0) == []

    # The mark says that the second one counts; of the first, all or some may still be there.
    async def is_marked() -> bool:
        return bool(await owner.fetchval("SELECT bool_or(unlinked_at <> 'epoch') FROM log_day"))

    await archive.kill_when(is_marked, "--before", later[0])
    assert set(archive.audit(1)) <= {"archive_linked"}

    ended = await asyncio.to_thread(run_faregate, "unlink", **archive.where)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [line.split()[0] for line in ended.stdout.splitlines()] == later
    assert archive.folders() == [f"{day}.unlinked" for day in DAYS]
    for path in archive.folder.iterdir():
        assert {file.name for file in path.iterdir()} == {
            "manifest.json", "journal_entry.parquet", "unlinked_tap.parquet",
        }  # fmt: skip
    assert await archive.leads(owner) == set()
    assert archive.audit(len(DAYS)) == []
    await owner.close()
