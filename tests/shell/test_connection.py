"""Connections by hand: whatever way a request takes, it is answered alike and in its turn."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

JSON = "application/json"
# aiohttp's own way reads this; the short way leaves it alone.
JSON_AT_LENGTH = "application/json; charset=utf-8"


class Wire:
    """A connection on which bytes are written and answers read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).decode()
        status, *lines = head.strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = await self.reader.readexactly(int(headers["Content-Length"]))
        return int(status.split(" ")[1]), headers, body

    async def is_hung_up_on(self) -> bool:
        return await asyncio.wait_for(self.reader.read(), 5) == b""


@contextlib.asynccontextmanager
async def wire(door) -> AsyncIterator[Wire]:
    host, _, port = door.address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def request(door, taps: Any, content_type: str = JSON, **more: str) -> bytes:
    body = msgspec.json.encode(taps)
    headers = {
        "Host": "gateway",
        "Content-Type": content_type,
        "Content-Length": str(len(body)),
        **door.signed(body),
        **more,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /v1/taps HTTP/1.1\r\n{head}\r\n".encode() + body


async def test_both_ways_say_the_same(door):
    wallet_id = await door.open_wallet()
    tap = door.tap()
    asked = {"X-Request-Id": "abc-1"}
    other_gates = door.metro_tap("enter")
    cases = [tap, [tap, tap], other_gates, [other_gates], {"tap_id": 1}, "tap", [1], []]
    async with wire(door) as gate:
        gate.writer.write(request(door, tap))
        assert (await gate.answer())[0] == 200
        for taps in cases:
            said = []
            for content_type in (JSON, JSON_AT_LENGTH):
                gate.writer.write(request(door, taps, content_type, **asked))
                status, headers, body = await gate.answer()
                headers = {n: v for n, v in headers.items() if n not in ("Date", "Server")}
                said.append((status, headers, body))
            assert said[0] == said[1], taps
            assert said[0][1]["X-Request-Id"] == "abc-1"
    assert (await door.wallet(wallet_id))["balance_fen"] == 800


async def test_a_wrong_signature_and_too_many_headers_are_told_alike_on_both_ways(door):
    many = {f"X-{i}": "x" for i in range(70)}
    for more in ({"Faregate-Signature": "00"}, many):
        said = []
        for content_type in (JSON, JSON_AT_LENGTH):
            async with wire(door) as gate:
                gate.writer.write(request(door, door.tap(), content_type, **more))
                status, headers, body = await gate.answer()
                said.append((status, headers["Content-Type"], body))
        assert said[0] == said[1]
        assert said[0][0] in (401, 431)


async def test_requests_sent_in_one_go_are_answered_in_their_order(door):
    await door.open_wallet()
    taps = [door.tap(full_fare=1) for _ in range(20)]
    types = [JSON, JSON, JSON_AT_LENGTH, JSON, JSON_AT_LENGTH]
    async with wire(door) as gate:
        gate.writer.write(
            b"".join(request(door, tap, types[i % len(types)]) for i, tap in enumerate(taps))
            + b"GET /livez HTTP/1.1\r\nHost: gateway\r\n\r\n"
        )
        said = [await gate.answer() for _ in range(21)]
    assert [status for status, _, _ in said] == [200] * 21
    ids = [msgspec.json.decode(body).get("tap_id") for _, _, body in said]
    assert ids == [*(tap["tap_id"] for tap in taps), None]


async def test_a_request_that_comes_byte_by_byte_is_answered_as_any(door):
    wallet_id = await door.open_wallet()
    async with wire(door) as gate:
        for byte in request(door, door.tap()) + request(door, door.tap()):
            gate.writer.write(bytes([byte]))
            await gate.writer.drain()
        for _ in range(2):
            status, _, body = await gate.answer()
            assert (status, msgspec.json.decode(body)["outcome"]) == (200, "ride_charged")
    assert (await door.wallet(wallet_id))["balance_fen"] == 600


async def test_a_body_over_the_limit_is_refused_on_both_ways(open_door):
    async with open_door(body_bytes_max=1024) as door:
        before = await door.books()
        taps = [door.tap() for _ in range(10)]
        for content_type in (JSON, JSON_AT_LENGTH):
            async with wire(door) as gate:
                gate.writer.write(request(door, taps, content_type))
                status, _, body = await gate.answer()
                assert status == 413
                assert b"at most 1024 bytes" in body
        assert await door.books() == before


@pytest.mark.parametrize("start", [b"P", b"POST /v1/taps HTTP/1.1\r\nHost: gateway\r\nX: "])
async def test_headers_that_never_end_are_hung_up_on(open_door, start):
    async with open_door(request_timeout_ms=100) as door, wire(door) as gate:
        gate.writer.write(start)
        status, headers, body = await gate.answer()
        assert (status, headers["Connection"]) == (408, "close")
        assert msgspec.json.decode(body)["type"] == "urn:faregate:problem:too_slow"
        assert await gate.is_hung_up_on()


async def test_headers_that_end_in_time_are_not_hung_up_on(open_door):
    async with open_door(request_timeout_ms=200) as door, wire(door) as gate:
        whole = request(door, door.tap())
        for _ in range(3):
            gate.writer.write(whole[:30])
            await asyncio.sleep(0.1)
            gate.writer.write(whole[30:])
            assert (await gate.answer())[0] == 200
        assert (await door.send("GET", "/livez")).status == 200


@pytest.mark.parametrize(
    "start",
    [b"\x16\x03\x01\x02\x00", b"TAP /v1/taps\r\n\r\n", b"POST /v1/taps HTTP/9.9\r\n\r\n",
     b"POST /v1/taps HTTP/1.1\r\nHost gateway\r\n\r\n",
     b"POST /v1/taps HTTP/1.1\r\nHost: x\r\nContent-Length: one\r\n\r\n",
     b"POST /v1/taps HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9000 + b"\r\n\r\n"],
)  # fmt: skip
async def test_what_is_no_request_is_told_so_and_hung_up_on(door, start):
    async with wire(door) as gate:
        gate.writer.write(start)
        status, headers, body = await gate.answer()
        assert (status, headers["Content-Type"]) == (400, "application/problem+json")
        assert msgspec.json.decode(body)["type"] == "urn:faregate:problem:malformed_request"
        assert await gate.is_hung_up_on()
    assert (await door.send("GET", "/livez")).status == 200


async def test_one_gate_that_fills_the_door_leaves_room_for_others(open_door):
    async with open_door(gate_requests_in_flight_max=1) as door:
        await door.open_wallet()
        taps = [[door.tap(full_fare=1)] * 50 for _ in range(30)]
        said = await asyncio.gather(*(door.post_taps(one) for one in taps))
        refused = [one for one in said if one.status == 429]
        assert refused
        for one in refused:
            one.check_problem(429, "too_many_of_a_gate", "Nothing was taken")
            assert one.headers["Retry-After"] == "1"
        kept = (await door.books())["taps"]
        assert kept == len(said) - len(refused)
        assert (await door.post_taps(door.metro_tap("enter"))).status == 200
        assert (await door.post_taps(door.tap())).status == 200


async def test_while_too_many_are_in_flight_every_request_of_a_connection_is_refused(open_door):
    async with open_door(requests_in_flight_max=1) as door, wire(door) as gate:
        before = await door.books()
        door.api.door.is_full = lambda: True
        gate.writer.write(b"".join(request(door, door.tap()) for _ in range(10)))
        for _ in range(10):
            status, headers, _ = await gate.answer()
            assert (status, headers["Retry-After"]) == (503, "1")
        assert await door.books() == before
        door.api.door.is_full = lambda: False
        gate.writer.write(request(door, door.tap()))
        assert (await gate.answer())[0] == 200


LIVEZ = b"GET /livez HTTP/1.1\r\nHost: gateway\r\n\r\n"


async def test_only_so_many_connections_are_open(open_door):
    async with open_door(connections_count_max=2) as door:
        async with wire(door) as first, wire(door) as second:
            for gate in (first, second):
                gate.writer.write(LIVEZ)
                assert (await gate.answer())[0] == 200
            async with wire(door) as third:
                status, headers, body = await third.answer()
                assert (status, headers["Retry-After"]) == (503, "1")
                assert headers["Connection"] == "close"
                assert msgspec.json.decode(body)["detail"] == "Too many connections are open."
                assert await third.is_hung_up_on()
            first.writer.write(LIVEZ)
            assert (await first.answer())[0] == 200
        for _ in range(100):
            async with wire(door) as gate:
                gate.writer.write(LIVEZ)
                if (await gate.answer())[0] == 200:
                    break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("the place of a closed connection was not freed")


@pytest.mark.parametrize("more", [b"", LIVEZ[:20]])
async def test_who_asks_nothing_for_long_is_hung_up_on(open_door, more):
    async with open_door(idle_seconds_max=1) as door, wire(door) as gate:
        await door.open_wallet()
        for _ in range(4):  # Longer than that, all in all.
            gate.writer.write(request(door, door.tap(full_fare=1)))
            assert (await gate.answer())[0] == 200
            await asyncio.sleep(0.4)
        gate.writer.write(request(door, door.tap(full_fare=1)) + more)
        assert (await gate.answer())[0] == 200
        assert await gate.is_hung_up_on()
