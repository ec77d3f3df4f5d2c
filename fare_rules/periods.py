"""What a cap, a tier or a subsidy remembers, and for how long."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct, structs

from fare_rules.language.discounts import Month, Period, Rolling, Trailing, Week
from fare_rules.language.places import WEEKDAYS

# Journeys under way at the same time: a ride with others between its legs.
JOURNEYS_MAX = 4


class DaySum(NamedTuple):
    """What one service day adds to a period that trails behind."""

    day: date
    spent_fen: int
    rides_count: int
    low: int
    high: int
    # Those of the newest journeys that were counted as a ride on this day.
    journeys: tuple[UUID, ...] = ()


class Window(Struct, array_like=True, frozen=True, gc=False):
    """What one rider has spent, and how often ridden, in the newest period of one rule."""

    # Fixed periods: their first day. Rolling ones: the instant at which they opened.
    first_day: date | None = None
    opened_at: datetime | None = None
    spent_fen: int = 0
    rides_count: int = 0
    # The zones travelled, as places in their order; below zero where none is known.
    low: int = -1
    high: int = -1
    # The journeys of the last rides that were counted, and what each added.
    journeys: tuple[tuple[UUID, int], ...] = ()
    # Of a period that trails behind: what it is the sum of.
    days: tuple[DaySum, ...] = ()

    def before_journey(self, journey_id: UUID) -> "Window":
        """What was spent and ridden before a journey that may be under way."""
        added_fen = next((fen for known, fen in self.journeys if known == journey_id), None)
        if added_fen is None:
            return self
        return structs.replace(
            self, spent_fen=self.spent_fen - added_fen, rides_count=self.rides_count - 1
        )

    def with_ride(
        self, journey_id: UUID, added_fen: int, *, is_ride: bool, is_own: bool
    ) -> "Window":
        """The same with one more leg, which may be part of a ride that is counted already."""
        known = dict(self.journeys)
        is_counted = journey_id in known
        if not is_ride and not is_counted:
            return self
        total_fen = known.pop(journey_id, 0) + added_fen
        journeys = (*known.items(), (journey_id, total_fen))
        return structs.replace(
            self,
            rides_count=self.rides_count + (is_ride and (is_own or not is_counted)),
            journeys=journeys[-JOURNEYS_MAX:],
        )

    def on_day(self, day: date, before: "Window", low: int, high: int) -> "Window":
        """The same, where what it has more than before was ridden on a day, within some zones."""
        known = {journey_id for journey_id, _ in self.journeys}
        new = known - {journey_id for journey_id, _ in before.journeys}
        days = {each.day: each for each in before.days}
        own = days.get(day) or DaySum(day, 0, 0, -1, -1)
        days[day] = DaySum(
            day,
            own.spent_fen + self.spent_fen - before.spent_fen,
            own.rides_count + self.rides_count - before.rides_count,
            *_widest(((own.low, own.high), (low, high))),
            (*own.journeys, *new),
        )
        kept = (
            each._replace(journeys=tuple(name for name in each.journeys if name in known))
            for each in days.values()
        )
        return structs.replace(self, days=tuple(sorted(kept)))

    def since(self, first_day: date) -> "Window":
        """The same without days that lie behind the first one that counts."""
        if self.days[0].day >= first_day:
            return self
        days = tuple(each for each in self.days if each.day >= first_day)
        known = {name for each in days for name in each.journeys}
        low, high = _widest((each.low, each.high) for each in days)
        return Window(
            spent_fen=sum(each.spent_fen for each in days),
            rides_count=sum(each.rides_count for each in days),
            low=low,
            high=high,
            journeys=tuple(each for each in self.journeys if each[0] in known),
            days=days,
        )


def _widest(spans: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The run that holds some; below zero where no zone is known."""
    known = [(low, high) for low, high in spans if low >= 0]
    return min((low for low, _ in known), default=-1), max((high for _, high in known), default=-1)


def window_key(rule_id: str, *apart: str) -> str:
    """The name of a memory: of a rule, or of one of those that it keeps apart."""
    # No id has a tab in it.
    return "\t".join((rule_id, *apart))


def rule_of(key: str) -> str:
    return key.partition("\t")[0]


def first_day_of(period: Period, day: date) -> date:
    """Find the first service day of the fixed period that holds a day."""
    if isinstance(period, Week):
        return day - timedelta(days=(day.weekday() - WEEKDAYS.index(period.starts_on)) % 7)
    if isinstance(period, Month):
        return day.replace(day=1)
    return day


def window_at(period: Period, window: Window | None, day: date, instant: datetime) -> Window:
    """Find the window that a tap belongs to: the one that was open, or else a new one."""
    if isinstance(period, Rolling) and period.service_days:
        first = window.first_day if window is not None else None
        if first is None or not first <= day < first + timedelta(days=period.service_days):
            return Window(first_day=day)
        assert window is not None
        return window
    if isinstance(period, Rolling):
        if window is not None and window.opened_at is not None:
            ends_at = window.opened_at + timedelta(days=period.days, minutes=period.minutes)
            if instant < ends_at:
                return window
        return Window(opened_at=instant)
    first_day = first_day_of(period, day)
    if window is not None and window.first_day == first_day:
        return window
    if isinstance(period, Trailing):
        # What another tariff remembered by this name may be of a period of another kind.
        if window is None or not window.days:
            return Window()
        return window.since(day - timedelta(days=period.days - 1))
    return Window(first_day=first_day)


def is_over(period: Period, window: Window, day: date, instant: datetime) -> bool:
    """Whether no tap of a day that begins at an instant can belong to a window any more."""
    if isinstance(period, Trailing):
        return not window_at(period, window, day, instant).days
    return window_at(period, window, day, instant) is not window
