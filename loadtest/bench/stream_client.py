"""The gates' runner on streams (gateway/STREAM.md): taps are packed beforehand, one a message.

A message's MAC needs the counter and the nonce of its stream, so it is made while sending; that is
generator CPU, and reported as such.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import os
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from struct import Struct
from typing import Any, NamedTuple, cast

import msgspec
import uvloop

from loadtest.bench.connections import Done
from loadtest.bench.http_client import Gates
from loadtest.bench.processes import first_order, obey_orders, say_ready
from loadtest.bench.requests import load_keys
from loadtest.city import CityTap
from loadtest.gate_signature import GateKey, signature_headers

STREAMS = 64
# Messages on the way at a time, a stream: as many as the engine's submitters each have.
WINDOW = 16
PATH = "/v1/stream"
_PING, _PONG, _CLOSE, _BINARY = 0x89, 0x8A, 0x88, 0x82
_IS_MASKED = 0x80
# A mask of zeros costs the gateway as much as any other, and the generator nothing.
_MASK = bytes(4)
# [counter, tap]: an array of two, then a number of always four bytes.
_COUNTED = Struct(">BBI")
_ARRAY_OF_TWO, _UINT_32 = 0x92, 0xCE


class Message(NamedTuple):
    """A packed tap, and the stream of its gate."""

    stream: int
    tap: bytes


class Answer(NamedTuple):
    """What the gateway says of one message."""

    counter: int
    status: int
    said: msgspec.Raw
    more: msgspec.Raw


class _Outcome(msgspec.Struct):
    outcome: str


_ANSWERS = msgspec.msgpack.Decoder(list[Answer])
_NONCE = msgspec.msgpack.Decoder(dict[str, Any])


class StreamPool:
    """Streams of which each is of one signer; messages that find a full window wait for it."""

    def __init__(self, signers: list[GateKey]) -> None:
        self._signers = signers
        self._streams: list[_Stream] = []

    async def open(self, host: str, port: int, _count: int) -> None:
        loop = asyncio.get_running_loop()
        for key in self._signers:
            _, stream = await loop.create_connection(lambda key=key: _Stream(key), host, port)
            self._streams.append(stream)
        async with asyncio.timeout(10):
            await asyncio.gather(*(stream.is_open for stream in self._streams))

    def send(self, message: Message, done: Done) -> None:
        self._streams[message.stream].send(message.tap, done)

    def close(self) -> None:
        for stream in self._streams:
            stream.close()


class _Stream(asyncio.Protocol):
    def __init__(self, key: GateKey) -> None:
        self.is_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gate_key = key
        self._key = b""
        self._transport: asyncio.Transport | None = None
        self._read = b""
        self._has_upgraded = False
        self._counter = 0
        self._unanswered: dict[int, Done] = {}
        self._waiting: deque[tuple[bytes, Done]] = deque()
        self._leaving: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(_opening(self._gate_key))

    def send(self, tap: bytes, done: Done) -> None:
        """Send at the end of the loop's turn, together with what else is due by then."""
        if len(self._unanswered) >= WINDOW:
            self._waiting.append((tap, done))
            return
        self._counter += 1
        self._unanswered[self._counter] = done
        message = _COUNTED.pack(_ARRAY_OF_TWO, _UINT_32, self._counter) + tap
        self._leaving.append(_frame(_BINARY, hmac.digest(self._key, message, "sha256") + message))
        if len(self._leaving) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        leaving, self._leaving = self._leaving, []
        if self._transport:
            self._transport.write(b"".join(leaving))

    def data_received(self, data: bytes) -> None:
        read = self._read + data if self._read else data
        if not self._has_upgraded:
            head, found, rest = read.partition(b"\r\n\r\n")
            if not found:
                self._read = read
                return
            assert head.startswith(b"HTTP/1.1 101"), f"no stream was opened: {read!r}"
            self._has_upgraded, read = True, rest
        self._read = self._take_frames(read)

    def _take_frames(self, read: bytes) -> bytes:
        """Take whole frames; what is left over."""
        at = 0
        while len(read) >= at + 2:
            length, begins = read[at + 1], at + 2
            if length >= 126:
                width = 2 if length == 126 else 8
                length, begins = int.from_bytes(read[begins : begins + width]), begins + width
            if len(read) < begins + length:
                break
            self._take(read[at], read[begins : begins + length])
            at = begins + length
        return read[at:]

    def _take(self, kind: int, message: bytes) -> None:
        if kind == _PING:
            assert self._transport
            self._transport.write(_frame(_PONG, message))
        elif kind == _CLOSE:
            self.connection_lost(None)
        elif self._key:
            for counter, status, said, _ in _ANSWERS.decode(message):
                done = self._unanswered.pop(counter)
                if self._waiting:
                    self.send(*self._waiting.popleft())
                done(status, said)
        else:
            said = b"faregate stream\0" + _NONCE.decode(message)["nonce"]
            self._key = hmac.digest(self._gate_key.secret, said, "sha256")
            # The first frame is due at once, and the first tap is not: a gate with nothing to say.
            self.send(b"\x90", lambda _status, _said: self.is_open.set_result(None))

    def connection_lost(self, _error: Exception | None) -> None:
        unanswered, self._unanswered = self._unanswered, {}
        for done in unanswered.values():
            done(0, b"the stream was lost")

    def close(self) -> None:
        if self._transport:
            self._unanswered = {}
            self._transport.close()


def _opening(key: GateKey) -> bytes:
    headers = {
        "Host": "localhost",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": "faregate.taps.v1",
        **signature_headers(key, "GET", PATH, b"", unix_seconds=int(time.time())),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET {PATH} HTTP/1.1\r\n{head}\r\n".encode()


def _frame(kind: int, message: bytes) -> bytes:
    length = len(message)
    if length < 126:
        return bytes((kind, _IS_MASKED | length)) + _MASK + message
    return bytes((kind, _IS_MASKED | 126)) + length.to_bytes(2) + _MASK + message


def streams_of(signers: Mapping[str, str]) -> tuple[list[str], dict[str, int]]:
    """Whose each stream is, and on which stream each gate's taps go.

    A signer has as many of the streams as it has of the gates; the largest has what is left over.
    """
    gates_of = Counter(signers.values())
    counts = {one: max(1, STREAMS * n // len(signers)) for one, n in gates_of.items()}
    counts[gates_of.most_common(1)[0][0]] += STREAMS - sum(counts.values())
    owners = [signer for signer, count in counts.items() for _ in range(count)]
    seen: Counter[str] = Counter()
    places: dict[str, int] = {}
    for gate, signer in signers.items():
        places[gate] = owners.index(signer) + seen[signer] % counts[signer]
        seen[signer] += 1
    return owners, places


def _messages(taps: Iterable[CityTap], places: Mapping[str, int]) -> Iterator[Message]:
    pack = msgspec.msgpack.Encoder().encode
    for tap in taps:
        yield Message(places[tap.gate_id], pack(tap))


class StreamGates(Gates):
    """All gates of a city on a few streams."""

    under_way = STREAMS * WINDOW

    def _prepare(self, facts: dict[str, Any]) -> Iterator[Message]:
        keys = load_keys(facts["keys"])
        owners, places = streams_of(self.signers)
        self._owners = [keys[owner] for owner in owners]
        return _messages(self.taps, places)

    def _pool(self) -> StreamPool:
        return StreamPool(self._owners)

    @staticmethod
    def _outcomes(answers: list[tuple[int, bytes]]) -> Counter[str]:
        read = msgspec.msgpack.Decoder(_Outcome).decode
        return Counter(
            read(said).outcome if status == 200 else f"status {status}" for status, said in answers
        )


async def main() -> None:
    gates = StreamGates(await first_order())
    say_ready()
    await obey_orders(gates.run)


if __name__ == "__main__":
    uvloop.run(main())
