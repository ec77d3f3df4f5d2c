"""Rides that are alike but for one thing: what one has cost does not pass for the other's fare."""

import sys
from pathlib import Path

import pytest

# Test files are imported by path, so their helpers have to be found by name.
sys.path.insert(0, str(Path(__file__).parent))

from test_pricing_edges import charged, town

# Nothing counts what was ridden here: no tier, no cap and no subsidy.
TERMS = """
networks:
  - {id: metro, taps: enter_exit, links: links.csv, reference: n,
     journey_time: {minutes: 30, over: ride}}
  - {id: bus, taps: board, reference: n}
  - {id: tram, taps: board, reference: n}
fare_products:
  - {id: metro_ride, reference: p, pricing: {kind: flat, amount: 4}}
  - {id: bus_ride, reference: p, gate_may_name_fare: true,
     pricing: {kind: per_km, rate: 1, rounding: {mode: up}}}
  - {id: tram_ride, reference: p, pricing: {kind: flat, amount: 8}}
surcharges:
  - {id: late, reference: s, over_time: true, amount: 1, every_minutes: 10}
fare_transfer_rules:
  - {id: gone_on, reference: t, from: {networks: [bus]}, to: {networks: [tram]},
     window_minutes: 60, pays: {kind: difference}}
  - {id: from_metro, reference: t, from: {networks: [metro]}, to: {networks: [tram]},
     window_minutes: 60, proven: true, pays: {kind: less, amount: 2}}
promotions:
  - {id: gift, reference: g, networks: [tram], priority: 1, coupon: {days: 1}, pays: {kind: free}}
  - {id: opening, reference: o, networks: [tram], begins: "2026-01-05 12:00", uses_max: 1,
     pays: {kind: less, amount: 1}, borne_by: bank}
"""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["08:00 board bus named=300"], ["08:00 board bus named=500"]),
        (["08:00 board bus metres=2000"], ["08:00 board bus metres=7000"]),
        (["08:00 board bus metres=2000"], ["08:00 board bus metres=2000 riders=3"]),
        (["08:00 board tram"], ["08:00 board tram proven=yes"]),
        (["08:00 board tram"], ["07:50 board bus named=300", "08:00 board tram"]),
        (
            ["07:50 board bus named=300", "08:00 board tram"],
            ["07:50 board bus named=500", "08:00 board tram"],
        ),
        (
            ["08:00 enter metro a", "08:35 exit metro c"],
            ["08:00 enter metro a", "08:45 exit metro c"],
        ),
        (
            ["07:30 enter metro a", "07:50 exit metro c", "08:00 board tram"],
            ["07:50 board bus named=200", "08:00 board tram"],
        ),
        (["11:59 board tram"], ["12:00 board tram"]),
        (["12:00 board tram"], ["12:00 board tram", "13:00 board tram"]),
        (["12:00 board tram"], ["12:00 board tram coupon=01-05T11:00"]),
        (["12:00 board tram"], ["11:50 board bus named=300", "12:00 board tram"]),
    ],
)
def test_two_rides_that_differ_in_one_thing_cost_what_each_costs_alone(tmp_path, one, other):
    alone = [charged(town(tmp_path, TERMS), *rides) for rides in (one, other)]
    assert alone[0][-1] != alone[1][-1]
    book = town(tmp_path, TERMS)
    assert [charged(book, *rides) for rides in (one, other, one)] == [*alone, alone[0]]


def test_a_tariff_that_keeps_few_fares_prices_all_rides(tmp_path, monkeypatch):
    monkeypatch.setattr("fare_rules.compiled.FARES_MAX", 2)
    book = town(tmp_path, TERMS)
    rides = [f"08:00 board bus named={fen}" for fen in (200, 300, 400, 300, 200)]
    assert [charged(book, ride) for ride in rides] == [
        ["bus_ride 2.00"],
        ["bus_ride 3.00"],
        ["bus_ride 4.00"],
        ["bus_ride 3.00"],
        ["bus_ride 2.00"],
    ]


def test_a_window_may_end_with_the_service_day(tmp_path):
    terms = "window_minutes: 90, window_starts: next_full_hour, same_service_day: true"
    change = f"{{id: change, reference: t, pays: {{kind: less, amount: 1}}, {terms}}}"
    book = town(tmp_path, f"fare_transfer_rules: [{change}]")
    night, less = "01-06 03:20 board bus", "bus_ride 2.00, change -1.00"
    assert charged(book, night, "01-06 03:59:59 board bus") == ["bus_ride 2.00", less]
    assert charged(book, night, "01-06 04:00 board bus") == ["bus_ride 2.00", "bus_ride 2.00"]
    # The day is that of the ride, not that of the hour at which its window opens.
    late, morning = "01-06 03:59 board bus", "01-06 05:30 board bus"
    assert charged(book, late, morning) == ["bus_ride 2.00", "bus_ride 2.00"]
    assert charged(book, "01-06 04:00 board bus", morning) == ["bus_ride 2.00", less]
