"""How a weekday's journeys spread over its hours."""

from collections.abc import Iterator
from random import Random

# Percent of a weekday's journeys that people of 21 to 65 years begin in each hour from 04:00 on.
# Source: US Bureau of Transportation Statistics, Transportation Statistics Annual Report 2005,
# table 4-8 (all means of travel, 2001). A metro's own peaks are steeper: about 12 in its best hour.
FIRST_HOUR = 4
PERCENT_BY_HOUR = (
    *(0.6, 1.6, 3.9, 7.7, 6.3, 4.7, 5.2, 6.3, 7.5, 6.3),
    *(6.5, 7.9, 8.3, 9.1, 5.7, 4.2, 3.2, 2.2, 1.2, 0.7),
)
_HOUR_MS = 3_600_000
_TOTAL = sum(PERCENT_BY_HOUR)


def departures(count: int, draw: Random) -> Iterator[int]:
    """Some moments of a day in order, in milliseconds from midnight, as many as asked."""
    begun = 0.0
    done_count = 0
    for hour, percent in enumerate(PERCENT_BY_HOUR, FIRST_HOUR):
        begun += percent
        hour_count = round(count * begun / _TOTAL) - done_count
        done_count += hour_count
        for number in range(hour_count):
            yield int((hour + (number + draw.random()) / hour_count) * _HOUR_MS)


def rate_at(day_share: float) -> float:
    """How busy the city is when this share of the day is over, from 0 to 1, its best hour being 1.

    The day is that of `PERCENT_BY_HOUR`; between the middles of its hours it changes evenly.
    """
    hours = day_share * len(PERCENT_BY_HOUR) - 0.5
    last = len(PERCENT_BY_HOUR) - 1
    before = min(max(int(hours), 0), last)
    after = min(before + 1, last)
    weight = min(max(hours - before, 0.0), 1.0)
    mean = PERCENT_BY_HOUR[before] * (1 - weight) + PERCENT_BY_HOUR[after] * weight
    return mean / max(PERCENT_BY_HOUR)
