"""How many decimals a currency has."""

from babel.numbers import list_currencies

# Source: ISO 4217, list one: the currencies in force whose minor unit is not a hundredth. Unicode's
# CLDR has no decimals where shops use none, as in Serbia; banks, who pay the operators, do.
_NOT_HUNDREDTHS = {
    **dict.fromkeys(["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"], 0),
    **dict.fromkeys(["RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"], 0),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}


def is_currency(code: str) -> bool:
    return code in list_currencies()


def currency_digits(code: str) -> int:
    """Find the decimals of a currency: 2 for CNY, none for KRW; 2 for one that is not known."""
    return _NOT_HUNDREDTHS.get(code, 2)
