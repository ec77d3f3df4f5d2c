"""Bytes to messages: JSON or MessagePack by Content-Type, strictly, naming each fault's place."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from fare_rules.taps import YEAR_MAX, YEAR_MIN
from gateway.core.taps import Tap, TapOutcome, TapResult
from gateway.shell.problems import Problem

JSON = "application/json"
MESSAGE_PACK = "application/msgpack"
REPEATS_HEADER = "Faregate-Repeats"
T = TypeVar("T")

_json_taps = msgspec.json.Decoder(list[Tap])
_json_raws = msgspec.json.Decoder(list[Raw])
_json_tap = msgspec.json.Decoder(Tap)
_packed_taps = msgspec.msgpack.Decoder(list[Tap])
_packed_raws = msgspec.msgpack.Decoder(list[Raw])
_packed_tap = msgspec.msgpack.Decoder(Tap)
_json_reader = json.JSONDecoder()
_json = msgspec.json.Encoder()
_packed = msgspec.msgpack.Encoder()
_packed_frame = msgspec.msgpack.Decoder(tuple[int, Raw])
_packed_map = msgspec.msgpack.Decoder(dict[Any, Raw])
_NAME_ENDS = ("_id", "_token", "_class")
_NAMES = [name for name in Tap.__struct_fields__ if name.endswith(_NAME_ENDS)]
_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError, OverflowError)


def encode(value: Any, content_type: str) -> bytes:
    return (_packed if content_type == MESSAGE_PACK else _json).encode(value)


def read_message(
    body: bytes, content_type: str, kind: type[T], *, chars_max: int | None = None
) -> T:
    """Decode a whole body; `chars_max` bounds the names that taps are to say.

    Raises: Problem 400, 415 or 422.
    """
    _check_content_type(content_type)
    try:
        if content_type == MESSAGE_PACK:
            found = msgspec.msgpack.decode(body, type=kind)
            _refuse_duplicate_packed_keys(body)
        else:
            found = msgspec.json.decode(body, type=kind)
            _refuse_duplicate_keys(body)
        _check_values(found, "$", chars_max)
        return found
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except _FAULTS as error:
        raise _undecodable(error) from None


def read_taps(
    body: bytes, content_type: str, *, taps_max: int, chars_max: int
) -> tuple[list[Tap | TapResult], bool]:
    """Decode one tap or an array; a tap that is malformed inside an array becomes its own refusal.

    Shape:  the taps in order, and whether an array was sent.
    Raises: Problem 400, 415 or 422 for what is no tap and no array of taps at all.
    """
    _check_content_type(content_type)
    is_packed = content_type == MESSAGE_PACK
    try:
        if not is_packed and body.lstrip()[:1] != b"[":
            return [_read_one(body, is_packed, chars_max)], False
        if is_packed and not _is_packed_array(body):
            return [_read_one(body, is_packed, chars_max)], False
        return _read_many(body, is_packed, taps_max, chars_max), True
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except _FAULTS as error:
        raise _undecodable(error) from None


def read_frame(message: bytes) -> tuple[int, bytes]:
    """The counter of a stream's message, and the taps that follow it. Raises: Problem 400."""
    try:
        counter, taps = _packed_frame.decode(message)
    except _FAULTS as error:
        raise _undecodable(error) from None
    return counter, bytes(taps)


def read_frame_taps(
    body: bytes, *, taps_max: int, chars_max: int
) -> tuple[list[Tap | TapResult], bool]:
    """The same as `read_taps`, but a single tap that is malformed is its own refusal, too."""
    if _is_packed_array(body):
        return read_taps(body, MESSAGE_PACK, taps_max=taps_max, chars_max=chars_max)
    return [_read_or_refuse(body, True, chars_max)], False


def _is_packed_array(body: bytes) -> bool:
    return bool(body) and (0x90 <= body[0] <= 0x9F or body[0] in (0xDC, 0xDD))


def _read_one(body: bytes, is_packed: bool, chars_max: int) -> Tap:
    tap = _packed_tap.decode(body) if is_packed else _json_tap.decode(body)
    _refuse_repeated_keys(body, tap, is_packed)
    _check_tap(tap, chars_max)
    return tap


def _read_many(
    body: bytes, is_packed: bool, taps_max: int, chars_max: int
) -> list[Tap | TapResult]:
    try:
        found = _packed_taps.decode(body) if is_packed else _json_taps.decode(body)
        _check_count(len(found), taps_max)
        _refuse_repeated_keys(body, found, is_packed)
        for tap in found:
            _check_tap(tap, chars_max)
        return list(found)
    except _FAULTS:
        raws = _packed_raws.decode(body) if is_packed else _json_parts(body)
        _check_count(len(raws), taps_max)
        return [_read_or_refuse(bytes(raw), is_packed, chars_max) for raw in raws]


def _json_parts(body: bytes) -> list[Raw] | list[bytes]:
    """The elements of an array as they were sent, each to be judged by itself.

    Half a surrogate pair is well-formed JSON and no text: msgspec cannot even step over it.
    """
    try:
        return _json_raws.decode(body)
    except msgspec.DecodeError:
        if rb"\u" not in body or not isinstance(json.loads(body), list):
            raise
    text, parts = body.decode(), []
    at = text.index("[") + 1
    while text[(at := _not_space(text, at))] != "]":
        at = _not_space(text, at + 1) if text[at] == "," else at
        _, end = _json_reader.raw_decode(text, at)
        parts.append(text[at:end].encode())
        at = end
    return parts


def _not_space(text: str, at: int) -> int:
    while text[at] in " \t\n\r":
        at += 1
    return at


def _read_or_refuse(raw: bytes, is_packed: bool, chars_max: int) -> Tap | TapResult:
    try:
        return _read_one(raw, is_packed, chars_max)
    except _FAULTS as error:
        return TapResult(
            tap_id=_tap_id_of(raw, is_packed),
            outcome=TapOutcome.MALFORMED,
            open=False,
            display_text="See staff",
            fault=_reason(error),
        )


def _tap_id_of(raw: bytes, is_packed: bool) -> UUID | None:
    """The id, if at least that can be read, so that the gate can tell which tap it was."""
    try:
        decoded = msgspec.msgpack.decode(raw) if is_packed else json.loads(raw)
        return UUID(decoded["tap_id"])
    except (*_FAULTS, TypeError, KeyError, AttributeError):
        return None


def _check_content_type(content_type: str) -> None:
    if content_type not in (JSON, MESSAGE_PACK):
        raise Problem(
            415,
            "unsupported_media_type",
            "The body is in a form that is not read here",
            f"Send Content-Type {JSON} or {MESSAGE_PACK}.",
        )


def _check_count(count: int, taps_max: int) -> None:
    if count > taps_max:
        raise Problem(
            422,
            "too_many_taps",
            "The array is too long",
            f"{count} taps were sent; send at most {taps_max} at once.",
        )


def _check_values(value: Any, place: str, chars_max: int | None) -> None:
    """Refuse what each type allows, and nobody can compute with or keep."""
    if isinstance(value, datetime):
        _check_year(value, place)
    elif isinstance(value, str):
        if "\0" in value:
            raise msgspec.ValidationError(f"Expected no NUL character - at `{place}`")
        if chars_max is not None and place.endswith(_NAME_ENDS):
            _check_length(value, place, chars_max)
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            _check_values(getattr(value, name), f"{place}.{name}", chars_max)
    elif isinstance(value, (list, tuple)):
        for position, one in enumerate(value):
            _check_values(one, f"{place}[{position}]", chars_max)


def _check_length(text: str, place: str, chars_max: int) -> None:
    if len(text) > chars_max:
        raise msgspec.ValidationError(f"Expected at most {chars_max} characters - at `{place}`")


def _check_year(instant: datetime, place: str) -> None:
    if not YEAR_MIN <= instant.year <= YEAR_MAX:
        raise msgspec.ValidationError(
            f"Expected a year from {YEAR_MIN} to {YEAR_MAX} - at `{place}`"
        )


def _check_tap(tap: Tap, chars_max: int) -> None:
    _check_year(tap.tapped_at, "$.tapped_at")
    for name in _NAMES:
        value = getattr(tap, name)
        if isinstance(value, str):
            _check_length(value, f"$.{name}", chars_max)


def _refuse_repeated_keys(body: bytes, read: Tap | list[Tap], is_packed: bool) -> None:
    """Look closely only where a quick look finds more than the taps need.

    Written anew, a tap has each of its fields once and no default. A body with a field twice, or
    with a default written out, has more; the closer look tells the one from the other.
    """
    if is_packed:
        if _packed_keys_count(body) != _packed_keys_count(_packed.encode(read)):
            _refuse_duplicate_packed_keys(body)
    elif b"\\" in body or body.count(b'"') != _json.encode(read).count(b'"'):
        _refuse_duplicate_keys(body)


def _packed_keys_count(body: bytes) -> int:
    """How many keys a map says it has, or the maps of an array together."""
    first = body[0]
    if 0x80 <= first <= 0x8F:
        return first & 0x0F
    if first in (0xDE, 0xDF):
        return int.from_bytes(body[1 : 3 if first == 0xDE else 5])
    return sum(_packed_keys_count(bytes(raw)) for raw in _packed_raws.decode(body))


def _refuse_duplicate_keys(body: bytes) -> None:
    """JSON decoders keep the last of two equal keys in silence; for money that will not do."""
    json.loads(body, object_pairs_hook=_pairs, parse_constant=_refuse_constant)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise msgspec.ValidationError(f"Object has the key `{twice[:64]}` twice")
    return found


def _refuse_constant(name: str) -> None:
    raise msgspec.DecodeError(f"{name} is not JSON")


def _refuse_duplicate_packed_keys(raw: bytes) -> None:
    """In MessagePack a map says how many keys it has; if two are equal, fewer are kept."""
    first = raw[0]
    if 0x80 <= first <= 0x8F or first in (0xDE, 0xDF):
        values = _packed_map.decode(raw)
        if len(values) != _packed_keys_count(raw):
            raise msgspec.ValidationError("Object has a key twice")
        for value in values.values():
            _refuse_duplicate_packed_keys(bytes(value))
    elif 0x90 <= first <= 0x9F or first in (0xDC, 0xDD):
        for value in _packed_raws.decode(raw):
            _refuse_duplicate_packed_keys(bytes(value))


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]


def _invalid(reason: str) -> Problem:
    place = reason.rpartition(" - at `")[2].rstrip("`") if " - at `" in reason else None
    return Problem(
        422,
        "invalid_message",
        "The message does not have the form it should",
        f"{reason}. See /docs for the form; nothing was done.",
        field=place,
    )


def _undecodable(error: Exception) -> Problem:
    return Problem(
        400,
        "undecodable_body",
        "The body cannot be read",
        f"{_reason(error)}. Nothing was done.",
    )
