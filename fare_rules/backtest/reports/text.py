"""A back-test as plain text, for a terminal or a file."""

from collections.abc import Iterator

from fare_rules.amounts import said
from fare_rules.backtest.comparison import Comparison
from fare_rules.backtest.reports.tables import Table, signed, tables, tap_said
from fare_rules.backtest.tally import Extreme


def as_text(comparison: Comparison) -> str:
    """Write a comparison as aligned tables, then the extreme cases step by step."""
    return "\n".join(_lines(comparison)) + "\n"


def heading(comparison: Comparison) -> list[str]:
    """What was compared."""
    first, last = comparison.first_day, comparison.last_day
    days = f"service days {first} to {last}" if first else "no tap on these days"
    return [
        f"old: {comparison.old.name}, {comparison.old.in_force}",
        f"new: {comparison.new.name}, {comparison.new.in_force}",
        f"{days}; {comparison.tally.taps_count} taps of {comparison.riders_count} riders",
        f"amounts in {comparison.currency}; a difference is what the new tariff is more",
        *comparison.notes,
    ]


def _lines(comparison: Comparison) -> Iterator[str]:
    yield "Back-test"
    yield from heading(comparison)
    for table in tables(comparison):
        yield ""
        yield from _table(table)
    for title, extremes in extreme_cases(comparison):
        yield ""
        yield title
        if not extremes:
            yield "  none"
        for extreme in extremes:
            yield from _extreme(extreme, comparison)


def extreme_cases(comparison: Comparison) -> list[tuple[str, list[Extreme]]]:
    return [
        ("Riders who save the most", comparison.tally.better),
        ("Riders who lose the most", comparison.tally.worse),
    ]


def extreme_said(extreme: Extreme, comparison: Comparison) -> str:
    digits = comparison.currency_digits
    return (
        f"rider {extreme.media_token}: {signed(extreme.difference_fen, digits)}, "
        f"from {said(extreme.old_fen, digits)} to {said(extreme.new_fen, digits)}"
    )


def others_said(extreme: Extreme) -> str:
    return f"{extreme.others_count} other taps, charged alike or left out for length"


def _table(table: Table) -> Iterator[str]:
    yield table.title
    if table.note:
        yield f"  {table.note}"
    if not table.rows:
        yield "  none"
        return
    rows = [table.columns, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    for row in rows:
        first, *others = (
            cell.rjust(width) if table.has_numbers and column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  " + "  ".join([first, *others]).rstrip()


def _extreme(extreme: Extreme, comparison: Comparison) -> Iterator[str]:
    yield f"  {extreme_said(extreme, comparison)}"
    for prices in extreme.taps:
        yield f"    {tap_said(prices.tap, comparison.timezone)}"
        if prices.old == prices.new:
            yield from (f"      both {line}" for line in prices.old)
            continue
        for side, lines in (("old", prices.old), ("new", prices.new)):
            yield from (f"      {side}  {line}" for line in lines)
    if extreme.others_count:
        yield f"    {others_said(extreme)}"
