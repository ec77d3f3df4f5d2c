"""Rides that are counted apart: for each route, for each two stops."""

import sys
from datetime import date
from pathlib import Path

import pytest

# Test files are imported by path, so their helpers have to be found by name.
sys.path.insert(0, str(Path(__file__).parent))

from test_pricing_edges import charged, ridden, town

from fare_rules import TariffFaults, carried
from fare_rules.examples import run_examples
from fare_rules.subsidies import subsidies_due


def second_is_half(folder: Path, terms: str, more: str = ""):
    rule = f"""
fare_tiers:
  - id: again
    reference: t
    period: {{kind: month}}
    steps: [{{after_rides: 1, percent: 50}}]
    rounding: {{mode: down}}
    {terms}
{more}
"""
    return town(folder, rule)


def test_a_route_of_one_name_on_two_networks_is_two_routes(tmp_path):
    book = second_is_half(tmp_path, "for_each: route")
    rides = ("08:00 board bus route=1", "10:00 board tram route=1", "12:00 board bus route=1")
    assert charged(book, *rides) == [
        "bus_ride 2.00",
        "tram_ride 3.00",
        "bus_ride 2.00, again -1.00",
    ]


def test_a_ride_that_does_not_say_its_route_or_a_stop_counts_nowhere(tmp_path):
    book = second_is_half(tmp_path, "for_each: route")
    assert charged(book, "08:00 board bus", "10:00 board bus") == ["bus_ride 2.00"] * 2
    assert ridden(book, "08:00 board bus").state.windows == {}
    (tmp_path / "stops").mkdir()
    book = second_is_half(tmp_path / "stops", "for_each: stops")
    rides = ("08:00 enter metro a", "08:10 exit metro", "09:00 enter metro a", "09:10 exit metro")
    assert charged(book, *rides) == ["metro_ride 4.00"] * 2


def test_a_leg_that_is_joined_counts_for_its_own_two_stops(tmp_path):
    join = "fare_leg_join_rules:\n  - {id: on, reference: j, window_minutes: 30, price_as: sum}\n"
    book = second_is_half(tmp_path, "for_each: stops", join)
    there = (
        "08:00 enter metro a",
        "08:10 exit metro b",
        "08:20 enter metro b",
        "08:30 exit metro c",
    )
    assert charged(book, *there, "12:00 enter metro c", "12:10 exit metro b") == [
        "metro_ride 4.00",
        "metro_ride 8.00, on -4.00",
        "metro_ride 4.00, again -2.00",
    ]


def test_what_was_counted_in_a_month_is_not_carried_into_the_next(tmp_path):
    book = second_is_half(tmp_path, "for_each: route")
    state = ridden(book, "01-31 08:00 board bus route=1", "01-31 09:00 board bus route=2").state
    assert len(state.windows) == 2
    assert carried(state, book, book.starts_at(date(2026, 2, 1))).windows == {}


def test_a_subsidy_adds_up_what_each_route_of_the_newest_month_comes_to(tmp_path):
    book = town(
        tmp_path,
        """
subsidies:
  - id: back
    reference: s
    period: {kind: month}
    for_each: route
    above: 2
    percent: 50
    rounding: {mode: down}
    borne_by: bank
""",
    )
    january = [f"01-30 {hour:02}:00 board bus route=1" for hour in (8, 9, 10)]
    february = [f"02-01 {hour:02}:00 board bus route={hour % 2 + 2}" for hour in (8, 9, 10, 11)]
    due = [
        subsidies_due(ridden(book, *said).state, book.tariffs[0])["back"]
        for said in (january, [*january, *february])
    ]
    # Of 6.00 in January, 2.00 each of 4.00 on two routes in February: 50 % above 2.00.
    assert due == [200, 200]


def test_an_example_says_of_which_route_a_rule_remembers_something(tmp_path):
    second_is_half(tmp_path, "for_each: route")
    (tmp_path / "examples.yaml").write_text(
        "- name: once\n  before: [{rule: again, rides: 1}]\n"
        "  taps: [{at: 08:00, tap: board, network: bus}]\n"
    )
    with pytest.raises(TariffFaults) as caught:
        run_examples(tmp_path)
    [fault] = caught.value.faults
    assert (fault.line, fault.code) == (2, "needs_another_key")
