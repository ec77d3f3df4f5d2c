"""What remains of a rider's past when nothing may tell any more where it was spent.

forgotten   what of a rider's memory names no place of the days up to one
base_of     from where on a wallet's decisions can be computed again
begun_at    a wallet as it begins there

A place leaves the memory by itself when pricing no longer asks for it, within `days_remembered`.
Only an entry that nobody closed stays until the rider's next tap; it is given up here for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from msgspec import Struct, structs

from fare_rules import RiderFold, RiderState, RideTap, TariffBook
from fare_rules.periods import Window, is_over, rule_of
from fare_rules.states import Journey, PastLeg
from gateway.core.amendments import Amendment, AmendmentKind, hangs_together
from gateway.core.days import (
    NOTHING_REMEMBERED,
    Opening,
    RiderToday,
    WalletDay,
    closing,
    fold_days,
    opening_of,
)
from gateway.core.days import open_until as first_open_until
from gateway.core.decide import KeptTap
from gateway.core.ledger import JournalEntry
from gateway.core.rides import sweep_id
from gateway.core.wallets import Wallet

_A_DAY = timedelta(days=1)
_CHARGES = ("fare", "correction")
_NOBODY = RiderToday(NOTHING_REMEMBERED)
# Those that begin before the last ride that they are about.
_BY_END = (AmendmentKind.RECLASS, AmendmentKind.REVERSAL, AmendmentKind.MISSING_ENTRY)


class Base(Struct, frozen=True):
    """Where a wallet's books begin for whoever computes them again.

    What was remembered when `day` began names no place of an unlinked day. What the wallet took up
    to `version` is taken as posted; legs had last been given up at `swept_until`.
    """

    day: date
    version: int
    opening: Opening
    swept_until: datetime | None = None


class DayRows(NamedTuple):
    """What is kept of one wallet and day."""

    taps: list[KeptTap]
    entries: list[JournalEntry]


def days_remembered(book: TariffBook) -> int:
    """How many days after a ride its places may still act on a price."""
    found = 1
    for tariff in book.tariffs:
        for network in tariff.networks.values():
            within_days = network.completion.within_days if network.completion else 0
            found = max(found, within_days, 1 + network.longest.days)
        found = max(found, 1 + tariff.lookback.days)
    return found


def forgotten(state: RiderState, book: TariffBook, through: date) -> RiderState:
    """A rider's memory without the places of the days up to one: sums and counts stay."""
    ends_at = book.starts_at(through + _A_DAY)
    if state.open_tap is not None and state.open_tap.tapped_at < ends_at:
        fold = RiderFold(book, state)
        assert fold.open_until is not None
        fold.sweep(fold.open_until)
        state = fold.state
    last, reentry = state.last_tap, state.reentry
    is_newer = last is not None and last.tapped_at >= ends_at
    if reentry is not None:
        reentry = structs.replace(
            reentry,
            trail=_since(reentry.trail, ends_at),
            journey=_begun(reentry.journey, ends_at),
        )
    return structs.replace(
        state,
        last_tap=last if is_newer else None,
        trail=_since(state.trail, ends_at),
        journey=_begun(state.journey, ends_at),
        windows=_windows(state.windows, book, through, ends_at),
        habits=tuple(habit for habit in state.habits if habit.day > through),
        reentry=reentry if is_newer else None,
    )


def _since(trail: Sequence[PastLeg], instant: datetime) -> tuple[PastLeg, ...]:
    """Legs that continue none of before an instant."""
    return tuple(
        past for past in trail if all(leg.boarded_at >= instant for leg in past.chain.legs)
    )


def _begun(journey: Journey | None, instant: datetime) -> Journey | None:
    return journey if journey is not None and journey.boarded_at >= instant else None


def _windows(
    windows: Mapping[str, Window], book: TariffBook, through: date, ends_at: datetime
) -> dict[str, Window]:
    """Sums of periods that go on after a day; a sum may tell zones."""
    tariff = book.tariff_at(ends_at)

    def is_past(key: str, window: Window) -> bool:
        rule = tariff.accumulators.get(rule_of(key)) if tariff else None
        has_begun = (
            window.opened_at < ends_at
            if window.opened_at is not None
            else window.first_day is None or window.first_day <= through
        )
        return (
            has_begun
            and rule is not None
            and is_over(rule.period, window, through + _A_DAY, ends_at)
        )

    return {i: window for i, window in windows.items() if not is_past(i, window)}


def forgotten_opening(opening: Opening, book: TariffBook, through: date) -> Opening:
    found = {token: forgotten(state, book, through) for token, state in opening.items()}
    return {token: state for token, state in found.items() if state != NOTHING_REMEMBERED}


def base_of(
    base: Base | None,
    day: date,
    rows_of: Callable[[date], DayRows],
    book: TariffBook,
    *,
    amendments: Sequence[tuple[int, Amendment]],
    swept_until: datetime | None,
) -> Base:
    """Where a wallet begins once a day is unlinked on which it rode.

    Shape:  the day after, mostly; where a leg, a transfer or a habit reaches into that, as many
            days later as it does. `rows_of` is asked for one day after the other.
    """
    first, opening = _first_without_places(base, day, rows_of, book, [one for _, one in amendments])
    # The version of a base that lies later has what came before it.
    since = max(day, base.day) if base is not None else day
    days = [rows_of(since + n * _A_DAY) for n in range((first - since).days)]
    taps = [kept for each in days for kept in each.taps]
    charges = [entry for each in days for entry in each.entries if entry.tap_id is not None]
    about = [(version, one) for version, one in amendments if last_day_of(one, book) < first]
    return Base(
        first,
        max(
            [
                base.version if base else 0,
                *(kept.wallet_version or 0 for kept in taps),
                *(entry.wallet_version for entry in charges if entry.kind in _CHARGES),
                *(version for version, _ in about),
            ]
        ),
        opening,
        swept_at(base.swept_until if base else None, swept_until, taps, charges, book),
    )


def swept_at(
    before: datetime | None,
    last: datetime | None,
    taps: Sequence[KeptTap],
    entries: Sequence[JournalEntry],
    book: TariffBook,
) -> datetime | None:
    """When legs were given up last by what is posted, or before that.

    A sweep is known by its id, which names the first leg that it charged, and so a tap of the day
    of one of its entries; the wallet's `last` also by its instant.
    """
    states = [RiderState(open_tap=kept.facts) for kept in taps if kept.facts is not None]
    ends_at = {until for state in states if (until := RiderFold(book, state).open_until)}
    tap_ids = {kept.tap.tap_id for kept in taps}
    found = [
        entry.recorded_at
        for entry in entries
        if entry.recorded_at
        and entry.kind == "correction"
        and entry.cause_id not in tap_ids
        and (
            entry.recorded_at == last
            or any(entry.cause_id == sweep_id(entry.wallet_id, until) for until in ends_at)
        )
    ]
    return max([*found, *([before] if before else [])], default=None)


def _first_without_places(
    base: Base | None,
    day: date,
    rows_of: Callable[[date], DayRows],
    book: TariffBook,
    amendments: Sequence[Amendment],
) -> tuple[date, Opening]:
    known: list[WalletDay] = []
    if base is not None and base.day > day:
        first, opening = base.day, base.opening
    else:
        known = days_from(base, rides_of(rows_of(day).taps))
        first, opening = day + _A_DAY, closing(known, book, amendments)
    last = day + timedelta(days=days_remembered(book))
    while True:
        opening = opening_of(opening, book, first)
        without = forgotten_opening(opening, book, day)
        if opening == without and not _is_within_a_ride(first, amendments, book):
            return first, opening
        if first > last:
            return first, without
        for rides in rides_of(rows_of(first).taps).values():
            known = [*known, WalletDay(first, tuple(rides), opening)]
            opening = closing(known, book, amendments)
        first += _A_DAY


def _is_within_a_ride(day: date, amendments: Sequence[Amendment], book: TariffBook) -> bool:
    """Whether an end of a ride that was put right before a day may be one of its taps."""
    starts_at = book.starts_at(day)
    return any(
        one.since < starts_at and hangs_together(one, starts_at, starts_at) for one in amendments
    )


def days_from(base: Base | None, taps: Mapping[date, Sequence[RideTap]]) -> list[WalletDay]:
    """The days of a wallet that can be folded, the base first; it has no taps, perhaps."""
    days = {day: WalletDay(day, tuple(found)) for day, found in taps.items()}
    if base is not None:
        days = {day: each for day, each in days.items() if day >= base.day}
        first = days.get(base.day, WalletDay(base.day))
        days[base.day] = structs.replace(first, opening=base.opening)
    return [days[day] for day in sorted(days)]


def rides_of(taps: Iterable[KeptTap]) -> dict[date, list[RideTap]]:
    """The taps that were let through, by their service days."""
    found: dict[date, list[RideTap]] = {}
    for kept in taps:
        if kept.result.outcome.is_let_through:
            assert kept.facts is not None
            found.setdefault(kept.service_day, []).append(kept.facts)
    return found


def resting(base: Base, book: TariffBook, day: date) -> Base:
    """The base of a wallet that has not ridden since, on a day before which no tap can be any more.

    What is over by then is forgotten: sums of past weeks, too, which may tell zones.
    """
    if day <= base.day:
        return base
    return structs.replace(base, day=day, opening=opening_of(base.opening, book, day))


def begun_at(wallet: Wallet, base: Base, book: TariffBook) -> Wallet:
    """A wallet that rests on its base: it remembers no more than that."""
    riders = fold_days(days_from(base, {}), book).riders
    return structs.replace(
        wallet,
        day=base.day,
        riders=riders,
        opening=base.opening,
        open_until=first_open_until(riders, wallet.swept_until),
        amended_until=None,
        version=wallet.version + 1,
    )


def unlinked(wallet: Wallet, book: TariffBook, through: date) -> Wallet:
    """A wallet that has ridden since, without the places up to a day; itself if it has none."""
    found = {token: _rider(rider, book, through) for token, rider in wallet.riders.items()}
    riders = {token: rider for token, rider in found.items() if rider != _NOBODY}
    opening = forgotten_opening(wallet.opening, book, through)
    if (riders, opening) == (wallet.riders, wallet.opening):
        return wallet
    until = first_open_until(riders, wallet.swept_until)
    return structs.replace(
        wallet, riders=riders, opening=opening, open_until=until, version=wallet.version + 1
    )


def _rider(rider: RiderToday, book: TariffBook, through: date) -> RiderToday:
    state = forgotten(rider.state, book, through)
    if state == rider.state:
        return rider
    return structs.replace(
        rider, state=state, open_until=rider.open_until if state.open_tap else None
    )


def last_day_of(amendment: Amendment, book: TariffBook) -> date:
    """The service day of the last ride that an amendment is about."""
    return book.service_day_of(amendment.until if amendment.kind in _BY_END else amendment.since)
