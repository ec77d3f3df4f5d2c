"""Disruptions: declared by one person, agreed to by another; applied at every close."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from msgspec import Struct

from gateway.api.given import Given, now, uuid_of
from gateway.core.disruptions import DisruptionWish
from gateway.shell.disruption_store import (
    Declared,
    find_disruption,
    save_approval,
    save_disruption,
)
from gateway.shell.disruption_store import (
    list_disruptions as load_disruptions,
)
from gateway.shell.messages import JSON, encode, read_message
from gateway.shell.problems import forbidden, not_found, not_granted
from gateway.shell.web import Caller, answer

_LISTED_MAX = 1000


class Disruptions(Struct, frozen=True):
    """Disruptions, the newest first."""

    disruptions: Sequence[Declared]


class DisruptionRequests:
    """Disruptions."""

    def __init__(self, given: Given) -> None:
        self._given = given

    async def declare_disruption(
        self, request: web.Request, body: bytes, caller: Caller
    ) -> web.Response:
        caller.check_operator(None)
        disruption = read_message(body, request.content_type, DisruptionWish)
        assert caller.token_id is not None
        stops = self._given.door.registry.current.stops
        named = {*disruption.stops, *filter(None, [disruption.completed_at])}
        if unknown := sorted(named - stops.keys()):
            raise not_granted(422, "unknown_stop", f"Register the stop {unknown[0]} first.")
        known_networks = {name for tariff in self._given.book.tariffs for name in tariff.networks}
        if unknown := sorted(set(disruption.networks) - known_networks):
            raise not_granted(422, "unknown_network", f"No tariff has a network {unknown[0]}.")
        if not disruption.is_whole:
            raise not_granted(
                422,
                "fields_differ",
                "Let it end after it begins, and name completed_at with completed only.",
            )
        known = await save_disruption(self._given.pool, disruption, caller.token_id, now())
        if known.disruption != disruption:
            raise not_granted(
                409,
                "disruption_id_reused",
                "This disruption_id was used for another disruption.",
            )
        return answer(encode(known, JSON))

    async def approve_disruption(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        caller.check_operator(None)
        disruption_id, pool = uuid_of(request, "disruption_id"), self._given.pool
        known = await find_disruption(pool, disruption_id)
        if known is None:
            raise not_found("No such disruption was declared.")
        assert caller.token_id is not None
        if known.maker == caller.token_id:
            raise forbidden("Let another person agree than the one who declared it.")
        await save_approval(pool, disruption_id, caller.token_id, now())
        return answer(encode(await find_disruption(pool, disruption_id), JSON))

    async def list_disruptions(
        self, _request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        caller.check_operator(None)
        found = await load_disruptions(self._given.pool, _LISTED_MAX)
        return answer(encode(Disruptions(found), JSON))
