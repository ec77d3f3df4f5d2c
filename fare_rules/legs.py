"""One ride, as its taps were paired; and the facts of it by which rules choose."""

from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec import Struct

from fare_rules.money import Fen


def minutes_begun(time: timedelta) -> int:
    return -(-time // timedelta(minutes=1))


class Leg(Struct, frozen=True, gc=False):
    """One boarding to one alighting. Names are ids of the tariff; amounts are for one rider."""

    network: str
    operator_id: str
    rider_category: str
    fare_media: str
    # The first tap: the exit tap where the entry is not known.
    boarded_at: datetime
    # None where riders only tap on, or never tapped off.
    alighted_at: datetime | None = None
    from_stop: str | None = None
    to_stop: str | None = None
    via_stops: tuple[str, ...] = ()
    route_id: str | None = None
    vehicle_id: str | None = None
    # The full fare, where the gate names it.
    gate_fare_fen: Fen | None = None
    # Where the gate measures it; otherwise the tariff's tables say it.
    distance_m: int | None = None
    carriage_class: str = "ordinary"
    riders_count: int = 1
    # The card itself carries the proof of the ride before.
    transfer_proven: bool = False
    # "entry": an exit whose entry is not known; "exit": an entry that was never closed.
    missing: str | None = None
    # How much longer than the network allows the rider stayed, and pays for it.
    over_minutes: int = 0
    # A missing end was taken from the rider's habit.
    is_completed: bool = False
    issuer_id: str | None = None
    coupons: tuple[tuple[str, datetime], ...] = ()
    # Campaigns whose money had run out.
    without: tuple[str, ...] = ()

    @property
    def last_tap_at(self) -> datetime:
        return self.alighted_at or self.boarded_at

    @property
    def place(self) -> str | None:
        """Where it begins: the stop, else the vehicle or its route."""
        return self.from_stop or self.vehicle_id or self.route_id


class LegFacts(NamedTuple):
    """What rules may ask of a leg: all legs with these facts are priced by the same rules."""

    network: str
    operator_id: str
    route_id: str | None
    carriage_class: str
    from_stop: str | None
    to_stop: str | None
    via_stops: tuple[str, ...]
    rider_category: str
    fare_media: str
    issuer_id: str | None
    # Timeframes as bits, of the first tap of the journey and of the last tap of the leg.
    from_frames: int
    to_frames: int
    missing: str | None
    # Several legs, priced as one.
    is_joined: bool = False
