"""Write REFERENCE.md, the reference of all keys, from the types of the language.

python -m fare_rules.reference
"""

from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import msgspec
from msgspec import Struct, inspect

from fare_rules.language.conditions import LegConditions, LegFilter, Named
from fare_rules.language.example import Example
from fare_rules.language.scalars import (
    Kilometres,
    Money,
    Percent,
    Rate,
    Record,
    Scaled,
    ZoneId,
    Zones,
)
from fare_rules.language.tariff import Tariff
from fare_rules.reference_examples import example_of

REFERENCE = Path(__file__).with_name("REFERENCE.md")

_HEAD = """\
# Every key of a tariff file and of examples.yaml

Made from the types in `language/` by `python -m fare_rules.reference`; do not edit. How to write
a tariff step by step: [README.md](README.md). Clauses as cities print them, with the YAML they come
to: [cookbook](cookbook/README.md).

| Unit | How it is written |
|---|---|
| amount | in the currency's main unit, as the notice prints it: `2`, `2.90`; never below zero |
| percent | `95` or `12.5` |
| km | `4` or `3.21`; the last decimal is a metre |
| minutes, days, seconds | whole numbers; the end is included, but not a rolling period's |
| day | `2026-01-31`; a moment is `2026-01-31 18:00`, local |
| clock | `04:00`; in a timeframe and in examples `25:10` is ten past one at night of that day |
| zones | `1` or a run `1-3`, by the order of the file's `zones` |
| name | an id of 1 to 80 characters, of your own choice; the same wherever it is meant |
"""

_WHICH_LEGS = """
## Which legs

Every rule may say which legs it is for. All the conditions that are said must hold; each lists what
it accepts, so `networks: [bus, tram]` is a leg on either. One that is left out fits every leg.
"""

_EXAMPLES_HEAD = """
## examples.yaml

A list of situations, each with the keys below. What is not expected is not looked at.
"""

# What msgspec cannot say of a type in an operator's words.
_UNITS: dict[type, str] = {
    Money: "amount",
    Rate: "amount per km",
    Percent: "percent",
    Kilometres: "km",
    ZoneId: "zone",
    Zones: "zones",
}
# Written once, for all rules.
_CONDITIONS = (LegConditions, LegFilter)
_NAME = "a name of 1 to 80 characters, not blank and without control characters"
# A group that many sections share, named for what it is.
_SHARED: dict[type, str] = {Named: "A name"}


class _Writer:
    """One pass over the types; each group of keys is written where it is met first."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._headings: dict[type, str] = dict(_SHARED)
        self._written: set[type] = set()
        for group in (Tariff, Example):
            self._name_groups_in(group, "the file")

    def write(self) -> str:
        self._file(Tariff)
        self.lines += [_WHICH_LEGS]
        self._table(LegFilter, fields_of(LegFilter))
        self.lines += [_EXAMPLES_HEAD]
        self._table(Example, fields_of(Example))
        self._groups_in(Example)
        return _HEAD + "\n".join(self.lines) + "\n"

    def _file(self, tariff: type[Struct]) -> None:
        self.lines += ["\n## The file\n"]
        self._table(tariff, fields_of(tariff))
        for field in fields_of(tariff):
            for group in groups_of(field.type):
                self._group(group, level="##")

    def _group(self, group: type[Struct], level: str = "###") -> None:
        if group in self._written or group in _CONDITIONS:
            return
        self._written.add(group)
        self.lines += [f"\n{level} {self._headings[group]}\n", f"{meaning_of(group)}\n"]
        fields = [field for field in fields_of(group) if not _is_condition(group, field)]
        self._table(group, fields)
        self._groups_in(group)

    def _groups_in(self, group: type[Struct]) -> None:
        for field in fields_of(group):
            for inner in groups_of(field.type):
                self._group(inner)

    def _name_groups_in(self, parent: type[Struct], parent_name: str) -> None:
        """Name each group by its key, and by its kind or its parent where that is not enough."""
        for field in fields_of(parent):
            for group in groups_of(field.type):
                if group in self._headings or group in _CONDITIONS:
                    continue
                tag = group.__struct_config__.tag
                name = f"{field.encode_name}: {tag}" if tag else field.encode_name
                if name in self._headings.values():
                    name = f"{field.encode_name} of {parent_name}"
                self._headings[group] = name
                self._name_groups_in(group, name)

    def _table(self, group: type[Struct], fields: Iterable[inspect.Field]) -> None:
        tag = group.__struct_config__.tag
        is_rule = issubclass(group, LegConditions) and group is not LegFilter
        self.lines += [
            "| Key | Meaning | Written as | Default | Example |",
            "|---|---|---|---|---|",
        ]
        if tag:
            self.lines += [f"| `kind` | Which kind. | `{tag}` | needed | `kind: {tag}` |"]
        if is_rule:
            but = "" if issubclass(group, LegFilter) else ", but not `products`"
            self.lines += [
                "| *conditions* | Which legs it is for: any of the keys of "
                "[Which legs](#which-legs)"
                f"{but}. | | every leg | `networks: [bus]` |"
            ]
        for field in fields:
            key = field.encode_name
            example = example_of(group, key)
            self.lines += [
                f"| `{key}` | {description_of(field)} | {self._written_as(field.type)} "
                f"| {_default(field)} | {f'`{key}: {example}`' if example else ''} |"
            ]

    def _written_as(self, kind: inspect.Type) -> str:
        match kind:
            case inspect.Metadata():
                told = (kind.extra_json_schema or {}).get("x-write")
                if told is None:
                    return self._written_as(kind.type)
                return "name" if told == _NAME else str(told)
            case inspect.CustomType(cls=cls):
                return _UNITS[cls]
            case inspect.StructType(cls=cls):
                return self._link(cls)
            case inspect.UnionType(types=types):
                return " or ".join(self._written_as(one) for one in types if not _is_none(one))
            case inspect.LiteralType(values=values):
                return ", ".join(f"`{value}`" for value in values)
            case inspect.EnumType(cls=cls):
                return ", ".join(f"`{one.value}`" for one in cls)
            case inspect.VarTupleType(item_type=item):
                of = self._written_as(item)
                return f"list of {of}s" if of in ("name", "zone", "day") else f"list of {of}"
            case inspect.DictType(key_type=_, value_type=value):
                return f"names, each with {self._written_as(value)}"
            case inspect.IntType():
                bounds = [f"from {kind.ge}" if kind.ge is not None else ""]
                bounds += [f"to {kind.le}" if kind.le not in (None, 1_000_000) else ""]
                return " ".join(["whole number", *filter(None, bounds)])
            case inspect.BoolType():
                return "`true` or `false`"
            case inspect.DateType():
                return "day"
            case _:
                return "text"

    def _link(self, group: type[Struct]) -> str:
        if group in _CONDITIONS:
            return "[conditions](#which-legs)"
        heading = self._headings[group]
        return f"[{group.__struct_config__.tag or heading}](#{anchor(heading)})"


def fields_of(group: type[Struct]) -> tuple[inspect.Field, ...]:
    kind = inspect.type_info(group)
    assert isinstance(kind, inspect.StructType)
    return kind.fields


def groups_of(kind: inspect.Type) -> Iterator[type[Struct]]:
    """List the groups of keys that a value may be, or hold."""
    match kind:
        case inspect.StructType(cls=cls):
            yield cls
        case inspect.Metadata(type=inner) | inspect.VarTupleType(item_type=inner):
            yield from groups_of(inner)
        case inspect.UnionType(types=types):
            for one in types:
                yield from groups_of(one)


def meaning_of(group: type[Struct]) -> str:
    return " ".join((group.__doc__ or "").split())


def description_of(field: inspect.Field) -> str:
    """Say what a key means; the outermost words are the key's own."""
    kind = field.type
    while isinstance(kind, inspect.Metadata):
        told = (kind.extra_json_schema or {}).get("description")
        if told:
            return str(told).replace("|", "\\|")
        kind = kind.type
    return ""


def anchor(heading: str) -> str:
    """The name that a heading has as the target of a link."""
    kept = "".join(letter for letter in heading.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def _is_condition(group: type[Struct], field: inspect.Field) -> bool:
    return issubclass(group, LegConditions) and field.name in LegFilter.__struct_fields__


def _is_none(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.NoneType)


def _default(field: inspect.Field) -> str:
    if field.required:
        return "needed"
    default = field.default
    if default is msgspec.NODEFAULT:
        factory = field.default_factory
        default = factory() if callable(factory) else None
    match default:
        case None | () | "" | {}:
            return "none"
        case bool():
            return f"`{str(default).lower()}`"
        case Scaled():
            digits = type(default).digits or 0
            return f"`{int(default) // 10**digits}`"
        case tuple() if all(isinstance(one, str) for one in default):
            return f"`[{', '.join(default)}]`"
        case tuple():
            return ", ".join(f"`{one.id}`" for one in default)
        case LegConditions():
            return "every leg"
        case Record():
            return "all defaults"
        case int() | str() | date():
            return f"`{default}`"
    raise AssertionError(f"no words for the default {default!r}")


def reference() -> str:
    """Make the text of REFERENCE.md."""
    return _Writer().write()


if __name__ == "__main__":
    REFERENCE.write_text(reference(), "utf-8")
