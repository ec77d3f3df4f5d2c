"""Bad bodies at the door: a clear refusal, and nothing is stored or debited."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from fare_rules.taps import YEAR_MAX, YEAR_MIN
from gateway.core.delivery import Host, SecretName
from gateway.core.envelopes import Sha256

JSON = "application/json"
MESSAGE_PACK = "application/msgpack"
KIB = 1024
LATE = datetime.now(UTC) - timedelta(hours=24)


def text_of(tap: dict[str, Any], **raw: str) -> bytes:
    """A tap in JSON, with some values written out by hand."""
    fields = {name: json.dumps(value) for name, value in tap.items()} | raw
    return b"{%s}" % ",".join(f'"{name}":{value}' for name, value in fields.items()).encode()


def twice(tap: dict[str, Any], name: str, value: str) -> bytes:
    """A tap in JSON that says one field twice."""
    return text_of(tap)[:-1] + f',"{name}":{value}}}'.encode()


async def check_no_effect(door, before: dict[str, Any]) -> None:
    assert await door.books() == before


@pytest.fixture
async def before(door) -> dict[str, Any]:
    """The books before a request that must leave no trace, with a rider who could pay."""
    await door.open_wallet()
    return await door.books()


async def test_an_empty_body_is_no_tap(door, before):
    (await door.post_bytes(b"")).check_problem(400, "undecodable_body", "Nothing was done")
    (await door.post_bytes(b"", MESSAGE_PACK)).check_problem(400, "undecodable_body")
    (await door.post_bytes(b" \n")).check_problem(400, "undecodable_body")
    await check_no_effect(door, before)


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data"])
async def test_a_body_of_another_content_type_is_not_read(door, before, content_type):
    body = text_of(door.tap())
    said = await door.post_bytes(body, content_type)
    said.check_problem(415, "unsupported_media_type", "Send Content-Type application/json")
    await check_no_effect(door, before)


async def test_a_mebibyte_is_read_and_a_byte_more_is_not(door, before):
    tap = text_of(door.tap())
    said = await door.post_bytes(tap + b" " * (KIB * KIB + 1 - len(tap)))
    said.check_problem(413, "body_too_large", "at most 1048576 bytes")
    await check_no_effect(door, before)
    said = await door.post_bytes(tap + b" " * (KIB * KIB - len(tap)))
    assert (said.status, said.message["outcome"]) == (200, "ride_charged")


@pytest.mark.parametrize("packed", [False, True])
async def test_a_thousand_taps_are_read_and_one_more_is_not(door, before, packed):
    taps = [door.tap(media_token=f"nobody-{i}") for i in range(1001)]
    said = await door.post_taps(taps, packed=packed)
    said.check_problem(422, "too_many_taps", "1001 taps were sent; send at most 1000")
    await check_no_effect(door, before)
    said = await door.post_taps(taps[:1000], packed=packed)
    assert [one["tap_id"] for one in said.message] == [tap["tap_id"] for tap in taps[:1000]]


async def test_an_array_too_long_is_refused_even_when_its_taps_are_malformed(door, before):
    said = await door.post_bytes(b"[%s]" % b",".join([b"{}"] * 1001))
    said.check_problem(422, "too_many_taps")
    await check_no_effect(door, before)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"[" * 100_000, JSON),
        (b'{"tap_id":' * 50_000, JSON),
        (b'{"unknown":' + b"[" * 100_000 + b"]" * 100_000 + b"}", JSON),
        (b"\x91" * 100_000, MESSAGE_PACK),
        (b"\x81\xa1a" * 50_000, MESSAGE_PACK),
    ],
    ids=["arrays", "objects", "arrays in an unknown field", "packed arrays", "packed maps"],
)
async def test_deep_nesting_is_refused(door, before, body, content_type):
    said = await door.post_bytes(body, content_type)
    assert said.status in (400, 422)
    said.check_problem(said.status, "undecodable_body" if said.status == 400 else "invalid_message")
    await check_no_effect(door, before)


async def test_a_deeply_nested_wallet_is_refused(door, before):
    for body in (b"[" * 100_000, b'[{"media":' + b"[" * 100_000):
        said = await door.ask("POST", "/v1/wallets", body)
        assert said.status in (400, 422), said
    await check_no_effect(door, before)


@pytest.mark.parametrize(
    ("name", "value"),
    [("full_fare", "1"), ("full_fare", "200"), ("sequence", "99"), ("media_token", '"card-1"')],
)
async def test_a_tap_that_says_a_field_twice_is_refused(door, before, name, value):
    said = await door.post_bytes(twice(door.tap(), name, value))
    said.check_problem(422, "invalid_message", f"`{name}` twice")
    await check_no_effect(door, before)


async def test_a_field_said_twice_is_found_behind_an_escape(door, before):
    said = await door.post_bytes(twice(door.tap(), r"full\u005ffare", "1"))
    said.check_problem(422, "invalid_message", "`full_fare` twice")
    await check_no_effect(door, before)


async def test_in_an_array_only_the_tap_that_says_a_field_twice_is_refused(door, before):
    """Its neighbour leaves the field out, so that the count of names alone tells nothing."""
    bad, good = door.tap(), door.tap(full_fare=None, media_token="nobody")
    body = b"[%s,%s]" % (twice(bad, "full_fare", "1"), text_of(good))
    said = await door.post_bytes(body)
    outcomes = [(one["tap_id"], one["outcome"]) for one in said.message]
    assert outcomes == [(bad["tap_id"], "malformed"), (good["tap_id"], "unknown_media")]
    assert "`full_fare` twice" in said.message[0]["fault"]
    after = await door.books()
    assert after == {**before, "taps": before["taps"] + 1}


async def test_an_array_that_writes_defaults_out_is_read_all_the_same(door, before):
    taps = [door.tap(offline=False, carriage_class="ordinary"), door.tap(full_fare=300)]
    said = await door.post_taps(taps)
    assert [one["outcome"] for one in said.message] == ["ride_charged", "ride_charged"]


@pytest.mark.parametrize("in_array", [False, True])
async def test_a_packed_tap_that_says_a_field_twice_is_refused(door, before, in_array):
    tap = door.tap()
    packed = msgspec.msgpack.encode(tap)
    assert 0x80 <= packed[0] <= 0x8E
    body = bytes([packed[0] + 1]) + packed[1:] + msgspec.msgpack.encode("full_fare") + b"\x01"
    said = await door.post_bytes(b"\x91" + body if in_array else body, MESSAGE_PACK)
    if in_array:
        assert [one["outcome"] for one in said.message] == ["malformed"]
        assert "twice" in said.message[0]["fault"]
    else:
        said.check_problem(422, "invalid_message", "twice")
    await check_no_effect(door, before)


@pytest.mark.parametrize("head", [b"\xde\x00", b"\xdf\x00\x00\x00"], ids=["map 16", "map 32"])
async def test_a_packed_tap_may_write_its_size_at_length(door, before, head):
    packed = msgspec.msgpack.encode(door.tap())
    said = await door.post_bytes(head + bytes([packed[0] & 0x0F]) + packed[1:], MESSAGE_PACK)
    assert said.message["outcome"] == "ride_charged"


async def test_a_top_up_that_says_its_amount_twice_pays_nothing(door):
    wallet_id = await door.open_wallet()
    before = await door.books()
    path = f"/v1/wallets/{wallet_id}/top-ups"
    body = b'{"top_up_id":"%s","amount_fen":100,"amount_fen":9900}' % str(uuid4()).encode()
    said = await door.ask("POST", path, body)
    said.check_problem(422, "invalid_message", "`amount_fen` twice")
    packed = msgspec.msgpack.encode({"top_up_id": str(uuid4()), "amount_fen": 100})
    packed = b"\x83" + packed[1:] + msgspec.msgpack.encode("amount_fen") + b"\x01"
    said = await door.ask("POST", path, packed, packed=True)
    said.check_problem(422, "invalid_message", "twice")
    await check_no_effect(door, before)


@pytest.mark.parametrize(
    "money",
    ["NaN", "Infinity", "-1", "1.5", "2.0", "1e2", '"200"', "true", "9223372036854775808",
     "10000001", "1e999", "[200]", "00200"],
)  # fmt: skip
async def test_a_fare_that_is_no_whole_amount_of_money_is_refused(door, before, money):
    said = await door.post_bytes(text_of(door.tap(), full_fare=money))
    assert said.status in (400, 422), said
    said.check_problem(said.status, "undecodable_body" if said.status == 400 else "invalid_message")
    said = await door.post_bytes(b"[%s]" % text_of(door.tap(), full_fare=money))
    if said.status == 200:
        assert [one["outcome"] for one in said.message] == ["malformed"]
        assert "full_fare" in said.message[0]["fault"]
    else:
        said.check_problem(400, "undecodable_body")
    await check_no_effect(door, before)


async def test_a_fare_of_nothing_is_a_fare(door):
    wallet_id = await door.open_wallet()
    said = await door.post_taps(door.tap(full_fare=0))
    assert (said.message["outcome"], said.message["fare_fen"]) == ("ride_charged", 0)
    assert (await door.wallet(wallet_id))["balance_fen"] == 1000


@pytest.mark.parametrize("sequence", ["9223372036854775808", "-1", "1.5", "true", '"1"'])
async def test_a_sequence_that_is_no_count_is_refused(door, before, sequence):
    said = await door.post_bytes(text_of(door.tap(), sequence=sequence))
    said.check_problem(422, "invalid_message", "$.sequence")
    assert said.message["field"] == "$.sequence"
    await check_no_effect(door, before)


async def test_the_greatest_sequence_is_taken(door, before):
    said = await door.post_taps(door.tap(sequence=2**63 - 1))
    assert said.message["outcome"] == "ride_charged"


async def test_a_field_that_no_tap_has_is_refused(door, before):
    said = await door.post_taps(door.tap(fare=200))
    said.check_problem(422, "invalid_message", "unknown field `fare`")
    await check_no_effect(door, before)


@pytest.mark.parametrize(
    "name", ["tap_id", "gate_id", "sequence", "tapped_at", "media_token", "action"]
)
async def test_a_tap_that_lacks_a_field_is_refused(door, before, name):
    tap = door.tap(**{name: None})
    said = await door.post_taps(tap, gate_id="bus-1")
    said.check_problem(422, "invalid_message", f"missing required field `{name}`")
    said = await door.post_taps([tap], gate_id="bus-1")
    assert said.message[0]["outcome"] == "malformed"
    assert said.message[0]["tap_id"] == tap.get("tap_id")
    await check_no_effect(door, before)


@pytest.mark.parametrize(
    "tapped_at",
    ["2026-01-01T08:00:00", "2026-02-30T08:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01", "now", "",
     "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00",
     "2026-01-01T08:00:00+99:00", "10000-01-01T00:00:00Z"],
)  # fmt: skip
async def test_a_time_without_offset_or_off_the_calendar_is_refused(door, before, tapped_at):
    bad, good = door.tap(tapped_at=tapped_at), door.tap()
    said = await door.post_taps(bad)
    said.check_problem(422, "invalid_message", "$.tapped_at")
    await check_no_effect(door, before)
    said = await door.post_taps([bad, good])
    assert [one["outcome"] for one in said.message] == ["malformed", "ride_charged"]


@pytest.mark.parametrize(
    ("tapped_at", "outcome", "fen"),
    [
        (LATE + timedelta(hours=48), "clock_ahead", 0),
        (datetime(YEAR_MAX, 12, 31, tzinfo=UTC), "clock_ahead", 0),
        (LATE, "ride_charged", 200),
        (LATE - timedelta(days=35), "too_old", 0),
        (datetime(YEAR_MIN, 1, 1, tzinfo=UTC), "too_old", 0),
    ],
    ids=["a day ahead", "far ahead", "a day behind", "older than the setting", "ancient"],
)
async def test_a_gates_clock_may_lag_but_not_lead(door, tapped_at, outcome, fen):
    wallet_id = await door.open_wallet()
    tap = door.tap(tapped_at=tapped_at.isoformat())
    said = await door.post_taps(tap)
    assert (said.status, said.message["outcome"]) == (200, outcome)
    assert (await door.wallet(wallet_id))["balance_fen"] == 1000 - fen
    again = await door.post_taps(tap)
    assert again.body == said.body, "the refusal, too, is kept"


@pytest.mark.parametrize("name", ["gate_id", "media_token", "stop_id", "vehicle_id"])
@pytest.mark.parametrize(
    "text",
    [
        r'"\ud800"',
        r'"a\udfffb"',
        r'"a\u0000b"',
        r'"a\r\nb"',
        r'"\u001f"',
        '""',
        '"%s"' % ("x" * 65),
    ],
    ids=["surrogate", "low surrogate", "NUL", "CR LF", "separator", "empty", "65 characters"],
)
async def test_an_id_with_what_no_id_holds_is_refused(door, before, name, text):
    said = await door.post_bytes(text_of(door.tap(), **{name: text}))
    assert said.status in (400, 422), said
    said.check_problem(said.status, "undecodable_body" if said.status == 400 else "invalid_message")
    await check_no_effect(door, before)


@pytest.mark.parametrize("name", ["gate_id", "media_token", "stop_id"])
async def test_an_id_that_ends_in_a_line_break_is_refused(door, before, name):
    said = await door.post_taps(door.tap(**{name: "luohu\n"}), gate_id="bus-1")
    said.check_problem(422, "invalid_message", f"$.{name}")
    await check_no_effect(door, before)


async def test_bytes_that_are_no_text_are_refused(door, before):
    tap = text_of(door.tap())
    for wrong in (b"\xff", b"\xed\xa0\x80", b"\xc0\xaf"):
        said = await door.post_bytes(tap.replace(b"card-1", wrong))
        said.check_problem(400, "undecodable_body")
    packed = msgspec.msgpack.encode(door.tap()).replace(b"card-1", b"card-\xff")
    said = await door.post_bytes(packed, MESSAGE_PACK)
    said.check_problem(400, "undecodable_body")
    await check_no_effect(door, before)


@pytest.mark.parametrize("content_type", [JSON, MESSAGE_PACK])
async def test_in_an_array_only_the_tap_with_bytes_that_are_no_text_is_refused(door, content_type):
    await door.open_wallet()
    encode = msgspec.json.encode if content_type == JSON else msgspec.msgpack.encode
    bad, good = encode(door.tap()).replace(b"card-1", b"card-\xff"), encode(door.tap())
    body = b"[%s,%s]" % (bad, good) if content_type == JSON else b"\x92" + bad + good
    said = await door.post_bytes(body, content_type)
    assert said.status == 200, said
    assert [one["outcome"] for one in said.message] == ["malformed", "ride_charged"]


async def test_sql_in_an_id_is_only_an_id(door):
    token = "'; DROP TABLE tap; --"
    wallet_id = await door.open_wallet(token)
    said = await door.post_taps(door.tap(media_token=token, vehicle_id="1' OR '1'='1"))
    assert said.message["outcome"] == "ride_charged"
    assert (await door.wallet(wallet_id))["balance_fen"] == 800
    assert (await door.books())["taps"] == 1


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"stop_id": "nowhere"}, "unknown_stop"),
        ({"route_id": "M0"}, "unknown_route"),
        ({"media_token": "nobody"}, "unknown_media"),
        ({"action": "enter"}, "wrong_action"),
    ],
)
async def test_a_tap_that_names_what_is_not_there_is_kept_as_a_refusal(
    door, before, changes, outcome
):
    said = await door.post_taps(door.tap(**changes))
    assert (said.status, said.message["outcome"], said.message["open"]) == (200, outcome, False)
    assert await door.books() == {**before, "taps": 1}


async def test_a_gate_with_an_operator_that_is_not_there_is_not_registered(door, before):
    gate = {"gate_id": "new", "operator_id": "nobody", "network": "bus"}
    said = await door.ask("POST", "/v1/registry", {"gates": [gate]})
    said.check_problem(422, "unknown_operator", "'nobody' is not known; register it first")
    await check_no_effect(door, before)


async def test_no_gate_is_named_as_the_desk_that_puts_rides_in(door, before):
    gate = {"gate_id": "desk", "operator_id": "metro", "network": "metro"}
    said = await door.ask("POST", "/v1/registry", {"gates": [gate]})
    said.check_problem(422, "gate_id_taken", "choose another id")
    await check_no_effect(door, before)


async def test_concentrators_behind_each_other_are_not_registered(door, before):
    gate = {"operator_id": "metro", "network": "metro"}
    ring = [
        {**gate, "gate_id": "a", "concentrator_id": "b"},
        {**gate, "gate_id": "b", "concentrator_id": "a"},
    ]
    said = await door.ask("POST", "/v1/registry", {"gates": ring})
    said.check_problem(422, "unknown_concentrator", "Nothing was done")
    await check_no_effect(door, before)


@pytest.mark.parametrize("token", ["4111111111111111", "4111 1111 1111 1111", "x4111111111111111"])
async def test_a_card_number_is_refused_and_kept_nowhere(door, before, token, capfd, caplog):
    said = await door.post_taps(door.tap(media_token=token))
    said.check_problem(422, "card_number", "send an opaque token")
    said = await door.post_taps([door.tap(media_token=token), door.tap()])
    assert [one["outcome"] for one in said.message] == ["card_number", "ride_charged"]
    opened = {"wallet_id": str(uuid4()), "media": [{"media_token": token}]}
    (await door.ask("POST", "/v1/wallets", [opened])).check_problem(422, "card_number")
    metrics = await door.ask("GET", "/metrics")
    written = capfd.readouterr()
    for text in (said.body.decode(), metrics.body.decode(), written.out, written.err, caplog.text):
        assert token not in text
    assert not await tables_that_hold(door, token)
    assert await tables_that_hold(door, "card-1") == ["media", "tap", "wallet"], (
        "the search does find"
    )


async def tables_that_hold(door, text: str) -> list[str]:
    """The tables with a row that holds the text, in a text or in packed bytes."""
    names = await door.api.pool.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY 1"
    )
    found = []
    for (name,) in names:
        row = await door.api.pool.fetchval(
            f"SELECT 1 FROM {name} AS one "
            "WHERE strpos(one::text, $1) > 0 OR strpos(one::text, $2) > 0 LIMIT 1",
            text,
            text.encode().hex(),
        )
        if row:
            found.append(name)
    return found


FIRST, LAST = "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"
QUOTE = {"network": "bus", "route_id": "M486", "full_fare": 200}
HOLD = {"hold_id": str(uuid4()), "operator_id": "buses"}
KEY = {"gate_ids": ["bus-1"]}
CORRECTION = {"correction_id": str(uuid4()), "kind": "missing_ride", "reason": "gate_fault",
              "media_token": "card-1", "gate_id": "bus-1", "route_id": "M486"}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "message", "name", "value"),
    [
        ("/v1/quotes", QUOTE, "at", FIRST),
        ("/v1/quotes", QUOTE, "at", LAST),
        ("/v1/corrections", CORRECTION, "since", FIRST),
        ("/v1/corrections", CORRECTION, "since", LAST),
        ("/v1/gate-keys", KEY, "valid_until", FIRST),
        ("/v1/payout-holds", HOLD, "reason", "a\0b"),
    ],
)
async def test_what_nobody_can_compute_with_or_keep_is_refused(door, path, message, name, value):
    wallet_id = await door.open_wallet()
    before = await door.books()
    whose = {"wallet_id": wallet_id} if path == "/v1/corrections" else {}
    said = await door.ask("POST", path, {**message, **whose, name: value})
    said.check_problem(422, "invalid_message", f"$.{name}")
    assert said.message["field"] == f"$.{name}"
    await check_no_effect(door, before)


async def test_a_name_that_no_tap_could_say_is_not_registered(door):
    wallet_id, long = await door.open_wallet(), "x" * 65
    before = await door.books()
    for path, message, place in [
        ("/v1/registry", {"stops": [{"stop_id": long}]}, "$.stops[0].stop_id"),
        (f"/v1/wallets/{wallet_id}/media", {"media_token": long}, "$.media_token"),
        (
            "/v1/wallets",
            [{"wallet_id": str(uuid4()), "media": [{"media_token": long}]}],
            "$[0].media[0].media_token",
        ),
    ]:
        said = await door.ask("POST", path, message)
        said.check_problem(422, "invalid_message", f"at most 64 characters - at `{place}`")
    await check_no_effect(door, before)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/envelope-campaigns/%00"),
        ("GET", "/v1/envelope-campaigns/a%00b/list"),
        ("GET", "/v1/campaigns/a/%00"),
        ("POST", "/v1/purse-rules/%00/returns"),
    ],
)
async def test_a_path_with_a_nul_character_leads_nowhere(door, method, path):
    said = await door.ask(method, path, {} if method == "POST" else None)
    said.check_problem(404, "not_found", "NUL")


@pytest.mark.parametrize(
    ("kind", "text"), [(Sha256, "a" * 64), (Host, "sftp.example.org"), (SecretName, "bus-key")]
)
def test_what_is_compared_or_opened_ends_in_no_line_break(kind, text):
    assert msgspec.convert(text, kind) == text
    with pytest.raises(msgspec.ValidationError, match="matching regex"):
        msgspec.convert(text + "\n", kind)


@pytest.mark.parametrize("indent", [None, 2])
async def test_half_a_character_spoils_its_own_tap_and_no_other(door, indent):
    good, bad = door.tap(), door.tap(media_token="half \ud83d", stop_id="[luohu], {}")
    body = f" {json.dumps([good, bad, good], indent=indent)}\n"
    said = await door.post_bytes(body.encode())
    assert said.status == 200, said.body
    assert [(one["tap_id"], one["outcome"]) for one in said.message] == [
        (good["tap_id"], "unknown_media"),
        (bad["tap_id"], "malformed"),
        (good["tap_id"], "unknown_media"),
    ]


@pytest.mark.parametrize("body", ['["\\ud800",]', '["\\ud800"', '["\\ud800"] x', '["\\ud800" {}]'])
async def test_half_a_character_in_what_is_no_array_is_refused(door, body):
    (await door.post_bytes(body.encode())).check_problem(
        400, "undecodable_body", "Nothing was done"
    )
