"""The rows of timeframes, calendar and calendar_dates, from the timeframes of a tariff."""

from collections.abc import Iterator

from fare_rules.gtfs.hours import WEEKDAYS
from fare_rules.language.places import Timeframe, Weekday
from fare_rules.language.tariff import Tariff

Cells = tuple[object, ...]
_DAY_MINUTES = 1440
_YEARS = 5
_ADDED, _REMOVED = 1, 2


def calendar_rows(
    tariff: Tariff, remarks: list[str]
) -> tuple[list[Cells], list[Cells], list[Cells]]:
    """Make the rows of timeframes, calendar and calendar_dates."""
    frames: list[Cells] = []
    services: dict[str, Cells] = {}
    dates: dict[Cells, None] = {}
    holidays = tariff.holidays.also if tariff.holidays else ()
    for frame in tariff.timeframes:
        _remark(frame, tariff, remarks)
        for days, start, end in _periods(frame, tariff.service_day_starts):
            weekly = () if frame.holidays == "only" else days
            service = "-".join(weekly) if len(weekly) < len(WEEKDAYS) else "daily"
            service = " ".join(filter(None, (service, _mode(frame))))
            frames.append((frame.id, _time(start), _time(end), service))
            flags = (int(day in weekly) for day in WEEKDAYS)
            services[service] = (service, *flags, *_season(tariff))
            for day in holidays:
                kind = _REMOVED if frame.holidays == "excluded" else _ADDED
                if frame.holidays != "as_usual":
                    dates[service, day.strftime("%Y%m%d"), kind] = None
    return frames, list(services.values()), list(dates)


def _mode(frame: Timeframe) -> str:
    return {
        "as_usual": "",
        "excluded": "without holidays",
        "included": "and holidays",
        "only": "holidays",
    }[frame.holidays]


def _season(tariff: Tariff) -> tuple[str, str]:
    first = tariff.effective_from
    return first.strftime("%Y%m%d"), f"{first.year + _YEARS}1231"


def _periods(
    frame: Timeframe, service_day_starts: str
) -> Iterator[tuple[tuple[Weekday, ...], int, int]]:
    """Split hours past midnight from those before it: in GTFS they are of the day after."""
    for period in frame.periods:
        days = period.days or WEEKDAYS
        start, end = _minute(period.start), _minute(period.end)
        if frame.day == "service":
            first = _minute(service_day_starts)
            start, end = max(start, first), min(end, first + _DAY_MINUTES)
        if start < min(end, _DAY_MINUTES):
            yield days, start, min(end, _DAY_MINUTES)
        if end > _DAY_MINUTES and frame.day == "service":
            after = tuple(WEEKDAYS[(WEEKDAYS.index(day) + 1) % len(WEEKDAYS)] for day in days)
            yield after, max(start - _DAY_MINUTES, 0), end - _DAY_MINUTES


def _minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def _time(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}:00"


def _remark(frame: Timeframe, tariff: Tariff, remarks: list[str]) -> None:
    place = f"timeframes {frame.id}"
    if frame.holidays != "as_usual" and tariff.holidays and tariff.holidays.country:
        remarks.append(
            f"{place}: GTFS needs the date of each holiday; only those in holidays.also are there"
        )
    if frame.day == "service" and frame.holidays != "as_usual":
        remarks.append(f"{place}: GTFS takes holidays by the calendar, not by the service day")
