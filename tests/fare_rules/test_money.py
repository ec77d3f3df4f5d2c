import pytest

from fare_rules.amounts import said
from fare_rules.currency import currency_digits
from fare_rules.money import Rounding, round_parts, share_of


@pytest.mark.parametrize(
    ("amount", "hundredths", "expected"),
    [(200, 9_500, 190), (300, 9_500, 285), (250, 5_000, 125), (1, 5_000, 1), (1, 4_900, 0)],
)
def test_a_percentage_rounds_half_a_fen_up(amount, hundredths, expected):
    assert share_of(amount, hundredths) == expected


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        (Rounding.HALF_UP, [1, 1, 2, 2, 3]),
        (Rounding.HALF_EVEN, [1, 1, 2, 2, 2]),
        (Rounding.UP, [1, 2, 2, 2, 3]),
        (Rounding.DOWN, [1, 1, 1, 1, 2]),
    ],
)
def test_each_rounding_does_as_it_says(rounding, expected):
    assert [round_parts(parts, 100, rounding) for parts in (100, 149, 150, 199, 250)] == expected


@pytest.mark.parametrize(("mode", "fen"), [(Rounding.UP, 140), (Rounding.DOWN, 135)])
def test_a_step_makes_an_amount_a_multiple_of_it(mode, fen):
    assert share_of(275, 5_000, mode, 5) == fen


@pytest.mark.parametrize(
    ("currency", "amount", "text"),
    [
        ("CNY", 290, "2.90"),
        ("CNY", -40, "-0.40"),
        ("KRW", 1300, "1300"),
        ("KWD", 1250, "1.250"),
        ("RSD", 5000, "50.00"),
        ("IQD", 500_000, "500.000"),
    ],
)
def test_an_amount_has_the_decimals_of_its_currency(currency, amount, text):
    assert said(amount, currency_digits(currency)) == text
