"""What a cap, a tier or a subsidy remembers, and for how long."""

from datetime import date, datetime, timedelta
from uuid import UUID

from msgspec import Struct, structs

from fare_rules.language.discounts import Month, Period, Rolling, Week
from fare_rules.language.places import WEEKDAYS

# Journeys under way at the same time: a ride with others between its legs.
JOURNEYS_MAX = 4


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
    return Window(first_day=first_day)


def is_over(period: Period, window: Window, day: date, instant: datetime) -> bool:
    """Whether no tap of a day that begins at an instant can belong to a window any more."""
    return window_at(period, window, day, instant) is not window
