"""Whether two timeframes have a minute in common, on any kind of day."""

from itertools import product

from fare_rules.language.places import WEEKDAYS, WORKDAYS, Timeframe, TimeframePeriod
from fare_rules.language.tariff import Tariff


def frames_overlap(tariff: Tariff, first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether one tap may fall in one of the first timeframes and in one of the second."""
    if not first or not second or not set(first).isdisjoint(second):
        return True
    frames = {frame.id: frame for frame in tariff.timeframes}
    return any(
        _overlap(tariff, frames[one], frames[other]) for one, other in product(first, second)
    )


def _overlap(tariff: Tariff, one: Timeframe, other: Timeframe) -> bool:
    # Hours by two kinds of day are not compared: they may meet.
    if one.day != other.day:
        return True
    if one.season[0] > other.season[1] or other.season[0] > one.season[1]:
        return False
    return any(
        max(mine.start, yours.start) < min(mine.end, yours.end)
        and any(
            _runs_on(one, mine, *day) and _runs_on(other, yours, *day)
            for day in product(WEEKDAYS, (False, True), _is_worked(tariff))
        )
        for mine, yours in product(one.periods, other.periods)
    )


def _is_worked(tariff: Tariff) -> tuple[bool, ...]:
    return (False, True) if tariff.holidays and tariff.holidays.workdays else (False,)


def _runs_on(
    frame: Timeframe, period: TimeframePeriod, weekday: str, is_holiday: bool, is_worked: bool
) -> bool:
    if frame.holidays == "only" and not is_holiday:
        return False
    if is_holiday and frame.holidays != "as_usual":
        return frame.holidays != "excluded"
    as_workday = is_worked and not WORKDAYS.isdisjoint(period.days)
    return not period.days or as_workday or weekday in period.days
