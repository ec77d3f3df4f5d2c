"""REFERENCE.md is what the types say now: every key explained, every example of the right shape."""

import re
from collections.abc import Iterator

import jsonschema_rs
import pytest

from fare_rules.editor_schema import editor_schema
from fare_rules.language.conditions import LegFilter
from fare_rules.language.example import Example
from fare_rules.language.tariff import Tariff
from fare_rules.reference import (
    REFERENCE,
    anchor,
    description_of,
    fields_of,
    groups_of,
    reference,
)
from fare_rules.reference_examples import example_of
from fare_rules.source import read_document


def groups_from(group: type, found: dict[str, type]) -> dict[str, type]:
    if group.__name__ not in found:
        found[group.__name__] = group
        for field in fields_of(group):
            for inner in groups_of(field.type):
                groups_from(inner, found)
    return found


GROUPS = groups_from(Example, groups_from(LegFilter, groups_from(Tariff, {})))


def keys() -> Iterator[tuple[str, str]]:
    for name, group in GROUPS.items():
        for field in fields_of(group):
            yield name, field.encode_name


def test_the_file_is_up_to_date():
    assert REFERENCE.read_text("utf-8") == reference(), "run python -m fare_rules.reference"


def test_every_key_has_a_meaning():
    unexplained = [
        f"{name}.{field.encode_name}"
        for name, group in GROUPS.items()
        for field in fields_of(group)
        if not description_of(field)
    ]
    assert unexplained == []


def test_every_key_has_an_example():
    without = [
        f"{name}.{field.encode_name}"
        for name, group in GROUPS.items()
        for field in fields_of(group)
        if not example_of(group, field.encode_name)
    ]
    assert without == [], "add them to fare_rules/reference_examples.py"


def test_every_key_has_a_row():
    text = REFERENCE.read_text("utf-8")
    for name, key in keys():
        assert f"| `{key}` |" in text, f"{name}.{key}"


def test_every_link_has_a_target():
    text = REFERENCE.read_text("utf-8")
    headings = {anchor(heading) for heading in re.findall(r"^##+ (.*)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= headings


@pytest.mark.parametrize("name", sorted(GROUPS))
def test_every_example_is_of_the_right_shape(name, tmp_path):
    schema = {**editor_schema(Tariff), "$ref": f"#/$defs/{name}"}
    schema["$defs"] = schema["$defs"] | editor_schema(tuple[Example, ...])["$defs"]
    definition = schema["$defs"][name]
    for field in fields_of(GROUPS[name]):
        key = field.encode_name
        path = tmp_path / f"{key}.yaml"
        path.write_text(f"{key}: {example_of(GROUPS[name], key)}\n")
        document = read_document(path)
        assert document.faults == []
        alone = {"$defs": schema["$defs"], "properties": {key: definition["properties"][key]}}
        errors = jsonschema_rs.validator_for(alone).iter_errors(document.data)
        assert [f"{name}.{key}: {error.message[:150]}" for error in errors] == []
