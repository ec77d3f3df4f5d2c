"""The house is in order. The arrows between our own packages are import-linter's: `make lint`."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = {"gateway", "fare_rules", "tests"}


def test_the_load_test_is_a_black_box():
    """It would not notice a fault that it shared with the gateway."""
    for path in sorted((ROOT / "loadtest").rglob("*.py")):
        shared = _imported(path) & OURS
        assert not shared, f"{path.name} imports {shared}: say it over HTTP or SQL instead"


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names
