"""A close by the race's clock: `faregate settle close` as it was when the taps were made.

The days of the race lie in the past. By today's clock everyone under way has long been lost, and a
close would end all their rides beside the taps; by the clock of the taps it ends those that are
lost.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import date, datetime

from gateway.close_process import NICENESS, close_day
from gateway.shell.environment import read_settings


def main(service_day: str, instant: str) -> None:
    os.nice(NICENESS)
    settings = read_settings()
    dsn = str(settings.database_url)
    now = datetime.fromisoformat(instant)
    asyncio.run(close_day(settings, dsn, date.fromisoformat(service_day), now))


if __name__ == "__main__":
    main(*sys.argv[1:])
