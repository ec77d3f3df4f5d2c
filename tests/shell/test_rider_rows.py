"""What a wallet remembers of its riders comes back as it was, whatever it is."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from uuid import UUID

import pytest
from msgspec import structs

from fare_rules import Action, RiderState, RideTap
from fare_rules.legs import LegFacts
from fare_rules.periods import Window
from fare_rules.states import (
    Chain,
    ChainLeg,
    Habit,
    JoinedLeg,
    Journey,
    LastTap,
    PastLeg,
    Reentry,
    Uses,
)
from gateway.core.days import RiderToday
from gateway.core.purses import Purse
from gateway.core.wallet_classes import AutoTopUp, Bounds, Spent, Terms
from gateway.core.wallets import Wallet
from gateway.shell.rider_rows import state_bytes, state_from

DAY = date(2018, 9, 3)
NOON = datetime(2018, 9, 3, 12, tzinfo=UTC)
METRO = LegFacts(
    "metro", "harbour_metro", None, "ordinary", "pier", "mill", (), "adult", "card", None, 0, 1,
    None,
)  # fmt: skip
BUS = LegFacts(
    "bus", "buses", "M1", "ordinary", None, None, (), "adult", "card", None, 1, 1, None
)  # fmt: skip
UNUSUAL = METRO._replace(
    route_id="1", carriage_class="business", via_stops=("dock",), issuer_id="bank",
    missing="exit", is_joined=True,
)  # fmt: skip


def minutes(count: int) -> datetime:
    return NOON + timedelta(minutes=count)


def past(number: int, place: str | None, *legs: ChainLeg, tariff: str = "harbour") -> PastLeg:
    return PastLeg(UUID(int=number), tariff, place, Chain(legs, 200 * number, len(legs) - 1))


RIDE = ChainLeg(METRO, minutes(0), minutes(20))
BOARDING = ChainLeg(BUS, minutes(30), minutes(30))
BUSINESS = ChainLeg(UNUSUAL, minutes(40), minutes(55))
TRAILS = {
    "nothing": (),
    "one_leg": (past(1, "pier", RIDE),),
    "a_vehicle_for_a_place": (past(1, "vehicle-7", BOARDING),),
    "no_place": (past(1, None, BOARDING),),
    "a_chain_that_grows": (
        past(1, "pier", RIDE),
        past(1, "M1", RIDE, BOARDING),
        past(1, "pier", RIDE, BOARDING, BUSINESS),
    ),
    "a_chain_whose_beginning_is_forgotten": (past(1, "M1", RIDE, BOARDING),),
    "chains_of_two_journeys_and_tariffs": (
        past(1, "pier", RIDE),
        past(2, "M1", BOARDING),
        past(2, "pier", BOARDING, BUSINESS, tariff="harbour/2019"),
    ),
    "a_chain_that_a_sponsor_bears_a_part_of": (
        PastLeg(UUID(int=1), "harbour", "pier", Chain((RIDE,), 200, borne=(("bank", 100),))),
        PastLeg(UUID(int=1), "harbour", "M1", Chain((RIDE, BOARDING), 300, 1, (("bank", 150),))),
    ),
    "a_chain_that_continues_another_leg": (
        past(1, "pier", RIDE),
        past(1, "pier", BOARDING, BUSINESS),
    ),
}
TAP = RideTap(
    UUID(int=9), "pier-in", 9, minutes(60), "card-1", Action.ENTER, "metro", "harbour_metro",
    "adult", "card", "pier",
)  # fmt: skip
LAST_TAP = LastTap(TAP.action, TAP.place, TAP.tapped_at)
JOURNEY = Journey(
    minutes(0), (JoinedLeg(METRO, 900),), 300, 400, 1, ("night",), ("join",), (("city", 50),)
)
EVERYTHING = RiderState(
    open_tap=TAP,
    via_stops=("dock",),
    last_tap=LAST_TAP,
    trail=TRAILS["a_chain_that_grows"],
    journey=JOURNEY,
    windows={"day": Window(DAY, spent_fen=700)},
    uses={"first_ride": Uses(1, minutes(0), DAY, 1, minutes(1), ((minutes(1), 1),), UUID(int=1))},
    habits=(Habit("metro", "pier", "mill", DAY),),
    reentry=Reentry(
        "metro",
        "pier",
        minutes(80),
        ((UUID(int=9), "ride"),),
        TRAILS["one_leg"],
        JOURNEY,
        {},
        {"first_ride": Uses(1, minutes(0), DAY, 1)},
    ),
)


def kept(
    rider: RiderToday,
    wallet_open_until: datetime | None,
    purses: tuple[Purse, ...] = (),
    terms: Terms | None = None,
    spent: Spent | None = None,
    amended_until: datetime | None = None,
) -> None:
    wallet = Wallet(
        UUID(int=1),
        day=DAY,
        riders={"card-1": rider, "card-2": RiderToday(RiderState())},
        opening={"card-1": rider.state},
        swept_until=minutes(-600),
        open_until=wallet_open_until,
        purses=purses,
        terms=terms,
        spent=spent,
        amended_until=amended_until,
    )
    assert state_from(state_bytes(wallet), wallet.open_until) == (
        wallet.day,
        wallet.riders,
        wallet.opening,
        wallet.swept_until,
        purses,
        terms,
        spent,
        amended_until,
    )


@pytest.mark.parametrize("trail", TRAILS.values(), ids=TRAILS)
def test_past_legs_come_back(trail: tuple[PastLeg, ...]) -> None:
    kept(RiderToday(RiderState(trail=trail)), None)


def test_purses_and_what_was_agreed_come_back():
    envelope = Purse(UUID(int=2), "envelope", "icbc", minutes(0), minutes(9), 500, DAY, 1)
    terms = Terms(
        "class_4", UUID(int=3), Bounds(100, 200, 300, 400), Bounds(None, 1), AutoTopUp(5, 6), DAY
    )
    spent = Spent(DAY, 100, 200, 3, minutes(1))
    kept(RiderToday(RiderState()), None, (envelope,), terms, spent)
    kept(RiderToday(RiderState()), None, (envelope,))
    kept(RiderToday(RiderState()), None, amended_until=minutes(5))


def test_all_that_can_be_remembered_comes_back() -> None:
    usual = structs.astuple(RiderState())
    assert all(
        mine != theirs for mine, theirs in zip(structs.astuple(EVERYTHING), usual, strict=True)
    )
    kept(RiderToday(EVERYTHING, (TAP.tapped_at, 9), minutes(240)), minutes(240))


@pytest.mark.parametrize("newest_at", [TAP.tapped_at, minutes(61)])
@pytest.mark.parametrize("open_until", [None, minutes(240)])
@pytest.mark.parametrize("wallet_open_until", [None, minutes(240), minutes(180)])
def test_instants_come_back_whether_said_once_or_twice(
    newest_at: datetime, open_until: datetime | None, wallet_open_until: datetime | None
) -> None:
    kept(RiderToday(EVERYTHING, (newest_at, 9), open_until), wallet_open_until)


def shared_count(first: bytes, second: bytes) -> int:
    pairs = zip(first, second, strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))


def test_a_past_leg_is_written_to_the_log_once() -> None:
    before = RiderState(trail=TRAILS["one_leg"])
    after = RiderState(trail=(*before.trail, past(2, "M1", BOARDING)))
    old, new = (
        state_bytes(Wallet(UUID(int=1), day=DAY, riders={"card-1": RiderToday(state)}))
        for state in (before, after)
    )
    # The database logs what lies between the first and the last byte that differ.
    first, last = shared_count(old, new), shared_count(old[::-1], new[::-1])
    logged = new[first : len(new) - last]
    assert b"buses" in logged
    assert b"harbour_metro" not in logged
