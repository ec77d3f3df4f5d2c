"""Wallets: opened, paid into, blocked and closed; and the cards that pay from them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from aiohttp import web
from msgspec import Struct

from gateway.api.desk import Desk, EntryView, entry_view
from gateway.api.given import IDS_MAX, Done, media_token_of
from gateway.core.purse_desk import Amount, Transfer
from gateway.core.taps import Name
from gateway.core.wallet_classes import AutoTopUp
from gateway.core.wallet_wishes import (
    ActivateCoupon,
    BindMedia,
    OpenWallet,
    TopUp,
    WalletView,
    Wish,
)
from gateway.core.wallets import WalletStatus
from gateway.shell import wallet_store
from gateway.shell.messages import JSON, encode, read_message
from gateway.shell.problems import not_granted
from gateway.shell.web import Caller, answer

_STATEMENT_ENTRIES_MAX = 200


class TopUpReceipt(Struct, frozen=True):
    """The same for every copy of one top-up."""

    top_up_id: UUID
    wallet_id: UUID
    amount_fen: int


class Statement(Struct, frozen=True):
    wallet: WalletView
    entries: tuple[EntryView, ...]


class ClassWish(Struct, frozen=True, forbid_unknown_fields=True):
    class_id: Name


class AutoTopUpWish(Struct, frozen=True, forbid_unknown_fields=True):
    """Once a day, when less than this is in the main purse at the gate, so much is paid in."""

    below_fen: Amount
    amount_fen: Amount


class WalletRequests(Desk):
    """The wallet desk."""

    async def accept_wallets(
        self, request: web.Request, body: bytes, caller: Caller
    ) -> web.Response:
        chars_max = self._given.settings.text_chars_max
        kind = list[OpenWallet]
        wishes = read_message(body, request.content_type, kind, chars_max=chars_max)
        if len(wishes) > IDS_MAX:
            raise not_granted(422, "too_many_wallets", f"Send at most {IDS_MAX}.")
        for wish in wishes:
            caller.check_operator(wish.issuer_id)
        for parent_id in {one.parent_id for one in wishes if caller.operator_id and one.parent_id}:
            parent = await wallet_store.load_wallet(self._given.pool, parent_id)
            if parent is not None:
                caller.check_operator(parent.issuer_id)
        await self.grant([Wish(wish.wallet_id, opens=wish) for wish in wishes])
        return answer(encode(Done(), JSON))

    async def get_wallet(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        wallet = await self.own_wallet(request, caller)
        return answer(encode(wallet, JSON))

    async def get_statement(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        wallet = await self.own_wallet(request, caller)
        entries = await wallet_store.load_entries(
            self._given.pool, wallet.wallet_id, _STATEMENT_ENTRIES_MAX
        )
        views = tuple(map(entry_view, entries))
        return answer(encode(Statement(wallet, views), JSON))

    async def accept_top_up(
        self, request: web.Request, body: bytes, caller: Caller
    ) -> web.Response:
        top_up = read_message(body, request.content_type, TopUp)
        wallet = await self.own_wallet(request, caller)
        await self.grant([Wish(wallet.wallet_id, top_up=top_up)])
        receipt = TopUpReceipt(top_up.top_up_id, wallet.wallet_id, top_up.amount_fen)
        return answer(encode(receipt, JSON))

    async def bind_media(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        chars_max = self._given.settings.text_chars_max
        media = read_message(body, request.content_type, BindMedia, chars_max=chars_max)
        wallet = await self.own_wallet(request, caller)
        await self.grant([Wish(wallet.wallet_id, binds=media)])
        return answer(encode(Done(), JSON))

    async def unbind_media(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        wallet = await self.own_wallet(request, caller)
        await self.grant([Wish(wallet.wallet_id, unbinds=media_token_of(request))])
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
        wallet = await self.own_wallet(request, caller)
        token = media_token_of(request)
        await self.grant([Wish(wallet.wallet_id, activates=(token, coupon))])
        return answer(encode(Done(), JSON))

    async def _set_media_block(
        self, request: web.Request, caller: Caller, is_blocked: bool
    ) -> web.Response:
        wallet = await self.own_wallet(request, caller)
        token = media_token_of(request)
        await self.grant([Wish(wallet.wallet_id, blocks_media=(token, is_blocked))])
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

    async def set_class(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        wish = read_message(body, request.content_type, ClassWish)
        return await self._set_terms(request, caller, sets_class=wish.class_id)

    async def set_auto_top_up(
        self, request: web.Request, body: bytes, caller: Caller
    ) -> web.Response:
        rule = read_message(body, request.content_type, AutoTopUpWish)
        wish = AutoTopUp(rule.below_fen, rule.amount_fen)
        return await self._set_terms(request, caller, sets_auto_top_up=wish)

    async def end_auto_top_up(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        return await self._set_terms(request, caller, sets_auto_top_up="never")

    async def verify_wallet(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        return await self._set_terms(request, caller, verifies=True)

    async def _set_terms(self, request: web.Request, caller: Caller, **wish: Any) -> web.Response:
        wallet = await self.own_wallet(request, caller)
        await self.grant([Wish(wallet.wallet_id, **wish)])
        return answer(encode(await self.view(wallet.wallet_id), JSON))

    async def accept_transfer(
        self, request: web.Request, body: bytes, caller: Caller
    ) -> web.Response:
        transfer = read_message(body, request.content_type, Transfer)
        wallet = await self.own_wallet(request, caller)
        await self.grant([Wish(wallet.wallet_id, transfers=transfer)])
        return answer(encode(await self.view(wallet.wallet_id), JSON))

    async def _set_status(
        self, request: web.Request, caller: Caller, status: WalletStatus
    ) -> web.Response:
        wallet = await self.own_wallet(request, caller)
        await self.grant([Wish(wallet.wallet_id, status=status)])
        return answer(encode(await self.view(wallet.wallet_id), JSON))
