"""The HTTP machinery: who asks, whether they may, what is too much, and how a refusal looks.

What the requests mean is in `gateway/api/`; here is what is the same for all of them. Every route
says who may use it; a route that says nothing can be used by nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import Struct

from gateway.core.registry import Role
from gateway.shell import telemetry
from gateway.shell.connection import TAPS_PATH, DoorRunner, Headers, Said
from gateway.shell.database import OUTAGES
from gateway.shell.messages import JSON
from gateway.shell.problems import (
    Problem,
    busy,
    forbidden,
    not_found,
    too_many,
    too_slow,
    unauthorized,
)
from gateway.shell.registry_store import RegistryHolder
from gateway.shell.settings import Settings
from gateway.shell.signatures import KEY_HEADER, GateSecrets, bearer, signing_gate

log = structlog.get_logger()

_TAPS_ROUTE = f"POST {TAPS_PATH}"
# A full gateway is alive, and is to be seen; whoever watches would kill it otherwise.
_WATCHES = frozenset({"/livez", "/metrics"})
_ROUTE = web.RequestKey("route", str)


class Caller(Struct, frozen=True):
    """Who asks: a gate by its signature, or the bearer of a token."""

    gate_id: str | None = None
    role: Role | None = None
    operator_id: str | None = None
    token_id: str | None = None

    def check_operator(self, operator_id: str | None) -> None:
        """Raises: Problem 403 when the token is another operator's."""
        if self.operator_id is not None and self.operator_id != operator_id:
            raise forbidden("Your token is for another operator's gates and wallets.")


Handler = Callable[[web.Request, bytes, Caller], Awaitable[web.StreamResponse]]
# A body, its content type and who signed it; the answer's body and headers.
TakeTaps = Callable[[bytes, str, Caller], Awaitable[tuple[bytes, Headers]]]


# Said so often when there is no time that they are made once.
_CROWDED = busy("Too many requests are in flight.", "too_many_requests")
_QUEUE_FULL = busy("Too many taps are waiting. Nothing was taken.", "queue_full")


class Route(Struct, frozen=True):
    """One thing that can be asked. `answers` are the messages by status; None is no body.

    `query` has the optional parameters behind the question mark, and what each must be.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    roles: frozenset[Role] = frozenset()
    is_signed: bool = False
    is_public: bool = False
    body: Any = None
    query: Mapping[str, Any] = {}
    answers: Mapping[int, Any] = {}
    takes_taps: TakeTaps | None = None


class Door:
    """Limits and credentials, checked before any handler runs."""

    def __init__(self, settings: Settings, master_key: bytes, registry: RegistryHolder) -> None:
        self.settings = settings
        self.registry = registry
        self.is_draining = False
        self.secrets = GateSecrets(master_key)
        # An id is for tracing only: it need not be hard to guess, but no other process may give it.
        process_id = token_hex(8)
        self._request_ids = (f"{process_id}{number:08x}" for number in itertools.count(1))
        self._in_flight_count = 0
        self._in_flight_of: Counter[str | None] = Counter()
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self.is_full: Callable[[], bool] = lambda: False

    def when_stopping(self, closer: Callable[[], Awaitable[None]]) -> None:
        """Close what lives longer than a request before the door waits for the requests."""
        self._closers.append(closer)

    @contextlib.contextmanager
    def not_in_flight(self) -> Iterator[None]:
        """A request that became a stream, whose frames are counted instead."""
        self._in_flight_count -= 1
        try:
            yield
        finally:
            self._in_flight_count += 1

    async def stop(self) -> None:
        """Take nothing more, and end what would not end by itself."""
        self.is_draining = True
        await asyncio.gather(*(close() for close in self._closers))

    @property
    def in_flight_count(self) -> int:
        return self._in_flight_count

    def runner(self, routes: Sequence[Route]) -> web.AppRunner:
        """The HTTP server, with every limit set."""
        settings = self.settings
        (take,) = (route.takes_taps for route in routes if route.takes_taps)
        return DoorRunner(
            self.application(routes),
            {
                "answer_taps": functools.partial(self.answer_taps, take),
                "refuse_taps": self.refuse_taps,
                "request_seconds_max": settings.request_timeout_ms / 1000,
                "connections_count_max": settings.connections_count_max,
                "keepalive_timeout": settings.idle_seconds_max,
            },
            max_line_size=settings.header_bytes_max,
            max_field_size=settings.header_bytes_max,
            shutdown_timeout=settings.drain_seconds_max,
        )

    def application(self, routes: Sequence[Route]) -> web.Application:
        app = web.Application(
            middlewares=[self._middleware], client_max_size=self.settings.body_bytes_max
        )
        for route in routes:
            app.router.add_route(route.method, route.path, self._guarded(route))
        return app

    def _guarded(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guarded(request: web.Request) -> web.StreamResponse:
            request[_ROUTE] = f"{route.method} {route.path}"
            body = await self._read_body(request)
            caller = self._identify(route, request, body)
            if "\0" in request.path:  # PostgreSQL takes no such text, not even to look for it.
                raise not_found("No name holds a NUL character.")
            with self._share_of(caller.gate_id):
                return await route.handler(request, body, caller)

        return guarded

    async def _read_body(self, request: web.Request) -> bytes:
        self._check_headers(request.headers)
        try:
            if request.content.is_eof():  # All of it is here: most often it came with its headers.
                return await request.read()
            async with asyncio.timeout(self.settings.request_timeout_ms / 1000):
                return await request.read()
        except TimeoutError:
            raise too_slow(
                f"Send it within {self.settings.request_timeout_ms} ms. Nothing was done."
            ) from None

    def _check_headers(self, headers: Mapping[str, str]) -> None:
        if len(headers) > self.settings.header_count_max:
            raise Problem(
                431,
                "too_many_headers",
                "The request has too many headers",
                f"Send at most {self.settings.header_count_max}.",
            )

    def _identify(self, route: Route, request: web.Request, body: bytes) -> Caller:
        if route.is_public:
            return Caller()
        if route.is_signed and (KEY_HEADER in request.headers or not route.roles):
            return self._signer(request.headers, request.method, request.raw_path, body)
        registry, now = self.registry.current, datetime.now(UTC)
        credential = bearer(request.headers, registry=registry, now=now)
        if credential.role not in route.roles:
            may = ", ".join(sorted(route.roles))
            raise forbidden(f"This needs one of the roles {may}; yours is {credential.role}.")
        return Caller(
            role=credential.role,
            operator_id=credential.operator_id,
            token_id=credential.token_id,
        )

    def _signer(self, headers: Mapping[str, str], method: str, path: str, body: bytes) -> Caller:
        registry = self.registry.current
        gate_id = signing_gate(
            headers,
            method,
            path,
            body,
            registry=registry,
            secrets=self.secrets,
            now=datetime.now(UTC),
            skew_seconds_max=self.settings.signature_skew_seconds_max,
        )
        if gate_id not in registry.gates:
            raise unauthorized("The gate of this key is not registered any more.")
        return Caller(gate_id=gate_id)

    @contextlib.contextmanager
    def _share_of(self, gate_id: str | None) -> Iterator[None]:
        """One gate that sends far more than its share must not fill the door."""
        if gate_id is None:
            yield
            return
        if self._in_flight_of[gate_id] >= self.settings.gate_requests_in_flight_max:
            raise too_many("Too many requests of this gate are in flight. Nothing was taken.")
        self._in_flight_of[gate_id] += 1
        try:
            yield
        finally:
            self._in_flight_of[gate_id] -= 1
            if not self._in_flight_of[gate_id]:
                del self._in_flight_of[gate_id]

    def refuse_taps(self, headers: Mapping[str, str]) -> Said | None:
        """Refuse while there is no room, before anything is read: then refusing costs least."""
        if self._in_flight_count < self.settings.requests_in_flight_max and not self.is_full():
            return None
        is_crowded = self._in_flight_count >= self.settings.requests_in_flight_max
        refused = _CROWDED if is_crowded else _QUEUE_FULL
        return self._said(headers, refused, time.perf_counter())

    async def answer_taps(self, take: TakeTaps, headers: Mapping[str, str], body: bytes) -> Said:
        """The short way: the same checks and the same answers as `_guarded` gives."""
        if refused := self.refuse_taps(headers):
            return refused
        started_at = time.perf_counter()
        self._in_flight_count += 1
        try:
            self._check_headers(headers)
            if len(body) > self.settings.body_bytes_max:
                raise _from_aiohttp_status(413, "", self.settings)
            caller = self._signer(headers, "POST", TAPS_PATH, body)
            with self._share_of(caller.gate_id):
                return self._said(
                    headers, await take(body, headers["Content-Type"], caller), started_at
                )
        except Problem as problem:
            return self._said(headers, problem, started_at)
        except Exception:
            return self._said(headers, _failed(_TAPS_ROUTE), started_at)
        finally:
            self._in_flight_count -= 1

    def _said(
        self,
        asked: Mapping[str, str],
        found: tuple[bytes, Headers] | Problem,
        started_at: float,
    ) -> Said:
        if isinstance(found, Problem):
            status, headers = found.document.status, found.headers()
            body = found.body
        else:
            status, (body, headers) = 200, found
        telemetry.count_request(_TAPS_ROUTE, status, time.perf_counter() - started_at)
        return status, {**headers, **self._common_headers(asked)}, body

    @web.middleware
    async def _middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        started_at = time.perf_counter()
        is_crowded = self._in_flight_count >= self.settings.requests_in_flight_max
        if is_crowded and request.path not in _WATCHES:
            return self._finish(request, _CROWDED.response(), started_at)
        self._in_flight_count += 1
        response: web.StreamResponse
        try:
            response = await handler(request)
        except Problem as problem:
            response = problem.response()
        except web.HTTPException as error:
            response = _from_aiohttp(error, self.settings)
        except (HttpProcessingError, web.RequestPayloadError):
            response = _broken_off().response()
        except OUTAGES:
            # A client that hung up is read as an outage, too; nobody hears its answer.
            hung_up = request.transport is None
            response = (_broken_off() if hung_up else _away(request)).response()
        except Exception:
            response = _failed(request.get(_ROUTE, "unknown")).response()
        finally:
            self._in_flight_count -= 1
        return self._finish(request, response, started_at)

    def _finish(
        self, request: web.Request, response: web.StreamResponse, started_at: float
    ) -> web.StreamResponse:
        route = request.get(_ROUTE, "unknown")
        telemetry.count_request(route, response.status, time.perf_counter() - started_at)
        if not response.prepared:
            response.headers.update(self._common_headers(request.headers))
        return response

    def _common_headers(self, asked: Mapping[str, str]) -> Headers:
        asked_id = asked.get("X-Request-Id", "")
        is_fine = 0 < len(asked_id) <= 64 and asked_id.isascii() and asked_id.isprintable()
        headers = {
            "X-Request-Id": asked_id if is_fine else next(self._request_ids),
            "X-Content-Type-Options": "nosniff",
        }
        return {**headers, "Connection": "close"} if self.is_draining else headers


def _broken_off() -> Problem:
    return Problem(400, "broken_request", "The request broke off", "Send it again.")


def _away(request: web.Request) -> Problem:
    log.warning("request met an outage", route=request.get(_ROUTE, "unknown"), exc_info=True)
    return busy(
        "The database is away: what became of the request is not known. Send the same again.",
        "outcome_unknown",
    )


def _failed(route: str) -> Problem:
    log.exception("request failed", route=route)
    return Problem(
        500,
        "internal",
        "The gateway has a fault",
        "What became of the request is unknown: send it again, or ask by tap id.",
    )


def _from_aiohttp(error: web.HTTPException, settings: Settings) -> web.Response:
    response = _from_aiohttp_status(error.status, error.reason, settings).response()
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _from_aiohttp_status(status: int, reason: str, settings: Settings) -> Problem:
    details = {
        404: ("not_found", "There is no such thing", "See /docs for what there is."),
        405: ("method_not_allowed", "This cannot be done here", "See /docs for what can."),
        413: (
            "body_too_large",
            "The body is too large",
            f"Send at most {settings.body_bytes_max} bytes. Nothing was done.",
        ),
    }
    return Problem(status, *details.get(status, ("refused", reason, "Nothing was done.")))


def answer(body: bytes, *, status: int = 200, content_type: str = JSON) -> web.Response:
    return web.Response(body=body, status=status, content_type=content_type)
