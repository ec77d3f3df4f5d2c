"""A back-test as one tidy CSV file: a row is one value, and says what of.

table, item, measure   what the value is of: revenue_by_operator, harbour_metro, fare
tariff                 old, new or difference; empty where a value is of neither
value                  an amount in the main unit of the currency, a count, a day or a text
"""

import csv
import io
from collections.abc import Iterator

from fare_rules.amounts import said
from fare_rules.backtest.comparison import Comparison
from fare_rules.backtest.reports.tables import by_size, named, tap_said
from fare_rules.backtest.tally import Extreme, Revenue

COLUMNS = ("table", "item", "measure", "tariff", "value")

Row = tuple[str, str, str, str, str]


def as_csv(comparison: Comparison) -> str:
    """Write a comparison as one long table."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(comparison))
    return file.getvalue()


def _rows(comparison: Comparison) -> Iterator[Row]:
    tally, digits = comparison.tally, comparison.currency_digits
    for side, name in ((comparison.old, "old"), (comparison.new, "new")):
        yield ("backtest", "tariff", "name", name, side.name)
        yield ("backtest", "tariff", "in_force", name, side.in_force)
    yield ("backtest", "currency", "code", "", comparison.currency)
    yield ("backtest", "days", "first", "", str(comparison.first_day or ""))
    yield ("backtest", "days", "last", "", str(comparison.last_day or ""))
    yield from (("backtest", "note", "text", "", note) for note in comparison.notes)
    yield from _revenue("total", "all", tally.total, digits)
    for table, revenues in (
        ("revenue_by_operator", tally.by_operator),
        ("revenue_by_product", tally.by_product),
        ("revenue_by_category", tally.by_category),
        ("paid_by_sponsor", tally.by_sponsor),
    ):
        for name, revenue in by_size(revenues, lambda sums: sums.fare_fen):
            yield from _revenue(table, name, revenue, digits)
    for item, count in (
        ("all", comparison.riders_count),
        ("pay_less", comparison.better_count),
        ("pay_the_same", comparison.same_count),
        ("pay_more", comparison.worse_count),
        ("cannot_be_compared", tally.incomparable_count),
    ):
        yield ("riders", item, "riders", "", f"{count}")
    for percent, fen in comparison.quantiles.items():
        yield ("quantiles", f"{percent}%", "rider_pays", "difference", said(fen, digits))
    for fen, count in sorted(tally.differences.items()):
        yield ("differences", said(fen, digits), "riders", "", f"{count}")
    yield ("taps", "reported", "taps", "", f"{tally.taps_count}")
    yield ("taps", "of_other_days", "taps", "", f"{tally.outside_count}")
    yield ("taps", "given_twice", "taps", "", f"{tally.repeated_count}")
    yield ("taps", "second_beeps", "taps", "old", f"{tally.double_beeps_old_count}")
    yield ("taps", "second_beeps", "taps", "new", f"{tally.double_beeps_new_count}")
    for reason, unpriced in sorted(tally.unpriced.items()):
        for tariff, refused in (("old", unpriced.old), ("new", unpriced.new)):
            yield ("without_price", reason, "taps", tariff, f"{refused.count}")
            yield ("without_price", reason, "earliest", tariff, named(refused))
    for table, extremes in (("saves_the_most", tally.better), ("loses_the_most", tally.worse)):
        for extreme in extremes:
            yield from _extreme(table, extreme, comparison)


def _revenue(table: str, item: str, revenue: Revenue, digits: int) -> Iterator[Row]:
    old, new = revenue.old, revenue.new
    measures = [("fare", old.fare_fen, new.fare_fen, digits)]
    if table != "paid_by_sponsor":
        measures.append(("rider_pays", old.rider_fen, new.rider_fen, digits))
        measures.append(("sponsors_pay", old.sponsor_fen, new.sponsor_fen, digits))
    measures.append(("rides", old.rides_count, new.rides_count, 0))
    for measure, before, after, places in measures:
        yield (table, item, measure, "old", said(before, places))
        yield (table, item, measure, "new", said(after, places))
        yield (table, item, measure, "difference", said(after - before, places))


def _extreme(table: str, extreme: Extreme, comparison: Comparison) -> Iterator[Row]:
    token, digits = extreme.media_token, comparison.currency_digits
    yield (table, token, "rider_pays", "old", said(extreme.old_fen, digits))
    yield (table, token, "rider_pays", "new", said(extreme.new_fen, digits))
    yield (table, token, "rider_pays", "difference", said(extreme.difference_fen, digits))
    for number, prices in enumerate(extreme.taps, start=1):
        what = f"tap {number}"
        yield (table, token, what, "", tap_said(prices.tap, comparison.timezone))
        for tariff, lines in (("old", prices.old), ("new", prices.new)):
            yield from ((table, token, what, tariff, line) for line in lines)
