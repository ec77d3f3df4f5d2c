"""Legs as a timetable tells them, and the tariff most tests price them by."""

from datetime import datetime
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from fare_rules import FareRefusal, Leg, Quote, RiderState, load_tariff
from fare_rules.price import price_leg

SHENZHEN = Path(__file__).parents[2] / "fare_rules" / "tariffs" / "shenzhen"
SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.fixture(scope="session")
def tariff():
    return load_tariff(SHENZHEN / "2018-08-01.yaml")


@pytest.fixture(scope="session")
def ride():
    """Make a leg of an adult's card on a Saturday: ride("bus M390", "08:00", gate_fare_fen=200)."""

    def make(line: str, boards: str, alights: str | None = None, **said: object) -> Leg:
        network, _, route = line.partition(" ")

        def at(clock: str) -> datetime:
            return datetime.fromisoformat(f"2018-09-01T{clock}").replace(tzinfo=SHANGHAI)

        told: dict[str, object] = {
            "network": network,
            "operator_id": "any",
            "rider_category": "adult",
            "fare_media": "card",
            "boarded_at": at(boards),
            "alighted_at": at(alights) if alights else None,
            "route_id": route or None,
        }
        return Leg(**(told | said))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def priced():
    """Price a leg after the ride before it: priced(leg, tariff, previous=ride)."""

    def price(leg: Leg, tariff, *, previous: Leg | None = None) -> Quote | FareRefusal:
        def one(each: Leg, state: RiderState):
            day, journey_id = each.boarded_at.date(), UUID(int=1)
            return price_leg(each, tariff, state, day=day, journey_id=journey_id)

        state = RiderState()
        before = one(previous, state) if previous else None
        if before is not None and not isinstance(before, FareRefusal):
            state = RiderState(trail=(before.past,))
        found = one(leg, state)
        return found if isinstance(found, FareRefusal) else found.quote

    return price
