"""Settlements: days closed, and the files by which operators are paid."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated
from uuid import UUID

from aiohttp import web
from msgspec import Meta, Struct

from gateway.api.given import Given, archive_at_hand, day_of, now, unprocessable, uuid_of
from gateway.core.signed_books import operator_folder
from gateway.core.taps import Name
from gateway.settlement_path import (
    CloseRefused,
    debtor_of,
    list_settlements,
    load_settlement_file,
    run_settlement_close,
)
from gateway.shell.messages import JSON, encode, read_message
from gateway.shell.problems import Problem, not_found
from gateway.shell.settlement_store import (
    PayoutHold,
    list_holds,
    list_operator_ids,
    load_head,
    load_hold,
    release_hold,
    save_hold,
)
from gateway.shell.signing import published_keys, signer_of
from gateway.shell.web import Caller, answer


class CloseWish(Struct, frozen=True, forbid_unknown_fields=True):
    """The service day up to which everything is to be settled."""

    service_day: date


class HoldWish(Struct, frozen=True, forbid_unknown_fields=True):
    """Keep an operator's payout back until another person lets it go."""

    hold_id: UUID
    operator_id: Name
    reason: Annotated[str, Meta(min_length=3, max_length=200)]


class SettlementRequests:
    """The close of service days."""

    def __init__(self, given: Given) -> None:
        self._given = given

    async def accept_close(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        wish = read_message(body, request.content_type, CloseWish)
        caller.check_operator(None)
        try:
            settlement, _ = await run_settlement_close(
                self._given.pool,
                wish.service_day,
                book=self._given.book,
                now=now(),
                folder=self._given.settings.settlement_dir,
                debtor=debtor_of(self._given.settings),
                archive=self._given.settings.archive_dir,
                signer=signer_of(self._given.settings),
            )
        except CloseRefused as refused:
            raise Problem(409, "close-refused", "The day cannot be closed", str(refused)) from None
        return answer(encode(settlement, JSON))

    async def list_settlements(
        self, _request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        caller.check_operator(None)
        with archive_at_hand():
            found = await list_settlements(
                self._given.pool, self._given.book, self._given.settings.archive_dir
            )
        return answer(encode(found, JSON))

    async def hold_payout(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        wish = read_message(body, request.content_type, HoldWish)
        caller.check_operator(None)
        pool = self._given.pool
        if wish.operator_id not in await list_operator_ids(pool):
            raise unprocessable("unknown_operator", "Register the operator first.")
        hold = PayoutHold(wish.hold_id, wish.operator_id, wish.reason, caller.token_id or "", now())
        kept = await save_hold(pool, hold)
        if (kept.operator_id, kept.reason) != (wish.operator_id, wish.reason):
            raise Problem(409, "hold_id_reused", "Hold id reused", "Choose another hold_id.")
        return answer(encode(kept, JSON))

    async def release_payout(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        caller.check_operator(None)
        hold_id, pool = uuid_of(request, "hold_id"), self._given.pool
        is_released = await release_hold(pool, hold_id, caller.token_id or "", now())
        kept = await load_hold(pool, hold_id)
        if kept is None:
            raise not_found("No such payout is held.")
        if not is_released and kept.released_by is None:
            detail = "Whoever holds a payout does not let it go; another person must."
            raise Problem(409, "same_person", "Two people are needed", detail)
        return answer(encode(kept, JSON))

    async def list_payout_holds(
        self, _request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        caller.check_operator(None)
        return answer(encode(await list_holds(self._given.pool), JSON))

    async def list_keys(self, _request: web.Request, _body: bytes, _caller: Caller) -> web.Response:
        return answer(encode(published_keys(self._given.settings.settlement_dir), JSON))

    async def get_head(self, _request: web.Request, _body: bytes, _caller: Caller) -> web.Response:
        head = await load_head(self._given.pool)
        if head is None:
            raise not_found("Nothing is settled yet.")
        return answer(encode(head, JSON))

    async def get_operator_file(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        operator_id = request.match_info["operator_id"]
        caller.check_operator(operator_id)
        day = self._given.settings.settlement_dir / str(day_of(request))
        # A name that was asked for may lead anywhere; one that is listed lies in the folder.
        listed = {path.name: path for path in (day / operator_folder(operator_id)).glob("*")}
        path = listed.get(request.match_info["name"])
        if path is None or path.suffix not in (".csv", ".json", ".sig"):
            raise not_found("No such file: the day is not closed, or has no file of this name.")
        content = await asyncio.to_thread(path.read_bytes)
        return answer(content, content_type="application/octet-stream")

    async def get_settlement_file(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        caller.check_operator(None)
        name = request.match_info["name"]
        with archive_at_hand():
            content = await load_settlement_file(
                self._given.pool, day_of(request), name, self._given.book, self._given.settings
            )
        if content is None:
            raise not_found("No such file: the day is not closed, or has no file of this name.")
        return answer(content, content_type="application/octet-stream")
