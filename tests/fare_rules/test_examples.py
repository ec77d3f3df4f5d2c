from pathlib import Path

import pytest

from fare_rules import TariffFaults
from fare_rules.examples import Difference, run_examples

TARIFFS = Path(__file__).parents[2] / "fare_rules" / "tariffs"
WORKED_FARES = [
    "SZM-01",
    "SZM-02",
    "SZM-03",
    "SZM-04",
    "SZM-05",
    "SZM-06",
    "SZM-07",
    "SZM-08",
    "SZM-10",
    "SZM-11",
    "SZM-12",
    "SZM-13",
    "SZM-14",
    "SZM-15",
    "SZM-16",
    "SZM-17",
    "SZM-18",
    "SZM-19",
    "SZM-20",
    "SZM-21",
    "SZM-22",
    "SZM-24",
    "SZM-25",
    "SZM-26",
    "SZM-27",
    "SZM-28",
    "SZM-30",
    "SZM-31",
    "SZM-32",
    "SZM-33",
    "SZM-34",
    "SZB-01",
    "SZB-02",
    "SZB-03",
    "SZB-04",
    "SZB-05",
    "SZB-06",
    "SZB-07",
    "SZB-08",
    "SZB-09",
    "SZB-11",
    "SZB-12",
    "SZB-13",
    "SZB-14",
    "SZB-16",
    "SZB-17",
    "SZB-19",
    "BJM-01",
    "BJM-02",
    "BJM-03",
    "BJM-04",
    "BJM-05",
    "BJM-06",
    "BJM-08",
    "BJM-09",
    "BJM-10",
    "BJM-11",
    "BJM-12",
    "BJM-13",
    "BJM-14",
    "BJM-16",
    "BJM-17",
    "BJM-19",
    "BJB-20",
    "BJB-21",
    "BJB-22",
    "BJB-23",
    "BJB-24",
    "BJB-25",
    "TFL-01",
    "TFL-02",
    "TFL-03",
    "TFL-04",
    "TFL-06",
    "TFL-07",
    "TFL-08",
    "TFL-10",
    "TFL-11",
    "TFL-12",
    "TFL-14",
    "TFL-15",
    "TFL-17",
    "TFL-18",
    "TFL-19",
    "NYC-01",
    "NYC-02",
    "NYC-04",
    "NYC-06",
    "SYD-01",
    "SYD-03",
    "ECN-01",
    "ECN-02",
    "ECN-03",
    "ECN-06",
    "ECN-07",
]
RESULTS = [result for folder in sorted(TARIFFS.iterdir()) for result in run_examples(folder)]


@pytest.mark.parametrize("result", RESULTS, ids=[result.name for result in RESULTS])
def test_the_tariff_says_what_its_example_expects(result):
    assert result.differences == ()


@pytest.fixture
def folder(tmp_path):
    for name in ("2018-08-01.yaml", "links.csv"):
        (tmp_path / name).write_bytes((TARIFFS / "shenzhen" / name).read_bytes())
    return tmp_path


def test_an_example_with_another_fare_is_wrong_in_each_thing_that_it_says(folder):
    (folder / "examples.yaml").write_text(
        "- name: A bus ride\n"
        "  taps:\n"
        "    - {at: 08:00, tap: board, network: bus, full_fare: 2.00,\n"
        "       fare: 2.00, lines: [bus_ride 2.00], pays: {rider: 1.60}}\n"
        "  total: 1.61\n"
    )
    (result,) = run_examples(folder)
    assert not result.is_right
    assert result.differences == (
        Difference("08:00 board fare", "2.00", "1.60"),
        Difference("08:00 board lines", "bus_ride 2.00", "bus_ride 2.00, adult_card_on_bus -0.40"),
        Difference("total", "1.61", "1.60"),
    )


def test_who_pays_nothing_need_not_be_named(folder):
    (folder / "examples.yaml").write_text(
        "- name: A senior rides for nothing\n"
        "  rider: {category: senior}\n"
        "  taps:\n"
        "    - {at: 08:00, tap: board, network: bus, full_fare: 2.00, pays: {}}\n"
        "    - {at: 10:00, tap: board, network: bus, full_fare: 2.00, pays: {rider: 0}}\n"
        "  pays: {rider: 1}\n"
    )
    (result,) = run_examples(folder)
    assert result.differences == (Difference("pays", "rider 1.00", "nothing"),)


def test_every_worked_fare_of_a_notice_is_an_example():
    """By their numbers. The nine others are no prices: staff who let a rider out (SZM-29), purses
    (ECN-08 to ECN-11), and clearing (SET-02 to SET-05): tests/shell/test_worked_cases.py.
    """
    names = " ".join(result.name for result in RESULTS)
    missing = [case for case in WORKED_FARES if case not in names]
    assert missing == []


def test_a_faulty_example_is_told_by_its_place(folder, monkeypatch):
    monkeypatch.chdir(folder)
    Path("examples.yaml").write_text("- name: A bus ride\n  refrence: b.2\n")
    with pytest.raises(TariffFaults) as caught:
        run_examples(Path())
    assert "examples.yaml:2:3: error[unknown_key]: [0] has no key 'refrence'. Did you mean" in str(
        caught.value
    )
