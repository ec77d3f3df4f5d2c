"""A real PostgreSQL, a small city in it, and a gateway with its door open."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import asyncpg
import msgspec
import pytest
from msgspec import structs

from gateway import serving
from gateway.api import Api
from gateway.core.registry import Role
from gateway.registry_path import (
    City,
    KeyWish,
    run_city_registration,
    run_key_issue,
    run_token_issue,
)
from gateway.shell import migrations
from gateway.shell.database import open_pool
from gateway.shell.embedded_postgres import EmbeddedPostgres
from gateway.shell.registry_store import load_registry
from gateway.shell.settings import Settings
from gateway.shell.signatures import KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign

# What is lost in a power cut is lost with the test.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
MASTER_KEY = bytes(range(32))
JSON = "application/json"
MESSAGE_PACK = "application/msgpack"

CITY = {
    "operators": [
        {"operator_id": "metro", "name": "Metro", "bank_account": "CN001", "bank_bic": "BKCHCNBJ"},
        {"operator_id": "buses", "name": "Buses", "bank_account": "CN002", "bank_bic": "BKCHCNBJ"},
    ],
    "stops": [{"stop_id": "luohu"}, {"stop_id": "futian"}],
    "routes": [{"route_id": "M486", "network": "bus"}],
    "gates": [
        {"gate_id": "luohu-in", "operator_id": "metro", "network": "metro"},
        {"gate_id": "luohu-out", "operator_id": "metro", "network": "metro"},
        {"gate_id": "bus-1", "operator_id": "buses", "network": "bus"},
        {"gate_id": "futian-station", "operator_id": "metro", "network": "metro"},
        {
            "gate_id": "futian-in",
            "operator_id": "metro",
            "network": "metro",
            "concentrator_id": "futian-station",
        },
    ],
}
SIGNERS = ("luohu-in", "luohu-out", "bus-1", "futian-station")


class Said(msgspec.Struct):
    """What the gateway answered."""

    status: int
    headers: Any
    body: bytes

    @property
    def message(self) -> Any:
        if self.headers["Content-Type"] == MESSAGE_PACK:
            return msgspec.msgpack.decode(self.body)
        return msgspec.json.decode(self.body)

    def check_problem(self, status: int, slug: str, text: str = "") -> None:
        """It is a problem document of RFC 9457 that names the fault, and says this of it."""
        assert (self.status, self.headers["Content-Type"]) == (
            status,
            "application/problem+json",
        ), self.body
        said = self.message
        assert said["type"] == f"urn:faregate:problem:{slug}", said
        assert said["status"] == status
        assert said["title"]
        assert text in said["detail"], said


class Client:
    """Speaks to an open gateway as its gates and as its back office."""

    def __init__(
        self, api: Api, address: str, session: aiohttp.ClientSession, credentials: dict[str, Any]
    ) -> None:
        self.api = api
        self.address = address
        self.tokens: dict[str, str] = credentials["tokens"]
        self.keys: dict[str, tuple[str, bytes]] = dict(credentials["keys"])
        self._session = session
        self._sequences = itertools.count(1)

    def tap(self, **changes: Any) -> dict[str, Any]:
        """A ride of 2.00 on the bus, with what a test changes; None leaves a field out."""
        tap = {
            "tap_id": str(uuid4()),
            "gate_id": "bus-1",
            "sequence": next(self._sequences),
            "tapped_at": datetime.now(UTC).isoformat(),
            "media_token": "card-1",
            "action": "board",
            "route_id": "M486",
            "full_fare": 200,
        }
        return {name: value for name, value in {**tap, **changes}.items() if value is not None}

    def metro_tap(self, action: str, **changes: Any) -> dict[str, Any]:
        gate_id = {"enter": "luohu-in", "exit": "luohu-out"}[action]
        place = {"gate_id": gate_id, "stop_id": "luohu", "route_id": None, "full_fare": None}
        return self.tap(**{**place, "action": action, **changes})

    def signed(
        self,
        body: bytes,
        *,
        gate_id: str = "bus-1",
        method: str = "POST",
        path: str = "/v1/taps",
        seconds_off: int = 0,
        key: tuple[str, bytes] | None = None,
    ) -> dict[str, str]:
        """The three headers of a signature."""
        key_id, secret = key or self.keys[gate_id]
        timestamp = str(int(time.time()) + seconds_off)
        return {
            KEY_HEADER: key_id,
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: sign(secret, method, path, timestamp, body),
        }

    async def post_taps(self, taps: Any, *, packed: bool = False, **signing: Any) -> Said:
        """Send one tap or an array, signed by the first tap's gate unless another is named."""
        first = taps[0] if isinstance(taps, list) and taps else taps
        if isinstance(first, dict) and first.get("gate_id") in self.keys:
            signing.setdefault("gate_id", first["gate_id"])
        body = (msgspec.msgpack if packed else msgspec.json).encode(taps)
        return await self.post_bytes(body, MESSAGE_PACK if packed else JSON, **signing)

    async def post_bytes(self, body: bytes, content_type: str = JSON, **signing: Any) -> Said:
        headers = {**self.signed(body, **signing), "Content-Type": content_type}
        return await self.send("POST", "/v1/taps", body, headers)

    async def ask(
        self,
        method: str,
        path: str,
        message: Any = None,
        *,
        who: str = "admin",
        packed: bool = False,
    ) -> Said:
        """Ask as the bearer of a token."""
        headers = {"Authorization": f"Bearer {self.tokens[who]}"}
        body = b""
        if message is not None:
            body = (msgspec.msgpack if packed else msgspec.json).encode(message)
            if isinstance(message, bytes):
                body = message
            headers["Content-Type"] = MESSAGE_PACK if packed else JSON
        return await self.send(method, path, body, headers)

    async def send(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Said:
        async with self._session.request(
            method, self.address + path, data=io.BytesIO(body) if body else None, headers=headers
        ) as response:
            return Said(response.status, response.headers, await response.read())

    async def open_wallet(self, media_token: str = "card-1", fen: int = 1000, **more: Any) -> str:
        wallet_id = str(uuid4())
        media = {"media_token": media_token, "rider_category": "free", "fare_media": "qr"}
        wallet = {"wallet_id": wallet_id, "media": [media], **more}
        if fen:
            wallet["top_up"] = {"top_up_id": str(uuid4()), "amount_fen": fen}
        said = await self.ask("POST", "/v1/wallets", [wallet])
        assert said.status == 200, said.body
        return wallet_id

    async def wallet(self, wallet_id: str) -> dict[str, Any]:
        said = await self.ask("GET", f"/v1/wallets/{wallet_id}")
        assert said.status == 200, said.body
        found: dict[str, Any] = said.message
        return found

    async def books(self) -> dict[str, Any]:
        """All that could have been stored or debited, in figures."""
        row = await self.api.pool.fetchrow(
            """SELECT
            (SELECT count(*) FROM tap) AS taps, (SELECT count(*) FROM journal_entry) AS entries,
            (SELECT count(*) FROM media) AS media, (SELECT count(*) FROM gate) AS gates,
            (SELECT count(*) FROM gate_key WHERE NOT is_revoked) AS keys,
            (SELECT count(*) FROM operator) AS operators, (SELECT count(*) FROM stop) AS stops,
            (SELECT count(*) FROM wallet) AS wallets,
            (SELECT coalesce(sum(balance_fen), 0)::bigint FROM wallet) AS balances_fen,
            (SELECT coalesce(sum(owed_fen), 0)::bigint FROM wallet) AS owed_fen,
            (SELECT coalesce(sum(version), 0)::bigint FROM wallet) AS wallet_changes,
            (SELECT closed_through FROM settlement_clock) AS closed_through"""
        )
        return dict(row)


@pytest.fixture(scope="session")
def server_dsn() -> Iterator[str]:
    """One server for each worker; FAREGATE_DATABASE_URL names another that may make databases."""
    if url := os.environ.get("FAREGATE_DATABASE_URL"):
        yield url
        return
    # PostgreSQL runs as another user when we are root, and must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="faregate-test-", dir="/tmp"))
    folder.chmod(0o755)
    with EmbeddedPostgres(folder, settings=FAST) as server:
        yield server.dsn
    shutil.rmtree(folder)


@contextlib.asynccontextmanager
async def _new_database(server_dsn: str, template: str | None = None) -> AsyncIterator[str]:
    name = f"faregate_test_{uuid4().hex}"
    server = await asyncpg.connect(server_dsn)
    try:
        await server.execute(
            f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else "")
        )
        yield urlsplit(server_dsn)._replace(path=f"/{name}").geturl()
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()


def _name(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")


@pytest.fixture(scope="session")
async def migrated(server_dsn: str) -> AsyncIterator[str]:
    """The name of a migrated database without a city, to copy."""
    async with _new_database(server_dsn) as dsn:
        await migrations.upgrade(dsn)
        yield _name(dsn)


@pytest.fixture
async def database(server_dsn: str, migrated: str) -> AsyncIterator[str]:
    """A fresh, migrated database: where it is."""
    async with _new_database(server_dsn, migrated) as dsn:
        yield dsn


@pytest.fixture
async def other_database(server_dsn: str, migrated: str) -> AsyncIterator[str]:
    """A second one, to compare with."""
    async with _new_database(server_dsn, migrated) as dsn:
        yield dsn


@pytest.fixture(scope="session")
async def city(server_dsn: str, migrated: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """The name of a database with a small city in it, to copy; and the city's credentials."""
    async with _new_database(server_dsn, migrated) as dsn:
        pool = await open_pool(dsn)
        await run_city_registration(pool, msgspec.convert(CITY, City))
        keys = await run_key_issue(
            pool,
            KeyWish(SIGNERS),
            registry=await load_registry(pool),
            master_key=MASTER_KEY,
            now=datetime.now(UTC),
        )
        assert isinstance(keys, list)
        tokens = {role.value: await run_token_issue(pool, role, role) for role in Role}
        for role in (Role.GATE_OPERATOR, Role.FINANCE):
            name = f"buses_{role}"
            tokens[name] = await run_token_issue(pool, name, role, operator_id="buses")
        await pool.close()
        credentials = {
            "tokens": tokens,
            "keys": {key.gate_id: (key.key_id, bytes.fromhex(key.secret)) for key in keys},
        }
        yield _name(dsn), credentials


@pytest.fixture
async def open_door(
    server_dsn: str, city: tuple[str, dict[str, Any]], tmp_path: Path
) -> AsyncIterator[Callable[..., contextlib.AbstractAsyncContextManager[Client]]]:
    """Opens gateways in this process, on one fresh copy of the city, with settings of one's own."""
    template, credentials = city

    async with _new_database(server_dsn, template) as dsn:

        @contextlib.asynccontextmanager
        async def open_one(**changes: Any) -> AsyncIterator[Client]:
            settings = structs.replace(
                Settings(), port=0, settlement_dir=tmp_path, drain_seconds_max=1, **changes
            )
            async with (
                serving.gateway(settings, dsn, MASTER_KEY) as api,
                serving.serving(api) as address,
                aiohttp.ClientSession() as session,
            ):
                yield Client(api, address, session, credentials)

        yield open_one


@pytest.fixture
async def door(
    open_door: Callable[..., contextlib.AbstractAsyncContextManager[Client]],
) -> AsyncIterator[Client]:
    """An open gateway with a small city, and a client that knows all its keys and tokens."""
    async with open_door() as client:
        yield client
