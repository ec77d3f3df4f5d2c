"""The service itself: is it alive, what runs, its metrics and its documentation."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
from aiohttp import web
from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.api.given import Given
from gateway.shell import telemetry
from gateway.shell.database import OUTAGES
from gateway.shell.messages import JSON, encode
from gateway.shell.problems import busy, not_found
from gateway.shell.web import Caller, answer

_READY_SECONDS_MAX = 2
_DOCS = Path(__file__).parent.parent / "shell" / "docs"


class State(Struct, frozen=True):
    """`ready`, or what is missing."""

    status: str


class ServiceRequests:
    """What monitors and people ask of any service."""

    def __init__(self, given: Given, version: str) -> None:
        self._given = given
        self._version = version
        self.openapi = b""  # Made from the routes, of which it is one.

    async def get_livez(self, _request: web.Request, _body: bytes, _: Caller) -> web.Response:
        return answer(encode(State("live"), JSON))

    async def get_readyz(self, _request: web.Request, _body: bytes, _: Caller) -> web.Response:
        if self._given.door.is_draining:
            raise busy("The gateway is stopping.", "stopping")
        try:
            # Around the whole: to ask for a timeout of the query alone waits for the server, too.
            async with asyncio.timeout(_READY_SECONDS_MAX):
                await self._given.pool.fetchval("SELECT version FROM registry_version")
        except (*OUTAGES, asyncpg.PostgresError):
            raise busy("The database does not answer.", "database_away") from None
        return answer(encode(State("ready"), JSON))

    async def get_version(self, _request: web.Request, _body: bytes, _: Caller) -> web.Response:
        said = {"version": self._version, "tariff_digest": self._given.book.digest}
        return answer(encode(said, JSON))

    async def get_metrics(self, _request: web.Request, _body: bytes, _: Caller) -> web.Response:
        return web.Response(
            body=telemetry.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def get_openapi(self, _request: web.Request, _body: bytes, _: Caller) -> web.Response:
        return answer(self.openapi)

    async def get_docs(self, _request: web.Request, _body: bytes, _: Caller) -> web.StreamResponse:
        return web.FileResponse(_DOCS / "index.html")

    async def get_docs_part(
        self, request: web.Request, _body: bytes, _: Caller
    ) -> web.StreamResponse:
        path = _DOCS / request.match_info["name"]
        # Asking the file system about any name at all would let it answer for us.
        if path not in _DOCS.glob("*"):
            raise not_found("See /docs.")
        return web.FileResponse(path)
