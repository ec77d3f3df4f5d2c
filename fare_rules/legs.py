"""One ride as the gateway hands it over to be priced."""

from datetime import datetime

from msgspec import Struct

from fare_rules.money import Fen


class Leg(Struct, frozen=True):
    """One boarding to one alighting, as its taps were paired.

    Network, category, media, class and stops are ids of the tariff. Amounts are for one rider.
    """

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
    route_id: str | None = None
    # The full fare, where the gate names it.
    gate_fare_fen: Fen | None = None
    # Where the gate measures it; otherwise the shortest path over the network's links counts.
    distance_m: int | None = None
    carriage_class: str = "ordinary"
    riders_count: int = 1
    # The card itself carries the proof of the ride before.
    transfer_proven: bool = False
    # "entry": an exit whose entry is not known; "exit": an entry that was never closed.
    missing: str | None = None

    @property
    def last_tap_at(self) -> datetime:
        return self.alighted_at or self.boarded_at
