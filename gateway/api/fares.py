"""Fares: prices told before travel, and the tariffs in force."""

from __future__ import annotations

from datetime import date

from aiohttp import web
from msgspec import Struct

from gateway.api.given import Given
from gateway.fares_path import QuoteRefused, QuoteWish, run_quote
from gateway.shell.messages import JSON, encode, read_message
from gateway.shell.problems import not_granted
from gateway.shell.web import Caller, answer


class TariffView(Struct, frozen=True):
    tariff_id: str
    effective_from: date
    reference: str
    currency: str
    timezone: str


class Tariffs(Struct, frozen=True):
    digest: str
    tariffs: tuple[TariffView, ...]


class FareRequests:
    """What travel costs."""

    def __init__(self, given: Given) -> None:
        self._given = given

    async def quote(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        wish, given = read_message(body, request.content_type, QuoteWish), self._given
        try:
            found = await run_quote(given.pool, wish, given.book, issuer_id=caller.operator_id)
        except QuoteRefused as refused:
            raise not_granted(422, "not_known", f"{refused}.") from None
        return answer(encode(found, JSON))

    async def get_tariffs(self, _request: web.Request, _body: bytes, _: Caller) -> web.Response:
        tariffs = tuple(
            TariffView(t.tariff_id, t.effective_from, t.reference, t.currency, str(t.timezone))
            for t in self._given.book.tariffs
        )
        return answer(encode(Tariffs(self._given.book.digest, tariffs), JSON))
