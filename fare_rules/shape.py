"""Whether data has the shape of a type: every key known, every value of its kind and in its range.

msgspec stops at the first fault, so the JSON Schema of the same type is asked for all of them.
"""

import difflib
import re
from collections.abc import Iterable, Iterator
from datetime import date
from functools import cache
from itertools import pairwise
from typing import Any

import jsonschema_rs
import msgspec
from jsonschema_rs import ValidationErrorKind as Kind

from fare_rules.faults import FaultCode, TariffFault
from fare_rules.language.scalars import scalar_schema
from fare_rules.source import Document, Place

_KINDS = {
    "array": ("a list", "Write it as [one, two], or as lines that begin with a dash"),
    "boolean": ("true or false", "Write true or false"),
    "integer": ("a whole number", "Write it without decimals, quotes or unit"),
    "object": ("a group of keys", "Write its keys below it, indented, or in braces"),
    "string": ("text", "Put it in quotes"),
}
# So many names are listed where none is near; a city has thousands of stops.
_NAMES_MAX = 20
# A day within a text of ours; the pattern only says that there are digits.
_DAY_IN_TEXT = r"\d{4}-\d{2}-\d{2}"
# What follows the comma of an amount such as 1,500 or 1,500.00.
_AFTER_COMMA = re.compile(r"\d{3}(\.\d+)?")


def shape_faults(document: Document, shape: Any, currency_digits: int) -> list[TariffFault]:
    """List every way in which a document's data differs from a type."""
    schema = schema_of(shape, currency_digits)
    errors = _validator(shape, currency_digits).iter_errors(document.data)
    return [fault for error in errors for fault in _faults_of(error, document, schema)]


@cache
def schema_of(shape: Any, currency_digits: int) -> dict[str, Any]:
    """Describe a type as JSON Schema in which each error concerns one key.

    A tagged union becomes a condition per tag, other alternatives become one schema of several
    types, and an optional key may be left out but not be null: said with `anyOf`, a slip in any
    would only be reported as fitting none of the alternatives.
    """
    schema = msgspec.json.schema(shape, schema_hook=scalar_schema(currency_digits))
    flat: dict[str, Any] = _without_any_of(schema)
    return flat


def remedy_for_name(wrong: str, known: Iterable[str]) -> str:
    """Name the word that was probably meant, or else all that would do."""
    names = sorted(known)
    near = difflib.get_close_matches(wrong, names, n=1)
    if near:
        return f"Did you mean '{near[0]}'?"
    if len(names) > _NAMES_MAX:
        return f"There are {len(names)}, such as {', '.join(names[:_NAMES_MAX])}"
    return f"Use one of: {', '.join(names)}" if names else "The file has none yet; add it"


@cache
def _validator(shape: Any, currency_digits: int) -> Any:
    return jsonschema_rs.validator_for(
        schema_of(shape, currency_digits),
        validate_formats=True,
        formats={"text-with-day": _has_real_day},
    )


def _has_real_day(text: str) -> bool:
    day = text.partition(" ")[0]
    if ":" in day:
        return True
    try:
        date.fromisoformat(day)
    except ValueError:
        # What is no day at all does not fit the pattern, and is told of once.
        return "-" not in day
    return True


def _without_any_of(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_any_of(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _without_any_of(part) for key, part in schema.items()}
    match schema:
        case {"discriminator": {"propertyName": tag, "mapping": mapping}}:
            return {
                "type": "object",
                "required": [tag],
                "properties": {tag: {"enum": list(mapping)}},
                "allOf": [_when(tag, name, shape) for name, shape in mapping.items()],
            }
        case {"anyOf": [*values]}:
            values = [value for value in values if value != {"type": "null"}]
            types = [value["type"] for value in values if "type" in value]
            merged = {key: part for value in values for key, part in value.items()}
            return {**merged, "type": types} if len(types) > 1 else merged
        case {"pattern": str(pattern)} if _DAY_IN_TEXT in pattern:
            return {**schema, "format": "text-with-day"}
    return schema


def _when(tag: str, name: str, shape: str) -> dict[str, Any]:
    is_named = {"type": "object", "properties": {tag: {"const": name}}, "required": [tag]}
    return {"if": is_named, "then": {"$ref": shape}}


def _faults_of(
    error: jsonschema_rs.ValidationError, document: Document, schema: dict[str, Any]
) -> Iterator[TariffFault]:
    place = tuple(error.instance_path)
    name, said = _name_of(place), _shown(error.instance)
    around: Any = schema
    for part in error.schema_path[:-1]:
        around = around[part]
    match error.kind:
        case Kind.AdditionalProperties(unexpected=unknown):
            for key in unknown:
                code, message = FaultCode.UNKNOWN_KEY, f"{name} has no key '{key}'"
                remedy = _remedy_for_thousands(document, place, key) or remedy_for_name(
                    key, around["properties"]
                )
                yield document.fault((*place, key), code, message, remedy, at_key=True)
            return
        case Kind.Required(property=key):
            code, message, remedy = FaultCode.MISSING_KEY, f"{name} lacks '{key}'", "Add it"
        case Kind.Type():
            code = FaultCode.WRONG_TYPE
            wanted, remedy = _wanted(around)
            message = f"{name} is {said}, not {wanted}"
            if error.instance is None:
                remedy = "Write something, or take the key out"
        case Kind.Enum(options=options):
            code, message = FaultCode.NOT_A_CHOICE, f"{name} is {said}, which is not a choice"
            remedy = remedy_for_name(str(error.instance), map(str, options))
        case Kind.Minimum(limit=limit):
            code, message = FaultCode.OUT_OF_RANGE, f"{name} is {said}, which is too little"
            remedy = f"Write {limit} or more"
        case Kind.Maximum(limit=limit):
            code, message = FaultCode.OUT_OF_RANGE, f"{name} is {said}, which is too much"
            remedy = f"Write {limit} or less"
        case Kind.MinItems(limit=limit):
            few = "is empty" if not error.instance else "has too few"
            code, message = FaultCode.EMPTY, f"{name} {few}"
            remedy = f"Write at least {'one' if limit == 1 else limit}"
        case Kind.Format():
            code, message = FaultCode.BAD_TEXT, f"{name} is {said}, not a day of the calendar"
            remedy = f"Write {around.get('x-write', 'year-month-day, such as 2018-08-01')}"
        case Kind.Pattern():
            code, message = FaultCode.BAD_TEXT, f"{name} is {said}, which does not fit"
            remedy = _remedy_for_text(around)
        case _:
            raise AssertionError(f"the schema asks for {error.kind.name}, which has no words yet")
    yield document.fault(place, code, message, remedy)


def _remedy_for_thousands(document: Document, place: Place, key: str) -> str | None:
    """Say how to write an amount that YAML parts at its comma: {amount: 1,500} has a key 500."""
    record: Any = document.data
    for step in place:
        record = record[step]
    before = next((one for one, other in pairwise(record) if other == key), None)
    if before is None or record[key] is not None or not _AFTER_COMMA.fullmatch(key):
        return None
    # The part before it is a value, or in 1,500,000 a key of its own.
    start = before if record[before] is None else str(record[before])
    return f"Was {start},{key} meant? Write {start}{key}" if start.isdigit() else None


def _remedy_for_text(schema: dict[str, Any]) -> str:
    is_amount = "number" in schema["type"]
    if is_amount and "decimals" not in schema["x-write"]:
        return "Write a whole number: the currency has no decimals"
    return f"Write {schema['x-write']}"


def _wanted(schema: dict[str, Any]) -> tuple[str, str]:
    """Say what a value should have been, and how that is written."""
    kinds = schema["type"]
    if isinstance(kinds, str):
        return _KINDS[kinds]
    if "array" in kinds:
        return "a list or text", f"Write a list, or {schema['x-write']}"
    return "a single value", f"Write {schema['x-write']}"


def _name_of(place: Place) -> str:
    """Write a place as a path: fare_products[0].pricing."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return "".join(steps).removeprefix(".") or "The file"


def _shown(value: object) -> str:
    match value:
        case None:
            return "left empty"
        case bool():
            return str(value).lower()
        case str():
            return f"'{value}'" if value.isprintable() else repr(value)
        case dict():
            return "a group of keys"
        case list():
            return "a list"
        case _:
            return str(value)
