"""Hours in which riders could not tap as they should: which of their rides are put right, and how.

Each ride gets a correction of its own, whose id follows from the disruption and the tap: so the job
may break off and be run again, and each receipt says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID, uuid5

from msgspec import Meta, Struct

from fare_rules import Action, RideTap, TariffBook
from gateway.core.amendments import next_tap, previous_tap
from gateway.core.correction_wishes import CorrectionKind, CorrectionWish, Reason
from gateway.core.days import LoadedDays, priced_taps
from gateway.core.missing_rides import DESK
from gateway.core.taps import Name

_STOPS_MAX = 1000
# A rider let out without a tap is taken to have got there at once: no time is held against him.
_AT_ONCE = timedelta(minutes=1)


class DisruptionWish(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Rides that have one end only, at some stops and in some hours.

    free: such a ride costs nothing, whenever its other end comes in. completed: it is priced to, or
    from, the stop completed_at, until a gate sends that end.
    """

    disruption_id: UUID
    stops: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=_STOPS_MAX)]
    begins: Annotated[datetime, Meta(tz=True)]
    ends: Annotated[datetime, Meta(tz=True, description="first moment after it")]
    treatment: Literal["free", "completed"]
    completed_at: Name | None = None
    networks: Annotated[tuple[Name, ...], Meta(max_length=100, description="all, if left out")] = ()

    @property
    def is_whole(self) -> bool:
        is_named = (self.treatment == "completed") == (self.completed_at is not None)
        return self.begins < self.ends and is_named


def affected(
    disruption: DisruptionWish, wallet_id: UUID, days: LoadedDays, book: TariffBook, now: datetime
) -> list[CorrectionWish]:
    """The corrections that a wallet's rides need, as its taps are priced by now."""
    found = []
    taps = priced_taps(days)
    for tap in taps:
        is_there = tap.stop_id in disruption.stops and (
            not disruption.networks or tap.network in disruption.networks
        )
        is_then = disruption.begins <= tap.tapped_at < disruption.ends
        # An end that a correction added is not put right again.
        is_sent = tap.gate_id != DESK
        if is_there and is_then and is_sent and _lacks_end(tap, taps, book, now):
            found.append(_wish(disruption, wallet_id, tap))
    return found


def _lacks_end(tap: RideTap, taps: Sequence[RideTap], book: TariffBook, now: datetime) -> bool:
    tariff = book.tariff_at(tap.tapped_at)
    network = tariff.network(tap.network) if tariff else None
    if network is None or network.taps == "board" or tap.action is Action.TOUCH:
        return False
    is_begun = tap.action.opens
    other = next_tap(taps, tap) if is_begun else previous_tap(taps, tap)
    if other is None:
        return not is_begun or now > tap.tapped_at + network.longest
    if other.action.opens is is_begun:
        return True
    # The next morning's exit is no end of last night's ride.
    is_of_another_day = book.service_day_of(other.tapped_at) != book.service_day_of(tap.tapped_at)
    return is_of_another_day and abs(other.tapped_at - tap.tapped_at) > network.longest


def _wish(disruption: DisruptionWish, wallet_id: UUID, tap: RideTap) -> CorrectionWish:
    correction_id = uuid5(disruption.disruption_id, str(tap.tap_id))
    if disruption.treatment == "free":
        return CorrectionWish(
            correction_id,
            wallet_id,
            CorrectionKind.FREE_RIDE,
            Reason.DISRUPTION,
            tap_id=tap.tap_id,
            until=disruption.ends,
        )
    opens = tap.action.opens
    return CorrectionWish(
        correction_id,
        wallet_id,
        CorrectionKind.MISSING_EXIT if opens else CorrectionKind.MISSING_ENTRY,
        Reason.DISRUPTION,
        tap_id=tap.tap_id,
        stop_id=disruption.completed_at,
        at=tap.tapped_at + (_AT_ONCE if opens else -_AT_ONCE),
    )
