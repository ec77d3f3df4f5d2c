"""Who is due what of a ride that several carried; what clearing costs; and what sponsors owe."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from uuid import NAMESPACE_OID, UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from fare_rules.language.clearing import Agreement, Clearing, Fee, Weight
from fare_rules.language.scalars import Money, Percent
from fare_rules.quotes import sponsored_by
from gateway.core.clearing import FeeLine, fees, largest_remainder, share
from gateway.core.invoices import (
    InstitutionTotal,
    InvoiceItem,
    SponsoredLine,
    invoices,
)
from gateway.core.settlement import SettledLine

MONDAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 4, tzinfo=UTC)
THREE = {"a": 1, "b": 1, "c": 1}


def leg(
    number: int,
    operator_id: str,
    amount_fen: int,
    *,
    journey: int = 1,
    own: int = 0,
    metres: int = 0,
    change: int = 0,
    rides: int = 1,
    day: date = MONDAY,
    entry: int = 0,
    product: str = "ride",
) -> SettledLine:
    tap_id = UUID(int=100 * journey + number)
    return SettledLine(
        uuid5(NAMESPACE_OID, f"{tap_id} {entry}"), "fare", tap_id, tap_id, operator_id, product,
        MONDAY, day, NOON + timedelta(minutes=number), NOON + timedelta(hours=entry), rides,
        amount_fen, UUID(int=journey), own, metres, change,
    )  # fmt: skip


def agreed(by: str, **said) -> Clearing:
    return Clearing(agreements=(Agreement(id="one", reference="c.1", by=by, **said),))


def weights(**parts: int) -> tuple[Weight, ...]:
    return tuple(Weight(operator=name, weight=weight) for name, weight in parts.items())


def moved(lines, clearing, after=None) -> dict[str, int]:
    found: Counter[str] = Counter()
    for line in share(lines, clearing, after):
        found[line.operator_id] += line.amount_fen
    return {name: amount for name, amount in sorted(found.items()) if amount}


@pytest.mark.parametrize(
    ("amount", "table", "parts"),
    [
        (1000, THREE, {"a": 334, "b": 333, "c": 333}),
        (-1000, THREE, {"a": -334, "b": -333, "c": -333}),
        (2, THREE, {"a": 1, "b": 1, "c": 0}),
        (100, {"a": 1, "b": 2}, {"a": 33, "b": 67}),
        (100, {"a": 0, "b": 0}, {"a": 50, "b": 50}),
        (7, {"b": 1, "a": 1}, {"b": 3, "a": 4}),
        (5, {}, {}),
    ],
)
def test_what_is_parted_adds_up_again(amount, table, parts):
    """The first is SET-02."""
    assert largest_remainder(amount, table) == parts


def test_three_operators_share_a_ride_alike():
    """SET-02 at the close: the gate was a's."""
    terms = agreed("table", weights=weights(a=1, b=1, c=1))
    assert moved([leg(1, "a", 1000)], terms) == {"a": -666, "b": 333, "c": 333}


def test_a_through_fare_is_shared_by_what_each_leg_costs_alone():
    """ORCA's own example: a bus of 2.50, a train of 2.75, and 2.75 paid for both.

    Source: https://seattletransitblog.com/2011/06/20/how-orca-fare-revenue-is-apportioned/
    """
    lines = [leg(1, "bus", 250, own=250), leg(2, "train", 25, own=275)]
    # 2.75 x 2.50 / 5.25 is 1.3095, and 2.75 x 2.75 / 5.25 is 1.4405.
    assert moved(lines, agreed("own_fare")) == {"bus": 131 - 250, "train": 144 - 25}


def test_a_through_fare_is_shared_by_kilometres():
    lines = [leg(1, "bus", 200, metres=3_000), leg(2, "metro", 200, metres=9_000)]
    assert moved(lines, agreed("distance")) == {"bus": -100, "metro": 100}


def test_a_journey_of_one_leg_is_not_shared_by_legs():
    assert moved([leg(1, "bus", 200, own=200)], agreed("own_fare")) == {}


def test_the_leg_before_bears_what_the_change_took_off():
    lines = [leg(1, "metro", 400), leg(2, "bus", 160, change=40)]
    assert moved(lines, agreed("bearer", products=("ride",))) == {"bus": 40, "metro": -40}
    after = agreed("bearer", bearers="after")
    assert moved(lines, after) == {}
    table = agreed("bearer", bearers="table", weights=weights(metro=1, city=3))
    assert moved(lines, table) == {"bus": 40, "city": -30, "metro": -10}


def test_the_first_agreement_that_fits_acts():
    terms = Clearing(
        agreements=(
            Agreement(
                id="airport", reference="", by="table", products=("air",), weights=weights(city=1)
            ),
            Agreement(id="rest", reference="", by="own_fare"),
        )
    )
    lines = [
        leg(1, "bus", 200, own=200),
        leg(2, "metro", 100, own=200),
        leg(3, "metro", 900, product="air"),
    ]
    assert moved(lines, terms) == {"bus": -50, "city": 900, "metro": -850}


def test_a_correction_after_the_close_moves_the_difference_only():
    terms = agreed("own_fare")
    first = [leg(1, "bus", 275, own=275), leg(2, "train", 50, own=325)]
    tuesday = MONDAY + timedelta(days=1)
    back = leg(2, "train", -50, own=325, rides=0, day=tuesday, entry=1)
    at_first, later = moved(first, terms), moved([*first, back], terms, after=MONDAY)
    assert later != {}
    both = Counter(at_first)
    both.update(later)
    assert {k: v for k, v in both.items() if v} == moved([*first, back], terms)


@pytest.mark.parametrize("ids", [(1, 2), (2, 1)])
def test_of_two_changes_in_one_batch_the_later_one_says_the_journey(ids):
    """Whatever their ids: the wallet's version counts them."""
    ferry = leg(1, "ferry", 300, journey=1, own=300)
    bus = leg(2, "bus", 60, journey=1, own=100)
    away, back = (
        structs.replace(bus, entry_id=UUID(int=ids[i]), ride_count=0, amount_fen=0,
            journey_id=UUID(int=journey), recorded_at=NOON + timedelta(hours=1), wallet_version=i)
        for i, journey in enumerate((2, 1))
    )  # fmt: skip
    share_alike = agreed("own_fare")
    assert moved([ferry, bus, away, back], share_alike) == {"bus": 30, "ferry": -30}
    assert moved([ferry, bus, away], share_alike) == {}


def test_a_leg_that_did_not_happen_has_no_share():
    gone = leg(2, "train", -50, own=325, rides=-1, entry=1)
    lines = [leg(1, "bus", 275, own=275), leg(2, "train", 50, own=325), gone]
    assert moved(lines, agreed("own_fare")) == {}


LEGS = st.lists(
    st.builds(
        leg,
        st.integers(1, 4),
        st.sampled_from(["a", "b", "c"]),
        st.integers(-500, 2_000),
        journey=st.integers(1, 2),
        own=st.integers(0, 900),
        metres=st.integers(0, 9_000),
        change=st.integers(0, 90),
        rides=st.integers(-1, 1),
        day=st.sampled_from([MONDAY, MONDAY + timedelta(days=1)]),
        entry=st.integers(0, 3),
    ),
    max_size=12,
    unique_by=lambda line: line.entry_id,
)
TERMS = st.sampled_from(
    [
        agreed("own_fare"),
        agreed("distance"),
        agreed("table", weights=weights(a=3, d=5, b=1)),
        agreed("bearer"),
        agreed("bearer", bearers="table", weights=weights(a=1, b=2)),
    ]
)


@given(LEGS, TERMS, st.randoms())
def test_what_is_moved_sums_to_zero_in_any_order_and_over_any_closes(lines, terms, random):
    whole = moved(lines, terms)
    assert sum(whole.values()) == 0
    shuffled = list(lines)
    random.shuffle(shuffled)
    assert moved(shuffled, terms) == whole
    first = [line for line in lines if line.settlement_day == MONDAY]
    both = Counter(moved(first, terms))
    touched = {line.journey_id for line in lines if line.settlement_day > MONDAY}
    later = [line for line in lines if line.journey_id in touched]
    both.update(moved(later, terms, after=MONDAY))
    assert {name: amount for name, amount in sorted(both.items()) if amount} == whole


@given(st.integers(-(10**9), 10**9), st.dictionaries(st.text(max_size=3), st.integers(0, 10**6)))
def test_parts_always_sum_to_the_whole(amount, table):
    parts = largest_remainder(amount, table)
    assert sum(parts.values()) == (amount if table else 0)
    assert all(part * amount >= 0 for part in parts.values())


def test_fees_by_percentage_and_by_ride_within_their_bounds():
    terms = Clearing(
        fees=(
            Fee(id="agent", reference="", paid_to="bank", percent=Percent(30), maximum=Money(500)),
            Fee(id="lines", reference="", paid_to="house", per_ride=Money(1), minimum=Money(50)),
        )
    )
    earned = {"metro": 1_000_000, "bus": 15_000, "ferry": -10, "bank": 7}
    lines = fees(earned, {"metro": 3_000, "bus": 20}, terms)
    assert [(line.operator_id, line.fee_id, line.paid_to, line.amount_fen) for line in lines] == [
        ("bank", "lines", "house", 50),
        ("bus", "agent", "bank", 45),
        ("bus", "lines", "house", 50),
        ("metro", "agent", "bank", 500),
        ("metro", "lines", "house", 3_000),
    ]


def test_a_fee_for_an_institution_looks_at_what_its_wallets_paid():
    terms = Clearing(
        fees=(
            Fee(
                id="wallets", reference="", paid_to="bank", issuers=("bank", "old_bank"),
                percent=Percent(30), per_ride=Money(1), operators=("metro", "bus"),
            ),
        )
    )  # fmt: skip
    institutions = [
        InstitutionTotal("", "metro", 900, 900_000),
        InstitutionTotal("bank", "ferry", 5, 5_000),
        InstitutionTotal("bank", "metro", 100, 40_000),
        InstitutionTotal("old_bank", "metro", 10, 10_000),
    ]
    # 0.3 % of 500.00 and a cent for each of 110 rides; nobody of theirs went by bus.
    earned, rides = {"metro": 990_000, "bus": 80_000}, {"metro": 1_010, "bus": 9}
    found = fees(earned, rides, terms, institutions)
    assert found == [FeeLine("wallets", "metro", "bank", 150 + 110)]


def sponsored(number: int, account: str, amount_fen: int, day: date = MONDAY) -> SponsoredLine:
    entry_id = UUID(int=number)
    return SponsoredLine(
        entry_id, "fare", *sponsored_by(account), day, day, NOON, amount_fen, entry_id
    )


def test_a_sponsor_owes_what_its_campaigns_paid_by_day():
    tuesday = MONDAY + timedelta(days=1)
    lines = [
        sponsored(1, "icbc/one_cent", 499),
        sponsored(2, "icbc/one_cent", 499),
        sponsored(3, "icbc/one_cent", -499, tuesday),
        sponsored(4, "icbc", 100),
        sponsored(5, "abc", 7),
    ]
    abc, icbc = invoices(lines)
    assert (abc.sponsor_id, abc.amount_fen) == ("abc", 7)
    assert icbc.amount_fen == 599
    assert icbc.items == (
        InvoiceItem("", MONDAY, 1, 100),
        InvoiceItem("one_cent", MONDAY, 2, 998),
        InvoiceItem("one_cent", tuesday, 1, -499),
    )
    assert invoices(reversed(lines)) == (abc, icbc)
    assert structs.astuple(icbc.items[0])[0] == ""
