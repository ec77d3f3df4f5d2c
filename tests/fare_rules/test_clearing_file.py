"""clearing.yaml is read with the tariffs beside it; what is wrong in it is told by its place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fare_rules import TariffFaults, load_book

HARBOUR = Path(__file__).parents[1] / "stories" / "harbour"


def told(folder: Path, text: str) -> list[str]:
    """The faults of a folder with this clearing.yaml, without where it lies."""
    shutil.copytree(HARBOUR, folder, dirs_exist_ok=True)
    (folder / "clearing.yaml").write_text(text)
    try:
        load_book(folder)
    except TariffFaults as faults:
        return [str(fault).removeprefix(f"{folder}/") for fault in faults.faults]
    return []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "agreements:\n  - {id: a, reference: x, by: own_fares}\n",
            "clearing.yaml:2:31: error[not_a_choice]",
        ),
        (
            "agreements:\n  - {id: a, reference: x, by: table}\n",
            "clearing.yaml:2:31: error[needs_another_key]",
        ),
        (
            "agreements:\n  - {id: a, reference: x, by: bearer, bearers: table}\n",
            "clearing.yaml:2:31: error[needs_another_key]",
        ),
        (
            "fees:\n  - {id: a, reference: x, paid_to: icbc, percent: 1}\n"
            "  - {id: a, reference: x, paid_to: icbc, per_ride: 0.01}\n",
            "clearing.yaml:3:10: error[duplicate_id]",
        ),
        (
            "fees:\n  - {id: a, reference: x, paid_to: icbc, per_ride: 0.001}\n",
            "clearing.yaml:2:52: error[bad_text]",
        ),
    ],
)
def test_what_is_wrong_is_told_by_file_line_and_column(tmp_path: Path, text: str, fault: str):
    (said,) = told(tmp_path, text)
    assert said.startswith(fault)


def test_a_folder_without_the_file_agrees_on_nothing(tmp_path: Path):
    assert load_book(HARBOUR).clearing.agreements == ()
    assert told(tmp_path, "fees: []\n") == []
