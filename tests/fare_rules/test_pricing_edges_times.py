"""Fares by the time ridden: where the time is known, what it is of, and what tariffs compare."""

import sys
from pathlib import Path

# Test files are imported by path, so their helpers have to be found by name.
sys.path.insert(0, str(Path(__file__).parent))

from test_pricing_edges import charged, metro_costs

from fare_rules.book import load_book
from fare_rules.diff import as_text, diff_tariffs

BANDS = "kind: time_bands, bands: [{up_to_minutes: 10, amount: 1}, {up_to_minutes: 20, amount: 2}]"


def test_a_ride_that_nothing_else_tells_apart_is_priced_by_its_own_time(tmp_path):
    book = metro_costs(tmp_path, BANDS)
    rides = ("08:00 enter metro a", "08:10 exit metro b", "09:00 enter metro a")
    assert charged(book, *rides, "09:11 exit metro b") == ["metro_ride 1.00", "metro_ride 2.00"]
    assert charged(book, *rides, "09:55 exit metro b")[-1] == "metro_ride 2.00"


def test_a_ride_without_its_end_has_no_time(tmp_path):
    book = metro_costs(tmp_path, BANDS)
    assert charged(book, "08:00 enter metro a") == ["no_end 9.00"]


def test_each_leg_has_its_own_time_where_legs_are_added_up(tmp_path):
    join = "fare_leg_join_rules:\n  - {id: on, reference: j, window_minutes: 30, price_as: sum}\n"
    book = metro_costs(tmp_path, BANDS, join)
    rides = (
        "08:00 enter metro a",
        "08:10 exit metro b",
        "08:20 enter metro b",
        "08:25 exit metro c",
    )
    assert charged(book, *rides)[-1] == "metro_ride 2.00, on -1.00"


def test_another_products_time_is_that_of_what_the_leg_adds(tmp_path):
    more = """
fare_leg_join_rules:
  - {id: on, reference: j, window_minutes: 30, leg_by_leg: true}
concessions:
  - id: child
    reference: k
    rider_categories: [child]
    pays: {kind: product, product: metro_ride, percent: 50, rounding: {mode: down}}
"""
    book = metro_costs(tmp_path, BANDS, more)
    rides = ("08:00 enter metro a who=child", "08:10 exit metro b who=child",
             "08:12 enter metro b who=child", "08:20 exit metro c who=child")  # fmt: skip
    assert charged(book, *rides) == [
        "metro_ride 1.00, child -0.50",
        "metro_ride 2.00, on -1.00, child -0.50",
    ]


def test_a_fare_that_must_not_be_dearer_is_compared_at_the_time_ridden(tmp_path):
    metro_costs(tmp_path, BANDS)
    later = (tmp_path / "2026-01-01.yaml").read_text()
    later = later.replace('"2026-01-01"', '"2026-01-02"').replace('"amount": 2}]', '"amount": 5}]')
    later = later.replace("{", '{"never_dearer_than": "2026-01-01", ', 1)
    (tmp_path / "2026-01-02.yaml").write_text(later)
    book = load_book(tmp_path)
    rides = ("08:00 enter metro a", "08:15 exit metro b")
    assert charged(book, *rides) == ["metro_ride 5.00, never_dearer_than -3.00"]


def test_two_tariffs_are_compared_at_the_minutes_where_a_fare_changes(tmp_path):
    (tmp_path / "new").mkdir()
    old = metro_costs(tmp_path, BANDS).tariffs[0]
    new = metro_costs(tmp_path / "new", BANDS.replace("amount: 2", "amount: 3")).tariffs[0]
    said = as_text(diff_tariffs(old, new)).splitlines()
    assert "    11 to 21 minutes: 2.00 -> 3.00 (+1.00)" in said
