"""A small city with an old and a new tariff, and a week of its riders with fares worked by hand."""

from datetime import date, datetime
from itertools import count
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5
from zoneinfo import ZoneInfo

import pytest

from fare_rules import Action, RideTap
from fare_rules.backtest import backtest

SHANGHAI = ZoneInfo("Asia/Shanghai")
MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)

_OLD = """
tariff: harbour
effective_from: 2026-01-01
reference: Harbour fare notice
timezone: Asia/Shanghai
service_day_starts: 04:00
currency: CNY
rider_categories: [{id: adult, default: true}, {id: student}]
fare_media: [{id: card}, {id: phone}]
sponsors: [{id: bank}]
networks:
  - id: metro
    taps: enter_exit
    journey_time: {minutes: 120}
    pass_back_seconds: 5
    reference: h.1
  - {id: bus, taps: board, reference: h.2}
fare_products:
  - {id: metro_ride, pricing: {kind: flat, amount: 3.00}, reference: h.3}
  - {id: bus_ride, pricing: {kind: flat, amount: 2.00}, reference: h.4}
fare_leg_rules:
  - {id: metro, networks: [metro], product: metro_ride}
  - {id: bus, networks: [bus], product: bus_ride}
incomplete_leg_rules:
  - id: unclosed_metro_leg
    networks: [metro]
    missing: exit
    charge: {kind: amount, amount: 9.00}
    reference: h.5
  - id: unmatched_metro_exit
    networks: [metro]
    missing: entry
    charge: {kind: amount, amount: 9.00}
    reference: h.5
concessions:
  - id: student_half
    rider_categories: [student]
    pays: {kind: percent, percent: 50, rounding: {mode: half_up}}
    reference: h.6
fare_caps:
  - {id: weekly_cap, period: {kind: week}, amount: 10.00, reference: h.7}
promotions:
  - id: bank_metro
    fare_media: [phone]
    products: [metro_ride]
    pays: {kind: less, amount: 1.00}
    borne_by: bank
    reference: h.8
"""

# The metro is dearer, the week is cheaper, and there is a tram.
_NEW = (
    _OLD.replace("effective_from: 2026-01-01", "effective_from: 2027-01-01")
    .replace("amount: 3.00", "amount: 3.50")
    .replace("amount: 10.00", "amount: 9.00")
    .replace(
        "  - {id: bus, taps: board, reference: h.2}",
        "  - {id: bus, taps: board, reference: h.2}\n  - {id: tram, taps: board, reference: h.9}",
    )
    .replace(
        "fare_leg_rules:",
        "  - {id: tram_ride, pricing: {kind: flat, amount: 1.00}, reference: h.9}\n"
        "fare_leg_rules:\n  - {id: tram, networks: [tram], product: tram_ride}",
    )
)


@pytest.fixture(scope="session")
def old(tmp_path_factory) -> Path:
    """The folder of the tariff that was in force."""
    folder = tmp_path_factory.mktemp("old") / "harbour"
    folder.mkdir()
    (folder / "2026-01-01.yaml").write_text(_OLD, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def new(tmp_path_factory) -> Path:
    """The file of the tariff that is planned."""
    path = tmp_path_factory.mktemp("new") / "2027-01-01.yaml"
    path.write_text(_NEW, encoding="utf-8")
    return path


_numbers = count()


def tap(rider: str, day: date, clock: str, what: str, **said: object) -> RideTap:
    """Make a tap: tap("anna", TUESDAY, "08:00", "enter metro A")."""
    action, network, *stop = what.split(" ")
    number = next(_numbers)
    told: dict[str, object] = {
        "tap_id": uuid5(NAMESPACE_OID, f"{rider} {day} {clock} {what} {said}"),
        "gate_id": f"gate-{number}",
        "sequence": number,
        "tapped_at": datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=SHANGHAI),
        "media_token": rider,
        "action": Action(action),
        "network": network,
        "operator_id": f"city_{network}",
        "rider_category": "adult",
        "fare_media": "card",
        "stop_id": stop[0] if stop else None,
    }
    return RideTap(**(told | said))  # type: ignore[arg-type]


def metro(rider: str, day: date, clock: str, **said: object) -> list[RideTap]:
    """A ride of twenty minutes from the full hour on."""
    leaves = f"{clock[:3]}20"
    return [
        tap(rider, day, clock, "enter metro A", **said),
        tap(rider, day, leaves, "exit metro B", **said),
    ]


def city() -> list[RideTap]:
    """What the riders did; what it costs under the old and the new tariff.

    anna  Tuesday: metro                    3.00            3.50
    ben   Tuesday: bus                      2.00            2.00
    carl  Monday: metro, metro, metro       3.00 3.00 3.00  3.50 3.50 2.00 (the cap)
          Tuesday: metro                    1.00 (the cap)  0.00 (the cap)
    dora  Tuesday: metro, a student         1.50            1.75
    emil  Tuesday: metro, with his phone    2.00 + bank 1   2.50 + bank 1
    finn  Tuesday: tram                     no price        1.00
    gus   Tuesday: into the metro, not out  9.00            9.00
    """
    return [
        *metro("anna", TUESDAY, "08:00"),
        tap("ben", TUESDAY, "08:00", "board bus"),
        *metro("carl", MONDAY, "08:00"),
        *metro("carl", MONDAY, "12:00"),
        *metro("carl", MONDAY, "18:00"),
        *metro("carl", TUESDAY, "08:00"),
        *metro("dora", TUESDAY, "08:00", rider_category="student"),
        *metro("emil", TUESDAY, "08:00", fare_media="phone"),
        tap("finn", TUESDAY, "08:00", "board tram"),
        tap("gus", TUESDAY, "08:00", "enter metro A"),
    ]


@pytest.fixture(scope="session")
def city_taps() -> list[RideTap]:
    return city()


@pytest.fixture(scope="session")
def compared(old, new, city_taps):
    """The city's Tuesday."""
    return backtest(city_taps, old, new, first_day=TUESDAY, last_day=TUESDAY, workers=1)


@pytest.fixture(scope="session")
def make_tap():
    return tap


@pytest.fixture(scope="session")
def make_ride():
    return metro
