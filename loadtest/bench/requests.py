"""Requests made and signed before the clock starts, so that the generator only sends and counts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from gate_signature import GateKey, signature_headers

PATH = "/v1/taps"
TAPS_A_REQUEST = 100
_FIELDS = (
    "tap_id", "gate_id", "sequence", "tapped_at", "media_token", "action", "stop_id", "route_id",
    "vehicle_id", "full_fare", "distance_m",
)  # fmt: skip


def tap_message(tap: Any) -> dict[str, Any]:
    """A tap of the city as a gate would say it: what it does not know is left out."""
    said = {name: getattr(tap, name, None) for name in _FIELDS}
    return {name: value for name, value in said.items() if value is not None}


def load_keys(path: str) -> dict[str, GateKey]:
    """The gates' keys, as the back office handed them out."""
    with open(path, encoding="utf-8") as file:
        issued: Mapping[str, tuple[str, str]] = json.load(file)
    return {
        gate: GateKey(key_id, bytes.fromhex(secret)) for gate, (key_id, secret) in issued.items()
    }


def single_requests(taps: Iterable[Any], keys: Mapping[str, GateKey]) -> Iterator[bytes]:
    """One tap a request, signed by the gate that made it."""
    for tap in taps:
        yield request_bytes(keys[tap.gate_id], msgspec.json.encode(tap_message(tap)))


def batch_requests(
    taps: Iterable[Any], keys: Mapping[str, GateKey], signers: Mapping[str, str]
) -> Iterator[bytes]:
    """A hundred taps a request, signed by the station computer that gathers from these gates."""
    gathered: dict[str, list[dict[str, Any]]] = {}
    for tap in taps:
        signer = signers[tap.gate_id]
        waiting = gathered.setdefault(signer, [])
        waiting.append(tap_message(tap))
        if len(waiting) == TAPS_A_REQUEST:
            yield request_bytes(keys[signer], msgspec.json.encode(waiting))
            waiting.clear()


def request_bytes(key: GateKey, body: bytes) -> bytes:
    headers = {
        "Host": "localhost",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **signature_headers(key, "POST", PATH, body, unix_seconds=int(time.time())),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {PATH} HTTP/1.1\r\n{head}\r\n".encode() + body
