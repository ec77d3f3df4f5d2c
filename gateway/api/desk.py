"""What all requests at the wallet desk share: refusals told, entries shown, own wallets only."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from aiohttp import web
from msgspec import Struct

from gateway.api.given import Given, granted, now, uuid_of
from gateway.core.ledger import JournalEntry
from gateway.core.wallet_classes import WalletClasses
from gateway.core.wallet_desk import WalletPlan
from gateway.core.wallet_wishes import WalletRefusal, WalletView, Wish
from gateway.core.wallet_wishes import view as wallet_view
from gateway.shell import wallet_store
from gateway.shell.problems import not_found
from gateway.shell.web import Caller
from gateway.wallet_path import run_wallet_wishes


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


def entry_view(entry: JournalEntry) -> EntryView:
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


_STATUS = {
    WalletRefusal.UNKNOWN_WALLET: 404,
    WalletRefusal.UNKNOWN_MEDIA: 404,
    WalletRefusal.CARD_NUMBER: 422,
    WalletRefusal.UNKNOWN_RIDER_CATEGORY: 422,
    WalletRefusal.UNKNOWN_FARE_MEDIA: 422,
    WalletRefusal.UNKNOWN_PROMOTION: 422,
    WalletRefusal.UNKNOWN_ISSUER: 422,
    WalletRefusal.UNKNOWN_CLASS: 422,
    WalletRefusal.UNKNOWN_PARENT: 422,
    WalletRefusal.UNKNOWN_PURSE_RULE: 422,
    WalletRefusal.UNKNOWN_FUNDER: 422,
    WalletRefusal.UNKNOWN_GRANT: 404,
    WalletRefusal.GRANT_OVER: 422,
}
_REMEDIES = {
    WalletRefusal.UNKNOWN_WALLET: "Open the wallet first.",
    WalletRefusal.UNKNOWN_MEDIA: "Bind the media to this wallet first.",
    WalletRefusal.CARD_NUMBER: "Send an opaque token, never a card number.",
    WalletRefusal.UNKNOWN_RIDER_CATEGORY: "Use one of the tariff's rider categories.",
    WalletRefusal.UNKNOWN_FARE_MEDIA: "Use one of the tariff's fare media.",
    WalletRefusal.UNKNOWN_PROMOTION: "Use one of the tariff's promotions with a coupon.",
    WalletRefusal.UNKNOWN_ISSUER: "Register the issuing operator first.",
    WalletRefusal.UNKNOWN_CLASS: "Use one of the classes of wallets.yaml.",
    WalletRefusal.UNKNOWN_PARENT: (
        "Limits of its own has a child of an open wallet that is no child itself."
    ),
    WalletRefusal.UNKNOWN_PURSE_RULE: "Use one of the tariff's purse rules.",
    WalletRefusal.UNKNOWN_FUNDER: "Use one of the tariff's sponsors.",
    WalletRefusal.UNKNOWN_GRANT: "No such grant was made to this wallet.",
    WalletRefusal.TERMS_DIFFER: "The wallet exists with another class, parent or limits.",
    WalletRefusal.CHILD_LIMITS_TOO_HIGH: (
        "Say each limit that the parent has, within what it and its other children leave of it."
    ),
    WalletRefusal.WALLET_HAS_CHILDREN: "Close its children first.",
    WalletRefusal.WALLET_RIDES: "A ride is under way; close when it has ended.",
    WalletRefusal.GRANT_ID_REUSED: "This grant_id was used for another grant.",
    WalletRefusal.TRANSFER_ID_REUSED: "This transfer_id was used for another transfer.",
    WalletRefusal.NOT_OF_ONE_FAMILY: "Money moves between a parent and its children only.",
    WalletRefusal.GRANT_OVER: "Let it end later than it begins, and later than now.",
    WalletRefusal.TOO_MANY_PURSES: "The wallet has all the purses that one can have.",
    WalletRefusal.BALANCE_TOO_LOW: "The main purse holds less, or a ride under way holds it.",
    WalletRefusal.BALANCE_LIMIT: "The wallet would hold more than its class allows.",
    WalletRefusal.ISSUER_DIFFERS: "The wallet exists with another issuer; use another id.",
    WalletRefusal.WALLET_CLOSED: "A closed wallet stays closed; open another.",
    WalletRefusal.WALLET_OWES: "Top up what is owed, then close.",
    WalletRefusal.MEDIA_BOUND_ELSEWHERE: "Unbind the media from its other wallet first.",
    WalletRefusal.NO_COUPON_LEFT: (
        "The campaign gives no more coupons: to anybody, to this rider, or now."
    ),
    WalletRefusal.TOO_MANY_COUPONS: "The card has all the coupons that one can have.",
    WalletRefusal.TOP_UP_ID_REUSED: "This top_up_id was used for another amount or wallet.",
}


class Desk:
    """A desk at which wallets are dealt with."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._classes = WalletClasses.of(given.book.wallet_classes)

    async def grant(self, wishes: list[Wish]) -> WalletPlan:
        found = await run_wallet_wishes(
            self._given.pool,
            wishes,
            registry=self._given.door.registry.current,
            book=self._given.book,
            now=now(),
            floor_fen=self._given.settings.wallet_floor_fen,
            classes=self._classes,
        )
        return granted(found, _REMEDIES, _STATUS)

    async def view(self, wallet_id: UUID) -> WalletView:
        wallet = await wallet_store.load_wallet(self._given.pool, wallet_id)
        if wallet is None:
            raise not_found("No such wallet is open.")
        return wallet_view(wallet)

    async def own_wallet(self, request: web.Request, caller: Caller) -> WalletView:
        wallet = await self.view(uuid_of(request, "wallet_id"))
        caller.check_operator(wallet.issuer_id)
        return wallet
