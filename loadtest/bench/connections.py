"""Bare keep-alive connections: they write bytes, find where an answer ends, and look no further.

A comfortable client would use more CPU than the gateway, on the same cores.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import cast

Done = Callable[[int, bytes], None]
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class HttpPool:
    """Connections of which each carries one request at a time; the rest of the requests wait."""

    def __init__(self) -> None:
        self._all: list[_Connection] = []
        self._idle: list[_Connection] = []
        self._waiting: deque[tuple[bytes, Done]] = deque()

    async def open(self, host: str, port: int, count: int) -> None:
        loop = asyncio.get_running_loop()
        while len(self._all) < count:
            _, connection = await loop.create_connection(lambda: _Connection(self), host, port)
            self._all.append(connection)
            self._idle.append(connection)

    def send(self, request: bytes, done: Done) -> None:
        """Send at once if a connection is free; `done` hears the status and the answer."""
        if self._idle:
            self._idle.pop().send(request, done)
        else:
            self._waiting.append((request, done))

    def close(self) -> None:
        for connection in self._all:
            connection.close()

    def freed(self, connection: _Connection) -> None:
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._idle.append(connection)


class _Connection(asyncio.Protocol):
    def __init__(self, pool: HttpPool) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._done: Done | None = None
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not asyncio's, but act like them.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, done: Done) -> None:
        assert self._transport
        self._done = done
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._read = self._read + data if self._read else data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if not found:
            return
        length = _LENGTH.search(head)
        assert length, f"an answer without a length: {head!r}"
        if len(body) < int(length.group(1)):
            return
        done, self._done, self._read = self._done, None, b""
        assert done, "an answer that nothing was asked for"
        self._pool.freed(self)
        done(int(head[9:12]), head + b"\r\n\r\n" + body if head[9] != 50 else body)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._done:
            self._done(0, b"the connection was lost")

    def close(self) -> None:
        if self._transport:
            self._done = None
            self._transport.close()
