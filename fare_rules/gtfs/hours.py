"""The hours of a feed: timeframes, with the weekdays and holidays of their services."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from fare_rules.gtfs.feed import day_of, seconds
from fare_rules.gtfs.files import Feed, FeedTimeframe
from fare_rules.language.places import (
    WEEKDAYS,
    HolidayCalendar,
    Timeframe,
    TimeframePeriod,
    Weekday,
)
from fare_rules.language.scalars import DAY_MINUTES, clock_of, minute_of

_COLUMNS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_Mode = Literal["as_usual", "excluded", "included", "only"]
_MODES: tuple[_Mode, ...] = ("as_usual", "excluded", "included", "only")


class Hours(Struct, frozen=True):
    """Timeframes of ours, and the minutes of an ordinary week and of a holiday that each holds."""

    frames: tuple[Timeframe, ...]
    holidays: HolidayCalendar | None
    minutes: dict[str, int]


class _Services(Struct):
    days: dict[str, tuple[Weekday, ...]]
    exceptions: dict[tuple[str, date], tuple[int, int]]

    def is_on(self, service_id: str, day: date) -> bool:
        kind, _ = self.exceptions.get((service_id, day), (0, 0))
        return kind == 1 or (kind == 0 and WEEKDAYS[day.weekday()] in self.days[service_id])


def read_hours(feed: Feed, effective_from: date, remarks: list[str]) -> Hours:
    """Read the timeframes that rules name.

    Days on which a service is added or removed become the tariff's holidays, and what a timeframe
    does on them its own word about holidays, where one word is true of all of them.
    """
    groups: dict[str, list[FeedTimeframe]] = defaultdict(list)
    named = {rule.from_timeframe_group_id for rule in feed.fare_leg_rules}
    named |= {rule.to_timeframe_group_id for rule in feed.fare_leg_rules}
    for frame in feed.timeframes:
        if frame.timeframe_group_id in named:
            groups[frame.timeframe_group_id].append(frame)
        else:
            name = frame.timeframe_group_id
            remarks.append(f"timeframes.txt:{frame.row}: No rule names '{name}'")
    in_force = _in_force(feed, groups, effective_from, remarks)
    services = _services(feed, {row.service_id for rows in in_force.values() for row in rows})
    days = sorted({day for _, day in services.exceptions})
    frames = tuple(_frame(name, rows, services, days, remarks) for name, rows in in_force.items())
    return Hours(
        frames=frames,
        holidays=HolidayCalendar(also=tuple(days)) if days else None,
        minutes={frame.id: minutes_of(frame) for frame in frames},
    )


def _in_force(
    feed: Feed, groups: dict[str, list[FeedTimeframe]], day: date, remarks: list[str]
) -> dict[str, list[FeedTimeframe]]:
    """Take of each timeframe the services whose season holds the tariff's first day."""
    seasons = {
        each.service_id: (each.row, day_of(each.start_date), day_of(each.end_date))
        for each in feed.calendar
    }
    kept: dict[str, list[FeedTimeframe]] = {}
    used: set[str] = set()
    for name, rows in groups.items():
        now = [
            row
            for row in rows
            if row.service_id not in seasons
            or seasons[row.service_id][1] <= day <= seasons[row.service_id][2]
        ]
        for row in rows:
            if now and row not in now:
                remarks.append(
                    f"timeframes.txt:{row.row}: '{row.service_id}' is not in force on {day}"
                )
        kept[name] = now or rows
        used |= {row.service_id for row in kept[name]}
    for service_id in sorted(used & set(seasons)):
        row_number, start, end = seasons[service_id]
        remarks.append(
            f"calendar.txt:{row_number}: '{service_id}' is from {start} until {end}; here it holds "
            "as long as the tariff does"
        )
    return kept


def _services(feed: Feed, used: set[str]) -> _Services:
    days: dict[str, tuple[Weekday, ...]] = dict.fromkeys(sorted(used), ())
    for each in feed.calendar:
        if each.service_id in used:
            flags = (getattr(each, column) for column in _COLUMNS)
            days[each.service_id] = tuple(
                day for day, flag in zip(WEEKDAYS, flags, strict=True) if flag
            )
    exceptions: dict[tuple[str, date], tuple[int, int]] = {
        (each.service_id, day_of(each.date)): (each.exception_type, each.row)
        for each in feed.calendar_dates
        if each.service_id in used
    }
    return _Services(days, exceptions)


def _frame(
    name: str,
    rows: list[FeedTimeframe],
    services: _Services,
    holidays: list[date],
    remarks: list[str],
) -> Timeframe:
    periods = [
        TimeframePeriod(
            start=_clock(row, row.start_time or "00:00:00", remarks),
            end=_clock(row, row.end_time or "24:00:00", remarks),
            days=() if len(days := services.days[row.service_id]) == len(WEEKDAYS) else days,
        )
        for row in rows
    ]
    weekly = [bool(services.days[row.service_id]) for row in rows]

    def holds(mode: _Mode, day: date) -> bool:
        for row, is_weekly in zip(rows, weekly, strict=True):
            usual = WEEKDAYS[day.weekday()] in services.days[row.service_id]
            expected = {
                "as_usual": usual,
                "excluded": False,
                "included": is_weekly,
                "only": not any(weekly),
            }[mode]
            if services.is_on(row.service_id, day) != expected:
                return False
        return True

    fitting = [mode for mode in _MODES if all(holds(mode, day) for day in holidays)]
    if not any(weekly):
        # Days of the calendar only: anything but `only` would make them every day.
        fitting = [mode for mode in fitting if mode == "only"] or ["only"]
    mode = fitting[0] if fitting else "as_usual"
    for day in holidays:
        if not holds(mode, day):
            for row in rows:
                _, at = services.exceptions.get((row.service_id, day), (0, 0))
                if at:
                    remarks.append(f"calendar_dates.txt:{at}: '{name}' is {mode} on {day}, too")
    for row, is_weekly in zip(rows, weekly, strict=True):
        if any(weekly) and not is_weekly:
            remarks.append(f"timeframes.txt:{row.row}: '{row.service_id}' has no weekday; left out")
    kept = tuple(p for p, is_weekly in zip(periods, weekly, strict=True) if is_weekly)
    return Timeframe(id=name, periods=kept or tuple(periods), holidays=mode)


def _clock(row: FeedTimeframe, time: str, remarks: list[str]) -> str:
    minutes = (seconds(time) + 30) // 60
    if seconds(time) % 60:
        remarks.append(f"timeframes.txt:{row.row}: {time} is taken to the nearest minute")
    return clock_of(minutes)


@lru_cache(maxsize=1024)
def minutes_of(frame: Timeframe) -> int:
    """Mark each minute of a timeframe in a week of ordinary days and in one of holidays."""
    marked = bytearray(2 * 7 * DAY_MINUTES)
    for minute in _marked(frame):
        marked[minute] = 1
    return int("".join(map(str, marked)), 2)


def _marked(frame: Timeframe) -> Iterator[int]:
    week = 7 * DAY_MINUTES
    for period in frame.periods:
        start, end = minute_of(period.start), minute_of(period.end)
        for number, day in enumerate(WEEKDAYS):
            usual = not period.days or day in period.days
            begins = number * DAY_MINUTES
            # Past midnight is the day after; Sunday's is Monday's.
            for minute in (each % week for each in range(begins + start, begins + end)):
                if usual and frame.holidays != "only":
                    yield minute
                if frame.holidays in ("included", "only") or (
                    usual and frame.holidays == "as_usual"
                ):
                    yield week + minute
