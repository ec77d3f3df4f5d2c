"""The stream: one connection of one gate, a tap a message, answered as the answers come.

`gateway/STREAM.md` has the protocol as firmware needs it. Frames that arrive together are handed to
the batcher together, and what is answered together is written together.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import structlog
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from gateway.api.given import Given, now
from gateway.api.taps import TapRequests
from gateway.core.registry import Registry
from gateway.core.taps import Tap, TapResult
from gateway.shell import telemetry
from gateway.shell.batcher import Answer
from gateway.shell.messages import MESSAGE_PACK, encode, read_frame, read_frame_taps
from gateway.shell.problems import Problem, busy
from gateway.shell.signatures import KEY_HEADER, frame_mac, stream_key
from gateway.shell.web import Caller

log = structlog.get_logger()

PROTOCOL = "faregate.taps.v1"
_NONCE_BYTES = 32
_MAC_BYTES = 32
_CLOSE_SECONDS_MAX = 2


class StreamEnd(IntEnum):
    """Why the gateway closes a stream; the numbers are WebSocket's range for private use."""

    MALFORMED = 4400
    WRONG_MAC = 4401
    KEY_ENDED = 4403
    TOO_SLOW = 4408
    WRONG_COUNTER = 4409


class _Ended(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _Frame(NamedTuple):
    counter: int
    taps: list[Tap | TapResult]
    is_array: bool


# A frame's counter, its status, what is said, and the positions of repeats or when to come again.
_Said = tuple[int, int, Any, Any]
_ENDS = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)


class StreamRequests:
    """Opens streams, and closes them when their key or the gateway ends."""

    def __init__(self, given: Given, taps: TapRequests) -> None:
        self._given = given
        self._taps = taps
        self._open: set[TapStream] = set()
        self._endings: set[asyncio.Task[None]] = set()
        given.door.registry.when_changed(self._end_keys)
        given.door.when_stopping(self._stop)

    async def open_stream(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.StreamResponse:
        door, settings = self._given.door, self._given.settings
        if door.is_draining:
            raise busy("The gateway is stopping; another one answers.", "stopping")
        if len(self._open) >= settings.streams_max:
            raise busy("Too many streams are open.", "too_many_streams")
        socket = web.WebSocketResponse(
            protocols=(PROTOCOL,),
            heartbeat=settings.stream_ping_seconds,
            max_msg_size=settings.body_bytes_max,
            timeout=_CLOSE_SECONDS_MAX,
            compress=False,
        )
        if socket.can_prepare(request).protocol != PROTOCOL:
            raise Problem(
                400,
                "no_stream",
                "This opens a stream",
                f"Open a WebSocket, and ask for the subprotocol {PROTOCOL}.",
            )
        await socket.prepare(request)
        assert caller.gate_id is not None
        stream = TapStream(
            socket, self._given, self._taps, caller.gate_id, request.headers[KEY_HEADER]
        )
        self._open.add(stream)
        telemetry.STREAMS.inc()
        try:
            with door.not_in_flight():
                await stream.run()
        finally:
            self._open.remove(stream)
            telemetry.STREAMS.dec()
        return socket

    def _end_keys(self, registry: Registry) -> None:
        for stream in self._open:
            if not stream.has_key_in(registry):
                ending = asyncio.create_task(stream.end(*_KEY_ENDED))
                self._endings.add(ending)
                ending.add_done_callback(self._endings.discard)

    async def _stop(self) -> None:
        end = (WSCloseCode.GOING_AWAY, "the gateway is stopping")
        await asyncio.gather(*(stream.end(*end) for stream in self._open))


_KEY_ENDED = (StreamEnd.KEY_ENDED, "the key was revoked or has expired")


class TapStream:
    """One open stream. Every frame is checked in its turn; the answers may overtake each other."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        given: Given,
        taps: TapRequests,
        gate_id: str,
        key_id: str,
    ) -> None:
        self._socket = socket
        self._given = given
        self._taps = taps
        self._gate_id = gate_id
        self._key_id = key_id
        self._nonce = secrets.token_bytes(_NONCE_BYTES)
        secret = given.door.secrets.of(key_id, given.door.registry.current)
        self._key = stream_key(secret, self._nonce)
        self._counter = 0
        self._arrived: list[_Frame] = []
        self._unanswered_count = 0
        self._has_room = asyncio.Event()
        self._answering: set[asyncio.Task[None]] = set()

    def has_key_in(self, registry: Registry) -> bool:
        key = registry.gate_keys.get(self._key_id)
        return key is not None and key.is_valid_at(now()) and self._gate_id in registry.gates

    async def run(self) -> None:
        """Read and answer until one side closes."""
        settings = self._given.settings
        said = {"nonce": self._nonce, "frames_max": settings.stream_frames_max}
        with contextlib.suppress(ConnectionError):
            await self._socket.send_bytes(encode(said, MESSAGE_PACK))
        try:
            try:
                # Whoever replays an opening cannot answer its nonce, and must not hold a place.
                async with asyncio.timeout(settings.request_timeout_ms / 1000):
                    message = await self._socket.receive()
            except TimeoutError:
                raise _Ended(StreamEnd.TOO_SLOW, "the first frame took too long") from None
            while message.type not in _ENDS:
                self._take(message)
                if self._unanswered_count >= settings.stream_frames_max:
                    self._has_room.clear()
                    await self._has_room.wait()
                message = await self._socket.receive()
        except _Ended as ended:
            await self.end(ended.code, ended.reason)

    async def end(self, code: int, reason: str) -> None:
        """Answer what was taken, then close."""
        self._submit()
        await asyncio.gather(*self._answering)
        await self._socket.close(code=code, message=reason.encode())

    def _take(self, message: WSMessage) -> None:
        if message.type is not WSMsgType.BINARY:
            raise _Ended(WSCloseCode.UNSUPPORTED_DATA, "frames are binary")
        mac, signed = message.data[:_MAC_BYTES], message.data[_MAC_BYTES:]
        if not hmac.compare_digest(mac, frame_mac(self._key, signed)):
            raise _Ended(StreamEnd.WRONG_MAC, "the MAC does not fit")
        try:
            counter, body = read_frame(signed)
        except Problem:
            raise _Ended(StreamEnd.MALFORMED, "a frame is MAC, then [counter, taps]") from None
        if counter != self._counter + 1:
            due = self._counter + 1
            raise _Ended(StreamEnd.WRONG_COUNTER, f"counter {counter} came, {due} was due")
        self._counter = counter
        self._unanswered_count += 1
        try:
            settings = self._given.settings
            taps, is_array = read_frame_taps(
                body, taps_max=settings.request_taps_max, chars_max=settings.text_chars_max
            )
        except Problem as problem:
            self._start_answering(self._say([_refused(counter, problem)]))
            return
        self._arrived.append(_Frame(counter, taps, is_array))
        if len(self._arrived) == 1:
            asyncio.get_running_loop().call_soon(self._submit)

    def _submit(self) -> None:
        frames, self._arrived = self._arrived, []
        if frames:
            self._start_answering(self._answer(frames))

    def _start_answering(self, answering: Any) -> None:
        task = asyncio.create_task(answering)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, frames: Sequence[_Frame]) -> None:
        if not self.has_key_in(self._given.door.registry.current):
            self._unanswered_count -= len(frames)
            self._has_room.set()
            await self._socket.close(code=_KEY_ENDED[0], message=_KEY_ENDED[1].encode())
            return
        taps = [tap for frame in frames for tap in frame.taps]
        try:
            answers = iter(await self._taps.answer_taps(taps, self._gate_id))
            said = [_answered(frame, [next(answers) for _ in frame.taps]) for frame in frames]
        except Problem as problem:
            said = [_refused(frame.counter, problem) for frame in frames]
        except Exception:
            # A bug, met by one of these frames: the others must not suffer for it.
            if len(frames) > 1:
                await asyncio.gather(*(self._answer([frame]) for frame in frames))
                return
            log.exception("frame failed", counter=frames[0].counter)
            said = [_refused(frames[0].counter, _FAILED)]
        await self._say(said)

    async def _say(self, said: list[_Said]) -> None:
        self._unanswered_count -= len(said)
        self._has_room.set()
        for _, status, _, _ in said:
            telemetry.count_frame(status)
        with contextlib.suppress(ConnectionError):
            await self._socket.send_bytes(encode(said, MESSAGE_PACK))


_FAILED = Problem(
    500,
    "internal",
    "The gateway has a fault",
    "What became of the taps is unknown: send them again, or ask by tap id.",
)


def _answered(frame: _Frame, answers: list[Answer]) -> _Said:
    repeats = [position for position, answer in enumerate(answers) if answer.is_repeat]
    results = [answer.result for answer in answers]
    return frame.counter, 200, results if frame.is_array else results[0], repeats


def _refused(counter: int, problem: Problem) -> _Said:
    return counter, problem.document.status, problem.document, problem.retry_after_seconds
