"""A process that closes days, each in a child that is killed after one more step than the last.

Its arguments: the database, the folder, the first day and how many days there are. It prints the
days it closed without being killed.
"""

from __future__ import annotations

import sys
from datetime import date, datetime, time, timedelta
from pathlib import Path

from _killed import Step, done_in_a_child, watched_pool

from fare_rules import TariffBook, load_book
from gateway.core.payment_order import Debtor
from gateway.settlement_path import run_settlement_close
from gateway.shell.signing import Signer

SHARED = Path(__file__).parent / "harbour_shared"
DEBTOR = Debtor("Harbour Clearing", "6222020200112233445", "ICBKCNBJSZN")


async def close(dsn: str, folder: Path, day: date, book: TariffBook, step: Step) -> None:
    async with watched_pool(dsn, step) as pool:
        await run_settlement_close(
            pool,
            day,
            book=book,
            now=datetime.combine(day + timedelta(days=1), time(12), book.timezone),
            folder=folder,
            debtor=DEBTOR,
            signer=Signer(bytes(32)),
        )


def close_in_a_child(
    dsn: str, folder: Path, day: date, book: TariffBook, steps_max: int | None
) -> bool:
    """Whether it came to its end."""
    return done_in_a_child(lambda step: close(dsn, folder, day, book, step), steps_max, folder)


def main() -> None:
    dsn, folder, first, days_count = sys.argv[1:]
    book = load_book(SHARED)
    for number in range(int(days_count)):
        day = date.fromisoformat(first) + timedelta(days=number)
        is_closed = close_in_a_child(dsn, Path(folder), day, book, number + 1)
        if is_closed:
            print(day)
        elif number % 2:
            # Every other day is left to whoever closes the next.
            assert close_in_a_child(dsn, Path(folder), day, book, None)


if __name__ == "__main__":
    main()
