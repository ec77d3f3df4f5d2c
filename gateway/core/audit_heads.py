"""Verified heads: what an audit that passed has seen, so that the next need not see it again.

A head holds, of each service day in the database, how many taps and entries there were, what the
entries add up to, and a hash over all columns of all rows. Rows that were verified must come to the
same figures for ever; rows written since, and the wallets they are about, are verified anew.

An audit from a head does not see, and a full one does:

-   the row of a wallet, changed in the files of the database past PostgreSQL itself. An UPDATE,
    whoever runs it, makes the row new, and it is verified anew;
-   numbers of gates, grants and top-ups changed in their tables, of days and wallets without new
    rows;
-   rows of the log made to come to the same 64 bits on purpose: the hash is quick, not strong.

Whoever may write to `audit_head` may also put a head there that suits. A head's name is the SHA-256
of all that it says: an audit from a head that is named (`--since`) cannot be given another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import date, datetime

import msgspec
from msgspec import Struct

from gateway.core.audit_books import Break


class DayDigest(Struct, frozen=True):
    """All rows of one service day, in a few figures."""

    taps_count: int = 0
    taps_hash: int = 0
    entries_count: int = 0
    entries_hash: int = 0
    riders_fen: int = 0
    operators_fen: int = 0
    bank_fen: int = 0
    sponsors_fen: int = 0

    def with_rows(self, other: DayDigest) -> DayDigest:
        """The digest of these rows and of others."""
        return DayDigest(
            self.taps_count + other.taps_count,
            self.taps_hash ^ other.taps_hash,
            self.entries_count + other.entries_count,
            self.entries_hash ^ other.entries_hash,
            self.riders_fen + other.riders_fen,
            self.operators_fen + other.operators_fen,
            self.bank_fen + other.bank_fen,
            self.sponsors_fen + other.sponsors_fen,
        )


NO_ROWS = DayDigest()


class Basis(Struct, frozen=True):
    """What must not have changed, or nothing can be told from a head."""

    gateway: str
    tariffs: str
    server: str
    columns: str


class Head(Struct, frozen=True):
    """What was verified. Rows count where the transaction that wrote them is below `settled_below`:
    all of those had ended, and no row of theirs can come later.
    """

    made_at: datetime
    basis: Basis
    settled_below: int
    closed_through: date | None
    wallets_count: int
    days: Mapping[date, DayDigest]
    # Each settlement that was made again, with the SHA-256 of its manifest; "" where it has none.
    settlements: Mapping[date, str]
    # The head it went on from; None after a full audit.
    since: str | None = None


def head_content(head: Head) -> bytes:
    return msgspec.json.encode(head)


def head_name(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def head_from(content: bytes) -> Head:
    return msgspec.json.decode(content, type=Head)


_CHANGES = {
    "gateway": "the gateway's version has changed",
    "tariffs": "the tariffs have changed",
    "server": "the database has been restored, or moved to another server",
    "columns": "the tables have other columns",
}


def unusable(head: Head, basis: Basis) -> str | None:
    """Why nothing can be told from a head, if so."""
    for field, said in _CHANGES.items():
        if getattr(head.basis, field) != getattr(basis, field):
            return said
    return None


def day_breaks(
    head: Head, found: Mapping[date, DayDigest], archived: Collection[date]
) -> list[Break]:
    """Days whose verified rows have changed, or are gone; archived ones are held elsewhere."""
    return [
        Break(
            "verified_day_differs",
            f"service day {day}",
            f"{_difference(digest, found.get(day, NO_ROWS))}; `faregate audit --full` tells where",
        )
        for day, digest in sorted(head.days.items())
        if day not in archived and found.get(day, NO_ROWS) != digest
    ]


def _difference(was: DayDigest, now: DayDigest) -> str:
    fields = [f for f in DayDigest.__struct_fields__ if getattr(was, f) != getattr(now, f)]
    counted = [f for f in fields if not f.endswith("_hash")]
    said = ", ".join(f"{f} {getattr(was, f)}, now {getattr(now, f)}" for f in counted)
    return said or f"another {fields[0]} of as many rows and as much money"


def clock_breaks(head: Head, closed_through: date | None) -> list[Break]:
    """A day that was closed stays closed."""
    if head.closed_through is None or (closed_through or date.min) >= head.closed_through:
        return []
    fault = f"closed through {closed_through}, was {head.closed_through}"
    return [Break("clock_set_back", "settlement clock", fault)]
