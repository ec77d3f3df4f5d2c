"""A rider's wallet: what it holds, what it owes, and what may be done with it.

A wallet has one true number, its net: what was paid in less what was charged. The purse never falls
below the floor; what the net lacks is owed. Both follow from the net alone, so the order in which taps
and top-ups arrive cannot matter.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct, structs

from gateway.core.days import DayTap
from gateway.core.taps import Name


class WalletStatus(StrEnum):
    OPEN = "open"
    BLOCKED = "blocked"
    CLOSED = "closed"


class Wallet(Struct, frozen=True):
    """A wallet as its row holds it, with the taps of its newest service day.

    `version` counts every change, and is stamped on the taps and entries that made it.
    """

    wallet_id: UUID
    issuer_id: str | None = None
    status: WalletStatus = WalletStatus.OPEN
    balance_fen: int = 0
    owed_fen: int = 0
    floor_fen: int = 0
    version: int = 0
    day: date | None = None
    day_taps: tuple[DayTap, ...] = ()
    open_leg_day: date | None = None

    @property
    def net_fen(self) -> int:
        return self.balance_fen - self.owed_fen

    def moved(self, amount_fen: int) -> Wallet:
        """The wallet after an amount is added (or, below zero, taken)."""
        net_fen = self.net_fen + amount_fen
        return structs.replace(
            self,
            balance_fen=max(net_fen, self.floor_fen),
            owed_fen=max(self.floor_fen - net_fen, 0),
            version=self.version + 1,
        )


class Media(Struct, frozen=True):
    """A card or phone, bound to the wallet that pays for it."""

    media_token: str
    wallet_id: UUID | None
    rider_category: str
    fare_media: str
    is_blocked: bool = False


class WalletRefusal(StrEnum):
    """Why a wallet cannot do what was asked. Ordered by precedence."""

    UNKNOWN_WALLET = "unknown_wallet"
    TOP_UP_ID_REUSED = "top_up_id_reused"
    WALLET_DIFFERS = "wallet_differs"
    WALLET_CLOSED = "wallet_closed"
    WALLET_OWES = "wallet_owes"
    MEDIA_BOUND_ELSEWHERE = "media_bound_elsewhere"
    UNKNOWN_MEDIA = "unknown_media"
    BALANCE_ABOVE_MAX = "balance_above_max"


Amount = Annotated[int, Meta(ge=1, le=100_000_000, description="minor units; more than nothing")]


class OpenWallet(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The wish to open a wallet. The caller chooses the id, so asking twice opens one."""

    issuer_id: Name | None = None
    floor_fen: Annotated[int, Meta(ge=-100_000, le=0)] | None = None


class BindMedia(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The wish to let a card or phone pay from a wallet."""

    rider_category: Name | None = None
    fare_media: Name = "card"
    is_blocked: bool = False


class TopUp(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Money paid in. The caller chooses the id, so sending twice pays once."""

    top_up_id: UUID
    amount_fen: Amount
    reference: Name | None = None


class WalletView(Struct, frozen=True, omit_defaults=True):
    """A wallet as people are shown it."""

    wallet_id: UUID
    status: WalletStatus
    balance_fen: int
    owed_fen: int
    floor_fen: int
    issuer_id: str | None = None


def view(wallet: Wallet) -> WalletView:
    return WalletView(
        wallet_id=wallet.wallet_id,
        status=wallet.status,
        balance_fen=wallet.balance_fen,
        owed_fen=wallet.owed_fen,
        floor_fen=wallet.floor_fen,
        issuer_id=wallet.issuer_id,
    )
