"""`faregate rules`: what it says of good and bad tariffs, and with which exit code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from _stack import run_faregate
from msgspec import structs

from fare_rules import RideTap, load_book
from fare_rules.ask import Question, asked_taps
from fare_rules.backtest import write_taps
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

    def make(*arguments: object, tap_log: Callable[..., Iterable[RideTap]] | None = None) -> Said:
        try:
            code = rules_app(tap_log)(
                [str(each) for each in arguments], result_action="return_value"
            )
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


def test_a_file_beside_the_tariffs_is_checked_with_them(run: Run, folder: Path):
    (folder / "clearing.yaml").write_text("agreements: [{id: a, reference: x, by: tables}]\n")
    fault = f"{folder}/clearing.yaml:1:40: error[not_a_choice]"
    for named in (folder / "clearing.yaml",), sorted(folder.glob("*.yaml")), (folder,):
        said = run("check", *named)
        assert [line for line in said.out.splitlines() if line.startswith(fault)] != [], said
        assert said.out.count("error[") == 1, said


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


def test_a_journey_without_a_price_is_explained_by_the_reason(run: Run):
    said = run("explain", HARBOUR, "--network", "ferry", "--at", "2026-01-05 08:00")
    assert said.code == 1
    assert said.out.splitlines()[-1].startswith("  no price (no_distance): ")


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


@pytest.fixture
def bus_rides() -> list[RideTap]:
    """One bus ride on each of the first days of February."""
    book = load_book(HARBOUR)
    first = datetime(2026, 2, 1, 8)  # noqa: DTZ001
    asked = [Question(network="bus", at=first + timedelta(days=index)) for index in range(5)]
    taps = [tap for each in asked for tap in asked_taps(each, book)]
    return [
        structs.replace(tap, tap_id=tap.tap_id.__class__(int=index), media_token=f"card {index}")
        for index, tap in enumerate(taps)
    ]


def test_recorded_taps_are_priced_by_another_tariff(
    run: Run, folder: Path, tmp_path: Path, bus_rides: list[RideTap]
):
    spoil(folder, "amount: 1.50", "amount: 1.80")
    write_taps(bus_rides, tmp_path / "taps.csv")
    asked = ("backtest", "--old", HARBOUR, "--tariff", folder, "--taps", tmp_path / "taps.csv")
    said = run(*asked, "--from", "2026-02-02", "--to", "2026-02-04", "--workers", 1)
    assert (said.code, said.error) == (0, "")
    # Three rides of five.
    assert "4.50" in said.out
    assert "5.40" in said.out
    for form, start in (("csv", ""), ("html", "<!DOCTYPE html>")):
        out = tmp_path / f"report.{form}"
        assert run(*asked, "--workers", 1, "--format", form, "--out", out).code == 0
        assert out.read_text().lower().startswith(start.lower())


def test_the_gateways_own_taps_are_read_for_the_days_asked(
    run: Run, folder: Path, bus_rides: list[RideTap]
):
    days: list[tuple[date | None, date | None]] = []

    def tap_log(first_day: date | None, last_day: date | None) -> list[RideTap]:
        days.append((first_day, last_day))
        return bus_rides

    asked = ("backtest", "--old", HARBOUR, "--tariff", folder, "--database", "--workers", 1)
    assert run(*asked, "--to", "2026-02-04", tap_log=tap_log).code == 0
    assert days == [(None, date(2026, 2, 4))]
    said = run(*asked)
    assert said.code == 2
    assert "there is no database here; write --taps FILE" in said.error


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        ((), 2, "say where the taps are"),
        (("--database", "--taps", "taps.csv"), 2, "say where the taps are"),
        (("--taps", "taps.csv", "--workers", "0"), 2, "--workers: 0 is too few"),
        (("--taps", "/nowhere/taps.csv"), 3, "/nowhere/taps.csv: No such file or directory; check"),
        (("--taps", HARBOUR / "links.csv"), 1, "No column is called 'from_stop'"),
    ],
)
def test_a_backtest_that_cannot_be_run_says_why(
    run: Run, options: tuple[object, ...], code: int, sentence: str
):
    said = run("backtest", "--old", HARBOUR, "--tariff", HARBOUR, *options)
    assert said.code == code
    assert sentence in said.error


def test_a_tariff_goes_out_as_gtfs_and_comes_back(run: Run, tmp_path: Path):
    feed, back = tmp_path / "feed", tmp_path / "back"
    said = run("export-gtfs", HARBOUR / FILE, feed)
    assert said.code == 0
    assert f"{feed} is written" in said.out
    assert (feed / "fare_products.txt").exists()
    said = run("import-gtfs", feed, back, "--effective-from", "2026-01-01")
    assert said.code == 0, said.error
    assert (back / "2026-01-01.yaml").exists()
    again = run("import-gtfs", feed, back, "--effective-from", "2026-01-01")
    assert again.code == 1
    assert "The folder has this file already" in again.error


def test_a_feed_needs_a_day_and_must_be_there(run: Run, tmp_path: Path):
    assert "--effective-from 2026-01-01" in run("import-gtfs", tmp_path, tmp_path / "new").error
    day = ("--effective-from", "2026-01-01")
    assert run("import-gtfs", tmp_path / "nowhere", tmp_path / "new", *day).code == 1


def test_the_commands_are_part_of_the_command_line():
    shown = run_faregate("rules", "--help")
    assert shown.returncode == 0
    for command in ("check", "examples", "explain", "quote", "diff", "backtest", "import-gtfs"):
        assert command in shown.stdout


def test_a_process_says_a_fault_in_a_sentence_and_stops_without_a_traceback():
    said = run_faregate("rules", "quote", str(HARBOUR), *JOURNEY[:-2], "--at", "Monday")
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.startswith("--at: 'Monday' is no time")


def test_the_examples_of_a_shipped_tariff_pass_in_a_process():
    said = run_faregate("rules", "examples", "fare_rules/tariffs/shenzhen")
    assert said.returncode == 0
    last = said.stdout.splitlines()[-1].split()
    assert last[0] == last[2]
    assert last[1::2] == ["of", "examples"]
