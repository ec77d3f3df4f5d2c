"""A connection to the door, with a short way for the request that comes most often.

aiohttp parses every request. One that posts taps, and is here whole, is then answered without the
objects that other requests need: that halves what a single tap costs at the door. Whatever is not
plainly such a request, and whatever comes while another is being answered, goes aiohttp's way.
"""

from __future__ import annotations

import asyncio
import email.utils
import http
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any, TypeGuard

from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.http import RawRequestMessage

from gateway.shell import telemetry
from gateway.shell.messages import JSON, MESSAGE_PACK
from gateway.shell.problems import Problem, busy, too_slow

TAPS_PATH = "/v1/taps"
_HANGS_UP = {"Connection": "close"}
_CROWDED = busy("Too many connections are open.", "too_many_connections")
# Headers that never end hold no connection.
_TOO_SLOW = too_slow("Nothing was done.")

Headers = dict[str, str]
Said = tuple[int, Headers, bytes]
# What answers a request that is here whole, and what may refuse it before anything is looked at.
AnswerTaps = Callable[[Mapping[str, str], bytes], Awaitable[Said]]
RefuseTaps = Callable[[Mapping[str, str]], Said | None]


class DoorConnection(web.RequestHandler):
    """One client's connection. Where the short way is taken, aiohttp's own way waits."""

    __slots__ = (
        "_answer_taps",
        "_connections_count_max",
        "_head_timer",
        "_refuse_taps",
        "_request_seconds_max",
        "_short_way",
    )

    def __init__(
        self,
        *args: Any,
        answer_taps: AnswerTaps,
        refuse_taps: RefuseTaps,
        request_seconds_max: float,
        connections_count_max: int,
        **limits: Any,
    ) -> None:
        super().__init__(*args, **limits)
        self._connections_count_max = connections_count_max
        self._answer_taps = answer_taps
        self._refuse_taps = refuse_taps
        self._request_seconds_max = request_seconds_max
        self._head_timer: asyncio.TimerHandle | None = None
        self._short_way: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        telemetry.CONNECTIONS.inc()
        if self._manager and len(self._manager.connections) > self._connections_count_max:
            self._hang_up(_CROWDED)

    def data_received(self, data: bytes) -> None:
        # While aiohttp waits for a request, it is not woken before we have looked at what came.
        waiter, self._waiter = self._waiter, None
        super().data_received(data)
        self._waiter = waiter
        if self._messages:
            self._stop_watching()
            self._choose_way()
        elif data and waiter is not None and self._head_timer is None:
            self._head_timer = self._loop.call_later(
                self._request_seconds_max, self._hang_up, _TOO_SLOW
            )

    def _choose_way(self) -> None:
        # What is under way comes first, and takes the next by itself.
        while self._messages and self._short_way is None and _is_waiting(self._waiter):
            message, body = self._messages[0]
            if not _posts_taps(message, body):
                self._waiter.set_result(None)
                return
            self._messages.popleft()
            if self._parser is not None:
                self._parser.message_consumed()
            refused = None if self.writing_paused else self._refuse_taps(message.headers)
            if refused is None:
                self._request_in_progress = True
                self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
                answering = self._answer(message.headers, body)
                self._short_way = self._loop.create_task(answering)
            else:
                self._say(*refused)
                body.read_nowait()  # Reading looks for the next request: so only now.

    async def _answer(self, headers: Mapping[str, str], body: StreamReader) -> None:
        self._say(*await self._answer_taps(headers, body.read_nowait()))
        if self.writing_paused:  # A client that does not read its answers is not read either.
            await self._drain_helper()
        self._short_way = None
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        self._choose_way()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_watching()
        telemetry.CONNECTIONS.dec()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What cannot be parsed as a request is told in the same form as every other fault."""
        detail = (message or "The request cannot be read").splitlines()[0]
        response = Problem(
            status, "malformed_request", "This is no request", f"{detail}. Nothing was done."
        ).response()
        response.force_close()
        return response

    def _say(self, status: int, headers: Headers, body: bytes) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(
            f"{_status_line(status)}Content-Length: {len(body)}\r\nDate: {_date(int(time.time()))}"
            f"\r\n{lines}\r\n".encode("latin-1")
            + body
        )

    def _stop_watching(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _hang_up(self, problem: Problem) -> None:
        self._say(problem.document.status, {**problem.headers(), **_HANGS_UP}, problem.body)
        self.force_close()


class DoorRunner(web.AppRunner):
    """aiohttp's runner, with connections of ours."""

    def __init__(self, app: web.Application, connection: dict[str, Any], **limits: Any) -> None:
        super().__init__(app, access_log=None, handle_signals=False, **limits)
        limits.pop("shutdown_timeout", None)
        self._connection = {**connection, **limits}

    @property
    def server(self) -> Any:
        if self._server is None:
            return None
        loop = asyncio.get_running_loop()
        return lambda: DoorConnection(self._server, loop=loop, access_log=None, **self._connection)


def _is_waiting(waiter: asyncio.Future[None] | None) -> TypeGuard[asyncio.Future[None]]:
    return waiter is not None and not waiter.done()


def _posts_taps(message: Any, body: StreamReader) -> TypeGuard[RawRequestMessage]:
    return (
        isinstance(message, RawRequestMessage)
        and message.method == "POST"
        and message.path == TAPS_PATH
        and message.version == HttpVersion11
        and not (message.should_close or message.chunked or message.upgrade or message.compression)
        and message.headers.get("Content-Type") in (JSON, MESSAGE_PACK)
        and "Expect" not in message.headers
        and body.is_eof()
        and body.exception() is None
    )


@lru_cache(64)
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n"


@lru_cache(1)
def _date(unix_seconds: int) -> str:
    return email.utils.formatdate(unix_seconds, usegmt=True)
