"""The schema for editors is a valid one, accepts what is shipped, and explains every key."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from fare_rules.editor_schema import editor_schema
from fare_rules.language.example import Example
from fare_rules.language.tariff import Tariff
from fare_rules.language.wallets import Wallets
from fare_rules.source import read_document

TARIFFS = Path(__file__).parents[2] / "fare_rules" / "tariffs"
SHAPES = {"tariff": Tariff, "examples": tuple[Example, ...], "wallets": Wallets}


@pytest.fixture(params=SHAPES, scope="module")
def schema(request):
    return editor_schema(SHAPES[request.param])


def objects_in(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for part in schema:
            yield from objects_in(part)
    elif isinstance(schema, dict):
        yield schema
        for part in schema.values():
            yield from objects_in(part)


def test_it_is_a_valid_schema(schema):
    jsonschema_rs.meta.validate(schema)


def test_every_key_says_what_it_means(schema):
    undescribed = {
        f"{part.get('title', '')}.{key}"
        for part in objects_in(schema)
        for key, said in part.get("properties", {}).items()
        if isinstance(said, dict) and not said.get("description")
    }
    assert undescribed == set()


def test_it_holds_nothing_that_editors_do_not_know(schema):
    words = {key for part in objects_in(schema) for key in part}
    assert not words & {"x-write", "discriminator", "if", "then"}


def test_the_kinds_of_a_choice_stand_beside_it():
    pricing = editor_schema()["$defs"]["FareProduct"]["properties"]["pricing"]
    assert {"flat", "distance_bands", "zones", "matrix"} <= set(
        pricing["properties"]["kind"]["enum"]
    )
    assert {"$ref": "#/$defs/Flat"} in pricing["anyOf"]


def test_an_amount_has_the_decimals_of_its_currency():
    def is_amount(said: object, digits: int) -> bool:
        flat = editor_schema(currency_digits=digits)["$defs"]["Flat"]["properties"]["amount"]
        return jsonschema_rs.validator_for(flat).is_valid(said)

    assert is_amount("2.90", 2)
    assert not is_amount("2.901", 2)
    assert not is_amount("2.90", 0)


@pytest.mark.parametrize(
    "path", sorted(TARIFFS.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_every_shipped_file_fits(path):
    shape = SHAPES[path.stem if path.stem in SHAPES else "tariff"]
    data = read_document(path).data
    errors = jsonschema_rs.validator_for(editor_schema(shape)).iter_errors(data)
    assert [f"{list(error.instance_path)} {error.message[:200]}" for error in errors] == []
