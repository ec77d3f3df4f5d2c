"""Requests made and signed before the clock starts, so that the generator only sends and counts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from loadtest.city import CityTap
from loadtest.gate_signature import GateKey, signature_headers

PATH = "/v1/taps"
TAPS_A_REQUEST = 100


def load_keys(path: str) -> dict[str, GateKey]:
    """The gates' keys, as the back office handed them out."""
    with open(path, encoding="utf-8") as file:
        issued: Mapping[str, tuple[str, str]] = json.load(file)
    return {
        gate: GateKey(key_id, bytes.fromhex(secret)) for gate, (key_id, secret) in issued.items()
    }


def single_requests(taps: Iterable[CityTap], keys: Mapping[str, GateKey]) -> Iterator[bytes]:
    """One tap a request, signed by the gate that made it."""
    for tap in taps:
        yield request_bytes(keys[tap.gate_id], msgspec.json.encode(tap))


def batch_requests(
    taps: Iterable[CityTap], keys: Mapping[str, GateKey], signers: Mapping[str, str]
) -> Iterator[bytes]:
    """A hundred taps a request, signed by the station computer that gathers from these gates."""
    gathered: dict[str, list[CityTap]] = {}
    for tap in taps:
        signer = signers[tap.gate_id]
        waiting = gathered.setdefault(signer, [])
        waiting.append(tap)
        if len(waiting) == TAPS_A_REQUEST:
            yield request_bytes(keys[signer], msgspec.json.encode(waiting))
            gathered[signer] = []


def request_bytes(key: GateKey, body: bytes) -> bytes:
    headers = {
        "Host": "localhost",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **signature_headers(key, "POST", PATH, body, unix_seconds=int(time.time())),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {PATH} HTTP/1.1\r\n{head}\r\n".encode() + body
