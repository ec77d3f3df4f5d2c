"""The command: a file of taps in, the report out, and files where they are asked for."""

from datetime import date

import pytest

from fare_rules.backtest import as_csv, as_html, as_text, write_taps
from fare_rules.backtest.command import backtest_command

TUESDAY = date(2026, 3, 3)


def test_the_reports_are_those_of_the_library(tmp_path, capsys, old, new, city_taps, compared):
    taps, page, figures = (tmp_path / name for name in ("taps.csv", "report.html", "report.csv"))
    write_taps(city_taps, taps)
    backtest_command(
        taps,
        old=old,
        new=new,
        from_day=TUESDAY,
        to_day=TUESDAY,
        workers=1,
        csv=figures,
        html=page,
    )
    said = capsys.readouterr()
    assert said.out == as_text(compared)
    assert "pricing 17 taps" in said.err
    assert figures.read_text(encoding="utf-8") == as_csv(compared)
    assert page.read_text(encoding="utf-8") == as_html(compared)


def test_a_fault_ends_the_command_with_its_remedy(tmp_path, old, new):
    taps = tmp_path / "taps.csv"
    taps.write_text("tap\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"No column is called 'tap'\. There are: tap_id,"):
        backtest_command(taps, old=old, new=new)
    empty = tmp_path / "2026-01-01.yaml"
    empty.write_text("tariff: harbour\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="error\\[missing_key\\]"):
        backtest_command(taps, old=old, new=empty)
