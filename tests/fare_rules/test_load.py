"""Every fault of a tariff file, compared with its exact text in tests/tariff_faults/."""

from pathlib import Path

import pytest

from fare_rules import FaultCode, TariffFaults, check_tariff, load_tariff
from fare_rules.source import FILE_BYTES_MAX

FAULTS = Path(__file__).parents[1] / "tariff_faults"
SHENZHEN = Path(__file__).parents[2] / "fare_rules" / "tariffs" / "shenzhen" / "2018-08-01.yaml"
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


def test_a_file_that_is_not_there_is_a_fault(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [str(fault) for fault in check_tariff(Path("none.yaml"))] == [
        "none.yaml:1:1: error[unreadable_file]: "
        "The file cannot be read (No such file or directory). Check its name"
    ]


def test_times_and_words_of_the_file_keep_their_meaning():
    tariff = load_tariff(SHENZHEN)
    assert tariff.tariff_id == "shenzhen/2018-08-01"
    assert tariff.service_day_starts.isoformat() == "04:00:00"
    assert tariff.timezone.key == "Asia/Shanghai"
    assert tariff.default_rider_category == "adult"
    assert tariff.currency == "CNY"


def test_a_word_that_older_yaml_takes_for_false_stays_a_word(tmp_path):
    text = SHENZHEN.read_text("utf-8").replace("tariff: shenzhen", "tariff: no")
    (tmp_path / "2018-08-01.yaml").write_text(text, "utf-8")
    (tmp_path / "links.csv").write_bytes(SHENZHEN.with_name("links.csv").read_bytes())
    assert load_tariff(tmp_path / "2018-08-01.yaml").tariff_id == "no/2018-08-01"


def test_a_network_that_is_not_in_the_tariff_has_no_rules():
    tariff = load_tariff(SHENZHEN)
    assert tariff.network("tram") is None


def test_a_network_says_how_it_is_tapped():
    metro = load_tariff(SHENZHEN).network("metro")
    bus = load_tariff(SHENZHEN).network("bus")
    assert metro is not None
    assert bus is not None
    assert (metro.taps, metro.journey_minutes_max) == ("enter_exit", 180)
    assert (metro.minimum_balance_fen, metro.pass_back_seconds) == (200, 5)
    assert (metro.unclosed_leg_fen, metro.unmatched_exit_fen) == (0, 1400)
    assert (bus.taps, bus.pass_back_seconds, bus.journey_minutes_max) == ("board", 0, 0)
