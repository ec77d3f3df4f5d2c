"""PostgreSQL: how it is reached, and what it means when it is not."""

from __future__ import annotations

import asyncio

import asyncpg

from gateway.shell.transactions import Connection

# Lost connections, a server that starts, stops, is full or was told to break off: trying again is
# safe and may help.
OUTAGES = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # What asyncpg says when a connection is cut inside a transaction.
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,  # Of connections, disk or memory.
    asyncpg.QueryCanceledError,
)
# A database that does not let us in, or that has another schema: the operator's to mend.
UNFIT = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidParameterValueError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedObjectError,
)

# Durable whatever the server's default is, and with the grants of the gateway's role only: whoever
# owns the tables could still edit the ledger, the gateway cannot.
_SESSION = {
    "application_name": "faregate",
    "synchronous_commit": "on",
    "role": "faregate_gateway",
}
# What a lane asks for is found by index, whatever the planner thinks of a partition that was empty
# when it looked; and rows are updated in the order in which they are sent.
_LANE_SESSION = _SESSION | {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    # Up to PostgreSQL 17 a scan that is ruled out counts as dear, and what is dear is compiled
    # first: for some tenths of a second, where the statement takes a millisecond.
    "jit": "off",
}

_STATEMENT_SECONDS_MAX = 60


async def connect(
    dsn: str, *, timeout_seconds: float = _STATEMENT_SECONDS_MAX
) -> asyncpg.Connection:
    """Open a lane's connection. It may append to the ledger but not edit it."""
    connection: asyncpg.Connection = await asyncpg.connect(
        dsn,
        timeout=timeout_seconds,
        command_timeout=timeout_seconds,
        server_settings=_LANE_SESSION,
    )
    return connection


async def connect_for_reading(dsn: str) -> asyncpg.Connection:
    """Open a connection that scans whole tables, and may take as long as that needs."""
    connection: asyncpg.Connection = await asyncpg.connect(dsn, server_settings=_SESSION)
    return connection


class _Pool(asyncpg.Pool):
    """One that bounds the wait for a connection, whoever asks for it."""

    acquire_seconds_max: float | None = None

    def acquire(self, *, timeout: float | None = None) -> asyncpg.pool.PoolAcquireContext:
        return super().acquire(timeout=timeout or self.acquire_seconds_max)


async def open_pool(
    dsn: str,
    *,
    connections_count_max: int = 4,
    acquire_seconds_max: float | None = None,
    statement_seconds_max: float = _STATEMENT_SECONDS_MAX,
) -> asyncpg.Pool:
    """Connections for everything but the hot path.

    Where statements may take longer than the wait for a connection, it is one that answers.
    """
    is_asked = acquire_seconds_max is not None and acquire_seconds_max < statement_seconds_max

    async def ask(connection: Connection) -> None:
        try:
            await connection.execute("SELECT 1")
        except asyncio.CancelledError:
            connection.terminate()  # Closing it would ask the server once more.
            raise

    pool = _Pool(
        dsn,
        min_size=1,
        max_size=connections_count_max,
        max_queries=50_000,
        max_inactive_connection_lifetime=300,
        setup=ask if is_asked else None,
        loop=None,
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
        command_timeout=statement_seconds_max,
        server_settings=_SESSION,
    )
    pool.acquire_seconds_max = acquire_seconds_max
    return await pool
