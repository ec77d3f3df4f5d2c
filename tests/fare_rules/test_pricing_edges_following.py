"""Legs that follow one another: windows of a change, chains, and journeys priced as one."""

import sys
from datetime import date
from pathlib import Path

import pytest

# Test files are imported by path, so their helpers have to be found by name.
sys.path.insert(0, str(Path(__file__).parent))

from test_pricing_edges import charged, ridden, town

from fare_rules import carried


def changes(folder: Path, terms: str, *, and_then: str = ""):
    """The town with a yuan less for a change, on the terms that are said."""
    return town(
        folder,
        f"""
fare_transfer_rules:
  - {{id: change, reference: t, window_minutes: 30, pays: {{kind: less, amount: 1}}, {terms}}}
{and_then}""",
    )


def taken_off(book, *said: str) -> list[bool]:
    """For each charge, whether the change made it cheaper."""
    return ["change -1.00" in lines for lines in charged(book, *said)]


def test_a_change_in_the_second_of_the_exit_is_in_time(tmp_path):
    book = changes(tmp_path, "from: {networks: [metro]}, to: {networks: [bus]}")
    metro = ("08:00 enter metro a", "08:20 exit metro c")
    assert taken_off(book, *metro, "08:20 board bus") == [False, True]
    assert taken_off(book, *metro, "08:50:01 board bus") == [False, False]


def test_a_window_may_open_at_the_boarding_of_the_leg_before(tmp_path):
    book = changes(tmp_path, "to: {networks: [bus]}, window_from: previous_boarding")
    metro = ("08:00 enter metro a", "08:20 exit metro c")
    assert taken_off(book, *metro, "08:30 board bus") == [False, True]
    assert taken_off(book, *metro, "08:31 board bus") == [False, False]


def test_a_window_from_the_first_boarding_holds_for_the_whole_chain(tmp_path):
    book = changes(tmp_path, "window_from: first_boarding")
    buses = [f"{clock} board bus" for clock in ("08:00", "08:20", "08:31", "08:50", "09:01")]
    # The leg that came too late begins a chain of its own, which lasts until 09:01.
    assert taken_off(book, *buses) == [False, True, False, True, True]


def test_a_window_from_the_first_exit_holds_for_the_whole_chain(tmp_path):
    book = changes(tmp_path, "window_from: first_last_tap")
    rides = []
    for entry, way_out in (("08:00", "08:20"), ("08:30", "08:45"), ("08:50", "08:55")):
        rides += [f"{entry} enter metro a", f"{way_out} exit metro c"]
    assert taken_off(book, *rides) == [False, True, True]
    rides[4] = "08:51 enter metro a"
    assert taken_off(book, *rides) == [False, True, False]


@pytest.mark.parametrize("window_from", ["first_boarding", "first_last_tap"])
def test_a_chain_begins_with_its_first_leg_whichever_rules_continue_it(tmp_path, window_from):
    to_the_tram = f"""
  - {{id: to_tram, reference: t, to: {{networks: [tram]}}, window_minutes: 30,
     window_from: {window_from}, pays: {{kind: free}}}}"""
    book = changes(tmp_path, "to: {networks: [bus]}", and_then=to_the_tram)
    buses = ("08:00 board bus", "08:20 board bus")
    assert charged(book, *buses, "08:30 board tram")[-1] == "tram_ride 3.00, to_tram -3.00"
    assert charged(book, *buses, "08:31 board tram")[-1] == "tram_ride 3.00"


def test_a_chain_of_its_own_begins_with_the_first_leg_that_a_rule_is_from(tmp_path):
    def tram_at(clock: str, chain: str) -> bool:
        folder = tmp_path / f"{chain}{clock[3:]}"
        folder.mkdir()
        to_the_tram = f"""
  - {{id: to_tram, reference: t, from: {{networks: [bus]}}, to: {{networks: [tram]}},
     chain: {chain}, window_minutes: 30, window_from: first_boarding, pays: {{kind: free}}}}"""
        book = changes(folder, "to: {networks: [bus]}", and_then=to_the_tram)
        metro = ("08:00 enter metro a", "08:10 exit metro c")
        said = (*metro, "08:20 board bus", "08:25 board bus", f"{clock} board tram")
        return "to_tram" in charged(book, *said)[-1]

    assert [tram_at("08:30", "any"), tram_at("08:31", "any")] == [True, False]
    assert [tram_at("08:50", "own"), tram_at("08:51", "own")] == [True, False]


def test_a_window_to_the_last_tap_holds_only_if_the_rider_is_out_in_time(tmp_path):
    book = changes(tmp_path, "from: {networks: [bus]}, window_to: last_tap")
    said = ("08:00 board bus", "08:20 enter metro a")
    assert taken_off(book, *said, "08:30 exit metro c") == [False, True]
    assert taken_off(book, *said, "08:31 exit metro c") == [False, False]


def test_the_way_back_is_no_change(tmp_path):
    book = changes(tmp_path, "from: {networks: [metro]}, to: {networks: [metro]}, not_back: true")
    there = ("08:00 enter metro a", "08:20 exit metro c")
    assert taken_off(book, *there, "08:30 enter metro c", "08:40 exit metro a") == [False, False]
    assert taken_off(book, *there, "08:30 enter metro c", "08:40 exit metro d") == [False, True]
    # Two ends that no gate named are not known to be one.
    unknown = ("08:00 enter metro", "08:20 exit metro c", "08:30 enter metro c", "08:40 exit metro")
    assert taken_off(book, *unknown) == [False, True]


def test_routes_side_by_side_are_excepted_each_way_that_is_said(tmp_path):
    book = changes(tmp_path, "except: [{from: {routes: ['7']}, to: {routes: ['8']}}]")

    def after(first: str, second: str) -> list[bool]:
        return taken_off(book, f"08:00 board bus route={first}", f"08:10 board bus route={second}")

    assert after("7", "8") == [False, False]
    assert after("8", "7") == after("7", "9") == after("9", "8") == [False, True]


def test_a_window_may_open_with_the_next_full_hour(tmp_path):
    book = changes(tmp_path, "window_starts: next_full_hour")

    def after(way_out: str, boards: str) -> bool:
        said = ("08:00 enter metro a", f"{way_out} exit metro c", f"{boards} board bus")
        return taken_off(book, *said)[-1]

    assert after("08:20", "08:20")
    assert after("08:20", "09:30")
    assert not after("08:20", "09:30:01")
    assert after("08:00:01", "09:30")
    # A full hour that strikes is the next one.
    assert not after("09:00", "09:30:01")


def test_a_ride_is_remembered_until_a_window_from_the_full_hour_ends(tmp_path):
    buses = "from: {networks: [bus]}, to: {networks: [bus]}, others_between: true"
    book = changes(tmp_path, f"window_starts: next_full_hour, {buses}")
    assert taken_off(book, "08:05 board bus", "08:50 board tram", "09:30 board bus")[-1]
    night = ridden(book, "01-06 03:05 board bus").state
    morning = carried(night, book, book.starts_at(date(2026, 1, 6)))
    assert charged(book, "01-06 04:30 board bus", state=morning) == ["bus_ride 2.00, change -1.00"]


def test_a_chain_may_have_to_begin_with_a_metro(tmp_path):
    book = changes(tmp_path, "first: {networks: [metro]}")
    metro = ("07:40 enter metro a", "07:50 exit metro c")
    buses = ("08:00 board bus", "08:10 board bus")
    assert taken_off(book, *metro, *buses) == [False, True, True]
    assert taken_off(book, *buses) == [False, False]


def test_a_route_ridden_twice_ends_the_chain(tmp_path):
    book = changes(tmp_path, "no_route_twice: true")
    buses = [f"08:{10 * number} board bus route={number % 3}" for number in range(1, 5)]
    # Route 1 comes again with the fourth bus, which begins a chain of its own.
    assert taken_off(book, *buses) == [False, True, True, False]
    tram = "08:50 board tram route=1"
    assert taken_off(book, *buses, tram)[-1]


def test_companions_change_for_less_where_the_rule_is_for_them(tmp_path):
    said = ("08:00 board bus riders=3", "08:10 board bus riders=3")
    assert (
        charged(changes(tmp_path, "transfers_max: 1"), *said)[-1] == "bus_ride 6.00, change -1.00"
    )
    book = changes(tmp_path, "for_companions: true")
    assert charged(book, *said)[-1] == "bus_ride 6.00, change -3.00"


def test_the_dearest_leg_wins_along_a_chain_of_any_length(tmp_path):
    book = town(
        tmp_path,
        """
fare_transfer_rules:
  - {id: credit, reference: t, window_minutes: 30, pays: {kind: difference}}
""",
    )
    said = ("08:00 board bus", "08:10 board tram", "08:20 board bus", "08:30 enter metro a")
    assert charged(book, *said, "08:50 exit metro c") == [
        "bus_ride 2.00",
        "tram_ride 3.00, credit -2.00",
        "bus_ride 2.00, credit -2.00",
        "metro_ride 4.00, credit -3.00",
    ]


def joins(folder: Path, terms: str, more: str = "", **tables: str):
    """The town with legs that are priced as one, on the terms that are said."""
    rule = f"{{id: through, reference: j, window_minutes: 30, {terms}}}"
    return town(folder, f"fare_leg_join_rules:\n  - {rule}\n{more}", **tables)


def two_rides(book, left: str, entered: str, *, out: str = "08:20", into: str = "08:30") -> bool:
    """Ride a-left, then entered-d: whether the second was joined to the first."""
    said = (
        f"08:00 enter metro {left if left == 'b' else 'a'}",
        f"{out} exit metro {left}",
        f"{into} enter metro {entered}",
        "08:50 exit metro d",
    )
    return charged(book, *said)[-1] == "metro_ride 4.00, through -4.00"


def test_an_interchange_is_between_two_different_stops_of_the_list(tmp_path):
    book = joins(tmp_path, "between: [b, c]")
    assert two_rides(book, "b", "c")
    assert two_rides(book, "c", "b")
    for left, entered in (("b", "b"), ("a", "b"), ("b", "a"), ("a", "d")):
        assert not two_rides(book, left, entered)


def test_an_interchange_of_a_pair_holds_one_way_and_for_its_own_time(tmp_path):
    pairs = "[{from_stop: b, to_stop: c, minutes: 5}, {from_stop: c, to_stop: d}]"
    book = joins(tmp_path, f"pairs: {pairs}")
    assert two_rides(book, "b", "c", into="08:25")
    assert not two_rides(book, "b", "c", into="08:26")
    assert two_rides(book, "c", "d", into="08:50")
    assert not two_rides(book, "c", "b")


def test_out_and_in_again_is_at_the_stop_just_left(tmp_path):
    book = joins(tmp_path, "same_stop: true")
    assert two_rides(book, "c", "c")
    assert not two_rides(book, "c", "b")
    nowhere = ("08:00 enter metro a", "08:20 exit metro", "08:30 enter metro", "08:50 exit metro d")
    # No gate said where it is: the first stop that is known is where the rider began.
    assert charged(book, *nowhere) == ["metro_ride 4.00", "metro_ride 4.00"]


def test_a_journey_has_an_end_however_short_its_changes(tmp_path):
    book = joins(tmp_path, "journey_minutes_max: 30")
    assert two_rides(book, "c", "c")
    assert not two_rides(book, "c", "c", into="08:31")


def test_more_riders_are_not_joined_to_fewer(tmp_path):
    book = joins(tmp_path, "same_stop: true")
    said = ("08:00 enter metro a", "08:20 exit metro c", "08:30 enter metro c riders=2")
    assert charged(book, *said, "08:50 exit metro d riders=2")[-1] == "metro_ride 8.00"


def test_an_interchange_may_have_to_be_at_another_stop(tmp_path):
    book = joins(tmp_path, "different_stop: true")
    assert two_rides(book, "c", "b")
    assert not two_rides(book, "c", "c")
    # Where no gate said which stop it is, it is not known to be the same.
    said = ("08:00 enter metro", "08:20 exit metro", "08:30 enter metro", "08:40 exit metro d")
    assert charged(book, *said)[-1] == "metro_ride 4.00, through -4.00"


def test_a_journey_does_not_end_where_it_began(tmp_path):
    book = joins(tmp_path, "not_back: true, to: {networks: [metro]}")
    joined = "metro_ride 4.00, through -4.00"
    there = ("08:00 enter metro a", "08:20 exit metro c")
    assert (
        charged(book, *there, "08:30 enter metro c", "08:40 exit metro a")[-1] == "metro_ride 4.00"
    )
    onward = ("08:30 enter metro c", "08:40 exit metro d")
    assert charged(book, *there, *onward)[-1] == joined
    third = "08:45 enter metro d"
    assert charged(book, *there, *onward, third, "08:55 exit metro c")[-1] == joined
    assert charged(book, *there, *onward, third, "08:55 exit metro a")[-1] == "metro_ride 4.00"
    nowhere = ("08:00 enter metro", "08:20 exit metro c", "08:30 enter metro c", "08:40 exit metro")
    assert charged(book, *nowhere)[-1] == joined


def test_leaving_and_entering_in_one_second_is_in_time(tmp_path):
    book = joins(tmp_path, "same_stop: true")
    assert two_rides(book, "c", "c", into="08:20")


HALF_ON_THE_TRAM = """
concessions: [{id: half, reference: c, networks: [tram],
  pays: {kind: percent, percent: 50, rounding: {mode: up}}}]
"""


@pytest.mark.parametrize(
    ("terms", "tram", "bus"),
    [
        ("sum", "tram_ride 5.00, half -2.50, through -2.00", "bus_ride 7.00, through -2.50"),
        (
            "sum, leg_by_leg: true",
            "tram_ride 5.00, through -2.00, half -1.50",
            "bus_ride 7.00, through -5.00",
        ),
        (
            "sum, leg_by_leg: true, less: 0.50",
            "tram_ride 5.00, through -0.50, through -2.00, half -1.25",
            "bus_ride 6.50, through -0.50, through -4.50",
        ),
        (
            "highest, leg_by_leg: true",
            "tram_ride 3.00, through -2.00, half -0.50",
            "tram_ride 3.00, through -3.00",
        ),
        (
            "highest, less: 0.50",
            "tram_ride 3.00, through -0.50, half -1.25, through -1.25",
            "tram_ride 3.00, through -1.00, half -1.00, through -1.00",
        ),
    ],
)
def test_a_third_leg_is_added_to_what_the_two_before_have_come_to(tmp_path, terms, tram, bus):
    book = joins(tmp_path, f"price_as: {terms}", HALF_ON_THE_TRAM)
    said = ("08:00 board bus", "08:10 board tram", "08:20 board bus")
    assert charged(book, *said) == ["bus_ride 2.00", tram, bus]


def test_a_joined_leg_adds_at_most_what_it_costs_alone(tmp_path):
    zones = """
fare_products:
  - {id: bus_ride, reference: p, pricing: {kind: flat, amount: 2}}
  - {id: tram_ride, reference: p, pricing: {kind: flat, amount: 3}}
  - id: metro_ride
    reference: p
    pricing:
      kind: zones
      fares: [{zones: 2, amount: 3}, {zones: 2-3, amount: 4}, {zones: 1-2, amount: 9},
        {zones: 1-3, amount: 12}]
"""
    counted = """
fare_transfer_rules:
  - {id: change, reference: t, from: {networks: [tram]}, window_minutes: 30, pays: {kind: free}}
fare_caps: [{id: cap, reference: k, period: {kind: service_day}, amount: 90}]
"""
    book = joins(tmp_path, "at_most_alone: true", zones + counted)
    said = ("08:00 board bus a", "08:10 enter metro b", "08:20 exit metro c")
    assert charged(book, *said, "08:30 enter metro c", "08:40 exit metro d") == [
        "bus_ride 2.00",
        "metro_ride 9.00, through -6.00",
        # 2 and 3 were charged, and 4 would be alone.
        "metro_ride 12.00, through -8.00",
    ]
    assert charged(book, *said, "08:30 enter metro a", "08:40 exit metro c")[-1] == (
        "metro_ride 9.00, through -5.00"
    )


def test_a_leg_that_has_no_price_alone_adds_all_that_the_whole_costs_more(tmp_path):
    book = joins(tmp_path, "at_most_alone: true, distance: direct", BY_KILOMETRE)
    said = ("08:00 board bus a", "08:10 enter metro", "08:20 exit metro c")
    assert charged(book, *said) == ["bus_ride 2.00", "metro_ride 3.00, through -2.00"]


def test_what_a_first_leg_is_spared_stays_off_the_whole_journey(tmp_path):
    off = """
concessions: [{id: off, reference: c, first_leg: true, pays: {kind: less, amount: 1}}]
"""
    book = joins(tmp_path, "price_as: highest", off)
    metro = ("08:30 enter metro a", "08:40 exit metro c")
    assert charged(book, "08:00 board bus", "08:10 board tram", "08:20 board bus", *metro) == [
        "bus_ride 2.00, off -1.00",
        "tram_ride 3.00, through -2.00",
        "tram_ride 3.00, through -3.00",
        "metro_ride 4.00, through -3.00",
    ]


@pytest.mark.parametrize(
    ("price_as", "tram_then_metro", "metro_then_tram"),
    [
        ("last", "metro_ride 4.00, through -3.00", "tram_ride 3.00, through -3.00"),
        ("first", "tram_ride 3.00, through -3.00", "metro_ride 4.00, through -4.00"),
        ("highest", "metro_ride 4.00, through -3.00", "metro_ride 4.00, through -4.00"),
    ],
)
def test_a_journey_is_priced_by_the_product_that_the_rule_says(
    tmp_path, price_as, tram_then_metro, metro_then_tram
):
    book = joins(tmp_path, f"price_as: {price_as}")
    metro = ("09:00 enter metro a", "09:20 exit metro c")
    assert charged(book, "08:40 board tram", *metro)[-1] == tram_then_metro
    assert charged(book, *metro, "09:30 board tram")[-1] == metro_then_tram


def test_the_highest_is_of_the_products_that_can_price_the_whole(tmp_path):
    """Where the tram was left is not known, so the metro's zones cannot price the whole."""
    book = joins(
        tmp_path,
        "price_as: highest",
        """
fare_products:
  - {id: metro_ride, reference: p, pricing: {kind: zones, fares: [{zones: 1-3, amount: 4}]}}
  - {id: tram_ride, reference: p, pricing: {kind: flat, amount: 0}}
  - {id: bus_ride, reference: p, pricing: {kind: flat, amount: 2}}
fare_leg_rules:
  - {id: metro, networks: [metro], product: metro_ride}
  - {id: tram, networks: [tram], product: tram_ride}
  - {id: bus, networks: [bus], from_stops: [d], product: bus_ride}
""",
    )
    metro = ("08:00 enter metro a", "08:20 exit metro c")
    assert charged(book, *metro, "08:30 board tram pier")[-1] == "tram_ride 0.00"
    # A bus is sold from d alone: the journey from a is none that it could price.
    assert charged(book, "08:00 board bus d", "08:10 board tram a") == [
        "bus_ride 2.00",
        "bus_ride 2.00, through -2.00",
    ]
    assert charged(book, "08:00 board tram a", "08:10 board bus d")[-1] == "tram_ride 0.00"


def test_a_journey_that_has_become_cheaper_is_not_paid_back_nor_charged_again(tmp_path):
    book = joins(tmp_path, "price_as: last")
    metro = ("08:00 enter metro a", "08:20 exit metro c")
    again = ("08:40 enter metro c", "08:50 exit metro d")
    assert charged(book, *metro, "08:30 board bus", *again) == [
        "metro_ride 4.00",
        "bus_ride 2.00, through -2.00",
        "metro_ride 4.00, through -4.00",
    ]


BY_KILOMETRE = """
fare_products:
  - {id: bus_ride, reference: p, pricing: {kind: flat, amount: 2}}
  - {id: tram_ride, reference: p, pricing: {kind: flat, amount: 3}}
  - id: metro_ride
    reference: p
    pricing: {kind: per_km, rate: 1, rounding: {mode: down}}
"""


@pytest.mark.parametrize(
    ("distance", "second"),
    [("sum", "metro_ride 9.00, through -3.00"), ("direct", "metro_ride 7.00, through -3.00")],
)
def test_a_distance_is_that_of_the_legs_or_of_the_ends(tmp_path, distance, second):
    book = joins(tmp_path, f"between: [b, c], distance: {distance}", BY_KILOMETRE)
    said = ("08:00 enter metro a", "08:20 exit metro c", "08:30 enter metro b")
    assert charged(book, *said, "08:50 exit metro d") == ["metro_ride 3.00", second]


def test_a_leg_whose_length_nobody_knows_is_added_to_no_sum(tmp_path):
    book = joins(tmp_path, "price_as: last", BY_KILOMETRE)
    metro = ("08:10 enter metro a", "08:30 exit metro c")
    assert charged(book, "08:00 board bus", *metro) == ["bus_ride 2.00", "metro_ride 3.00"]


def test_the_highest_is_of_the_distances_that_the_rule_says(tmp_path):
    book = joins(
        tmp_path,
        "price_as: highest, distance: direct",
        BY_KILOMETRE.replace("amount: 3", "amount: 8"),
    )
    said = ("08:00 enter metro a", "08:10 exit metro c", "08:20 board tram metres=0")
    # Over all legs the metro would cost 9; straight from a to d, 7.
    assert charged(book, *said, "08:30 enter metro b", "08:40 exit metro d") == [
        "metro_ride 3.00",
        "tram_ride 8.00, through -3.00",
        "tram_ride 8.00, through -8.00",
    ]


def test_the_highest_may_be_of_a_table(tmp_path):
    pairs = ("a,b,1", "a,c,2", "a,d,9", "b,c,1", "b,d,2", "c,d,1")
    same = [f"{stop},{stop},1" for stop in "abcd"]
    book = joins(
        tmp_path,
        "price_as: highest",
        BY_KILOMETRE.replace("per_km, rate: 1, rounding: {mode: down}", "matrix, table: fares.csv")
        + "stops: [{id: a}, {id: b}, {id: c}, {id: d}]\nareas: []\nzones: []\n",
        fares="\n".join(["from,to,amount", *pairs, *same, ""]),
    )
    said = ("08:00 enter metro a", "08:10 exit metro b", "08:20 enter metro c")
    assert charged(book, *said, "08:30 exit metro d") == [
        "metro_ride 1.00",
        "metro_ride 9.00, through -1.00",
    ]


@pytest.mark.parametrize("price_as", ["last", "first", "highest"])
def test_the_whole_journey_is_asked_for_its_stops_and_its_hours(tmp_path, price_as):
    book = joins(
        tmp_path,
        f"between: [b, c], price_as: {price_as}",
        """
timeframes:
  - {id: early, periods: [{start: 07:00, end: 08:05}]}
  - {id: late, periods: [{start: 08:45, end: 09:00}]}
surcharges:
  - {id: by_b, reference: s, via_stops: [b], amount: 0.10}
  - {id: from_a, reference: s, from_stops: [a], to_stops: [d], amount: 0.20}
  - {id: begun_early, reference: s, from_timeframes: [early], amount: 0.40}
  - {id: ended_late, reference: s, to_timeframes: [late], amount: 0.80}
""",
    )
    said = ("08:00 enter metro a", "08:20 exit metro b", "08:30 enter metro c")
    assert charged(book, *said, "08:50 exit metro d") == [
        "metro_ride 4.00, begun_early 0.40",
        "metro_ride 4.00, by_b 0.10, from_a 0.20, begun_early 0.40, ended_late 0.80, through -4.40",
    ]


def test_the_toll_of_a_station_is_due_once_in_a_journey(tmp_path):
    toll = "surcharges: [{id: toll, reference: s, networks: [metro], amount: 1, in_caps: false}]"
    book = joins(tmp_path, "same_stop: true", toll)
    said = (
        "08:00 enter metro a",
        "08:20 exit metro c",
        "08:30 enter metro c",
        "08:40 exit metro d",
    )
    third = ("08:45 enter metro d", "08:50 exit metro c")
    assert charged(book, *said, *third) == [
        "metro_ride 4.00, toll 1.00",
        "metro_ride 4.00, through -4.00",
        "metro_ride 4.00, through -4.00",
    ]


def test_no_rider_of_a_group_pays_the_first_leg_twice(tmp_path):
    child = """
concessions: [{id: half, reference: c, rider_categories: [child],
  pays: {kind: percent, percent: 50, rounding: {mode: up}}}]
"""
    book = joins(tmp_path, "price_as: last", child)
    said = ("08:00 board tram riders=3 who=child", "08:10 enter metro a riders=3 who=child")
    assert charged(book, *said, "08:30 exit metro c riders=3 who=child") == [
        "tram_ride 9.00, half -4.50",
        "metro_ride 12.00, half -6.00, through -4.50",
    ]
