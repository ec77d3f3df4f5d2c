"""The difference between two days is what is posted, and all that is posted balances."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from fare_rules import Charge, Fen, QuoteLine, quote_of
from gateway.core.ledger import POSTINGS_MAX, JournalEntry, Posting, changes, rider_postings
from gateway.core.wallets import Wallet

NOON = datetime(2018, 9, 1, 4, tzinfo=UTC)


def priced(told: dict[str, int]) -> dict:
    """Charges from `{"1 bus": 200}`: tap, product, fen."""
    found = {}
    for name, fen in told.items():
        number, product = name.split()
        quote = quote_of((QuoteLine(product, Fen(fen), "h.1"),), product)
        charge = Charge(UUID(int=int(number)), "operator", NOON, NOON.date(), quote)
        found[charge.key] = charge
    return found


@pytest.mark.parametrize(
    ("before", "after", "posted"),
    [
        ({}, {"1 bus": 200}, [(200, 1)]),
        ({}, {"1 bus": 0}, [(0, 1)]),
        ({"1 bus": 200}, {"1 bus": 200}, []),
        ({"1 bus": 200}, {"1 bus": 150}, [(-50, 0)]),
        ({"1 bus": 150}, {"1 bus": 200}, [(50, 0)]),
        ({"1 bus": 200}, {}, [(-200, -1)]),
        ({"1 bus": 0}, {}, [(0, -1)]),
        ({"1 exit": 700}, {"1 ride": 300}, [(-700, -1), (300, 1)]),
        ({"2 exit": 700}, {"1 bus": 200, "2 ride": 300}, [(-700, -1), (200, 1), (300, 1)]),
    ],
)
def test_what_is_posted_is_the_difference_and_money_comes_back_first(before, after, posted):
    found = changes(priced(before), priced(after))
    assert [(change.operator_fen, change.ride_count) for change in found] == posted


@pytest.mark.parametrize(
    ("balance", "owed", "amount", "postings"),
    [
        (500, 0, -200, [("purse", -200)]),
        (100, 0, -200, [("purse", -100), ("debt", -100)]),
        (0, 100, -200, [("purse", 0), ("debt", -200)]),
        (0, 100, 50, [("purse", 0), ("debt", 50)]),
        (0, 100, 150, [("purse", 50), ("debt", 100)]),
        (0, 0, 0, [("purse", 0)]),
    ],
)
def test_the_riders_side_is_the_purse_and_then_the_debt(balance, owed, amount, postings):
    wallet = Wallet(UUID(int=1), balance_fen=balance, owed_fen=owed)
    found = rider_postings(wallet, wallet.moved(amount))
    assert [(side.account, side.amount_fen) for side in found] == postings
    assert sum(side.amount_fen for side in found) == amount


def entry(*amounts: int) -> JournalEntry:
    sides = tuple(Posting(f"account {n}", amount) for n, amount in enumerate(amounts))
    one = UUID(int=1)
    return JournalEntry("fare", one, one, 1, NOON, date(2018, 9, 1), date(2018, 9, 1), sides)


@pytest.mark.parametrize("amounts", [(1, -2), (0,), (), (*[1] * POSTINGS_MAX, -POSTINGS_MAX)])
def test_an_entry_that_does_not_balance_cannot_be_made(amounts):
    with pytest.raises(AssertionError):
        entry(*amounts)


def test_the_operators_part_is_what_its_account_gains():
    sides = (Posting("purse", -200), Posting("debt", -50), Posting("operator:bus", 250))
    one = UUID(int=1)
    day = date(2018, 9, 1)
    assert JournalEntry("fare", one, one, 1, NOON, day, day, sides).operator_fen == 250
