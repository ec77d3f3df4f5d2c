"""Settlements: days closed, the files by which operators are paid, and those of their trips."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path
from typing import Annotated
from uuid import UUID

from aiohttp import web
from msgspec import Meta, Struct

from gateway.api.given import Given, archive_at_hand, day_of, file_in, now, uuid_of
from gateway.close_process import CloseBroke, close_apart
from gateway.core.signed_books import operator_folder
from gateway.core.taps import Name
from gateway.settlement_path import CloseRefused, list_settlements, load_settlement_file
from gateway.shell.messages import JSON, encode, read_message
from gateway.shell.payout_store import PayoutHold, list_holds, load_hold, release_hold, save_hold
from gateway.shell.problems import Problem, not_found, not_granted
from gateway.shell.settlement_store import list_operator_ids, load_head
from gateway.shell.signing import published_keys
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
        # Each holds its day in memory.
        self._one_at_a_time = asyncio.Lock()

    async def accept_close(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        wish = read_message(body, request.content_type, CloseWish)
        caller.check_operator(None)
        given = self._given
        try:
            async with self._one_at_a_time:
                said = await close_apart(
                    given.settings, given.dsn, wish.service_day, now(), digest=given.book.digest
                )
        except CloseRefused as refused:
            raise Problem(409, "close_refused", "The day cannot be closed", str(refused)) from None
        except CloseBroke as broke:
            detail = f"{broke} Ask again: a close that broke off is finished by the next."
            raise Problem(
                503, "close_broke_off", "The close broke off", detail, retry_after_seconds=5
            ) from None
        return answer(said)

    async def list_settlements(
        self, _request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        caller.check_operator(None)
        with archive_at_hand():
            found = await list_settlements(
                self._given.long_pool, self._given.book, self._given.settings.archive_dir
            )
        return answer(encode(found, JSON))

    async def hold_payout(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        wish = read_message(body, request.content_type, HoldWish)
        caller.check_operator(None)
        pool = self._given.pool
        if wish.operator_id not in await list_operator_ids(pool):
            raise not_granted(422, "unknown_operator", "Register the operator first.")
        hold = PayoutHold(wish.hold_id, wish.operator_id, wish.reason, caller.token_id or "", now())
        kept = await save_hold(pool, hold)
        if (kept.operator_id, kept.reason) != (wish.operator_id, wish.reason):
            raise not_granted(409, "hold_id_reused", "Choose another hold_id.")
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
    ) -> web.StreamResponse:
        return self._file_of(self._given.settings.settlement_dir, request, caller)

    async def get_trips_file(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.StreamResponse:
        return self._file_of(self._given.settings.trips_dir, request, caller)

    def _file_of(self, folder: Path, request: web.Request, caller: Caller) -> web.StreamResponse:
        operator_id = request.match_info["operator_id"]
        caller.check_operator(operator_id)
        own = folder / str(day_of(request)) / operator_folder(operator_id)
        return file_in(own, request.match_info["name"])

    async def get_settlement_file(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        caller.check_operator(None)
        name = request.match_info["name"]
        with archive_at_hand():
            content = await load_settlement_file(
                self._given.long_pool, day_of(request), name, self._given.book, self._given.settings
            )
        if content is None:
            raise not_found("No such file: the day is not closed, or has no file of this name.")
        return answer(content, content_type="application/octet-stream")
