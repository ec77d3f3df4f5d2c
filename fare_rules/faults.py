"""What can be wrong with a tariff file, said as place, fault and remedy."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec
from msgspec import Struct


class FaultCode(StrEnum):
    """In the order in which a file is examined: its bytes, its shape, its meaning, its book.

    Each is shown with its exact text in tests/tariff_faults/.
    """

    UNREADABLE_FILE = "unreadable_file"
    FILE_TOO_LARGE = "file_too_large"
    NOT_UTF8 = "not_utf8"
    BAD_YAML = "bad_yaml"
    TOO_MANY_VALUES = "too_many_values"
    TOO_DEEP = "too_deep"
    DUPLICATE_KEY = "duplicate_key"

    UNKNOWN_KEY = "unknown_key"
    MISSING_KEY = "missing_key"
    WRONG_TYPE = "wrong_type"
    NOT_A_CHOICE = "not_a_choice"
    OUT_OF_RANGE = "out_of_range"
    BAD_TEXT = "bad_text"
    EMPTY = "empty"

    DUPLICATE_ID = "duplicate_id"
    UNKNOWN_NAME = "unknown_name"
    UNKNOWN_TIMEZONE = "unknown_timezone"
    UNKNOWN_CURRENCY = "unknown_currency"
    UNKNOWN_HOLIDAYS = "unknown_holidays"
    DATE_NOT_FILE_NAME = "date_not_file_name"
    DEFAULT_CATEGORY = "default_category"
    BANDS_NOT_RISING = "bands_not_rising"
    BANDS_NOT_CLOSED = "bands_not_closed"
    BAD_RUN_OF_ZONES = "bad_run_of_zones"
    ZERO_STEP = "zero_step"
    OVER_THE_FARE = "over_the_fare"
    PERCENT_AS_FRACTION = "percent_as_fraction"
    NOT_EXACTLY_ONE = "not_exactly_one"
    NEEDS_ANOTHER_KEY = "needs_another_key"
    ORDER_INCOMPLETE = "order_incomplete"
    ENDS_BEFORE_IT_BEGINS = "ends_before_it_begins"
    TIMEFRAME_OVERLAPS = "timeframe_overlaps"
    PRODUCTS_IN_A_CIRCLE = "products_in_a_circle"
    NO_EXIT_TERMS = "no_exit_terms"
    NO_FARE_LEG_RULE = "no_fare_leg_rule"
    PRICE_MISSING = "price_missing"
    RULES_TIE = "rules_tie"
    NEVER_ACTS = "never_acts"
    BAD_TABLE = "bad_table"
    BAD_LINKS = "bad_links"

    NO_TARIFF = "no_tariff"
    SAME_DATE = "same_date"
    NOT_THE_SAME_BOOK = "not_the_same_book"


class TariffFault(Struct, frozen=True, order=True):
    """One fault and where it stands; lines and columns count from 1."""

    path: str
    line: int
    column: int
    code: FaultCode
    message: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}"
        return f"{place}: error[{self.code}]: {self.message}. {self.remedy}"


class TariffFaults(Exception):
    """A tariff that must not be used, with every fault that was found."""

    def __init__(self, faults: list[TariffFault]) -> None:
        assert faults
        self.faults = tuple(sorted(faults))
        super().__init__("\n".join(map(str, self.faults)))


def as_text(faults: Iterable[TariffFault]) -> str:
    """Write a line for each fault, for people."""
    return "".join(f"{fault}\n" for fault in faults)


def as_json(faults: Iterable[TariffFault]) -> str:
    """Write a list of objects, for programs."""
    return msgspec.json.format(msgspec.json.encode(list(faults)), indent=2).decode() + "\n"


def as_github(faults: Iterable[TariffFault]) -> str:
    """Write workflow commands, which GitHub shows beside the lines of a pull request.

    Source: GitHub's "Workflow commands", which escapes percent signs and ends of lines, and in
    properties also colons and commas.
    """
    return "".join(
        f"::error file={_property(fault.path)},line={fault.line},col={fault.column},"
        f"title={fault.code}::{_escaped(f'{fault.message}. {fault.remedy}')}\n"
        for fault in faults
    )


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
