"""A journey before it is travelled costs what the gate would charge for it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from fare_rules import Action, Fold, TariffBook, fold, load_book
from fare_rules.ask import Question, ask, asked_taps, question_faults

HARBOUR = Path(__file__).parent / "harbour"
# A Monday, in no timezone: the tariff's own.
MORNING = datetime(2026, 1, 5, 8, 0)  # noqa: DTZ001


@pytest.fixture(scope="module")
def book() -> TariffBook:
    return load_book(HARBOUR)


def question(network: str = "metro", **said: Any) -> Question:
    ends = {"from_stop": "pier", "to_stop": "tower"} if network == "metro" else {}
    return Question(**{"network": network, "at": MORNING, **ends, **said})


def cost(folded: Fold) -> int:
    return sum(charge.rider_fen for charge in folded.charges.values())


@pytest.mark.parametrize(
    ("asked", "actions"),
    [
        (question(), [Action.ENTER, Action.EXIT]),
        (question(via_stops=("market",)), [Action.ENTER, Action.TOUCH, Action.EXIT]),
        (question("bus"), [Action.BOARD]),
        (question("ferry"), [Action.BOARD, Action.ALIGHT]),
    ],
)
def test_the_taps_are_those_of_the_network(
    book: TariffBook, asked: Question, actions: list[Action]
):
    taps = asked_taps(asked, book)
    assert [tap.action for tap in taps] == actions
    assert taps[0].tapped_at == datetime(2026, 1, 5, 0, 0, tzinfo=UTC)


def test_the_answer_is_the_fold_of_the_taps(book: TariffBook):
    asked = question()
    assert ask(book, asked).charges == fold(asked_taps(asked, book), book).charges
    assert ask(HARBOUR, asked).charges == ask(book, asked).charges
    assert cost(ask(book, asked)) == 400


def test_half_an_hour_is_ridden_unless_it_is_said_or_too_long(book: TariffBook):
    first, last = asked_taps(question(), book)
    assert last.tapped_at - first.tapped_at == timedelta(minutes=30)
    first, last = asked_taps(question(minutes=7), book)
    assert last.tapped_at - first.tapped_at == timedelta(minutes=7)
    tariff = book.tariffs[0]
    network = tariff.networks["metro"]
    longest, network.longest = network.longest, timedelta(minutes=20)
    first, last = asked_taps(question(), book)
    network.longest = longest
    assert last.tapped_at - first.tapped_at == timedelta(minutes=20)


def test_the_hour_and_the_rider_count(book: TariffBook):
    early = MORNING.replace(hour=6)
    assert cost(ask(book, question(at=early))) == 320
    assert cost(ask(book, question(at=early.replace(tzinfo=UTC)))) == 400
    assert cost(ask(book, question(rider_category="student"))) == 200
    assert cost(ask(book, question(riders_count=3))) == 1200


def test_what_the_gate_measures_counts(book: TariffBook):
    assert cost(ask(book, question("ferry", distance_m=4000))) == 400
    assert cost(ask(book, question("ferry", distance_m=4001))) == 600


def test_earlier_taps_and_what_is_remembered_count(book: TariffBook):
    ridden = asked_taps(question(minutes=20), book)
    # One rider's taps have ids of their own.
    before = [structs.replace(tap, tap_id=tap.tap_id.__class__(int=7 + i)) for i, tap in
              enumerate(ridden)]  # fmt: skip
    bus = question("bus", at=MORNING + timedelta(minutes=40))
    folded = ask(book, bus, before=before)
    [board] = asked_taps(bus, book)
    [fare] = [charge for charge in folded.charges.values() if charge.tap_id == board.tap_id]
    assert fare.rider_fen == 0
    assert cost(folded) == 400
    state = fold(before, book).state
    assert cost(ask(book, bus, state=state)) == 0


def test_a_journey_without_a_price_is_refused_as_at_the_gate(book: TariffBook):
    assert set(ask(book, question("ferry")).refused.values()) == {"no_distance"}
    assert set(ask(book, question("tram")).refused.values()) == {"unknown_network"}


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"network": "metor"}, "there is no network 'metor' in harbour/2026-01-01; did you mean"),
        ({"to_stop": "towre"}, "no stop 'towre' in harbour/2026-01-01; did you mean tower?"),
        ({"rider_category": "pirate"}, "no rider category 'pirate' in harbour/2026-01-01; it has"),
        ({"fare_media": "cart"}, "no fare media 'cart' in harbour/2026-01-01; did you mean card?"),
        ({"coupons": (("two_cent", MORNING),)}, "no promotion 'two_cent'"),
        ({"at": datetime(2025, 1, 1)}, "no tariff is in force"),  # noqa: DTZ001
    ],
)
def test_unknown_names_are_told_with_those_that_are_known(
    book: TariffBook, said: dict[str, Any], fault: str
):
    [found] = question_faults(question(**said), book)
    assert fault in found


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"riders_count": 0}, "there are 0 riders"),
        ({"minutes": -5}, "no journey takes -5 minutes"),
        ({"minutes": 10**12}, "no journey takes 1000000000000 minutes"),
        ({"at": datetime(9999, 12, 31, tzinfo=UTC)}, "there is no service in the year 9999"),
        ({"at": datetime(1, 1, 1, tzinfo=UTC)}, "there is no service in the year 1"),
    ],
)
def test_what_cannot_be_is_told(book: TariffBook, said: dict[str, Any], fault: str):
    [found] = question_faults(question(**said), book)
    assert found.startswith(fault)


def test_a_question_without_faults_has_none(book: TariffBook):
    assert question_faults(question(via_stops=("market",)), book) == []


def test_a_time_that_the_clocks_skip_is_refused_and_of_one_that_comes_twice_the_first_is_meant():
    london = load_book(HARBOUR.parents[2] / "fare_rules" / "tariffs" / "london")
    asked = structs.replace(question("rail"), at=datetime(2025, 3, 30, 1, 30))  # noqa: DTZ001
    told = "clocks in Europe/London go forward over 2025-03-30 01:30:00;"
    [fault] = question_faults(asked, london)
    assert fault.startswith(told)
    twice = structs.replace(asked, at=datetime(2025, 10, 26, 1, 30))  # noqa: DTZ001
    assert not any(told in fault for fault in question_faults(twice, london))
    assert asked_taps(twice, london)[0].tapped_at == datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
    later = structs.replace(twice, at=datetime(2025, 10, 26, 1, 30, tzinfo=UTC))
    assert asked_taps(later, london)[0].tapped_at == later.at
