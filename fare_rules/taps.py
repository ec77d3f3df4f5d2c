"""A tap as it is priced: what the gate said, and what was known of the card at that moment."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct, structs

# The years that an instant may lie in: at the ends of the calendar a day has no day before it, or
# after, and the longest journey would have no end.
YEAR_MIN, YEAR_MAX = 2, 9990


class Action(StrEnum):
    """What the rider did at the gate."""

    ENTER = "enter"
    EXIT = "exit"
    BOARD = "board"
    ALIGHT = "alight"
    # A route validator on the way: it neither opens nor closes a leg.
    TOUCH = "touch"

    @property
    def opens(self) -> bool:
        """Whether a ride begins here, so that a gate may still refuse it."""
        return self in _OPENING


_OPENING = (Action.ENTER, Action.BOARD)
# What opens a leg, and what closes it where riders tap out, by how a network is tapped.
ENDS: dict[str, tuple[Action, ...]] = {
    "enter_exit": (Action.ENTER, Action.EXIT),
    "board_alight": (Action.BOARD, Action.ALIGHT),
    "board": (Action.BOARD,),
}


class RideTap(Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A tap that was let through. Names are ids of the tariff; the amount is for one rider."""

    tap_id: UUID
    gate_id: str
    sequence: int
    # In UTC.
    tapped_at: datetime
    media_token: str
    action: Action
    network: str
    operator_id: str
    rider_category: str
    fare_media: str
    stop_id: str | None = None
    route_id: str | None = None
    vehicle_id: str | None = None
    full_fare: int | None = None
    transfer_proven: bool = False
    carriage_class: str = "ordinary"
    riders_count: int = 1
    # Where the gate measures it; otherwise the tariff's tables say it.
    distance_m: int | None = None
    # The institution that operates the wallet which pays.
    issuer_id: str | None = None
    # Promotions whose coupon the rider has activated, and when.
    coupons: tuple[tuple[str, datetime], ...] = ()
    # Campaigns whose money had run out when the tap came: they pay nothing of its own leg, or of
    # the one that it leaves open.
    without: tuple[str, ...] = ()
    leaves_without: tuple[str, ...] = ()

    @property
    def order(self) -> tuple[datetime, int, UUID]:
        return (self.tapped_at, self.sequence, self.tap_id)

    @property
    def place(self) -> tuple[str | None, ...]:
        """Where a second beep would be the same beep: the stop or vehicle, else the very gate."""
        known = (self.network, self.stop_id, self.vehicle_id)
        return known if self.stop_id or self.vehicle_id else (*known, self.gate_id)

    def left_by(self, tap: RideTap) -> RideTap:
        """This tap as its leg is priced, which a later one leaves open."""
        if not tap.leaves_without:
            return self
        return structs.replace(self, without=(*self.without, *tap.leaves_without))
