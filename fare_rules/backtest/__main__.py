"""Run a back-test: python -m fare_rules.backtest --help."""

import cyclopts

from fare_rules.backtest.command import backtest_command

if __name__ == "__main__":
    cyclopts.run(backtest_command)
