"""The package's README is true: its small city loads and costs what it says, its keys exist."""

import re
from pathlib import Path
from typing import get_args

from fare_rules.base_fare import FareRefusal
from fare_rules.editor_schema import FIRST_LINE, editor_schema
from fare_rules.examples import run_examples
from fare_rules.language.conditions import LegFilter
from fare_rules.language.discounts import Pays, Period, PromotionPays, TransferPays
from fare_rules.language.example import Example
from fare_rules.language.products import Pricing
from fare_rules.language.tariff import Tariff
from gateway.rules_commands import rules_app

PACKAGE = Path(__file__).parents[2] / "fare_rules"
README = (PACKAGE / "README.md").read_text("utf-8")
SECTIONS = {
    part.partition("\n")[0]: part for part in re.split(r"^## ", README, flags=re.MULTILINE)[1:]
}
_BLOCK = re.compile(r"^```(yaml|csv)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_six_steps_are_a_tariff_whose_examples_are_right(tmp_path):
    tariff = examples = ""
    for language, name, text in _BLOCK.findall(SECTIONS["Write a tariff in six steps"]):
        if language == "csv":
            (tmp_path / name).write_text(text, "utf-8")
        elif text.startswith("- "):
            examples += text
        else:
            tariff += text
    assert tariff.startswith(FIRST_LINE)
    (tmp_path / "2026-01-01.yaml").write_text(tariff, "utf-8")
    (tmp_path / "examples.yaml").write_text(examples, "utf-8")
    results = run_examples(tmp_path)
    assert len(results) == 5
    assert [(result.name, *result.differences) for result in results if not result.is_right] == []


def test_every_key_that_answers_an_open_question_exists():
    known = _words_of(editor_schema(Tariff)) | _words_of(editor_schema(tuple[Example, ...]))
    rows = re.findall(r"^\|[^|]*\|(.*)\|$", SECTIONS["What a notice leaves open"], re.MULTILINE)
    assert len(rows) == 2 + 33
    said = " ".join(re.findall(r"`([^`]*)`", " ".join(rows)))
    assert set(re.findall(r"[a-z_]{3,}", said)) - known - {"true", "false"} == set()


def test_every_section_of_a_tariff_is_named():
    assert {key for key in Tariff.__struct_fields__ if f"`{key}" not in README} <= {
        # Said in the six steps.
        *("tariff", "effective_from", "reference", "currency", "service_day_starts"),
        # Lists of names, in the reference.
        *("operators", "issuers", "sponsors", "carriage_classes", "stops", "fare_tiers"),
        *("promotions", "subsidies", "disruptions", "fare_caps", "surcharges", "holidays"),
    }


def test_every_condition_and_every_kind_is_named():
    said = set(re.findall(r"`(\w+)`", SECTIONS["What a rule may say"]))
    unions = (Pricing, Pays, TransferPays, PromotionPays, Period)
    kinds = {kind.__struct_config__.tag for union in unions for kind in get_args(union)}
    assert kinds | set(LegFilter.__struct_fields__) <= said


def test_every_refusal_is_named():
    assert {refusal for refusal in FareRefusal if f"`{refusal}`" not in README} == set()


def test_every_command_is_named_with_options_that_it_has(capsys):
    app = rules_app()
    named = dict(
        re.findall(r"^\| `faregate rules ([a-z-]+)(.*?) \|", SECTIONS["Commands"], re.MULTILINE)
    )
    assert set(named) == {name for name in app if not name.startswith("-")}
    for name, said in named.items():
        app([name, "--help"], result_action="return_value")
        helped = capsys.readouterr().out
        assert [option for option in re.findall(r"--[a-z-]+", said) if option not in helped] == []


def test_every_file_it_links_to_exists():
    for name in re.findall(r"\]\(([\w/.]+)\)", README):
        assert (PACKAGE / name).exists(), name


def _words_of(schema: object) -> set[str]:
    """Keys and choices."""
    if isinstance(schema, list):
        return set().union(*(_words_of(part) for part in schema))
    if not isinstance(schema, dict):
        return {schema} if isinstance(schema, str) else set()
    return set(schema).union(*(_words_of(part) for part in schema.values()))
