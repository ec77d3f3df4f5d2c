"""The three reports of one comparison: what they say, and that the page needs nothing else."""

import csv
import io
import re
from collections import defaultdict
from datetime import date
from html.parser import HTMLParser

import pytest
from msgspec import structs

from fare_rules.backtest import as_csv, as_html, as_text, backtest

TUESDAY = date(2026, 3, 3)
VOID = {"meta"}


class _Page(HTMLParser):
    """Hold a page to nesting, and list its elements with their texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = defaultdict(list)
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts[self.open[-1] if self.open else ""].append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _row(text: str, title: str, name: str) -> list[str]:
    """The cells of a row of one of the text's tables."""
    section = text.split(f"\n{title}\n")[1].split("\n\n")[0]
    line = next(line for line in section.splitlines() if line.strip().startswith(name))
    return line.strip()[len(name) :].split()


def test_the_text_says_revenue_by_everything(compared):
    text = as_text(compared)
    totals = ["19.50", "20.75", "+1.25", "+6.4%"]
    assert _row(text, "Totals", "due to operators") == totals
    assert _row(text, "Totals", "paid by sponsors") == ["1.00", "1.00", "0.00", "0.0%"]
    metro = ["17.50", "17.75", "+0.25", "+1.4%", "5", "5"]
    assert _row(text, "Revenue by operator", "city_metro") == metro
    tram = ["0.00", "1.00", "+1.00", "-", "0", "1"]
    assert _row(text, "Revenue by product", "tram_ride") == tram
    student = ["1.50", "1.75", "+0.25", "+16.7%", "1", "1"]
    assert _row(text, "Revenue by rider category", "student") == student
    assert _row(text, "Revenue by sponsor", "bank")[:2] == ["1.00", "1.00"]


def test_the_text_says_who_is_better_and_worse_off(compared):
    text = as_text(compared)
    assert _row(text, "Riders better and worse off", "pay less") == ["1", "14.3%"]
    assert _row(text, "Riders better and worse off", "pay more") == ["3", "42.9%"]
    assert _row(text, "Differences by share of riders", "99%") == ["+0.50"]
    assert "rider carl: -1.00, from 1.00 to 0.00" in text
    assert "old  cap weekly_cap: -2.00 CNY, borne by the operator, leaves 1.00 CNY" in text


def test_the_text_names_what_was_compared_and_what_has_no_price(compared, city_taps):
    text = as_text(compared)
    assert "old: harbour (harbour), each file from its day on: 2026-01-01" in text
    assert "new: harbour (2027-01-01.yaml), as if it had been in force for all of the taps" in text
    assert "service days 2026-03-03 to 2026-03-03; 11 taps of 7 riders" in text
    tram = next(tap for tap in city_taps if tap.network == "tram")
    assert re.search(rf"old +unknown_network +1 +{tram.tap_id}", text)


def test_the_reports_say_that_subsidies_are_left_out(tmp_path, old, new, city_taps):
    draft = tmp_path / "2027-01-01.yaml"
    rebate = (
        "subsidies: [{id: rebate, period: {kind: month}, above: 5.00, percent: 50, "
        "rounding: {mode: down}, borne_by: bank, reference: h.10}]\n"
    )
    draft.write_text(new.read_text(encoding="utf-8") + rebate, encoding="utf-8")
    compared = backtest(city_taps, old, draft, workers=1)
    for report in (as_text, as_csv, as_html):
        assert "subsidies that are given back after a period are in none" in report(compared)


def test_the_csv_is_tidy_and_adds_up(compared):
    rows = list(csv.DictReader(io.StringIO(as_csv(compared))))
    assert {len(row) for row in rows} == {5}

    def value(table: str, item: str, measure: str, tariff: str) -> str:
        key = {"table": table, "item": item, "measure": measure, "tariff": tariff}
        (found,) = [row["value"] for row in rows if key.items() <= row.items()]
        return found

    assert value("total", "all", "fare", "difference") == "1.25"
    assert value("revenue_by_operator", "city_metro", "rider_pays", "new") == "16.75"
    assert value("paid_by_sponsor", "bank", "fare", "old") == "1.00"
    assert value("differences", "-1.00", "riders", "") == "1"
    assert value("without_price", "unknown_network", "taps", "old") == "1"
    assert value("loses_the_most", "anna", "rider_pays", "difference") == "0.50"
    riders = [int(row["value"]) for row in rows if row["table"] == "riders"]
    assert riders[0] == sum(riders[1:])


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(compared):
    page = as_html(compared)
    found = _Page(page)
    assert found.all("html") == [{"lang": "en"}]
    assert found.texts["title"][0].startswith("Back-test: harbour")
    assert not found.all("script")
    assert not re.search(r"(?i)https?:|//|@import|url\(|javascript:", page)
    assert not {"src", "href", "srcset", "action"} & {
        name for _, attributes in found.elements for name in attributes
    }
    assert not any(name.startswith("on") for _, attributes in found.elements for name in attributes)


def test_each_chart_has_a_title_a_description_and_bars(compared):
    found = _Page(as_html(compared))
    charts = found.all("svg")
    assert len(charts) == 5
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for chart in charts:
        assert chart["role"] == "img"
        assert set(chart["aria-labelledby"].split()) <= set(ids)
    # Two bars for each operator, product, category and sponsor; then the bars of differences.
    assert len(found.all("rect")) == 2 * (3 + 4 + 2 + 1) + len(compared.histogram)
    assert "old 17.50" in found.texts["text"]
    assert "new 17.75" in found.texts["text"]


def test_each_table_of_the_page_has_a_name_and_headings(compared):
    found = _Page(as_html(compared))
    assert len(found.all("table")) == 10
    assert all(table["aria-label"] for table in found.all("table"))
    assert {heading["scope"] for heading in found.all("th")} == {"row", "col"}


@pytest.mark.parametrize("token", ["<script>alert(1)</script>", 'a"b', "a&b", "渡轮"])
def test_no_name_becomes_markup(old, new, make_ride, token):
    taps = [structs.replace(tap, operator_id=token) for tap in make_ride(token, TUESDAY, "08:00")]
    found = _Page(as_html(backtest(taps, old, new, workers=1)))
    assert not found.all("script")
    assert token in "".join(found.texts["th"])
    assert f"rider {token}: +0.50" in "".join(found.texts["summary"])


def test_a_chart_shows_the_largest_and_its_table_all(old, new, make_ride):
    taps = [
        structs.replace(tap, operator_id=f"operator-{number:02}")
        for number in range(25)
        for tap in make_ride(f"rider-{number}", TUESDAY, "08:00")
    ]
    page = as_html(backtest(taps, old, new, workers=1))
    assert "the 5 smallest are in the table only" in page
    assert all(f"operator-{number:02}" in page for number in range(25))
