"""A back-test as one HTML page: it needs no other file, no network and no JavaScript.

Elements are built as a tree, so that no name of a tariff or a tap can become markup.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element, tostring

from fare_rules.amounts import said
from fare_rules.backtest.comparison import Comparison
from fare_rules.backtest.reports.charts import Bar, BarGroup, bar_chart
from fare_rules.backtest.reports.tables import (
    Table,
    bin_said,
    by_size,
    revenue_tables,
    tables,
    tap_said,
)
from fare_rules.backtest.reports.text import extreme_cases, extreme_said, heading, others_said
from fare_rules.backtest.tally import Extreme, Revenue

# A chart of more bars is no picture any more; its table has all of them.
CHART_GROUPS_MAX = 20

# A browser that honours this loads nothing, whatever the page says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

_STYLE = """
:root { color-scheme: light dark; --old: #8a6d3b; --new: #1f6f9f; --line: #9996; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
th, td { padding: .15rem .7rem; border-bottom: 1px solid var(--line); text-align: left; }
.numbers td, .numbers thead th + th { text-align: right; font-variant-numeric: tabular-nums; }
th[scope=row] { font-weight: normal; }
.wide { overflow-x: auto; }
figure { margin: 0 0 1rem; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: currentColor; }
.axis { stroke: currentColor; }
.old, .less { fill: var(--old); }
.new, .more { fill: var(--new); }
.same { fill: #888; }
details { border-bottom: 1px solid var(--line); padding: .4rem 0; }
summary { cursor: pointer; }
.tap { font-weight: 600; margin: .8rem 0 0; }
.prices { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
.prices h4 { margin: 0; font-weight: 600; }
.prices ol { margin: 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) { :root { --old: #d2a65a; --new: #5db0e0; } }
"""


def as_html(comparison: Comparison) -> str:
    """Write a comparison as one page with its charts, its tables and the extreme cases."""
    page = _element(
        "html",
        _element(
            "head",
            _element("meta", charset="utf-8"),
            _element("meta", **{"http-equiv": "Content-Security-Policy", "content": _POLICY}),
            _element("meta", name="viewport", content="width=device-width"),
            _element("title", f"Back-test: {comparison.old.name} and {comparison.new.name}"),
            _element("style", _STYLE),
        ),
        _element("body", _element("main", *_sections(comparison))),
        lang="en",
    )
    return "<!DOCTYPE html>\n" + tostring(page, encoding="unicode", method="html") + "\n"


def _sections(comparison: Comparison) -> Iterator[Element]:
    yield _element("h1", "Back-test")
    yield _element("ul", *(_element("li", line) for line in heading(comparison)))
    charts = _charts(comparison)
    for table in tables(comparison):
        content = [_element("h2", table.title)]
        if table.title in charts and table.rows:
            content.append(_element("figure", charts[table.title]))
        yield _element("section", *content, *_table(table))
    for title, extremes in extreme_cases(comparison):
        cases = [_extreme(extreme, comparison) for extreme in extremes]
        yield _element("section", _element("h2", title), *(cases or [_element("p", "none")]))


def _charts(comparison: Comparison) -> dict[str, Element]:
    """The charts, each under the title of the table that it shows."""
    tally = comparison.tally
    groups = {
        "operator": tally.by_operator,
        "product": tally.by_product,
        "category": tally.by_category,
        "sponsor": tally.by_sponsor,
    }
    charts = {
        table.title: _revenue_chart(name, table.title, groups[name], comparison)
        for name, table in revenue_tables(comparison).items()
    }
    return {**charts, "Distribution of differences": _distribution_chart(comparison)}


def _revenue_chart(
    name: str, title: str, revenues: dict[str, Revenue], comparison: Comparison
) -> Element:
    digits = comparison.currency_digits
    found = by_size(revenues, lambda sums: sums.fare_fen)
    groups = [
        BarGroup(
            group,
            tuple(
                Bar(fen, f"{side} {said(fen, digits)}", side)
                for side, fen in (("old", one.old.fare_fen), ("new", one.new.fare_fen))
            ),
        )
        for group, one in found[:CHART_GROUPS_MAX]
    ]
    description = f"Bars of what was due under the old and the new tariff, in {comparison.currency}"
    left_out = len(found) - len(groups)
    if left_out:
        description += f"; the {left_out} smallest are in the table only"
    return bar_chart(f"by-{name}", title, f"{description}.", groups)


def _distribution_chart(comparison: Comparison) -> Element:
    groups = []
    for one in comparison.histogram:
        style = "less" if one.high_fen < 0 else "more" if one.low_fen > 0 else "same"
        label = bin_said(one, comparison.currency_digits)
        bar = Bar(one.riders_count, f"{one.riders_count} riders", style)
        groups.append(BarGroup(label, (bar,)))
    description = (
        f"Bars of how many riders pay so much more, in {comparison.currency}: "
        f"{comparison.better_count} pay less, {comparison.same_count} the same, "
        f"{comparison.worse_count} more."
    )
    return bar_chart("differences", "Distribution of differences", description, groups)


def _table(table: Table) -> Iterator[Element]:
    if table.note:
        yield _element("p", table.note)
    if not table.rows:
        yield _element("p", "none")
        return
    head = (_element("th", column, scope="col") for column in table.columns)
    rows = (
        _element(
            "tr",
            _element("th", row[0], scope="row"),
            *(_element("td", cell) for cell in row[1:]),
        )
        for row in table.rows
    )
    whole = _element(
        "table",
        _element("thead", _element("tr", *head)),
        _element("tbody", *rows),
        **{"class": "numbers" if table.has_numbers else "words", "aria-label": table.title},
    )
    yield _element("div", whole, **{"class": "wide"})


def _extreme(extreme: Extreme, comparison: Comparison) -> Element:
    content: list[Element] = []
    for prices in extreme.taps:
        tap = tap_said(prices.tap, comparison.timezone)
        content.append(_element("p", tap, **{"class": "tap"}))
        told: tuple[tuple[str, list[str]], ...] = (("old", prices.old), ("new", prices.new))
        if prices.old == prices.new:
            told = (("old and new", prices.old),)
        sides = (
            _element(
                "div",
                _element("h4", side),
                _element("ol", *(_element("li", line) for line in lines)),
            )
            for side, lines in told
        )
        content.append(_element("div", *sides, **{"class": "prices"}))
    if extreme.others_count:
        content.append(_element("p", others_said(extreme)))
    return _element("details", _element("summary", extreme_said(extreme, comparison)), *content)


def _element(tag: str, *content: Element | str, **attributes: str) -> Element:
    made = Element(tag, attributes)
    for one in content:
        if isinstance(one, str):
            made.text = (made.text or "") + one
        else:
            made.append(one)
    return made
