"""What the audit looks at, all that is kept of one wallet; and what it finds, a break."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from gateway.core.amendments import Amendment
from gateway.core.correction_wishes import CorrectionWish
from gateway.core.decide import KeptTap
from gateway.core.ledger import JournalEntry
from gateway.core.purse_desk import KnownGrant
from gateway.core.unlinking import Base
from gateway.core.wallets import Wallet

# What functions raise of books that nobody of ours has written: then those are broken, not we.
BROKEN = (AssertionError, AttributeError, LookupError, TypeError, ValueError)


class Break(Struct, frozen=True):
    """One thing that is not as it should be."""

    kind: str
    subject: str
    fault: str


class KeptCorrection(Struct, frozen=True):
    """What the desk was asked to put right, as its row says, and what became of it."""

    correction_id: UUID
    wallet_id: UUID
    kind: str
    reason: str
    note: str | None
    subject: UUID | None
    by_rider: bool
    amount_fen: int
    proposed_at: datetime
    wish: CorrectionWish
    amendment: Amendment | None = None
    state: str | None = None
    checker: str | None = None
    wallet_version: int | None = None
    decided_at: datetime | None = None

    @property
    def is_booked(self) -> bool:
        return self.state == "booked"


class WalletBooks(Struct, frozen=True):
    """All that is kept of one wallet."""

    wallet: Wallet
    taps: tuple[KeptTap, ...]
    entries: tuple[JournalEntry, ...]
    grants: Mapping[UUID, KnownGrant] = {}
    corrections: Mapping[UUID, KeptCorrection] = {}
    # Rows of it that could not be read, and are left out of the above.
    unreadable: tuple[Break, ...] = ()
    # Where its decisions begin, if some of its days are unlinked.
    base: Base | None = None

    @property
    def amendments(self) -> list[tuple[int, Amendment]]:
        """What was put right of its taps, with its version then, in that order."""
        found = [
            (one.wallet_version or 0, one.amendment)
            for one in self.corrections.values()
            if one.is_booked and one.amendment is not None
        ]
        return sorted(found, key=lambda each: each[0])
