"""The OpenAPI document: valid, complete, and true of what the gateway does when it is fuzzed."""

import asyncio
import contextlib
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

# The check that every valid body is taken is left out: 1.0 is an integer to JSON Schema, but
# money in that form is refused on purpose, and the id of a valid wallet may be in use.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES_MAX = 5
FUZZED = settings(
    max_examples=EXAMPLES_MAX,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


async def document(door) -> dict[str, Any]:
    said = await door.send("GET", "/openapi.json")
    assert said.status == 200
    found: dict[str, Any] = said.message
    return found


async def test_the_document_is_valid_openapi_3_1(door):
    found = await document(door)
    assert found["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(found).iter_errors()) == []


async def test_the_document_holds_every_route_and_who_may_ask(door):
    paths = (await document(door))["paths"]
    count = 0
    for route in door.api.routes:
        operation = paths[route.path][route.method.lower()]
        assert bool(operation["security"]) is not route.is_public, route.path
        for role in route.roles:
            assert role in operation["description"]
        count += 1
    assert count == sum(len(operations) for operations in paths.values())


async def test_the_document_says_what_is_sent_and_answered_besides(door):
    paths = (await document(door))["paths"]
    post = paths["/v1/taps"]["post"]
    assert set(post["requestBody"]["content"]) == set(post["responses"]["200"]["content"])
    assert "Faregate-Repeats" in post["responses"]["200"]["headers"]
    assert "Retry-After" in post["responses"]["503"]["headers"]
    assert "500" in post["responses"]
    wallet = paths["/v1/wallets/{wallet_id}/erase"]["post"]
    assert set(wallet["responses"]["200"]["content"]) == {"application/json"}
    assert "410" in paths["/v1/wallets/{wallet_id}/export"]["get"]["responses"]
    assert set(paths["/v1/bank-files"]["post"]["requestBody"]["content"]) == {"application/xml"}
    (grant,) = paths["/v1/grants/{grant_id}"]["get"]["parameters"]
    assert grant["schema"]["format"] == "uuid"


def fuzz(found: dict[str, Any], address: str, headers: dict[str, str]) -> list[tuple[str, int]]:
    """Ask every operation what its schema allows, and what it does not; all that was answered."""
    answered: list[tuple[str, int]] = []
    schema = schemathesis.openapi.from_dict(found)
    schema.config.update(base_url=address)
    with requests.Session() as session:
        for result in schema.get_all_operations():
            operation = result.ok()
            for mode in GenerationMode:
                _fuzz_operation(operation, mode, session, headers, answered)
    return answered


def _fuzz_operation(
    operation: Any, mode: Any, session: Any, headers: dict[str, str], answered: list[Any]
) -> None:
    @FUZZED
    @given(case=operation.as_strategy(mode))
    def ask(case: schemathesis.Case) -> None:
        response = case.call(session=session, headers=headers, timeout=10)
        answered.append((operation.label, response.status_code))
        case.validate_response(response, checks=CHECKS)

    # Where there is neither a body nor a parameter, nothing can be wrong.
    with contextlib.suppress(Unsatisfiable) if mode.is_negative else contextlib.nullcontext():
        ask()


async def test_fuzzed_with_an_admins_token_it_does_what_the_document_says(door):
    headers = {"Authorization": f"Bearer {door.tokens['admin']}"}
    found = await document(door)
    answered = await asyncio.to_thread(fuzz, found, door.address, headers)
    labels = {label for label, _ in answered}
    assert labels == {f"{route.method} {route.path}" for route in door.api.routes}
    let_in = {label for label, status in answered if status < 300}
    assert {"POST /v1/wallets", "POST /v1/registry", "GET /v1/tariffs"} <= let_in


async def test_fuzzed_without_credentials_it_lets_nobody_in(door):
    before = await door.books()
    answered = await asyncio.to_thread(fuzz, await document(door), door.address, {})
    public = {f"{route.method} {route.path}" for route in door.api.routes if route.is_public}
    for label, status in answered:
        assert label in public or status in (401, 404, 405, 413), (label, status)
    assert {label for label, status in answered if status == 401}.isdisjoint(public)
    assert await door.books() == before
