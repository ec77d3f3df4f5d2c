"""What the archive holds of each wallet, handed out in the order of their ids, for the audit.

All archived days are read at once, each row once, and no more than one wallet's are held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from msgspec import structs

from gateway.core.audit_books import Break, WalletBooks
from gateway.shell.archive_files import (
    ENTRIES,
    TAPS,
    ArchivedDay,
    paths_of,
    read_entries,
    read_taps,
)


class _OfWallet(Protocol):
    @property
    def wallet_id(self) -> UUID | None: ...


Row = TypeVar("Row", bound=_OfWallet)


class ArchivedBooks:
    """Asked for wallets in the order of their ids, once each."""

    def __init__(
        self,
        archive: Path | None,
        days: Sequence[ArchivedDay],
        after: UUID | None = None,
        until: UUID | None = None,
    ) -> None:
        between = (after, until)
        # Of unlinked days the entries alone are some wallet's.
        linked = [day for day in days if not day.is_unlinked]
        self._taps = _ByWallet(
            read_taps(paths_of(archive, linked, TAPS), between) if linked else iter(())
        )
        self._entries = _ByWallet(
            read_entries(paths_of(archive, days, ENTRIES), between) if days else iter(())
        )

    def joined_to(self, books: WalletBooks) -> WalletBooks:
        """A wallet's books with what is archived of them."""
        wallet_id = books.wallet.wallet_id
        taps, entries = self._taps.take(wallet_id), self._entries.take(wallet_id)
        if not taps and not entries:
            return books
        return structs.replace(
            books,
            taps=tuple(sorted((*taps, *books.taps), key=lambda kept: kept.wallet_version or 0)),
            entries=tuple(
                sorted((*entries, *books.entries), key=lambda entry: entry.wallet_version)
            ),
        )

    def breaks(self) -> list[Break]:
        """Wallets that nobody asked for, once all that there are have been."""
        strangers = {*self._taps.rest(), *self._entries.rest()}
        return [
            Break("entry_without_wallet", str(wallet_id), "it is in the archive")
            for wallet_id in sorted(strangers)
        ]


class _ByWallet(Generic[Row]):
    def __init__(self, rows: Iterator[Row]) -> None:
        # Taps of no wallet come last, and nobody asks for them.
        self._groups = groupby(rows, key=lambda row: row.wallet_id)
        self._strangers: list[UUID] = []
        self._next: tuple[UUID, list[Row]] | None = None
        self._move()

    def _move(self) -> None:
        wallet_id, found = next(self._groups, (None, None))
        self._next = None
        if wallet_id is not None and found is not None:
            self._next = wallet_id, list(found)

    def take(self, wallet_id: UUID) -> list[Row]:
        while self._next is not None and self._next[0] < wallet_id:
            self._strangers.append(self._next[0])
            self._move()
        if self._next is None or self._next[0] != wallet_id:
            return []
        found = self._next[1]
        self._move()
        return found

    def rest(self) -> list[UUID]:
        while self._next is not None:
            self._strangers.append(self._next[0])
            self._move()
        return self._strangers
