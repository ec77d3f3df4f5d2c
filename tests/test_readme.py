"""The README is true: its tables and commands are held against the code."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from gateway.__main__ import app
from gateway.api import REPEATS_HEADER
from gateway.core.registry import Role
from gateway.core.taps import TapOutcome
from gateway.shell import signatures

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
PAGES = ("README.md", "gateway/DECISIONS.md", "gateway/BACKPRESSURE.md")
SECTIONS = {
    part.partition("\n")[0]: part for part in re.split(r"^## ", README, flags=re.MULTILINE)[1:]
}


def _rows(section: str) -> list[list[str]]:
    """The cells of a section's tables, without their headings."""
    rows: list[list[str]] = []
    for block in re.findall(r"(?:^\|.*\n)+", SECTIONS[section], flags=re.MULTILINE):
        rows += [[cell.strip() for cell in line.strip("|").split("|")]
                 for line in block.splitlines()[2:]]  # fmt: skip
    return rows


STEPS = _rows("The walk of one tap")


def _defined(path: Path) -> set[str]:
    """Functions of a module by name, methods by class and name."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}.{one.name}"
                for one in node.body
                if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return names


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step[0])
def test_each_step_of_the_walk_exists(step: list[str]):
    where = re.fullmatch(r"`(\S+\.py): (\S+)`", step[2])
    assert where, f"step {step[0]}: write `file: function`, not {step[2]}"
    path, name = ROOT / where[1], where[2]
    assert path.is_file(), f"step {step[0]}: {where[1]} is gone; name the file that does it now"
    assert name in _defined(path), (
        f"step {step[0]}: {where[1]} has no {name}; name the function that does it now"
    )


def test_the_walk_is_numbered():
    assert [step[0] for step in STEPS] == [str(n) for n in range(1, len(STEPS) + 1)]
    assert STEPS


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z][a-z-]*)", README))))
def test_each_make_command_exists(target: str):
    assert re.search(rf"^{target}:", MAKEFILE, flags=re.MULTILINE), (
        f"the README says `make {target}`; the Makefile has no such target"
    )


def test_the_two_commands_come_first():
    assert re.findall(r"^make (\S+)", README, flags=re.MULTILINE)[:2] == ["run", "test"]


def _commands() -> list[str]:
    cells = [row[0] for row in _rows("Commands") if "faregate" in row[0]]
    return [command for cell in cells for command in re.findall(r"`(faregate [^`]+)`", cell)]


@pytest.mark.parametrize("command", _commands())
def test_each_command_exists(command: str):
    words = shlex.split(command)[1:]
    if words == ["--version"]:
        return
    chain, _, _ = app.parse_commands(words)
    named = [word for word in words if re.fullmatch(r"[a-z][a-z-]*", word)]
    assert list(chain) == named[: len(chain)], f"faregate has no {named}"
    assert chain
    leaf = app[chain[0]] if len(chain) == 1 else app[chain[0]][chain[1]]
    assert leaf.default_command, f"`faregate {' '.join(chain)}` needs a subcommand"


def test_each_command_is_named():
    said = " ".join(_commands())
    for name in app:
        if not name.startswith("-"):
            assert f"faregate {name}" in said, f"say in the README what `faregate {name}` does"


def test_each_outcome_is_told_in_its_order():
    rows = _rows("Outcomes")
    assert [row[0].strip("`") for row in rows] == [str(outcome) for outcome in TapOutcome]
    for row in rows:
        outcome = TapOutcome(row[0].strip("`"))
        assert row[1] == ("yes" if outcome.is_kept else "no"), f"{outcome}: is it kept?"
        opens = "yes" if outcome.is_let_through else "no"
        assert row[2] == ("exits only" if outcome.is_quarantined else opens), f"{outcome}: opens?"


def test_each_role_is_told():
    assert {row[0].strip("`") for row in _rows("Roles")} == {str(role) for role in Role}


def test_the_headers_are_called_so():
    for header in (
        signatures.KEY_HEADER,
        signatures.TIMESTAMP_HEADER,
        signatures.SIGNATURE_HEADER,
        REPEATS_HEADER,
    ):
        assert header in README, f"the README does not name the header {header}"


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_lead_somewhere(page: str):
    text = (ROOT / page).read_text()
    folder = (ROOT / page).parent
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    for link in links:
        assert (folder / link).exists(), f"{page} links to {link}, which is not there"
    for path in re.findall(r"\b(?:gateway|fare_rules|loadtest|tests)/[\w./]*\w\.\w+\b", text):
        assert (ROOT / path).exists(), f"{page} names {path}, which is not there"
