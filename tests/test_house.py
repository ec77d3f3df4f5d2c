"""The house is in order; each message says the cure. `make lint` checks the arrows once more."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"gateway", "fare_rules", "tests"}
CODE = sorted(
    path.relative_to(ROOT)
    for folder in ("gateway", "fare_rules", "loadtest")
    for path in (ROOT / folder).rglob("*.py")
)
EVERY_FILE = [*CODE, *sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))]
LINES_MAX = 520

# From the inside outwards: each may import only what stands before it.
FORBIDDEN_IMPORTS = {
    "fare_rules": (
        ("gateway",),
        "prices know nothing of the gateway: pass the fact in, as a field of Leg or an argument",
    ),
    "gateway/core": (
        (
            "gateway.shell",
            "gateway.api",
            "gateway.serving",
            "gateway.supervisor",
            "gateway.__main__",
            "_path",
        ),
        "the core never waits: load the fact in the shell and make it a field of Snapshot",
    ),
    "gateway/shell": (
        ("gateway.api", "gateway.serving", "gateway.supervisor", "gateway.__main__", "_path"),
        "the shell never decides: let the path call the shell, or pass a function in",
    ),
}
# What asks the time or draws lots, by its last two names.
CLOCKS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
    "time.time", "time.time_ns", "time.monotonic", "time.perf_counter", "time.sleep",
    "uuid.uuid1", "uuid.uuid4", "os.urandom",
}  # fmt: skip
CLOCK_MODULES = {"time", "random", "secrets"}
CLOCK_NAMES = {"uuid1", "uuid4", "urandom"}


# The race feeds taps to the batcher without a door, and loads 300,000 wallets as the desk would.
INSIDE_FOR_A_REASON = ROOT / "loadtest/bench/inside"


def test_the_load_test_is_a_black_box():
    """It would not notice a fault that it shared with the gateway."""
    for path in sorted((ROOT / "loadtest").rglob("*.py")):
        if path.is_relative_to(INSIDE_FOR_A_REASON):
            continue
        shared = _imported(path) & OURS
        assert not shared, f"{path.name} imports {shared}: say it over HTTP or SQL instead"


@pytest.mark.parametrize("folder", FORBIDDEN_IMPORTS)
def test_imports_run_one_way(folder: str):
    forbidden, cure = FORBIDDEN_IMPORTS[folder]
    found = [
        f"{path} imports {name}"
        for path in CODE
        if path.is_relative_to(folder)
        for name in _modules(_tree(path))
        if name.startswith(forbidden) or ("_path" in forbidden and name.endswith("_path"))
    ]
    assert not found, f"{found}: {cure}. Arrows: fare_rules <- core <- shell <- paths <- __main__"


def test_the_core_never_asks_the_time_and_never_draws_lots():
    """The same taps must come to the same money, whenever and however often they are decided."""
    found = [
        f"{path}:{line} uses {name}"
        for path in CODE
        if path.is_relative_to("gateway/core") or path.is_relative_to("fare_rules")
        for line, name in _clocks(_tree(path))
    ]
    assert not found, (
        f"{found}: take the instant as an argument (`tap.tapped_at`, `snapshot.received_at`), "
        "and derive ids from their cause (`uuid5`)"
    )


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import random as dice",
        "from secrets import token_hex",
        "from uuid import uuid4",
        "import uuid\nuuid.uuid4()",
        "from datetime import datetime as when, UTC\nwhen.now(UTC)",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import date\nclock = date.today",
    ],
)
def test_a_clock_is_found_under_any_name(source: str):
    assert list(_clocks(ast.parse(source)))


def test_instants_may_be_compared_and_moved():
    assert not list(_clocks(ast.parse("from datetime import datetime\nnow = datetime.max")))


def test_no_module_is_called_utils():
    found = [str(path) for path in EVERY_FILE if path.stem in {"utils", "util", "helpers", "misc"}]
    assert not found, f"{found}: a thing without a home has not been understood yet; name its noun"


def test_every_module_says_what_it_is():
    found = [str(path) for path in CODE if not ast.get_docstring(_tree(path))]
    assert not found, f"{found}: begin with one sentence in a docstring; then the map, if any"


def test_no_file_is_two_things():
    long = {path: len((ROOT / path).read_text().splitlines()) for path in EVERY_FILE}
    found = {str(path): count for path, count in long.items() if count > LINES_MAX}
    assert not found, (
        f"{found} lines, over {LINES_MAX}: ask whether it is two things, and split it by noun, "
        "never by layer or by length alone"
    )


def _tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def _modules(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"line {node.lineno}: write the import in full, from the top"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _clocks(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Where a clock or a die is imported or named, whatever it was renamed to."""
    renamed: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                renamed[alias.asname or alias.name] = alias.name
                if alias.name in CLOCK_MODULES:
                    yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                renamed[alias.asname or alias.name] = alias.name
                if node.module in CLOCK_MODULES or alias.name in CLOCK_NAMES:
                    yield node.lineno, f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else None
            if isinstance(node.value, ast.Name):
                owner = renamed.get(node.value.id, node.value.id)
            if f"{owner}.{node.attr}" in CLOCKS:
                yield node.lineno, f"{owner}.{node.attr}"


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names
