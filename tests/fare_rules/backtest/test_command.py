"""What a command shows while a back-test runs."""

from fare_rules.backtest import backtest
from fare_rules.backtest.command import shown_progress


def test_a_bar_on_standard_error_runs_until_all_taps_are_priced(capsys, old, new, city_taps):
    with shown_progress() as progress:
        backtest(city_taps, old, new, workers=1, progress=progress)
    said = capsys.readouterr()
    assert said.out == ""
    assert "pricing 17 taps" in said.err
    assert "100%" in said.err
