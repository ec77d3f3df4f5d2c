"""The tariff language as JSON Schema for editors: completion, and the meaning of a key on hover.

A check wants one error for each slip (shape.py); an editor wants to offer what may be written. So
the choices of a `kind` stay side by side here, and the words for a value are in its description.
"""

from typing import Any

import msgspec

from fare_rules.language.scalars import scalar_schema
from fare_rules.language.tariff import Tariff

DRAFT = "https://json-schema.org/draft/2020-12/schema"
FIRST_LINE = "# yaml-language-server: $schema=./fare-rules.schema.json"

Schema = dict[str, Any]


def editor_schema(shape: Any = Tariff, currency_digits: int = 2) -> Schema:
    """Describe a file to an editor: a Tariff, or tuple[Example, ...].

    Units:  currency_digits is how many decimals an amount may have.
    """
    schema = msgspec.json.schema(shape, schema_hook=scalar_schema(currency_digits))
    return {"$schema": DRAFT, **_for_editor(schema)}


def _for_editor(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_for_editor(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _for_editor(part) for key, part in schema.items()}
    schema = _without_null(schema)
    # An empty default would be inserted by editors, and says nothing.
    if schema.get("default", ...) in (None, "", []):
        del schema["default"]
    if discriminator := schema.pop("discriminator", None):
        schema = _with_kinds(schema, discriminator)
    if how := schema.pop("x-write", None):
        schema["description"] = _sentences(schema.get("description"), f"Write {how}.")
    if "kind" in schema.get("properties", {}) and "title" in schema:
        schema["properties"]["kind"]["description"] = schema["description"]
    return schema


def _without_null(schema: Schema) -> Schema:
    """A key may be left out, but not be null."""
    match schema:
        case {"anyOf": [value, {"type": "null"}]}:
            said = {key: part for key, part in schema.items() if key != "anyOf"}
        case {"anyOf": [*values, {"type": "null"}]}:
            return {**schema, "anyOf": values}
        case _:
            return schema
    if "description" in value:
        said["description"] = _sentences(said.get("description"), value["description"])
    return {**value, **said}


def _with_kinds(schema: Schema, discriminator: Schema) -> Schema:
    """Say the kinds beside the choice: editors offer them before one is chosen."""
    tag, kinds = discriminator["propertyName"], list(discriminator["mapping"])
    meaning = _sentences(schema.get("description"), f"One of: {', '.join(kinds)}.")
    return {
        **schema,
        "type": "object",
        "required": [tag],
        "properties": {tag: {"enum": kinds, "description": meaning}},
    }


def _sentences(*said: str | None) -> str:
    return " ".join(sentence for sentence in said if sentence)
