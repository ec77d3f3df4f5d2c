"""The HTTP door: one answer for one tap, what is too much, and how it says so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest


@pytest.mark.parametrize("packed", [False, True], ids=["JSON", "MessagePack"])
async def test_the_same_tap_hears_the_same_bytes_and_is_debited_once(door, packed):
    wallet_id = await door.open_wallet()
    tap = door.tap()
    first = await door.post_taps(tap, packed=packed)
    again = await door.post_taps(tap, packed=packed)
    assert (first.status, again.status, again.body) == (200, 200, first.body)
    assert "Faregate-Repeats" not in first.headers
    assert again.headers["Faregate-Repeats"] == "0"
    other_form = await door.post_taps(tap, packed=not packed)
    assert other_form.message == first.message
    assert (await door.wallet(wallet_id))["balance_fen"] == 800


@pytest.mark.parametrize("packed", [False, True], ids=["JSON", "MessagePack"])
async def test_the_same_array_hears_the_same_bytes_and_is_debited_once(door, packed):
    wallet_id = await door.open_wallet()
    taps = [door.tap(), door.tap(media_token="nobody"), door.tap()]
    first = await door.post_taps(taps, packed=packed)
    again = await door.post_taps(taps, packed=packed)
    assert (first.status, again.status, again.body) == (200, 200, first.body)
    outcomes = [one["outcome"] for one in first.message]
    assert outcomes == ["ride_charged", "unknown_media", "ride_charged"]
    assert again.headers["Faregate-Repeats"] == "0-2"
    assert (await door.wallet(wallet_id))["balance_fen"] == 600


async def test_the_same_moment_under_another_offset_is_the_same_tap(door):
    await door.open_wallet()
    tap = door.tap(tapped_at="2026-01-01T08:00:00+08:00")
    first = await door.post_taps(tap)
    again = await door.post_taps({**tap, "tapped_at": "2026-01-01T00:00:00Z"})
    assert (again.status, again.body) == (first.status, first.body)


@pytest.mark.parametrize(
    ("name", "value"),
    [("full_fare", 300), ("media_token", "card-2"), ("sequence", 77), ("offline", True),
     ("tapped_at", "2026-01-01T00:00:00Z"), ("vehicle_id", "B1"), ("riders_count", 2)],
)  # fmt: skip
async def test_one_tap_id_with_other_content_is_refused_and_the_field_named(door, name, value):
    await door.open_wallet()
    tap = door.tap()
    first = await door.post_taps(tap)
    books = await door.books()
    said = await door.post_taps({**tap, name: value})
    said.check_problem(409, "tap_id_reused", f"The field '{name}' differs")
    assert said.message["field"] == name
    said = await door.post_taps([{**tap, name: value}, tap])
    assert [one["outcome"] for one in said.message] == ["tap_id_reused", "ride_charged"]
    assert (said.message[0]["fault"], said.message[1]) == (name, first.message)
    assert await door.books() == books


async def test_a_tap_that_stands_twice_in_one_request_is_debited_once(door):
    wallet_id = await door.open_wallet()
    tap = door.tap()
    said = await door.post_taps([tap, tap])
    assert said.message[0] == said.message[1]
    assert said.headers["Faregate-Repeats"] == "1"
    assert (await door.wallet(wallet_id))["balance_fen"] == 800
    assert (await door.books())["taps"] == 1


async def test_a_sequence_under_another_tap_id_is_refused_and_the_refusal_kept(door):
    wallet_id = await door.open_wallet()
    first = door.tap()
    second = {**first, "tap_id": str(uuid4())}
    await door.post_taps(first)
    said = await door.post_taps(second)
    assert (said.status, said.message["outcome"]) == (200, "sequence_reused")
    assert (await door.post_taps(second)).body == said.body
    assert (await door.wallet(wallet_id))["balance_fen"] == 800
    assert (await door.books())["taps"] == 2


async def test_a_refusal_stays_when_its_reason_is_gone(door):
    tap = door.tap()
    refused = await door.post_taps(tap)
    assert refused.message["outcome"] == "unknown_media"
    wallet_id = await door.open_wallet()
    again = await door.post_taps(tap)
    assert (again.status, again.body) == (200, refused.body)
    assert (await door.wallet(wallet_id))["balance_fen"] == 1000
    assert (await door.post_taps(door.tap())).message["outcome"] == "ride_charged"


async def test_a_gate_that_lost_the_answer_asks_for_it(door):
    await door.open_wallet()
    tap, never_sent = door.tap(), str(uuid4())
    first = await door.post_taps(tap)

    async def ask(tap_id: str, gate_id: str):
        path = f"/v1/taps/{tap_id}"
        headers = door.signed(b"", method="GET", path=path, gate_id=gate_id)
        return await door.send("GET", path, b"", headers)

    said = await ask(tap["tap_id"], "bus-1")
    assert (said.status, said.body) == (200, first.body)
    (await ask(never_sent, "bus-1")).check_problem(404, "not_found", "send it again")
    await door.api.pool.execute(
        """SET ROLE NONE;
        INSERT INTO log_day (service_day, archived_at, unlinked_at, manifest_sha256)
        VALUES ('2020-01-01', now(), NULL, ''), ('2019-01-01', now(), now(), '');
        SET ROLE faregate_gateway"""
    )
    said = await ask(never_sent, "bus-1")
    said.check_problem(404, "not_found", "on 2020-01-01 or before")
    said.check_problem(404, "not_found", "Of 2019-01-01 and before, nobody can tell any more")
    (await ask(tap["tap_id"], "luohu-in")).check_problem(404, "not_found")
    (await ask("one", "bus-1")).check_problem(422, "invalid_id", "must be a UUID")


async def test_two_gateways_given_the_same_taps_at_once_debit_them_once(open_door):
    async with open_door() as one, open_door() as other:
        wallet_id = await one.open_wallet()
        taps = [one.tap(full_fare=10) for _ in range(20)]
        said = await asyncio.gather(*(door.post_taps(taps) for door in (one, other) * 4))
        assert len({answer.body for answer in said}) == 1
        assert [answer["outcome"] for answer in said[0].message] == ["ride_charged"] * 20
        assert (await one.wallet(wallet_id))["balance_fen"] == 800


# What is too much.


async def test_a_full_queue_takes_nothing_and_says_when_to_come_again(open_door):
    async with open_door(queue_taps_max=1) as door:
        wallet_id = await door.open_wallet()
        before = await door.books()
        taps = [door.tap(), door.tap()]
        said = await door.post_taps(taps)
        said.check_problem(503, "busy", "Nothing was taken")
        assert said.headers["Retry-After"] == "1"
        assert await door.books() == before
        for tap in taps:
            assert (await door.post_taps(tap)).status == 200
        assert (await door.wallet(wallet_id))["balance_fen"] == 600


@contextlib.asynccontextmanager
async def half_sent(
    door, tap: dict[str, Any]
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which a signed tap has come half way."""
    body = msgspec.json.encode(tap)
    host, _, port = door.address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    headers = {
        "Host": host,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **door.signed(body),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"POST /v1/taps HTTP/1.1\r\n{head}\r\n".encode() + body[:20])
    await writer.drain()
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_too_many_requests_at_once_are_refused_at_once(open_door):
    async with open_door(requests_in_flight_max=1) as door:
        before = await door.books()
        async with half_sent(door, door.tap()):
            said = await door.post_taps(door.tap())
            while said.status == 200:  # The half request may not have got there yet.
                before = await door.books()
                said = await door.post_taps(door.tap())
            said.check_problem(503, "busy", "Too many requests")
            assert said.headers["Retry-After"] == "1"
            (await door.send("GET", "/readyz")).check_problem(503, "busy", "Too many requests")
            assert (await door.send("GET", "/livez")).status == 200
            assert (await door.ask("GET", "/metrics")).status == 200
        for _ in range(100):
            if (await door.send("GET", "/readyz")).status == 200:
                break
            await asyncio.sleep(0.02)
        assert await door.books() == before
        assert (await door.post_taps(door.tap())).status == 200


async def test_a_slow_client_is_hung_up_on_and_nothing_is_taken(open_door):
    async with open_door(request_timeout_ms=100) as door:
        await door.open_wallet()
        before = await door.books()
        async with half_sent(door, door.tap()) as (reader, _):
            said = await asyncio.wait_for(reader.readuntil(b"}"), 5)
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b"application/problem+json" in said
        assert b"within 100 ms. Nothing was done." in said
        assert await door.books() == before


async def test_a_client_that_hangs_up_half_way_has_no_effect(door):
    await door.open_wallet()
    before = await door.books()
    async with half_sent(door, door.tap()) as (reader, writer):
        writer.write_eof()
        said = await asyncio.wait_for(reader.read(), 5)
    assert b"HTTP/1.1 200" not in said
    assert await door.books() == before
    assert (await door.post_taps(door.tap())).message["outcome"] == "ride_charged"


async def test_too_many_headers_are_refused(door):
    before = await door.books()
    body = msgspec.json.encode(door.tap())
    many = {f"X-{i}": "x" for i in range(65)}
    said = await door.send(
        "POST", "/v1/taps", body, {**door.signed(body), **many, "Content-Type": "application/json"}
    )
    said.check_problem(431, "too_many_headers", "at most 64")
    assert await door.books() == before


async def test_what_is_not_there_and_what_cannot_be_done_are_told(door):
    (await door.send("GET", "/v2/taps")).check_problem(404, "not_found", "See /docs")
    said = await door.send("PUT", "/v1/taps", b"{}")
    said.check_problem(405, "method_not_allowed")
    assert said.headers["Allow"] == "GET,POST"


# The service itself.


async def test_it_is_live_and_ready_and_says_what_runs(door):
    assert (await door.send("GET", "/livez")).message == {"status": "live"}
    assert (await door.send("GET", "/readyz")).message == {"status": "ready"}
    said = await door.send("GET", "/version")
    assert said.message == {"version": "0.1.0", "tariff_digest": door.api.book.digest}
    assert said.headers["X-Content-Type-Options"] == "nosniff"


async def test_while_it_drains_it_is_live_but_not_ready_and_takes_no_taps(door):
    wallet_id = await door.open_wallet()
    tap = door.tap()
    door.api.door.is_draining = True
    said = await door.send("GET", "/readyz")
    said.check_problem(503, "busy", "stopping")
    assert (said.headers["Retry-After"], said.headers["Connection"]) == ("1", "close")
    (await door.post_taps(tap)).check_problem(503, "busy", "another one answers")
    assert (await door.send("GET", "/livez")).status == 200
    assert (await door.wallet(wallet_id))["balance_fen"] == 1000
    assert (await door.books())["taps"] == 0


async def test_taps_in_flight_are_answered_when_it_stops(open_door):
    async with open_door() as door:
        wallet_id = await door.open_wallet()
        flying = asyncio.create_task(door.post_taps([door.tap(full_fare=1) for _ in range(50)]))  # noqa: RUF006
        await asyncio.sleep(0.03)
        door.api.door.is_draining = True
        said = await flying
    async with open_door() as door:
        fen = (await door.wallet(wallet_id))["balance_fen"]
        taps = (await door.books())["taps"]
    assert (said.status, fen, taps) in ((200, 950, 50), (503, 1000, 0))


async def test_without_its_database_it_is_not_ready(door):
    await door.api.pool.close()
    (await door.send("GET", "/readyz")).check_problem(503, "busy", "database")
    assert (await door.send("GET", "/livez")).status == 200


async def test_while_nobody_gets_at_its_database_it_says_that_it_is_not_ready(door):
    pool = door.api.pool
    async with contextlib.AsyncExitStack() as held:
        for _ in range(pool.get_max_size()):
            await held.enter_async_context(pool.acquire())
        (await door.send("GET", "/readyz")).check_problem(503, "busy", "database")
    assert (await door.send("GET", "/readyz")).status == 200


async def test_metrics_count_taps_by_outcome_and_name_no_rider(door):
    await door.open_wallet("rider-of-the-metrics")
    await door.post_taps(door.tap(media_token="rider-of-the-metrics"))
    said = await door.ask("GET", "/metrics", who="auditor")
    assert said.status == 200
    assert b'faregate_taps_total{outcome="ride_charged"}' in said.body
    assert b"rider-of-the-metrics" not in said.body
    (await door.send("GET", "/metrics")).check_problem(401, "unauthorized")


async def test_metrics_may_be_made_public(open_door):
    async with open_door(metrics_public=True) as door:
        assert (await door.send("GET", "/metrics")).status == 200
        (await door.send("GET", "/v1/tariffs")).check_problem(401, "unauthorized")


async def test_the_documentation_is_served_and_nothing_beside_it(door):
    said = await door.send("GET", "/docs")
    assert said.status == 200
    assert said.headers["Content-Type"].startswith("text/html")
    for name in ("..%2Fweb.py", "%2e%2e", "nothing.js", "%00", "x" * 300):
        (await door.send("GET", f"/docs/{name}")).check_problem(404, "not_found")


@pytest.mark.parametrize("asked_id", ["abc-1", "x" * 65, "a\tb", ""])
async def test_a_request_keeps_its_id_if_that_is_fit_to_be_logged(door, asked_id):
    said = await door.send("GET", "/livez", b"", {"X-Request-Id": asked_id})
    is_kept = said.headers["X-Request-Id"] == asked_id
    assert is_kept == (asked_id == "abc-1")
    assert said.headers["X-Request-Id"]
