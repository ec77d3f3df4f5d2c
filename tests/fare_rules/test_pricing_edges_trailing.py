"""Periods that trail behind each ride: which days count, and what is forgotten with them."""

import sys
from datetime import date
from pathlib import Path

# Test files are imported by path, so their helpers have to be found by name.
sys.path.insert(0, str(Path(__file__).parent))

from test_pricing_edges import charged, ridden, town

from fare_rules import carried
from fare_rules.progress import cap_progress


def capped(folder: Path, terms: str, more: str = ""):
    cap = f"{{id: cap, reference: c, period: {{kind: trailing, days: 3}}, {terms}}}"
    return town(folder, f"fare_caps:\n  - {cap}\n{more}")


def test_a_cap_counts_the_days_just_behind_the_ride(tmp_path):
    book = capped(tmp_path, "amount: 5")
    rides = [f"01-0{day} 08:00 board bus" for day in range(5, 10)]
    # On the 7th 1.00 is left of three days; on the 8th the 5th is forgotten, and 2.00 are left.
    assert charged(book, *rides) == [
        "bus_ride 2.00",
        "bus_ride 2.00",
        "bus_ride 2.00, cap -1.00",
        "bus_ride 2.00",
        "bus_ride 2.00",
    ]


def test_a_cap_of_rides_forgets_them_with_their_day(tmp_path):
    book = capped(tmp_path, "rides: 2")
    rides = [f"01-0{day} 08:00 board bus" for day in (5, 6, 7, 8, 9)]
    assert charged(book, *rides) == [
        "bus_ride 2.00",
        "bus_ride 2.00",
        "bus_ride 2.00, cap -2.00",
        "bus_ride 2.00",
        "bus_ride 2.00",
    ]


def test_zones_are_forgotten_with_their_day(tmp_path):
    by_zones = "by_zones: [{zones: 1, amount: 5}, {zones: 1-3, amount: 9}]"
    book = capped(tmp_path, by_zones)
    far = ("01-05 08:00 enter metro a", "01-05 08:30 exit metro d")
    near = [f"01-0{day} {tap}" for day in (6, 7, 8)
            for tap in ("08:00 enter metro a", "08:10 exit metro a")]  # fmt: skip
    # 4.00 of zones 1-3; then 4.00, and 1.00 of the 9.00; on the 8th zone 1 alone counts.
    assert charged(book, *far, *near) == [
        "metro_ride 4.00",
        "metro_ride 4.00",
        "metro_ride 4.00, cap -3.00",
        "metro_ride 4.00, cap -4.00",
    ]


def test_a_journey_under_way_when_its_day_is_forgotten_is_a_new_ride(tmp_path):
    """With one day alone, a change after midnight's end of the day is counted by itself."""
    cap = "{id: cap, reference: c, period: {kind: trailing, days: 1}, rides: 1}"
    change = "{id: change, reference: t, window_minutes: 90, pays: {kind: less, amount: 1}}"
    book = town(tmp_path, f"fare_caps:\n  - {cap}\nfare_transfer_rules:\n  - {change}\n")
    rides = ("01-06 03:30 board bus", "01-06 04:30 board tram", "01-06 05:00 board bus")
    assert charged(book, *rides, "01-06 08:00 board bus") == [
        "bus_ride 2.00",
        "tram_ride 3.00, change -1.00",
        "bus_ride 2.00, change -1.00",
        "bus_ride 2.00, cap -2.00",
    ]


def test_how_far_one_is_from_free_travel_is_of_the_days_that_count(tmp_path):
    book = capped(tmp_path, "amount: 5")
    state = ridden(book, "01-05 08:00 board bus", "01-06 08:00 board tram").state
    left = []
    for day in (6, 7, 8, 9):
        at = book.starts_at(date(2026, 1, day))
        [*caps] = cap_progress(state, book.tariffs[0], day=date(2026, 1, day), instant=at)
        left.append([cap.left_fen for cap in caps])
    assert left == [[0], [0], [200], []]


def test_what_is_forgotten_is_not_carried_on(tmp_path):
    book = capped(tmp_path, "amount: 5")
    state = ridden(book, "01-05 08:00 board bus", "01-06 08:00 board tram").state
    assert carried(state, book, book.starts_at(date(2026, 1, 8))).windows != {}
    assert carried(state, book, book.starts_at(date(2026, 1, 9))).windows == {}
