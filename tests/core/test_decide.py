"""Each outcome, and which of two is reported."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from msgspec import structs

from gateway.core.days import LoadedDays, WalletDay
from gateway.core.decide import Deciding, decide
from gateway.core.posting import settlement_day
from gateway.core.taps import Action, TapOutcome

# From the first that is asked to the last. Each names the change to a good entry at luohu that
# makes it happen, in the fields of a tap.
FAULTS = {
    "unknown_gate": {"gate_id": "nowhere"},
    "card_number": {"media_token": "4111111111111111"},
    "sequence_reused": {"sequence": 1},
    "clock_ahead": {"clock": "12:06"},
    "too_old": {"clock": "11:59", "day": "2018-08-25"},
    "no_tariff": {"gate_id": "monorail"},
    "wrong_action": {"action": Action.BOARD},
    "unknown_stop": {"stop_id": "nowhere"},
    "unknown_route": {"route_id": "nowhere"},
    "unknown_media": {"media_token": "nobody's"},
    "media_blocked": {"media_token": "blocked card"},
    "wallet_blocked": {"media_token": "blocked"},
    "wallet_closed": {"media_token": "closed"},
    "balance_too_low": {"media_token": "poor"},
}
ALSO_LATER = [
    ("unknown_gate", "card_number"),
    ("card_number", "sequence_reused"),
    ("sequence_reused", "clock_ahead"),
    ("clock_ahead", "no_tariff"),
    ("too_old", "no_tariff"),
    ("no_tariff", "wrong_action"),
    ("wrong_action", "unknown_stop"),
    ("unknown_stop", "unknown_route"),
    ("unknown_route", "unknown_media"),
    ("unknown_route", "media_blocked"),
    ("unknown_stop", "wallet_closed"),
]


def entry(desk, *names):
    change: dict = {}
    for name in names:
        change |= FAULTS[name]
    tapped = {"clock": change.pop("clock", "08:00"), "day": change.pop("day", "2018-09-01")}
    return structs.replace(desk.tap("enter", "luohu", **tapped), **change)


def outcome(desk, tap):
    return desk.outcome(
        tap, sequences={(gate, 1): desk.id("earlier") for gate in ("luohu", "laojie")}
    )


@pytest.mark.parametrize("name", FAULTS)
def test_each_refusal_has_its_situation(desk, name):
    assert outcome(desk, entry(desk, name)) == name


@pytest.mark.parametrize(("first", "second"), ALSO_LATER)
def test_of_two_refusals_the_earlier_in_the_list_is_reported(desk, first, second):
    assert list(TapOutcome).index(first) < list(TapOutcome).index(second)
    assert outcome(desk, entry(desk, first, second)) == first


def test_a_blocked_card_goes_before_its_blocked_wallet(desk):
    tap = desk.tap("enter", "luohu", "08:00", media_token="blocked card of blocked")
    assert desk.outcome(tap) == "media_blocked"


def test_a_pass_back_goes_before_an_empty_purse(desk):
    first = desk.tap("enter", "luohu", "08:00:00", media_token="poor", offline=True)
    second = desk.tap("enter", "luohu", "08:00:03", media_token="poor")
    assert [str(one.outcome) for one in desk.decide(first, second).results] == [
        "leg_opened",
        "passed_back",
    ]


def test_an_id_sent_with_other_content_goes_before_every_refusal_that_is_kept(desk):
    first = desk.tap("enter", "luohu", "08:00")
    for name, change in FAULTS.items():
        change = {field: said for field, said in change.items() if field not in ("clock", "day")}
        if change and TapOutcome(name).is_kept:
            result = desk.decide(first, structs.replace(first, **change)).results[1]
            assert (str(result.outcome), result.fault) == ("tap_id_reused", next(iter(change)))


@pytest.mark.parametrize(
    ("clock", "day", "told"),
    [
        ("12:05", "2018-09-01", "leg_opened"),
        ("12:05:01", "2018-09-01", "clock_ahead"),
        ("12:00", "2018-08-25", "leg_opened"),
        ("11:59:59", "2018-08-25", "too_old"),
    ],
)
def test_how_far_a_clock_may_be_off_includes_the_bound(desk, clock, day, told):
    assert desk.outcome(desk.tap("enter", "luohu", clock, day=day)) == told


def test_before_the_first_tariff_there_is_no_price(desk):
    desk.limits = structs.replace(desk.limits, tap_age_max=timedelta(days=60))
    assert desk.outcome(desk.tap("enter", "luohu", "03:59", day="2018-08-01")) == "no_tariff"
    assert desk.outcome(desk.tap("enter", "luohu", "04:00", day="2018-08-01")) == "leg_opened"


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ("alice", "ride_charged"),
        ("blocked", "ride_charged"),
        ("blocked card", "ride_charged"),
        ("closed", "ride_owed"),
        ("poor", "ride_owed"),
        ("unbound", "unknown_media"),
        ("nobody's", "unknown_media"),
    ],
)
@pytest.mark.parametrize(
    ("action", "spot", "offline"), [("exit", "luohu", False), ("board", "M390", True)]
)
def test_whoever_is_inside_already_is_charged_and_not_refused(
    desk, token, told, action, spot, offline
):
    tap = desk.tap(action, spot, "08:00", media_token=token, offline=offline)
    assert desk.outcome(tap) == told


def test_an_exit_opens_even_when_no_rule_can_price_it_and_an_entry_does_not(desk):
    for action, opens in (("exit", True), ("enter", False)):
        result = desk.decide(desk.tap(action, "luohu", "08:00", gate_id="monorail")).results[0]
        assert (str(result.outcome), result.open) == ("no_tariff", opens)
        assert result.outcome.is_quarantined


def test_what_is_not_kept_leaves_no_trace(desk):
    plan = desk.decide(entry(desk, "unknown_gate"), entry(desk, "card_number"))
    assert (plan.kept, plan.entries, plan.wallets) == ((), (), ())


def test_a_refusal_is_kept_but_moves_no_money_and_no_wallet(desk):
    plan = desk.decide(entry(desk, "balance_too_low"))
    (kept,) = plan.kept
    assert str(kept.result.outcome) == "balance_too_low"
    assert kept.result.balance_fen == 100
    assert (plan.entries, plan.wallets) == ((), ())


def test_two_copies_in_one_batch_are_one_tap(desk):
    tap = desk.tap("board", "M390", "08:00")
    plan = desk.decide(tap, tap, tap)
    assert plan.results[0] == plan.results[1] == plan.results[2]
    assert plan.repeats == (1, 2)
    assert len(plan.kept) == len(plan.entries) == 1


def test_a_late_tap_has_only_its_own_riders_taps_answered_again(desk):
    early, late = desk.tap("board", "M390", "09:00"), desk.tap("board", "M506", "08:00")
    of_poor = desk.tap("board", "M390", "08:30", media_token="poor", offline=True)
    taken = structs.replace(of_poor, tap_id=desk.id("taken"), sequence=early.sequence)
    batch = [early, of_poor, late, early, taken]
    deciding = Deciding(batch, desk.snapshot, desk.book, desk.limits)
    for position in deciding.to_answer:
        deciding.answer(position)
    alice, day = desk.id("alice"), early.tapped_at.date()
    assert deciding.lacks == {alice: day}

    nothing_before = LoadedDays(day, (WalletDay(day),))
    known = structs.replace(desk.snapshot, days={alice: nothing_before})
    deciding.again(known)
    assert list(deciding.to_answer) == [0, 2, 3]
    for position in deciding.to_answer:
        deciding.answer(position)
    again, at_once = deciding.plan(), decide(batch, known, desk.book, desk.limits)
    assert [str(one.outcome) for one in again.results] == [
        "ride_charged", "ride_owed", "ride_charged", "ride_charged", "sequence_reused"
    ]  # fmt: skip
    assert (again.results, again.repeats) == (at_once.results, at_once.repeats)
    by_id = [{one.tap.tap_id: one for one in plan.kept} for plan in (again, at_once)]
    assert by_id[0] == by_id[1]
    assert sorted(again.entries, key=repr) == sorted(at_once.entries, key=repr)
    assert {one.wallet_id: one for one in again.wallets} == {
        one.wallet_id: one for one in at_once.wallets
    }


def test_a_tap_refused_for_its_sequence_does_not_take_the_sequence(desk):
    first = desk.tap("board", "M390", "08:00", name="a", sequence=1)
    second = desk.tap("board", "M390", "08:10", name="b", sequence=1)
    third = desk.tap("board", "M506", "08:20", name="c", sequence=1)
    told = [str(one.outcome) for one in desk.decide(first, second, second, third).results]
    assert told == ["ride_charged", "sequence_reused", "sequence_reused", "ride_charged"]


def test_a_ride_names_who_paid_what(desk):
    result = desk.decide(
        desk.tap("board", "M390", "08:00", media_token="poor", offline=True)
    ).results[0]
    assert [(payer.account, payer.amount_fen) for payer in result.payers] == [
        ("purse", 100),
        ("debt", 100),
    ]
    assert (result.fare_fen, result.balance_fen, result.owed_fen) == (200, 0, 100)
    assert result.display_text == "Fare 2.00 Owed 1.00"


@pytest.mark.parametrize(
    ("day", "closed_through", "settled"),
    [(1, None, 1), (1, 31, 1), (2, 1, 2), (1, 1, 2), (1, 4, 5)],
)
def test_an_entry_of_a_closed_day_joins_the_first_day_still_open(day, closed_through, settled):
    through = closed_through and date(2018, 8 if closed_through == 31 else 9, closed_through)
    assert settlement_day(date(2018, 9, day), through) == date(2018, 9, settled)
