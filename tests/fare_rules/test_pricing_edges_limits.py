"""Tiers, caps, offers and subsidies at their edges: the last fen, the last ride, the last day."""

import sys
from pathlib import Path

import pytest

# Test files are imported by path, so their helpers have to be found by name.
sys.path.insert(0, str(Path(__file__).parent))

from test_pricing_edges import charged, ridden, town

from fare_rules.subsidies import subsidies_due


def last(book, *said: str) -> str:
    """What the last of some rides is made of, without its full fare."""
    _, _, rest = charged(book, *said)[-1].partition(", ")
    return rest


def buses(count: int, *, day: str = "01-05", first_hour: int = 8) -> list[str]:
    return [f"{day} {hour:02}:00 board bus" for hour in range(first_hour, first_hour + count)]


def tiers(folder: Path, steps: str, terms: str = "reading: per_trip", bus: str = "2"):
    return town(
        folder,
        f"""
fare_products:
  - {{id: bus_ride, reference: p, pricing: {{kind: flat, amount: {bus}}}}}
  - {{id: tram_ride, reference: p, pricing: {{kind: flat, amount: 3}}}}
  - {{id: metro_ride, reference: p, pricing: {{kind: flat, amount: 4}}}}
fare_tiers:
  - {{id: tier, reference: m.1, period: {{kind: month}}, rounding: {{mode: down}},
     steps: [{steps}], {terms}}}
""",
    )


@pytest.mark.parametrize(
    ("step", "rides_before"),
    [("{from: 4, percent: 50}", 2), ("{above: 4, percent: 50}", 3), ("{from: 3, percent: 50}", 2)],
)
def test_a_rate_is_reached_with_the_amount_or_above_it(tmp_path, step, rides_before):
    book = tiers(tmp_path, step)
    assert last(book, *buses(rides_before)) == ""
    assert last(book, *buses(rides_before + 1)) == "tier -1.00"


def test_a_rate_after_some_rides_is_for_the_next(tmp_path):
    book = tiers(tmp_path, "{after_rides: 2, percent: 50}", "reading: split")
    assert [last(book, *buses(count)) for count in (2, 3)] == ["", "tier -1.00"]


def test_a_rate_rounds_what_is_paid(tmp_path):
    book = tiers(tmp_path, "{from: 0, percent: 50.5}", bus="2.01")
    # 1.01505
    assert charged(book, *buses(1)) == ["bus_ride 2.01, tier -1.00"]


@pytest.mark.parametrize(
    ("counts", "off"),
    [
        # 4 whole; at half, 4 bring what is paid from 4 to 6; the last 2 cost a fifth.
        ("paid", "tier -3.60"),
        ("paid_by_all", "tier -3.60"),
        # 4 whole, 2 at half, 4 at a fifth.
        ("full_fare", "tier -4.20"),
    ],
)
def test_the_parts_of_a_fare_fall_into_tiers_by_what_counts(tmp_path, counts, off):
    steps = "{above: 4, percent: 50}, {above: 6, percent: 20}"
    book = tiers(tmp_path, steps, f"reading: split, counts: {counts}", bus="10")
    assert last(book, *buses(1)) == off
    # All of the next one costs a fifth: it begins at the edge of the last tier, or beyond it.
    assert last(book, *buses(2)) == "tier -8.00"


def test_a_ride_begun_inside_a_tier_goes_on_from_there(tmp_path):
    book = tiers(tmp_path, "{from: 4, percent: 50}, {from: 6, percent: 20}", "reading: split")
    said = buses(6)
    # Paid before each: 0, 2, 4, 5, 6, 6.40.
    assert [last(book, *said[: count + 1]) for count in range(6)] == [
        "",
        "",
        "tier -1.00",
        "tier -1.00",
        "tier -1.60",
        "tier -1.60",
    ]


@pytest.mark.parametrize(
    ("counts", "off"),
    [
        # 4 whole; 4 at half bring 6; 5 at a fifth bring 7; 6.99 at a tenth: 7.699 in all.
        ("paid", "tier -12.30"),
        # 4 whole, 2 at half, 1 at a fifth, 12.99 at a tenth: 6.499 in all.
        ("full_fare", "tier -13.50"),
    ],
)
def test_a_long_ride_goes_through_all_tiers(tmp_path, counts, off):
    steps = "{from: 4, percent: 50}, {from: 6, percent: 20}, {from: 7, percent: 10}"
    book = tiers(tmp_path, steps, f"reading: split, counts: {counts}", bus="19.99")
    assert last(book, *buses(1)) == off


def test_the_first_tier_may_begin_with_the_first_fen(tmp_path):
    book = tiers(tmp_path, "{from: 0, percent: 50}", "reading: split", bus="2.01")
    assert last(book, *buses(1)) == "tier -1.01"


def test_a_tier_in_which_rides_are_free_is_never_left(tmp_path):
    book = tiers(tmp_path, "{from: 3, percent: 0}, {from: 9, percent: 50}", "reading: split")
    assert [last(book, *buses(count)) for count in (1, 2, 3)] == ["", "tier -1.00", "tier -2.00"]


def test_parts_are_rounded_together_to_the_step(tmp_path):
    book = town(
        tmp_path,
        """
fare_tiers:
  - {id: tier, reference: m, period: {kind: month}, reading: split,
     steps: [{from: 1, percent: 33}], rounding: {mode: up, step: 0.05}}
""",
    )
    assert charged(book, *buses(1)) == ["bus_ride 2.00, tier -0.65"]


def capped(folder: Path, terms: str, more: str = ""):
    return town(folder, f"fare_caps:\n  - {{id: cap, reference: k.1, {terms}}}\n{more}")


DAILY = "period: {kind: service_day}"
SPONSORED = """
promotions:
  - {id: gift, reference: g.1, networks: [bus], pays: {kind: less, amount: 1.50}, borne_by: bank}
"""


@pytest.mark.parametrize(
    ("counts", "off"),
    # Before the tram, three buses: 0.50 each from the rider and 1.50 each from the bank.
    [("paid", ""), ("paid_by_all", "cap -2.00"), ("full_fare", "cap -2.00")],
)
def test_a_cap_counts_what_its_notice_says(tmp_path, counts, off):
    book = capped(tmp_path, f"{DAILY}, amount: 7, counts: {counts}", SPONSORED)
    assert last(book, *buses(3), "12:00 board tram") == off


def test_a_cap_may_count_what_other_caps_have_taken_off(tmp_path):
    inner = "{id: bus_cap, reference: k.2, networks: [bus], period: {kind: service_day}, amount: 3}"
    book = capped(tmp_path, f"{DAILY}, amount: 7, counts: before_caps", f"  - {inner}")
    assert charged(book, *buses(3), "12:00 board tram") == [
        "bus_ride 2.00",
        "bus_ride 2.00, bus_cap -1.00",
        "bus_ride 2.00, bus_cap -2.00",
        "tram_ride 3.00, cap -2.00",
    ]


def test_what_a_sponsor_pays_of_a_cap_stands_on_the_line(tmp_path):
    book = capped(tmp_path, f"{DAILY}, amount: 3, borne_by: bank")
    assert last(book, *buses(2)) == "cap -1.00 by bank"
    assert last(book, *buses(3)) == "cap -2.00 by bank"


CHANGE = """
fare_transfer_rules:
  - {id: change, reference: t.1, to: {networks: [bus]}, window_minutes: 60, pays: {kind: free},
     transfers_max: 1}
"""


@pytest.mark.parametrize(
    ("terms", "off"),
    [
        # Paid, free by transfer, paid, free by transfer; then the tram.
        ("rides: 3", ""),
        ("rides: 2", "cap -3.00"),
        ("rides: 3, counts_transfers: true", ""),
        ("rides: 3, counts_free: true", ""),
        ("rides: 4, counts_transfers: true, counts_free: true", "cap -3.00"),
        ("rides: 5, counts_transfers: true, counts_free: true", ""),
    ],
)
def test_which_rides_count_towards_a_cap_of_rides(tmp_path, terms, off):
    book = capped(tmp_path, f"{DAILY}, {terms}", CHANGE)
    assert last(book, *buses(4), "12:00 board tram") == off


def test_a_change_with_another_ride_between_is_no_ride_of_its_own(tmp_path):
    between = CHANGE.replace(
        "to: {networks: [bus]}", "from: {networks: [bus]}, to: {networks: [bus]}"
    )
    between = between.replace("transfers_max: 1", "others_between: true")
    book = capped(tmp_path, f"{DAILY}, rides: 3", between)
    said = ("08:00 board bus", "08:10 board tram", "08:20 board bus", "12:00 board tram")
    assert charged(book, *said)[-2:] == ["bus_ride 2.00, change -2.00", "tram_ride 3.00"]


def test_a_leg_begun_too_soon_at_the_same_place_does_not_count(tmp_path):
    book = capped(tmp_path, f"{DAILY}, rides: 2, same_place_minutes: 15")

    def third(first: str, second: str) -> str:
        return last(book, first, second, "12:00 board tram")

    assert third("08:00 board bus vehicle=1", "08:14:59 board bus vehicle=1") == ""
    assert third("08:00 board bus vehicle=1", "08:15 board bus vehicle=1") == "cap -3.00"
    assert third("08:00 board bus vehicle=1", "08:05 board bus vehicle=2") == "cap -3.00"
    assert third("08:00 board bus pier", "08:05 board tram pier") == "cap -3.00"
    # Nobody knows where these two began.
    assert third("08:00 board bus", "08:05 board bus") == "cap -3.00"


def test_a_leg_begun_too_soon_has_no_part_in_the_cap_it_follows(tmp_path):
    book = capped(tmp_path, f"{DAILY}, amount: 3, same_place_minutes: 15")
    said = ("08:00 board bus pier", "08:05 board bus pier", "09:00 board bus pier")
    assert charged(book, *said) == ["bus_ride 2.00", "bus_ride 2.00", "bus_ride 2.00, cap -1.00"]


BY_ZONES = "by_zones: [{zones: 1, amount: 5}, {zones: 1-2, amount: 7}]"


def test_a_cap_by_zones_is_of_the_widest_that_is_known(tmp_path):
    book = capped(tmp_path, f"{DAILY}, {BY_ZONES}")
    one = ("07:00 enter metro a", "07:20 exit metro b")
    two = ("09:00 enter metro b", "09:20 exit metro c")
    assert last(book, *one, "07:30 enter metro a", "07:40 exit metro b") == "cap -3.00"
    assert last(book, *one, *two) == "cap -1.00"
    # A bus without stop has no zone of its own, and no limit before a zone is known.
    assert last(book, "07:00 board bus", "07:10 board bus", "07:20 board bus") == ""
    assert last(book, "07:00 board bus", "07:10 board bus", "08:00 board bus a") == "cap -1.00"
    assert last(book, *one, "08:00 board bus") == "cap -1.00"
    # No run holds zone 3, so nothing is capped any more.
    assert last(book, *one, *two, "10:00 enter metro c", "10:30 exit metro d") == ""


@pytest.mark.parametrize(("terms", "off"), [("incomplete_legs: true", "cap -4.00"), ("", "")])
def test_legs_without_an_end_are_in_a_cap_that_says_so(tmp_path, terms, off):
    book = capped(tmp_path, f"{DAILY}, amount: 14, counts: before_caps, {terms}")
    said = ("08:00 exit metro a", "09:00 exit metro a")
    assert charged(book, *said)[-1] == ("no_end 9.00, cap -4.00" if terms else "no_end 9.00")
    assert last(book, *said, "10:00 board tram") == ("cap -3.00" if off else "")


def test_legs_without_an_end_count_with_their_full_fare(tmp_path):
    terms = "amount: 20, counts: full_fare, incomplete_legs: true"
    book = capped(tmp_path, f"{DAILY}, {terms}")
    assert last(book, "08:00 exit metro a", "09:00 exit metro a", "10:00 board tram") == "cap -1.00"


def test_a_cap_that_a_leg_is_not_in_does_not_hide_the_next_one(tmp_path):
    more = """  - {id: all_legs, reference: k.2, period: {kind: service_day}, amount: 10,
     incomplete_legs: true}
"""
    book = capped(tmp_path, f"{DAILY}, amount: 4", more)
    said = ("08:00 exit metro a", "09:00 board bus", "10:00 board tram")
    assert charged(book, *said) == [
        "no_end 9.00",
        "bus_ride 2.00, all_legs -1.00",
        "tram_ride 3.00, all_legs -3.00",
    ]


@pytest.mark.parametrize(
    ("period", "same", "new"),
    [
        ("kind: service_day", "01-05 27:59", "01-06 04:00"),
        # The fifth is a Monday.
        ("kind: week", "01-11 12:00", "01-12 12:00"),
        ("kind: week, starts_on: sun", "01-10 12:00", "01-11 12:00"),
        ("kind: week, starts_on: tue", "01-05 13:00", "01-06 12:00"),
        ("kind: month", "01-31 12:00", "02-01 12:00"),
        ("kind: rolling, days: 2, minutes: 90", "01-07 09:29:59", "01-07 09:30"),
        ("kind: rolling, service_days: 2", "01-06 27:59", "01-07 04:00"),
    ],
)
def test_a_cap_begins_anew_with_its_period(tmp_path, period, same, new):
    book = capped(tmp_path, f"period: {{{period}}}, amount: 3")
    assert last(book, "08:00 board bus", f"{same} board bus") == "cap -1.00"
    assert last(book, "08:00 board bus", f"{new} board bus") == ""
    assert last(book, "08:00 board bus", f"{new} board bus", f"{new} board bus") == "cap -1.00"


def test_an_earlier_day_of_the_month_is_in_the_same_month(tmp_path):
    book = capped(tmp_path, "period: {kind: month}, amount: 3")
    assert last(book, "02-01 08:00 board bus", "02-28 08:00 board bus") == "cap -1.00"


def test_a_week_ends_on_the_day_before_it_starts(tmp_path):
    book = capped(tmp_path, "period: {kind: week, starts_on: tue}, amount: 3")
    assert last(book, "01-04 08:00 board bus", "01-05 08:00 board bus") == "cap -1.00"


def offers(folder: Path, terms: str):
    gift = f"{{id: gift, reference: g.1, pays: {{kind: less, amount: 1}}, {terms}}}"
    return town(folder, f"promotions:\n  - {gift}\n")


def given(book, *said: str) -> list[bool]:
    return ["gift" in lines for lines in charged(book, *said)]


def test_a_gift_is_had_so_often_a_service_day(tmp_path):
    book = offers(tmp_path, "uses_per_day: 2")
    night = ["01-05 27:00 board bus", "01-06 04:00 board bus"]
    assert given(book, *buses(3), *night) == [True, True, False, False, True]
    assert given(book, *buses(3), *buses(3, day="01-06")) == [True, True, False] * 2


def test_a_gift_of_one_day_is_had_on_each(tmp_path):
    book = offers(tmp_path, "uses_per_day: 1")
    assert given(book, *buses(2), *buses(2, day="01-06")) == [True, False] * 2
    assert given(offers(tmp_path, "uses_per_day: 3"), *buses(4)) == [True, True, True, False]


def test_a_pass_without_a_coupon_is_had_once(tmp_path):
    book = offers(tmp_path, "days_from_first_use: 1")
    clocks = ("01-05 08:00", "01-06 07:59:59", "01-06 08:00", "01-07 08:00")
    assert given(book, *(f"{clock} board bus" for clock in clocks)) == [True, True, False, False]


@pytest.mark.parametrize(
    ("counted", "last_ride", "too_late"),
    [
        ("days: 1, counted: hours", "01-06 07:59:59", "01-06 08:00"),
        ("days: 2, counted: calendar_days", "01-06 23:59:59", "01-06 24:00"),
        ("days: 1, counted: calendar_months", "01-31 23:59:59", "02-01 00:00"),
        ("days: 2, counted: calendar_months", "02-28 23:59:59", "03-01 00:00"),
    ],
)
def test_a_coupon_lives_from_its_activation_to_its_end(tmp_path, counted, last_ride, too_late):
    book = offers(tmp_path, f"coupon: {{{counted}}}")
    clocks = ("01-05 07:59:59", "01-05 08:00", last_ride, too_late)
    rides = [f"{clock} board bus coupon=01-05T08:00" for clock in clocks]
    assert given(book, *rides) == [False, True, True, False]
    assert given(book, "01-05 09:00 board bus") == [False]


def test_a_pass_begins_anew_with_a_coupon_activated_since(tmp_path):
    book = offers(tmp_path, "coupon: {days: 5}, days_from_first_use: 1")
    first = "01-05 08:00 board bus coupon=01-05T07:00"

    def again(clock: str, coupon: str) -> bool:
        return given(book, first, f"{clock} board bus coupon={coupon}")[-1]

    assert again("01-06 07:59:59", "01-05T07:00")
    assert not again("01-06 08:00", "01-05T07:00")
    assert again("01-06 08:00", "01-06T08:00")
    # The new pass lasts for its own day, from its own first use.
    second = "01-06 09:00 board bus coupon=01-06T08:30"
    later = [f"{clock} board bus coupon=01-06T08:30" for clock in ("01-07 08:59", "01-07 09:00")]
    assert given(book, first, second, *later) == [True, True, True, False]


def test_one_coupon_is_used_so_often(tmp_path):
    book = offers(tmp_path, "coupon: {days: 5, uses: 2}")
    old = [f"{hour:02}:00 board bus coupon=01-05T07:00" for hour in (8, 9, 10)]
    new = [f"{hour:02}:00 board bus coupon=01-05T10:30" for hour in (11, 12, 13)]
    assert given(book, *old, *new) == [True, True, False] * 2
    book = offers(tmp_path, "coupon: {days: 5, uses: 1}")
    assert given(book, *old, *new) == [True, False, False] * 2


SUBSIDY = """
subsidies:
  - {id: back, reference: y, period: {kind: month}, above: 5, percent: 33, maximum: 1.50,
     rounding: {mode: up, step: 0.10}, borne_by: bank}
  - {id: all_back, reference: y, period: {kind: month}, percent: 50,
     rounding: {mode: down}, borne_by: bank}
"""


def test_a_subsidy_is_of_what_was_spent_above_its_threshold(tmp_path):
    book = town(tmp_path, SUBSIDY)
    tariff = book.tariffs[0]
    due = [subsidies_due(ridden(book, *buses(count)).state, tariff) for count in (0, 2, 3, 9)]
    # 33 % of 1.00 is rounded up to tenths; of 13.00 it would be 4.30.
    assert [each["back"] for each in due] == [0, 0, 40, 150]
    assert [each["all_back"] for each in due] == [0, 200, 300, 900]


def test_a_subsidy_may_rise_with_the_rides(tmp_path):
    steps = "steps: [{after_rides: 1, percent: 10}, {after_rides: 2, percent: 50}]"
    book = town(tmp_path, SUBSIDY.replace("percent: 50", steps).replace("down", "up"))
    due = [subsidies_due(ridden(book, *buses(count)).state, book.tariffs[0]) for count in range(4)]
    assert [each["all_back"] for each in due] == [0, 0, 40, 300]


def concession(folder: Path, pays: str, bus: str = "2"):
    return town(
        folder,
        f"""
fare_products:
  - {{id: bus_ride, reference: p, pricing: {{kind: flat, amount: {bus}}}}}
  - {{id: tram_ride, reference: p, pricing: {{kind: flat, amount: 3}}}}
  - {{id: metro_ride, reference: p, pricing: {{kind: flat, amount: 4}}}}
  - {{id: by_zone, reference: p, pricing: {{kind: zones, fares: [{{zones: 1, amount: 1.55}},
     {{zones: 1-2, amount: 9}}]}}}}
concessions:
  - {{id: less, reference: c.1, networks: [metro], pays: {{{pays}}}, borne_by: bank}}
""",
    )


def test_the_fare_of_another_product_is_paid_where_it_is_lower(tmp_path):
    book = concession(
        tmp_path, "kind: product, product: by_zone, percent: 50, rounding: {mode: up, step: 0.10}"
    )
    ride = "08:00 enter metro a"
    assert charged(book, ride, "08:20 exit metro a") == ["metro_ride 4.00, less -3.20 by bank"]
    assert charged(book, ride, "08:20 exit metro c") == ["metro_ride 4.00"]
    # The other product has no fare to where no zone is known.
    assert charged(book, ride, "08:20 exit metro pier") == ["metro_ride 4.00"]


@pytest.mark.parametrize(
    ("formula", "off"),
    [
        # 0.825 is rounded before 0.25 is added.
        ("subtract: 1.50, percent: 33, add: 0.25", "2.93"),
        ("subtract: 4.50, add: 0.25", "3.75"),
        ("add: 0.25", ""),
    ],
)
def test_a_formula_never_makes_a_fare_dearer(tmp_path, formula, off):
    book = concession(tmp_path, f"kind: formula, {formula}, rounding: {{mode: down}}")
    said = ("08:00 enter metro a", "08:20 exit metro c")
    line = f", less -{off} by bank" if off else ""
    assert charged(book, *said) == [f"metro_ride 4.00{line}"]


@pytest.mark.parametrize(
    ("bands", "off"),
    [
        ("{up_to: 4, percent: 50}, {percent: 10}", "2.00"),
        ("{up_to: 3.99, percent: 100}, {percent: 0}", "0.01"),
        ("{up_to: 1, percent: 50}, {up_to: 3, percent: 25}, {percent: 10}", "2.90"),
        ("{up_to: 2, percent: 50.3}, {percent: 100}", "0.99"),
        ("{up_to: 3.99, percent: 0}, {percent: 100}", "3.99"),
    ],
)
def test_each_part_of_a_fare_has_its_percentage(tmp_path, bands, off):
    book = concession(tmp_path, f"kind: bands, bands: [{bands}], rounding: {{mode: up}}")
    said = ("08:00 enter metro a", "08:20 exit metro c")
    assert charged(book, *said) == [f"metro_ride 4.00, less -{off} by bank"]


def test_a_step_sets_how_far_bands_are_rounded(tmp_path):
    pays = "kind: bands, bands: [{percent: 33}], rounding: {mode: down, step: 0.50}"
    book = concession(tmp_path, pays)
    # 1.32 becomes 1.00.
    said = ("08:00 enter metro a", "08:20 exit metro c")
    assert charged(book, *said) == ["metro_ride 4.00, less -3.00 by bank"]


def test_each_line_answers_to_its_own_clause(tmp_path):
    book = town(
        tmp_path,
        """
concessions: [{id: c, reference: c.1, pays: {kind: less, amount: 0.10}}]
fare_transfer_rules:
  - {id: t, reference: t.1, window_minutes: 60, pays: {kind: less, amount: 0.10}}
fare_tiers:
  - {id: m, reference: m.1, period: {kind: month}, steps: [{from: 0, percent: 90}],
     rounding: {mode: up}, borne_by: bank}
fare_caps: [{id: k, reference: k.1, period: {kind: service_day}, amount: 3}]
promotions: [{id: g, reference: g.1, pays: {kind: less, amount: 0.10}, borne_by: bank}]
surcharges: [{id: s, reference: s.1, amount: 0.20}]
""",
    )
    charge = list(ridden(book, *buses(2)).charges.values())[-1]
    lines = {line.rule_id: (line.reference, line.borne_by) for line in charge.quote.lines}
    assert lines == {
        "bus_ride": ("p", None),
        "s": ("s.1", None),
        "c": ("c.1", None),
        "t": ("t.1", None),
        "m": ("m.1", "bank"),
        "k": ("k.1", None),
        "g": ("g.1", "bank"),
    }


def test_the_holder_alone_has_what_comes_after_the_concessions(tmp_path):
    book = town(
        tmp_path,
        """
concessions: [{id: half, reference: c, pays: {kind: percent, percent: 50, rounding: {mode: up}}}]
fare_caps: [{id: cap, reference: k, period: {kind: service_day}, amount: 1.50}]
""",
    )
    said = ("08:00 board bus riders=3", "09:00 board bus riders=3")
    assert charged(book, *said) == [
        "bus_ride 6.00, half -3.00",
        "bus_ride 6.00, half -3.00, cap -0.50",
    ]


def test_an_offer_comes_back_with_the_charge_of_a_ride_that_is_taken_back(tmp_path):
    at_once = "same_stop_exit: [{charge: incomplete, cancelled_by_entry_minutes: 5}]"
    book = town(
        tmp_path,
        f"""
networks: [{{id: metro, taps: enter_exit, journey_time: {{minutes: 90}}, reference: n, {at_once}}}]
fare_leg_rules: [{{id: metro, networks: [metro], product: metro_ride}}]
incomplete_leg_rules: [{{id: i, reference: i, charge: {{kind: product, product: metro_ride}}}}]
promotions: [{{id: gift, reference: g, pays: {{kind: less, amount: 1}}, uses_max: 1}}]
""",
    )
    rides = [f"08:0{minute} {action} metro a" for minute, action in enumerate(("enter", "exit"))]
    again = (
        "08:03 enter metro a",
        "08:20 exit metro c",
        "09:00 enter metro a",
        "09:20 exit metro c",
    )
    assert charged(book, *rides, *again) == ["metro_ride 4.00, gift -1.00", "metro_ride 4.00"]
