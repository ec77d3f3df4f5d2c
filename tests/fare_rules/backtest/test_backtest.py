"""A week of a small city under two tariffs; conftest.py works its fares by hand."""

from datetime import date, timedelta

import pytest
from msgspec import structs

from fare_rules.backtest import BacktestFault, Sums, as_csv, as_html, as_text, backtest
from fare_rules.backtest.extremes import TAPS_SHOWN_MAX
from fare_rules.backtest.tally import Revenue
from fare_rules.language.scalars import Money

MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)


def _revenue(old: tuple[int, int, int], new: tuple[int, int, int]) -> Revenue:
    return Revenue(Sums(*old), Sums(*new))


def test_the_totals_are_those_worked_by_hand(compared):
    assert compared.tally.total == _revenue((6, 1950, 1850), (7, 2075, 1975))


def test_revenue_is_told_by_operator_product_category_and_sponsor(compared):
    assert compared.tally.by_operator == {
        "city_metro": _revenue((5, 1750, 1650), (5, 1775, 1675)),
        "city_bus": _revenue((1, 200, 200), (1, 200, 200)),
        "city_tram": _revenue((0, 0, 0), (1, 100, 100)),
    }
    assert compared.tally.by_product == {
        "metro_ride": _revenue((4, 850, 750), (4, 875, 775)),
        "bus_ride": _revenue((1, 200, 200), (1, 200, 200)),
        "unclosed_metro_leg": _revenue((1, 900, 900), (1, 900, 900)),
        "tram_ride": _revenue((0, 0, 0), (1, 100, 100)),
    }
    assert compared.tally.by_category == {
        "adult": _revenue((5, 1800, 1700), (6, 1900, 1800)),
        "student": _revenue((1, 150, 150), (1, 175, 175)),
    }
    assert compared.tally.by_sponsor == {"bank": _revenue((1, 100, 0), (1, 100, 0))}


def test_riders_are_better_or_worse_off_by_what_they_pay_themselves(compared):
    assert compared.tally.differences == {-100: 1, 0: 2, 25: 1, 50: 2}
    assert (compared.better_count, compared.same_count, compared.worse_count) == (1, 2, 3)
    assert compared.riders_count == 7


def test_a_rider_with_a_tap_that_only_one_tariff_can_price_is_not_compared(compared, city_taps):
    tram = next(tap for tap in city_taps if tap.network == "tram")
    assert compared.tally.incomparable_count == 1
    unpriced = compared.tally.unpriced["unknown_network"]
    assert unpriced.old.count == 1
    assert unpriced.old.earliest == [(tram.tapped_at, tram.tap_id)]
    assert unpriced.new.count == 0


def test_a_tap_that_neither_tariff_can_price_leaves_its_rider_comparable(
    old, new, make_tap, make_ride
):
    taps = [*make_ride("anna", TUESDAY, "08:00"), make_tap("anna", TUESDAY, "09:00", "board ferry")]
    tally = backtest(taps, old, new, workers=1).tally
    assert tally.differences == {50: 1}
    assert tally.unpriced["unknown_network"].new.count == 1


def test_taps_before_the_first_day_fill_the_memory_and_are_not_reported(
    compared, old, new, city_taps
):
    assert compared.tally.outside_count == 6
    assert (compared.first_day, compared.last_day) == (TUESDAY, TUESDAY)
    only_tuesday = [tap for tap in city_taps if tap.tapped_at.date() == TUESDAY]
    without_monday = backtest(only_tuesday, old, new, workers=1)
    assert without_monday.tally.differences == {0: 2, 25: 1, 50: 3}


def test_without_days_all_taps_are_reported(old, new, city_taps):
    compared = backtest(city_taps, old, new, workers=1)
    # carl pays 10.00 and 9.00 for his two days.
    assert compared.tally.differences == {-100: 1, 0: 2, 25: 1, 50: 2}
    assert compared.tally.total.old.rider_fen == 1850 + 900
    assert (compared.first_day, compared.last_day) == (MONDAY, TUESDAY)


def test_a_service_day_lasts_until_four_in_the_morning(old, new, make_tap):
    night = make_tap("anna", date(2026, 3, 4), "03:59", "board bus")
    morning = make_tap("anna", date(2026, 3, 4), "04:00", "board bus")
    compared = backtest([night, morning], old, new, last_day=TUESDAY, workers=1)
    assert (compared.tally.taps_count, compared.tally.outside_count) == (1, 1)


def test_the_same_tariff_twice_makes_no_difference(old, city_taps):
    tally = backtest(city_taps, old, old, workers=1).tally
    assert tally.differences == {0: 7}
    assert tally.total.old == tally.total.new
    assert tally.better == tally.worse == []
    assert tally.unpriced["unknown_network"].old == tally.unpriced["unknown_network"].new


def test_the_order_of_the_taps_does_not_matter(compared, old, new, city_taps):
    backwards = list(reversed(city_taps))
    again = backtest(backwards, old, new, first_day=TUESDAY, last_day=TUESDAY, workers=1)
    assert again == compared


def test_a_tap_given_twice_is_priced_once(compared, old, new, city_taps):
    twice = [*city_taps, *city_taps]
    tally = backtest(twice, old, new, first_day=TUESDAY, last_day=TUESDAY, workers=1).tally
    assert tally.repeated_count == len(city_taps)
    assert tally.total == compared.tally.total


def test_second_beeps_are_counted(old, new, make_tap):
    beeps = [make_tap("anna", TUESDAY, f"08:00:0{second}", "enter metro A") for second in (0, 2)]
    tally = backtest(beeps, old, new, workers=1).tally
    assert (tally.double_beeps_old_count, tally.double_beeps_new_count) == (1, 1)
    assert tally.total.old.fare_fen == 900


def test_a_file_prices_all_days_and_a_folder_its_own(old, new, make_tap):
    early = [make_tap("anna", date(2025, 12, 31), "08:00", "board bus")]
    tally = backtest(early, old, new, workers=1).tally
    assert tally.unpriced["no_tariff"].old.count == 1
    assert tally.total.new.fare_fen == 200
    tally = backtest(early, old / "2026-01-01.yaml", new, workers=1).tally
    assert tally.differences == {0: 1}


def test_a_file_that_may_not_be_dearer_finds_the_earlier_one_in_its_folder(
    tmp_path, old, new, make_ride
):
    said = (old / "2026-01-01.yaml").read_text(encoding="utf-8")
    (tmp_path / "2026-01-01.yaml").write_text(said, encoding="utf-8")
    draft = tmp_path / "2027-01-01.yaml"
    text = new.read_text(encoding="utf-8")
    draft.write_text(f"{text}never_dearer_than: 2026-01-01\n", encoding="utf-8")
    taps = make_ride("anna", TUESDAY, "08:00")
    assert backtest(taps, old, draft, workers=1).tally.differences == {0: 1}


def test_the_extreme_cases_are_told_line_by_line(compared):
    (carl,) = compared.tally.better
    assert (carl.media_token, carl.old_fen, carl.new_fen) == ("carl", 100, 0)
    entry, leaving = carl.taps
    assert entry.old == entry.new == ["nothing is charged at this tap"]
    assert any("cap weekly_cap: -2.00 CNY" in line for line in leaving.old)
    assert any("cap weekly_cap: -3.50 CNY" in line for line in leaving.new)
    assert leaving.new[-1] == "the rider pays 0.00 CNY"
    worse = compared.tally.worse
    # Of two as far apart, the order of the tokens decides.
    assert [extreme.media_token for extreme in worse] == ["anna", "emil", "dora"]


def test_only_so_many_extreme_cases_are_told(old, new, city_taps):
    tally = backtest(city_taps, old, new, workers=1, extremes_count=1).tally
    assert [extreme.media_token for extreme in tally.worse] == ["anna"]
    assert [extreme.media_token for extreme in tally.better] == ["carl"]


def test_journeys_that_cost_the_same_are_left_out_of_an_extreme_case(old, new, make_tap, make_ride):
    taps = [make_tap("anna", TUESDAY, "07:00", "board bus"), *make_ride("anna", TUESDAY, "08:00")]
    (anna,) = backtest(taps, old, new, workers=1).tally.worse
    assert [prices.tap.network for prices in anna.taps] == ["metro", "metro"]
    assert anna.others_count == 1


def test_an_extreme_case_says_which_tap_is_a_second_beep(tmp_path, old, new, make_tap):
    draft = tmp_path / "2027-01-01.yaml"
    text = new.read_text(encoding="utf-8")
    draft.write_text(text.replace("pass_back_seconds: 5", "pass_back_seconds: 0"), encoding="utf-8")
    beeps = [make_tap("anna", TUESDAY, f"08:00:0{second}", "enter metro A") for second in (0, 2)]
    (anna,) = backtest(beeps, old, draft, workers=1).tally.worse
    (second,) = anna.taps
    assert second.old == ["a second beep of the same tap: nothing is charged"]
    assert second.new[-1] == "the rider pays 9.00 CNY"


def test_an_extreme_case_of_very_many_taps_is_cut_short(old, new, make_ride):
    days = [TUESDAY + timedelta(weeks=number) for number in range(400)]
    taps = [tap for day in days for tap in make_ride("anna", day, "08:00")]
    tally = backtest(taps, old, new, workers=1).tally
    assert tally.taps_count == 800
    (anna,) = tally.worse
    assert anna.difference_fen == 400 * 50
    assert len(anna.taps) == TAPS_SHOWN_MAX
    assert anna.others_count == 800 - TAPS_SHOWN_MAX


def test_any_number_of_processes_writes_the_same_reports(old, new, city_taps):
    crowd = [
        structs.replace(tap, media_token=f"{tap.media_token}-{number}")
        for number in range(40)
        for tap in city_taps
    ]
    alone, together = (backtest(crowd, old, new, workers=workers) for workers in (1, 2))
    for report in (as_text, as_csv, as_html):
        assert report(alone).encode() == report(together).encode()


def test_no_taps_are_no_difference(old, new):
    compared = backtest([], old, new)
    assert compared.riders_count == 0
    assert compared.quantiles == {}
    for report in (as_text, as_csv, as_html):
        assert report(compared)


def test_progress_ends_with_all_taps_priced(old, new, city_taps):
    seen = []
    backtest(city_taps, old, new, workers=1, progress=seen.append)
    priced = [progress.priced_count for progress in seen]
    assert priced == sorted(priced)
    assert priced[0] == 0
    assert seen[-1].is_read
    assert priced[-1] == seen[-1].read_count > 0


def test_taps_of_examples_can_be_priced(old, new, make_tap):
    named = make_tap("anna", TUESDAY, "08:00", "board bus", full_fare=Money(290))
    assert backtest([named], old, new, workers=1).tally.total.old.fare_fen == 200


def test_two_currencies_are_not_compared(tmp_path, old, new, city_taps):
    other = tmp_path / "2027-01-01.yaml"
    text = new.read_text(encoding="utf-8").replace("currency: CNY", "currency: EUR")
    other.write_text(text, encoding="utf-8")
    with pytest.raises(BacktestFault, match="in CNY, the new one in EUR"):
        backtest(city_taps, old, other)
