"""The operating day: with a start at 04:00, half past one on Tuesday is still Monday's service."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_ONE_DAY = timedelta(days=1)


@lru_cache(maxsize=1024)
def service_day_starts_at(day: date, timezone: ZoneInfo, starts: time) -> datetime:
    """Find the instant, in UTC, at which a service day starts."""
    return datetime.combine(day, starts, tzinfo=timezone).astimezone(UTC)


def service_day_of(
    instant: datetime, timezone: ZoneInfo, starts: time, last_day: date = date.max
) -> date:
    """Find the operating day an instant belongs to.

    Units:  the instant is aware, in any zone; the day is the operator's own. The last of a tariff
            is longer where the next one's days start later.

    Instants are compared, not wall clocks: on the night the clocks go back an hour strikes twice,
    and a day that has started must not be yesterday again.
    """
    assert instant.tzinfo is not None, "a naive datetime is not an instant"
    return min(_day_of_minute(int(instant.timestamp() // 60), timezone, starts), last_day)


@lru_cache(maxsize=65_536)
def _day_of_minute(minute: int, timezone: ZoneInfo, starts: time) -> date:
    # Days start on the minute, and the same minutes of a day are asked for all the time.
    instant = datetime.fromtimestamp(minute * 60, UTC)
    day = instant.astimezone(timezone).date()
    return day if instant >= service_day_starts_at(day, timezone, starts) else day - _ONE_DAY
