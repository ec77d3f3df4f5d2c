"""Writes a tariff as YAML, tables as CSV, and remarks as a page; the same input, the same bytes."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo

from fare_rules.amounts import said
from fare_rules.language.scalars import Scaled
from fare_rules.language.tariff import Tariff

WIDTH = 100
# What no reader of YAML takes for anything but text.
_PLAIN = re.compile(r"^[A-Za-z_][A-Za-z0-9_.]*( [A-Za-z0-9_.]+)*$")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


class Plain(str):
    """Text that stands in the file as it is: a number or a date."""

    __slots__ = ()


def tariff_text(tariff: Tariff, currency_digits: int) -> str:
    """Write a tariff: one rule a line where it fits, and nothing that only says the default."""
    lines: list[str] = []
    for key, value in _as_data(tariff, currency_digits).items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines += ["", f"{key}:"]
            for item in value:
                lines += _block(item, "  - ")
        else:
            lines += _pair(key, value, "")
    return "\n".join(lines) + "\n"


def page(title: str, about: str, remarks: Iterable[str]) -> str:
    """Write a page of remarks in Markdown."""
    said_each = [f"- {remark}" for remark in remarks] or ["Nothing."]
    return "\n".join([f"# {title}", "", about, "", *said_each]) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a CSV."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return file.getvalue()


def _as_data(value: Any, digits: int) -> Any:
    if isinstance(value, Scaled):
        places = digits if value.digits is None else value.digits
        text = said(int(value), places)
        # An amount keeps its decimals, as notices print it; a percentage of 95 needs none.
        return Plain(text if value.digits is None else text.rstrip("0").rstrip("."))
    if isinstance(value, Struct):
        config = value.__struct_config__
        data: dict[str, Any] = {}
        if config.tag is not None and config.tag_field is not None:
            data[config.tag_field] = config.tag
        for field in sorted(msgspec.structs.fields(value), key=lambda one: one.name != "id"):
            here = getattr(value, field.name)
            if field.required or here != default_of(field):
                data[field.encode_name] = _as_data(here, digits)
        return data
    if isinstance(value, tuple):
        return [_as_data(item, digits) for item in value]
    if isinstance(value, date):
        return Plain(value.isoformat())
    return value


def default_of(field: FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _flow(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_flow, value)) + "]"
        case bool():
            return str(value).lower()
        case int() | Plain():
            return str(value)
        case None:
            return "null"
        case str() if _PLAIN.match(value) and value.lower() not in _WORDS:
            return str(value)
        case _:
            return _quoted(str(value))


def _quoted(text: str) -> str:
    # JSON's quotes and escapes are YAML's, too.
    return msgspec.json.encode(text).decode()


def _block(value: Any, lead: str) -> list[str]:
    """Write a list's item, over several lines only if one is too short for it."""
    line = lead + _flow(value)
    if len(line) <= WIDTH or not isinstance(value, dict):
        return [line]
    below = " " * len(lead)
    lines: list[str] = []
    for key, item in value.items():
        lines += _pair(key, item, below if lines else lead)
    return lines


def _pair(key: str, value: Any, lead: str) -> list[str]:
    line = f"{lead}{key}: {_flow(value)}"
    if len(line) <= WIDTH or not isinstance(value, (dict, list)):
        return [line]
    below = " " * (len(lead) + 2)
    lines = [f"{lead}{key}:"]
    if isinstance(value, dict):
        for inner, item in value.items():
            lines += _pair(inner, item, below)
        return lines
    for item in value:
        lines += _block(item, f"{below}- ")
    return lines
