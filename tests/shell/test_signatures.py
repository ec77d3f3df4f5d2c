"""Who may tap: signatures that fit and those that do not. Whoever is refused has no effect."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from gateway.shell.signatures import gate_secret, sign

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def before(door) -> dict[str, Any]:
    """The books before a request that must leave no trace, with a rider who could pay."""
    await door.open_wallet()
    return await door.books()


async def issue(door, gate_id: str = "bus-1", **wish: Any) -> tuple[str, bytes]:
    said = await door.ask("POST", "/v1/gate-keys", {"gate_ids": [gate_id], **wish})
    assert said.status == 201, said.body
    (key,) = said.message["keys"]
    return key["key_id"], bytes.fromhex(key["secret"])


async def check_not_let_in(door, said, before: dict[str, Any], text: str = "") -> None:
    said.check_problem(401, "unauthorized", text)
    assert said.headers["WWW-Authenticate"] == "Bearer, Faregate-HMAC"
    assert await door.books() == before


def test_a_signature_is_what_the_readme_says():
    """Worked out with openssl: printf 'POST\\n/v1/taps\\n1700000000\\n%s' $(sha256 of "{}")."""
    due = "462e7c6289597d4e6957e6b5c9c95566ba82f5968d7463d1021ceb8b9399d63f"
    assert sign(b"secret", "POST", "/v1/taps", "1700000000", b"{}") == due


async def test_a_replayed_signature_hears_the_same_and_debits_nothing(door):
    wallet_id = await door.open_wallet()
    body = msgspec.json.encode(door.tap())
    headers = {**door.signed(body), **JSON}
    first = await door.send("POST", "/v1/taps", body, headers)
    books = await door.books()
    again = await door.send("POST", "/v1/taps", body, headers)
    assert (again.status, again.body) == (200, first.body)
    assert again.headers["Faregate-Repeats"] == "0"
    assert await door.books() == books
    assert (await door.wallet(wallet_id))["balance_fen"] == 800


@pytest.mark.parametrize(
    "signing",
    [{"path": "/v1/taps/"}, {"path": "/v1/taps?x=1"}, {"path": "/v1/charges"}, {"method": "GET"}],
)
async def test_a_signature_over_another_request_does_not_fit(door, before, signing):
    said = await door.post_taps(door.tap(), **signing)
    await check_not_let_in(door, said, before, "The signature does not fit")


async def test_a_query_that_was_not_signed_does_not_fit(door, before):
    body = msgspec.json.encode(door.tap())
    said = await door.send("POST", "/v1/taps?x=1", body, {**door.signed(body), **JSON})
    await check_not_let_in(door, said, before, "The signature does not fit")


async def test_a_signature_over_other_bytes_does_not_fit(door, before):
    body = msgspec.json.encode(door.tap())
    headers = {**door.signed(body), **JSON}
    said = await door.send("POST", "/v1/taps", body.replace(b"200", b"100"), headers)
    await check_not_let_in(door, said, before, "The signature does not fit")


@pytest.mark.parametrize("seconds_off", [-310, 310])
async def test_an_old_or_early_timestamp_is_refused(door, before, seconds_off):
    said = await door.post_taps(door.tap(), seconds_off=seconds_off)
    await check_not_let_in(door, said, before, "set the gate's clock and sign again")
    said = await door.post_taps(door.tap(), seconds_off=seconds_off * 9 // 10)
    assert said.message["outcome"] == "ride_charged"


@pytest.mark.parametrize("timestamp", ["", "soon", "-1", "1e9", "٣", "9" * 13, "1700000000.5"])
async def test_a_timestamp_that_is_no_time_is_refused(door, before, timestamp):
    body = msgspec.json.encode(door.tap())
    headers = {**door.signed(body), **JSON, "Faregate-Timestamp": timestamp}
    said = await door.send("POST", "/v1/taps", body, headers)
    await check_not_let_in(door, said, before, "must be the time in unix seconds")


@pytest.mark.parametrize("name", ["Faregate-Key", "Faregate-Timestamp", "Faregate-Signature"])
async def test_each_header_is_needed(door, before, name):
    body = msgspec.json.encode(door.tap())
    headers = {**door.signed(body), **JSON}
    del headers[name]
    await check_not_let_in(door, await door.send("POST", "/v1/taps", body, headers), before)


async def test_a_key_that_was_never_issued_is_told_as_a_wrong_signature_is(door, before):
    """Else one could find out which keys there are."""
    unknown = ("gk_0123456789abcdef", gate_secret(bytes(range(32)), "gk_0123456789abcdef"))
    never_issued = await door.post_taps(door.tap(), key=unknown)
    wrong = await door.post_taps(door.tap(), key=(door.keys["bus-1"][0], b"wrong"))
    await check_not_let_in(door, never_issued, before)
    await check_not_let_in(door, wrong, before)
    assert never_issued.body == wrong.body


async def test_headers_and_paths_that_are_no_text_are_refused(door, before):
    """Sent by hand, since no client library would."""
    host, _, port = door.address.removeprefix("http://").partition(":")
    for path, key, signature in (
        (b"/v1/taps", b"\xff", b"00"),
        (b"/v1/taps", b"gk", b"\xff"),
        (b"/v1/taps?\xff", b"gk", b"00"),
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        timestamp = str(int(datetime.now(UTC).timestamp())).encode()
        writer.write(
            b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 2\r\nConnection: close\r\n"
            b"Faregate-Key: %s\r\nFaregate-Timestamp: %s\r\n"
            b"Faregate-Signature: %s\r\n\r\n{}" % (path, key, timestamp, signature)
        )
        answered = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert answered.split(b" ")[1] in (b"400", b"401"), answered
    assert await door.books() == before


async def test_a_gate_may_not_tap_for_another(door, before):
    said = await door.post_taps(door.tap(), gate_id="luohu-in")
    said.check_problem(403, "gate_not_signers", "signs for itself and for the gates behind it")
    assert await door.books() == before


async def test_in_an_array_only_the_taps_of_other_gates_are_refused(door):
    wallet_id = await door.open_wallet()
    taps = [door.tap(), door.metro_tap("enter"), door.tap(gate_id="nowhere")]
    said = await door.post_taps(taps, gate_id="bus-1")
    outcomes = [one["outcome"] for one in said.message]
    assert outcomes == ["ride_charged", "gate_not_signers", "gate_not_signers"]
    assert (await door.wallet(wallet_id))["balance_fen"] == 800
    assert (await door.books())["taps"] == 1


async def test_a_gate_that_is_not_there_is_nobodys(door, before):
    said = await door.post_taps(door.tap(gate_id="nowhere"), gate_id="bus-1")
    said.check_problem(403, "gate_not_signers")
    assert await door.books() == before


async def test_a_concentrator_signs_for_the_gates_behind_it_and_no_others(door):
    await door.open_wallet()
    behind = door.metro_tap("enter", gate_id="futian-in", stop_id="futian")
    beside = door.metro_tap("enter")
    said = await door.post_taps([behind, beside], gate_id="futian-station")
    assert [one["outcome"] for one in said.message] == ["leg_opened", "gate_not_signers"]


async def test_a_gate_does_not_sign_for_its_concentrator(door, before):
    key = await issue(door, "futian-in")
    tap = door.metro_tap("enter", gate_id="futian-station")
    said = await door.post_taps(tap, key=key)
    said.check_problem(403, "gate_not_signers")
    assert (await door.books())["taps"] == before["taps"]


async def test_a_revoked_key_signs_nothing(door, before):
    key_id, _ = door.keys["bus-1"]
    assert (await door.ask("DELETE", f"/v1/gate-keys/{key_id}")).status == 200
    said = await door.post_taps(door.tap())
    await check_not_let_in(door, said, {**before, "keys": before["keys"] - 1})
    (await door.ask("DELETE", f"/v1/gate-keys/{key_id}")).check_problem(404, "not_found")


async def test_an_expired_key_signs_nothing(door, before):
    now = datetime.now(UTC)
    until = (now + timedelta(minutes=5)).isoformat()
    expired = await issue(door, valid_until=until)
    await door.api.pool.execute(
        "UPDATE gate_key SET valid_until = $2 WHERE key_id = $1", expired[0], now
    )
    await door.api.pool.execute("UPDATE registry_version SET version = version + 1")
    await door.api.door.registry.refresh()
    current = await issue(door, valid_until=until)
    said = await door.post_taps(door.tap(), key=expired)
    await check_not_let_in(door, said, {**before, "keys": before["keys"] + 2})
    said = await door.post_taps(door.tap(), key=current)
    assert said.message["outcome"] == "ride_charged"


async def test_keys_rotate_without_a_gap_and_a_third_is_refused(door):
    old = door.keys["bus-1"]
    new = await issue(door)
    for key in (old, new):
        assert (await door.post_taps(door.tap(), key=key)).status == 200
    books = await door.books()
    said = await door.ask("POST", "/v1/gate-keys", {"gate_ids": ["bus-1"]})
    said.check_problem(409, "too_many_keys", "Revoke one of 'bus-1'")
    assert await door.books() == books
    await door.ask("DELETE", f"/v1/gate-keys/{old[0]}")
    assert (await door.post_taps(door.tap(), key=old)).status == 401
    assert (await door.post_taps(door.tap(), key=new)).status == 200
    assert (await door.post_taps(door.tap(), key=await issue(door))).status == 200


async def test_a_key_for_a_gate_that_is_not_there_is_not_issued(door, before):
    said = await door.ask("POST", "/v1/gate-keys", {"gate_ids": ["bus-1", "nowhere"]})
    said.check_problem(422, "unknown_gate", "'nowhere' is not known")
    assert await door.books() == before


async def test_a_key_that_has_expired_is_not_issued_and_replaces_none(door):
    await door.open_wallet()
    wish = {"gate_ids": ["bus-1"], "replace": True, "valid_until": "2020-01-01T00:00:00Z"}
    said = await door.ask("POST", "/v1/gate-keys", wish)
    said.check_problem(422, "already_expired", "later than now")
    assert (await door.post_taps(door.tap())).status == 200


async def test_a_key_may_not_expire_at_the_end_of_the_calendar(door, before):
    wish = {"gate_ids": ["bus-1"], "valid_until": "9999-12-31T23:59:59-14:00"}
    said = await door.ask("POST", "/v1/gate-keys", wish)
    said.check_problem(422, "invalid_message", "valid_until")
    assert await door.books() == before


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer fg_wrong", "Basic YTpi", "bearer \xff", "Bearer fg_ü"],
)
async def test_a_token_that_is_not_known_opens_nothing(door, before, authorization):
    headers = {**JSON, "Authorization": authorization}
    said = await door.send("POST", "/v1/wallets", b"[]", headers)
    await check_not_let_in(door, said, before)


async def test_neither_tokens_nor_secrets_lie_in_the_database(door):
    token = door.tokens["admin"]
    rows = await door.api.pool.fetch("SELECT credential::text FROM credential")
    assert len(rows) == len(door.tokens)
    assert not any(token in text or token.encode().hex() in text for (text,) in rows)
    rows = await door.api.pool.fetch("SELECT gate_key::text FROM gate_key")
    secret = door.keys["bus-1"][1].hex()
    assert rows
    assert not any(secret in text for (text,) in rows)
