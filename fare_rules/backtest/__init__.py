"""What a new tariff would have done to recorded taps: revenue, and riders better and worse off.

The way in is run.py; then tap_files.py for taps in a file, sides.py for what a tariff stands for,
comparison.py for what comes out, and reports/ for how it is shown.
"""

from fare_rules.backtest.comparison import Bin, Comparison
from fare_rules.backtest.faults import BacktestFault
from fare_rules.backtest.reports import as_csv, as_html, as_text
from fare_rules.backtest.run import Progress, backtest
from fare_rules.backtest.sides import Side
from fare_rules.backtest.tally import Extreme, Revenue, Sums, Tally, TapPrices
from fare_rules.backtest.tap_files import read_taps, write_taps

__all__ = [
    "BacktestFault",
    "Bin",
    "Comparison",
    "Extreme",
    "Progress",
    "Revenue",
    "Side",
    "Sums",
    "Tally",
    "TapPrices",
    "as_csv",
    "as_html",
    "as_text",
    "backtest",
    "read_taps",
    "write_taps",
]
