"""What can be wrong with a tariff file, said as place, fault and remedy."""

from enum import StrEnum

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
    DATE_NOT_FILE_NAME = "date_not_file_name"
    DEFAULT_CATEGORY = "default_category"
    BANDS_NOT_RISING = "bands_not_rising"
    BANDS_NOT_CLOSED = "bands_not_closed"
    MULTIPLE_OF_MULTIPLE = "multiple_of_multiple"
    NO_EXIT_TERMS = "no_exit_terms"
    NO_FARE_LEG_RULE = "no_fare_leg_rule"
    RULES_TIE = "rules_tie"
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
