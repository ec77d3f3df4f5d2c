"""A fare in words: every rule that acted, where it stands, its clause, and who pays."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from fare_rules import FareRefusal, TariffBook, load_book
from fare_rules.ask import Question, ask, asked_taps
from fare_rules.beside import EXAMPLES_FILE
from fare_rules.examples import fold_example, load_examples
from fare_rules.explain import REFUSALS, explain_charge, explain_fold, explained, priced_by

HARBOUR = Path(__file__).parent / "harbour"
SHENZHEN = Path(__file__).parents[2] / "fare_rules" / "tariffs" / "shenzhen"


@pytest.fixture(scope="module")
def book() -> TariffBook:
    return load_book(HARBOUR)


def line_of(text: str) -> int:
    lines = (HARBOUR / "2026-01-01.yaml").read_text().splitlines()
    return 1 + next(index for index, line in enumerate(lines) if text in line)


def told(book: TariffBook, **asked: object) -> list[str]:
    question = Question(at=datetime(2026, 1, 5, 8, 0), **asked)  # type: ignore[arg-type]  # noqa: DTZ001
    [charge] = ask(book, question).charges.values()
    return explain_charge(charge, book)


def test_a_fare_is_told_step_by_step_and_who_pays_it_comes_last(book: TariffBook):
    lines = told(
        book,
        network="metro",
        from_stop="pier",
        to_stop="tower",
        rider_category="student",
        issuer="harbour_bank",
    )
    product, half, cent = map(line_of, ("id: metro_ride", "id: student_half", "id: one_cent"))
    assert lines == [
        "tariff harbour/2026-01-01: Harbour fare notice 2025/11",
        f"full fare metro_ride: 4.00 SGD (p.1; 2026-01-01.yaml:{product})",
        "concession student_half: -2.00 SGD, borne by the operator, leaves 2.00 SGD "
        f"(c.1; 2026-01-01.yaml:{half})",
        "promotion one_cent: -1.99 SGD, borne by harbour_bank, leaves 0.01 SGD "
        f"(o.1; 2026-01-01.yaml:{cent})",
        "fare: 2.00 SGD",
        "the rider pays 0.01 SGD",
        "harbour_bank pays 1.99 SGD",
    ]


def test_what_a_network_charges_of_itself_is_named_and_placed(book: TariffBook):
    place = f"(s.1; 2026-01-01.yaml:{line_of('- id: metro')})"
    back = told(book, network="metro", from_stop="pier", to_stop="pier", minutes=5)
    assert back[1] == f"exit at the stop of entry metro_same_stop: 0.50 SGD {place}"


def test_what_is_added_is_borne_by_nobody(book: TariffBook):
    late = told(book, network="metro", from_stop="pier", to_stop="market", minutes=121)
    assert late[2] == (
        "surcharge too_long: 3.00 SGD, leaves 5.00 SGD "
        f"(s.4; 2026-01-01.yaml:{line_of('id: too_long')})"
    )


def test_each_tap_of_a_fold_is_explained_or_says_why_it_has_no_price(book: TariffBook):
    question = Question(
        network="metro",
        at=datetime(2026, 1, 5, 8, tzinfo=UTC),
        from_stop="pier",
        to_stop="atlantis",
    )
    entry, exit_ = asked_taps(question, book)
    found = explain_fold(ask(book, question), book)
    assert list(found) == [exit_.tap_id]
    assert found[exit_.tap_id][0].startswith("no price (no_distance): ")
    assert entry.tap_id not in found


def test_every_refusal_says_what_to_do():
    assert set(REFUSALS) == set(FareRefusal)
    assert all(";" in sentence or "," in sentence for sentence in REFUSALS.values())


@pytest.mark.parametrize("folder", [HARBOUR, SHENZHEN], ids=lambda folder: folder.name)
def test_every_line_of_every_example_has_its_rule_its_clause_and_its_place(folder: Path):
    book = load_book(folder)
    assert (folder / EXAMPLES_FILE).exists()
    for example in load_examples(folder, book):
        folded, _ = fold_example(example, book)
        for charge in folded.charges.values():
            tariff = priced_by(charge.quote, book)
            lines = explained(charge.quote, tariff)
            assert [line.rule_id for line in lines] == [line.rule_id for line in charge.quote.lines]
            assert lines[-1].leaves_fen == charge.rider_fen
            for line in lines:
                assert line.step != "rule", line
                assert line.reference, line
                file, _, number = line.place.partition(":")
                assert (folder / file).exists(), line
                assert int(number) > 1, line


JOINED = """
tariff: joined
effective_from: 2026-01-01
reference: Harbour fare notice
timezone: Asia/Singapore
service_day_starts: 04:00
currency: SGD
rider_categories: [{id: adult, default: true}]
fare_media: [{id: card}]
sponsors: [{id: city}]
networks: [{id: bus, taps: board, reference: j.1}]
fare_products: [{id: ride, pricing: {kind: flat, amount: 2.00}, reference: j.2}]
fare_leg_rules: [{id: any, networks: [bus], product: ride}]
concessions:
  - id: city_half
    pays: {kind: percent, percent: 50, rounding: {mode: down}}
    borne_by: city
    reference: j.3
fare_leg_join_rules:
  - id: both
    from: {networks: [bus]}
    to: {networks: [bus]}
    window_minutes: 60
    price_as: sum
    reference: j.4
    LESS
"""


@pytest.mark.parametrize(
    ("less", "told"),
    [
        ("", ["concession city_half: -1.00 SGD, borne by city"]),
        (
            "less: 0.40",
            [
                "joined to the legs before both: -0.40 SGD, borne by the operator",
                "concession city_half: -0.80 SGD, borne by city",
            ],
        ),
    ],
)
def test_what_a_joined_journey_was_charged_before_is_nobodys_to_bear(
    tmp_path: Path, less: str, told: list[str]
):
    """A sponsor bore a part of it with the leg before: the operator has forgone none of it."""
    (tmp_path / "2026-01-01.yaml").write_text(JOINED.replace("LESS", less))
    book = load_book(tmp_path)
    (tmp_path / EXAMPLES_FILE).write_text(
        """
- name: Two buses
  day: 2026-01-05
  taps:
    - {at: 08:00, tap: board, network: bus}
    - {at: 08:20, tap: board, network: bus}
"""
    )
    [example] = load_examples(tmp_path, book)
    fold, _ = fold_example(example, book)
    *_, lines = explain_fold(fold, book).values()
    borne = [line for line in lines if "borne by" in line]
    assert [line.partition(", leaves")[0] for line in borne] == told
    assert any(line.startswith("joined to the legs before both: -") for line in lines)
