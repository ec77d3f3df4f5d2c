"""A field said twice is always found: the quick look agrees with reading every key one by one."""

import json
from typing import Any
from uuid import UUID

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.shell.messages import JSON, MESSAGE_PACK, read_taps
from gateway.shell.problems import Problem

REQUIRED: dict[str, Any] = {
    "tap_id": str(UUID(int=1)),
    "gate_id": "bus-1",
    "sequence": 1,
    "tapped_at": "2026-01-01T08:00:00+08:00",
    "media_token": "card-1",
    "action": "board",
}
NAMES = st.sampled_from(['a"b', "a\\b", "罗湖", '":"', "a,b", "x"])
# Defaults are among the values: written out or not, they decode alike.
OPTIONAL = {
    "stop_id": st.none() | NAMES,
    "vehicle_id": st.none() | NAMES,
    "full_fare": st.none() | st.integers(0, 9),
    "transfer_proven": st.booleans(),
    "carriage_class": st.just("ordinary") | NAMES,
    "riders_count": st.integers(1, 3),
}
FIELDS = st.lists(
    st.sampled_from(sorted(OPTIONAL)).flatmap(
        lambda name: OPTIONAL[name].map(lambda value: (name, value))
    )
    | st.sampled_from(sorted(REQUIRED.items())),
    max_size=4,
)
TAPS = st.lists(FIELDS.map(lambda more: [*REQUIRED.items(), *more]), min_size=1, max_size=3)


def says_a_field_twice(pairs: list[tuple[str, Any]]) -> bool:
    return len({name for name, _ in pairs}) < len(pairs)


def in_json(pairs: list[tuple[str, Any]], is_escaped: bool) -> str:
    said = []
    for name, value in pairs:
        key = "".join(f"\\u{ord(c):04x}" for c in name) if is_escaped else name
        said.append(f'"{key}" : {json.dumps(value, ensure_ascii=is_escaped)}')
    return "{" + ", ".join(said) + "}"


def packed(pairs: list[tuple[str, Any]]) -> bytes:
    fields = [msgspec.msgpack.encode(one) for pair in pairs for one in pair]
    head = bytes([0x80 + len(pairs)]) if len(pairs) < 16 else b"\xde" + len(pairs).to_bytes(2)
    return head + b"".join(fields)


def is_refused(body: bytes, content_type: str) -> list[bool]:
    try:
        found, _ = read_taps(body, content_type, taps_max=10, chars_max=64)
    except Problem as problem:
        return ["twice" in problem.document.detail]
    return [getattr(one, "fault", None) is not None for one in found]


@settings(max_examples=300, deadline=None)
@given(TAPS, st.booleans())
def test_a_field_said_twice_is_found_and_nothing_else_is_refused(taps, is_escaped):
    due = [says_a_field_twice(pairs) for pairs in taps]
    texts = [in_json(pairs, is_escaped) for pairs in taps]
    assert is_refused(f"[{','.join(texts)}]".encode(), JSON) == due
    assert is_refused(texts[0].encode(), JSON) == due[:1]
    maps = [packed(pairs) for pairs in taps]
    assert is_refused(bytes([0x90 + len(maps)]) + b"".join(maps), MESSAGE_PACK) == due
    assert is_refused(maps[0], MESSAGE_PACK) == due[:1]
