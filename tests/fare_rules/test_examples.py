from pathlib import Path

import pytest

from fare_rules import TariffFaults, run_examples

TARIFFS = Path(__file__).parents[2] / "fare_rules" / "tariffs"
RESULTS = [result for folder in sorted(TARIFFS.iterdir()) for result in run_examples(folder)]


@pytest.mark.parametrize("result", RESULTS, ids=[result.name for result in RESULTS])
def test_the_tariff_says_what_its_example_expects(result):
    assert result.priced == result.expected


@pytest.fixture
def folder(tmp_path):
    for name in ("2018-08-01.yaml", "links.csv"):
        (tmp_path / name).write_bytes((TARIFFS / "shenzhen" / name).read_bytes())
    return tmp_path


def test_an_example_with_another_fare_is_wrong(folder):
    (folder / "examples.yaml").write_text(
        "- name: A bus ride\n"
        "  reference: b.2\n"
        "  rider_category: adult\n"
        "  fare_media: card\n"
        "  legs: [{network: bus, boards: 08:00, gate_fare_fen: 200}]\n"
        "  lines: [bus_ride 200]\n"
        "  fare_fen: 200\n"
    )
    (result,) = run_examples(folder)
    assert not result.is_right
    assert result.expected == "bus_ride 200 = 200"
    assert result.priced == "bus_ride 200, adult_card_on_bus -40 = 160"


def test_a_faulty_example_is_told_by_its_place(folder, monkeypatch):
    monkeypatch.chdir(folder)
    Path("examples.yaml").write_text("- name: A bus ride\n  refrence: b.2\n")
    with pytest.raises(TariffFaults) as caught:
        run_examples(Path())
    assert "examples.yaml:2:3: error[unknown_key]: [0] has no key 'refrence'. Did you mean" in str(
        caught.value
    )
