"""A rider's wallet: what it holds, what it owes, and what may be done with it.

A wallet has one true number, its net: what was paid in less what was charged. The purse never
falls below the floor; what the net lacks is owed. Both follow from the net alone, so the order in
which taps and top-ups arrive cannot matter.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct, structs

from gateway.core.days import Opening, Riders
from gateway.core.purses import Purse
from gateway.core.wallet_classes import Spent, Terms


class WalletStatus(StrEnum):
    OPEN = "open"
    BLOCKED = "blocked"
    CLOSED = "closed"


class Wallet(Struct, frozen=True, gc=False):
    """A wallet as its row holds it, with all that pricing remembers of its media.

    `version` counts every change, and is stamped on the taps and entries that made it. `riders` is
    what is remembered after the newest tap of its newest service day, `day`; `opening` is what was
    when that day began. Legs that nobody had closed in time at `swept_until` are charged;
    `open_until` is when the first one still open will be late.
    """

    wallet_id: UUID
    issuer_id: str | None = None
    status: WalletStatus = WalletStatus.OPEN
    balance_fen: int = 0
    owed_fen: int = 0
    floor_fen: int = 0
    version: int = 0
    day: date | None = None
    riders: Riders = {}
    opening: Opening = {}
    swept_until: datetime | None = None
    open_until: datetime | None = None
    # Beside the main purse, which is the balance: those bound to a purpose.
    purses: tuple[Purse, ...] = ()
    terms: Terms | None = None
    spent: Spent | None = None
    # A tap made until then may be one that was put right: all of its day is priced afresh.
    amended_until: datetime | None = None

    @property
    def net_fen(self) -> int:
        return self.balance_fen - self.owed_fen

    @property
    def held_fen(self) -> int:
        """All that is in it, whatever it may be spent for."""
        return self.balance_fen + sum(purse.held_fen for purse in self.purses)

    def moved(self, amount_fen: int) -> Wallet:
        """The wallet after an amount is added (or, below zero, taken)."""
        net_fen = self.net_fen + amount_fen
        balance_fen = max(net_fen, self.floor_fen)
        return structs.replace(
            self,
            balance_fen=balance_fen,
            owed_fen=balance_fen - net_fen,
            version=self.version + 1,
        )


class Media(Struct, frozen=True, gc=False):
    """A card or phone, bound to the wallet that pays for it."""

    media_token: str
    wallet_id: UUID | None
    rider_category: str
    fare_media: str
    is_blocked: bool = False
    # Promotions whose coupon was activated with it, and when.
    coupons: tuple[tuple[str, datetime], ...] = ()
