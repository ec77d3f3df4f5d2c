"""`faregate rules`: what it says of good and bad tariffs, and with which exit code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.rules_commands import rules_app

HARBOUR = Path(__file__).parents[1] / "fare_rules" / "harbour"
FILE = "2026-01-01.yaml"
JOURNEY = ("--network", "metro", "--from", "pier", "--to", "tower", "--at", "2026-01-05 08:00")


class Said(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    error: str


Run = Callable[..., Said]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process; a process of its own is in test_command_line.py."""

    def make(*arguments: object) -> Said:
        try:
            code = rules_app()([str(each) for each in arguments], result_action="return_value")
        except SystemExit as stopped:
            code = stopped.code
        out, error = capsys.readouterr()
        return Said(code, out, error)

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the harbour's folder, to spoil."""
    copy = tmp_path / "harbour"
    shutil.copytree(HARBOUR, copy)
    return copy


def spoil(folder: Path, before: str, after: str, file: str = FILE) -> None:
    text = (folder / file).read_text()
    assert text.count(before) == 1
    (folder / file).write_text(text.replace(before, after))


def test_a_tariff_without_faults_is_told_so(run: Run):
    said = run("check", HARBOUR)
    assert (said.code, said.error) == (0, "")
    assert said.out.splitlines()[-1] == "0 faults in 1 folder or file"


def test_a_folder_of_folders_is_all_of_them(run: Run, folder: Path):
    shutil.copytree(folder, folder.parent / "other")
    assert run("check", folder.parent).out.splitlines()[-1] == "0 faults in 2 folders or files"


@pytest.mark.parametrize("name", ["", FILE])
def test_each_fault_is_told_with_its_place_and_remedy(run: Run, folder: Path, name: str):
    spoil(folder, "product: bus_ride", "product: bus_rode")
    said = run("check", folder / name)
    assert said.code == 1
    assert f"{FILE}:" in said.out
    assert "bus_rode" in said.out
    assert said.out.splitlines()[-1] == "1 fault in 1 folder or file"


def test_faults_are_told_to_programs_and_to_github(run: Run, folder: Path):
    spoil(folder, "product: bus_ride", "product: bus_rode")
    told = run("check", folder, "--format", "json")
    assert told.code == 1
    assert "bus_rode" in json.dumps(json.loads(told.out))
    assert run("check", folder, "--format", "github").out.startswith("::error ")


def test_faulty_examples_are_faults(run: Run, folder: Path):
    spoil(folder, "tap: board", "tap: bored", "examples.yaml")
    said = run("check", folder)
    assert said.code == 1
    assert "examples.yaml:" in said.out


def test_a_path_that_is_not_there_is_a_usage_error(run: Run, tmp_path: Path):
    said = run("check", tmp_path / "nowhere")
    assert said.code == 2
    assert "there is no such file or folder" in said.error


def test_all_examples_pass(run: Run):
    said = run("examples", HARBOUR)
    assert (said.code, said.out.splitlines()[-1]) == (0, "2 of 2 examples pass")


def test_a_wrong_example_is_shown_with_both_fares(run: Run, folder: Path):
    spoil(folder, "fare: 4.00", "fare: 4.10", "examples.yaml")
    said = run("examples", folder)
    assert said.code == 1
    first = said.out.splitlines()[1]
    assert "Three stations on the metro" in first
    assert "4.10" in first
    assert "4.00" in first
    assert said.out.splitlines()[-1] == "1 of 2 examples pass"


def test_examples_that_are_not_there_are_asked_for(run: Run, folder: Path):
    (folder / "examples.yaml").unlink()
    said = run("examples", folder)
    assert said.code == 2
    assert "has no examples.yaml" in said.error


def test_examples_of_a_faulty_tariff_are_its_faults(run: Run, folder: Path):
    spoil(folder, "product: bus_ride", "product: bus_rode")
    said = run("examples", folder)
    assert said.code == 1
    assert "bus_rode" in said.error


def test_an_example_is_explained_tap_by_tap(run: Run):
    said = run("explain", HARBOUR, "--example", "A bus after the metro")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[:2] == [
        "2026-01-01 08:00:00 enter metro pier",
        "  nothing is charged here",
    ]
    assert "2026-01-01 08:40:00 board bus 7" in lines
    assert any(line.startswith("  transfer bus_after_metro: -1.50 SGD") for line in lines)
    assert lines[-1] == "  the rider pays 0.00 SGD"


def test_the_start_of_a_name_is_enough_and_a_wrong_one_is_answered_by_others(run: Run):
    assert run("explain", HARBOUR, "--example", "Three").code == 0
    said = run("explain", HARBOUR, "--example", "A bus before the metro")
    assert said.code == 2
    assert "there is 'A bus after the metro'" in said.error


def test_a_journey_is_explained_as_an_example_is(run: Run):
    said = run("explain", HARBOUR, *JOURNEY)
    assert said.code == 0
    assert "  fare: 4.00 SGD" in said.out.splitlines()


def test_a_journey_is_quoted_with_what_everybody_pays(run: Run):
    said = run("quote", HARBOUR, *JOURNEY, "--issuer", "harbour_bank", "--rider", "student")
    assert said.code == 0
    assert said.out.splitlines() == [
        "metro_ride 4.00",
        "student_half -2.00",
        "one_cent -1.99 by harbour_bank",
        "fare 2.00 SGD",
        "rider pays 0.01 SGD",
        "harbour_bank pays 1.99 SGD",
    ]


def test_a_quote_is_told_to_programs(run: Run):
    told = json.loads(run("quote", HARBOUR, *JOURNEY, "--format", "json").out)
    assert told == {
        "fare": "4.00",
        "currency": "SGD",
        "pays": {"rider": "4.00"},
        "lines": ["metro_ride 4.00"],
        "tariff": "harbour/2026-01-01",
    }


def test_earlier_taps_count_in_a_quote(run: Run, tmp_path: Path):
    before = tmp_path / "before.yaml"
    before.write_text(
        "- {at: 08:00, tap: enter, network: metro, stop: pier}\n"
        "- {at: 08:20, tap: exit, network: metro, stop: market}\n"
    )
    asked = ("--network", "bus", "--at", "2026-01-05 08:40", "--before", before)
    assert run("quote", HARBOUR, *asked).out.splitlines()[-1] == "rider pays 0.00 SGD"


def test_what_a_gate_measures_and_names_is_read_exactly(run: Run):
    asked = ("--network", "ferry", "--at", "2026-01-05 08:40", "--distance-km")
    assert "fare 4.00 SGD" in run("quote", HARBOUR, *asked, "4").out
    assert "fare 6.00 SGD" in run("quote", HARBOUR, *asked, "4.001").out
    said = run("quote", HARBOUR, *asked, "4.0001")
    assert said.code == 2
    assert "--distance-km: '4.0001'" in said.error


@pytest.mark.parametrize(
    ("wrong", "code", "sentence"),
    [
        (("--network", "metor"), 1, "there is no network 'metor'"),
        (("--to", "towre"), 1, "did you mean tower?"),
        (("--at", "Monday"), 2, "--at: 'Monday' is no time"),
        (("--at", "2020-01-01 08:00"), 1, "no tariff is in force"),
        (("--network", "ferry"), 1, "no price (no_distance)"),
        (("--coupon", "one_cent"), 2, "--coupon: '' is no time"),
    ],
)
def test_a_journey_that_cannot_be_priced_is_refused_in_a_sentence(
    run: Run, wrong: tuple[str, str], code: int, sentence: str
):
    option = JOURNEY.index(wrong[0]) if wrong[0] in JOURNEY else len(JOURNEY)
    said = run("quote", HARBOUR, *JOURNEY[:option], *wrong, *JOURNEY[option + 2 :])
    assert (said.code, said.out) == (code, "")
    assert sentence in said.error


def test_a_journey_needs_a_network_and_a_time(run: Run):
    said = run("quote", HARBOUR, "--from", "pier")
    assert said.code == 2
    assert "--network is missing" in said.error


def test_tariffs_are_compared(run: Run, folder: Path):
    spoil(folder, "amount: 1.50", "amount: 1.80")
    said = run("diff", HARBOUR, folder / FILE)
    assert said.code == 0
    assert "    pricing.amount: 1.50 -> 1.80" in said.out.splitlines()
    told = json.loads(run("diff", HARBOUR / FILE, folder, "--format", "json").out)
    assert told["rules"][0]["id"] == "bus_ride"


def test_a_schema_is_printed_for_either_file(run: Run):
    for kind, title in (("tariff", "Tariff"), ("examples", "Example")):
        schema = json.loads(run("schema", "--for", kind, "--currency", "SGD").out)
        assert schema["$schema"].startswith("https://json-schema.org/")
        assert title in schema["$defs"]
    said = run("schema", "--currency", "ducats")
    assert said.code == 2
    assert "'ducats' is no ISO 4217 code" in said.error
