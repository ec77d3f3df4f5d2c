"""What can be asked over HTTP, and what each request means.

`_routes` below is the table of contents.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from aiohttp import web
from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST

from fare_rules import TariffBook
from gateway.core.decide import KeptTap, refusal
from gateway.core.registry import Role
from gateway.core.settlement import Settlement
from gateway.core.taps import Name, Tap, TapOutcome, TapResult, looks_like_card_number
from gateway.core.wallet_desk import (
    ActivateCoupon,
    BindMedia,
    OpenWallet,
    TopUp,
    WalletPlan,
    WalletRefusal,
    WalletView,
    Wish,
    view,
)
from gateway.core.wallets import WalletStatus
from gateway.fares_path import (
    Explanation,
    Quotation,
    QuoteRefused,
    QuoteWish,
    run_explanation,
    run_quote,
)
from gateway.registry_path import (
    City,
    IssuedKey,
    KeyWish,
    check_city,
    run_city_registration,
    run_key_issue,
    run_key_revocation,
)
from gateway.settlement_path import (
    CloseRefused,
    debtor_of,
    list_settlements,
    load_settlement_files,
    run_settlement_close,
)
from gateway.shell import store, telemetry
from gateway.shell.batcher import Answer, Batcher, OutcomeUnknown, Overloaded
from gateway.shell.messages import JSON, encode, read_message, read_taps
from gateway.shell.openapi import openapi_document
from gateway.shell.problems import Problem, busy, forbidden, not_found
from gateway.shell.settings import Settings
from gateway.shell.web import Caller, Door, Route, answer
from gateway.wallet_path import run_wallet_wishes

REPEATS_HEADER = "Faregate-Repeats"
VERSION = importlib.metadata.version("faregate")
_DOCS = Path(__file__).parent / "shell" / "docs"
_STATEMENT_ENTRIES_MAX = 200
_IDS_MAX = 1000
_YEAR_MAX = 9998


class ChargesWish(Struct, frozen=True, forbid_unknown_fields=True):
    """Taps whose net charge is asked for."""

    tap_ids: tuple[UUID, ...]


class TapCharge(Struct, frozen=True):
    """What a tap has come to by now, all corrections included."""

    tap_id: UUID
    operator_id: str
    product_id: str
    ride_count: int
    fare_fen: int


class Charges(Struct, frozen=True):
    charges: tuple[TapCharge, ...]


class TapForAPerson(Struct, frozen=True):
    """A tap that is incomplete, or that no rule could price."""

    tap: Tap
    result: TapResult
    received_at: datetime


class TapsForAPerson(Struct, frozen=True):
    """The oldest first; ask for more with ?after= and the last tap_id."""

    taps: tuple[TapForAPerson, ...]


class IssuedKeys(Struct, frozen=True):
    keys: tuple[IssuedKey, ...]


class Done(Struct, frozen=True):
    """The request was carried out, or had been already."""

    status: str = "done"


class TopUpReceipt(Struct, frozen=True):
    """The same for every copy of one top-up."""

    top_up_id: UUID
    wallet_id: UUID
    amount_fen: int


class EntryView(Struct, frozen=True, omit_defaults=True):
    """One line of a wallet's statement."""

    entry_id: UUID
    kind: str
    effective_at: datetime
    recorded_at: datetime
    service_day: date
    settlement_day: date
    postings: tuple[tuple[str, int], ...]
    tap_id: UUID | None = None
    product_id: str | None = None


class Statement(Struct, frozen=True):
    wallet: WalletView
    entries: tuple[EntryView, ...]


class CloseWish(Struct, frozen=True, forbid_unknown_fields=True):
    """The service day up to which everything is to be settled."""

    service_day: date


class TariffView(Struct, frozen=True):
    tariff_id: str
    effective_from: date
    reference: str
    currency: str
    timezone: str


class Tariffs(Struct, frozen=True):
    digest: str
    tariffs: tuple[TariffView, ...]


class State(Struct, frozen=True):
    """`ready`, or what is missing."""

    status: str


_WALLET_STATUS = {
    WalletRefusal.UNKNOWN_WALLET: 404,
    WalletRefusal.UNKNOWN_MEDIA: 404,
    WalletRefusal.CARD_NUMBER: 422,
    WalletRefusal.UNKNOWN_RIDER_CATEGORY: 422,
    WalletRefusal.UNKNOWN_FARE_MEDIA: 422,
    WalletRefusal.UNKNOWN_PROMOTION: 422,
    WalletRefusal.UNKNOWN_ISSUER: 422,
}
_REMEDIES = {
    WalletRefusal.UNKNOWN_WALLET: "Open the wallet first.",
    WalletRefusal.UNKNOWN_MEDIA: "Bind the media to this wallet first.",
    WalletRefusal.CARD_NUMBER: "Send an opaque token, never a card number.",
    WalletRefusal.UNKNOWN_RIDER_CATEGORY: "Use one of the tariff's rider categories.",
    WalletRefusal.UNKNOWN_FARE_MEDIA: "Use one of the tariff's fare media.",
    WalletRefusal.UNKNOWN_PROMOTION: "Use one of the tariff's promotions with a coupon.",
    WalletRefusal.UNKNOWN_ISSUER: "Register the issuing operator first.",
    WalletRefusal.ISSUER_DIFFERS: "The wallet exists with another issuer; use another id.",
    WalletRefusal.WALLET_CLOSED: "A closed wallet stays closed; open another.",
    WalletRefusal.WALLET_OWES: "Top up what is owed, then close.",
    WalletRefusal.MEDIA_BOUND_ELSEWHERE: "Unbind the media from its other wallet first.",
    WalletRefusal.TOO_MANY_COUPONS: "The card has all the coupons that one can have.",
    WalletRefusal.TOP_UP_ID_REUSED: "This top_up_id was used for another amount or wallet.",
}
_SINGLE_STATUS = {
    TapOutcome.GATE_NOT_SIGNERS: 403,
    TapOutcome.UNKNOWN_GATE: 422,
    TapOutcome.CARD_NUMBER: 422,
    TapOutcome.TAP_ID_REUSED: 409,
}
_TAP_REMEDIES = {
    TapOutcome.GATE_NOT_SIGNERS: "A gate signs for itself and for the gates behind it.",
    TapOutcome.UNKNOWN_GATE: "Register the gate first.",
    TapOutcome.CARD_NUMBER: "media_token looks like a card number; send an opaque token.",
    TapOutcome.TAP_ID_REUSED: "This tap_id was sent with other content; choose a new id.",
}


class Api:
    """The handlers, and what they need."""

    def __init__(
        self,
        door: Door,
        pool: asyncpg.Pool,
        batcher: Batcher,
        book: TariffBook,
        settings: Settings,
        master_key: bytes,
    ) -> None:
        self.door = door
        self.pool = pool
        self.batcher = batcher
        self.book = book
        self.settings = settings
        self.master_key = master_key
        self.routes = _routes(self)
        self.openapi = msgspec.json.encode(openapi_document(self.routes, VERSION))

    # Taps.

    async def accept_taps(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        read, is_array = read_taps(
            body,
            request.content_type,
            taps_max=self.settings.request_taps_max,
            chars_max=self.settings.text_chars_max,
        )
        answers = await self._answer_taps(read, caller)
        if not is_array:
            _raise_if_refused_whole(answers[0].result)
        said = [answer.result for answer in answers] if is_array else answers[0].result
        response = answer(encode(said, request.content_type), content_type=request.content_type)
        if repeats := [i for i, one in enumerate(answers) if one.is_repeat]:
            response.headers[REPEATS_HEADER] = _ranges(repeats)
        return response

    async def _answer_taps(self, read: list[Tap | TapResult], caller: Caller) -> list[Answer]:
        answers: list[Answer | None] = [self._refuse_at_door(one, caller) for one in read]
        mine = [
            (position, tap)
            for position, (tap, known) in enumerate(zip(read, answers, strict=True))
            if known is None and isinstance(tap, Tap)
        ]
        if mine:
            if self.door.is_draining:
                raise busy("The gateway is stopping; another one answers.", "stopping")
            try:
                decided = await self.batcher.submit([tap for _, tap in mine])
            except Overloaded:
                raise busy("Too many taps are waiting. Nothing was taken.", "queue_full") from None
            except OutcomeUnknown:
                raise busy(
                    "The database is away: what became of the taps is not known. Send the same "
                    "taps again, or ask by tap id.",
                    "outcome_unknown",
                ) from None
            for (position, _), one in zip(mine, decided, strict=True):
                answers[position] = one
        return [one for one in answers if one is not None]

    def _refuse_at_door(self, tap: Tap | TapResult, caller: Caller) -> Answer | None:
        if isinstance(tap, TapResult):
            return Answer(tap, False)
        registry = self.door.registry.current
        assert caller.gate_id is not None
        if not registry.may_sign_for(caller.gate_id, tap.gate_id):
            return Answer(refusal(tap, TapOutcome.GATE_NOT_SIGNERS), False)
        if looks_like_card_number(tap.media_token):
            return Answer(refusal(tap, TapOutcome.CARD_NUMBER), False)
        return None

    async def get_tap(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        kept = await store.load_kept(self.pool, _uuid(request, "tap_id"))
        if kept is None or not self._may_see(kept, caller):
            raise not_found("No such tap was answered. If the gate has sent it, send it again.")
        return answer(encode(kept.result, JSON))

    async def explain_tap(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        tap_id = _uuid(request, "tap_id")
        kept = await store.load_kept(self.pool, tap_id)
        if kept is None or not self._may_see(kept, caller):
            raise not_found("No such tap was answered. If the gate has sent it, send it again.")
        return answer(encode(await run_explanation(self.pool, tap_id, self.book), JSON))

    async def quote(self, request: web.Request, body: bytes, _: Caller) -> web.Response:
        wish = read_message(body, request.content_type, QuoteWish)
        try:
            return answer(encode(await run_quote(self.pool, wish, self.book), JSON))
        except QuoteRefused as refused:
            raise _unprocessable("not-known", f"{refused}.") from None

    def _may_see(self, kept: KeptTap, caller: Caller) -> bool:
        registry = self.door.registry.current
        if caller.gate_id is not None:
            return registry.may_sign_for(caller.gate_id, kept.tap.gate_id)
        gate = registry.gates.get(kept.tap.gate_id)
        is_own = gate is not None and gate.operator_id == caller.operator_id
        return caller.operator_id is None or is_own

    async def list_taps(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        after = _as_uuid(request.query["after"], "after") if "after" in request.query else None
        found = await store.list_taps_for_a_person(self.pool, after, _IDS_MAX)
        said = tuple(
            TapForAPerson(kept.tap, kept.result, kept.received_at)
            for kept in found
            if self._may_see(kept, caller)
        )
        return answer(encode(TapsForAPerson(said), JSON))

    async def list_charges(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        wish = read_message(body, request.content_type, ChargesWish)
        if len(wish.tap_ids) > _IDS_MAX:
            raise Problem(422, "too-many-ids", "Too many ids", f"Ask for at most {_IDS_MAX}.")
        charges = [
            TapCharge(**row)
            for row in await store.load_charges(self.pool, wish.tap_ids)
            if caller.operator_id in (None, row["operator_id"])
        ]
        return answer(encode(Charges(tuple(charges)), JSON))

    # The city.

    async def accept_city(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        city = read_message(body, request.content_type, City)
        if city.operators:
            caller.check_operator(None)
            if caller.role is not Role.ADMIN:
                raise forbidden("Only an admin registers operators.")
        for gate in city.gates:
            caller.check_operator(gate.operator_id)
            known = self.door.registry.current.gates.get(gate.gate_id)
            caller.check_operator(known.operator_id if known else gate.operator_id)
        if found := check_city(city, self.door.registry.current, self.book):
            refused, value = found
            raise _unprocessable(refused, f"{value!r} is not known; register it first.")
        try:
            await run_city_registration(self.pool, city)
        except asyncpg.ForeignKeyViolationError:
            raise _unprocessable(
                "unknown_concentrator", "A concentrator must be registered before its own gates."
            ) from None
        await self.door.registry.refresh()
        return answer(encode(Done(), JSON))

    async def accept_gate_keys(
        self, request: web.Request, body: bytes, caller: Caller
    ) -> web.Response:
        wish = read_message(body, request.content_type, KeyWish)
        if wish.valid_until and wish.valid_until.year > _YEAR_MAX:
            raise _unprocessable("invalid-message", f"valid_until is after {_YEAR_MAX}.")
        registry = self.door.registry.current
        for gate_id in wish.gate_ids:
            gate = registry.gates.get(gate_id)
            if gate:
                caller.check_operator(gate.operator_id)
        issued = await run_key_issue(
            self.pool, wish, registry=registry, master_key=self.master_key, now=_now()
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
            raise _unprocessable(refused, f"{gate_id!r} is not known; register it first.")
        await self.door.registry.refresh()
        return answer(encode(IssuedKeys(tuple(issued)), JSON), status=201)

    async def revoke_gate_key(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        key_id = request.match_info["key_id"]
        registry = self.door.registry.current
        key = registry.gate_keys.get(key_id)
        if key is None:
            raise not_found("No such key is active.")
        caller.check_operator(registry.gates[key.gate_id].operator_id)
        await run_key_revocation(self.pool, key_id)
        await self.door.registry.refresh()
        return answer(encode(Done(), JSON))

    # Wallets.

    async def accept_wallets(
        self, request: web.Request, body: bytes, caller: Caller
    ) -> web.Response:
        wishes = read_message(body, request.content_type, list[OpenWallet])
        if len(wishes) > _IDS_MAX:
            raise Problem(422, "too-many-wallets", "Too many wallets", f"Send at most {_IDS_MAX}.")
        for wish in wishes:
            caller.check_operator(wish.issuer_id)
        await self._grant([Wish(wish.wallet_id, opens=wish) for wish in wishes])
        return answer(encode(Done(), JSON))

    async def get_wallet(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        wallet = await self._own_wallet(request, caller)
        return answer(encode(wallet, JSON))

    async def get_statement(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        wallet = await self._own_wallet(request, caller)
        entries = await store.load_entries(self.pool, wallet.wallet_id, _STATEMENT_ENTRIES_MAX)
        views = tuple(
            EntryView(
                entry_id=row["entry_id"],
                kind=row["kind"],
                effective_at=row["effective_at"],
                recorded_at=row["recorded_at"],
                service_day=row["service_day"],
                settlement_day=row["settlement_day"],
                postings=tuple(zip(row["accounts"], row["amounts_fen"], strict=True)),
                tap_id=row["tap_id"],
                product_id=row["product_id"],
            )
            for row in entries
        )
        return answer(encode(Statement(wallet, views), JSON))

    async def accept_top_up(
        self, request: web.Request, body: bytes, caller: Caller
    ) -> web.Response:
        top_up = read_message(body, request.content_type, TopUp)
        wallet = await self._own_wallet(request, caller)
        await self._grant([Wish(wallet.wallet_id, top_up=top_up)])
        receipt = TopUpReceipt(top_up.top_up_id, wallet.wallet_id, top_up.amount_fen)
        return answer(encode(receipt, JSON))

    async def bind_media(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        media = read_message(body, request.content_type, BindMedia)
        wallet = await self._own_wallet(request, caller)
        await self._grant([Wish(wallet.wallet_id, binds=media)])
        return answer(encode(Done(), JSON))

    async def unbind_media(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        wallet = await self._own_wallet(request, caller)
        await self._grant([Wish(wallet.wallet_id, unbinds=_media_token(request))])
        return answer(encode(Done(), JSON))

    async def block_media(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        return await self._set_media_block(request, caller, True)

    async def unblock_media(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        return await self._set_media_block(request, caller, False)

    async def activate_coupon(
        self, request: web.Request, body: bytes, caller: Caller
    ) -> web.Response:
        coupon = read_message(body, request.content_type, ActivateCoupon)
        wallet = await self._own_wallet(request, caller)
        token = _media_token(request)
        await self._grant([Wish(wallet.wallet_id, activates=(token, coupon))])
        return answer(encode(Done(), JSON))

    async def _set_media_block(
        self, request: web.Request, caller: Caller, is_blocked: bool
    ) -> web.Response:
        wallet = await self._own_wallet(request, caller)
        token = _media_token(request)
        await self._grant([Wish(wallet.wallet_id, blocks_media=(token, is_blocked))])
        return answer(encode(Done(), JSON))

    async def block_wallet(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        return await self._set_status(request, caller, WalletStatus.BLOCKED)

    async def unblock_wallet(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        return await self._set_status(request, caller, WalletStatus.OPEN)

    async def close_wallet(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        return await self._set_status(request, caller, WalletStatus.CLOSED)

    async def _set_status(
        self, request: web.Request, caller: Caller, status: WalletStatus
    ) -> web.Response:
        wallet = await self._own_wallet(request, caller)
        await self._grant([Wish(wallet.wallet_id, status=status)])
        return answer(encode(await self._view(wallet.wallet_id), JSON))

    async def _grant(self, wishes: list[Wish]) -> WalletPlan:
        found = await run_wallet_wishes(
            self.pool,
            wishes,
            registry=self.door.registry.current,
            book=self.book,
            now=_now(),
            floor_fen=self.settings.wallet_floor_fen,
        )
        if isinstance(found, WalletRefusal):
            raise Problem(
                _WALLET_STATUS.get(found, 409),
                found,
                found.replace("_", " ").capitalize(),
                f"{_REMEDIES[found]} Nothing was done.",
            )
        return found

    async def _view(self, wallet_id: UUID) -> WalletView:
        wallet = await store.load_wallet(self.pool, wallet_id)
        if wallet is None:
            raise not_found("No such wallet is open.")
        return view(wallet)

    async def _own_wallet(self, request: web.Request, caller: Caller) -> WalletView:
        wallet = await self._view(_uuid(request, "wallet_id"))
        caller.check_operator(wallet.issuer_id)
        return wallet

    # Settlement.

    async def accept_close(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        wish = read_message(body, request.content_type, CloseWish)
        caller.check_operator(None)
        try:
            settlement, _ = await run_settlement_close(
                self.pool,
                wish.service_day,
                book=self.book,
                now=_now(),
                folder=self.settings.settlement_dir,
                debtor=debtor_of(self.settings),
            )
        except CloseRefused as refused:
            raise Problem(409, "close-refused", "The day cannot be closed", str(refused)) from None
        return answer(encode(settlement, JSON))

    async def list_settlements(
        self, _request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        caller.check_operator(None)
        return answer(encode(await list_settlements(self.pool, self.book), JSON))

    async def get_settlement_file(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        caller.check_operator(None)
        day = _day(request)
        files = await load_settlement_files(self.pool, day, self.book)
        content = (files or {}).get(request.match_info["name"])
        if content is None:
            raise not_found("No such file: the day is not closed, or has no file of this name.")
        return answer(content, content_type="application/octet-stream")

    # The service itself.

    async def get_tariffs(self, _request: web.Request, _body: bytes, _: Caller) -> web.Response:
        tariffs = tuple(
            TariffView(t.tariff_id, t.effective_from, t.reference, t.currency, str(t.timezone))
            for t in self.book.tariffs
        )
        return answer(encode(Tariffs(self.book.digest, tariffs), JSON))

    async def get_livez(self, _request: web.Request, _body: bytes, _: Caller) -> web.Response:
        return answer(encode(State("live"), JSON))

    async def get_readyz(self, _request: web.Request, _body: bytes, _: Caller) -> web.Response:
        if self.door.is_draining:
            raise busy("The gateway is stopping.", "stopping")
        try:
            await self.pool.fetchval("SELECT version FROM registry_version", timeout=2)
        except (*store.OUTAGES, asyncpg.PostgresError):
            raise busy("The database does not answer.", "database_away") from None
        return answer(encode(State("ready"), JSON))

    async def get_version(self, _request: web.Request, _body: bytes, _: Caller) -> web.Response:
        said = {"version": VERSION, "tariff_digest": self.book.digest}
        return answer(encode(said, JSON))

    async def get_metrics(self, _request: web.Request, _body: bytes, _: Caller) -> web.Response:
        return web.Response(
            body=telemetry.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def get_openapi(self, _request: web.Request, _body: bytes, _: Caller) -> web.Response:
        return answer(self.openapi)

    async def get_docs(self, _request: web.Request, _body: bytes, _: Caller) -> web.StreamResponse:
        return web.FileResponse(_DOCS / "index.html")

    async def get_docs_part(
        self, request: web.Request, _body: bytes, _: Caller
    ) -> web.StreamResponse:
        path = _DOCS / request.match_info["name"]
        # Asking the file system about any name at all would let it answer for us.
        if path not in _DOCS.glob("*"):
            raise not_found("See /docs.")
        return web.FileResponse(path)


def _routes(api: Api) -> list[Route]:
    admin = frozenset({Role.ADMIN})
    city = admin | {Role.GATE_OPERATOR}
    money = admin | {Role.FINANCE}
    money_readers = money | {Role.AUDITOR}
    everyone = frozenset(Role)
    wallet = "/v1/wallets/{wallet_id}"
    media = wallet + "/media/{media_token}"

    def route(
        method: str,
        path: str,
        handler: Any,
        summary: str,
        answers: Mapping[int, Any],
        roles: frozenset[Role] = frozenset(),
        **more: Any,
    ) -> Route:
        tag = path.split("/")[2] if path.startswith("/v1/") else "service"
        return Route(method, path, handler, summary, tag, roles, answers=answers, **more)

    return [
        route("POST", "/v1/taps", api.accept_taps, "Post one tap, or an array of taps.",
              {200: TapResult | list[TapResult]}, is_signed=True, body=Tap | list[Tap]),
        route("GET", "/v1/taps/{tap_id}", api.get_tap, "Ask what became of a tap.",
              {200: TapResult}, money_readers | city, is_signed=True),
        route("GET", "/v1/taps", api.list_taps,
              "List the taps that a person must look at: incomplete or without a price.",
              {200: TapsForAPerson}, money_readers | city, query=("after",)),
        route("GET", "/v1/taps/{tap_id}/explanation", api.explain_tap,
              "Tell step by step what a tap costs.", {200: Explanation}, money_readers | city),
        route("POST", "/v1/quotes", api.quote, "Price a journey before travel.",
              {200: Quotation}, money_readers, body=QuoteWish),
        route("POST", "/v1/charges", api.list_charges, "Ask what taps have come to by now.",
              {200: Charges}, money_readers, body=ChargesWish),
        route("POST", "/v1/registry", api.accept_city,
              "Register operators, stops, routes and gates.", {200: Done}, city, body=City),
        route("POST", "/v1/gate-keys", api.accept_gate_keys, "Issue a signing key to each gate.",
              {201: IssuedKeys}, city, body=KeyWish),
        route("DELETE", "/v1/gate-keys/{key_id}", api.revoke_gate_key, "Revoke a gate's key.",
              {200: Done}, city),
        route("POST", "/v1/wallets", api.accept_wallets,
              "Open wallets, with their first media and money.",
              {200: Done}, money, body=list[OpenWallet]),
        route("GET", wallet, api.get_wallet, "Show a wallet.", {200: WalletView}, money_readers),
        route("GET", wallet + "/entries", api.get_statement, "Show a wallet's newest entries.",
              {200: Statement}, money_readers),
        route("POST", wallet + "/top-ups", api.accept_top_up, "Pay money in.",
              {200: TopUpReceipt}, money, body=TopUp),
        route("POST", wallet + "/media", api.bind_media, "Let a card or phone pay from a wallet.",
              {200: Done}, money, body=BindMedia),
        route("DELETE", media, api.unbind_media, "Unbind a card or phone.", {200: Done}, money),
        route("POST", media + "/block", api.block_media, "Block a card.", {200: Done}, money),
        route("POST", media + "/unblock", api.unblock_media, "Unblock a card.",
              {200: Done}, money),
        route("POST", media + "/coupons", api.activate_coupon,
              "Activate a promotion's coupon with a card or phone.", {200: Done}, money,
              body=ActivateCoupon),
        route("POST", wallet + "/block", api.block_wallet, "Block a wallet.",
              {200: WalletView}, money),
        route("POST", wallet + "/unblock", api.unblock_wallet, "Unblock a wallet.",
              {200: WalletView}, money),
        route("POST", wallet + "/close", api.close_wallet,
              "Close a wallet and pay its balance out.", {200: WalletView}, money),
        route("POST", "/v1/settlements", api.accept_close,
              "Close everything up to a service day; closing twice changes nothing.",
              {200: Settlement}, money, body=CloseWish),
        route("GET", "/v1/settlements", api.list_settlements, "List the settlements.",
              {200: list[Settlement]}, money_readers),
        route("GET", "/v1/settlements/{service_day}/files/{name}", api.get_settlement_file,
              "Fetch one settlement file.", {200: "application/octet-stream"}, money_readers),
        route("GET", "/v1/tariffs", api.get_tariffs, "Show the tariffs in force.",
              {200: Tariffs}, everyone),
        route("GET", "/livez", api.get_livez, "Is the process alive?",
              {200: State}, is_public=True),
        route("GET", "/readyz", api.get_readyz, "Can it answer taps?",
              {200: State}, is_public=True),
        route("GET", "/version", api.get_version, "What runs here?",
              {200: dict[str, str]}, is_public=True),
        route("GET", "/metrics", api.get_metrics, "Metrics for Prometheus.",
              {200: "text/plain"}, everyone, is_public=api.settings.metrics_public),
        route("GET", "/openapi.json", api.get_openapi, "This document.",
              {200: dict[str, Any]}, is_public=True),
        route("GET", "/docs", api.get_docs, "This document, for people.",
              {200: "text/html"}, is_public=True),
        route("GET", "/docs/{name}", api.get_docs_part, "Parts of that page.",
              {200: "text/html"}, is_public=True),
    ]  # fmt: skip


def _raise_if_refused_whole(result: TapResult) -> None:
    status = _SINGLE_STATUS.get(result.outcome)
    if status is None:
        return
    field = result.fault if isinstance(result.fault, str) else None
    detail = _TAP_REMEDIES[result.outcome]
    if field:
        detail = f"The field {field!r} differs. {detail}"
    title = result.outcome.replace("_", " ").capitalize()
    raise Problem(status, result.outcome, title, detail, field=field)


def _unprocessable(slug: str, detail: str) -> Problem:
    return Problem(422, slug, slug.replace("_", " ").capitalize(), f"{detail} Nothing was done.")


def _ranges(positions: list[int]) -> str:
    """0,1,2,5 as "0-2,5": a header must stay short."""
    spans: list[tuple[int, int]] = []
    for position in positions:
        if spans and spans[-1][1] == position - 1:
            spans[-1] = (spans[-1][0], position)
        else:
            spans.append((position, position))
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def _uuid(request: web.Request, name: str) -> UUID:
    return _as_uuid(request.match_info[name], name)


def _as_uuid(text: str, name: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Problem(
            422, "invalid-id", "The id is not a UUID", f"{name} must be a UUID."
        ) from None


def _media_token(request: web.Request) -> str:
    try:
        return msgspec.convert(request.match_info["media_token"], Name)
    except msgspec.ValidationError as error:
        raise Problem(422, "invalid-id", "The media_token cannot be one", str(error)) from None


def _day(request: web.Request) -> date:
    try:
        return date.fromisoformat(request.match_info["service_day"])
    except ValueError:
        raise Problem(
            422, "invalid-day", "The day is not a date", "Write it as 2026-01-31."
        ) from None


def _now() -> datetime:
    return datetime.now(UTC)
