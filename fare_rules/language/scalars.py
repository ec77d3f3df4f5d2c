"""Single values of a tariff: amounts, percentages, distances, clocks, zones.

An amount is written as the notice prints it, 2.90, and read without floats into minor units.
"""

from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct, field

from fare_rules.money import Rounding

# Far above any fare, and far below what a 64-bit column holds even after a year of sums.
AMOUNT_MAX = 1_000_000_000


class Scaled(int):
    """A decimal number, held as a whole number of its smallest parts."""

    # Places after the point; None where the currency says how many.
    digits: int | None = None
    what = "a number"

    @classmethod
    def read(cls, said: object, currency_digits: int) -> Self:
        digits = currency_digits if cls.digits is None else cls.digits
        whole, _, part = str(said).partition(".")
        return cls(whole + part.ljust(digits, "0"))


class Money(Scaled):
    """An amount of the tariff's currency, in its minor units."""

    what = "an amount such as 2 or 2.90"


class Rate(Scaled):
    """An amount for each kilometre, in millionths of the currency's main unit."""

    digits = 6
    what = "an amount such as 0.155"


class Percent(Scaled):
    """A percentage, in hundredths of a percent."""

    digits = 2
    what = "a percentage such as 95 or 12.5"


class Kilometres(Scaled):
    """A distance, in metres."""

    digits = 3
    what = "kilometres such as 4 or 3.21"


class ZoneId(str):
    """The name of a zone; a number needs no quotes."""

    __slots__ = ()


class Zones(str):
    """A run of zones from one to another, such as 1-3, or a single one."""

    __slots__ = ()

    @property
    def ends(self) -> tuple[str, str]:
        first, _, last = self.partition("-")
        return first, last or first


def no_money() -> Any:
    """Nothing, where an amount is left out."""
    return field(default_factory=lambda: Money(0))


def the_whole() -> Any:
    """All of it, where a percentage is left out."""
    return field(default_factory=lambda: Percent(10_000))


def read_scalar(currency_digits: int) -> Any:
    """Make the hook with which msgspec reads our scalars."""

    def read(kind: type, said: Any) -> Any:
        if issubclass(kind, Scaled):
            return kind.read(said, currency_digits)
        if issubclass(kind, (ZoneId, Zones)):
            return kind(said)
        raise NotImplementedError(kind)

    return read


@cache
def scalar_schema(currency_digits: int) -> Any:
    """Make the hook with which msgspec describes our scalars as JSON Schema."""

    def describe(kind: type) -> dict[str, Any]:
        if issubclass(kind, Scaled):
            digits = currency_digits if kind.digits is None else kind.digits
            part = rf"(\.[0-9]{{1,{digits}}})?" if digits else ""
            return {
                "type": ["integer", "number", "string"],
                "minimum": 0,
                "maximum": AMOUNT_MAX,
                "pattern": rf"^(0|[1-9][0-9]{{0,8}}){part}$",
                "x-write": kind.what + (f", with {digits} decimals at most" if digits else ""),
            }
        if issubclass(kind, ZoneId):
            return {
                "type": ["integer", "string"],
                "pattern": r"^[^-\s]{1,20}$",
                "x-write": "a zone's name without hyphen, such as 1 or A",
            }
        if issubclass(kind, Zones):
            return {
                "type": ["integer", "string"],
                "pattern": r"^[^-\s]{1,20}(-[^-\s]{1,20})?$",
                "x-write": "one zone or a run of zones, such as 1 or 1-3",
            }
        raise NotImplementedError(kind)

    return describe


def _text(pattern: str, what: str) -> Meta:
    return Meta(pattern=pattern, extra_json_schema={"x-write": what})


# What nobody sees, or what turns the text around it: no database and no screen is to meet it.
_UNSEEN = r"\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069"
Id = Annotated[
    str,
    _text(
        rf"^[^\s{_UNSEEN}]([^{_UNSEEN}]{{0,78}}[^\s{_UNSEEN}])?$",
        "a name of 1 to 80 characters, not blank and without control characters",
    ),
]
Clock = Annotated[
    str, _text(r"^([0-3]\d|4[0-7]):[0-5]\d$", "a time of day such as 04:00; 25:10 is ten past one")
]
TimeOfDay = Annotated[str, _text(r"^([01]\d|2[0-3]):[0-5]\d$", "a time of day such as 04:00")]
Moment = Annotated[
    str,
    _text(
        r"^\d{4}-\d{2}-\d{2} ([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$",
        "a day and a local time such as 2026-01-31 18:00",
    ),
]
CurrencyCode = Annotated[str, _text(r"^[A-Z]{3}$", "a currency code such as CNY")]
# A bare name: a tariff reads nothing outside its own folder.
CsvName = Annotated[str, _text(r"^[\w-]+\.csv$", "the name of a CSV file in the same folder")]
Minutes = Annotated[int, Meta(ge=0, le=1_000_000)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
# Of a whole city.
Quota = Annotated[int, Meta(ge=1, le=1_000_000_000_000)]


class Record(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A group of keys in a tariff file."""


class RoundTo(Record, frozen=True, kw_only=True):
    """How an amount that is no multiple of a step becomes one."""

    mode: Annotated[Rounding, Meta(description="Which way: half_up, half_even, up or down.")]
    step: Annotated[
        Money | None,
        Meta(
            description="What the amount becomes a multiple of; one minor unit if left out. 1 "
            "where fares are whole units though ISO gives the currency decimals (TWD, INR, THB)."
        ),
    ] = None


DAY_MINUTES = 1440


def minute_of(clock: str) -> int:
    """Read a clock such as 25:10 as minutes of its day."""
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def clock_of(minute: int) -> str:
    """Write a minute of a day as a clock, as `minute_of` reads it."""
    return f"{minute // 60:02}:{minute % 60:02}"


def moment_on(day: date, clock: str, timezone: ZoneInfo) -> datetime:
    """Read a clock such as 25:10 or 25:10:30 on a day; 25:10 is ten past one of the day after."""
    hours, minutes, *seconds = map(int, clock.split(":"))
    days, hours = divmod(hours, 24)
    local = time(hours, minutes, seconds[0] if seconds else 0)
    return datetime.combine(day + timedelta(days), local, tzinfo=timezone)


def moment(said: str) -> datetime:
    """Read a local moment; the caller knows its zone."""
    return datetime.fromisoformat(said)
