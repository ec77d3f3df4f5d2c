"""A fault before it has a line, and how a check comes by the things it looks at."""

from collections.abc import Iterator
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
