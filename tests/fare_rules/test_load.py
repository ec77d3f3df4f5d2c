"""Every fault of a tariff file, compared with its exact text in tests/tariff_faults/."""

import json
from pathlib import Path
from unittest.mock import ANY

import pytest

from fare_rules import FaultCode, TariffFault, TariffFaults, check_tariff, load_tariff
from fare_rules.faults import as_github, as_json, as_text
from fare_rules.language.scalars import Moment, Money
from fare_rules.load import read_as, read_parts
from fare_rules.source import FILE_BYTES_MAX, TABLE_BYTES_MAX

FAULTS = Path(__file__).parents[1] / "tariff_faults"
SHENZHEN = Path(__file__).parents[2] / "fare_rules" / "tariffs" / "shenzhen" / "2018-08-01.yaml"
HARBOUR = """\
tariff: harbour
effective_from: 2026-01-01
reference: Harbour fare notice 2025/11
timezone: Asia/Singapore
service_day_starts: 04:00
currency: SGD
rider_categories:
  - {id: adult, default: true}
  - {id: child}
fare_media: [{id: card}, {id: phone}]
networks:
  - {id: ferry, taps: board, reference: s.1}
fare_products:
  - {id: ferry_ride, reference: s.2, pricing: {kind: flat, amount: 3.00}}
fare_leg_rules:
  - {id: ferry, networks: [ferry], product: ferry_ride}
"""
# These belong to a whole folder, which test_book.py makes.
OF_BOOKS = {FaultCode.NO_TARIFF, FaultCode.SAME_DATE, FaultCode.NOT_THE_SAME_BOOK}


@pytest.mark.parametrize("name", sorted(path.stem for path in FAULTS.glob("*.yaml")))
def test_a_faulty_tariff_is_told_by_place_fault_and_remedy(name, monkeypatch):
    monkeypatch.chdir(FAULTS)
    faults = check_tariff(Path(f"{name}.yaml"))
    assert "".join(f"{fault}\n" for fault in faults) == Path(f"{name}.txt").read_text("utf-8")


def test_every_kind_of_fault_is_in_the_collection():
    texts = "".join(path.read_text("utf-8") for path in FAULTS.glob("*.txt"))
    missing = {code for code in FaultCode if f"error[{code}]" not in texts}
    assert missing == OF_BOOKS | {FaultCode.FILE_TOO_LARGE}


def test_loading_a_faulty_tariff_raises_all_its_faults_at_once():
    with pytest.raises(TariffFaults) as caught:
        load_tariff(FAULTS / "many_faults.yaml")
    assert list(caught.value.faults) == check_tariff(FAULTS / "many_faults.yaml")
    assert len(caught.value.faults) > 3
    assert str(caught.value) == "\n".join(map(str, caught.value.faults))


def test_a_file_over_the_limit_is_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("long.yaml").write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    assert [str(fault) for fault in check_tariff(Path("long.yaml"))] == [
        "long.yaml:1:1: error[file_too_large]: The file is larger than 1000000 bytes. "
        "Split it into networks or tariffs"
    ]


def test_a_table_may_be_larger_than_a_tariff_but_not_without_end(tmp_path):
    (tmp_path / "links.csv").write_text(
        "from_stop,to_stop,distance_m\n" + "\n" * TABLE_BYTES_MAX, "utf-8"
    )
    text = HARBOUR.replace("taps: board", "taps: board, links: links.csv")
    assert [fault.code for fault in check_tariff(_written(tmp_path, text))] == ["file_too_large"]


def test_a_file_that_is_not_there_is_a_fault(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [str(fault) for fault in check_tariff(Path("none.yaml"))] == [
        "none.yaml:1:1: error[unreadable_file]: "
        "The file cannot be read (No such file or directory). Check its name"
    ]


def test_faults_are_written_for_people_programs_and_reviews():
    faults = [
        TariffFault("a,b.yaml", 3, 7, FaultCode.EMPTY, "zones is 100% empty", "Write at least one")
    ]
    assert as_text(faults) == (
        "a,b.yaml:3:7: error[empty]: zones is 100% empty. Write at least one\n"
    )
    assert json.loads(as_json(faults)) == [
        {
            "path": "a,b.yaml",
            "line": 3,
            "column": 7,
            "code": "empty",
            "message": "zones is 100% empty",
            "remedy": "Write at least one",
        }
    ]
    assert as_github(faults) == (
        "::error file=a%2Cb.yaml,line=3,col=7,title=empty::"
        "zones is 100%25 empty. Write at least one\n"
    )
    assert (as_text([]), json.loads(as_json([])), as_github([])) == ("", [], "")


def test_times_and_words_of_the_file_keep_their_meaning():
    tariff = load_tariff(SHENZHEN)
    assert tariff.tariff_id == "shenzhen/2018-08-01"
    assert tariff.service_day_starts.isoformat() == "04:00:00"
    assert tariff.timezone.key == "Asia/Shanghai"
    assert tariff.default_rider_category == "adult"
    assert tariff.currency == "CNY"


def test_a_word_that_older_yaml_takes_for_false_stays_a_word(tmp_path):
    text = HARBOUR.replace("tariff: harbour", "tariff: no")
    assert load_tariff(_written(tmp_path, text)).tariff_id == "no/2026-01-01"


@pytest.mark.parametrize(
    ("currency", "said", "minor_units"),
    [("SGD", "2", 200), ("SGD", "2.9", 290), ("KRW", "1500", 1500), ("KWD", "0.125", 125)],
)
def test_amounts_are_read_in_the_decimals_of_the_currency(tmp_path, currency, said, minor_units):
    text = HARBOUR.replace("SGD", currency).replace("amount: 3.00", f"amount: {said}")
    tariff, _, _ = read_parts(_written(tmp_path, text))
    assert tariff.fare_products[0].pricing.amount == minor_units


def test_each_rule_is_known_by_the_line_of_its_id(tmp_path):
    tariff = load_tariff(_written(tmp_path, HARBOUR))
    assert tariff.places["fare_products", "ferry_ride"] == "tariff.yaml:14"
    assert all(rule_id != "card" for _, rule_id in tariff.places)


def test_tables_are_read_beside_the_tariff(tmp_path):
    more = "zones: [1, 2]\nstops: stops.csv\nareas: [{id: isle, stops: [b]}]\n"
    network = "taps: board, distances: distances.csv, route_stops: routes.csv"
    text = HARBOUR.replace("taps: board", network).replace(
        "{kind: flat, amount: 3.00}", "{kind: matrix, table: fares.csv, column: adult}"
    )
    (tmp_path / "stops.csv").write_text("stop_id,zones,areas\na,1 2,isle\nb,2,\n", "utf-8")
    (tmp_path / "distances.csv").write_text(
        "from_stop,to_stop,distance_m\na,b,900\nb,a,950\na,c,100\n", "utf-8"
    )
    (tmp_path / "routes.csv").write_text(
        "route_id,stop_id,stop_sequence,distance_m\nF1,a,1,0\nF1,b,2,\n", "utf-8"
    )
    (tmp_path / "fares.csv").write_text(
        "from,to,adult,child\na,b,2.50,1\nb,c,,1\na,c,3,\n", "utf-8"
    )
    _, tables, _ = read_parts(_written(tmp_path, text + more))
    assert [(s.id, s.zones, s.areas) for s in tables.stops] == [
        ("a", ("1", "2"), ("isle",)),
        ("b", ("2",), ()),
    ]
    assert tables.distances["distances.csv"] == {
        ("a", "b"): 900,
        ("b", "a"): 950,
        ("a", "c"): 100,
        ("c", "a"): 100,
    }
    assert tables.route_stops["routes.csv"] == {"F1": {"a": (1, 0), "b": (2, None)}}
    assert tables.matrices["fares.csv"] == {"adult": {("a", "b"): 250, ("a", "c"): 300}}


def test_another_file_is_read_in_the_currency_that_the_caller_names(tmp_path):
    path = tmp_path / "amounts.yaml"
    path.write_text("{metro: 2.90, bus: 1}", "utf-8")
    assert read_as(path, dict[str, Money]) == ({"metro": 290, "bus": 100}, ANY)
    amounts, document = read_as(path, dict[str, Money], digits=0)
    assert amounts is None
    assert [str(fault.code) for fault in document.faults] == ["bad_text"]


def test_a_moment_must_be_on_a_day_of_the_calendar(tmp_path):
    path = tmp_path / "moments.yaml"
    for said, is_right in (
        ("2028-02-29 06:00", True),
        ("2026-02-29 06:00", False),
        ("2026-02-28 06:00:30", True),
    ):
        path.write_text(f"[{said}]", "utf-8")
        moments, _ = read_as(path, tuple[Moment, ...])
        assert (moments is not None) == is_right, said


def _written(folder: Path, text: str) -> Path:
    path = folder / "tariff.yaml"
    path.write_text(text, "utf-8")
    return path
