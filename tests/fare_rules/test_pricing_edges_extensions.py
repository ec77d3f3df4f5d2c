"""What is due beyond the zones of a season ticket, where legs are joined, counted or led astray."""

import sys
from pathlib import Path

import pytest

# Test files are imported by path, so their helpers have to be found by name.
sys.path.insert(0, str(Path(__file__).parent))

from test_pricing_edges import LINKED, charged, metro_costs

ZONES = (
    "kind: zones, fares: [{zones: 1, amount: 3}, {zones: 2, amount: 3}, {zones: 3, amount: 2}, "
    "{zones: 1-2, amount: 4}, {zones: 1-3, amount: 7}]"
)
COUNT = "kind: zone_count, bands: [{up_to_zones: 1, amount: 1}, {up_to_zones: 2, amount: 3}]"
FIRST = "order: [promotions, concessions, transfers, tiers, caps]\n"


def ticket(folder: Path, zones: str, more: str = "", pricing: str = ZONES):
    pays = f"{{kind: extension, zones: {zones}}}"
    rule = f"promotions:\n  - {{id: ticket, reference: p, networks: [metro], pays: {pays}}}\n"
    return metro_costs(folder, pricing, rule + more)


@pytest.mark.parametrize("terms", ["window_minutes: 30", "window_minutes: 30, leg_by_leg: true"])
def test_joined_legs_extend_the_whole_way_once(tmp_path, terms):
    join = f"fare_leg_join_rules:\n  - {{id: on, reference: j, {terms}}}\n"
    book = ticket(tmp_path, "[1-2]", join + FIRST)
    there = (
        "08:00 enter metro c",
        "08:10 exit metro d",
        "08:20 enter metro d",
        "08:40 exit metro a",
    )
    quotes = charged(book, *there)
    # From zone 2 to 3, and back into 1: of the whole way zone 3 alone is beyond, 2.00.
    assert quotes[0] == "metro_ride 7.00, ticket -5.00"
    assert [quotes[1].partition(" ")[0], len(quotes)] == ["metro_ride", 2]
    assert sum(float(part.split()[-1]) for part in quotes[1].split(", ")) == 0


def test_zones_beyond_are_counted_along_the_path(tmp_path):
    book = ticket(tmp_path, "[2]", LINKED, pricing=COUNT)
    rides = (
        "08:00 enter metro a",
        "08:10 exit metro d",
        "09:00 enter metro a",
        "09:10 exit metro c",
    )
    # Zones 1 and 3 lie beyond 2; then zone 1 alone.
    assert charged(book, *rides) == ["metro_ride 3.00", "metro_ride 3.00, ticket -2.00"]


def test_a_ride_wholly_beyond_or_from_nowhere_costs_what_it_does_without_a_ticket(tmp_path):
    book = ticket(tmp_path, "[1]")
    assert charged(book, "08:00 enter metro d", "08:10 exit metro d") == ["metro_ride 2.00"]
    assert charged(book, "08:00 enter metro", "08:10 exit metro d") == ["no_zone"]


def test_paid_zones_need_not_lie_side_by_side(tmp_path):
    book = ticket(tmp_path, "[1, 3]")
    rides = ("08:00 enter metro a", "08:10 exit metro d")
    assert charged(book, *rides) == ["metro_ride 7.00, ticket -4.00"]
