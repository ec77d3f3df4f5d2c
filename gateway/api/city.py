"""The city: operators, stops, routes, gates and the gates' keys."""

from __future__ import annotations

import asyncpg
from aiohttp import web
from msgspec import Struct

from gateway.api.given import Done, Given, now
from gateway.core.registry import Registry, Role
from gateway.registry_path import (
    City,
    IssuedKey,
    KeyWish,
    RegistryRefusal,
    check_city,
    run_city_registration,
    run_key_issue,
    run_key_revocation,
)
from gateway.shell.messages import JSON, encode, read_message
from gateway.shell.problems import Problem, forbidden, not_found, not_granted
from gateway.shell.web import Caller, answer


class IssuedKeys(Struct, frozen=True):
    keys: tuple[IssuedKey, ...]


def _changes_what_is_shared(city: City, registry: Registry) -> bool:
    return any(registry.stops.get(one.stop_id, one) != one for one in city.stops) or any(
        registry.routes.get(one.route_id, one) != one for one in city.routes
    )


class CityRequests:
    """How the city becomes known to the gateway."""

    def __init__(self, given: Given) -> None:
        self._given = given

    async def accept_city(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        chars_max = self._given.settings.text_chars_max
        city = read_message(body, request.content_type, City, chars_max=chars_max)
        if city.operators:
            caller.check_operator(None)
            if caller.role is not Role.ADMIN:
                raise forbidden("Only an admin registers operators.")
        registry = await self._given.door.registry.newest()
        for gate in city.gates:
            caller.check_operator(gate.operator_id)
            known = registry.gates.get(gate.gate_id)
            caller.check_operator(known.operator_id if known else gate.operator_id)
        if caller.operator_id is not None and _changes_what_is_shared(city, registry):
            raise forbidden("Stops and routes are everybody's: you may add some, but change none.")
        if found := check_city(city, registry, self._given.book):
            refused, value = found
            if refused is RegistryRefusal.GATE_ID_TAKEN:
                detail = f"{value!r} is the gate of rides that the desk puts in; choose another id."
                raise not_granted(422, refused, detail)
            raise not_granted(422, refused, f"{value!r} is not known; register it first.")
        try:
            await run_city_registration(self._given.pool, city)
        except asyncpg.ForeignKeyViolationError:
            raise not_granted(
                422,
                "unknown_concentrator",
                "A concentrator must be registered before its own gates.",
            ) from None
        await self._given.door.registry.refresh()
        return answer(encode(Done(), JSON))

    async def accept_gate_keys(
        self, request: web.Request, body: bytes, caller: Caller
    ) -> web.Response:
        wish = read_message(body, request.content_type, KeyWish)
        if wish.valid_until and wish.valid_until <= now():
            raise not_granted(422, "already_expired", "Let the keys end later than now.")
        registry = await self._given.door.registry.newest()
        for gate_id in wish.gate_ids:
            gate = registry.gates.get(gate_id)
            if gate:
                caller.check_operator(gate.operator_id)
        issued = await run_key_issue(
            self._given.pool, wish, registry=registry, master_key=self._given.master_key, now=now()
        )
        if isinstance(issued, tuple):
            refused, gate_id = issued
            if refused == "too_many_keys":
                raise Problem(
                    409,
                    refused,
                    "The gate has two active keys already",
                    f"Revoke one of {gate_id!r}'s keys first, or say replace.",
                )
            raise not_granted(422, refused, f"{gate_id!r} is not known; register it first.")
        await self._given.door.registry.refresh()
        return answer(encode(IssuedKeys(tuple(issued)), JSON), status=201)

    async def revoke_gate_key(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        key_id = request.match_info["key_id"]
        registry = await self._given.door.registry.newest()
        key = registry.gate_keys.get(key_id)
        if key is None:
            raise not_found("No such key is active.")
        caller.check_operator(registry.gates[key.gate_id].operator_id)
        await run_key_revocation(self._given.pool, key_id)
        await self._given.door.registry.refresh()
        return answer(encode(Done(), JSON))
