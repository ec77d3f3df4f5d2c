"""How many decimals a currency has."""

from babel.numbers import get_currency_precision, list_currencies


def is_currency(code: str) -> bool:
    return code in list_currencies()


def currency_digits(code: str) -> int:
    """Find the decimals of a currency: 2 for CNY, none for KRW; 2 for one that is not known.

    Source: Unicode CLDR, which follows ISO 4217.
    """
    return int(get_currency_precision(code)) if is_currency(code) else 2
