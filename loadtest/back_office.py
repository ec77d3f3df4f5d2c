"""The back office over HTTP: one connection, a bearer's token, one question after another."""

import http.client
import json
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

RECORDS_MAX = 1_000  # in one request
_SECONDS_MAX = 60
_PATIENCE_SECONDS = 60

Item = TypeVar("Item")


class Refused(Exception):
    """The gateway did not do what it was asked, and said why."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


class BackOffice:
    def __init__(self, base_url: str, token: str) -> None:
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"{base_url} is not the address of a gateway: http://host:port")
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(url.hostname, url.port, timeout=_SECONDS_MAX)
        self._root = url.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, content: object = None) -> Any:
        """Ask until there is an answer; everything asked here may be asked twice."""
        body = b"" if content is None else json.dumps(content).encode()
        gives_up_at = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self._connection.request(method, self._root + path, body, self._headers)
                response = self._connection.getresponse()
                status, answer = response.status, response.read()
            except (http.client.HTTPException, OSError) as lost:
                self._connection.close()
                status, answer = 503, repr(lost).encode()
            if status < 300:
                return json.loads(answer)
            if status != 503 or time.monotonic() > gives_up_at:
                said = answer.decode(errors="replace")[:500]
                raise Refused(status, f"{method} {path}: {status} {said}")
            time.sleep(1)


def chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while some := list(islice(rest, RECORDS_MAX)):
        yield some
