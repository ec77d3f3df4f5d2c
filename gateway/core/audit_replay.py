"""A wallet's books replayed: each thing it took, in that order, must have come to what is kept.

Taps, what was put right, legs that nobody closed, and what was done at the desk. Where days are
unlinked it begins at the wallet's base; of what came before, the entries are all there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from msgspec import structs

from fare_rules import TariffBook
from gateway.core.amendments import Amendment
from gateway.core.answers import ride_result
from gateway.core.audit_books import Break, WalletBooks
from gateway.core.audit_desk import OwnTopUp, closed_before, due_entry
from gateway.core.audit_start import start
from gateway.core.corrections import amend, amended_days
from gateway.core.days import LoadedDays
from gateway.core.decide import KeptTap
from gateway.core.ledger import JournalEntry
from gateway.core.purse_desk import KnownGrant
from gateway.core.purses import with_purse
from gateway.core.rides import auto_top_up_id, charged_until, sweep, sweep_id, take_ride
from gateway.core.unlinking import Base, last_day_of, unlinked
from gateway.core.wallets import Wallet

# What a wallet's row remembers that its taps and entries come to.
_REMEMBERED = ("day", "riders", "opening", "purses", "amended_until", "swept_until")
# What an entry says, and what would be due of it; its id says cause, tap and product.
_SAID = (
    "kind", "postings", "effective_at", "service_day", "settlement_day", "operator_id",
    "product_id", "ride_count",
)  # fmt: skip
# What an entry's id is made of, and is quicker to compare than the id.
_made_by = attrgetter("cause_id", "tap_id", "product_id")
_OF_RIDES = ("fare", "correction")


class _Step(NamedTuple):
    """One thing that a wallet took: a tap, something put right, or else what its entries say."""

    version: int
    entries: tuple[JournalEntry, ...]
    tap: KeptTap | None = None
    amendment: Amendment | None = None

    @property
    def first_version(self) -> int:
        """The version of its first entry, or its own: each entry makes one."""
        return self.version - max(len(self.entries), 1) + 1


def replay_breaks(
    books: WalletBooks, book: TariffBook, shared_since: datetime | None
) -> list[Break]:
    """Everything that comes out otherwise than it is kept.

    `shared_since` is from when on each ride must say how it is shared, where fares are: a city may
    have begun to share them later.
    """
    replay = _Replay(books, book, shared_since)
    for step in replay.steps:
        replay.take(step)
    return [*replay.breaks, *replay.memory_breaks()]


def priced_amendments(books: WalletBooks, book: TariffBook) -> list[tuple[int, Amendment]]:
    """Those of rides that are computed again."""
    first = books.base.day if books.base else date.min
    return [(version, one) for version, one in books.amendments if last_day_of(one, book) >= first]


def let_through(books: WalletBooks) -> list[KeptTap]:
    return [kept for kept in books.taps if kept.result.outcome.is_let_through]


class _Replay:
    def __init__(self, books: WalletBooks, book: TariffBook, shared_since: datetime | None) -> None:
        self.books, self.book, self.shared_since = books, book, shared_since
        self.is_sharing = any(tariff.shares_fares for tariff in book.tariffs)
        self.breaks: list[Break] = []
        self.wallet = Wallet(books.wallet.wallet_id, floor_fen=books.wallet.floor_fen)
        self.days = LoadedDays(date.min, ())
        self.topped_up_on: date | None = None
        by_cause: dict[UUID, tuple[JournalEntry, ...]] = {}
        for entry in sorted(books.entries, key=lambda entry: entry.wallet_version):
            by_cause[entry.cause_id] = (*by_cause.get(entry.cause_id, ()), entry)
        self.steps = self._steps(by_cause)
        self.topping_up = {}
        if any(entry.kind == "auto_top_up" for entry in books.entries):
            self.topping_up = {
                auto_top_up_id(step.tap.tap.tap_id): OwnTopUp(step.tap, step.first_version)
                for step in self.steps
                if step.tap is not None
            }
        if books.base is not None:
            self._begin_at(books.base, by_cause)

    def _steps(self, by_cause: Mapping[UUID, tuple[JournalEntry, ...]]) -> list[_Step]:
        taps = {kept.tap.tap_id for kept in self.books.taps}
        amendments = priced_amendments(self.books, self.book)
        known = taps | {one.correction_id for _, one in amendments}
        steps = [
            _Step(kept.wallet_version or 0, by_cause.get(kept.tap.tap_id, ()), tap=kept)
            for kept in let_through(self.books)
        ]
        steps += [
            _Step(version, by_cause.get(one.correction_id, ()), amendment=one)
            for version, one in amendments
        ]
        steps += [
            _Step(entries[-1].wallet_version, entries)
            for cause_id, entries in by_cause.items()
            if cause_id not in known
        ]
        return sorted(steps, key=lambda step: step.version)

    def _begin_at(self, base: Base, by_cause: Mapping[UUID, tuple[JournalEntry, ...]]) -> None:
        """Take what came before the base as posted. What was posted together was taken together."""
        begun = [found for found in by_cause.values() if found[0].wallet_version <= base.version]
        through = max([base.version, *(found[-1].wallet_version for found in begun)])
        self.wallet, self.days = start(
            self.wallet,
            structs.replace(base, version=through),
            swept_until=self.books.wallet.swept_until,
            taps=let_through(self.books),
            entries=self.books.entries,
            grants=self.books.grants,
            amendments=priced_amendments(self.books, self.book),
            book=self.book,
        )
        self.steps = [step for step in self.steps if step.version > through]
        days = [
            entry.service_day
            for entry in self.books.entries
            if entry.kind == "auto_top_up" and entry.wallet_version <= through
        ]
        self.topped_up_on = max(days, default=None)

    def take(self, step: _Step) -> None:
        if step.tap is not None:
            self._take_tap(step, step.tap)
        elif step.amendment is not None:
            self._take_amendment(step, step.amendment)
        elif step.entries[-1].kind in _OF_RIDES:
            self._take_sweep(step)
        else:
            for entry in step.entries:
                self._take_at_desk(entry)

    def _take_tap(self, step: _Step, kept: KeptTap) -> None:
        facts = kept.facts
        assert facts is not None
        ride = take_ride(
            self.wallet,
            facts,
            self.days,
            book=self.book,
            day=self.book.service_day_of(facts.tapped_at),
            closed_through=closed_before(step.entries),
            is_offline=kept.tap.offline,
        )
        assert ride is not None
        self.days = self.days.after(ride.moved, facts, ride.paid)
        answer = ride_result(kept.tap, kept.result.outcome, ride)
        if answer != kept.result:
            field = next(
                name
                for name in answer.__struct_fields__
                if getattr(answer, name) != getattr(kept.result, name)
            )
            fault = f"{field}: answered {getattr(kept.result, field)}, due {getattr(answer, field)}"
            self.breaks.append(Break("answer_differs", f"tap {kept.tap.tap_id}", fault))
        self._compare(step, ride.entries, kept.received_at, "entry_differs")
        self.wallet = structs.replace(ride.wallet, version=step.version)

    def _take_amendment(self, step: _Step, amendment: Amendment) -> None:
        named = f"{amendment.kind} {amendment.correction_id}"
        if not self.days.days:
            self.breaks.append(Break("correction_differs", named, "no tap was there to put right"))
            return
        booking = amend(
            self.wallet,
            self.days,
            amendment,
            book=self.book,
            closed_through=closed_before(step.entries),
        )
        decided_at = self.books.corrections[amendment.correction_id].decided_at
        self._compare(step, booking.entries, decided_at, "correction_differs", named)
        self.days = amended_days(self.days, booking)
        self.wallet = structs.replace(booking.wallet, version=step.version)

    def _take_sweep(self, step: _Step) -> None:
        """Legs that nobody closed are charged again at the instant at which they were."""
        last, wallet = step.entries[-1], self.wallet
        if last.recorded_at is None or wallet.day is None:
            self._differs("sweep_differs", last, "nothing was open")
            return
        now = last.recorded_at
        cause_id = sweep_id(wallet.wallet_id, charged_until(wallet, now, self.book))
        swept, due, more = sweep(wallet, cause_id, now, self.book, closed_before(step.entries))
        self.days = structs.replace(self.days, paid={**self.days.paid, **more})
        self._compare(step, due, last.recorded_at, "sweep_differs")
        self.wallet = structs.replace(swept, version=last.wallet_version)

    def _take_at_desk(self, entry: JournalEntry) -> None:
        top_up = self.topping_up.get(entry.cause_id, OwnTopUp())
        top_up = top_up._replace(last_day=self.topped_up_on)
        due = due_entry(entry, self.wallet, self.books, self.book, top_up)
        step = _Step(entry.wallet_version, (entry,))
        if due is None:
            self._differs("entry_differs", entry, f"{entry.kind}: nobody asked for it as it is")
        else:
            self._compare(step, (due.entry,), due.written_at, "entry_differs")
        if entry.kind == "auto_top_up":
            self.topped_up_on = entry.service_day
        self.wallet = self.wallet.moved(entry.main_fen)
        self._take_grants(entry)

    def _take_grants(self, entry: JournalEntry) -> None:
        """Open or end the purses that an entry put money into, or gave back."""
        purses = {purse.grant_id: purse for purse in self.wallet.purses}
        for grant_id, gained_fen in entry.grants_fen.items():
            known, purse = self.books.grants.get(grant_id), purses.get(grant_id)
            is_right = (
                known is not None and purse is None and gained_fen == known.amount_fen
                if entry.kind == "grant"
                else purse is not None and gained_fen == -purse.held_fen
            )
            if not is_right:
                fault = f"{entry.kind} of {gained_fen}: not what was granted, or is left"
                self.breaks.append(Break("grant_differs", f"grant {grant_id}", fault))
                return
            self.wallet = _with_purses(self.wallet, grant_id, known, entry.kind == "grant")

    def _compare(
        self,
        step: _Step,
        due: Sequence[JournalEntry],
        written_at: datetime | None,
        kind: str,
        subject: str | None = None,
    ) -> None:
        """Hold what one step has posted against what was due of it, entry by entry."""
        posted = {_made_by(entry): entry for entry in step.entries}
        owed = {_made_by(entry): entry for entry in due}
        for number, (key, entry) in enumerate(posted.items(), step.first_version):
            if key not in owed:
                if self.is_sharing or _moves(entry):
                    self._differs(kind, entry, "it is not due", subject)
            elif fault := self._fault(entry, owed[key], number, written_at):
                self._differs(kind, entry, fault, subject)
        for key in owed.keys() - posted.keys():
            if _moves(owed[key]) or _is_since(written_at, self.shared_since):
                fault = f"not posted, due {owed[key].postings}"
                self._differs(kind, owed[key], fault, subject)

    def _fault(
        self,
        posted: JournalEntry,
        due: JournalEntry,
        version: int,
        written_at: datetime | None,
    ) -> str | None:
        """What an entry says that it should not."""
        said = {name: (getattr(posted, name), getattr(due, name)) for name in _SAID}
        said["wallet_version"] = (posted.wallet_version, version)
        if posted.recorded_at is not None and written_at is not None:
            said["recorded_at"] = (posted.recorded_at, written_at)
        if self._is_shared_otherwise(posted, due):
            said["shared"] = (posted.shared, due.shared)
        for name, (is_now, must_be) in said.items():
            if is_now != must_be:
                return f"{name}: posted {is_now}, due {must_be}"
        return None

    def _is_shared_otherwise(self, posted: JournalEntry, due: JournalEntry) -> bool:
        """Where a city began to share fares, or no longer does, entries of before stay right."""
        if posted.shared is None:
            since, at = self.shared_since, posted.recorded_at
            return due.shared is not None and _is_since(at, since)
        if due.shared is None:
            return self.is_sharing or posted.kind not in _OF_RIDES
        return posted.shared != due.shared

    def _differs(
        self, kind: str, entry: JournalEntry, fault: str, subject: str | None = None
    ) -> None:
        named = f"entry {entry.entry_id}"
        found = Break(kind, subject, f"{named}: {fault}") if subject else Break(kind, named, fault)
        self.breaks.append(found)

    def memory_breaks(self) -> list[Break]:
        """What the wallet's row remembers must be what all of it comes to."""
        row, wallet, base = self.books.wallet, self.wallet, self.books.base
        if base is not None:
            row, wallet = _newer(row, base, self.book), _newer(wallet, base, self.book)
        faults = [
            f"{field}: remembers something else than its taps come to"
            for field in _REMEMBERED
            if getattr(wallet, field) != getattr(row, field)
        ]
        if row.version < wallet.version:
            faults.append(f"version: {row.version}, but it has taken {wallet.version}")
        if _is_never_swept(row, wallet, self.book):
            faults.append(f"open_until: {row.open_until}, but a leg can be closed no more before")
        told = row.terms.topped_up_on if row.terms else None
        if told != self.topped_up_on:
            faults.append(f"topped_up_on: {told}, but its rule paid last on {self.topped_up_on}")
        return [Break("memory_differs", f"wallet {wallet.wallet_id}", one) for one in faults]


def _is_never_swept(row: Wallet, wallet: Wallet, book: TariffBook) -> bool:
    """Whether a wallet's row lets a leg go on past the moment at which it is to be charged."""
    if row.open_until == wallet.open_until:
        return False
    moments = [rider.open_until for rider in wallet.riders.values() if rider.open_until]
    due_at = charged_until(wallet, max(moments), book) if moments else None
    return due_at is not None and (row.open_until is None or row.open_until > due_at)


def _is_since(at: datetime | None, since: datetime | None) -> bool:
    return at is not None and since is not None and at >= since


def _moves(entry: JournalEntry) -> bool:
    """Whether an entry is about money or a ride, and not only about how one is shared."""
    return entry.ride_count != 0 or any(posting.amount_fen for posting in entry.postings)


def _with_purses(
    wallet: Wallet, grant_id: UUID, known: KnownGrant | None, is_given: bool
) -> Wallet:
    if is_given and known is not None:
        return structs.replace(wallet, purses=with_purse(wallet.purses, known.purse))
    others = tuple(one for one in wallet.purses if one.grant_id != grant_id)
    return structs.replace(wallet, purses=others)


def _newer(wallet: Wallet, base: Base, book: TariffBook) -> Wallet:
    """A wallet with what it remembers since its base."""
    until, starts_at = wallet.amended_until, book.starts_at(base.day)
    return structs.replace(
        unlinked(wallet, book, base.day - timedelta(days=1)),
        amended_until=until if until is not None and until >= starts_at else None,
    )
