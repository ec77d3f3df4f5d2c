"""The rows of timeframes, calendar and calendar_dates, from the timeframes of a tariff."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import NamedTuple

from fare_rules.language.places import WEEKDAYS, WORKDAYS, Timeframe, Weekday
from fare_rules.language.scalars import DAY_MINUTES, clock_of, minute_of
from fare_rules.language.tariff import Tariff

Cells = tuple[object, ...]
_YEARS = 5
_ADDED, _REMOVED = 1, 2


class _Hours(NamedTuple):
    """Some hours of some weekdays, as a row of timeframes says them."""

    days: tuple[Weekday, ...]
    start: int
    end: int
    # 1 for the hours past midnight of a service day, which in GTFS are of the day after.
    days_later: int


def calendar_rows(
    tariff: Tariff, remarks: list[str]
) -> tuple[list[Cells], list[Cells], list[Cells]]:
    """Make the rows of timeframes, calendar and calendar_dates."""
    frames: list[Cells] = []
    services: dict[str, Cells] = {}
    dates: dict[Cells, None] = {}
    for frame in tariff.timeframes:
        _remark(frame, tariff, remarks)
        for hours in _hours(frame, tariff.service_day_starts):
            weekly = () if frame.holidays == "only" else _shifted(hours)
            first, last = _season(frame, tariff, hours.days_later)
            service = _service(frame, hours, weekly, tariff)
            frames.append(
                (frame.id, f"{clock_of(hours.start)}:00", f"{clock_of(hours.end)}:00", service)
            )
            flags = (int(day in weekly) for day in WEEKDAYS)
            services[service] = (service, *flags, _day(first), _day(last))
            for day, kind in _exceptions(frame, hours, tariff):
                if first <= day <= last:
                    dates[service, _day(day), kind] = None
    return frames, list(services.values()), list(dates)


def _service(frame: Timeframe, hours: _Hours, weekly: tuple[Weekday, ...], tariff: Tariff) -> str:
    """Name a service by all that makes it: weekdays, holidays, season."""
    mode = {
        "as_usual": "",
        "excluded": "without holidays",
        "included": "and holidays",
        "only": "holidays",
    }[frame.holidays]
    is_after = hours.days_later and tariff.holidays and tariff.holidays.workdays
    parts = (
        "-".join(weekly) if len(weekly) < len(WEEKDAYS) else "daily",
        mode,
        "the day after" if is_after else "",
        f"from {frame.first_day}" if frame.first_day else "",
        f"until {frame.last_day}" if frame.last_day else "",
    )
    return " ".join(filter(None, parts))


def _season(frame: Timeframe, tariff: Tariff, days_later: int) -> tuple[date, date]:
    """Find the first and the last day of a timeframe's hours, or of the tariff's."""
    begins = tariff.effective_from
    later = timedelta(days=days_later)
    last = frame.last_day + later if frame.last_day else date(begins.year + _YEARS, 12, 31)
    first = frame.first_day + later if frame.first_day else begins
    return min(first, last), last


def _exceptions(frame: Timeframe, hours: _Hours, tariff: Tariff) -> Iterator[tuple[date, int]]:
    """List the days on which a service runs though it is not its weekday, or the other way."""
    if tariff.holidays is None:
        return
    holidays = tariff.holidays.also if frame.holidays != "as_usual" else ()
    for day in holidays:
        yield day, _REMOVED if frame.holidays == "excluded" else _ADDED
    if frame.holidays == "only" or WORKDAYS.isdisjoint(hours.days):
        return
    for day in tariff.holidays.workdays:
        if day not in holidays and WEEKDAYS[day.weekday()] not in hours.days:
            yield day + timedelta(days=hours.days_later), _ADDED


def _hours(frame: Timeframe, service_day_starts: str) -> Iterator[_Hours]:
    """Split hours past midnight from those before it."""
    for period in frame.periods:
        days = period.days or WEEKDAYS
        start, end = minute_of(period.start), minute_of(period.end)
        if frame.day == "service":
            first = minute_of(service_day_starts)
            start, end = max(start, first), min(end, first + DAY_MINUTES)
        if start < min(end, DAY_MINUTES):
            yield _Hours(days, start, min(end, DAY_MINUTES), 0)
        if end > DAY_MINUTES and frame.day == "service":
            yield _Hours(days, max(start - DAY_MINUTES, 0), end - DAY_MINUTES, 1)


def _shifted(hours: _Hours) -> tuple[Weekday, ...]:
    places = (WEEKDAYS.index(day) + hours.days_later for day in hours.days)
    return tuple(WEEKDAYS[place % len(WEEKDAYS)] for place in places)


def _day(day: date) -> str:
    return day.strftime("%Y%m%d")


def _remark(frame: Timeframe, tariff: Tariff, remarks: list[str]) -> None:
    place = f"timeframes {frame.id}"
    if frame.holidays != "as_usual" and tariff.holidays and tariff.holidays.country:
        remarks.append(
            f"{place}: GTFS needs the date of each holiday; only those in holidays.also are there"
        )
    if frame.day == "service" and frame.holidays != "as_usual":
        remarks.append(f"{place}: GTFS takes holidays by the calendar, not by the service day")
