"""RFC 9457 problem documents: the one form in which the gateway says that a request was wrong."""

from __future__ import annotations

import functools

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from gateway.shell import telemetry

CONTENT_TYPE = "application/problem+json"


class ProblemDocument(Struct, frozen=True, omit_defaults=True):
    """What went wrong (`title`), where and how to mend it (`detail`)."""

    type: str
    title: str
    status: int
    detail: str
    field: str | UnsetType = UNSET


class Problem(Exception):
    """A request that is refused as a whole. It had no effect."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
        *,
        field: str | None = None,
        retry_after_seconds: int | None = None,
        reason: str | None = None,
    ) -> None:
        """`reason` is how it is counted, where one code covers several."""
        super().__init__(title)
        assert status != 503 or retry_after_seconds, "say when to try again"
        assert "-" not in code, "write it as outcomes are written"
        self.reason = reason or code
        self.document = ProblemDocument(
            f"urn:faregate:problem:{code}", title, status, detail, field or UNSET
        )
        self.retry_after_seconds = retry_after_seconds

    def headers(self) -> dict[str, str]:
        """The headers of the answer, which is counted as a refusal."""
        telemetry.count_refusal(self.reason)
        headers = {"Content-Type": CONTENT_TYPE}
        if self.retry_after_seconds is not None:
            headers["Retry-After"] = str(self.retry_after_seconds)
        if self.document.status == 401:
            headers["WWW-Authenticate"] = "Bearer, Faregate-HMAC"
        return headers

    @functools.cached_property
    def body(self) -> bytes:
        return msgspec.json.encode(self.document)

    def response(self) -> web.Response:
        return web.Response(
            status=self.document.status,
            body=self.body,
            headers=self.headers(),
        )


def not_granted(status: int, code: str, detail: str, *, field: str | None = None) -> Problem:
    """A wish that is not granted, and why; its title is the code in words."""
    title = code.replace("_", " ").capitalize()
    return Problem(status, code, title, f"{detail} Nothing was done.", field=field)


def unauthorized(detail: str) -> Problem:
    return Problem(401, "unauthorized", "Who you are could not be established", detail)


def forbidden(detail: str) -> Problem:
    return Problem(403, "forbidden", "You may not do this", detail)


def not_found(detail: str) -> Problem:
    return Problem(404, "not_found", "There is no such thing", detail)


def busy(detail: str, reason: str) -> Problem:
    return Problem(
        503,
        "busy",
        "The gateway cannot take this now",
        detail,
        retry_after_seconds=1,
        reason=reason,
    )


def too_slow(detail: str) -> Problem:
    return Problem(408, "too_slow", "The request took too long to arrive", detail)


def too_many(detail: str) -> Problem:
    return Problem(
        429,
        "too_many_of_a_gate",
        "You send more than your share",
        detail,
        retry_after_seconds=1,
    )
