"""Prices that no example of Shenzhen shows: precedence, seconds, clocks, priorities."""

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from fare_rules import FareRefusal, Leg, Quote, load_tariff, quote

HARBOUR = """
tariff: harbour
effective_from: 2026-01-01
reference: Harbour fare notice 2025/11
timezone: America/New_York
service_day_starts: 04:00
currency: USD
rider_categories: [{id: adult, default: true}, {id: child}]
fare_media: [{id: card}]
operators: [{id: red_line}]
networks:
  - {id: ferry, taps: board, reference: s.1}
  - {id: bus, taps: board, reference: s.1}
fare_products:
  - {id: ferry_ride, reference: s.2, pricing: {kind: flat, amount_fen: 333}}
  - {id: red_ride, reference: s.2, pricing: {kind: flat, amount_fen: 500}}
  - {id: island_ride, reference: s.3, pricing: {kind: flat, amount_fen: 900}}
  - id: bus_ride
    reference: s.4
    pricing: {kind: distance_bands, bands: [{up_to_m: 1000, amount_fen: 100}, {up_to_m: 2000, amount_fen: 150}]}
fare_leg_rules:
  - {id: ferry, network: ferry, product: ferry_ride}
  - {id: red, network: ferry, operator: red_line, product: red_ride, priority: 1}
  - {id: island, network: ferry, to_stop: island, product: island_ride, priority: 2}
  - {id: bus, network: bus, product: bus_ride}
concessions:
  - {id: child_half, reference: s.5, rider_categories: [child], pays: {kind: percent, percent: 50, rounding: down}}
  - {id: all_of_it, reference: s.6, products: [red_ride], rider_categories: [child], priority: 1, pays: {kind: percent, percent: 100, rounding: down}}
fare_transfer_rules:
  - {id: quick, reference: s.7, from_networks: [ferry], to_network: ferry, window_minutes: 10, discount_fen: 100, priority: 1}
  - {id: slow, reference: s.7, from_networks: [ferry], to_network: ferry, window_minutes: 60, discount_fen: 30}
"""  # noqa: E501


@pytest.fixture(scope="module")
def harbour(tmp_path_factory):
    path = tmp_path_factory.mktemp("harbour") / "2026-01-01.yaml"
    path.write_text(HARBOUR)
    return load_tariff(path)


def lines(priced: Quote | FareRefusal) -> list[tuple[str, int]]:
    assert isinstance(priced, Quote), priced
    return [(line.rule_id, line.amount_fen) for line in priced.lines]


def test_a_line_keeps_the_clause_of_its_rule(tariff, ride):
    priced = quote(ride("bus M390", "08:00", gate_fare_fen=200), tariff, previous=None)
    assert [line.reference for line in priced.lines] == ["b.1", "b.2"]
    assert priced.product_id == "bus_ride"
    assert priced.fare_fen == 160


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        ({"network": "x", "rider_category": "x"}, FareRefusal.UNKNOWN_NETWORK),
        ({"rider_category": "x", "fare_media": "x"}, FareRefusal.UNKNOWN_RIDER_CATEGORY),
        ({"fare_media": "x", "carriage_class": "x"}, FareRefusal.UNKNOWN_FARE_MEDIA),
        ({"carriage_class": "x"}, FareRefusal.NO_FARE_RULE),
        ({"network": "bus"}, FareRefusal.NO_GATE_FARE),
        ({}, FareRefusal.NO_DISTANCE),
        ({"carriage_class": "business"}, FareRefusal.NO_DISTANCE),
        ({"from_stop": "luohu", "to_stop": "atlantis"}, FareRefusal.NO_DISTANCE),
    ],
)
def test_of_two_reasons_against_a_price_the_earlier_is_told(tariff, ride, said, refusal):
    assert quote(ride("metro", "08:00", "08:30", **said), tariff, previous=None) == refusal


@pytest.mark.parametrize(("clock", "fare_fen"), [("09:30:00", 120), ("09:30:01", 160)])
def test_the_window_of_a_transfer_ends_with_its_last_second(tariff, ride, clock, fare_fen):
    before = ride("bus M390", "08:00", gate_fare_fen=200)
    after = ride("bus M506", clock, gate_fare_fen=200)
    assert quote(after, tariff, previous=before).fare_fen == fare_fen


def test_a_ride_that_was_never_closed_is_nothing_to_change_from(tariff, ride):
    before = ride("metro", "08:00", missing="exit")
    after = ride("bus M390", "08:30", gate_fare_fen=200)
    assert quote(after, tariff, previous=before).fare_fen == 160


def test_a_ride_whose_entry_is_unknown_is_left_at_its_exit(tariff, ride):
    before = ride("metro", "08:00", missing="entry", gate_fare_fen=300)
    after = ride("bus M390", "08:30", gate_fare_fen=200)
    assert quote(after, tariff, previous=before).fare_fen == 120


def test_a_route_that_is_not_known_is_not_known_to_differ(tariff, ride):
    before = ride("bus", "08:00", gate_fare_fen=200)
    after = ride("bus M390", "08:30", gate_fare_fen=200)
    assert quote(after, tariff, previous=before).fare_fen == 160


def test_the_clocks_going_back_do_not_lengthen_a_transfer(harbour, ride):
    new_york = ZoneInfo("America/New_York")
    before = msgspec.structs.replace(
        ride("ferry", "08:00"), boarded_at=datetime(2026, 11, 1, 1, 30, tzinfo=new_york)
    )
    after = msgspec.structs.replace(
        before, boarded_at=datetime(2026, 11, 1, 1, 35, tzinfo=new_york, fold=1)
    )
    assert lines(quote(after, harbour, previous=before)) == [("ferry_ride", 333)]


def test_the_leg_rule_of_the_highest_priority_wins(harbour, ride):
    def product_id(leg: Leg) -> str:
        return quote(leg, harbour, previous=None).product_id

    assert product_id(ride("ferry", "08:00")) == "ferry_ride"
    assert product_id(ride("ferry", "08:00", operator_id="red_line")) == "red_ride"
    assert product_id(ride("ferry", "08:00", operator_id="red_line", to_stop="island")) == (
        "island_ride"
    )


def test_one_concession_at_most_and_it_rounds_as_it_says(harbour, ride):
    child = ride("ferry", "08:00", rider_category="child")
    assert lines(quote(child, harbour, previous=None))[1:] == [("child_half", -167)]
    on_red = msgspec.structs.replace(child, operator_id="red_line")
    assert lines(quote(on_red, harbour, previous=None)) == [("red_ride", 500)]


def test_of_two_transfers_the_first_that_fits_is_given_alone(harbour, ride):
    before = ride("ferry", "08:00")

    def after(clock: str) -> list[tuple[str, int]]:
        return lines(quote(ride("ferry", clock), harbour, previous=before))[1:]

    assert after("08:10") == [("quick", -100)]
    assert after("08:11") == [("slow", -30)]
    assert after("09:01") == []


def test_a_ride_that_came_later_is_not_the_one_before(harbour, ride):
    later = ride("ferry", "08:05")
    assert lines(quote(ride("ferry", "08:00"), harbour, previous=later)) == [("ferry_ride", 333)]


def test_a_tariff_that_does_not_let_the_gate_name_the_fare_ignores_it(harbour, ride):
    assert lines(quote(ride("ferry", "08:00", gate_fare_fen=1), harbour, previous=None)) == [
        ("ferry_ride", 333)
    ]


def test_without_a_step_beyond_the_last_band_has_no_end(harbour, ride):
    fares = [
        quote(ride("bus", "08:00", distance_m=distance_m), harbour, previous=None).fare_fen
        for distance_m in (0, 1000, 1001, 2000, 2001, 1_000_000)
    ]
    assert fares == [100, 100, 150, 150, 150, 150]


def test_every_rider_of_a_leg_that_lacks_an_end_pays_for_it(tariff, ride):
    alone = ride("metro", "08:00", missing="entry", riders_count=3)
    assert lines(quote(alone, tariff, previous=None)) == [("unmatched_exit", 4200)]


def test_a_change_is_told_even_where_no_fare_is_left_to_discount(tariff, ride):
    before = ride("bus M390", "08:00", gate_fare_fen=200)
    after = quote(ride("bus M506", "08:30", gate_fare_fen=0), tariff, previous=before)
    assert lines(after) == [("bus_ride", 0)]
    assert after.is_transfer
    assert not quote(before, tariff, previous=None).is_transfer
