"""Whatever was ridden on unlinked days, later days are computed again from what is kept."""

from __future__ import annotations

import tempfile
from datetime import date, timedelta
from pathlib import Path
from uuid import uuid5

from _arrivals import BOOK, FIRST, LATER, OPENING, WALLETS, days, split
from _stores import MIDNIGHT, FakeStore
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from fare_rules import TariffBook, load_book
from gateway.core.audit import audit_wallet
from gateway.core.audit_books import WalletBooks
from gateway.core.unlinking import (
    Base,
    DayRows,
    base_of,
    begun_at,
    forgotten_opening,
    resting,
    unlinked,
)


def _with_habits() -> TariffBook:
    """Midnight, where a metro ride that lacks an end is taken from the rider's own habit."""
    [notice] = MIDNIGHT.glob("*.yaml")
    habit = "journey_time: {minutes: 180}\n    completion: {legs_min: 1, within_days: 2}"
    with tempfile.TemporaryDirectory() as folder:
        said = notice.read_text().replace("journey_time: {minutes: 180}", habit, 1)
        Path(folder, notice.name).write_text(said)
        return load_book(Path(folder))


BOOKS = {"harbour": BOOK, "midnight": load_book(MIDNIGHT), "habits": _with_habits()}
# A day before which no tap comes any more.
RESTING_DAY = (FIRST + timedelta(days=20)).date()


class Riders:
    """A store that has taken everything, and what of it is unlinked."""

    def __init__(self, book: TariffBook, batches) -> None:
        self.book, self.store = book, FakeStore(book)
        self.store.take_wishes(OPENING, FIRST)
        for batch in batches:
            self.store.take_taps(batch, LATER)
        self.bases: dict = {}
        # The last unlinked day on which each has ridden.
        self.days: dict = {}

    def rows_of(self, wallet_id, day: date) -> DayRows:
        return DayRows(
            [k for k in self.store.held.kept.values()
             if (k.wallet_id, k.service_day) == (wallet_id, day)],
            [e for e in self.store.posted if (e.wallet_id, e.service_day) == (wallet_id, day)],
        )  # fmt: skip

    def unlink(self, day: date) -> None:
        for wallet_id in WALLETS:
            if not self.rows_of(wallet_id, day).taps:
                continue
            base = base_of(
                self.bases.get(wallet_id),
                day,
                lambda asked, wallet_id=wallet_id: self.rows_of(wallet_id, asked),
                self.book,
                amendments=(),
                swept_until=None,
            )
            wallet = self.store.wallet(wallet_id)
            if wallet.day >= base.day:
                wallet = unlinked(wallet, self.book, day)
            else:
                base = resting(base, self.book, RESTING_DAY)
                wallet = begun_at(wallet, base, self.book)
            self.bases[wallet_id], self.days[wallet_id] = base, day
            self.store.held = structs.replace(
                self.store.held, wallets=self.store.held.wallets | {wallet_id: wallet}
            )

    def check(self, through: date) -> None:
        for wallet_id in WALLETS:
            base: Base | None = self.bases.get(wallet_id)
            wallet = self.store.wallet(wallet_id)
            kept = [k for k in self.store.held.kept.values() if k.wallet_id == wallet_id]
            books = WalletBooks(
                wallet,
                tuple(k for k in kept if k.service_day > through),
                tuple(entry for entry in self.store.posted if entry.wallet_id == wallet_id),
                base=base,
            )
            assert audit_wallet(books, self.book) == []
            if base is not None:
                day = self.days[wallet_id]
                assert unlinked(wallet, self.book, day) is wallet
                assert forgotten_opening(base.opening, self.book, day) == base.opening


@given(data=st.data(), name=st.sampled_from(sorted(BOOKS)), old=days(), new=days())
def test_days_after_unlinked_ones_are_audited_from_what_is_kept(data, name, old, new):
    book = BOOKS[name]
    later = timedelta(days=data.draw(st.integers(1, 2), label="later"))
    moved = [
        structs.replace(
            tap,
            tap_id=uuid5(tap.tap_id, "later"),
            sequence=tap.sequence + 500,
            tapped_at=tap.tapped_at + later,
        )
        for tap in new
    ]
    arriving = data.draw(st.permutations([*old, *moved]), label="arriving")
    riders = Riders(book, split(data.draw, arriving))
    first = min(book.service_day_of(tap.tapped_at) for tap in old)
    for day in (first + timedelta(days=n) for n in range(data.draw(st.integers(1, 4)))):
        riders.unlink(day)
        riders.check(day)
