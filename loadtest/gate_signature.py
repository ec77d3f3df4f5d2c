"""How a gate signs a request: HMAC-SHA256 over method, path, time and body digest."""

import hashlib
import hmac
from typing import NamedTuple


class GateKey(NamedTuple):
    """A gate's half of a shared secret, as the back office handed it out."""

    key_id: str
    secret: bytes


def signature_headers(
    key: GateKey, method: str, path: str, body: bytes, *, unix_seconds: int
) -> dict[str, str]:
    """Sign one request, valid for a few minutes around its time.

    Units: `path` is as sent, percent-encoded and with its query.
    """
    digest = hashlib.sha256(body).hexdigest()
    signed = f"{method}\n{path}\n{unix_seconds}\n{digest}".encode()
    return {
        "Faregate-Key": key.key_id,
        "Faregate-Timestamp": str(unix_seconds),
        "Faregate-Signature": hmac.new(key.secret, signed, hashlib.sha256).hexdigest(),
    }
