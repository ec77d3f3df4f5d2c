"""The gateway seen from outside: signed for gates, with a token for the back office.

A lost answer, a dead server and a busy one all look alike to a gate, so it sends the same again.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import aiohttp
from gate_signature import GateKey, signature_headers
from yarl import URL

REQUEST_RECORDS_MAX = 1_000
ATTEMPT_SECONDS_MAX = 30
PATIENCE_SECONDS_MAX = 120  # long enough for a killed gateway to recover its database
PAUSE_SECONDS_MAX = 5.0
RESENT_STATUSES = frozenset({429, 502, 503, 504})

Item = TypeVar("Item")


class GatewayFailure(Exception):
    """The gateway refused a whole request, or did not answer it in time."""


class GatewayClient:
    def __init__(self, session: aiohttp.ClientSession, base_url: str, admin_token: str) -> None:
        self._session = session
        self._base_url = URL(base_url)
        self._admin_token = admin_token

    async def ask(self, method: str, path: str, content: object = None) -> Any:
        """Ask as the back office."""
        headers = {"Authorization": f"Bearer {self._admin_token}"}
        body = b"" if content is None else encode(content)
        return json.loads(await self._request(method, self._base_url / path, body, lambda: headers))

    async def send_taps(self, key: GateKey, body: bytes) -> bytes:
        """Send an array of one gate's taps; the answer's very bytes come back."""
        url = self._base_url / "v1/taps"

        def headers() -> dict[str, str]:
            now = int(time.time())
            return signature_headers(key, "POST", url.raw_path_qs, body, unix_seconds=now)

        return await self._request("POST", url, body, headers)

    async def _request(
        self, method: str, url: URL, body: bytes, headers: Callable[[], dict[str, str]]
    ) -> bytes:
        """Resend until there is an answer. Each attempt has its own headers: signatures age."""
        gives_up_at = time.monotonic() + PATIENCE_SECONDS_MAX
        for pause_seconds in _growing_pauses():
            try:
                async with self._session.request(
                    method,
                    url,
                    data=body,
                    headers={"Content-Type": "application/json", **headers()},
                    timeout=aiohttp.ClientTimeout(total=ATTEMPT_SECONDS_MAX),
                ) as response:
                    answer = await response.read()
                if response.ok:
                    return answer
                fault = f"{response.status} {answer.decode(errors='replace')[:500]}"
                is_final = response.status not in RESENT_STATUSES
                pause_seconds = max(pause_seconds, _retry_after_seconds(response))
            except (aiohttp.ClientError, OSError, TimeoutError) as lost:
                fault, is_final = repr(lost), False
            if is_final or time.monotonic() + pause_seconds > gives_up_at:
                raise GatewayFailure(f"{method} {url.path}: {fault}")
            await asyncio.sleep(pause_seconds)
        raise AssertionError("pauses never end")


def encode(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Cut records into as many as one request may hold."""
    rest = iter(items)
    while some := list(islice(rest, REQUEST_RECORDS_MAX)):
        yield some


def _growing_pauses() -> Iterator[float]:
    pause_seconds = 0.1
    while True:
        yield pause_seconds
        pause_seconds = min(pause_seconds * 2, PAUSE_SECONDS_MAX)


def _retry_after_seconds(response: aiohttp.ClientResponse) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), PAUSE_SECONDS_MAX) if text.isdecimal() else 0.0
