"""What a tariff of the right shape can still get wrong: names that lead nowhere, rules that tie.

The map: `checks/names.py` looks at ids and what refers to them; `checks/values.py` at bands,
periods and keys that need each other; `checks/terms.py` at the terms of networks;
`checks/changes.py` at transfers and joins; `checks/overlaps.py` at rules that get in each other's
way; `checks/prices.py` at legs that would have no price. Each check looks for one kind of fault.
"""

from collections.abc import Callable, Iterator

from fare_rules.checks import changes, extensions, names, overlaps, prices, terms, values
from fare_rules.checks.finding import ON_LINES, Finding
from fare_rules.language.tariff import Tariff
from fare_rules.tables import Tables

Check = Callable[[Tariff, Tables], Iterator[Finding]]

# What the later checks look up must be there, so they wait for these.
_FIRST: tuple[Check, ...] = (names.duplicate_ids, names.unknown_names, names.runs_of_zones)
_FURTHER: tuple[Check, ...] = (
    *values.CHECKS,
    *terms.CHECKS,
    *changes.CHECKS,
    *extensions.CHECKS,
    *prices.CHECKS,
)
# These compare rules by the names in them.
_LAST: tuple[Check, ...] = (
    *overlaps.CHECKS,
    *terms.COMPARISONS,
    *changes.COMPARISONS,
    *prices.LOOK_UPS,
    *changes.LOOK_UPS,
    *extensions.LOOK_UPS,
)


def find_faults(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """List what is wrong with a tariff and its tables, check by check."""
    faults = [finding for check in _FIRST for finding in check(tariff, tables)]
    for check in _FURTHER if faults else (*_FURTHER, *_LAST):
        faults += check(tariff, tables)
    # Prices are looked for once nothing else can be the cause that there is none.
    yield from faults or prices.ends_without_fare(tariff, tables)


__all__ = ["ON_LINES", "Finding", "find_faults"]
