"""The tables of a report, as the text and the page both show them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from zoneinfo import ZoneInfo

from msgspec import Struct

from fare_rules.amounts import said
from fare_rules.backtest.comparison import Bin, Comparison
from fare_rules.backtest.tally import Refused, Revenue, Sums
from fare_rules.taps import RideTap


class Table(Struct, frozen=True):
    """Rows of text under a heading. All columns but the first are numbers if `has_numbers`."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    has_numbers: bool = True


def tables(comparison: Comparison) -> Iterator[Table]:
    """All tables but the extreme cases, in the order of a report."""
    yield _totals(comparison)
    yield from revenue_tables(comparison).values()
    yield riders_table(comparison)
    yield quantiles_table(comparison)
    yield histogram_table(comparison)
    yield _taps(comparison)
    yield _unpriced(comparison)


def _totals(comparison: Comparison) -> Table:
    total, digits = comparison.tally.total, comparison.currency_digits
    counts = (total.old.rides_count, total.new.rides_count)
    rows = [
        ("due to operators", *amounts(total.old.fare_fen, total.new.fare_fen, digits)),
        ("paid by riders", *amounts(total.old.rider_fen, total.new.rider_fen, digits)),
        ("paid by sponsors", *amounts(total.old.sponsor_fen, total.new.sponsor_fen, digits)),
        ("charged rides", *(f"{count}" for count in counts), *_change(*counts, 0)),
    ]
    return Table("Totals", _columns("", comparison.currency), rows)


def revenue_tables(comparison: Comparison) -> dict[str, Table]:
    """Revenue by what it is from, under the name of the group."""
    tally = comparison.tally
    groups = {
        "operator": (tally.by_operator, "Due to each operator, whoever pays it."),
        "product": (tally.by_product, "Due for each product, whoever pays it."),
        "category": (tally.by_category, "Due for the rides of each category, whoever pays it."),
        "sponsor": (tally.by_sponsor, "What each sponsor pays of it."),
    }
    return {
        name: Table(
            f"Revenue by {'rider category' if name == 'category' else name}",
            (*_columns(name, comparison.currency), "rides old", "rides new"),
            _revenue_rows(revenues, comparison.currency_digits),
            note,
        )
        for name, (revenues, note) in groups.items()
    }


def _columns(first: str, currency: str) -> tuple[str, ...]:
    return (first, f"old {currency}", f"new {currency}", "difference", "percent")


def _revenue_rows(revenues: Mapping[str, Revenue], digits: int) -> list[tuple[str, ...]]:
    return [
        (
            name,
            *amounts(one.old.fare_fen, one.new.fare_fen, digits),
            f"{one.old.rides_count}",
            f"{one.new.rides_count}",
        )
        for name, one in by_size(revenues, lambda sums: sums.fare_fen)
    ]


def by_size(
    revenues: Mapping[str, Revenue], size: Callable[[Sums], int]
) -> list[tuple[str, Revenue]]:
    """The largest first; of two as large, in the order of their names."""
    return sorted(
        revenues.items(), key=lambda pair: (-max(size(pair[1].old), size(pair[1].new)), pair[0])
    )


def amounts(old_fen: int, new_fen: int, digits: int) -> tuple[str, str, str, str]:
    return (said(old_fen, digits), said(new_fen, digits), *_change(old_fen, new_fen, digits))


def _change(old_fen: int, new_fen: int, digits: int) -> tuple[str, str]:
    return signed(new_fen - old_fen, digits), percent_said(old_fen, new_fen)


def signed(amount_fen: int, digits: int) -> str:
    """Write a difference: +0.40, -0.40, 0.00."""
    return f"{'+' if amount_fen > 0 else ''}{said(amount_fen, digits)}"


def percent_said(old: int, new: int) -> str:
    """Write a change in tenths of a percent, half up; a dash where there was nothing before."""
    if old <= 0:
        return "-"
    tenths = (abs(new - old) * 2000 + old) // (2 * old)
    return signed(tenths if new >= old else -tenths, 1) + "%"


def riders_table(comparison: Comparison) -> Table:
    counts = {
        "pay less": comparison.better_count,
        "pay the same": comparison.same_count,
        "pay more": comparison.worse_count,
        "cannot be compared": comparison.tally.incomparable_count,
    }
    rows = [
        (name, f"{count}", share_said(count, comparison.riders_count))
        for name, count in counts.items()
    ]
    note = (
        "A rider is one card or phone. Not compared are riders with a tap that only one of the "
        "two tariffs can price."
    )
    return Table("Riders better and worse off", ("", "riders", "share"), rows, note)


def share_said(count: int, whole: int) -> str:
    return f"{said((count * 2000 + whole) // (2 * whole), 1)}%" if whole else "-"


def quantiles_table(comparison: Comparison) -> Table:
    rows = [
        (f"{percent}%", signed(fen, comparison.currency_digits))
        for percent, fen in comparison.quantiles.items()
    ]
    note = "So many of the riders pay at most this much more, over all reported days together."
    columns = ("of the riders", f"difference {comparison.currency}")
    return Table("Differences by share of riders", columns, rows, note)


def histogram_table(comparison: Comparison) -> Table:
    rows = [
        (bin_said(one, comparison.currency_digits), f"{one.riders_count}")
        for one in comparison.histogram
    ]
    note = "How much more a rider pays over all reported days together."
    columns = (f"difference {comparison.currency}", "riders")
    return Table("Distribution of differences", columns, rows, note)


def bin_said(one: Bin, digits: int) -> str:
    low, high = signed(one.low_fen, digits), signed(one.high_fen, digits)
    return low if low == high else f"{low} to {high}"


def _taps(comparison: Comparison) -> Table:
    tally = comparison.tally
    rows = [
        ("taps of the reported days", f"{tally.taps_count}", f"{tally.taps_count}"),
        (
            "second beeps, not charged",
            f"{tally.double_beeps_old_count}",
            f"{tally.double_beeps_new_count}",
        ),
        (
            "taps without a price",
            f"{sum(one.old.count for one in tally.unpriced.values())}",
            f"{sum(one.new.count for one in tally.unpriced.values())}",
        ),
        ("taps of other days", f"{tally.outside_count}", f"{tally.outside_count}"),
        ("taps given twice", f"{tally.repeated_count}", f"{tally.repeated_count}"),
    ]
    note = (
        "Taps of other days are priced and not reported. A tap given twice under one id is priced "
        "once."
    )
    return Table("Taps", ("", "old", "new"), rows, note)


def _unpriced(comparison: Comparison) -> Table:
    rows = [
        (side, reason, f"{refused.count}", named(refused))
        for reason, unpriced in sorted(comparison.tally.unpriced.items())
        for side, refused in (("old", unpriced.old), ("new", unpriced.new))
        if refused.count
    ]
    note = "These taps are in no sum: a tariff that cannot price them seems cheaper than it is."
    columns = ("tariff", "reason", "taps", "the earliest of them")
    return Table("Taps without a price", columns, rows, note, has_numbers=False)


def named(refused: Refused) -> str:
    return " ".join(str(tap_id) for _, tap_id in refused.earliest)


def tap_said(tap: RideTap, timezone: ZoneInfo) -> str:
    """Say what a tap was, in local time."""
    local = tap.tapped_at.astimezone(timezone)
    places = [
        f"{word} {value}"
        for word, value in (
            ("stop", tap.stop_id),
            ("route", tap.route_id),
            ("vehicle", tap.vehicle_id),
        )
        if value is not None
    ]
    what = " ".join([f"{local:%Y-%m-%d %H:%M:%S}", tap.action, tap.network, *places])
    return f"{what} ({tap.rider_category}, {tap.fare_media}, {tap.operator_id}; tap {tap.tap_id})"
