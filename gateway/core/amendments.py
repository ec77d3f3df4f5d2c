"""What the desk says of a rider's taps afterwards: facts of their own, which the fold is given.

An amendment never touches the tap log. `amended` makes of a wallet's taps, and of all its
amendments, the taps that are priced; so whichever of them comes first, the money is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from msgspec import Struct, structs

from fare_rules import Action, RideTap


class AmendmentKind(StrEnum):
    VOID = "void"
    FREE_RIDE = "free_ride"
    MISSING_EXIT = "missing_exit"
    MISSING_ENTRY = "missing_entry"
    MISSING_RIDE = "missing_ride"
    RECLASS = "reclass"
    CLEARANCE = "clearance"
    REVERSAL = "reversal"


# Those that are about both ends of a ride, of which the gates may have sent one, or send it yet.
_OF_A_RIDE = (
    AmendmentKind.FREE_RIDE,
    AmendmentKind.MISSING_EXIT,
    AmendmentKind.MISSING_ENTRY,
    AmendmentKind.CLEARANCE,
)
# A service day and the date in UTC of any instant of it are never farther apart.
_DAYS_APART = timedelta(days=2)


class Amendment(Struct, frozen=True, gc=False, omit_defaults=True):
    """One fact about some taps of one media, which all lie between two instants, included."""

    correction_id: UUID
    kind: AmendmentKind
    media_token: str
    since: datetime
    until: datetime
    # The tap that did not happen, that was cleared, whose ride is free or lacks its other end.
    tap_id: UUID | None = None
    # The missing end; its id is the correction's.
    added: RideTap | None = None
    rider_category: str | None = None
    # The correction that is undone.
    reverses: UUID | None = None
    # The taps of the log that a person made of a ride; they count until this is undone.
    ride: tuple[UUID, ...] = ()


def amended(taps: Sequence[RideTap], amendments: Sequence[Amendment]) -> Sequence[RideTap]:
    """Make the taps that are priced, of those that the gates sent.

    A missing end counts only as long as no gate has sent it: a tap that comes in late takes its
    place. Of two classes that a tap was given, the later booked one counts.
    """
    if not amendments or not taps:
        return taps
    undone = {one.reverses for one in amendments}
    active = [one for one in amendments if one.correction_id not in undone]
    voided = {one.tap_id for one in active if one.kind is AmendmentKind.VOID}
    voided |= {i for one in amendments if one.correction_id in undone for i in one.ride}
    found = sorted((tap for tap in taps if tap.tap_id not in voided), key=lambda tap: tap.order)
    cleared: set[UUID] = set()
    for one in active:
        if one.kind is AmendmentKind.CLEARANCE:
            cleared |= _cleared(found, one)
        elif one.kind is AmendmentKind.FREE_RIDE:
            cleared |= _freed(found, one)
    found = [tap for tap in found if tap.tap_id not in cleared]
    missing = [one for one in active if one.added is not None and _is_missing(found, one)]
    found += [one.added for one in missing if one.added is not None]
    for one in active:
        if one.rider_category is not None:
            found = [_reclassed(tap, one) for tap in found]
    return found


def hangs_together(one: Amendment, since: datetime, until: datetime) -> bool:
    """Whether what was put right of a ride hangs on taps between two instants, included.

    They may be of the day after it: an end that a gate sends takes the place of one that was named.
    """
    return one.kind in _OF_A_RIDE and one.since <= until and since <= one.until


def freed_with(tap: RideTap, amendments: Iterable[Amendment]) -> set[UUID]:
    """The other ends with which a tap may have been made free: a receipt says so of both."""
    return {
        one.tap_id
        for one in amendments
        if one.kind is AmendmentKind.FREE_RIDE
        and one.media_token == tap.media_token
        and hangs_together(one, tap.tapped_at, tap.tapped_at)
        and one.tap_id is not None
    }


def loaded_from(day: date, amendments: Iterable[Amendment]) -> date:
    """From when days must be loaded to price one of them: those that it hangs together with, too.

    Only a tariff knows on which service day an instant falls; more days than needed do no harm.
    """
    reaching = [
        one.since.date() - _DAYS_APART
        for one in amendments
        if one.kind in _OF_A_RIDE and one.until.date() + _DAYS_APART >= day
    ]
    return min([day, *reaching])


def _cleared(taps: Sequence[RideTap], one: Amendment) -> set[UUID]:
    """The entry, and the exit where the rider left again, if that came in time."""
    entry = next((tap for tap in taps if tap.tap_id == one.tap_id), None)
    if entry is None:
        return set()
    after = next_tap(taps, entry)
    is_left = (
        after is not None
        and not after.action.opens
        and after.stop_id == entry.stop_id
        and after.tapped_at <= one.until
    )
    return {entry.tap_id, after.tap_id} if after is not None and is_left else {entry.tap_id}


def _freed(taps: Sequence[RideTap], one: Amendment) -> set[UUID]:
    """The tap, and the other end of its ride, whenever a gate sends that."""
    known = next((tap for tap in taps if tap.tap_id == one.tap_id), None)
    if known is None:
        return set()
    other = next_tap(taps, known) if known.action.opens else previous_tap(taps, known)
    is_end = (
        other is not None
        and other.action.opens is not known.action.opens
        and other.network == known.network
        and one.since <= other.tapped_at <= one.until
    )
    return {known.tap_id, other.tap_id} if other is not None and is_end else {known.tap_id}


def _is_missing(taps: Sequence[RideTap], one: Amendment) -> bool:
    known = next((tap for tap in taps if tap.tap_id == one.tap_id), None)
    if known is None:
        return False
    if one.kind is AmendmentKind.MISSING_EXIT:
        after = next_tap(taps, known)
        return after is None or after.action.opens or after.tapped_at > one.until
    before = previous_tap(taps, known)
    return before is None or not before.action.opens or before.tapped_at < one.since


def _reclassed(tap: RideTap, one: Amendment) -> RideTap:
    if tap.media_token != one.media_token or not one.since <= tap.tapped_at <= one.until:
        return tap
    return structs.replace(tap, rider_category=one.rider_category)


def next_tap(taps: Sequence[RideTap], tap: RideTap) -> RideTap | None:
    """The tap of the same media that follows."""
    return min(
        _others(taps, tap, lambda other: other.order > tap.order),
        key=lambda other: other.order,
        default=None,
    )


def previous_tap(taps: Sequence[RideTap], tap: RideTap) -> RideTap | None:
    """The tap of the same media that went before."""
    return max(
        _others(taps, tap, lambda other: other.order < tap.order),
        key=lambda other: other.order,
        default=None,
    )


def _others(
    taps: Sequence[RideTap], tap: RideTap, is_asked: Callable[[RideTap], bool]
) -> list[RideTap]:
    return [
        other
        for other in taps
        if other.media_token == tap.media_token
        and other.action is not Action.TOUCH
        and is_asked(other)
    ]
