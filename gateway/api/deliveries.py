"""Deliveries: where an operator's files go, how each stands, and that it was received."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from aiohttp import web
from msgspec import Meta, Struct

from gateway.api.given import Done, Given, day_of, now, uuid_of
from gateway.core.delivery import Channel, Delivery, DeliveryStatus, Sftp
from gateway.shell import delivery_store as store
from gateway.shell.messages import JSON, encode, read_message
from gateway.shell.problems import not_found, not_granted
from gateway.shell.settlement_store import list_operator_ids
from gateway.shell.web import Caller, answer


class Receipt(Struct, frozen=True, forbid_unknown_fields=True):
    """An operator has taken its files in."""

    detail: Annotated[str, Meta(max_length=200)] = ""


class DeliveryRequests:
    """Deliveries of settlement files."""

    def __init__(self, given: Given) -> None:
        self._given = given

    async def set_channel(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        operator_id = request.match_info["operator_id"]
        caller.check_operator(None)
        channel: Channel = read_message(body, request.content_type, Channel)  # type: ignore[arg-type]
        if isinstance(channel, Sftp):
            _check_host_key(channel)
        pool = self._given.pool
        if operator_id not in await list_operator_ids(pool):
            raise not_granted(422, "unknown_operator", "Register the operator first.")
        await store.set_channel(pool, operator_id, channel, caller.token_id or "", now())
        return answer(encode(Done(), JSON))

    async def list_deliveries(
        self, _request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        return await self._listed(caller, None)

    async def list_of_day(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        return await self._listed(caller, day_of(request))

    async def _listed(self, caller: Caller, day: date | None) -> web.Response:
        found = await store.list_deliveries(
            self._given.pool, day=day, operator_id=caller.operator_id
        )
        return answer(encode(found, JSON))

    async def retry(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        caller.check_operator(None)
        delivery = await self._own(request, caller)
        if not await store.retry(self._given.pool, delivery.delivery_id, now()):
            detail = "It was sent; ask the operator to acknowledge it."
            raise not_granted(409, "already_sent", detail)
        return answer(encode(Done(), JSON))

    async def acknowledge(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        receipt = read_message(body, request.content_type, Receipt)
        delivery = await self._own(request, caller)
        statuses = {event.status for event in delivery.events}
        if DeliveryStatus.SENT not in statuses:
            raise not_granted(409, "not_sent", "It was not sent yet.")
        if DeliveryStatus.ACKNOWLEDGED not in statuses:
            status, pool = DeliveryStatus.ACKNOWLEDGED, self._given.pool
            await store.add_event(pool, delivery.delivery_id, status, receipt.detail, now())
        return answer(encode(Done(), JSON))

    async def _own(self, request: web.Request, caller: Caller) -> Delivery:
        delivery_id = uuid_of(request, "delivery_id")
        found = await store.list_deliveries(self._given.pool, delivery_id=delivery_id)
        if not found:
            raise not_found("No such delivery was made.")
        caller.check_operator(found[0].operator_id)
        return found[0]


def _check_host_key(channel: Sftp) -> None:
    # Loaded when it is needed: a gateway that only takes taps starts without SSH.
    from gateway.shell.couriers import read_host_key

    try:
        read_host_key(channel.host_key)
    except ValueError:
        raise not_granted(422, "bad_host_key", "Send a line of ssh-keyscan as host_key.") from None
