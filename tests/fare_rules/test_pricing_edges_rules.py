"""Which legs a rule is for; in which order rules act; and journeys that count as one ride."""

import sys
from pathlib import Path

import pytest

# Test files are imported by path, so their helpers have to be found by name.
sys.path.insert(0, str(Path(__file__).parent))

from test_pricing_edges import charged, fare, ridden, town

HOURS = """
timeframes:
  - {id: fair, periods: [{start: 08:00, end: 09:00}], first_day: 2026-01-06, last_day: 2026-01-07}
  - {id: feast, periods: [{start: 10:00, end: 11:00}], holidays: only}
  - {id: plain, periods: [{start: 10:00, end: 11:00, days: [mon, tue, wed, thu, fri]}]}
holidays: {also: [2026-01-06, 2026-01-11]}
surcharges:
  - {id: to_the_fair, reference: s, from_timeframes: [fair], amount: 1}
  - {id: on_a_feast, reference: s, from_timeframes: [feast], amount: 2}
  - {id: on_a_weekday, reference: s, from_timeframes: [plain], amount: 0.50}
"""


def test_hours_of_some_days_have_their_first_and_their_last_day(tmp_path):
    book = town(tmp_path, HOURS)
    rides = [
        charged(book, f"{day} 08:30 board bus") for day in ("01-05", "01-06", "01-07", "01-08")
    ]
    at_the_fair = ["bus_ride 2.00, to_the_fair 1.00"]
    assert rides == [["bus_ride 2.00"], at_the_fair, at_the_fair, ["bus_ride 2.00"]]


def test_a_holiday_is_a_weekday_as_usual_unless_the_hours_say_otherwise(tmp_path):
    book = town(tmp_path, HOURS)
    rides = [
        charged(book, f"{day} 10:30 board bus") for day in ("01-05", "01-06", "01-10", "01-11")
    ]
    assert rides == [
        ["bus_ride 2.00, on_a_weekday 0.50"],
        ["bus_ride 2.00, on_a_feast 2.00, on_a_weekday 0.50"],
        ["bus_ride 2.00"],
        # The feast on a Sunday makes no weekday of it.
        ["bus_ride 2.00, on_a_feast 2.00"],
    ]


def test_a_rule_is_for_some_zones_and_some_hours_of_leaving(tmp_path):
    book = town(
        tmp_path,
        """
timeframes: [{id: noon, periods: [{start: 12:00, end: 13:00}]}]
surcharges:
  - {id: inner, reference: s, within_zones: 1-2, amount: 1}
  - {id: at_noon, reference: s, to_timeframes: [noon], amount: 2}
  - {id: no_metro, reference: s, amount: 4, except: [{products: [metro_ride]}]}
  - {id: not_inner, reference: s, amount: 8, except: [{within_zones: 1}]}
""",
    )

    def added(*said: str) -> list[str]:
        (lines,) = charged(book, *said)
        return [line.split()[0] for line in lines.split(", ")[1:]]

    assert added("11:30 enter metro a", "11:59 exit metro b") == ["inner"]
    assert added("11:30 enter metro a", "12:00 exit metro c") == ["inner", "at_noon", "not_inner"]
    assert added("12:30 enter metro a", "13:00 exit metro d") == ["not_inner"]
    assert added("12:59 board bus") == ["at_noon", "no_metro", "not_inner"]


def test_what_is_added_is_made_less_or_not_as_its_rule_says(tmp_path):
    book = town(
        tmp_path,
        """
networks:
  - {id: metro, taps: enter_exit, links: links.csv, reference: n,
     journey_time: {minutes: 30, over: ride}}
  - {id: bus, taps: board, reference: n}
  - {id: tram, taps: board, reference: n}
surcharges:
  - {id: late, reference: s, over_time: true, amount: 5}
  - {id: with_fare, reference: s, with_concessions: true, percent: 25}
  - {id: whole, reference: s, amount: 0.10}
  - {id: apart, reference: s, in_caps: false, amount: 0.20}
concessions: [{id: half, reference: c, pays: {kind: percent, percent: 50, rounding: {mode: up}}}]
fare_caps: [{id: cap, reference: k, period: {kind: service_day}, amount: 2}]
""",
    )
    entry = "08:00 enter metro a"
    assert charged(book, entry, "08:30 exit metro c") == [
        "metro_ride 4.00, with_fare 1.00, half -2.50, whole 0.10, cap -0.60, apart 0.20"
    ]
    assert charged(book, entry, "08:31 exit metro c") == [
        "metro_ride 4.00, with_fare 1.00, half -2.50, whole 0.10, late 5.00, cap -5.60, apart 0.20"
    ]


def test_offers_before_concessions_leave_the_companions_their_whole_fare(tmp_path):
    book = town(
        tmp_path,
        """
order: [promotions, concessions, transfers, tiers, caps]
promotions: [{id: gift, reference: g, pays: {kind: less, amount: 1}}]
concessions: [{id: half, reference: c, pays: {kind: percent, percent: 50, rounding: {mode: up}}}]
""",
    )
    # The holder pays half of 1, each of the two others half of 2.
    assert charged(book, "08:00 board bus riders=3") == ["bus_ride 6.00, gift -1.00, half -2.50"]


def test_an_offer_that_takes_nothing_off_leaves_the_next_one(tmp_path):
    book = town(
        tmp_path,
        """
promotions:
  - {id: all_of_it, reference: g, priority: 2, pays: {kind: amount, amount: 2}, uses_max: 1}
  - {id: a_fen, reference: g, priority: 1, pays: {kind: less, amount: 0.01}, uses_max: 1}
  - {id: last, reference: g, pays: {kind: less, amount: 1}}
""",
    )
    rides = ("08:00 board bus", "09:00 board bus", "10:00 board tram")
    assert charged(book, *rides) == [
        "bus_ride 2.00, a_fen -0.01",
        "bus_ride 2.00, last -1.00",
        "tram_ride 3.00, all_of_it -1.00",
    ]


def test_a_bridge_is_between_its_two_ends_either_way(tmp_path):
    book = town(
        tmp_path,
        "surcharges: [{id: bridge, reference: s, between_stops: [b, c], amount: 1}]",
    )
    tolled = {
        from_stop + to_stop
        for from_stop in "abc"
        for to_stop in "abc"
        if "bridge" in fare(book, from_stop, to_stop)
    }
    assert tolled == {"bc", "cb"}
    assert charged(book, "08:00 board bus b") == ["bus_ride 2.00"]


THROUGH = "fare_leg_join_rules: [{id: through, reference: j, window_minutes: 30}]\n"
CHANGE = """
fare_transfer_rules:
  - {id: change, reference: t, window_minutes: 30, pays: {kind: less, amount: 1}}
"""


def test_a_journey_of_several_legs_has_an_offer_once(tmp_path):
    gift = """
promotions:
  - {id: gift, reference: g, pays: {kind: percent, percent: 50, rounding: {mode: up}}, uses_max: 2}
"""
    book = town(tmp_path, THROUGH + gift)
    journey = ("08:00 board bus", "08:10 enter metro a", "08:30 exit metro c", "08:40 board tram")
    assert charged(book, *journey, "10:00 board bus", "12:00 board bus") == [
        "bus_ride 2.00, gift -1.00",
        "metro_ride 4.00, through -2.00, gift -1.00",
        "tram_ride 3.00, through -3.00",
        "bus_ride 2.00, gift -1.00",
        "bus_ride 2.00",
    ]
    book = town(tmp_path, THROUGH + gift.replace("uses_max: 2", "uses_max: 1"))
    assert charged(book, *journey[:3], "10:00 board bus") == [
        "bus_ride 2.00, gift -1.00",
        "metro_ride 4.00, through -2.00, gift -1.00",
        "bus_ride 2.00",
    ]
    # A change is another ride, and another use.
    book = town(tmp_path, CHANGE + gift)
    assert charged(book, "08:00 board bus", "08:10 board tram", "10:00 board bus") == [
        "bus_ride 2.00, gift -1.00",
        "tram_ride 3.00, change -1.00, gift -1.00",
        "bus_ride 2.00",
    ]


def test_what_a_journey_has_cost_so_far_sets_no_rate_for_its_other_legs(tmp_path):
    tier = """
fare_tiers:
  - {id: tier, reference: m, period: {kind: month}, rounding: {mode: up},
     steps: [{from: 1, percent: 60}, {from: 2, percent: 50}]}
"""
    book = town(tmp_path, THROUGH + tier)
    journey = ("08:00 board bus", "08:05 board tram", "08:10 enter metro a", "08:20 exit metro c")
    assert charged(book, *journey, "10:00 board bus") == [
        "bus_ride 2.00",
        "tram_ride 3.00, through -2.00",
        "metro_ride 4.00, through -3.00",
        "bus_ride 2.00, tier -1.00",
    ]
    # A rate that was reached before the journey holds for all of it.
    assert charged(book, "07:00 board bus", *journey)[1:] == [
        "bus_ride 2.00, tier -1.00",
        "tram_ride 3.00, through -2.00, tier -0.50",
        "metro_ride 4.00, through -3.00, tier -0.50",
    ]
    # A leg that is only cheaper after another is paid by itself.
    book = town(tmp_path, CHANGE + tier)
    assert charged(book, "08:00 board bus", "08:10 board tram")[-1] == (
        "tram_ride 3.00, change -1.00, tier -1.00"
    )


def test_a_rate_by_rides_is_the_same_for_all_legs_of_a_ride(tmp_path):
    tier = """
fare_tiers:
  - {id: tier, reference: m, period: {kind: month}, steps: [{after_rides: 1, percent: 50}],
     rounding: {mode: up}}
"""
    later = "tram_ride 3.00, change -1.00, tier -1.00"
    for rules, second in ((CHANGE, "tram_ride 3.00, change -1.00"), (THROUGH, "tram_ride 3.00")):
        book = town(tmp_path, rules + tier)
        assert charged(book, "08:00 board bus", "08:10 board tram")[-1].startswith(second)
        assert "tier" not in charged(book, "08:00 board bus", "08:10 board tram")[-1]
    book = town(tmp_path, CHANGE + tier.replace("rounding", "counts_transfers: true, rounding"))
    assert charged(book, "08:00 board bus", "08:10 board tram")[-1] == later


def test_a_leg_without_an_end_is_charged_by_the_clause_for_it(tmp_path):
    caps = """
fare_caps:
  - {id: inner, reference: k.1, period: {kind: service_day}, amount: 14, counts: before_caps,
     incomplete_legs: true}
  - {id: outer, reference: k.2, period: {kind: service_day}, amount: 20, counts: before_caps,
     incomplete_legs: true, networks: [metro, tram]}
"""
    book = town(tmp_path, caps)
    folded = ridden(book, "08:00 exit metro a", "09:00 exit metro a")
    _, second = folded.charges.values()
    assert second.quote.product_id == "no_end"
    assert [line.reference for line in second.quote.lines] == ["i", "k.1"]
    # 9 and 9 were due before the caps.
    assert folded.state.windows["outer"].spent_fen == 1800


def test_each_part_of_a_journey_answers_to_the_rule_that_joins_it(tmp_path):
    book = town(tmp_path, THROUGH)
    _, second = ridden(book, "08:00 board bus", "08:10 board tram").charges.values()
    assert [line.reference for line in second.quote.lines] == ["p", "j"]


def test_the_hours_of_a_service_day_go_on_after_midnight(tmp_path):
    book = town(
        tmp_path,
        """
timeframes: [{id: late, day: service, periods: [{start: "25:00", end: "26:00", days: [mon]}]}]
surcharges: [{id: night, reference: s, from_timeframes: [late], amount: 1}]
""",
    )
    clocks = ("24:30", "24:59:59", "25:00", "25:59:59", "26:00", "01-06 25:30")
    rides = [charged(book, f"{clock} board bus")[0] for clock in clocks]
    assert ["night" in lines for lines in rides] == [False, False, True, True, False, False]


def test_a_share_of_the_fare_is_added_up_to_its_most(tmp_path):
    share = "surcharges: [{id: share, reference: s, percent: 50, maximum: 1.20}]"
    book = town(tmp_path, share)
    assert charged(book, "08:00 board bus", "09:00 board tram") == [
        "bus_ride 2.00, share 1.00",
        "tram_ride 3.00, share 1.20",
    ]


def test_all_that_sponsors_pay_of_a_leg_counts_together(tmp_path):
    book = town(
        tmp_path,
        """
concessions: [{id: card, reference: c, pays: {kind: less, amount: 0.50}, borne_by: bank}]
promotions: [{id: gift, reference: g, pays: {kind: less, amount: 0.50}, borne_by: bank}]
fare_caps:
  - {id: cap, reference: k, period: {kind: service_day}, amount: 5, counts: paid_by_all}
""",
    )
    assert charged(book, "08:00 board bus", "09:00 board bus", "10:00 board tram")[-1] == (
        "tram_ride 3.00, card -0.50 by bank, cap -1.50, gift -0.50 by bank"
    )


BY_METRE = """
fare_products:
  - {id: bus_ride, reference: p, pricing: {kind: flat, amount: 2}}
  - {id: tram_ride, reference: p, pricing: {kind: flat, amount: 3}}
  - {id: metro_ride, reference: p, pricing: {kind: per_km, rate: 1, rounding: {mode: down}}}
"""


def test_a_dearer_ride_may_take_longer(tmp_path):
    network = """
networks:
  - id: metro
    taps: enter_exit
    links: links.csv
    reference: n
    journey_time:
      minutes: 30
      by_zones: [{zones: 3, minutes: 20}]
      by_fare: [{up_to: 3, minutes: 60}, {up_to: 5, minutes: 90}]
  - {id: bus, taps: board, reference: n}
  - {id: tram, taps: board, reference: n}
"""
    book = town(tmp_path, network + BY_METRE)

    def is_in_time(way_out: str, to_stop: str = "c", metres: str = "") -> bool:
        said = ("08:00 enter metro a", f"{way_out} exit metro {to_stop} {metres}")
        return not charged(book, *said)[0].startswith("no_end")

    assert is_in_time("09:00")
    assert not is_in_time("09:01")
    assert is_in_time("09:30", metres="metres=4000")
    assert is_in_time("09:30", metres="metres=5000")
    assert is_in_time("08:30", metres="metres=6000")
    assert not is_in_time("08:31", metres="metres=6000")
    # How far the pier is nobody knows, and so not how long one may take.
    assert not is_in_time("08:31", "pier")
    # Where the zones say it, the fare does not.
    said = ("08:00 enter metro d", "08:21 exit metro d metres=4000")
    assert charged(book, *said) == ["no_end 9.00", "no_end 9.00"]


def test_a_measured_ride_is_held_against_the_old_fare_by_zones(tmp_path):
    zones = "kind: zones, fares: [{zones: 1-2, amount: 2}, {zones: 1-3, amount: 4}]"
    town(tmp_path, BY_METRE.replace("kind: per_km, rate: 1, rounding: {mode: down}", zones))
    rules = "never_dearer_than: 2026-01-01\n"
    book = town(tmp_path, rules + BY_METRE, effective="2026-01-05")

    def costs(to_stop: str) -> str:
        return charged(book, "08:00 enter metro a", f"08:30 exit metro {to_stop} metres=7000")[0]

    assert costs("c") == "metro_ride 7.00, never_dearer_than -5.00"
    assert costs("d") == "metro_ride 7.00, never_dearer_than -3.00"
    # The old notice had no fare to where no zone is.
    assert costs("pier") == "metro_ride 7.00"


def test_over_time_may_cost_a_share_of_the_fare(tmp_path):
    book = town(
        tmp_path,
        """
networks:
  - {id: metro, taps: enter_exit, links: links.csv, reference: n,
     journey_time: {minutes: 30, over: ride}}
  - {id: bus, taps: board, reference: n}
  - {id: tram, taps: board, reference: n}
surcharges: [{id: late, reference: s.9, over_time: true, percent: 50}]
""",
    )
    (charge,) = ridden(book, "08:00 enter metro a", "08:31 exit metro c").charges.values()
    assert [(line.amount_fen, line.reference) for line in charge.quote.lines] == [
        (400, "p"),
        (200, "s.9"),
    ]


def test_all_that_a_first_leg_is_spared_stays_off(tmp_path):
    layers = """
concessions:
  - {id: one, reference: c, first_leg: true, pays: {kind: less, amount: 1}}
  - {id: two, reference: c, first_leg: true, layer: 2, pays: {kind: less, amount: 0.50}}
"""
    book = town(tmp_path, THROUGH + layers)
    assert charged(book, "08:00 board bus", "08:10 board tram") == [
        "bus_ride 2.00, one -1.00, two -0.50",
        "tram_ride 3.00, through -2.00",
    ]


def test_a_ride_that_the_card_alone_proves_has_paid_nothing_that_is_known(tmp_path):
    proven = CHANGE.replace("kind: less, amount: 1", "kind: difference").replace(
        "window_minutes", "proven: true, window_minutes"
    )
    book = town(tmp_path, proven)
    assert charged(book, "08:00 board bus proven=1") == ["bus_ride 2.00"]


def test_a_journey_has_so_many_legs_or_so_many_changes_of_one_kind(tmp_path):
    buses = ("08:00 board bus route=1", "08:10 board bus route=2", "08:20 board bus route=2")
    for term, joined in (
        ("legs_max: 2", [False, True, False]),
        ("times_max: 1", [False, True, False]),
        ("different_route: true", [False, True, False]),
        ("legs_max: 3", [False, True, True]),
    ):
        book = town(tmp_path, THROUGH.replace("window_minutes: 30", f"window_minutes: 30, {term}"))
        assert ["through" in lines for lines in charged(book, *buses)] == joined


@pytest.mark.parametrize("order", ["", "order: [concessions, tiers, caps, transfers, promotions]"])
@pytest.mark.parametrize(
    "counted",
    [
        """
fare_tiers:
  - {id: less, reference: m, period: {kind: month}, rounding: {mode: down},
     steps: [{after_rides: 1, percent: 0}]}
""",
        "fare_caps: [{id: less, reference: k, period: {kind: month}, rides: 1}]",
    ],
)
def test_a_change_is_the_same_ride_whichever_step_comes_first(tmp_path, order, counted):
    book = town(tmp_path, f"{order}\n{CHANGE}\n{counted}")
    assert charged(book, "08:00 board bus", "08:10 board tram", "10:00 board bus") == [
        "bus_ride 2.00",
        "tram_ride 3.00, change -1.00",
        "bus_ride 2.00, less -2.00",
    ]


def test_rides_that_look_back_to_one_ride_are_of_one_chain(tmp_path):
    def trams(terms: str) -> list[str]:
        book = town(
            tmp_path,
            f"""
fare_transfer_rules:
  - {{id: change, reference: t, from: {{networks: [bus]}}, to: {{networks: [tram]}},
     window_minutes: 60, others_between: true, {terms}}}
""",
        )
        routes = [f"08:{minute} board tram route={minute}" for minute in (10, 20, 30)]
        return charged(book, "08:00 board bus", *routes, "08:40 board tram route=10")[1:]

    whole, less = "tram_ride 3.00", "tram_ride 3.00, change -1.00"
    one_less = "pays: {kind: less, amount: 1}"
    assert trams(one_less) == [less, less, less, less]
    assert trams(f"{one_less}, transfers_max: 1") == [less, whole, whole, whole]
    assert trams(f"{one_less}, transfers_max: 2") == [less, less, whole, whole]
    assert trams(f"{one_less}, no_route_twice: true") == [less, less, less, whole]
    # What the first tram cost is paid for the second one, too.
    paid = ["tram_ride 3.00, change -2.00", *["tram_ride 3.00, change -3.00"] * 3]
    assert trams("pays: {kind: difference}") == paid


def test_a_surcharge_outside_caps_is_no_credit_for_a_dearer_ride(tmp_path):
    """One from the airport pays for the change what anybody else does."""
    credit = CHANGE.replace("kind: less, amount: 1", "kind: difference")
    for in_caps, change in (("false", "change -2.00"), ("true", "change -3.00")):
        toll = (
            f"surcharges: [{{id: t, reference: s, networks: [bus], amount: 5, in_caps: {in_caps}}}]"
        )
        book = town(tmp_path, f"{credit}\n{toll}")
        assert charged(book, "08:00 board bus", "08:10 board tram") == [
            "bus_ride 2.00, t 5.00",
            f"tram_ride 3.00, {change}",
        ]


@pytest.mark.parametrize(
    ("order", "second", "third"),
    [
        (
            "concessions, transfers",
            "tram_ride 3.00, half -0.50 by bank, change -1.00, change -1.00",
            "bus_ride 2.00, change -1.00, change -1.00",
        ),
        (
            "transfers, concessions",
            "tram_ride 3.00, change -2.00, half -0.50 by bank",
            "bus_ride 2.00, change -2.00",
        ),
    ],
)
def test_a_sponsor_bears_its_part_of_a_difference_once(tmp_path, order, second, third):
    """Half of the dearest ride in all, as its rider; the operators have that ride's fare in all."""
    credit = CHANGE.replace("kind: less, amount: 1", "kind: difference")
    half = f"""
order: [{order}, tiers, caps, promotions]
concessions:
  - {{id: half, reference: c, borne_by: bank,
     pays: {{kind: percent, percent: 50, rounding: {{mode: up}}}}}}
"""
    book = town(tmp_path, f"{credit}\n{half}")
    assert charged(book, "08:00 board bus", "08:10 board tram", "08:20 board bus") == [
        "bus_ride 2.00, half -1.00 by bank",
        second,
        third,
    ]
