"""The two sides of a back-test: a folder with its own days, or one file on all days.

A folder prices each tap by the file that was in force then. A single file prices every tap, even
those before its `effective_from`, as if it had been in force all along: that is how a draft is held
against last month's taps. Only the day from which it is in force is set aside. Whatever else in it
has a date keeps it: campaigns, disruptions, holidays.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from fare_rules.backtest.faults import BacktestFault
from fare_rules.book import TariffBook, load_book, load_page

_ALWAYS = datetime.min.replace(tzinfo=UTC)


class Side(Struct, frozen=True):
    """How one side is called in a report."""

    name: str
    # Each file's day, or that the file prices all days.
    in_force: str


def load_side(path: Path) -> TariffBook:
    """Load a folder of tariffs, or a single file as if it had always been in force.

    Raises: TariffFaults when there are faults in it.
    """
    if path.is_dir():
        return load_book(path)
    tariff = load_page(path)
    return TariffBook(
        tariffs=(tariff,),
        in_force_from=(_ALWAYS,),
        timezone=tariff.timezone,
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def side_of(path: Path, book: TariffBook) -> Side:
    if path.is_dir():
        days = ", ".join(str(tariff.effective_from) for tariff in book.tariffs)
        return Side(f"{book.tariffs[0].name} ({path.name})", f"each file from its day on: {days}")
    return Side(
        f"{book.tariffs[0].name} ({path.name})", "as if it had been in force for all of the taps"
    )


def check_comparable(old: TariffBook, new: TariffBook) -> None:
    """Amounts of two currencies have no difference."""
    first, second = old.tariffs[0].currency, new.tariffs[0].currency
    if first != second:
        message = f"The old tariff is in {first}, the new one in {second}"
        raise BacktestFault("tariffs", message, "Compare tariffs of one currency")


def notes_on(old: TariffBook, new: TariffBook) -> tuple[str, ...]:
    """What the sums leave out."""
    if any(tariff.file.subsidies for book in (old, new) for tariff in book.tariffs):
        return ("subsidies that are given back after a period are in none of these sums",)
    return ()
