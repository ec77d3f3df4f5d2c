"""Whatever order taps and corrections come in, the money is the same; undone, it is as before."""

from __future__ import annotations

from datetime import UTC, date, timedelta
from uuid import NAMESPACE_URL, uuid5

from _arrivals import ANN, BOOKS, TOKENS, account_sums, charges, days, facts_of
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from fare_rules import Action
from gateway.core.amendments import Amendment, AmendmentKind
from gateway.core.corrections import amend, amended_days
from gateway.core.days import LoadedDays, WalletDay, fold_days
from gateway.core.rides import take_ride
from gateway.core.wallets import Wallet


class Books:
    """One wallet, without a store: what it has taken, and the entries that came of it."""

    def __init__(self, book) -> None:
        self.book = book
        self.wallet = Wallet(ANN)
        self.days = LoadedDays(date.min, ())
        self.entries: list = []

    def take(self, fact) -> None:
        if isinstance(fact, Amendment):
            booking = amend(self.wallet, self.days, fact, book=self.book, closed_through=None)
            self.wallet, self.days = booking.wallet, amended_days(self.days, booking)
            self.entries += booking.entries
            return
        day = self.book.service_day_of(fact.tapped_at)
        ride = take_ride(self.wallet, fact, self.days, book=self.book, day=day, closed_through=None)
        assert ride is not None
        self.wallet, self.days = ride.wallet, self.days.after(ride.moved, fact, ride.paid)
        self.entries += ride.entries

    @property
    def money(self):
        due = {key: one for key, one in charges(self.entries).items() if one != (0, 0)}
        return account_sums(self.entries), due, self.wallet.net_fen


@st.composite
def amendments(draw, taps, book):
    """Facts about some taps, each one about one tap or some minutes of one card."""
    found = []
    for number, tap in enumerate(draw(st.lists(st.sampled_from(taps), max_size=3, unique=True))):
        correction_id = uuid5(NAMESPACE_URL, f"correction {number}")
        at = tap.tapped_at
        one = Amendment(correction_id, AmendmentKind.VOID, tap.media_token, at, at, tap.tap_id)
        kinds = [AmendmentKind.VOID, AmendmentKind.RECLASS, AmendmentKind.FREE_RIDE]
        minutes = timedelta(minutes=draw(st.integers(1, 90)))
        if tap.action is Action.ENTER:
            kinds += [AmendmentKind.CLEARANCE, AmendmentKind.MISSING_EXIT]
        elif tap.action is Action.EXIT:
            kinds += [AmendmentKind.MISSING_ENTRY]
        kind = draw(st.sampled_from(kinds))
        if kind is AmendmentKind.RECLASS:
            one = structs.replace(
                one, tap_id=None, rider_category="student", since=at - minutes, until=at + minutes
            )
            # Of two classes at one moment the later booked one counts: that is another matter.
            if any(other.rider_category for other in found):
                continue
        elif kind is AmendmentKind.FREE_RIDE:
            since, until = (at, at + minutes) if tap.action.opens else (at - minutes, at)
            one = structs.replace(one, since=since, until=until)
        elif kind is AmendmentKind.CLEARANCE:
            one = structs.replace(one, until=at + timedelta(minutes=20))
        elif kind in (AmendmentKind.MISSING_EXIT, AmendmentKind.MISSING_ENTRY):
            is_exit = kind is AmendmentKind.MISSING_EXIT
            tariff = book.tariff_at(at)
            network = tariff.network(tap.network)
            added = structs.replace(
                tap,
                tap_id=correction_id,
                gate_id="desk",
                sequence=0,
                tapped_at=at + min(minutes, network.longest) * (1 if is_exit else -1),
                action=Action.EXIT if is_exit else Action.ENTER,
            )
            if book.service_day_of(added.tapped_at) != book.service_day_of(at):
                continue
            one = structs.replace(
                one,
                added=added,
                since=at if is_exit else at - network.longest,
                until=at + network.longest if is_exit else at,
            )
        found.append(structs.replace(one, kind=kind))
    return found


def in_any_order(draw, taps, facts):
    """Taps and amendments shuffled, but no amendment before its own tap, or before any."""
    order = draw(st.permutations([*taps, *facts]))
    told, held = [], []
    for one in order:
        if not isinstance(one, Amendment):
            told.append(one)
        else:
            held.append(one)
        seen = {tap.tap_id for tap in told}
        ready = [a for a in held if seen and (a.tap_id is None or a.tap_id in seen)]
        told += ready
        held = [a for a in held if a not in ready]
    return told


@given(data=st.data(), book=BOOKS, taps=days())
def test_any_order_of_taps_and_corrections_comes_to_the_same_money(data, book, taps):
    facts = [facts_of(tap) for tap in taps]
    fixed = data.draw(amendments(facts, book))
    told = [in_any_order(data.draw, facts, fixed) for _ in range(2)]
    books = [Books(book) for _ in told]
    for one, facts_told in zip(books, told, strict=True):
        for fact in facts_told:
            one.take(fact)
    assert books[0].money == books[1].money
    assert books[0].wallet.riders == books[1].wallet.riders
    by_day: dict = {}
    for tap in facts:
        by_day.setdefault(book.service_day_of(tap.tapped_at), []).append(tap)
    whole = fold_days(
        [WalletDay(day, tuple(by_day[day])) for day in sorted(by_day)],
        book,
        amendments=books[0].days.amendments,
    )
    due = {key: (charge.fare_fen, 1) for key, charge in whole.charges.items()}
    assert books[0].money[1] == due


@given(data=st.data(), book=BOOKS, taps=days())
def test_corrections_that_are_undone_leave_the_money_as_it_was(data, book, taps):
    facts = [facts_of(tap) for tap in taps]
    fixed = data.draw(amendments(facts, book))
    books, untouched = Books(book), Books(book)
    for fact in facts:
        books.take(fact)
        untouched.take(fact)
    undoing = [
        structs.replace(
            one,
            correction_id=uuid5(one.correction_id, "undone"),
            kind=AmendmentKind.REVERSAL,
            tap_id=None,
            added=None,
            rider_category=None,
            reverses=one.correction_id,
        )
        for one in fixed
    ]
    for fact in (*fixed, *data.draw(st.permutations(undoing))):
        books.take(fact)
    assert books.money == untouched.money
    assert books.wallet.riders == untouched.wallet.riders
    assert all(token in TOKENS for token in books.wallet.riders)
    assert all(tap.tapped_at.tzinfo is UTC for tap in facts)
