"""What may be asked of the wallet desk, why it may be refused, and how a wallet is shown."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct, structs

from gateway.core.purse_desk import Amount, GrantMoney, Transfer
from gateway.core.taps import Name
from gateway.core.wallet_classes import AutoTopUp, BoundFen, Bounds, Terms
from gateway.core.wallets import Wallet, WalletStatus


class WalletRefusal(StrEnum):
    """Why a wish is not granted. Ordered by precedence; the whole request has no effect."""

    CARD_NUMBER = "card_number"
    UNKNOWN_WALLET = "unknown_wallet"
    UNKNOWN_MEDIA = "unknown_media"
    UNKNOWN_RIDER_CATEGORY = "unknown_rider_category"
    UNKNOWN_FARE_MEDIA = "unknown_fare_media"
    UNKNOWN_PROMOTION = "unknown_promotion"
    UNKNOWN_ISSUER = "unknown_issuer"
    UNKNOWN_CLASS = "unknown_class"
    UNKNOWN_PARENT = "unknown_parent"
    UNKNOWN_PURSE_RULE = "unknown_purse_rule"
    UNKNOWN_FUNDER = "unknown_funder"
    UNKNOWN_GRANT = "unknown_grant"
    ISSUER_DIFFERS = "issuer_differs"
    TERMS_DIFFER = "terms_differ"
    CHILD_LIMITS_TOO_HIGH = "child_limits_too_high"
    WALLET_CLOSED = "wallet_closed"
    WALLET_OWES = "wallet_owes"
    WALLET_HAS_CHILDREN = "wallet_has_children"
    WALLET_RIDES = "wallet_rides"
    MEDIA_BOUND_ELSEWHERE = "media_bound_elsewhere"
    TOO_MANY_COUPONS = "too_many_coupons"
    NO_COUPON_LEFT = "no_coupon_left"
    TOP_UP_ID_REUSED = "top_up_id_reused"
    GRANT_ID_REUSED = "grant_id_reused"
    TRANSFER_ID_REUSED = "transfer_id_reused"
    NOT_OF_ONE_FAMILY = "not_of_one_family"
    GRANT_OVER = "grant_over"
    TOO_MANY_PURSES = "too_many_purses"
    BALANCE_TOO_LOW = "balance_too_low"
    BALANCE_LIMIT = "balance_limit"


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


class ChildLimits(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A child's own limits, cut out of its parent's: each that the parent has must be said."""

    single_fen: BoundFen | None = None
    day_fen: BoundFen | None = None
    year_fen: BoundFen | None = None
    balance_fen: BoundFen | None = None

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.single_fen, self.day_fen, self.year_fen, self.balance_fen)


class OpenWallet(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A wallet to open, with its first media and money.

    The caller chooses the id: twice opens one.
    """

    wallet_id: UUID
    issuer_id: Name | None = None
    class_id: Annotated[Name | None, Meta(description="one of wallets.yaml")] = None
    parent_id: Annotated[UUID | None, Meta(description="whose limits it is under")] = None
    limits: ChildLimits = ChildLimits()
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
    grants: GrantMoney | None = None
    # A grant that is to be taken back.
    returns: UUID | None = None
    transfers: Transfer | None = None
    sets_class: str | None = None
    sets_auto_top_up: AutoTopUp | Literal["never"] | None = None
    # Seen with a network: the rides paid without one are counted anew.
    verifies: bool = False

    @property
    def wallet_ids(self) -> list[UUID]:
        """All wallets that it is about."""
        ids = [self.wallet_id]
        ids += [self.opens.parent_id] if self.opens and self.opens.parent_id else []
        return ids + ([self.transfers.to_wallet_id] if self.transfers else [])


class PurseView(Struct, frozen=True, omit_defaults=True):
    """Money that is bound to a purpose, as people are shown it."""

    grant_id: UUID
    rule_id: str
    held_fen: int
    valid_from: datetime
    funder_id: str | None = None
    valid_until: datetime | None = None


class AutoTopUpView(Struct, frozen=True):
    """Money that is paid in by itself, as people are shown it."""

    below_fen: int
    amount_fen: int


class WalletView(Struct, frozen=True, omit_defaults=True):
    """A wallet as people are shown it."""

    wallet_id: UUID
    status: WalletStatus
    balance_fen: int
    owed_fen: int
    floor_fen: int
    issuer_id: str | None = None
    purses: tuple[PurseView, ...] = ()
    class_id: str | None = None
    parent_id: UUID | None = None
    limits: ChildLimits = ChildLimits()
    auto_top_up: AutoTopUpView | None = None


def view(wallet: Wallet) -> WalletView:
    terms = wallet.terms or Terms()
    rule = terms.auto_top_up
    return WalletView(
        wallet_id=wallet.wallet_id,
        status=wallet.status,
        balance_fen=wallet.balance_fen,
        owed_fen=wallet.owed_fen,
        floor_fen=wallet.floor_fen,
        issuer_id=wallet.issuer_id,
        purses=tuple(
            PurseView(
                purse.grant_id,
                purse.rule_id,
                purse.held_fen,
                purse.valid_from,
                purse.funder_id,
                purse.valid_until,
            )
            for purse in wallet.purses
        ),
        class_id=terms.class_id,
        parent_id=terms.parent_id,
        limits=ChildLimits(*structs.astuple(terms.own)),
        auto_top_up=AutoTopUpView(rule.below_fen, rule.amount_fen) if rule else None,
    )
