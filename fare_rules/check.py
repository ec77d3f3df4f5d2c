"""What a tariff of the right shape can still get wrong: names that lead nowhere, rules that tie."""

from collections.abc import Iterator
from typing import NamedTuple

from fare_rules.faults import FaultCode
from fare_rules.language.tariff import Tariff
from fare_rules.source import Place
from fare_rules.tables import Tables


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
    """A fault before it has a line: where in the data, what, and what to do."""

    place: Place
    code: FaultCode
    message: str
    remedy: str


def find_faults(tariff: Tariff, tables: Tables) -> Iterator[Finding]:
    """List what is wrong with a tariff and its tables, check by check."""
    yield from ()
