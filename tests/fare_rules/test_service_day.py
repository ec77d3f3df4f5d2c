from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from fare_rules.service_day import service_day_of, service_day_starts_at

SHANGHAI = ZoneInfo("Asia/Shanghai")
NEW_YORK = ZoneInfo("America/New_York")
FOUR = time(4)


def test_half_past_one_on_tuesday_is_still_monday():
    assert service_day_of(datetime(2026, 11, 24, 1, 30, tzinfo=SHANGHAI), SHANGHAI, FOUR) == date(
        2026, 11, 23
    )


def test_the_day_begins_with_its_first_second():
    last = datetime(2026, 11, 24, 3, 59, 59, tzinfo=SHANGHAI)
    assert service_day_of(last, SHANGHAI, FOUR) == date(2026, 11, 23)
    assert service_day_of(last + timedelta(seconds=1), SHANGHAI, FOUR) == date(2026, 11, 24)


def test_an_instant_has_one_day_in_whatever_zone_it_is_told():
    instant = datetime(2026, 11, 23, 20, 30, tzinfo=UTC)
    assert service_day_of(instant, SHANGHAI, FOUR) == date(2026, 11, 24)
    assert service_day_of(instant.astimezone(NEW_YORK), SHANGHAI, FOUR) == date(2026, 11, 24)


def test_the_hour_that_strikes_twice_does_not_bring_yesterday_back():
    half_past_one = time(1, 30)
    second_one_oclock = datetime(2026, 11, 1, 1, 0, tzinfo=NEW_YORK, fold=1)
    assert service_day_of(second_one_oclock, NEW_YORK, half_past_one) == date(2026, 11, 1)


def test_a_start_that_the_clocks_skip_comes_as_much_later_as_they_go_forward():
    half_past_two = time(2, 30)
    starts_at = datetime(2026, 3, 8, 3, 30, tzinfo=NEW_YORK)
    assert service_day_starts_at(date(2026, 3, 8), NEW_YORK, half_past_two) == starts_at
    before = starts_at.astimezone(UTC) - timedelta(seconds=1)
    assert service_day_of(before, NEW_YORK, half_past_two) == date(2026, 3, 7)
    assert service_day_of(starts_at, NEW_YORK, half_past_two) == date(2026, 3, 8)


@given(
    seconds=st.integers(0, 50 * 365 * 86_400),
    zone=st.sampled_from([SHANGHAI, NEW_YORK]),
    minutes=st.integers(0, 24 * 60 - 1),
)
def test_an_instant_lies_between_the_start_of_its_day_and_the_next(seconds, zone, minutes):
    instant = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    starts = time(*divmod(minutes, 60))
    day = service_day_of(instant, zone, starts)
    assert service_day_starts_at(day, zone, starts) <= instant
    assert instant < service_day_starts_at(day + timedelta(days=1), zone, starts)
