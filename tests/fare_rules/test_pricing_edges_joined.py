"""Journeys of several legs: what each leg adds, how often a rule acts, and what is counted."""

import sys
from pathlib import Path

import pytest

# Test files are imported by path, so their helpers have to be found by name.
sys.path.insert(0, str(Path(__file__).parent))

from test_pricing_edges import charged, ridden, town

from fare_rules.subsidies import subsidies_due

BUSES = [f"{8 + minute // 60:02}:{minute % 60:02} board bus" for minute in range(0, 60, 10)]


def joined(folder: Path, terms: str, more: str = ""):
    """The town with its legs priced as one, on the terms that are said."""
    return town(
        folder,
        f"""
fare_leg_join_rules:
  - {{id: through, reference: j, window_minutes: 30, {terms}}}
{more}""",
    )


def fares(book, *said: str) -> list[str]:
    """What each charge comes to, in yuan."""
    return [f"{charge.fare_fen / 100:.2f}" for charge in ridden(book, *said).charges.values()]


def test_a_sum_grows_by_each_leg_less_one_discount_for_each_change(tmp_path):
    book = joined(tmp_path, "price_as: sum, less: 0.70")
    assert charged(book, "08:00 board bus", "08:10 board tram", "08:20 board bus") == [
        "bus_ride 2.00",
        "tram_ride 5.00, through -0.70, through -2.00",
        "bus_ride 6.30, through -0.70, through -4.30",
    ]


def test_a_discount_for_a_change_leaves_nothing_below_zero(tmp_path):
    book = joined(tmp_path, "price_as: last, less: 3")
    assert charged(book, "08:00 board bus", "08:10 board bus") == [
        "bus_ride 2.00",
        "bus_ride 2.00, through -2.00",
    ]


def test_a_whole_found_afresh_has_the_discount_of_every_change(tmp_path):
    book = joined(tmp_path, "price_as: last, less: 0.50")
    assert fares(book, "08:00 board bus", "08:10 board tram", "08:20 board tram") == [
        "2.00",
        "0.50",
        "0.00",
    ]


def test_leg_by_leg_each_leg_pays_its_share_of_what_it_adds(tmp_path):
    half = """
concessions:
  - id: child
    reference: k
    rider_categories: [child]
    pays: {kind: percent, percent: 50, rounding: {mode: half_up}}
"""
    book = joined(tmp_path, "price_as: sum, leg_by_leg: true", half)
    rides = [f"08:{minute}0 board {name} who=child" for minute, name in
             enumerate(("bus", "tram", "bus", "tram"))]  # fmt: skip
    assert charged(book, *rides) == [
        "bus_ride 2.00, child -1.00",
        "tram_ride 5.00, through -2.00, child -1.50",
        "bus_ride 7.00, through -5.00, child -1.00",
        "tram_ride 10.00, through -7.00, child -1.50",
    ]


@pytest.mark.parametrize("price_as", ["last", "highest"])
def test_leg_by_leg_another_product_costs_what_the_leg_adds_to_it(tmp_path, price_as):
    senior = """
fare_products:
  - {id: bus_ride, reference: p, pricing: {kind: flat, amount: 2}}
  - {id: tram_ride, reference: p, pricing: {kind: flat, amount: 3}}
  - {id: metro_ride, reference: p, pricing: {kind: per_km, rate: 1, rounding: {mode: up}}}
  - {id: senior_ride, reference: p, pricing: {kind: per_km, rate: 0.4, rounding: {mode: up}}}
concessions:
  - id: senior
    reference: k
    rider_categories: [child]
    pays: {kind: product, product: senior_ride, rounding: {mode: half_up}}
"""
    book = joined(tmp_path, f"price_as: {price_as}, leg_by_leg: true", senior)
    rides = [
        f"08:{minute}0 {action} metro who=child metres={minute}000"
        for minute, action in enumerate(("enter", "exit", "enter", "exit"))
    ]
    # Of 1 km, and of 4 km together.
    assert charged(book, *rides) == [
        "metro_ride 1.00, senior -0.60",
        "metro_ride 4.00, through -1.00, senior -1.80",
    ]


def test_a_dear_beginning_is_remembered_over_a_cheaper_leg(tmp_path):
    book = joined(tmp_path, "price_as: last, leg_by_leg: true")
    assert fares(book, "08:00 board tram", "08:10 board bus", "08:20 board tram") == [
        "3.00",
        "0.00",
        "0.00",
    ]


@pytest.mark.parametrize(("terms", "free"), [("times_max: 2", 2), ("legs_max: 2", 1)])
def test_a_rule_joins_so_many_legs_and_no_more(tmp_path, terms, free):
    book = joined(tmp_path, f"price_as: last, {terms}")
    # The leg that is not joined begins the next journey.
    assert fares(book, *BUSES[: free + 3]) == ["2.00", *["0.00"] * free, "2.00", "0.00"]


def test_another_route_is_asked_of_the_leg_just_before(tmp_path):
    book = joined(tmp_path, "price_as: last, different_route: true")
    assert fares(book, "08:00 board bus route=1", "08:10 board bus route=1") == ["2.00", "2.00"]
    assert fares(book, "08:00 board bus route=1", "08:10 board bus route=2") == ["2.00", "0.00"]
    # Routes of two networks differ, whatever they are called.
    assert fares(book, "08:00 board bus", "08:10 board tram") == ["2.00", "1.00"]


def test_a_leg_without_its_entry_is_joined_to_nothing(tmp_path):
    book = joined(tmp_path, "price_as: last")
    assert charged(book, "08:00 board tram", "08:10 exit metro a", "08:20 board bus") == [
        "tram_ride 3.00",
        "no_end 9.00",
        "bus_ride 2.00",
    ]


def test_what_was_charged_leg_by_leg_is_taken_off_a_whole_that_follows(tmp_path):
    book = town(
        tmp_path,
        """
fare_leg_join_rules:
  - id: trams
    reference: j
    to: {networks: [tram]}
    window_minutes: 30
    price_as: sum
    leg_by_leg: true
  - {id: metros, reference: j, to: {networks: [metro]}, window_minutes: 30, price_as: sum}
""",
    )
    rides = ("08:00 board bus", "08:10 board tram", "08:20 enter metro a", "08:40 exit metro c")
    assert charged(book, *rides) == [
        "bus_ride 2.00",
        "tram_ride 5.00, trams -2.00",
        "metro_ride 9.00, metros -5.00",
    ]


def test_an_exit_whose_gate_names_the_fare_is_joined_to_nothing_without_its_entry(tmp_path):
    products = """
fare_products:
  - {id: metro_ride, reference: p, gate_may_name_fare: true, pricing: {kind: flat, amount: 4}}
  - {id: bus_ride, reference: p, pricing: {kind: flat, amount: 2}}
  - {id: tram_ride, reference: p, pricing: {kind: flat, amount: 3}}
"""
    book = joined(tmp_path, "price_as: last", products)
    assert charged(book, "08:00 board bus", "08:10 exit metro a named=300") == [
        "bus_ride 2.00",
        "metro_ride 3.00",
    ]


def test_a_gate_that_names_the_fare_of_a_leg_adds_it_to_a_sum(tmp_path):
    products = """
fare_products:
  - {id: metro_ride, reference: p, pricing: {kind: flat, amount: 4}}
  - {id: bus_ride, reference: p, gate_may_name_fare: true, pricing: {kind: flat, amount: 2}}
  - {id: tram_ride, reference: p, pricing: {kind: flat, amount: 3}}
"""
    book = joined(tmp_path, "price_as: sum", products)
    assert fares(book, "08:00 board tram", "08:10 board bus named=250") == ["3.00", "2.50"]


def test_a_gate_does_not_name_the_fare_of_a_whole_journey(tmp_path):
    products = """
fare_products:
  - {id: metro_ride, reference: p, pricing: {kind: flat, amount: 4}}
  - {id: bus_ride, reference: p, gate_may_name_fare: true, pricing: {kind: flat, amount: 2}}
  - {id: tram_ride, reference: p, pricing: {kind: flat, amount: 3}}
"""
    book = joined(tmp_path, "price_as: last", products)
    assert fares(book, "08:00 board bus named=150", "08:10 board bus named=900") == [
        "1.50",
        "0.50",
    ]


def test_a_sum_within_zones_has_the_zones_of_each_leg(tmp_path):
    book = joined(
        tmp_path,
        "price_as: sum",
        """
fare_products:
  - {id: bus_ride, reference: p, pricing: {kind: flat, amount: 2}}
  - {id: tram_ride, reference: p, pricing: {kind: flat, amount: 3}}
  - id: metro_ride
    reference: p
    pricing: {kind: zones, fares: [{zones: 1, amount: 2}, {zones: 1-2, amount: 3}, {zones: 1-3, amount: 7}]}
""",  # noqa: E501
    )
    rides = ("08:00 board bus", "08:10 enter metro a", "08:20 exit metro c", "08:30 board bus")
    assert fares(book, *rides) == ["2.00", "3.00", "2.00"]


def test_a_free_ride_of_a_gift_gives_nothing_back_by_its_full_fare(tmp_path):
    gift = """
promotions:
  - {id: gift, reference: g, networks: [bus], pays: {kind: free}, borne_by: bank}
subsidies:
  - id: relief
    reference: s
    period: {kind: month}
    counts: full_fare
    percent: 10
    rounding: {mode: down}
    borne_by: bank
"""
    book = town(tmp_path, gift)
    state = ridden(book, "08:00 board bus", "09:00 board tram").state
    assert subsidies_due(state, book.tariffs[0]) == {"relief": 30}


def test_what_a_bank_bears_of_a_change_is_its_line(tmp_path):
    book = town(
        tmp_path,
        """
fare_transfer_rules:
  - {id: change, reference: t, window_minutes: 30, borne_by: bank, pays: {kind: less, amount: 1}}
""",
    )
    assert charged(book, "08:00 board bus", "08:10 board tram")[1] == (
        "tram_ride 3.00, change -1.00 by bank"
    )


def test_entering_again_gives_back_the_change_from_the_ride_before(tmp_path):
    """The exit at once is no ride: what went before it is what the rider changes from."""
    book = town(
        tmp_path,
        """
networks:
  - id: metro
    taps: enter_exit
    links: links.csv
    journey_time: {minutes: 120}
    reference: n
    same_stop_exit:
      - {up_to_minutes: 5, charge: two_incomplete, cancelled_by_entry_minutes: 10}
      - {charge: ride}
  - {id: bus, taps: board, reference: n}
  - {id: tram, taps: board, reference: n}
fare_transfer_rules:
  - id: change
    reference: t
    from: {networks: [bus]}
    to: {networks: [metro]}
    window_minutes: 30
    pays: {kind: less, amount: 1}
""",
    )
    taps = ["08:00 board bus", "08:10 enter metro a", "08:12 exit metro a"]
    assert charged(book, *taps) == ["bus_ride 2.00", "no_end 9.00", "no_end 9.00"]
    again = [*taps, "08:15 enter metro a", "08:30 exit metro c"]
    assert charged(book, *again) == ["bus_ride 2.00", "metro_ride 4.00, change -1.00"]


HABITS = """
networks:
  - id: metro
    taps: enter_exit
    links: links.csv
    journey_time: {minutes: 120}
    reference: clause of the network
    completion: {legs_min: 1}
  - {id: bus, taps: board, reference: n}
  - {id: tram, taps: board, reference: n}
"""


def test_a_habit_that_completes_a_leg_answers_to_the_clause_of_its_network(tmp_path):
    book = town(tmp_path, HABITS)
    folded = ridden(book, "08:00 enter metro a", "08:20 exit metro c", "09:00 enter metro a")
    charge = list(folded.charges.values())[-1]
    assert [(line.rule_id, line.reference) for line in charge.quote.lines] == [
        ("metro_ride", "p"),
        ("metro_completion", "clause of the network"),
    ]
    assert charge.effective_at == charge.effective_at.replace(hour=1, minute=0)


def test_a_habit_is_seen_among_the_newest_forty_legs(tmp_path):
    book = town(tmp_path, HABITS.replace("legs_min: 1", "legs_min: 40"))
    said = [
        words
        for day in range(5, 10)
        for hour in range(8, 16)
        for words in (
            f"01-{day:02} {hour:02}:00 enter metro a",
            f"01-{day:02} {hour:02}:20 exit metro c",
        )
    ]
    alone = "01-10 09:00 enter metro a"
    assert charged(book, *said, alone)[-1] == "metro_ride 4.00, metro_completion 0.00"
    elsewhere = ("01-10 06:00 enter metro a", "01-10 06:20 exit metro b")
    assert charged(book, *said, *elsewhere, alone)[-1] == charged(book, alone)[-1]


@pytest.mark.parametrize(
    ("terms", "second", "third"),
    [
        (
            "price_as: highest",
            "metro_ride 4.00, half -1.00 by bank, through -1.00, through -1.00",
            "metro_ride 4.00, through -2.00, through -2.00",
        ),
        (
            "price_as: sum",
            "metro_ride 6.00, half -2.00 by bank, through -1.00, through -1.00",
            "bus_ride 8.00, half -1.00 by bank, through -3.00, through -3.00",
        ),
        (
            "price_as: sum, leg_by_leg: true",
            "metro_ride 6.00, through -2.00, half -2.00 by bank",
            "bus_ride 8.00, through -6.00, half -1.00 by bank",
        ),
    ],
)
def test_a_sponsor_bears_its_part_of_the_whole_way_once(tmp_path, terms, second, third):
    half = """
concessions:
  - {id: half, reference: c, borne_by: bank, pays: {kind: percent, percent: 50, rounding: {mode: up}}}
"""  # noqa: E501
    said = ("08:00 board bus", "08:10 enter metro a", "08:20 exit metro c", "08:30 board bus")
    assert charged(joined(tmp_path, terms, half), *said) == [
        "bus_ride 2.00, half -1.00 by bank",
        second,
        third,
    ]


def test_a_sponsor_that_bore_too_much_of_the_first_leg_bears_no_more(tmp_path):
    """Two layers of one sponsor, for companions as for the holder."""
    layers = """
concessions:
  - {id: less, reference: c, networks: [tram], borne_by: bank, pays: {kind: less, amount: 2.50}}
  - {id: half, reference: c, layer: 2, networks: [bus], borne_by: bank,
     pays: {kind: percent, percent: 50, rounding: {mode: up}}}
"""
    book = joined(tmp_path, "price_as: last", layers)
    said = ("08:00 board tram riders=2", "08:10 board bus riders=2", "08:20 board bus riders=2")
    assert charged(book, *said) == [
        "tram_ride 6.00, less -5.00 by bank",
        "bus_ride 4.00, through -2.00, through -1.00",
        "bus_ride 4.00, through -2.00, through -2.00",
    ]
