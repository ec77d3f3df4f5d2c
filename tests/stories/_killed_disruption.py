"""A process that applies disruptions in children, each killed after one more step than the last.

Its arguments: the database, the tariff's folder, and the time. It prints how many were killed.
"""

from __future__ import annotations

import sys
from datetime import datetime
from itertools import count
from pathlib import Path

from _killed import Step, done_in_a_child, watched_pool

from fare_rules import TariffBook, load_book
from gateway import disruption_path


async def apply(dsn: str, book: TariffBook, now: datetime, step: Step) -> None:
    # So that some are killed between two parts, and within the second.
    disruption_path._WALLETS_AT_ONCE = 2
    async with watched_pool(dsn, step) as pool:
        await disruption_path.run_disruptions(pool, book, now)


def main() -> None:
    dsn, folder, told = sys.argv[1:]
    book, now = load_book(Path(folder)), datetime.fromisoformat(told)
    for steps in count(1):
        if done_in_a_child(lambda step: apply(dsn, book, now, step), steps):
            print(steps - 1)
            return


if __name__ == "__main__":
    main()
