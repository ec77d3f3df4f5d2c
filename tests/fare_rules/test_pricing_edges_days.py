"""Taps that make a leg, and days and tariffs that follow one another, at their edges."""

import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

# Test files are imported by path, so their helpers have to be found by name.
sys.path.insert(0, str(Path(__file__).parent))

from test_pricing_edges import EVER, charged, lines_of, ridden, tap, town

from fare_rules import RiderFold, carried, fold


def gates(folder: Path, terms: str, more: str = ""):
    """The town with other terms for its metro."""
    return town(
        folder,
        f"""
networks:
  - {{id: metro, taps: enter_exit, links: links.csv, reference: n.1, {terms}}}
  - {{id: bus, taps: board, reference: n}}
  - {{id: tram, taps: board_alight, journey_time: {{minutes: 60}}, reference: n}}
{more}""",
    )


TIME = "journey_time: {minutes: 120}"


def test_each_rider_pays_for_leaving_where_they_entered(tmp_path):
    bands = "[{up_to_minutes: 5, charge: amount, amount: 0.50}, {charge: ride}]"
    book = gates(tmp_path, f"{TIME}, same_stop_exit: {bands}")
    group = ("08:00 enter metro a riders=2", "08:05 exit metro a riders=2")
    folded = ridden(book, *group)
    (charge,) = folded.charges.values()
    assert lines_of(charge.quote.lines) == "metro_same_stop 1.00"
    assert (charge.quote.product_id, charge.quote.tariff_id) == (
        "metro_same_stop",
        "town/2026-01-01",
    )
    assert charge.quote.lines[0].reference == "n.1"
    assert (charge.tap_id.int, charge.operator_id) == (2, "operator")
    assert charge.effective_at == tap(2, group[1], book).tapped_at
    assert {each.int: journey.int for each, journey in folded.journeys.items()} == {1: 1, 2: 1}
    assert charged(book, "08:00 enter metro a", "08:05:01 exit metro a") == ["metro_ride 4.00"]


def test_leaving_at_once_may_be_free(tmp_path):
    book = gates(tmp_path, f"{TIME}, same_stop_exit: [{{charge: free}}]")
    assert charged(book, "08:00 enter metro a", "09:00 exit metro a") == ["metro_same_stop 0.00"]


def test_terms_for_leaving_at_once_may_be_those_of_one_kind_of_card(tmp_path):
    bands = "[{fare_media: [phone], charge: amount, amount: 1}, {charge: free}]"
    book = gates(tmp_path, f"{TIME}, same_stop_exit: {bands}")
    said = ("08:00 enter metro a", "08:05 exit metro a")
    assert charged(book, *said) == ["metro_same_stop 0.00"]
    assert charged(book, *(f"{each} media=phone" for each in said)) == ["metro_same_stop 1.00"]


@pytest.mark.parametrize(
    ("where", "entry", "is_taken_back"),
    [
        ("same_stop", "08:12 enter metro a", True),
        ("same_stop", "08:12:01 enter metro a", False),
        ("same_stop", "08:05 enter metro c", False),
        ("any_stop", "08:12 enter metro c", True),
        ("any_stop", "08:12:01 enter metro c", False),
    ],
)
def test_entering_again_takes_the_charge_back(tmp_path, where, entry, is_taken_back):
    band = f"{{charge: two_incomplete, cancelled_by_entry_minutes: 10, cancelled_at: {where}}}"
    book = gates(tmp_path, f"{TIME}, same_stop_exit: [{band}]")
    said = ("08:00 enter metro a", "08:02 exit metro a", entry, "08:30 exit metro d")
    kept = [] if is_taken_back else ["no_end 9.00", "no_end 9.00"]
    assert charged(book, *said) == [*kept, "metro_ride 4.00"]


def test_only_the_next_entry_takes_a_charge_back(tmp_path):
    band = "{charge: incomplete, cancelled_by_entry_minutes: 30}"
    book = gates(tmp_path, f"{TIME}, same_stop_exit: [{band}]")
    at_once = ("08:00 enter metro a", "08:02 exit metro a")
    said = (*at_once, "08:03 enter metro c", "08:10 exit metro d")
    again = ("08:15 enter metro a", "08:25 exit metro d")
    assert charged(book, *said, *again) == ["no_end 9.00", "metro_ride 4.00", "metro_ride 4.00"]


def test_a_charge_of_the_time_before_stays_when_another_is_taken_back(tmp_path):
    band = "{charge: incomplete, cancelled_by_entry_minutes: 5}"
    book = gates(tmp_path, f"{TIME}, same_stop_exit: [{band}]")
    first = ("07:00 enter metro a", "07:02 exit metro a")
    second = ("08:00 enter metro a", "08:02 exit metro a", "08:03 enter metro a")
    assert charged(book, *first, *second, "08:10 exit metro d") == [
        "no_end 9.00",
        "metro_ride 4.00",
    ]


def test_a_charge_that_is_taken_back_is_not_in_the_cap(tmp_path):
    bands = "[{charge: incomplete, cancelled_by_entry_minutes: 5}]"
    cap = """
fare_caps:
  - {id: cap, reference: k, period: {kind: service_day}, amount: 10, incomplete_legs: true}
"""
    book = gates(tmp_path, f"{TIME}, same_stop_exit: {bands}", cap)
    at_once = ("08:00 enter metro a", "08:02 exit metro a")
    assert charged(book, *at_once, "08:03 enter metro a", "08:20 exit metro c") == [
        "metro_ride 4.00"
    ]


def test_a_fixed_amount_for_leaving_at_once_is_no_fare_that_a_cap_limits_or_counts(tmp_path):
    cap = "fare_caps: [{id: cap, reference: k, period: {kind: service_day}, amount: 5}]"
    book = gates(tmp_path, f"{TIME}, same_stop_exit: [{{charge: amount, amount: 6}}]", cap)
    at_once = ("08:00 enter metro a", "08:02 exit metro a")
    assert charged(book, *at_once, "08:10 enter metro a", "08:20 exit metro c") == [
        "metro_same_stop 6.00",
        "metro_ride 4.00",
    ]


def test_a_journey_goes_on_after_a_charge_that_is_taken_back(tmp_path):
    bands = "[{charge: two_incomplete, cancelled_by_entry_minutes: 5}]"
    joins = "fare_leg_join_rules: [{id: through, reference: j, window_minutes: 30}]"
    book = gates(tmp_path, f"{TIME}, same_stop_exit: {bands}", joins)
    at_once = ("08:02 enter metro a", "08:03 exit metro a")
    said = ("08:00 board bus", *at_once, "08:04 enter metro a", "08:20 exit metro c")
    assert charged(book, *said) == ["bus_ride 2.00", "metro_ride 4.00, through -2.00"]


def test_a_validator_on_the_way_belongs_to_the_journey_and_to_no_other(tmp_path):
    via_c = "surcharges: [{id: by_c, reference: s, via_stops: [c], amount: 1}]"
    book = gates(tmp_path, TIME, via_c)
    said = (
        "07:55 touch metro c",
        "08:00 enter metro a",
        "08:10 touch bus c",
        "08:11 touch metro",
        "08:12 touch metro c",
        "08:13 touch metro c",
        "08:20 exit metro d",
        "08:30 enter metro a",
        "08:50 exit metro d",
    )
    folded = ridden(book, *said)
    assert {each.int: journey.int for each, journey in folded.journeys.items()} == {
        2: 2, 5: 2, 6: 2, 7: 2, 8: 8, 9: 8,
    }  # fmt: skip
    assert charged(book, *said) == ["metro_ride 4.00, by_c 1.00", "metro_ride 4.00"]
    # Nor does a ride that was left open lend its validators to the next one.
    left_open = ("08:00 enter metro a", "08:10 touch metro c", "09:00 enter metro a")
    assert charged(book, *left_open, "09:20 exit metro d") == ["no_end 9.00", "metro_ride 4.00"]


def test_an_exit_closes_a_ride_of_its_own_network_and_vehicle(tmp_path):
    book = gates(tmp_path, TIME)
    assert charged(book, "08:00 enter metro a", "08:10 alight tram c") == ["no_end 9.00"] * 2
    other = ("08:00 board tram a vehicle=1", "08:10 alight tram c vehicle=2")
    assert charged(book, *other) == ["no_end 9.00"] * 2
    for vehicle in ("vehicle=1", ""):
        said = ("08:00 board tram a vehicle=1", f"08:10 alight tram c {vehicle}")
        assert charged(book, *said) == ["tram_ride 3.00"]


def test_the_exit_says_the_fare_and_the_way_or_else_the_entry_does(tmp_path):
    named = """
fare_products:
  - {id: metro_ride, reference: p, pricing: {kind: gate_names}}
  - {id: bus_ride, reference: p, pricing: {kind: flat, amount: 2}}
  - {id: tram_ride, reference: p, pricing: {kind: flat, amount: 3}}
surcharges: [{id: on_7, reference: s, routes: ['7'], amount: 1}]
"""
    book = gates(tmp_path, TIME, named)
    entry = "08:00 enter metro a named=300 route=7"
    assert charged(book, entry, "08:10 exit metro c") == ["metro_ride 3.00, on_7 1.00"]
    assert charged(book, entry, "08:10 exit metro c named=500 route=8") == ["metro_ride 5.00"]


HABIT = f"{TIME}, completion: {{legs_min: 2, within_days: 7}}"
COMPLETED = "metro_ride 4.00, metro_completion 0.00"


def rides(*days: str, ends: str = "a c") -> list[str]:
    start, end = ends.split()
    return [
        words
        for hour, day in enumerate(days, 8)
        for words in (
            f"{day} {hour:02}:00 enter metro {start}",
            f"{day} {hour:02}:20 exit metro {end}",
        )
    ]


def test_a_missing_tap_is_taken_from_a_habit_of_the_last_days(tmp_path):
    book = gates(tmp_path, HABIT)
    twice = rides("01-05", "01-06")
    for alone in ("enter metro a", "exit metro c"):
        assert charged(book, *twice, f"01-12 09:00 {alone}")[-1] == COMPLETED
        assert charged(book, *twice, f"01-13 09:00 {alone}")[-1] == "no_end 9.00"
        assert charged(book, *rides("01-05"), f"01-06 09:00 {alone}")[-1] == "no_end 9.00"
    # The ride that was completed from a habit is no part of it.
    completed = ("01-06 10:00 enter metro a", "01-06 13:00 enter metro a")
    assert charged(book, *rides("01-05", "01-06"), *completed)[-2:] == [COMPLETED] * 2
    late = ("01-12 09:00 enter metro a", "01-13 09:00 enter metro a")
    assert charged(book, *twice, *late)[-2:] == [COMPLETED, "no_end 9.00"]


def test_the_usual_end_is_the_one_most_often_ridden_to(tmp_path):
    by_end = """
surcharges:
  - {id: to_b, reference: s, networks: [metro], to_stops: [b], amount: 1}
  - {id: to_c, reference: s, networks: [metro], to_stops: [c], amount: 2}
  - {id: to_d, reference: s, networks: [metro], to_stops: [d], amount: 3}
  - {id: from_d, reference: s, networks: [metro], from_stops: [d], amount: 4}
"""
    book = gates(tmp_path, HABIT, by_end)
    said = [*rides("01-05", "01-06", ends="a d"), *rides("01-07", "01-08", "01-09", ends="a c")]
    alone = "01-10 09:00 enter metro a"
    assert charged(book, *said, alone)[-1] == ("metro_ride 4.00, to_c 2.00, metro_completion 0.00")
    # Of two as usual, the first by name.
    even = [*said, *rides("01-09", "01-10", "01-10", ends="a b")]
    assert charged(book, *even, alone)[-1].startswith("metro_ride 4.00, to_b 1.00")
    back = [*said, *rides("01-10", "01-10", ends="d a"), "01-11 09:00 exit metro a"]
    assert charged(book, *back)[-1] == "metro_ride 4.00, from_d 4.00, metro_completion 0.00"
    to_work = [*rides("01-05", "01-06"), "01-07 09:00 exit metro c"]
    assert charged(book, *to_work)[-1] == "metro_ride 4.00, to_c 2.00, metro_completion 0.00"
    # What was ridden on the tram says nothing of the metro.
    tram = [words.replace("metro", "tram") for words in rides("01-09", "01-09", ends="b c")]
    tram = [words.replace("enter", "board").replace("exit", "alight") for words in tram]
    assert charged(book, *tram, "01-09 10:00 enter metro b")[-1] == "no_end 9.00"


def test_a_second_beep_is_the_same_tap_until_its_last_second(tmp_path):
    book = gates(tmp_path, f"{TIME}, pass_back_seconds: 10")
    folded = ridden(book, "08:00 enter metro a", "08:00:10 enter metro a", "08:20 exit metro c")
    assert [each.int for each in folded.double_beeps] == [2]
    assert charged(book, "08:00 enter metro a", "08:00:11 enter metro a") == ["no_end 9.00"] * 2


def test_a_leg_is_open_for_as_long_as_it_may_still_be_closed(tmp_path):
    book = gates(tmp_path, "journey_time: {minutes: 90}")
    folding = RiderFold(book)
    entry = tap(1, "08:00 enter metro a", book)
    folding.take(entry)
    until = entry.tapped_at + timedelta(minutes=90)
    assert folding.result().open_until == until
    folding.sweep(until - timedelta(seconds=1))
    assert folding.result().charges == {}
    folding.sweep(until)
    assert [lines_of(c.quote.lines) for c in folding.result().charges.values()] == ["no_end 9.00"]
    assert folding.result().open_until is None


TROUBLE = """
disruptions:
  - {id: flood, reference: d, networks: [metro], begins: 2026-01-05 10:00, ends: 2026-01-05 11:00,
     incomplete_legs_pay: 1}
"""


@pytest.mark.parametrize(
    ("entry", "way_out", "is_waived"),
    [
        ("07:00", "09:59:59", False),
        ("07:00", "10:00", True),
        ("09:30", "12:00", True),
        ("10:00", "13:00", True),
        ("10:59:59", "13:00", True),
        ("11:00", "13:30", False),
    ],
)
def test_a_ride_that_touches_the_trouble_may_take_its_time(tmp_path, entry, way_out, is_waived):
    book = gates(tmp_path, TIME, TROUBLE)
    lines = charged(book, f"{entry} enter metro a", f"{way_out} exit metro c")
    assert (lines == ["metro_ride 4.00"]) is is_waived


def test_trouble_on_the_metro_does_not_touch_the_tram(tmp_path):
    book = gates(tmp_path, TIME, TROUBLE)
    assert charged(book, "10:30 exit metro a") == ["flood 1.00"]
    assert charged(book, "10:30 alight tram a") == ["no_end 9.00"]


def test_a_waiver_of_one_fare_is_none_of_the_time(tmp_path):
    only_fares = TROUBLE.replace("incomplete", "waives_journey_time: false, incomplete")
    book = gates(tmp_path, TIME, only_fares)
    assert charged(book, "08:00 enter metro a", "10:30 exit metro c") == [
        "no_end 9.00",
        "flood 1.00",
    ]


def next_morning(book, *said: str, then: str = "01-06 08:00 board bus") -> str:
    """What one tap more is charged, after what is carried over from the fifth of January."""
    evening = fold([tap(number, words, book) for number, words in enumerate(said, 1)], book)
    first = tap(99, then, book)
    memory = carried(evening.state, book, book.starts_at(book.service_day_of(first.tapped_at)))
    morning = fold([first], book, state=memory, swept_until=EVER)
    return " + ".join(lines_of(charge.quote.lines) for charge in morning.charges.values())


RULES = """
fare_caps:
  - {id: by_day, reference: k, period: {kind: service_day}, amount: 3}
  - {id: by_week, reference: k, period: {kind: week}, amount: 10}
"""


def test_a_new_day_keeps_the_week_and_forgets_the_day(tmp_path):
    book = gates(tmp_path, TIME, RULES)
    buses = [f"{hour:02}:00 board bus" for hour in (8, 9)]
    assert next_morning(book, *buses) == "bus_ride 2.00"
    dearer = RULES.replace("amount: 10", "amount: 4")
    (tmp_path / "dearer").mkdir()
    assert next_morning(gates(tmp_path / "dearer", TIME, dearer), *buses) == (
        "bus_ride 2.00, by_week -1.00"
    )


def test_a_change_over_the_start_of_the_day_is_in_time(tmp_path):
    change = """
fare_transfer_rules: [{id: change, reference: t, window_minutes: 30, pays: {kind: free}}]
"""
    book = gates(tmp_path, TIME, change)
    free = "bus_ride 2.00, change -2.00"
    assert next_morning(book, "27:45 board bus", then="01-06 04:15 board bus") == free
    assert next_morning(book, "27:30 board bus", then="01-06 04:00 board bus") == free
    assert next_morning(book, "27:30 board bus", then="01-06 04:01 board bus") == "bus_ride 2.00"


def test_a_journey_goes_on_over_the_start_of_the_day(tmp_path):
    through = """
fare_leg_join_rules: [{id: through, reference: j, window_minutes: 30}]
"""
    book = gates(tmp_path, TIME, through)
    joined = "bus_ride 2.00, through -2.00"
    assert next_morning(book, "27:45 board bus", then="01-06 04:15 board bus") == joined
    assert next_morning(book, "08:00 board bus", then="01-06 04:15 board bus") == "bus_ride 2.00"


def test_a_ride_that_is_under_way_is_closed_on_the_next_day(tmp_path):
    via_b = "surcharges: [{id: by_b, reference: s, via_stops: [b], amount: 1}]"
    book = gates(tmp_path, TIME, via_b)
    said = ("27:00 enter metro a", "27:10 touch metro b")
    assert (
        next_morning(book, *said, then="01-06 04:10 exit metro c") == "metro_ride 4.00, by_b 1.00"
    )


def test_a_second_beep_is_one_over_the_start_of_the_day(tmp_path):
    book = gates(tmp_path, f"{TIME}, pass_back_seconds: 60")
    twice = ("27:59:20 exit metro a", "01-06 04:00:20 exit metro a")
    assert next_morning(book, twice[0], then=twice[1]) == ""
    assert next_morning(book, "27:59 exit metro a", then="01-06 04:00 exit metro a") == ""
    assert next_morning(book, "27:59:00 exit metro a", then="01-06 04:00:01 exit metro a") != ""
    assert next_morning(book, then="01-06 04:00:20 exit metro a") != ""


def test_habits_and_offers_outlive_the_day(tmp_path):
    gift = """
promotions: [{id: gift, reference: g, uses_max: 1, networks: [bus], pays: {kind: free}}]
"""
    book = gates(tmp_path, HABIT, gift)
    assert next_morning(book, "08:00 board bus") == "bus_ride 2.00"
    assert next_morning(book) == "bus_ride 2.00, gift -2.00"
    twice = rides("01-05", "01-05")
    assert next_morning(book, *twice, then="01-12 09:00 enter metro a") == COMPLETED
    assert next_morning(book, *twice, then="01-13 09:00 enter metro a") == "no_end 9.00"


def test_a_rolling_period_goes_on_in_the_morning(tmp_path):
    rolling = """
fare_caps: [{id: two_days, reference: k, period: {kind: rolling, days: 2}, amount: 3}]
"""
    book = gates(tmp_path, TIME, rolling)
    capped = "bus_ride 2.00, two_days -1.00"
    assert next_morning(book, "08:00 board bus", then="01-07 07:59 board bus") == capped
    assert next_morning(book, "08:00 board bus", then="01-07 08:00 board bus") == "bus_ride 2.00"


def test_a_new_day_remembers_nothing_that_is_over(tmp_path):
    """What is kept of a rider does not grow with the years."""
    terms = f"{HABIT}, pass_back_seconds: 60, same_stop_exit: [{{charge: incomplete, "
    terms += "cancelled_by_entry_minutes: 30}]"
    more = """
fare_transfer_rules: [{id: change, reference: t, window_minutes: 30, pays: {kind: free}}]
fare_leg_join_rules: [{id: through, reference: j, window_minutes: 30, from: {networks: [tram]}}]
"""
    book = gates(tmp_path, terms, RULES + more)
    said = [*rides("01-05"), "12:00 board bus", "27:00 enter metro a", "27:50 exit metro a"]
    evening = ridden(book, *said).state
    assert evening.last_tap
    assert evening.reentry
    assert evening.trail
    morning = carried(evening, book, book.starts_at(date(2026, 1, 6)))
    assert set(morning.windows) == {"by_week"}
    assert (morning.last_tap, morning.reentry, morning.journey) == (None, None, None)
    assert len(morning.habits) == 1
    much_later = carried(evening, book, book.starts_at(date(2026, 1, 13)))
    assert (much_later.windows, much_later.trail, much_later.habits) == ({}, (), ())


def test_before_the_first_tariff_nothing_is_forgotten(tmp_path):
    book = gates(tmp_path, TIME, RULES)
    state = ridden(book, "08:00 board bus").state
    assert carried(state, book, book.starts_at(date(2025, 12, 1))) == state


def test_a_ride_under_way_keeps_its_own_day_and_the_leg_before_it(tmp_path):
    book = gates(tmp_path, TIME, RULES)
    buses = [f"{hour:02}:00 board bus" for hour in (8, 9)]
    way_out = "01-06 04:10 exit metro c"
    assert next_morning(book, *buses, "27:00 enter metro a", then=way_out) == (
        "metro_ride 4.00, by_day -4.00"
    )


def two_tariffs(folder: Path, under_way: str, first: str, second: str):
    """Flat metro fares of January and of the second of January, from four in the morning on."""
    prices = """
fare_products:
  - {{id: metro_ride, reference: p, pricing: {{kind: flat, amount: {}}}}}
  - {{id: bus_ride, reference: p, pricing: {{kind: flat, amount: 2}}}}
  - {{id: tram_ride, reference: p, pricing: {{kind: flat, amount: 3}}}}
"""
    town(folder, prices.format(first))
    rule = f"journeys_under_way: {under_way}\n"
    return town(folder, rule + prices.format(second), effective="2026-01-06")


@pytest.mark.parametrize(
    ("under_way", "first", "second", "costs"),
    [
        ("old", 4, 5, "4.00"),
        ("new", 4, 5, "5.00"),
        ("cheaper", 4, 5, "4.00"),
        ("cheaper", 5, 4, "4.00"),
    ],
)
def test_a_ride_into_a_new_tariff_costs_what_that_one_says(
    tmp_path, under_way, first, second, costs
):
    book = two_tariffs(tmp_path, under_way, first, second)
    assert charged(book, "27:30 enter metro a", "28:10 exit metro c") == [f"metro_ride {costs}"]
    assert charged(book, "27:30 enter metro a", "27:50 exit metro c") == [f"metro_ride {first}.00"]
    assert charged(book, "28:00 enter metro a", "28:10 exit metro c") == [f"metro_ride {second}.00"]


def test_of_two_tariffs_as_dear_the_old_one_is_charged(tmp_path):
    book = two_tariffs(tmp_path, "cheaper", "4", "4")
    (charge,) = ridden(book, "27:30 enter metro a", "28:10 exit metro c").charges.values()
    assert charge.quote.tariff_id == "town/2026-01-01"
    assert charge.service_day == date(2026, 1, 6)


def test_a_measured_ride_is_never_dearer_than_it_was(tmp_path):
    """The old tariff is asked with its own hours, and with its own way over the airport bridge."""
    old = """
fare_products:
  - {id: metro_ride, reference: p, pricing: {kind: per_km, rate: 1, rounding: {mode: down}}}
  - {id: bus_ride, reference: p, pricing: {kind: flat, amount: 2}}
  - {id: tram_ride, reference: p, pricing: {kind: flat, amount: 3}}
timeframes:
  - {id: shut, periods: [{start: 00:00, end: 00:01}]}
  - {id: early, periods: [{start: 07:00, end: 08:00}]}
  - {id: evening, periods: [{start: 18:00, end: 19:00}]}
surcharges:
  - {id: bridge, reference: s, networks: [metro], from_timeframes: [early], add_km: 3}
  - {id: bridge_back, reference: s, networks: [metro], to_timeframes: [evening], add_km: 3}
"""
    new = """
never_dearer_than: 2026-01-01
fare_products:
  - {id: metro_ride, reference: p, pricing: {kind: per_km, rate: 2, rounding: {mode: down}}}
  - {id: bus_ride, reference: p, pricing: {kind: flat, amount: 2}}
  - {id: tram_ride, reference: p, pricing: {kind: flat, amount: 3}}
surcharges: [{id: half_more, reference: s, networks: [metro], percent: 50}]
"""
    town(tmp_path, old)
    book = town(tmp_path, new, effective="2026-01-05")

    def costs(entry: str, way_out: str, metres: int) -> str:
        said = (f"{entry} enter metro a", f"{way_out} exit metro c metres={metres}")
        return charged(book, *said)[0]

    # 5 km at 2 a kilometre; at 1 they were 5, or 8 over the bridge.
    assert (
        costs("08:30", "09:00", 5000) == "metro_ride 10.00, never_dearer_than -5.00, half_more 2.50"
    )
    assert (
        costs("07:30", "09:00", 5000) == "metro_ride 10.00, never_dearer_than -2.00, half_more 4.00"
    )
    assert (
        costs("17:30", "18:00", 5000) == "metro_ride 10.00, never_dearer_than -2.00, half_more 4.00"
    )
    assert costs("07:30", "09:00", 2000) == "metro_ride 4.00, half_more 2.00"
    (charge,) = ridden(
        book, "08:30 enter metro a", "09:00 exit metro c metres=5000"
    ).charges.values()
    assert charge.quote.lines[1].reference == "Town fare notice"


def test_a_sum_of_legs_is_held_against_the_sum_of_their_old_fares(tmp_path):
    town(tmp_path, "fare_leg_join_rules: []")
    rules = """
never_dearer_than: 2026-01-01
fare_leg_join_rules: [{id: through, reference: j, window_minutes: 30, price_as: sum}]
"""
    book = town(tmp_path, rules, effective="2026-01-05")
    assert charged(book, "08:00 board bus", "08:10 board tram") == [
        "bus_ride 2.00",
        "tram_ride 5.00, through -2.00",
    ]
