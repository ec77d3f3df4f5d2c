import pytest

from fare_rules.money import Fen, Rounding, percent_of, round_hundredths


@pytest.mark.parametrize(
    ("amount", "percent", "expected"),
    [(200, 95, 190), (300, 95, 285), (250, 50, 125), (1, 50, 1), (1, 49, 0), (0, 95, 0)],
)
def test_a_percentage_rounds_half_a_fen_up(amount, percent, expected):
    assert percent_of(Fen(amount), percent) == expected


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [(Rounding.HALF_UP, [1, 1, 2, 2]), (Rounding.UP, [1, 2, 2, 2]), (Rounding.DOWN, [1, 1, 1, 1])],
)
def test_each_rounding_does_as_it_says(rounding, expected):
    assert [round_hundredths(h, rounding) for h in (100, 149, 150, 199)] == expected
