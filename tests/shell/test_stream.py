"""The stream: a gate's taps as messages of one connection, each with one definite answer."""

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from gateway.shell.signatures import KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER

PROTOCOL = "faregate.taps.v1"


class Stream:
    """A gate's end of a stream, written from gateway/STREAM.md alone."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, key: bytes) -> None:
        self.socket = socket
        self.key = key
        self.counter = 0
        self._answers: dict[int, Any] = {}

    def frame(self, taps: Any, counter: int) -> bytes:
        signed = msgspec.msgpack.encode([counter, taps])
        return hmac.digest(self.key, signed, "sha256") + signed

    async def send(self, taps: Any) -> int:
        self.counter += 1
        await self.socket.send_bytes(self.frame(taps, self.counter))
        return self.counter

    async def answer(self, counter: int) -> tuple[int, Any, Any]:
        while counter not in self._answers:
            for one, *said in msgspec.msgpack.decode(await self.socket.receive_bytes(timeout=5)):
                assert one not in self._answers, "a frame is answered once"
                self._answers[one] = tuple(said)
        return self._answers[counter]

    async def ask(self, taps: Any) -> tuple[int, Any, Any]:
        return await self.answer(await self.send(taps))

    async def check_ended(self, code: int, reason: str) -> None:
        """Nothing more is said but why the stream ends."""
        message = await self.socket.receive(timeout=5)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, code), message
        assert reason in message.extra


@contextlib.asynccontextmanager
async def stream(
    door, gate_id: str = "bus-1", headers: dict[str, str] | None = None, key: bytes | None = None
) -> AsyncIterator[Stream]:
    if headers is None:
        headers = door.signed(b"", gate_id=gate_id, method="GET", path="/v1/stream")
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            door.address + "/v1/stream", headers=headers, protocols=[PROTOCOL]
        ) as socket,
    ):
        said = msgspec.msgpack.decode(await socket.receive_bytes(timeout=5))
        secret = key or door.keys[gate_id][1]
        stream_key = hmac.digest(secret, b"faregate stream\0" + said["nonce"], "sha256")
        yield Stream(socket, stream_key)


async def test_each_tap_of_a_stream_is_answered_and_debited_once(door):
    wallet_id = await door.open_wallet()
    async with stream(door) as gate:
        counters = [await gate.send(door.tap(full_fare=10)) for _ in range(50)]
        said = [await gate.answer(counter) for counter in counters]
    assert {(status, one["outcome"], tuple(repeats)) for status, one, repeats in said} == {
        (200, "ride_charged", ())
    }
    assert (await door.wallet(wallet_id))["balance_fen"] == 500


async def test_a_repeat_hears_the_bytes_that_a_request_heard(door):
    wallet_id = await door.open_wallet()
    tap = door.tap()
    over_http = await door.post_taps(tap, packed=True)
    async with stream(door) as gate:
        status, said, repeats = await gate.ask(tap)
        assert (status, repeats) == (200, [0])
        assert msgspec.msgpack.encode(said) == over_http.body
        assert (await gate.ask([door.tap(), tap]))[2] == [1]
    assert (await door.wallet(wallet_id))["balance_fen"] == 600


async def test_an_array_is_answered_in_its_order_and_a_malformed_tap_spoils_only_itself(door):
    await door.open_wallet()
    async with stream(door) as gate:
        status, said, _ = await gate.ask([door.tap(), door.tap(fare=1), door.tap()])
        assert (status, [one["outcome"] for one in said]) == (
            200,
            ["ride_charged", "malformed", "ride_charged"],
        )
        assert (await gate.ask(door.tap(sequence=-1)))[1]["outcome"] == "malformed"
        assert (await gate.ask([]))[:2] == (200, [])
        assert (await gate.ask("tap"))[1]["outcome"] == "malformed"
        assert (await gate.ask(door.tap()))[1]["outcome"] == "ride_charged"


async def test_a_stream_opens_only_with_a_gates_signature(door):
    right = door.signed(b"", method="GET", path="/v1/stream")
    for headers in (
        {},
        {**right, SIGNATURE_HEADER: "0" * 64},
        door.signed(b"", method="POST", path="/v1/stream"),
        door.signed(b"", method="GET", path="/v1/stream", seconds_off=-400),
        {"Authorization": f"Bearer {door.tokens['admin']}"},
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with stream(door, headers=headers):
                pass
        assert refused.value.status == 401
    said = await door.send("GET", "/v1/stream", b"", right)
    said.check_problem(400, "no_stream", PROTOCOL)
    said = await door.send("GET", "/v1/stream", b"", {**right, "Sec-WebSocket-Protocol": PROTOCOL})
    said.check_problem(400, "no_stream", "Open a WebSocket")
    assert {KEY_HEADER, TIMESTAMP_HEADER} <= right.keys()


async def test_whoever_replays_an_opening_gets_no_tap_in(door):
    """The headers are as overheard; the frames, too, are those of the first stream."""
    wallet_id = await door.open_wallet()
    headers = door.signed(b"", method="GET", path="/v1/stream")
    async with stream(door, headers=headers) as gate:
        overheard = gate.frame(door.tap(), 1)
        await gate.socket.send_bytes(overheard)
        assert (await gate.answer(1))[0] == 200
    books = await door.books()
    async with stream(door, headers=headers) as thief:
        await thief.socket.send_bytes(overheard)
        await thief.check_ended(4401, "MAC")
    async with stream(door, headers=headers, key=b"guessed") as thief:
        await thief.send(door.tap())
        await thief.check_ended(4401, "MAC")
    assert await door.books() == books
    assert (await door.wallet(wallet_id))["balance_fen"] == 800


async def test_whoever_cannot_send_a_first_frame_holds_no_place(open_door):
    async with open_door(request_timeout_ms=100) as door, stream(door) as thief:
        await thief.check_ended(4408, "first frame")


async def test_a_frame_that_was_tampered_with_ends_the_stream_after_those_before_it(door):
    wallet_id = await door.open_wallet()
    async with stream(door) as gate:
        counter = await gate.send(door.tap())
        await gate.socket.send_bytes(gate.frame(door.tap(), 2).replace(b"card-1", b"card-2"))
        assert (await gate.answer(counter))[1]["outcome"] == "ride_charged"
        await gate.check_ended(4401, "MAC")
    assert (await door.wallet(wallet_id))["balance_fen"] == 800


@pytest.mark.parametrize("counter", [0, 1, 3, 2**40])
async def test_a_counter_that_repeats_or_leaves_a_gap_ends_the_stream(door, counter):
    await door.open_wallet()
    async with stream(door) as gate:
        assert (await gate.ask(door.tap()))[0] == 200
        books = await door.books()
        await gate.socket.send_bytes(gate.frame(door.tap(), counter))
        await gate.check_ended(4409, f"counter {counter} came, 2 was due")
    assert await door.books() == books


@pytest.mark.parametrize("signed", [b"", b"\x91\x01", b"\x92\xa1a\x90", b"\x92\x01", b"\xc1"])
async def test_a_frame_without_its_form_ends_the_stream(door, signed):
    async with stream(door) as gate:
        await gate.socket.send_bytes(hmac.digest(gate.key, signed, hashlib.sha256) + signed)
        await gate.check_ended(4400, "a frame is")


async def test_text_and_frames_that_are_too_large_end_the_stream(open_door):
    async with open_door(body_bytes_max=2048) as door:
        async with stream(door) as gate:
            await gate.socket.send_str("tap")
            await gate.check_ended(1003, "binary")
        async with stream(door) as gate:
            await gate.socket.send_bytes(bytes(4096))
            await gate.check_ended(1009, "")


async def test_a_tap_of_another_gate_is_refused_and_its_neighbours_are_not(door):
    await door.open_wallet()
    async with stream(door) as gate:
        other = door.metro_tap("enter")
        assert (await gate.ask(other))[:2] == (
            200,
            {
                "tap_id": other["tap_id"],
                "outcome": "gate_not_signers",
                "open": False,
                "display_text": "See staff",
            },
        )
        assert (await gate.ask(door.tap()))[1]["outcome"] == "ride_charged"
    async with stream(door, "futian-station") as station:
        said = (await station.ask(door.metro_tap("enter", gate_id="futian-in")))[1]
        assert said["outcome"] == "leg_opened"


async def test_a_full_queue_answers_every_frame_and_the_stream_stays(open_door):
    async with open_door(queue_taps_max=1, request_taps_max=3) as door:
        wallet_id = await door.open_wallet()
        async with stream(door) as gate:
            taps = [door.tap(), door.tap()]
            status, said, seconds = await gate.ask(taps)
            assert (status, said["type"], seconds) == (503, "urn:faregate:problem:busy", 1)
            assert "Nothing was taken" in said["detail"]
            assert (await gate.ask(taps * 2))[1]["type"] == "urn:faregate:problem:too_many_taps"
            for tap in taps:
                assert (await gate.ask(tap))[1]["outcome"] == "ride_charged"
        assert (await door.wallet(wallet_id))["balance_fen"] == 600


async def test_a_gate_that_does_not_wait_for_answers_is_slowed_and_still_answered(open_door):
    async with open_door(stream_frames_max=2) as door:
        wallet_id = await door.open_wallet()
        async with stream(door) as gate:
            counters = [await gate.send(door.tap(full_fare=1)) for _ in range(100)]
            assert {(await gate.answer(one))[0] for one in counters} == {200}
        assert (await door.wallet(wallet_id))["balance_fen"] == 900


async def test_only_so_many_streams_are_open(open_door):
    async with open_door(streams_max=1) as door:
        async with stream(door) as gate:
            assert (await gate.ask([]))[0] == 200
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with stream(door):
                    pass
            assert refused.value.status == 503
            assert refused.value.headers["Retry-After"] == "1"
            assert (await gate.ask([]))[0] == 200
        for _ in range(100):
            with contextlib.suppress(aiohttp.WSServerHandshakeError):
                async with stream(door) as gate:
                    assert (await gate.ask([]))[0] == 200
                    break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("the place of a closed stream was not freed")


async def test_streams_do_not_count_as_requests_in_flight(open_door):
    async with open_door(requests_in_flight_max=1) as door, stream(door) as gate:
        assert (await gate.ask([]))[0] == 200
        assert (await door.send("GET", "/livez")).status == 200


async def test_a_revoked_key_ends_its_stream_and_no_other(door):
    async with stream(door) as gate, stream(door, "luohu-in") as other:
        assert [(await one.ask([]))[0] for one in (gate, other)] == [200, 200]
        path = f"/v1/gate-keys/{door.keys['bus-1'][0]}"
        assert (await door.ask("DELETE", path)).status == 200
        await gate.check_ended(4403, "revoked")
        assert (await other.ask([]))[0] == 200
    with pytest.raises(aiohttp.WSServerHandshakeError):
        async with stream(door):
            pass


async def test_a_stopping_gateway_answers_what_it_took_and_says_that_it_goes(open_door):
    async with open_door() as door:
        wallet_id = await door.open_wallet()
        opening = stream(door)
        gate = await opening.__aenter__()
        counters = [await gate.send(door.tap(full_fare=1)) for _ in range(20)]
        assert (await gate.answer(counters[0]))[0] == 200
        more = [await gate.send(door.tap(full_fare=1)) for _ in range(20)]
        await asyncio.sleep(0)
        leaving = asyncio.create_task(collect(gate, [*counters, *more]))
    said, code = await leaving
    await opening.__aexit__(None, None, None)
    charged = [one for one in said.values() if one[0] == 200]
    assert code == 1001
    assert {one[0] for one in said.values()} <= {200, 503}
    async with open_door() as door:
        assert (await door.wallet(wallet_id))["balance_fen"] == 1000 - len(charged)
        assert (await door.books())["taps"] == len(charged) >= 20


async def collect(gate: Stream, counters: list[int]) -> tuple[dict[int, Any], int]:
    """All answers until the stream ends, and the code it ends with."""
    while True:
        message = await gate.socket.receive(timeout=10)
        if message.type is not aiohttp.WSMsgType.BINARY:
            return {one: gate._answers[one] for one in counters if one in gate._answers}, (
                gate.socket.close_code or message.data
            )
        for counter, *said in msgspec.msgpack.decode(message.data):
            gate._answers[counter] = tuple(said)


async def test_the_streams_are_counted(door):
    async with stream(door) as gate:
        await gate.ask([])
        said = await door.ask("GET", "/metrics")
        assert b"\nfaregate_streams 1.0\n" in said.body
        assert b'faregate_stream_frames_total{status="200"}' in said.body
