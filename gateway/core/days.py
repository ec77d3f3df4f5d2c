"""A wallet's service days, folded: which charges the taps of all its media come to.

The pricing itself is fare_rules' (fold.py); here the days of a wallet follow one another, each
beginning with what is remembered of each media when it began.

take_one    the newest tap of a media, after what the wallet remembers: no other tap is looked at
fold_days   all taps of some days afresh: what a late tap needs, and the auditor

Where both apply they come to the same (tests/properties/test_one_tap_more.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from uuid import UUID

from msgspec import Struct, structs

from fare_rules import Charge, FareRefusal, RiderFold, RiderState, RideTap, TariffBook, carried
from gateway.core.amendments import Amendment, amended, hangs_together
from gateway.core.purses import Paid
from gateway.core.taps import Tap

# What is remembered of each media token when a day begins; if nothing is, it is left out.
Opening = dict[str, RiderState]
NOTHING_REMEMBERED = RiderState()


class RiderToday(Struct, frozen=True, array_like=True, gc=False):
    """What is remembered of one media after its newest tap of the wallet's newest day."""

    state: RiderState
    # When that was, and the gate's number for it; None before the first of the day.
    newest: tuple[datetime, int] | None = None
    # When the leg that is open can no longer be closed.
    open_until: datetime | None = None


Riders = dict[str, RiderToday]


class WalletDay(Struct, frozen=True, gc=False):
    """The taps of one wallet and service day that were let through, and what went before them."""

    day: date
    taps: tuple[RideTap, ...] = ()
    opening: Opening = {}


class Moved(Struct, frozen=True, gc=False):
    """What one more tap, or a sweep, makes of a wallet's days.

    `before` and `after` are charges: all those that may differ, and others that do not. `days` has
    those that were folded afresh, with their openings as they came out.
    """

    day: date
    riders: Riders
    opening: Opening
    before: dict[tuple[UUID, str], Charge]
    after: dict[tuple[UUID, str], Charge]
    journeys: dict[UUID, UUID]
    double_beeps: set[UUID]
    refused: dict[UUID, FareRefusal]
    days: tuple[WalletDay, ...] = ()


class LoadedDays(Struct, frozen=True):
    """Days of a wallet as the tap log has them: from the last with taps up to `since`, on."""

    since: date
    days: tuple[WalletDay, ...]
    # What purses have paid for the rides of those days.
    paid: Paid = {}
    # All that was put right of the wallet's taps, as it was booked.
    amendments: tuple[Amendment, ...] = ()

    def after(self, moved: Moved, tap: RideTap, paid: Paid) -> LoadedDays:
        """The days with one more tap, and what purses have paid since."""
        newest = self.days[-1] if self.days and not moved.days else None
        if newest is not None and newest.day == moved.day:
            more = WalletDay(moved.day, (*newest.taps, tap), moved.opening)
            return structs.replace(self, days=(*self.days[:-1], more), paid=paid)
        if moved.days:
            days = {each.day: each for each in (*self.days, *moved.days)}
        else:
            days = {each.day: each for each in with_tap(self.days, moved.day, tap)}
            days[moved.day] = structs.replace(days[moved.day], opening=moved.opening)
        in_order = tuple(days[day] for day in sorted(days))
        return structs.replace(self, days=in_order, paid=paid)


class FoldedDays(Struct, frozen=True):
    """Days that follow one another, priced. `days` has the openings as they came out."""

    days: tuple[WalletDay, ...]
    charges: dict[tuple[UUID, str], Charge]
    journeys: dict[UUID, UUID]
    double_beeps: set[UUID]
    refused: dict[UUID, FareRefusal]
    riders: Riders


def ride_tap(
    tap: Tap,
    *,
    network: str,
    operator_id: str,
    rider_category: str,
    fare_media: str,
    issuer_id: str | None = None,
    coupons: tuple[tuple[str, datetime], ...] = (),
    without: tuple[str, ...] = (),
    leaves_without: tuple[str, ...] = (),
) -> RideTap:
    """Join what the gate said and what the registry knew at that moment."""
    # With more names than these, CPython 3.11 would make a dictionary of them first.
    return RideTap(
        tap.tap_id,
        tap.gate_id,
        tap.sequence,
        tap.tapped_at.astimezone(UTC),
        tap.media_token,
        tap.action,
        network,
        operator_id,
        rider_category,
        fare_media,
        stop_id=tap.stop_id,
        route_id=tap.route_id,
        vehicle_id=tap.vehicle_id,
        full_fare=tap.full_fare,
        transfer_proven=tap.transfer_proven,
        carriage_class=tap.carriage_class,
        riders_count=tap.riders_count,
        distance_m=tap.distance_m,
        issuer_id=issuer_id,
        coupons=coupons,
        without=without,
        leaves_without=leaves_without,
    )


def with_tap(days: Sequence[WalletDay], day: date, tap: RideTap) -> tuple[WalletDay, ...]:
    """Put one more tap into its day, which may be a new one."""
    if all(each.day != day for each in days):
        days = sorted((*days, WalletDay(day)), key=lambda each: each.day)
    return tuple(
        structs.replace(each, taps=(*each.taps, tap)) if each.day == day else each for each in days
    )


def fold_days(
    days: Sequence[WalletDay],
    book: TariffBook,
    *,
    swept_until: datetime | None = None,
    amendments: Sequence[Amendment] = (),
) -> FoldedDays:
    """Price some days of a wallet that follow one another, up to its newest.

    Shape:  days in their order; the first one's opening is taken as it is, the others' come from
            the day before. Each media is a rider of its own: taps pair, and rides transfer, only
            within one. Legs open at the end whose time had passed by `swept_until` are charged.
    """
    charges: dict[tuple[UUID, str], Charge] = {}
    folded: list[WalletDay] = []
    folds: dict[str, RiderFold] = {}
    taps: Sequence[RideTap] = ()
    for each, priced in zip(days, _priced(days, amendments), strict=True):
        opening = each.opening
        if folded:
            for fold in folds.values():
                charges |= fold.charges
            states = {token: fold.state for token, fold in folds.items()}
            opening = opening_of(states, book, each.day)
        folded.append(structs.replace(each, opening=opening))
        folds = {token: RiderFold(book, state) for token, state in opening.items()}
        taps = sorted(priced, key=lambda tap: tap.order)
        for tap in taps:
            if tap.media_token not in folds:
                folds[tap.media_token] = RiderFold(book)
            folds[tap.media_token].take(tap)
    newest: dict[str, tuple[datetime, int]] = {}
    for tap in taps:
        newest[tap.media_token] = (tap.tapped_at, tap.sequence)
    riders = {
        token: RiderToday(fold.state, newest.get(token), fold.open_until)
        for token, fold in folds.items()
    }
    return _folded(tuple(folded), charges, folds, riders, swept_until)


def _priced(days: Sequence[WalletDay], amendments: Sequence[Amendment]) -> list[Sequence[RideTap]]:
    """The taps of each day that are priced. A ride may have an end on either side of its turn."""
    if not amendments or not days:
        return [each.taps for each in days]
    open_taps = _open_taps(days[0].opening)
    place = {tap.tap_id: number for number, each in enumerate(days) for tap in each.taps}
    # An end that was named is of the day of the other.
    place |= {
        one.correction_id: place[one.tap_id]
        for one in amendments
        if one.added is not None and one.tap_id in place
    }
    found: list[list[RideTap]] = [[] for _ in days]
    for tap in amended([*open_taps, *(tap for each in days for tap in each.taps)], amendments):
        if tap.tap_id in place:
            found[place[tap.tap_id]].append(tap)
    return list(found)


def _open_taps(opening: Opening) -> list[RideTap]:
    return [state.open_tap for state in opening.values() if state.open_tap is not None]


def _folded(
    days: tuple[WalletDay, ...],
    charges: dict[tuple[UUID, str], Charge],
    folds: dict[str, RiderFold],
    riders: Riders,
    swept_until: datetime | None,
) -> FoldedDays:
    journeys: dict[UUID, UUID] = {}
    double_beeps: set[UUID] = set()
    refused: dict[UUID, FareRefusal] = {}
    for fold in folds.values():
        # What a sweep charges is not remembered: the leg may still be closed by a late tap.
        if swept_until is not None:
            fold.sweep(swept_until)
        charges |= fold.charges
        journeys |= fold.journeys
        double_beeps |= fold.double_beeps
        refused |= fold.refused
    return FoldedDays(days, charges, journeys, double_beeps, refused, riders)


def take_one(
    day: date | None,
    riders: Riders,
    opening: Opening,
    tap: RideTap,
    tap_day: date,
    book: TariffBook,
    *,
    swept_until: datetime | None,
) -> Moved | None:
    """Price one more tap after what is remembered, where that is enough; else None.

    It is not enough for a tap that comes before another of its media, nor where a charge that was
    already made may have to be given back: of a sweep, or of a rider who left at once and enters
    again; nor for an entry that comes so late that its leg has been swept with others by then.
    """
    if day is not None and tap_day < day:
        return None
    if tap_day != day:
        states = {token: rider.state for token, rider in riders.items()}
        opening = opening_of(states, book, tap_day) if states else {}
        riders = {
            token: RiderToday(state, None, RiderFold(book, state).open_until)
            for token, state in opening.items()
        }
    rider = riders.get(tap.media_token)
    if rider is None:
        fold = RiderFold(book)
    else:
        is_swept = (
            swept_until is not None
            and rider.open_until is not None
            and rider.open_until <= swept_until
        )
        is_late = rider.newest is not None and rider.newest >= (tap.tapped_at, tap.sequence)
        if is_late or is_swept or rider.state.reentry is not None:
            return None
        fold = RiderFold(book, rider.state)
    fold.take(tap)
    until = fold.open_until
    if swept_until is not None and until is not None and until <= swept_until:
        return None
    newest = (tap.tapped_at, tap.sequence)
    riders = {**riders, tap.media_token: RiderToday(fold.state, newest, until)}
    return Moved(
        tap_day,
        riders,
        opening,
        {},
        fold.charges,
        fold.journeys,
        fold.double_beeps,
        fold.refused,
    )


def refold(
    days: Sequence[WalletDay],
    tap: RideTap,
    tap_day: date,
    book: TariffBook,
    *,
    swept_until: datetime | None,
    amendments: Sequence[Amendment] = (),
) -> Moved:
    """Price one more tap by folding afresh all the days that it concerns."""
    at = tap.tapped_at
    concerned = _concerned(days, _first_day(tap_day, at, at, amendments, book))
    before = fold_days(concerned, book, swept_until=swept_until, amendments=amendments)
    more = with_tap(concerned, tap_day, tap)
    after = fold_days(more, book, swept_until=swept_until, amendments=amendments)
    return _moved(before, after)


def refold_amended(
    loaded: LoadedDays,
    amendment: Amendment,
    book: TariffBook,
    *,
    swept_until: datetime | None,
) -> Moved:
    """Price one more amendment by folding afresh all the days that it concerns, if any has taps."""
    known, since = loaded.amendments, amendment.since
    first = _first_day(book.service_day_of(since), since, amendment.until, known, book)
    concerned = _concerned(loaded.days, first)
    before = fold_days(concerned, book, swept_until=swept_until, amendments=known)
    more = (*known, amendment)
    return _moved(before, fold_days(concerned, book, swept_until=swept_until, amendments=more))


def _moved(before: FoldedDays, after: FoldedDays) -> Moved:
    newest = after.days[-1]
    return Moved(
        newest.day,
        after.riders,
        newest.opening,
        before.charges,
        after.charges,
        after.journeys,
        after.double_beeps,
        after.refused,
        after.days,
    )


def _first_day(
    day: date,
    since: datetime,
    until: datetime,
    amendments: Sequence[Amendment],
    book: TariffBook,
) -> date:
    """The first day that must be folded afresh for taps of a day, or an amendment of them."""
    begun = [
        book.service_day_of(one.since) for one in amendments if hangs_together(one, since, until)
    ]
    return min([day, *begun])


def _concerned(days: Sequence[WalletDay], tap_day: date) -> tuple[WalletDay, ...]:
    """The days from the one whose end a tap's day begins with, on."""
    if not days:
        return ()
    first = max((each.day for each in days if each.day <= tap_day), default=days[0].day)
    return tuple(each for each in days if each.day >= first)


def priced_taps(loaded: LoadedDays) -> list[RideTap]:
    """The taps of all loaded days as they are priced, and those of legs open when the first began.

    A ride over the turn of the day has an end on either side of it.
    """
    found = _open_taps(loaded.days[0].opening) if loaded.days else []
    return found + [tap for day in _priced(loaded.days, loaded.amendments) for tap in day]


def closing(
    days: Sequence[WalletDay], book: TariffBook, amendments: Sequence[Amendment] = ()
) -> Opening:
    """What is remembered of each media when days end, before time takes any of it away."""
    folded = fold_days(days, book, amendments=amendments)
    return {token: rider.state for token, rider in folded.riders.items()}


def swept(
    riders: Riders, book: TariffBook, swept_until: datetime | None
) -> dict[tuple[UUID, str], Charge]:
    """What the open legs are charged that nobody could close any more at an instant."""
    charges: dict[tuple[UUID, str], Charge] = {}
    for rider in riders.values():
        if swept_until is not None and rider.open_until is not None:
            fold = RiderFold(book, rider.state)
            fold.sweep(swept_until)
            charges |= fold.charges
    return charges


def open_until(riders: Riders, swept_until: datetime | None) -> datetime | None:
    """When the first of the open legs that no sweep has charged can no longer be closed."""
    found: datetime | None = None
    for rider in riders.values():
        until = rider.open_until
        if until is not None and (swept_until is None or until > swept_until):
            found = until if found is None else min(found, until)
    return found


def opening_of(states: Opening, book: TariffBook, day: date) -> Opening:
    """What is remembered of each media when a day begins, of what was when an earlier one ended."""
    starts_at = book.starts_at(day)
    found = {token: carried(state, book, starts_at) for token, state in sorted(states.items())}
    return {token: state for token, state in found.items() if state != NOTHING_REMEMBERED}
