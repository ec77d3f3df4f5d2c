"""Wallets: opened, paid into, blocked and closed; and the cards that pay from them."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from aiohttp import web
from msgspec import Struct

from gateway.api.given import IDS_MAX, Done, Given, media_token_of, now, uuid_of
from gateway.core.ledger import JournalEntry
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
from gateway.shell import store
from gateway.shell.messages import JSON, encode, read_message
from gateway.shell.problems import Problem, not_found
from gateway.shell.web import Caller, answer
from gateway.wallet_path import run_wallet_wishes

_STATEMENT_ENTRIES_MAX = 200


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


def _entry_view(entry: JournalEntry) -> EntryView:
    assert entry.recorded_at is not None
    return EntryView(
        entry_id=entry.entry_id,
        kind=entry.kind,
        effective_at=entry.effective_at,
        recorded_at=entry.recorded_at,
        service_day=entry.service_day,
        settlement_day=entry.settlement_day,
        postings=tuple((posting.account, posting.amount_fen) for posting in entry.postings),
        tap_id=entry.tap_id,
        product_id=entry.product_id,
    )


class Statement(Struct, frozen=True):
    wallet: WalletView
    entries: tuple[EntryView, ...]


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


class WalletRequests:
    """The wallet desk."""

    def __init__(self, given: Given) -> None:
        self._given = given

    async def accept_wallets(
        self, request: web.Request, body: bytes, caller: Caller
    ) -> web.Response:
        wishes = read_message(body, request.content_type, list[OpenWallet])
        if len(wishes) > IDS_MAX:
            raise Problem(422, "too-many-wallets", "Too many wallets", f"Send at most {IDS_MAX}.")
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
        entries = await store.load_entries(
            self._given.pool, wallet.wallet_id, _STATEMENT_ENTRIES_MAX
        )
        views = tuple(map(_entry_view, entries))
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
        await self._grant([Wish(wallet.wallet_id, unbinds=media_token_of(request))])
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
        token = media_token_of(request)
        await self._grant([Wish(wallet.wallet_id, activates=(token, coupon))])
        return answer(encode(Done(), JSON))

    async def _set_media_block(
        self, request: web.Request, caller: Caller, is_blocked: bool
    ) -> web.Response:
        wallet = await self._own_wallet(request, caller)
        token = media_token_of(request)
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
            self._given.pool,
            wishes,
            registry=self._given.door.registry.current,
            book=self._given.book,
            now=now(),
            floor_fen=self._given.settings.wallet_floor_fen,
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
        wallet = await store.load_wallet(self._given.pool, wallet_id)
        if wallet is None:
            raise not_found("No such wallet is open.")
        return view(wallet)

    async def _own_wallet(self, request: web.Request, caller: Caller) -> WalletView:
        wallet = await self._view(uuid_of(request, "wallet_id"))
        caller.check_operator(wallet.issuer_id)
        return wallet
