"""What may be done with wallets, fare media and money paid in.

Pure: wishes and a snapshot in, a plan out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID, uuid5

from msgspec import Meta, Struct, structs

from fare_rules import CompiledTariff
from gateway.core.ledger import BANK, JournalEntry, Posting, rider_postings
from gateway.core.posting import settlement_day
from gateway.core.taps import Name, looks_like_card_number
from gateway.core.wallets import Media, Wallet, WalletStatus

# Each rides along with every tap of its card.
COUPONS_MAX = 20


class WalletRefusal(StrEnum):
    """Why a wish is not granted. Ordered by precedence; the whole request has no effect."""

    CARD_NUMBER = "card_number"
    UNKNOWN_WALLET = "unknown_wallet"
    UNKNOWN_MEDIA = "unknown_media"
    UNKNOWN_RIDER_CATEGORY = "unknown_rider_category"
    UNKNOWN_FARE_MEDIA = "unknown_fare_media"
    UNKNOWN_PROMOTION = "unknown_promotion"
    UNKNOWN_ISSUER = "unknown_issuer"
    ISSUER_DIFFERS = "issuer_differs"
    WALLET_CLOSED = "wallet_closed"
    WALLET_OWES = "wallet_owes"
    MEDIA_BOUND_ELSEWHERE = "media_bound_elsewhere"
    TOO_MANY_COUPONS = "too_many_coupons"
    TOP_UP_ID_REUSED = "top_up_id_reused"


Amount = Annotated[int, Meta(ge=1, le=100_000_000, description="minor units; more than nothing")]


class BindMedia(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A card or phone that is to pay from a wallet."""

    media_token: Name
    rider_category: Name | None = None
    fare_media: Name = "card"


class TopUp(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Money paid in. The caller chooses the id, so sending twice pays once."""

    top_up_id: UUID
    amount_fen: Amount


class ActivateCoupon(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A coupon that a rider activates with a card or phone. Twice at one moment is once."""

    promotion_id: Name
    activated_at: Annotated[datetime, Meta(tz=True, description="from when its days count")]


class OpenWallet(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A wallet to open, with its first media and money.

    The caller chooses the id: twice opens one.
    """

    wallet_id: UUID
    issuer_id: Name | None = None
    media: Annotated[tuple[BindMedia, ...], Meta(max_length=20)] = ()
    top_up: TopUp | None = None


class Wish(Struct, frozen=True):
    """One thing asked of one wallet. Exactly one of the fields after the first is set."""

    wallet_id: UUID
    opens: OpenWallet | None = None
    binds: BindMedia | None = None
    unbinds: str | None = None
    blocks_media: tuple[str, bool] | None = None
    activates: tuple[str, ActivateCoupon] | None = None
    top_up: TopUp | None = None
    status: WalletStatus | None = None


class WalletView(Struct, frozen=True, omit_defaults=True):
    """A wallet as people are shown it."""

    wallet_id: UUID
    status: WalletStatus
    balance_fen: int
    owed_fen: int
    floor_fen: int
    issuer_id: str | None = None


class WalletSnapshot(Struct, frozen=True):
    """All that was loaded for some wishes."""

    now: datetime
    today: date
    closed_through: date | None
    issuers: frozenset[str]
    wallets: dict[UUID, Wallet]
    media: dict[str, Media]
    top_ups: dict[UUID, tuple[UUID, int]]


class WalletPlan(Struct, frozen=True):
    """All that is to be saved."""

    opened: tuple[Wallet, ...]
    changed: tuple[Wallet, ...]
    media: tuple[Media, ...]
    entries: tuple[JournalEntry, ...]


def view(wallet: Wallet) -> WalletView:
    return WalletView(
        wallet_id=wallet.wallet_id,
        status=wallet.status,
        balance_fen=wallet.balance_fen,
        owed_fen=wallet.owed_fen,
        floor_fen=wallet.floor_fen,
        issuer_id=wallet.issuer_id,
    )


def grant(
    wishes: Sequence[Wish], snapshot: WalletSnapshot, tariff: CompiledTariff, *, floor_fen: int
) -> WalletPlan | WalletRefusal:
    """Grant all wishes or none."""
    desk = _Desk(snapshot, tariff, floor_fen)
    for wish in wishes:
        if refusal := desk.grant(wish):
            return refusal
    known = snapshot.wallets
    return WalletPlan(
        opened=tuple(w for w in desk.wallets.values() if w.wallet_id not in known),
        changed=tuple(w for i, w in desk.wallets.items() if i in known and w is not known[i]),
        media=tuple(m for t, m in desk.media.items() if m is not snapshot.media.get(t)),
        entries=tuple(desk.entries),
    )


class _Desk:
    def __init__(self, snapshot: WalletSnapshot, tariff: CompiledTariff, floor_fen: int) -> None:
        self.snapshot = snapshot
        self.tariff = tariff
        self.floor_fen = floor_fen
        self.wallets = dict(snapshot.wallets)
        self.media = dict(snapshot.media)
        self.top_ups = dict(snapshot.top_ups)
        self.entries: list[JournalEntry] = []

    def grant(self, wish: Wish) -> WalletRefusal | None:
        if wish.opens:
            return self._open(wish.opens)
        wallet = self.wallets.get(wish.wallet_id)
        if wallet is None:
            return WalletRefusal.UNKNOWN_WALLET
        if wish.binds:
            return self._bind(wallet, wish.binds)
        if wish.unbinds is not None:
            return self._change_media(wallet, wish.unbinds, wallet_id=None)
        if wish.blocks_media:
            token, is_blocked = wish.blocks_media
            return self._change_media(wallet, token, is_blocked=is_blocked)
        if wish.activates:
            return self._activate(wallet, *wish.activates)
        if wish.top_up:
            return self._top_up(wallet, wish.top_up)
        assert wish.status
        return self._set_status(wallet, wish.status)

    def _open(self, wish: OpenWallet) -> WalletRefusal | None:
        wallet = self.wallets.get(wish.wallet_id)
        if wallet is None:
            if wish.issuer_id is not None and wish.issuer_id not in self.snapshot.issuers:
                return WalletRefusal.UNKNOWN_ISSUER
            wallet = Wallet(wish.wallet_id, issuer_id=wish.issuer_id, floor_fen=self.floor_fen)
            # A purse that may go below zero starts at zero all the same.
            self.wallets[wallet.wallet_id] = wallet
        elif wallet.issuer_id != wish.issuer_id:
            return WalletRefusal.ISSUER_DIFFERS
        for media in wish.media:
            if refusal := self._bind(wallet, media):
                return refusal
        return self._top_up(wallet, wish.top_up) if wish.top_up else None

    def _bind(self, wallet: Wallet, wish: BindMedia) -> WalletRefusal | None:
        category = wish.rider_category or self.tariff.default_rider_category
        if looks_like_card_number(wish.media_token):
            return WalletRefusal.CARD_NUMBER
        if category not in self.tariff.rider_categories:
            return WalletRefusal.UNKNOWN_RIDER_CATEGORY
        if wish.fare_media not in self.tariff.fare_media:
            return WalletRefusal.UNKNOWN_FARE_MEDIA
        if wallet.status is WalletStatus.CLOSED:
            return WalletRefusal.WALLET_CLOSED
        known = self.media.get(wish.media_token)
        if known and known.wallet_id not in (None, wallet.wallet_id):
            return WalletRefusal.MEDIA_BOUND_ELSEWHERE
        media = Media(
            wish.media_token,
            wallet.wallet_id,
            category,
            wish.fare_media,
            known.is_blocked if known else False,
            # Whoever has a card next has not activated what the last rider did.
            known.coupons if known and known.wallet_id else (),
        )
        if media != known:
            self.media[wish.media_token] = media
        return None

    def _change_media(self, wallet: Wallet, token: str, **changes: object) -> WalletRefusal | None:
        media = self.media.get(token)
        if media is None or media.wallet_id != wallet.wallet_id:
            return WalletRefusal.UNKNOWN_MEDIA
        self.media[token] = structs.replace(media, **changes)
        return None

    def _activate(self, wallet: Wallet, token: str, wish: ActivateCoupon) -> WalletRefusal | None:
        media = self.media.get(token)
        if media is None or media.wallet_id != wallet.wallet_id:
            return WalletRefusal.UNKNOWN_MEDIA
        if wish.promotion_id not in self.tariff.coupon_promotions:
            return WalletRefusal.UNKNOWN_PROMOTION
        coupon = (wish.promotion_id, wish.activated_at.astimezone(UTC))
        if coupon in media.coupons:
            return None
        if len(media.coupons) >= COUPONS_MAX:
            return WalletRefusal.TOO_MANY_COUPONS
        self.media[token] = structs.replace(media, coupons=(*media.coupons, coupon))
        return None

    def _top_up(self, wallet: Wallet, wish: TopUp) -> WalletRefusal | None:
        known = self.top_ups.get(wish.top_up_id)
        if known == (wallet.wallet_id, wish.amount_fen):
            return None
        if known:
            return WalletRefusal.TOP_UP_ID_REUSED
        if wallet.status is WalletStatus.CLOSED:
            return WalletRefusal.WALLET_CLOSED
        self.top_ups[wish.top_up_id] = (wallet.wallet_id, wish.amount_fen)
        self._move(wallet, wish.amount_fen, "top_up", wish.top_up_id)
        return None

    def _set_status(self, wallet: Wallet, status: WalletStatus) -> WalletRefusal | None:
        if wallet.status is status:
            return None
        if wallet.status is WalletStatus.CLOSED:
            return WalletRefusal.WALLET_CLOSED
        if status is WalletStatus.CLOSED:
            if wallet.net_fen < 0:
                return WalletRefusal.WALLET_OWES
            if wallet.net_fen:
                cause_id = uuid5(wallet.wallet_id, f"payout {wallet.version}")
                wallet = self._move(wallet, -wallet.net_fen, "payout", cause_id)
        changed = structs.replace(wallet, status=status, version=wallet.version + 1)
        self.wallets[wallet.wallet_id] = changed
        return None

    def _move(self, wallet: Wallet, amount_fen: int, kind: str, cause_id: UUID) -> Wallet:
        moved = wallet.moved(amount_fen)
        self.entries.append(
            JournalEntry(
                kind=kind,
                cause_id=cause_id,
                wallet_id=wallet.wallet_id,
                wallet_version=moved.version,
                effective_at=self.snapshot.now,
                service_day=self.snapshot.today,
                settlement_day=settlement_day(self.snapshot.today, self.snapshot.closed_through),
                postings=(*rider_postings(wallet, moved), Posting(BANK, -amount_fen)),
            )
        )
        self.wallets[wallet.wallet_id] = moved
        return moved
