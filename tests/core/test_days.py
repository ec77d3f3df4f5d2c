"""A day folded from its taps: a table of what was tapped, and what it comes to."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import permutations

import pytest

from gateway.core.days import WalletDay, fold_days, open_until, swept, take_one

# Taps as (action, spot, clock); then each charge as (clock of the tap it hangs on, product, fen).
DAYS = [
    ("enter and exit", [("enter", "luohu", "08:00"), ("exit", "laojie", "08:20")],
     [("08:20", "metro_ride", 300)]),
    ("exit as late as may be", [("enter", "luohu", "08:00"), ("exit", "laojie", "11:00")],
     [("11:00", "metro_ride", 300)]),
    ("exit too late", [("enter", "luohu", "08:00"), ("exit", "laojie", "11:01")],
     [("08:00", "unclosed_leg", 900), ("11:01", "unmatched_exit", 700)]),
    ("exit alone", [("exit", "laojie", "08:20")], [("08:20", "unmatched_exit", 700)]),
    ("two exits", [("enter", "luohu", "08:00"), ("exit", "laojie", "08:20"),
      ("exit", "laojie", "08:21")],
     [("08:20", "metro_ride", 300), ("08:21", "unmatched_exit", 700)]),
    ("entry alone", [("enter", "luohu", "08:00")], []),
    ("entry, then a bus", [("enter", "luohu", "08:00"), ("board", "M390", "09:00")],
     [("08:00", "unclosed_leg", 900), ("09:00", "bus_ride", 200)]),
    ("entry, then another network's exit",
     [("enter", "luohu", "08:00"), ("alight", "east", "08:30")],
     [("08:00", "unclosed_leg", 900), ("08:30", "unmatched_ferry_exit", 300)]),
    ("bus", [("board", "M390", "08:00")], [("08:00", "bus_ride", 200)]),
    ("change of bus", [("board", "M390", "08:00"), ("board", "M506", "09:00")],
     [("08:00", "bus_ride", 200), ("09:00", "bus_ride", 150)]),
    ("same bus", [("board", "M390", "08:00"), ("board", "M390", "08:30")],
     [("08:00", "bus_ride", 200), ("08:30", "bus_ride", 200)]),
    ("bus, then ferry",
     [("board", "M390", "08:00"), ("board", "east", "08:30"), ("alight", "east", "08:50")],
     [("08:00", "bus_ride", 200), ("08:50", "ferry_ride", 220)]),
    ("double beep",
     [("enter", "luohu", "08:00:00"), ("enter", "luohu", "08:00:05"), ("exit", "laojie", "08:20")],
     [("08:20", "metro_ride", 300)]),
    ("no double beep",
     [("enter", "luohu", "08:00:00"), ("enter", "luohu", "08:00:06"), ("exit", "laojie", "08:20")],
     [("08:00:00", "unclosed_leg", 900), ("08:20", "metro_ride", 300)]),
]  # fmt: skip


DAY = date(2018, 9, 1)
LATER = datetime.max.replace(tzinfo=UTC)


def fold_day(taps, book, *, swept_until=None):
    return fold_days([WalletDay(DAY, tuple(taps))], book, swept_until=swept_until)


def told(desk, taps):
    return [
        desk.facts(action, spot, clock, sequence=n) for n, (action, spot, clock) in enumerate(taps)
    ]


def found(day):
    return sorted(
        (charge.effective_at, charge.quote.product_id, charge.fare_fen)
        for charge in day.charges.values()
    )


@pytest.mark.parametrize(
    ("taps", "charges"), [row[1:] for row in DAYS], ids=[row[0] for row in DAYS]
)
def test_a_day_costs_what_its_taps_say_in_any_order(desk, harbour, taps, charges):
    due = [(desk.at(clock), product, fen) for clock, product, fen in charges]
    for arriving in permutations(told(desk, taps)):
        assert found(fold_day(arriving, harbour)) == due


def take(desk, harbour, taps, *, swept_until=None, day=DAY):
    """Take the newest tap after what is remembered of those before it."""
    *before, newest = taps
    known = fold_day(before, harbour, swept_until=swept_until)
    return take_one(DAY, known.riders, {}, newest, day, harbour, swept_until=swept_until)


@pytest.mark.parametrize("taps", [row[1] for row in DAYS], ids=[row[0] for row in DAYS])
def test_one_more_tap_comes_to_the_same_as_all_of_them(desk, harbour, taps):
    in_order = sorted(told(desk, taps), key=lambda tap: tap.order)
    for count in range(1, len(in_order) + 1):
        moved = take(desk, harbour, in_order[:count])
        before = fold_day(in_order[: count - 1], harbour)
        afresh = fold_day(in_order[:count], harbour)
        assert moved.riders == afresh.riders
        assert before.charges | moved.after == afresh.charges
        assert before.journeys | moved.journeys == afresh.journeys
        assert before.double_beeps | moved.double_beeps == afresh.double_beeps


def test_a_tap_before_the_newest_of_its_card_or_of_an_earlier_day_needs_all_of_them(desk, harbour):
    first, second = told(desk, [("board", "M390", "08:00"), ("board", "M506", "08:30")])
    assert take(desk, harbour, [second, first]) is None
    assert take(desk, harbour, [first, second], day=date(2018, 8, 31)) is None


def test_an_exit_after_its_leg_was_swept_needs_all_of_them_for_that_charge_is_given_back(
    desk, harbour
):
    taps = told(desk, [("enter", "luohu", "08:00"), ("exit", "laojie", "08:20")])
    assert take(desk, harbour, taps, swept_until=desk.at("10:00")) is not None
    assert take(desk, harbour, taps, swept_until=LATER) is None


def test_a_leg_stays_open_until_it_is_swept(desk, harbour):
    taps = told(desk, [("enter", "luohu", "08:00")])
    riders = fold_day(taps, harbour).riders
    assert open_until(riders, None) == desk.at("11:00")
    assert open_until(riders, LATER) is None
    assert [charge.fare_fen for charge in swept(riders, harbour, LATER).values()] == [900]
    assert swept(riders, harbour, desk.at("10:59")) == {}
    over = fold_day(taps, harbour, swept_until=LATER)
    assert found(over) == [(desk.at("08:00"), "unclosed_leg", 900)]


def test_two_cards_of_one_wallet_are_two_riders(desk, harbour):
    enters = desk.facts("enter", "luohu", "08:00")
    exits = desk.facts("exit", "laojie", "08:20", media_token="other")
    assert found(fold_day([enters, exits], harbour, swept_until=LATER)) == [
        (desk.at("08:00"), "unclosed_leg", 900),
        (desk.at("08:20"), "unmatched_exit", 700),
    ]


def test_alighting_from_another_vessel_does_not_close_the_boarding(desk, harbour):
    boards = desk.facts("board", "east", "08:00", vehicle_id="ferry 1")
    alights = desk.facts("alight", "east", "08:20", vehicle_id="ferry 2")
    assert [product for _, product, _ in found(fold_day([boards, alights], harbour))] == [
        "unclosed_ferry_leg",
        "unmatched_ferry_exit",
    ]


def test_legs_with_a_change_between_them_are_one_journey_and_others_are_not(desk, harbour):
    first, second, third = told(
        desk, [("board", "M390", "08:00"), ("board", "M506", "08:30"), ("board", "M506", "08:40")]
    )
    journeys = fold_day([first, second, third], harbour).journeys
    assert journeys[first.tap_id] == journeys[second.tap_id] != journeys[third.tap_id]


def test_a_fare_that_no_rule_can_give_is_named_and_not_charged(desk, harbour):
    tap = desk.facts("board", "M390", "08:00", category="pilot")
    day = fold_day([tap], harbour)
    assert day.charges == {}
    assert str(day.refused[tap.tap_id]) == "unknown_rider_category"
