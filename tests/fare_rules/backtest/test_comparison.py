"""Quantiles and bars of differences, for any riders."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fare_rules.backtest.comparison import BINS_MAX, Bin, histogram, quantiles

DIFFERENCES = st.dictionaries(st.integers(-50_000, 50_000), st.integers(1, 1000), min_size=1)


@settings(deadline=None)
@given(DIFFERENCES)
def test_the_bars_hold_every_rider_once(differences):
    bins = histogram(differences)
    for one in bins:
        inside = sum(n for fen, n in differences.items() if one.low_fen <= fen <= one.high_fen)
        assert one.riders_count == inside
    assert sum(one.riders_count for one in bins) == sum(differences.values())
    assert [one.low_fen for one in bins[1:]] == [one.high_fen + 1 for one in bins[:-1]]
    assert len(bins) <= 2 * BINS_MAX + 1
    assert Bin(0, 0, differences.get(0, 0)) in bins


@settings(deadline=None)
@given(DIFFERENCES)
def test_a_quantile_is_the_least_difference_that_so_many_do_not_exceed(differences):
    whole = sum(differences.values())
    for percent, fen in quantiles(differences).items():
        assert fen in differences
        at_most = sum(count for other, count in differences.items() if other <= fen)
        below = sum(count for other, count in differences.items() if other < fen)
        assert at_most * 100 >= percent * whole
        assert below * 100 < percent * whole


def test_bars_are_equally_wide_and_the_outermost_hold_what_lies_beyond():
    differences = {-30: 1, -5: 50, 0: 10, 4: 100, 20: 100, 900: 1}
    bins = histogram(differences)
    assert bins[0] == Bin(-30, -23, 1)
    assert Bin(-6, -5, 50) in bins
    assert bins[-1] == Bin(23, 900, 1)


def test_no_riders_have_no_bars():
    assert histogram({}) == []
    assert quantiles({}) == {}
