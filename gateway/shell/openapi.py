"""The OpenAPI 3.1 document, made from the routes and message types, so it cannot say otherwise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from apispec import APISpec

from gateway.shell.messages import JSON, MESSAGE_PACK, REPEATS_HEADER
from gateway.shell.problems import CONTENT_TYPE, ProblemDocument
from gateway.shell.signatures import KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER
from gateway.shell.web import Route

_PROBLEMS = {
    400: "The body cannot be read.",
    401: "Who asks could not be established.",
    403: "The caller may not do this.",
    404: "There is no such thing.",
    408: "The request took too long to arrive.",
    409: "It contradicts what is there already.",
    410: "It was there, and is told to nobody any more.",
    413: "The body is too large.",
    415: "The body is in a form that is not read here.",
    422: "The message does not have the form it should.",
    429: "The gate sends more than its share: send it again after Retry-After seconds.",
    431: "The request has too many headers.",
    500: "The gateway has a fault: what became of the request is not known.",
    503: "Not now: send it again after Retry-After seconds.",
}
_UUIDS = {
    "tap_id", "wallet_id", "grant_id", "correction_id", "disruption_id", "delivery_id", "hold_id",
}  # fmt: skip
_REPEATS = {
    REPEATS_HEADER: {
        "description": "Which taps were repeats, by their positions from 0, such as 0-2,5.",
        "schema": {"type": "string"},
    }
}
# Such as the 503 of a full door, which says after how many seconds to come again.
_RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}


def openapi_document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    spec = APISpec(
        title="faregate",
        version=version,
        openapi_version="3.1.0",
        info={
            "description": "Gates post taps and hear a verdict; the back office keeps the city, "
            "the wallets and the settlements.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
    )
    kinds: list[Any] = [ProblemDocument]
    for route in routes:
        kinds += [kind for kind in (route.body, *route.answers.values()) if _is_message(kind)]
    schemas, components = msgspec.json.schema_components(
        kinds, ref_template="#/components/schemas/{name}"
    )
    schema_of = {repr(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
    spec.components.security_scheme("token", {"type": "http", "scheme": "bearer"})
    spec.components.security_scheme(
        "signature",
        {
            "type": "apiKey",
            "in": "header",
            "name": SIGNATURE_HEADER,
            "description": f"HMAC-SHA256 of the request, with {KEY_HEADER} and {TIMESTAMP_HEADER}; "
            "the README shows how to sign by hand.",
        },
    )
    for route in routes:
        spec.path(
            re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path),
            operations={route.method.lower(): _operation(route, schema_of)},
        )
    document = dict(spec.to_dict())
    # Not through apispec: it takes `additionalProperties: false` for a schema of that name.
    document["components"]["schemas"] = components
    return document


def _is_message(kind: Any) -> bool:
    return kind is not None and not isinstance(kind, str)


def _operation(route: Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    problem = {"content": {CONTENT_TYPE: {"schema": schema_of[repr(ProblemDocument)]}}}
    problems = {
        str(status): {"description": text, **problem}
        for status, text in _PROBLEMS.items()
        if status not in route.answers
    }
    for status in ("429", "503"):
        problems[status]["headers"] = _RETRY_AFTER
    answers = {str(s): _answer(route, kind, schema_of) for s, kind in route.answers.items()}
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "tags": [route.tag],
        "responses": {**answers, **problems},
        "security": _security(route),
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": _path_schema(name)}
            for name in re.findall(r"\{(\w+)", route.path)
        ]
        + [
            {"name": name, "in": "query", "schema": msgspec.json.schema(kind)}
            for name, kind in route.query.items()
        ],
    }
    if route.roles:
        operation["description"] = f"Roles: {', '.join(sorted(route.roles))}."
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _body(route.body, schema_of)}
    return operation


def _body(kind: Any, schema_of: dict[str, Any]) -> dict[str, Any]:
    if isinstance(kind, str):
        return {kind: {}}
    schema = {"schema": schema_of[repr(kind)]}
    return {JSON: schema, MESSAGE_PACK: schema}


def _path_schema(name: str) -> dict[str, Any]:
    if name in _UUIDS:
        return {"type": "string", "format": "uuid"}
    if name == "service_day":
        return {"type": "string", "format": "date"}
    return {"type": "string", "minLength": 1, "maxLength": 255}


def _answer(route: Route, kind: Any, schema_of: dict[str, Any]) -> dict[str, Any]:
    if kind is None:
        return {"description": "Done."}
    content = _body(kind, schema_of)
    if not route.takes_taps:  # Only gates are answered in the form in which they asked.
        content.pop(MESSAGE_PACK, None)
        return {"description": "Done.", "content": content}
    return {"description": "Done.", "content": content, "headers": _REPEATS}


def _security(route: Route) -> list[dict[str, list[str]]]:
    ways: list[dict[str, list[str]]] = []
    if route.is_signed:
        ways.append({"signature": []})
    if route.roles:
        ways.append({"token": []})
    return ways
