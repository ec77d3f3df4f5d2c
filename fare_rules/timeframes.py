"""Which named hours an instant falls in."""

from datetime import date, datetime, time
from functools import lru_cache
from zoneinfo import ZoneInfo

from fare_rules.language.places import WEEKDAYS, WORKDAYS, HolidayCalendar, Timeframe
from fare_rules.language.scalars import DAY_MINUTES, minute_of
from fare_rules.service_day import service_day_of

MINUTES_KEPT_MAX = 50_000


class Timeframes:
    """The timeframes of one tariff; each is one bit."""

    def __init__(
        self,
        frames: tuple[Timeframe, ...],
        calendar: HolidayCalendar | None,
        timezone: ZoneInfo,
        service_day_starts: time,
    ) -> None:
        self._frames = frames
        self._calendar = calendar or HolidayCalendar()
        self._timezone = timezone
        self._starts = service_day_starts
        self._bits = {frame.id: 1 << index for index, frame in enumerate(frames)}
        # Hours begin and end on the minute, and the same minutes are asked for all the time.
        self._at_minute: dict[int, int] = {}
        self._of_day: dict[tuple[date, str], tuple[tuple[int, int, int], ...]] = {}

    def bits_of(self, names: tuple[str, ...]) -> int:
        return sum(self._bits[name] for name in set(names))

    def at(self, instant: datetime) -> int:
        """Find the timeframes that hold an instant, as bits."""
        if not self._frames:
            return 0
        minute = int(instant.timestamp() // 60)
        found = self._at_minute.get(minute)
        if found is None:
            if len(self._at_minute) >= MINUTES_KEPT_MAX:
                self._at_minute.clear()
            found = self._at_minute[minute] = self._find(instant)
        return found

    def _find(self, instant: datetime) -> int:
        local = instant.astimezone(self._timezone)
        minute = local.hour * 60 + local.minute
        today = local.date()
        found = 0
        for start, end, bit in self._hours(today, "calendar"):
            if start <= minute < end:
                found |= bit
        service_day = service_day_of(instant, self._timezone, self._starts)
        if service_day != today:
            minute += DAY_MINUTES
        for start, end, bit in self._hours(service_day, "service"):
            if start <= minute < end:
                found |= bit
        return found

    def is_holiday(self, day: date) -> bool:
        calendar = self._calendar
        if day in calendar.also:
            return True
        if day in calendar.never or calendar.country is None:
            return False
        return day in _public_holidays(calendar.country, calendar.subdivision, day.year)

    def _hours(self, day: date, whose: str) -> tuple[tuple[int, int, int], ...]:
        if (day, whose) not in self._of_day:
            self._of_day[day, whose] = tuple(
                (minute_of(period.start), minute_of(period.end), self._bits[frame.id])
                for frame in self._frames
                if frame.day == whose
                for period in frame.periods
                if self._runs_on(frame, period.days, day)
            )
        return self._of_day[day, whose]

    def _runs_on(self, frame: Timeframe, days: tuple[str, ...], day: date) -> bool:
        if (frame.first_day and day < frame.first_day) or (frame.last_day and day > frame.last_day):
            return False
        is_holiday = frame.holidays != "as_usual" and self.is_holiday(day)
        if frame.holidays == "only" and not is_holiday:
            return False
        if is_holiday:
            return frame.holidays != "excluded"
        is_worked = day in self._calendar.workdays and not WORKDAYS.isdisjoint(days)
        return not days or is_worked or WEEKDAYS[day.weekday()] in days


@lru_cache(maxsize=256)
def _public_holidays(country: str, subdivision: str | None, year: int) -> frozenset[date]:
    # Loaded only for a tariff that needs it: it takes a third of a second.
    import holidays

    return frozenset(holidays.country_holidays(country, subdiv=subdivision, years=year))
