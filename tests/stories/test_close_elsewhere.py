"""A close comes to the same bytes on any machine, whatever its letters, its clock and its order."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from gateway.shell.embedded_postgres import EmbeddedPostgres

ROOT = Path(__file__).parents[2]
ICU = "LOCALE_PROVIDER icu ICU_LOCALE 'de-DE' LC_COLLATE 'C' LC_CTYPE 'C'"
LIBC = "LOCALE_PROVIDER libc LC_COLLATE 'de_DE.UTF-8' LC_CTYPE 'de_DE.UTF-8'"
OTHER_MACHINE = {"TZ": "America/New_York", "PYTHONHASHSEED": "4711"}


@contextlib.asynccontextmanager
async def german_database(server_dsn: str, locale: str) -> AsyncIterator[str]:
    """A database whose order of letters is that of a German dictionary."""
    name = f"faregate_german_{uuid4().hex}"
    server = await asyncpg.connect(server_dsn)
    try:
        await server.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' {locale}")
        yield urlsplit(server_dsn)._replace(path=f"/{name}").geturl()
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()


@contextlib.contextmanager
def german_server() -> Iterator[str]:
    """A server that knows a locale made for it, where neither ICU nor the system has one."""
    # PostgreSQL runs as another user when we are root, and must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="faregate-test-", dir="/tmp"))
    folder.chmod(0o755)
    locale = str(folder / "de_DE.UTF-8")
    try:
        made = subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", locale], check=False)
    except FileNotFoundError:
        pytest.skip("no localedef, and no ICU: this machine knows one order of letters only")
    if made.returncode:
        pytest.skip("no sources of locales, and no ICU: there is one order of letters only")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LOCPATH", str(folder))
            with EmbeddedPostgres(folder / "server", settings={"fsync": "off"}) as server:
                yield server.dsn
    finally:
        shutil.rmtree(folder)


@pytest.fixture
async def german(server_dsn: str) -> AsyncIterator[str]:
    async with contextlib.AsyncExitStack() as stack:
        try:
            dsn = await stack.enter_async_context(german_database(server_dsn, ICU))
        except asyncpg.PostgresError:
            server = stack.enter_context(german_server())
            dsn = await stack.enter_async_context(german_database(server, LIBC))
        yield dsn


def play(dsn: str, folder: Path, order: int, machine: dict[str, str]) -> dict[str, bytes]:
    ran = subprocess.run(
        [
            sys.executable, str(Path(__file__).with_name("_town_elsewhere.py")), dsn, str(folder),
            str(order),
        ],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **machine},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


async def ordered(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    found = await connection.fetch("SELECT operator_id FROM operator ORDER BY operator_id")
    await connection.close()
    return [row[0] for row in found]


async def test_a_close_is_the_same_on_a_machine_of_other_letters_clock_and_order(
    database: str, german: str, tmp_path: Path
) -> None:
    here = play(database, tmp_path / "here", 1, {"TZ": "Asia/Shanghai", "PYTHONHASHSEED": "1"})
    there = play(german, tmp_path / "there", -1, OTHER_MACHINE)
    assert await ordered(database) != await ordered(german)
    assert len(here) > 60
    assert {name.partition("/")[2] for name in here} >= {
        "manifest.json", "manifest.sig", "invoices.csv", "institutions.csv", "fees.csv",
        "pain001.xml", "clearing_地铁.csv", "operators/公交/operator_公交.csv",
    }  # fmt: skip
    assert sorted(here) == sorted(there)
    assert [name for name in here if here[name] != there[name]] == []
