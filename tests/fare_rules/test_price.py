"""Prices that no example of Shenzhen shows: precedence, seconds, clocks, priorities."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from fare_rules import FareRefusal, Leg, Quote, load_tariff

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
  - {id: ferry_ride, reference: s.2, pricing: {kind: flat, amount: 3.33}}
  - {id: red_ride, reference: s.2, pricing: {kind: flat, amount: 5}}
  - {id: island_ride, reference: s.3, pricing: {kind: flat, amount: 9}}
  - id: bus_ride
    reference: s.4
    pricing: {kind: distance_bands, bands: [{up_to_km: 1, amount: 1}, {up_to_km: 2, amount: 1.50}]}
fare_leg_rules:
  - {id: ferry, networks: [ferry], product: ferry_ride}
  - {id: red, networks: [ferry], operators: [red_line], product: red_ride, priority: 1}
  - {id: island, networks: [ferry], to_stops: [island], product: island_ride, priority: 2}
  - {id: bus, networks: [bus], product: bus_ride}
concessions:
  - {id: child_half, reference: s.5, rider_categories: [child], pays: {kind: percent, percent: 50, rounding: {mode: down}}}
  - {id: all_of_it, reference: s.6, products: [red_ride], rider_categories: [child], priority: 1, pays: {kind: percent, percent: 100, rounding: {mode: down}}}
fare_transfer_rules:
  - {id: quick, reference: s.7, from: {networks: [ferry]}, to: {networks: [ferry]}, window_minutes: 10, pays: {kind: less, amount: 1}, priority: 1}
  - {id: slow, reference: s.7, from: {networks: [ferry]}, to: {networks: [ferry]}, window_minutes: 60, pays: {kind: less, amount: 0.30}}
"""  # noqa: E501


@pytest.fixture(scope="module")
def harbour(tmp_path_factory):
    path = tmp_path_factory.mktemp("harbour") / "2026-01-01.yaml"
    path.write_text(HARBOUR)
    return load_tariff(path)


def lines(quote: Quote | FareRefusal) -> list[tuple[str, int]]:
    assert isinstance(quote, Quote), quote
    return [(line.rule_id, line.amount_fen) for line in quote.lines]


def test_a_line_keeps_the_clause_of_its_rule(priced, tariff, ride):
    quote = priced(ride("bus M390", "08:00", gate_fare_fen=200), tariff)
    assert [line.reference for line in quote.lines] == ["b.1", "b.2"]
    assert quote.product_id == "bus_ride"
    assert quote.fare_fen == 160


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
def test_of_two_reasons_against_a_price_the_earlier_is_told(priced, tariff, ride, said, refusal):
    assert priced(ride("metro", "08:00", "08:30", **said), tariff) == refusal


@pytest.mark.parametrize(("clock", "fare_fen"), [("09:30:00", 120), ("09:30:01", 160)])
def test_the_window_of_a_transfer_ends_with_its_last_second(priced, tariff, ride, clock, fare_fen):
    before = ride("bus M390", "08:00", gate_fare_fen=200)
    after = ride("bus M506", clock, gate_fare_fen=200)
    assert priced(after, tariff, previous=before).fare_fen == fare_fen


def test_a_ride_that_was_never_closed_is_nothing_to_change_from(priced, tariff, ride):
    before = ride("metro", "08:00", missing="exit")
    after = ride("bus M390", "08:30", gate_fare_fen=200)
    assert priced(after, tariff, previous=before).fare_fen == 160


def test_a_ride_whose_entry_is_unknown_is_left_at_its_exit(priced, tariff, ride):
    before = ride("metro", "08:00", missing="entry", gate_fare_fen=300)
    after = ride("bus M390", "08:30", gate_fare_fen=200)
    assert priced(after, tariff, previous=before).fare_fen == 120


def test_a_route_that_is_not_known_is_not_known_to_differ(priced, tariff, ride):
    before = ride("bus", "08:00", gate_fare_fen=200)
    after = ride("bus M390", "08:30", gate_fare_fen=200)
    assert priced(after, tariff, previous=before).fare_fen == 160


def test_the_clocks_going_back_do_not_lengthen_a_transfer(priced, harbour, ride):
    new_york = ZoneInfo("America/New_York")
    half_past_one = datetime(2026, 11, 1, 1, 30, tzinfo=new_york).astimezone(UTC)
    five_past_the_next = datetime(2026, 11, 1, 1, 35, tzinfo=new_york, fold=1).astimezone(UTC)
    before = msgspec.structs.replace(ride("ferry", "08:00"), boarded_at=half_past_one)
    after = msgspec.structs.replace(before, boarded_at=five_past_the_next)
    assert lines(priced(after, harbour, previous=before)) == [("ferry_ride", 333)]


def test_the_leg_rule_of_the_highest_priority_wins(priced, harbour, ride):
    def product_id(leg: Leg) -> str:
        return priced(leg, harbour).product_id

    assert product_id(ride("ferry", "08:00")) == "ferry_ride"
    assert product_id(ride("ferry", "08:00", operator_id="red_line")) == "red_ride"
    assert product_id(ride("ferry", "08:00", operator_id="red_line", to_stop="island")) == (
        "island_ride"
    )


def test_one_concession_at_most_and_it_rounds_as_it_says(priced, harbour, ride):
    child = ride("ferry", "08:00", rider_category="child")
    assert lines(priced(child, harbour))[1:] == [("child_half", -167)]
    on_red = msgspec.structs.replace(child, operator_id="red_line")
    assert lines(priced(on_red, harbour)) == [("red_ride", 500)]


def test_of_two_transfers_the_first_that_fits_is_given_alone(priced, harbour, ride):
    before = ride("ferry", "08:00")

    def after(clock: str) -> list[tuple[str, int]]:
        return lines(priced(ride("ferry", clock), harbour, previous=before))[1:]

    assert after("08:10") == [("quick", -100)]
    assert after("08:11") == [("slow", -30)]
    assert after("09:01") == []


def test_a_ride_that_came_later_is_not_the_one_before(priced, harbour, ride):
    later = ride("ferry", "08:05")
    assert lines(priced(ride("ferry", "08:00"), harbour, previous=later)) == [("ferry_ride", 333)]


def test_a_tariff_that_does_not_let_the_gate_name_the_fare_ignores_it(priced, harbour, ride):
    assert lines(priced(ride("ferry", "08:00", gate_fare_fen=1), harbour)) == [("ferry_ride", 333)]


def test_without_a_step_beyond_the_last_band_has_no_end(priced, harbour, ride):
    fares = [
        priced(ride("bus", "08:00", distance_m=distance_m), harbour).fare_fen
        for distance_m in (0, 1000, 1001, 2000, 2001, 1_000_000)
    ]
    assert fares == [100, 100, 150, 150, 150, 150]


def test_every_rider_of_a_leg_that_lacks_an_end_pays_for_it(priced, tariff, ride):
    alone = ride("metro", "08:00", missing="entry", riders_count=3)
    assert lines(priced(alone, tariff)) == [("unmatched_exit", 4200)]


def test_a_change_is_told_even_where_no_fare_is_left_to_discount(priced, tariff, ride):
    before = ride("bus M390", "08:00", gate_fare_fen=200)
    after = priced(ride("bus M506", "08:30", gate_fare_fen=0), tariff, previous=before)
    assert lines(after) == [("bus_ride", 0)]
    assert after.is_transfer
    assert not priced(before, tariff).is_transfer
