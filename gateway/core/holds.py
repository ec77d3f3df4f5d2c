"""What rides under way may still cost, kept from being spent meanwhile.

A hold is not booked. It follows from the legs that are open: it begins with an entry, and ends when
the ride is charged or its time has passed. So it cannot be forgotten, and what is posted is only
ever what was really paid.
"""

from __future__ import annotations

from datetime import datetime

from fare_rules import CompiledTariff
from gateway.core.days import Riders


def held_for_rides_fen(riders: Riders, tariff: CompiledTariff, instant: datetime) -> int:
    """What a wallet's open legs hold of it at an instant.

    Units:  fen; of each leg what its network's `hold_at_entry` says, for each rider of it.
    """
    if not tariff.has_holds:
        return 0
    held_fen = 0
    for rider in riders.values():
        opening, until = rider.state.open_tap, rider.open_until
        if opening is None or until is None or until <= instant:
            continue
        network = tariff.network(opening.network)
        if network and opening.fare_media not in network.no_minimum_balance:
            held_fen += network.hold_fen * opening.riders_count
    return held_fen
