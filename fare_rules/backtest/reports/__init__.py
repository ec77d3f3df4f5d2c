"""A comparison as text, as figures for a spreadsheet, and as a page."""

from fare_rules.backtest.reports.page import as_html
from fare_rules.backtest.reports.text import as_text
from fare_rules.backtest.reports.tidy import as_csv

__all__ = ["as_csv", "as_html", "as_text"]
