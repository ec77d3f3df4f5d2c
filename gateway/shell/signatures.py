"""Who is asking: gates sign each request, people and back-office systems bear a token.

A gate's signature is HMAC-SHA256, in hex, over four lines:

    METHOD
    /path?query
    UNIX SECONDS
    hex(SHA-256 of the body)

A key's secret is derived from the gateway's master key and the key's id, so the database holds
none; what was derived for a key in force is remembered. A token is 256 random bits, so its plain
SHA-256 is as safe at rest as a slow hash would be.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from secrets import token_bytes, token_hex, token_urlsafe

from gateway.core.registry import Credential, Registry
from gateway.shell.problems import unauthorized

KEY_HEADER = "Faregate-Key"
TIMESTAMP_HEADER = "Faregate-Timestamp"
SIGNATURE_HEADER = "Faregate-Signature"
_TIMESTAMP_DIGITS_MAX = 12
_KEYS_REMEMBERED_MAX = 65_536


def gate_secret(master_key: bytes, key_id: str) -> bytes:
    return hmac.digest(master_key, b"faregate gate key\0" + _bytes(key_id), "sha256")


class GateSecrets:
    """The secrets of the keys in force, each derived when it is first used."""

    def __init__(self, master_key: bytes) -> None:
        # Whoever guesses key ids is checked against this, and so told nothing by the time it takes.
        self._of_no_key = token_bytes(32)
        self._of_key = functools.lru_cache(_KEYS_REMEMBERED_MAX)(
            functools.partial(gate_secret, master_key)
        )

    def of(self, key_id: str, registry: Registry) -> bytes:
        """A key's secret, or one that nobody has for an id that was never issued."""
        return self._of_key(key_id) if key_id in registry.gate_keys else self._of_no_key


def sign(secret: bytes, method: str, path: str, timestamp: str, body: bytes) -> str:
    digest = hashlib.sha256(body).hexdigest()
    text = f"{method}\n{path}\n{timestamp}\n{digest}"
    return hmac.digest(secret, _bytes(text), "sha256").hex()


def stream_key(secret: bytes, nonce: bytes) -> bytes:
    """The key of one stream's frames: a replayed opening meets another nonce, and has no key."""
    return hmac.digest(secret, b"faregate stream\0" + nonce, "sha256")


def frame_mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _bytes(text: str) -> bytes:
    """The bytes as they came: aiohttp reads a header or path that is not UTF-8 this way."""
    return text.encode("utf-8", "surrogateescape")


def new_token() -> str:
    return "fg_" + token_urlsafe(32)


def new_key_id() -> str:
    return "gk_" + token_hex(8)


def token_sha256(token: str) -> bytes:
    return hashlib.sha256(_bytes(token)).digest()


def signing_gate(
    headers: Mapping[str, str],
    method: str,
    path: str,
    body: bytes,
    *,
    registry: Registry,
    secrets: GateSecrets,
    now: datetime,
    skew_seconds_max: int,
) -> str:
    """The id of the gate that signed a request.

    Raises: Problem 401. A wrong key and a wrong signature are told alike, so that nobody can guess
            which key ids exist.
    """
    key_id = headers.get(KEY_HEADER, "")
    timestamp = headers.get(TIMESTAMP_HEADER, "")
    given = headers.get(SIGNATURE_HEADER, "")
    is_number = timestamp.isascii() and timestamp.isdigit()
    if not is_number or len(timestamp) > _TIMESTAMP_DIGITS_MAX:
        raise unauthorized(f"{TIMESTAMP_HEADER} must be the time in unix seconds.")
    if abs(now.timestamp() - int(timestamp)) > skew_seconds_max:
        raise unauthorized(
            f"{TIMESTAMP_HEADER} is more than {skew_seconds_max} s off; set the gate's clock and "
            "sign again."
        )
    due = sign(secrets.of(key_id, registry), method, path, timestamp, body)
    is_right = hmac.compare_digest(due.encode(), _bytes(given))
    key = registry.gate_keys.get(key_id)
    if not is_right or key is None or not key.is_valid_at(now):
        raise unauthorized(
            "The signature does not fit: check the key, the method, the path, the timestamp and "
            "that exactly the sent bytes were signed."
        )
    return key.gate_id


def bearer(headers: Mapping[str, str], *, registry: Registry, now: datetime) -> Credential:
    """The owner of a bearer token. Raises: Problem 401."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise unauthorized("Send `Authorization: Bearer <token>`.")
    # Looking a hash up leaks nothing of the token through timing.
    hashed = token_sha256(token.strip())
    credential = registry.credentials.get(hashed)
    if credential is None or not credential.is_valid_at(now):
        raise unauthorized("The token is not known, has expired or was revoked.")
    return credential
