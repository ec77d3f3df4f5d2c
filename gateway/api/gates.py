"""The fleet of gates: what each has sent on a service day, and what seems to be missing."""

from __future__ import annotations

from datetime import date

from aiohttp import web
from msgspec import Struct

from gateway.api.given import Given, as_day, now
from gateway.core.gate_days import GateDay
from gateway.shell.gate_store import load_gate_days
from gateway.shell.messages import JSON, encode
from gateway.shell.problems import not_found
from gateway.shell.web import Caller, answer

_LISTED_MAX = 500


class Gates(Struct, frozen=True):
    """Gates by their ids; ask for more with ?after= and the last gate_id."""

    service_day: date
    gates: tuple[GateDay, ...]


class GateRequests:
    """What those who look after gates ask."""

    def __init__(self, given: Given) -> None:
        self._given = given

    async def list_gates(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        asked, given = request.query, self._given
        operator_id = asked.get("operator", caller.operator_id)
        caller.check_operator(operator_id)
        day = as_day(asked["day"]) if "day" in asked else given.book.service_day_of(now())
        registry = given.door.registry.current
        if operator_id is not None and operator_id not in registry.operators:
            raise not_found("No such operator is registered.")
        after = asked.get("after", "")
        gates = [gate for gate in registry.gates_of(operator_id) if gate.gate_id > after]
        found = await load_gate_days(given.long_pool, day, gates[:_LISTED_MAX])
        if found is None:
            raise not_found(f"{day} is archived: look in the archive.")
        return answer(encode(Gates(day, tuple(found)), JSON))
