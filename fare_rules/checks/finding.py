"""A fault before it has a line, and how a check comes by the things it looks at."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from msgspec import Struct

from fare_rules.faults import FaultCode
from fare_rules.source import Place

# The sections whose ids can stand on a quote line, which tells rules apart by id alone.
ON_LINES = (
    "fare_products",
    "incomplete_leg_rules",
    "surcharges",
    "concessions",
    "fare_leg_join_rules",
    "fare_transfer_rules",
    "fare_tiers",
    "fare_caps",
    "promotions",
    "subsidies",
    "disruptions",
)


class Finding(NamedTuple):
    """Where in the data, what, and what to do."""

    place: Place
    code: FaultCode
    message: str
    remedy: str


class Said(NamedTuple):
    """One key of one record, with its value."""

    place: Place
    record: Struct
    key: str
    value: Any


def everything(record: Struct, place: Place = ()) -> Iterator[Said]:
    """Go through all keys of a record and of those inside it."""
    fields = zip(record.__struct_fields__, record.__struct_encode_fields__, strict=True)
    for field, key in fields:
        value = getattr(record, field)
        yield Said((*place, key), record, key, value)
        if isinstance(value, Struct):
            yield from everything(value, (*place, key))
        elif isinstance(value, tuple):
            for index, item in enumerate(value):
                if isinstance(item, Struct):
                    yield from everything(item, (*place, key, index))


def not_rising(
    place: Place, key: str, values: Sequence[Any], remedy: str, *, equal: bool = False
) -> Iterator[Finding]:
    """Find the values of a list's records that do not follow those before them."""
    said = [(index, value) for index, value in enumerate(values) if value is not None]
    for (_, lower), (index, upper) in pairwise(said):
        if upper < lower or (upper == lower and not equal):
            message = f"The {key} of this one does not follow that of the one before"
            yield Finding((*place, index, key), FaultCode.BANDS_NOT_RISING, message, remedy)
