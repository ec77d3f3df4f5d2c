"""Limits of a wallet's class: of a payment, a day and a year, for one wallet and for a family."""

from __future__ import annotations

from datetime import date

import pytest

from fare_rules.language.wallets import OfflineLimits, WalletClass
from gateway.core.wallet_classes import (
    UNBOUND,
    Bounds,
    Spent,
    Terms,
    WalletClasses,
    exceeded,
    in_use,
    joined,
)

NEW_YEARS_EVE, NEW_YEAR = date(2018, 12, 31), date(2019, 1, 1)
BOUNDS = Bounds(single_fen=300, day_fen=500, year_fen=1_000)
SPENT = Spent(NEW_YEARS_EVE, day_fen=250, year_fen=900)


@pytest.mark.parametrize(
    ("day", "fen", "which"),
    [
        (NEW_YEARS_EVE, 100, None),
        (NEW_YEARS_EVE, 101, "year"),
        (NEW_YEARS_EVE, 251, "day"),
        (NEW_YEARS_EVE, 301, "single"),
        (NEW_YEAR, 300, None),
        (NEW_YEAR, 301, "single"),
    ],
)
def test_a_payment_is_held_against_what_was_spent_that_day_and_that_year(day, fen, which):
    assert exceeded(BOUNDS, SPENT, day, fen) == which


def test_a_day_and_a_year_begin_anew():
    assert SPENT.after(NEW_YEARS_EVE, 40) == Spent(NEW_YEARS_EVE, 290, 940)
    assert SPENT.after(NEW_YEAR, 40) == Spent(NEW_YEAR, 40, 40)
    # A late ride of the old year is not of the new one.
    assert Spent(NEW_YEAR, 40, 40).after(NEW_YEARS_EVE, 100) == Spent(NEW_YEAR, 40, 40)


@pytest.mark.parametrize(
    ("mine", "of_child", "together"),
    [
        (None, None, None),
        (SPENT, None, SPENT),
        (None, SPENT, SPENT),
        (SPENT, Spent(NEW_YEARS_EVE, 10, 20, offline_count=3), Spent(NEW_YEARS_EVE, 260, 920)),
        (SPENT, Spent(NEW_YEAR, 10, 20), Spent(NEW_YEAR, 10, 20)),
        (Spent(NEW_YEAR, 10, 20), SPENT, Spent(NEW_YEAR, 10, 20)),
    ],
)
def test_what_a_child_has_spent_is_its_parents_when_it_leaves(mine, of_child, together):
    assert joined(mine, of_child) == together


def test_what_a_parent_has_in_use_is_no_of_child():
    left = Bounds(300, 250, 100, 700)
    assert left.covers(in_use(700, SPENT, NEW_YEAR))
    assert not left.covers(in_use(701, None, NEW_YEAR))
    assert not left.covers(in_use(0, SPENT, NEW_YEARS_EVE))


def test_a_class_that_nobody_knows_is_not_a_class_without_limits():
    classes = WalletClasses.of([WalletClass(id="free", reference="w.1")])
    gone, free = Terms(class_id="gone"), Terms(class_id="free")
    assert classes.bounds(gone, NEW_YEAR) == Bounds(0, 0, 0, 0)
    assert classes.offline(gone, NEW_YEAR) == OfflineLimits(single=0, payments=0)
    for terms in (free, Terms(), None):
        assert classes.bounds(terms, NEW_YEAR) == UNBOUND
        assert classes.offline(terms, NEW_YEAR) == OfflineLimits()
