"""Who may do what: each role its own work, each operator's token what is its own."""

from uuid import uuid4

import pytest

from gateway.core.registry import Role

MONEY = {"admin", "finance"}
READ_MONEY = MONEY | {"auditor"}
GATES = {"admin", "gate_operator"}
MAKERS, CHECKERS = {"admin", "desk"}, {"admin", "checker"}
EVERYONE = {role.value for role in Role}

# Who may ask what. What is missing here fails the test, so a new route has to be thought about.
WHO_MAY = {
    "POST /v1/taps": set(),
    "GET /v1/stream": set(),
    "GET /v1/taps/{tap_id}": READ_MONEY | GATES,
    "GET /v1/taps": READ_MONEY | GATES,
    "GET /v1/taps/{tap_id}/explanation": READ_MONEY | GATES,
    "POST /v1/quotes": READ_MONEY,
    "POST /v1/charges": READ_MONEY,
    "POST /v1/registry": GATES,
    "GET /v1/gates": GATES | {"auditor"},
    "POST /v1/gate-keys": GATES,
    "DELETE /v1/gate-keys/{key_id}": GATES,
    "POST /v1/wallets": MONEY,
    "GET /v1/wallets/{wallet_id}": READ_MONEY,
    "GET /v1/wallets/{wallet_id}/entries": READ_MONEY,
    "POST /v1/wallets/{wallet_id}/top-ups": MONEY,
    "POST /v1/wallets/{wallet_id}/media": MONEY,
    "DELETE /v1/wallets/{wallet_id}/media/{media_token}": MONEY,
    "POST /v1/wallets/{wallet_id}/media/{media_token}/block": MONEY,
    "POST /v1/wallets/{wallet_id}/media/{media_token}/unblock": MONEY,
    "POST /v1/wallets/{wallet_id}/media/{media_token}/coupons": MONEY,
    "POST /v1/wallets/{wallet_id}/block": MONEY,
    "POST /v1/wallets/{wallet_id}/unblock": MONEY,
    "POST /v1/wallets/{wallet_id}/close": MONEY,
    "PUT /v1/wallets/{wallet_id}/class": MONEY,
    "PUT /v1/wallets/{wallet_id}/auto-top-up": MONEY,
    "DELETE /v1/wallets/{wallet_id}/auto-top-up": MONEY,
    "POST /v1/wallets/{wallet_id}/verifications": MONEY,
    "POST /v1/wallets/{wallet_id}/transfers": MONEY,
    "POST /v1/wallets/{wallet_id}/grants": MONEY,
    "POST /v1/grants": MONEY,
    "GET /v1/grants/{grant_id}": READ_MONEY,
    "POST /v1/grants/{grant_id}/return": MONEY,
    "POST /v1/purse-rules/{rule_id}/returns": MONEY,
    "POST /v1/envelope-campaigns": MONEY,
    "GET /v1/envelope-campaigns/{campaign_id}": READ_MONEY,
    "POST /v1/envelope-campaigns/{campaign_id}/registrations": MONEY,
    "POST /v1/envelope-campaigns/{campaign_id}/draw": MONEY,
    "POST /v1/envelope-campaigns/{campaign_id}/grants": MONEY,
    "GET /v1/envelope-campaigns/{campaign_id}/list": EVERYONE,
    "PUT /v1/operators/{operator_id}/delivery": {"admin"},
    "GET /v1/deliveries": READ_MONEY | GATES,
    "GET /v1/settlements/{service_day}/deliveries": READ_MONEY | GATES,
    "POST /v1/deliveries/{delivery_id}/retries": MONEY,
    "POST /v1/deliveries/{delivery_id}/acknowledgements": MONEY | GATES,
    "GET /v1/campaigns": READ_MONEY,
    "GET /v1/campaigns/{sponsor_id}/{campaign_id}": READ_MONEY,
    "GET /v1/wallets/{wallet_id}/journeys": READ_MONEY,
    "GET /v1/wallets/{wallet_id}/progress": READ_MONEY,
    "GET /v1/wallets/{wallet_id}/export": MONEY,
    "POST /v1/wallets/{wallet_id}/erase": MONEY,
    "GET /v1/held": READ_MONEY,
    "POST /v1/bank-files": MONEY,
    "GET /v1/reconciliations/{service_day}": READ_MONEY,
    "POST /v1/payout-holds": MONEY,
    "POST /v1/payout-holds/{hold_id}/release": MONEY,
    "GET /v1/payout-holds": READ_MONEY,
    "GET /v1/settlements/head": EVERYONE,
    "GET /v1/settlements/{service_day}/operators/{operator_id}/files/{name}": READ_MONEY | GATES,
    "GET /v1/trips/{service_day}/operators/{operator_id}/files/{name}": READ_MONEY | GATES,
    "POST /v1/corrections": MAKERS,
    "GET /v1/corrections": MAKERS | CHECKERS | READ_MONEY,
    "GET /v1/corrections/{correction_id}": MAKERS | CHECKERS | READ_MONEY,
    "POST /v1/corrections/{correction_id}/approve": CHECKERS,
    "POST /v1/corrections/{correction_id}/reject": CHECKERS,
    "POST /v1/disruptions": MAKERS,
    "GET /v1/disruptions": MAKERS | CHECKERS | READ_MONEY,
    "POST /v1/disruptions/{disruption_id}/approve": CHECKERS,
    "POST /v1/settlements": MONEY,
    "GET /v1/settlements": READ_MONEY,
    "GET /v1/settlements/{service_day}/files/{name}": READ_MONEY,
    "GET /v1/tariffs": EVERYONE,
    "GET /metrics": EVERYONE,
}
OPEN_TO_ALL = {
    "GET /livez", "GET /readyz", "GET /version", "GET /openapi.json", "GET /docs",
    "GET /docs/{name}", "GET /v1/signing-keys",
}  # fmt: skip


def asked(route: str) -> tuple[str, str]:
    """A request to a route that finds nothing and, if it is let in, does nothing."""
    method, path = route.split(" ")
    values = {"service_day": "2020-01-01", "media_token": "m", "key_id": "k", "name": "n"}
    values |= {"rule_id": "r", "campaign_id": "c", "operator_id": "o", "sponsor_id": "s"}
    named = (
        *("tap_id", "wallet_id", "correction_id", "disruption_id"),
        *("grant_id", "delivery_id", "hold_id"),
    )
    ids = {name: str(uuid4()) for name in named}
    return method, path.format(**values, **ids)


async def test_every_route_has_its_callers_written_down(door):
    routes = {f"{route.method} {route.path}" for route in door.api.routes}
    assert routes == WHO_MAY.keys() | OPEN_TO_ALL


@pytest.mark.parametrize("role", sorted(EVERYONE))
async def test_each_role_may_do_its_own_work_and_nothing_else(door, role):
    before = await door.books()
    for route, roles in WHO_MAY.items():
        said = await door.ask(*asked(route), {} if route.startswith("POST") else None, who=role)
        if not roles:
            said.check_problem(401, "unauthorized")
        elif role in roles:
            assert said.status not in (401, 403, 500), (route, said)
        else:
            said.check_problem(403, "forbidden", f"yours is {role}")
    assert {**await door.books(), "keys": before["keys"]} == before


async def test_without_a_credential_nothing_is_done(door):
    before = await door.books()
    for route in WHO_MAY:
        (await door.send(*asked(route))).check_problem(401, "unauthorized")
    assert await door.books() == before


async def test_a_gates_signature_opens_only_the_taps(door):
    for route in WHO_MAY:
        if route not in ("POST /v1/taps", "GET /v1/stream", "GET /v1/taps/{tap_id}"):
            method, path = asked(route)
            headers = door.signed(b"", method=method, path=path)
            said = await door.send(method, path, b"", headers)
            said.check_problem(401, "unauthorized")


async def test_a_token_of_one_operator_registers_and_keys_only_its_own_gates(door):
    before = await door.books()
    for gate_id, operator_id in (("new", "metro"), ("luohu-in", "buses")):
        gate = {"gate_id": gate_id, "operator_id": operator_id, "network": "bus"}
        said = await door.ask("POST", "/v1/registry", {"gates": [gate]}, who="buses_gate_operator")
        said.check_problem(403, "forbidden", "another operator's gates")
    wish = {"gate_ids": ["bus-1", "luohu-in"]}
    said = await door.ask("POST", "/v1/gate-keys", wish, who="buses_gate_operator")
    said.check_problem(403, "forbidden")
    path = f"/v1/gate-keys/{door.keys['luohu-in'][0]}"
    (await door.ask("DELETE", path, who="buses_gate_operator")).check_problem(403, "forbidden")
    assert await door.books() == before


async def test_what_another_gateway_has_registered_counts_at_once(open_door):
    seldom = {"registry_poll_ms": 600_000}
    async with open_door(**seldom) as one, open_door(**seldom) as other:
        gate = {"gate_id": "new", "operator_id": "metro", "network": "metro"}
        assert (await one.ask("POST", "/v1/registry", {"gates": [gate]})).status == 200
        taken = {**gate, "operator_id": "buses", "network": "bus"}
        said = await other.ask(
            "POST", "/v1/registry", {"gates": [taken]}, who="buses_gate_operator"
        )
        said.check_problem(403, "forbidden", "another operator's gates")
        newer = {**gate, "gate_id": "newer"}
        assert (await one.ask("POST", "/v1/registry", {"gates": [newer]})).status == 200
        issued = await other.ask("POST", "/v1/gate-keys", {"gate_ids": ["newer"]})
        assert issued.status == 201
        key_id = issued.message["keys"][0]["key_id"]
        assert (await one.ask("DELETE", f"/v1/gate-keys/{key_id}")).status == 200


async def test_a_token_of_one_operator_adds_stops_and_routes_and_changes_none(door):
    async def register(city):
        return await door.ask("POST", "/v1/registry", city, who="buses_gate_operator")

    known = {"stops": [{"stop_id": "luohu"}], "routes": [{"route_id": "M486", "network": "bus"}]}
    new = {"stops": [{"stop_id": "new"}], "routes": [{"route_id": "M1", "network": "bus"}]}
    for city in (known, new):
        assert (await register(city)).status == 200
    before = await door.books()
    for city in (
        {"stops": [{"stop_id": "luohu", "name": "Elsewhere"}]},
        {"routes": [{"route_id": "M486", "network": "metro"}]},
    ):
        (await register(city)).check_problem(403, "forbidden", "everybody's")
    assert await door.books() == before


async def test_a_token_of_one_operator_sees_only_its_own_taps_and_charges(door):
    await door.open_wallet()
    bus, metro = door.tap(), door.metro_tap("enter")
    left = door.metro_tap("exit", stop_id="futian", full_fare=500)
    for tap in (bus, metro, left):
        assert (await door.post_taps(tap)).status == 200
    who = "buses_gate_operator"
    assert (await door.ask("GET", f"/v1/taps/{bus['tap_id']}", who=who)).status == 200
    (await door.ask("GET", f"/v1/taps/{metro['tap_id']}", who=who)).check_problem(404, "not_found")
    wish = {"tap_ids": [bus["tap_id"], left["tap_id"]]}
    said = await door.ask("POST", "/v1/charges", wish, who="buses_finance")
    assert [(one["tap_id"], one["fare_fen"]) for one in said.message["charges"]] == [
        (bus["tap_id"], 200)
    ]
    assert len((await door.ask("POST", "/v1/charges", wish)).message["charges"]) == 2
    for_a_person = [door.tap(route_id=None), door.metro_tap("enter", stop_id=None)]
    for tap in for_a_person:
        await door.post_taps(tap)
    said = await door.ask("GET", "/v1/taps", who=who)
    assert [one["tap"]["tap_id"] for one in said.message["taps"]] == [for_a_person[0]["tap_id"]]
    assert len((await door.ask("GET", "/v1/taps")).message["taps"]) == 2


async def test_a_token_of_one_operator_is_quoted_nothing_of_anothers_card(door):
    wish = {
        "network": "bus", "at": "2018-08-02T00:00:00Z", "route_id": "M486", "full_fare": 200,
        "media_token": "card-1"}  # fmt: skip
    for issuer, status in (("metro", 422), (None, 422), ("buses", 200)):
        await door.open_wallet(wish["media_token"], issuer_id=issuer)
        said = await door.ask("POST", "/v1/quotes", wish, who="buses_finance")
        assert said.status == status, said
        assert (await door.ask("POST", "/v1/quotes", wish)).status == 200
        wish["media_token"] += "x"


async def test_a_token_of_one_operator_opens_no_child_of_anothers_wallet(door):
    parent_id = await door.open_wallet(issuer_id="metro")
    child = {"wallet_id": str(uuid4()), "issuer_id": "buses", "parent_id": parent_id}
    said = await door.ask("POST", "/v1/wallets", [child], who="buses_finance")
    said.check_problem(403, "forbidden")
    own = {"wallet_id": str(uuid4()), "issuer_id": "buses"}
    family = [own, {**child, "parent_id": own["wallet_id"]}]
    said = await door.ask("POST", "/v1/wallets", family, who="buses_finance")
    assert said.status == 200, said


# One tap, one answer.
