"""Bring a database's schema up to date, once, however many processes try.

pending  what is still to be applied; read only
upgrade  apply it with dbmate, one process at a time
"""

import asyncio
import functools
import os
import signal
import sysconfig
import time
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import asyncpg

from gateway.shell.embedded_postgres import die_with

MIGRATIONS = Path(__file__).parent.parent / "sql" / "migrations"

# The lock's key is the project's name in ASCII, so that it does not clash by chance.
_LOCK_KEY = int.from_bytes(b"faregate")
_LOCK_POLL_SECONDS = 0.1

# What dbmate's driver understands of a DSN; it takes every other word for a server setting.
_TLS_WORDS = ("sslmode", "sslrootcert", "sslcert", "sslkey")


class MigrationFailed(RuntimeError):
    """A migration was not applied; the text is dbmate's own. Those before it stand."""


async def pending(dsn: str, *, folder: Path = MIGRATIONS) -> list[str]:
    """List the migrations that this database lacks, oldest first.

    Raises: what asyncpg raises when the database cannot be reached.
    """
    connection = await asyncpg.connect(dsn)
    try:
        return await _pending(connection, folder)
    finally:
        await connection.close()


async def upgrade(
    dsn: str, *, folder: Path = MIGRATIONS, wait_seconds_max: float = 600
) -> list[str]:
    """Apply what is pending and return it; wait first for another process that is at it.

    Raises: MigrationFailed when a migration fails, or when the other process takes too long.
    """
    connection = await asyncpg.connect(dsn)
    try:
        await _wait_until_alone(connection, wait_seconds_max)
        missing = await _pending(connection, folder)
        if missing:
            has_tls = await connection.fetchval(
                "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            )
            await _run_dbmate(dbmate_url(dsn, has_tls=bool(has_tls)), folder)
        return missing
    finally:
        # This gives the lock back, and so would the death of this process.
        await connection.close()


def dbmate_url(dsn: str, *, has_tls: bool) -> str:
    """Say a DSN of asyncpg's in dbmate's words.

    asyncpg tries TLS and does without; dbmate's driver insists on one of the two. So it is told
    what asyncpg found, unless the DSN decides.

    Raises: MigrationFailed for a DSN with several servers, because dbmate takes only one.
    """
    parts = urlsplit(dsn)
    words = dict(parse_qsl(parts.query))
    user, _, server = parts.netloc.rpartition("@")
    if "," in server + words.get("host", ""):
        raise MigrationFailed("Migrations need a database URL with one server: the primary.")
    if "user" in words:
        user = ":".join(quote(words[w], safe="") for w in ("user", "password") if w in words)
    host = words.get("host") or unquote(parts.hostname or "")
    port = words.get("port") or parts.port or 5432
    tls = {word: words[word] for word in _TLS_WORDS if word in words}
    if host.startswith("/"):
        server, query = f":{port}", {"socket": host, "sslmode": "disable"}
    else:
        server = f"[{host}]:{port}" if ":" in host else f"{host or 'localhost'}:{port}"
        query = {"sslmode": "require" if has_tls else "disable", **tls}
    if query["sslmode"] in ("allow", "prefer"):
        query["sslmode"] = "require" if has_tls else "disable"
    database = words.get("database") or words.get("dbname") or parts.path.lstrip("/")
    return f"postgres://{user}@{server}/{database}?{urlencode(query)}"


async def _pending(connection: asyncpg.Connection, folder: Path) -> list[str]:
    table = "public.schema_migrations"
    applied: set[str] = set()
    if await connection.fetchval("SELECT to_regclass($1)", table):
        applied = {row["version"] for row in await connection.fetch(f"SELECT version FROM {table}")}
    return [name for name in _names(folder) if name.partition("_")[0] not in applied]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.sql"))


async def _wait_until_alone(connection: asyncpg.Connection, wait_seconds_max: float) -> None:
    """Take the lock by asking again and again.

    A connection that *waits* for the lock holds a snapshot, and CREATE INDEX CONCURRENTLY in the
    other process waits for all snapshots to end: PostgreSQL would end one of the two as deadlocked.
    """
    deadline = time.monotonic() + wait_seconds_max
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY):
        if time.monotonic() > deadline:
            raise MigrationFailed(
                f"Another process has been migrating for {wait_seconds_max:.0f} s."
            )
        await asyncio.sleep(_LOCK_POLL_SECONDS)


async def _run_dbmate(url: str, folder: Path) -> None:
    # The URL goes by the environment, where other users cannot read the password as they could in
    # the process list. `migrate`, unlike `up`, does not ask for the right to create databases.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DBMATE_")}
    process = await asyncio.create_subprocess_exec(
        Path(sysconfig.get_path("scripts")) / "dbmate",
        "--no-dump-schema",
        "--migrations-dir",
        ".",
        "migrate",
        # dbmate reads a .env file where it starts, and there is none here.
        cwd=folder,
        env={**environment, "DATABASE_URL": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # The lock goes with this process, and whoever takes it next must be alone.
        preexec_fn=functools.partial(die_with, os.getpid(), signal.SIGKILL),
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise MigrationFailed(said.decode(errors="replace").strip())
