"""The city's rows: read whole into each process, re-read when another process has changed them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime

import asyncpg
import structlog

from gateway.core.registry import (
    Credential,
    Gate,
    GateKey,
    Operator,
    Registry,
    Role,
    Route,
    Stop,
)
from gateway.shell import telemetry
from gateway.shell.database import OUTAGES
from gateway.shell.transactions import rows_changed

log = structlog.get_logger()


class RegistryHolder:
    """The newest picture of the city this process has."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.current = Registry()
        self.refreshed_at = time.monotonic()
        self._listeners: list[Callable[[Registry], None]] = []

    def when_changed(self, listener: Callable[[Registry], None]) -> None:
        self._listeners.append(listener)

    async def refresh(self) -> None:
        asked_at = time.monotonic()
        async with self._pool.acquire() as connection:
            telemetry.POOL_WAIT_SECONDS.observe(time.monotonic() - asked_at)
            version = await connection.fetchval("SELECT version FROM registry_version")
        if version != self.current.version:
            self.current = await load_registry(self._pool)
            for listener in self._listeners:
                listener(self.current)
        self.refreshed_at = time.monotonic()

    async def newest(self) -> Registry:
        """The city as it is now, for who changes it: another process may have changed it since."""
        await self.refresh()
        return self.current

    async def run_forever(self, poll_seconds: float) -> None:
        """Keep up with other processes: a revoked key works for one poll longer at the most."""
        while True:
            await asyncio.sleep(poll_seconds)
            try:
                await self.refresh()
            except OUTAGES:
                log.warning("registry not refreshed: the database is away")


async def load_registry(pool: asyncpg.Pool) -> Registry:
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        version = await connection.fetchval("SELECT version FROM registry_version")
        operators = await connection.fetch("SELECT * FROM operator")
        stops = await connection.fetch("SELECT * FROM stop")
        routes = await connection.fetch("SELECT * FROM route")
        gates = await connection.fetch("SELECT * FROM gate")
        keys = await connection.fetch("SELECT * FROM gate_key WHERE NOT is_revoked")
        credentials = await connection.fetch("SELECT * FROM credential WHERE NOT is_revoked")
    return Registry(
        version=version,
        operators={row["operator_id"]: Operator(**row) for row in operators},
        stops={row["stop_id"]: Stop(**row) for row in stops},
        routes={row["route_id"]: Route(**row) for row in routes},
        gates={row["gate_id"]: Gate(**row) for row in gates},
        gate_keys={row["key_id"]: GateKey(**row) for row in keys},
        credentials={
            row["token_sha256"]: Credential(
                row["token_id"], Role(row["role"]), row["operator_id"], row["valid_until"]
            )
            for row in credentials
        },
    )


class RegistryWork:
    """One transaction that changes the city; it ends by moving registry_version."""

    def __init__(self, connection: asyncpg.pool.PoolConnectionProxy) -> None:
        self._connection = connection

    async def save_city(
        self,
        operators: Sequence[Operator],
        stops: Sequence[Stop],
        routes: Sequence[Route],
        gates: Sequence[Gate],
    ) -> None:
        execute = self._connection.executemany
        await execute(
            """INSERT INTO operator (operator_id, name, bank_account, bank_bic)
            VALUES ($1, $2, $3, $4) ON CONFLICT (operator_id) DO UPDATE SET
            name = excluded.name, bank_account = excluded.bank_account,
            bank_bic = excluded.bank_bic""",
            [(o.operator_id, o.name, o.bank_account, o.bank_bic) for o in operators],
        )
        await execute(
            """INSERT INTO stop (stop_id, name) VALUES ($1, $2)
            ON CONFLICT (stop_id) DO UPDATE SET name = excluded.name""",
            [(s.stop_id, s.name) for s in stops],
        )
        await execute(
            """INSERT INTO route (route_id, network, name) VALUES ($1, $2, $3)
            ON CONFLICT (route_id) DO UPDATE SET
                network = excluded.network, name = excluded.name""",
            [(r.route_id, r.network, r.name) for r in routes],
        )
        # Concentrators first, because the gates behind them refer to them.
        ordered = sorted(gates, key=lambda gate: gate.concentrator_id is not None)
        await execute(
            """INSERT INTO gate (gate_id, operator_id, network, concentrator_id)
            VALUES ($1, $2, $3, $4) ON CONFLICT (gate_id) DO UPDATE SET
            operator_id = excluded.operator_id, network = excluded.network,
            concentrator_id = excluded.concentrator_id""",
            [(g.gate_id, g.operator_id, g.network, g.concentrator_id) for g in ordered],
        )
        await self._move_version()

    async def lock_keys(self, gate_ids: Sequence[str]) -> list[GateKey]:
        """The gates' keys that are not revoked; their gates stay locked."""
        await self._connection.execute(
            "SELECT FROM gate WHERE gate_id = ANY($1::text[]) ORDER BY gate_id FOR UPDATE", gate_ids
        )
        found = await self._connection.fetch(
            "SELECT * FROM gate_key WHERE gate_id = ANY($1::text[]) AND NOT is_revoked", gate_ids
        )
        return [GateKey(**row) for row in found]

    async def save_keys(self, keys: Sequence[GateKey], revoked: Sequence[str]) -> None:
        await self._connection.execute(
            "UPDATE gate_key SET is_revoked = true WHERE key_id = ANY($1::text[])", revoked
        )
        await self._connection.executemany(
            "INSERT INTO gate_key (key_id, gate_id, valid_from, valid_until) "
            "VALUES ($1, $2, $3, $4)",
            [(k.key_id, k.gate_id, k.valid_from, k.valid_until) for k in keys],
        )
        await self._move_version()

    async def revoke_key(self, key_id: str) -> bool:
        status = await self._connection.execute(
            "UPDATE gate_key SET is_revoked = true WHERE key_id = $1", key_id
        )
        await self._move_version()
        return rows_changed(status) > 0

    async def save_credential(
        self,
        hashed: bytes,
        token_id: str,
        role: Role,
        operator_id: str | None,
        valid_until: datetime | None,
    ) -> None:
        await self._connection.execute(
            """INSERT INTO credential (token_sha256, token_id, role, operator_id, valid_until)
            VALUES ($1, $2, $3, $4, $5)""",
            hashed,
            token_id,
            str(role),
            operator_id,
            valid_until,
        )
        await self._move_version()

    async def revoke_credential(self, token_id: str) -> bool:
        status = await self._connection.execute(
            "UPDATE credential SET is_revoked = true WHERE token_id = $1", token_id
        )
        await self._move_version()
        return rows_changed(status) > 0

    async def _move_version(self) -> None:
        await self._connection.execute("UPDATE registry_version SET version = version + 1")
