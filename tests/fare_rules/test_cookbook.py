"""Every page of the cookbook is a tariff that loads, and its examples cost what it says."""

import re
import shutil
from pathlib import Path

import pytest

from fare_rules.examples import run_examples

COOKBOOK = Path(__file__).parents[2] / "fare_rules" / "cookbook"
INDEX = (COOKBOOK / "README.md").read_text("utf-8")
BASE = (COOKBOOK / "base.yaml").read_text("utf-8")
PAGES = sorted(path for path in COOKBOOK.glob("*.md") if path.name != "README.md")

_BLOCK = re.compile(r"^```(yaml|csv)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SECTION = re.compile(r"^(?=[a-z_]+:)", re.MULTILINE)
_DAY = re.compile(r"^effective_from: (\S+)$", re.MULTILINE)


def write_folder(page: str, folder: Path) -> None:
    """Write what a page shows: its sections over the base's, its tables and its examples.

    Sections that name a day of their own are a later tariff.
    """
    tariffs = {"": BASE}
    examples = ""
    for language, name, text in _BLOCK.findall(page):
        if language == "csv":
            (folder / name).write_text(text, "utf-8")
        elif text.startswith("- "):
            examples += text
        else:
            day = "".join(_DAY.findall(text))
            tariffs[day] = merged(tariffs.get(day, BASE), text)
    for tariff in tariffs.values():
        (folder / f"{_DAY.findall(tariff)[0]}.yaml").write_text(tariff, "utf-8")
    (folder / "examples.yaml").write_text(examples, "utf-8")
    shutil.copy(COOKBOOK / "links.csv", folder)


def merged(base: str, fragment: str) -> str:
    """Put a fragment's sections in the place of the base's."""
    return "".join((_sections(base) | _sections(fragment)).values())


def _sections(text: str) -> dict[str, str]:
    parts = [part for part in _SECTION.split(text) if not part.startswith("#") and part.strip()]
    return {part.partition(":")[0]: part.rstrip("\n") + "\n" for part in parts}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_examples_of_a_page_are_right(path, tmp_path):
    write_folder(path.read_text("utf-8"), tmp_path)
    results = run_examples(tmp_path)
    assert results != []
    assert [(result.name, *result.differences) for result in results if not result.is_right] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_its_four_parts(path):
    text = path.read_text("utf-8")
    assert text.startswith("# ")
    assert re.search(r"^> ", text, re.MULTILINE), "the clause as a city prints it"
    assert re.search(r"^Arithmetic: ", text, re.MULTILINE)
    assert re.search(r"^Pitfalls$", text, re.MULTILINE)
    assert [line for line in text.splitlines() if len(line) > 110] == []


def test_the_index_names_every_page():
    named = set(re.findall(r"\]\((\w+\.md)\)", INDEX))
    assert named == {path.name for path in PAGES}


def test_every_link_of_a_page_leads_to_a_page():
    for path in PAGES:
        for name in re.findall(r"\]\((\w+\.md)\)", path.read_text("utf-8")):
            assert (COOKBOOK / name).exists(), f"{path.name} links to {name}"
