"""Every key of every rule: what it says is in the files, or named in the remarks."""

from datetime import date
from itertools import count
from typing import Annotated, Literal, get_args, get_origin

import msgspec
import pytest

from fare_rules.gtfs import export_gtfs
from fare_rules.gtfs.leftovers import unsaid
from fare_rules.language.conditions import LegConditions, LegFilter
from fare_rules.language.discounts import Concession, ExceptedChange, Free
from fare_rules.language.journeys import StopPair, ZoneCountMinutes
from fare_rules.language.places import Completion, JourneyTime, SameStopExit, TimeframePeriod
from fare_rules.language.products import Flat
from fare_rules.language.scalars import Kilometres, Money, Percent, Zones

CITY = """\
tariff: city
effective_from: 2026-01-05
reference: Notice 1
timezone: Europe/Paris
service_day_starts: 04:00
currency: EUR
rider_categories: [{id: adult, default: true}, {id: child}]
fare_media: [{id: card}, {id: phone}]
zones: [1, 2]
stops: [{id: a, zones: [1], areas: [isle]}, {id: b, zones: [2]}]
areas: [{id: isle}]
holidays: {also: [2026-05-01]}
timeframes:
  - {id: peak, periods: [{start: 07:00, end: 09:00}]}
  - {id: late, periods: [{start: 20:00}]}
networks:
  - {id: bus, taps: board, reference: s.1}
  - {id: tram, taps: board, reference: s.1}
fare_products:
  - {id: ride, reference: s.2, pricing: {kind: flat, amount: 2}}
  - {id: night, reference: s.2, pricing: {kind: flat, amount: 3}}
fare_leg_rules:
  - {id: late, from_timeframes: [late], product: night, priority: 1}
  - {id: all, product: ride}
incomplete_leg_rules:
  - {id: lost, reference: s.9, charge: {kind: amount, amount: 9}}
surcharges:
  - {id: extra, reference: s.3, from_timeframes: [peak], percent: 60}
concessions:
  - {id: less, reference: s.3, pays: {kind: less, amount: 0.20}}
  - {id: least, reference: s.3, layer: 2, pays: {kind: amount, amount: 0.50}, priority: 1,
     rider_categories: [child]}
fare_transfer_rules:
  - {id: change, reference: s.4, pays: {kind: less, amount: 0.40}, window_minutes: 60}
fare_leg_join_rules:
  - {id: join, reference: s.4, window_minutes: 5, from: {networks: [tram]}}
"""
RULES = (
    *("networks", "timeframes", "fare_products", "fare_leg_rules", "surcharges", "concessions"),
    *("fare_transfer_rules", "fare_leg_join_rules"),
)
# These change no price, and GTFS has no place for them: what gates do, clauses, what people call
# it, and which of several rules goes first where there is one.
QUIET = {
    *("id", "reference", "name", "taps", "links", "distances", "route_stops"),
    *("fare_leg_join_rules priority", "fare_transfer_rules priority", "surcharges priority"),
    *("concessions priority",),
}
# A value of each key that is neither true, false nor one of a few words.
SAMPLES = {
    **{"networks": ("bus",), "operators": ("op",), "routes": ("r1",), "issuers": ("bank",)},
    **{"carriage_classes": ("ordinary",), "from_stops": ("a",), "to_stops": ("a",)},
    **{"between_stops": ("a", "b"), "via_stops": ("b",), "within_zones": Zones("1")},
    **{"from_areas": ("isle",), "to_areas": ("isle",), "fare_media": ("phone",)},
    **{"rider_categories": ("child",), "products": ("night",)},
    **{"from_timeframes": ("late",), "to_timeframes": ("peak",), "borne_by": "city"},
    **{"except": (LegFilter(networks=("bus",)),), "layer": 3, "pays": Free()},
    **{"amount": Money(70), "percent": Percent(7000), "add_km": Kilometres(900)},
    **{"every_minutes": 9, "maximum": Money(90), "pricing": Flat(amount=Money(900))},
    **{"through": "night", "product": "night", "window_minutes": 7, "transfers_max": 2},
    **{"from": LegFilter(networks=("bus",)), "to": LegFilter(networks=("bus",))},
    **{"first": LegConditions(networks=("bus",)), "minimum_balance": Money(9)},
    **{"pairs": (StopPair(from_stop="a", to_stop="b", minutes=9),), "between": ("a", "b")},
    **{"less": Money(10), "legs_max": 3, "times_max": 3, "journey_minutes_max": 90},
    **{"journey_minutes_by_zones": (ZoneCountMinutes(up_to_zones=2, minutes=75),)},
    **{"begins": "2026-01-05 06:00", "ends": "2026-01-05 07:00"},
    **{"distance_max_km": Kilometres(9), "no_minimum_balance": ("card",)},
    **{"hold_at_entry": Money(14)},
    **{"pass_back_seconds": 7, "journey_time": JourneyTime(minutes=90)},
    **{"same_stop_exit": (SameStopExit(charge="free"),), "completion": Completion(legs_min=3)},
    **{"first_day": date(2026, 6, 1), "last_day": date(2026, 9, 1)},
    **{"periods": (TimeframePeriod(start="08:00"),)},
}
ONE_OFF = {
    "fare_transfer_rules except": (ExceptedChange(from_=LegConditions(networks=("bus",))),),
    "fare_leg_rules priority": 2,
    "fare_leg_rules from_timeframes": ("peak",),
    "fare_leg_rules product": "ride",
    # Its remark is there as long as there is a time at all.
    "fare_leg_join_rules window_minutes": 0,
}


@pytest.fixture
def city(written):
    return written(CITY).parts


@pytest.fixture
def export(city, tmp_path):
    """Export a tariff beside the city's tables, and give back all that was written."""
    numbers = count()

    def write(tariff):
        folder = tmp_path / f"exported_{next(numbers)}"
        export_gtfs(tariff, city[1], folder)
        return {path.name: path.read_text("utf-8") for path in folder.iterdir()}

    return write


def other_value(section, field, now):
    """Make a value that differs from what the city says."""
    if now is True or now is False:
        return not now
    kind = field.type
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(kind) is Literal:
        return next(word for word in get_args(kind) if word != now)
    of_section = f"{section} {field.encode_name}"
    return ONE_OFF[of_section] if of_section in ONE_OFF else SAMPLES[field.encode_name]


@pytest.mark.parametrize("section", RULES)
def test_no_key_of_a_rule_is_dropped_in_silence(section, city, export):
    tariff, _ = city
    rule, *others = getattr(tariff, section)
    before = export(tariff)
    silent = []
    for field in msgspec.structs.fields(rule):
        key = field.encode_name
        if key in QUIET or f"{section} {key}" in QUIET:
            continue
        value = other_value(section, field, getattr(rule, field.name))
        changed = msgspec.structs.replace(rule, **{field.name: value})
        if export(msgspec.structs.replace(tariff, **{section: (changed, *others)})) == before:
            silent.append(key)
    assert silent == []


def test_no_key_of_the_file_is_dropped_in_silence(city, export):
    tariff, _ = city
    before = export(tariff)
    for key, value in {
        "order": ("transfers", "concessions", "tiers", "caps", "promotions"),
        "journeys_under_way": "new",
        "never_dearer_than": date(2025, 1, 1),
        "late_taps_days": 9,
    }.items():
        assert export(msgspec.structs.replace(tariff, **{key: value})) != before, key


def test_each_rule_of_a_section_that_gtfs_has_not_is_named(city, export):
    tariff, _ = city
    assert "incomplete_leg_rules lost: GTFS cannot say" in export(tariff)["NOT_IN_GTFS.md"]


def test_a_key_that_the_export_has_never_heard_of_is_named():
    class Newer(Concession, frozen=True, kw_only=True):
        on_sundays: bool = False

    rule = Newer(id="c", reference="s.1", pays=Free(), on_sundays=True)
    assert unsaid(rule) == ["on_sundays"]
