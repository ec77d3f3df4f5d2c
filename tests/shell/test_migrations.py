"""Migrations on a real server: applied once, in order, by whoever comes first."""

import asyncio
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from gateway.shell.embedded_postgres import EmbeddedPostgres
from gateway.shell.migrations import MigrationFailed, dbmate_url, pending, upgrade

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

FIRST = """-- migrate:up
CREATE TABLE stops (stop_id text PRIMARY KEY);
CREATE FUNCTION stop_count() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM stops; $$;
-- migrate:down
DROP TABLE stops;
"""
SECOND = """-- migrate:up transaction:false
CREATE INDEX CONCURRENTLY stops_by_id ON stops (stop_id);
-- migrate:down
"""
LATER = """-- migrate:up
ALTER TABLE stops ADD name text;
-- migrate:down
"""
BROKEN = """-- migrate:up
CREATE TABLE half_made (id int);
INSERT INTO no_such_table VALUES (1);
-- migrate:down
"""


@pytest.fixture(scope="module")
def server(unused_tcp_port_factory) -> Iterator[EmbeddedPostgres]:
    folder = Path(tempfile.mkdtemp(prefix="faregate-test-", dir="/tmp"))
    with EmbeddedPostgres(folder, port=unused_tcp_port_factory(), settings=FAST) as server:
        yield server
    shutil.rmtree(folder)


@pytest.fixture
async def dsn(server: EmbeddedPostgres) -> str:
    """A new, empty database, named so that a DSN has to quote it."""
    connection = await asyncpg.connect(server.dsn)
    number = await connection.fetchval("SELECT count(*) FROM pg_database")
    await connection.execute(f'CREATE DATABASE "fares {number}"')
    await connection.close()
    return f"{server.dsn.removesuffix('/postgres')}/fares%20{number}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_stops.sql").write_text(FIRST)
    (tmp_path / "0002_stops_by_id.sql").write_text(SECOND)
    return tmp_path


async def fetch(dsn: str, sql: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(sql)
    finally:
        await connection.close()


async def test_what_is_pending_is_applied_once(dsn: str, folder: Path):
    assert await pending(dsn, folder=folder) == ["0001_stops.sql", "0002_stops_by_id.sql"]
    assert await upgrade(dsn, folder=folder) == ["0001_stops.sql", "0002_stops_by_id.sql"]
    assert await pending(dsn, folder=folder) == []
    assert await upgrade(dsn, folder=folder) == []
    assert await fetch(dsn, "SELECT stop_count()") == [(0,)]


async def test_a_later_migration_is_applied_alone(dsn: str, folder: Path):
    await upgrade(dsn, folder=folder)
    (folder / "0003_names.sql").write_text(LATER)
    assert await upgrade(dsn, folder=folder) == ["0003_names.sql"]


async def test_many_upgrades_at_once_apply_it_once(dsn: str, folder: Path):
    """With an index built concurrently among them, which a waiting lock would deadlock."""
    applied = await asyncio.gather(*(upgrade(dsn, folder=folder) for _ in range(4)))
    assert sorted(map(len, applied)) == [0, 0, 0, 2]
    assert len(await fetch(dsn, "SELECT version FROM schema_migrations")) == 2


async def test_a_broken_migration_leaves_nothing_and_keeps_those_before_it(dsn: str, folder: Path):
    (folder / "0003_broken.sql").write_text(BROKEN)
    with pytest.raises(MigrationFailed, match="no_such_table"):
        await upgrade(dsn, folder=folder)
    assert await pending(dsn, folder=folder) == ["0003_broken.sql"]
    assert await fetch(dsn, "SELECT to_regclass('half_made')::text") == [(None,)]


async def test_it_waits_for_another_process_but_not_for_ever(dsn: str, folder: Path):
    other = await asyncpg.connect(dsn)
    await other.fetchval("SELECT pg_advisory_lock($1)", int.from_bytes(b"faregate"))
    with pytest.raises(MigrationFailed, match="Another process"):
        await upgrade(dsn, folder=folder, wait_seconds_max=0.2)
    waiting = asyncio.create_task(upgrade(dsn, folder=folder))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await other.close()
    assert len(await waiting) == 2


async def test_an_upgrade_that_is_killed_leaves_nobody_who_goes_on_beside_the_next(
    dsn: str, folder: Path
):
    (folder / "0003_slow.sql").write_text("-- migrate:up\nSELECT pg_sleep(60);\n-- migrate:down\n")
    work = f"asyncio.run(upgrade({dsn!r}, folder=Path({str(folder)!r})))"
    imports = (
        "import asyncio; from pathlib import Path; from gateway.shell.migrations import upgrade"
    )
    upgrading = await asyncio.create_subprocess_exec(sys.executable, "-c", f"{imports}; {work}")
    at_it = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"""
    for _ in range(400):
        if (await fetch(dsn, at_it)) == [(1,)]:
            break
        await asyncio.sleep(0.05)
    (dbmate,) = psutil.Process(upgrading.pid).children()
    upgrading.kill()
    await upgrading.wait()
    with contextlib.suppress(psutil.NoSuchProcess):
        for _ in range(100):
            if dbmate.status() == psutil.STATUS_ZOMBIE:
                return
            await asyncio.sleep(0.1)
        raise AssertionError("dbmate goes on by itself")


async def test_a_unix_socket_will_do(server: EmbeddedPostgres, dsn: str, folder: Path):
    name = dsn.rpartition("/")[2]
    by_socket = f"postgresql://postgres@/{name}?host={server.folder / 'sock'}&port={server.port}"
    assert len(await upgrade(by_socket, folder=folder)) == 2


@pytest.mark.parametrize(
    ("dsn", "has_tls", "url"),
    [
        ("postgresql://u:p%40@h/d", False, "postgres://u:p%40@h:5432/d?sslmode=disable"),
        ("postgresql://u@h:6432/d", True, "postgres://u@h:6432/d?sslmode=require"),
        ("postgres://u@[::1]/d?sslmode=prefer", False, "postgres://u@[::1]:5432/d?sslmode=disable"),
        (
            "postgres://u@h/d?sslmode=verify-full&sslrootcert=/ca.pem&target_session_attrs=any",
            True,
            "postgres://u@h:5432/d?sslmode=verify-full&sslrootcert=%2Fca.pem",
        ),
        (
            "postgresql://u@/d?host=/run/pg",
            False,
            "postgres://u@:5432/d?socket=%2Frun%2Fpg&sslmode=disable",
        ),
        (
            "postgresql:///d?host=h&user=a%20b&password=c/d&port=1",
            False,
            "postgres://a%20b:c%2Fd@h:1/d?sslmode=disable",
        ),
    ],
)
def test_a_dsn_in_dbmates_words(dsn: str, has_tls: bool, url: str):
    assert dbmate_url(dsn, has_tls=has_tls) == url


def test_several_servers_are_refused():
    with pytest.raises(MigrationFailed, match="one server"):
        dbmate_url("postgresql://u@a:1,b:2/d", has_tls=False)
