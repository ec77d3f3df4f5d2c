"""What one tariff says otherwise than another: rules by section and id, and single rides by price.

The map: what is said is compared here, key by key, in the words of the file; what is charged is in
price_changes.py. A comment, the order of sections or how a number is written makes no difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from fare_rules.amounts import said
from fare_rules.compiled import CompiledTariff
from fare_rules.language.scalars import Percent, Scaled
from fare_rules.language.tariff import Tariff
from fare_rules.price_changes import FareChange, fare_changes

# Where the order of the rules is the order in which they act.
_ORDERED = ("fare_tiers", "fare_caps")
# What a record in a list is known by, so that a new first band does not shift all others.
_LABELS = (
    "id", "zones", "up_to_km", "up_to_stops", "up_to_zones", "up_to", "up_to_minutes", "from",
    "above", "after_rides", "timeframes",
)  # fmt: skip
# The id under which the keys of the file itself are shown.
FILE = "the file"


class KeyChange(Struct, frozen=True):
    """One key of a rule, as it is written in either file; None where it is not."""

    key: str
    old: str | None
    new: str | None


class RuleChange(Struct, frozen=True):
    """One rule that is said in one tariff only, or otherwise."""

    section: str
    id: str
    kind: Literal["added", "removed", "changed"]
    keys: tuple[KeyChange, ...]
    # Where the rule stands in either file, empty where it does not.
    old_place: str = ""
    new_place: str = ""


class TableChange(Struct, frozen=True):
    """The rows of one CSV file, by what they are about: two stops, or a stop of a route."""

    section: str
    id: str
    added_count: int
    removed_count: int
    changed_count: int


class TariffDiff(Struct, frozen=True):
    """All that differs between two tariffs."""

    old: str
    new: str
    currency: str
    currency_digits: int
    rules: tuple[RuleChange, ...]
    tables: tuple[TableChange, ...]
    fares: tuple[FareChange, ...]

    @property
    def is_empty(self) -> bool:
        return not self.rules and not self.tables and not any(one.differs for one in self.fares)


def diff_tariffs(old: CompiledTariff, new: CompiledTariff) -> TariffDiff:
    """Compare two tariffs in what they say and in what a single ride costs.

    Shape:  rules in the order of the language's sections; a key with its old and its new value.
    Units:  fen of one currency; tariffs in two currencies have no priced effect.
    """
    is_comparable = old.currency == new.currency
    return TariffDiff(
        old=old.tariff_id,
        new=new.tariff_id,
        currency=new.currency,
        currency_digits=new.currency_digits,
        rules=tuple(_rule_changes(old, new)),
        tables=tuple(_table_changes(old, new)),
        fares=fare_changes(old, new) if is_comparable else (),
    )


def as_json(diff: TariffDiff) -> str:
    """Write a diff for programs: the fields of TariffDiff, amounts in minor units."""
    return msgspec.json.format(msgspec.json.encode(diff), indent=2).decode()


def _rule_changes(old: CompiledTariff, new: CompiledTariff) -> Iterator[RuleChange]:
    own_keys: list[KeyChange] = []
    sections: list[RuleChange] = []
    for section in Tariff.__struct_fields__:
        before, after = getattr(old.file, section), getattr(new.file, section)
        if _is_section(before) or _is_section(after):
            sections += _section_changes(section, _by_id(before), _by_id(after), old, new)
            if section in _ORDERED and (moved := _moved(_by_id(before), _by_id(after))):
                own_keys.append(KeyChange(f"order of {section}", *moved))
        else:
            own_keys += _key_changes(
                dict(_flat(section, before, old.currency_digits)),
                dict(_flat(section, after, new.currency_digits)),
            )
    if own_keys:
        yield RuleChange("tariff", FILE, "changed", tuple(own_keys))
    yield from sections


def _section_changes(
    section: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    old: CompiledTariff,
    new: CompiledTariff,
) -> Iterator[RuleChange]:
    for rule_id in dict.fromkeys((*before, *after)):
        one, other = before.get(rule_id), after.get(rule_id)
        # Of a rule that comes or goes, what it does not say is no news.
        is_whole = one is not None and other is not None
        keys = _key_changes(
            dict(_flat("", one, old.currency_digits, with_defaults=is_whole)),
            dict(_flat("", other, new.currency_digits, with_defaults=is_whole)),
        )
        if not keys:
            continue
        yield RuleChange(
            section,
            rule_id,
            "added" if one is None else "removed" if other is None else "changed",
            tuple(each for each in keys if each.key != "id"),
            old.places.get((section, rule_id), "") if one is not None else "",
            new.places.get((section, rule_id), "") if other is not None else "",
        )


def _key_changes(before: dict[str, str], after: dict[str, str]) -> list[KeyChange]:
    return [
        KeyChange(key, before.get(key), after.get(key))
        for key in dict.fromkeys((*before, *after))
        if before.get(key) != after.get(key)
    ]


def _moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, str] | None:
    """How the rules that stay were ordered, and are now; None if they are as they were."""
    old = [rule_id for rule_id in before if rule_id in after]
    new = [rule_id for rule_id in after if rule_id in before]
    return None if old == new else (", ".join(old), ", ".join(new))


def _is_section(value: object) -> bool:
    return isinstance(value, tuple) and any(hasattr(each, "id") for each in value)


def _by_id(rules: object) -> dict[str, Any]:
    # Stops may be the name of a CSV file, whose rows are compared as a table.
    return {rule.id: rule for rule in rules} if isinstance(rules, tuple) else {}


def _flat(
    key: str, value: object, digits: int, *, with_defaults: bool = True
) -> Iterator[tuple[str, str]]:
    """Spread a value out into keys of single values; what says nothing is left out."""
    if value is None or value == () or value == "":
        return
    if isinstance(value, Struct):
        yield from _flat_record(key, value, digits, with_defaults=with_defaults)
    elif isinstance(value, tuple) and any(isinstance(each, Struct) for each in value):
        labels = [_label(each, digits) for each in value]
        is_known = None not in labels and len(set(labels)) == len(labels)
        for index, each in enumerate(value):
            label = labels[index] if is_known else f"#{index + 1}"
            yield from _flat(f"{key}[{label}]", each, digits, with_defaults=with_defaults)
    else:
        yield key, written(value, digits)


def _flat_record(
    key: str, record: Struct, digits: int, *, with_defaults: bool
) -> Iterator[tuple[str, str]]:
    dot = f"{key}." if key else ""
    config = type(record).__struct_config__
    if isinstance(config.tag, str):
        yield f"{dot}{config.tag_field}", config.tag
    is_any = key != "" and not isinstance(config.tag, str)
    for field in msgspec.structs.fields(record):
        value = getattr(record, field.name)
        is_said = with_defaults or field.required or value != field.default
        parts = _flat(f"{dot}{field.encode_name}", value, digits, with_defaults=with_defaults)
        for part in parts if is_said else ():
            is_any = False
            yield part
    if is_any:
        # Conditions that are there and ask nothing.
        yield key, "any"


def _label(record: object, digits: int) -> str | None:
    """What a record in a list is called; None where it has no name."""
    if hasattr(record, "from_stop") and hasattr(record, "to_stop"):
        return f"{record.from_stop} to {record.to_stop}"
    values = [
        getattr(record, field)
        for field in ("from_" if name == "from" else name for name in _LABELS)
        if hasattr(record, field)
    ]
    known = [written(value, digits) for value in values if value is not None]
    # A band without an end is the last one.
    return known[0] if known else "the rest" if values else None


def written(value: object, digits: int) -> str:
    """Write a single value as a tariff file does."""
    match value:
        case bool():
            return "true" if value else "false"
        case Scaled():
            own = type(value).digits
            if own is None:
                return said(value, digits)
            text = said(value, own).rstrip("0").rstrip(".")
            return f"{text}%" if isinstance(value, Percent) else text
        case tuple():
            return ", ".join(written(each, digits) for each in value)
        case _:
            return str(value)


def _table_changes(old: CompiledTariff, new: CompiledTariff) -> Iterator[TableChange]:
    if isinstance(new.file.stops, str):
        stops = ({stop.id: stop for stop in tariff.stops} for tariff in (old, new))
        counts = _row_counts(*stops)
        if counts.total():
            yield _table_change("stops", new.file.stops, counts)
    for section in ("links", "distances", "route_stops", "matrices"):
        before, after = getattr(old.tables, section), getattr(new.tables, section)
        for name in sorted({*before, *after}):
            counts = _row_counts(_rows(before.get(name, {})), _rows(after.get(name, {})))
            if counts.total():
                yield _table_change(section, name, counts)


def _table_change(section: str, name: str, counts: Counter[str]) -> TableChange:
    return TableChange(section, name, counts["added"], counts["removed"], counts["changed"])


def _rows(table: Mapping[Any, Any]) -> dict[Any, Any]:
    """A table as rows: pairs of stops, or stops of routes, or pairs by column."""
    if any(isinstance(part, Mapping) for part in table.values()):
        return {(key, row): value for key, part in table.items() for row, value in part.items()}
    return dict(table)


def _row_counts(before: dict[Any, Any], after: dict[Any, Any]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for row in {*before, *after}:
        if row not in before:
            counts["added"] += 1
        elif row not in after:
            counts["removed"] += 1
        elif before[row] != after[row]:
            counts["changed"] += 1
    return counts


def as_text(diff: TariffDiff) -> str:
    """Write a diff for people."""
    lines = [f"{diff.old} -> {diff.new}", "", "What the rules say"]
    lines += [f"  {line}" for change in diff.rules for line in _rule_lines(change)]
    lines += [f"  {_table_line(change)}" for change in diff.tables]
    if not diff.rules and not diff.tables:
        lines.append("  nothing else")
    lines += ["", f"What a single ride costs, in {diff.currency}, by a rider without earlier rides"]
    if not diff.fares:
        lines.append("  not comparable: the two tariffs share no currency or no network")
    for fares in diff.fares:
        lines += [f"  {line}" for line in fares.lines(diff.currency_digits)]
    return "\n".join(lines)


def _rule_lines(change: RuleChange) -> Iterator[str]:
    places = [place for place in (change.old_place, change.new_place) if place]
    where = f" ({' -> '.join(places)})" if places else ""
    yield f"{change.kind} {change.section} {change.id}{where}"
    for key in change.keys:
        match change.kind:
            case "added":
                yield f"  {key.key}: {key.new}"
            case "removed":
                yield f"  {key.key}: {key.old}"
            case _:
                yield f"  {key.key}: {_or_none(key.old)} -> {_or_none(key.new)}"


def _or_none(value: str | None) -> str:
    return "(none)" if value is None else value


def _table_line(change: TableChange) -> str:
    return (
        f"changed {change.section} {change.id}: {change.added_count:,} rows added, "
        f"{change.removed_count:,} removed, {change.changed_count:,} changed"
    )
