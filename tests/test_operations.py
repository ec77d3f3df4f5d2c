"""What operators are given is true: the page of bounds, the dashboard, the alert rules."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from msgspec import structs

from gateway.core.taps import TapOutcome
from gateway.shell import telemetry
from gateway.shell.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "gateway/BACKPRESSURE.md").read_text()
ALERTS_TEXT = (ROOT / "gateway/dashboards/alerts.yaml").read_text()
DASHBOARD_TEXT = (ROOT / "gateway/dashboards/faregate.json").read_text()
ALERTS = [rule for group in yaml.safe_load(ALERTS_TEXT)["groups"] for rule in group["rules"]]
DASHBOARD = json.loads(DASHBOARD_TEXT)
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

SOURCE = "".join(path.read_text() for path in sorted((ROOT / "gateway").rglob("*.py")))
SETTINGS = {setting.name for setting in structs.fields(Settings)}
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}
# Prometheus itself adds these to whatever it reads.
TARGET_LABELS = {"instance", "job"}
WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "offset", "bool"}


def _exported() -> dict[str, set[str]]:
    """Every sample that the gateway exports, with its labels."""
    found = {}
    for metric in vars(telemetry).values():
        if isinstance(metric, telemetry.Counter | telemetry.Gauge | telemetry.Histogram):
            (family,) = metric.describe()
            for suffix in SUFFIXES[family.type]:
                bucket = {"le"} if suffix == "_bucket" else set()
                found[family.name + suffix] = {*metric._labelnames, *bucket}
    return found


EXPORTED = _exported()
EXPRESSIONS = [(rule["alert"], rule["expr"]) for rule in ALERTS] + [
    (panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]
]


def selectors(expression: str) -> list[tuple[str, dict[str, str]]]:
    """The metrics that a PromQL expression names, each with what it says of its labels."""
    bare = re.sub(r"\b(?:by|without|on|ignoring)\s*\([^)]*\)|\[[^\]]*\]", " ", expression)
    found = []
    for name, is_call, matchers in re.findall(
        r'(?<![\w"$.])([a-zA-Z_:][\w:]*)\s*(\()?(\{[^}]*\})?', re.sub(r"\boffset \w+", " ", bare)
    ):
        if not is_call and name not in WORDS:
            found.append((name, dict(re.findall(r'(\w+)\s*[=!~]+\s*"([^"]*)"', matchers))))
    return found


def grouped_by(expression: str) -> set[str]:
    lists = re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", expression)
    return {label.strip() for labels in lists for label in labels.split(",")}


def test_an_expression_is_taken_apart():
    assert selectors(
        'sum by (le) (rate(a_bucket{x="1",y=~"2|3"}[5m])) / b > 10e6 and c offset 1d'
    ) == [("a_bucket", {"x": "1", "y": "2|3"}), ("b", {}), ("c", {})]
    assert grouped_by("sum by (le, x) (a) / on(y) b") == {"le", "x", "y"}


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_what_is_watched_exists(where: str, expression: str):
    named = selectors(expression)
    assert named, f"{where}: {expression!r} names no metric"
    for name, matchers in named:
        assert name in EXPORTED, f"{where}: the gateway exports no {name}"
        strange = matchers.keys() - EXPORTED[name] - TARGET_LABELS
        assert not strange, f"{where}: {name} has no label {strange}"
        for reason in matchers.get("reason", "").split("|"):
            assert not reason or is_reason(reason), f"{where}: nothing is refused for {reason}"
        assert matchers.get("setting", "queue_taps_max") in SETTINGS
        if route := matchers.get("route"):
            method, _, path = route.partition(" ")
            assert f'"{method}", "{path}"' in SOURCE, f"{where}: there is no route {route}"
    labels = set().union(*(EXPORTED[name] for name, _ in named)) | TARGET_LABELS
    assert grouped_by(expression) <= labels


def test_refusals_that_are_watched_are_counted_from_the_start():
    """An alert on an increase would miss the first of a series that begins with it."""
    telemetry.begin_counting()
    for rule in ALERTS:
        for name, matchers in selectors(rule["expr"]):
            for reason in matchers.get("reason", "").split("|"):
                labels = {"reason": reason}
                if reason:
                    assert telemetry.METRICS.get_sample_value(name, labels) is not None, reason


def test_outcomes_are_counted_from_the_start():
    """An alert that no tap has come looks for a 0, and there is none where no series is."""
    telemetry.begin_counting()
    for outcome in TapOutcome:
        labels = {"outcome": outcome.value}
        assert telemetry.METRICS.get_sample_value("faregate_taps_total", labels) is not None


def is_reason(reason: str) -> bool:
    return f'"{reason}"' in SOURCE


@pytest.mark.parametrize(
    "text", [PAGE, ALERTS_TEXT, DASHBOARD_TEXT], ids=["page", "alerts", "dash"]
)
def test_settings_and_metrics_named_in_words_exist(text: str):
    for name in set(re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]\b", text)):
        assert name.removeprefix(PREFIX).lower() in SETTINGS, f"there is no setting {name}"
    families = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in EXPORTED}
    for name in set(re.findall(r"\bfaregate_[a-z_]*[a-z]\b", text)):
        assert name in EXPORTED or name in families, f"there is no metric {name}"


def test_every_metric_is_explained_or_shown():
    text = PAGE + DASHBOARD_TEXT
    missing = {
        family
        for family in {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in EXPORTED}
        if family not in text
    }
    assert not missing, f"say in gateway/BACKPRESSURE.md what bound {missing} is the measure of"


def test_every_bound_has_its_setting_its_answer_and_its_metric():
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if line.startswith("| ") and not line.startswith("| Bound")
    ]
    assert len(rows) >= 16
    for row in rows:
        assert all(row), f"{row[0]}: a cell is empty"
        assert PREFIX in row[1], f"{row[0]}: name its setting"
        assert "`faregate_" in row[-1], f"{row[0]}: name its metric"
        if len(row) == 5:
            assert is_reason(row[3].strip("`")), f"{row[0]}: nothing is refused for {row[3]}"


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_why_and_what_to_do(rule: dict):
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"].keys() == {"summary", "reason", "action"}
    for text in rule["annotations"].values():
        assert text.endswith("."), f"{rule['alert']}: write a sentence"
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
    assert rule["expr"].count("(") == rule["expr"].count(")")


def test_alerts_have_names_of_their_own():
    names = Counter(rule["alert"] for rule in ALERTS)
    assert set(names.values()) == {1}


def test_the_dashboard_asks_the_source_that_is_chosen():
    chosen = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert chosen == {"source", "instance"}
    for panel in PANELS:
        assert panel["description"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${source}"
            assert 'instance=~"$instance"' in target["expr"]


def test_panels_have_ids_and_places_of_their_own():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = Counter(
        (x, y)
        for panel in panels
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )
    assert set(taken.values()) == {1}
    assert max(x for x, _ in taken) < 24
