"""Situations with their fares, beside the tariff they explain, and priced by it.

The last leg of an example is the one whose price is told; the legs before it set the scene.
"""

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from fare_rules.book import EXAMPLES_FILE, TariffBook, load_book
from fare_rules.faults import TariffFaults
from fare_rules.legs import Leg
from fare_rules.load import read_as
from fare_rules.model import Amount, Id, Metres
from fare_rules.price import FareRefusal, Quote, quote

# As in a timetable, what happens after midnight still belongs to the day: 25:10 is ten past one.
Clock = Annotated[
    str, Meta(pattern=r"^([01]\d|2[0-7]):[0-5]\d$", description="a time of day such as 08:35")
]


class ExampleLeg(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A leg as a timetable would tell it."""

    network: Id
    boards: Clock
    alights: Clock | None = None
    from_stop: Id | None = None
    to_stop: Id | None = None
    route: Id | None = None
    operator: Id = ""
    gate_fare_fen: Amount | None = None
    distance_m: Metres | None = None
    carriage_class: Id = "ordinary"
    riders_count: Annotated[int, Meta(ge=1)] = 1
    transfer_proven: bool = False
    missing: Literal["entry", "exit"] | None = None


class Example(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One situation, and either its lines and fare or the reason why it has none."""

    name: str
    reference: str
    legs: Annotated[tuple[ExampleLeg, ...], Meta(min_length=1)]
    rider_category: Id
    fare_media: Id
    # Without a day, the first on which the first tariff of the folder is in force.
    day: date | None = None
    lines: tuple[str, ...] = ()
    fare_fen: Amount | None = None
    refusal: FareRefusal | None = None


class ExampleResult(Struct, frozen=True):
    """What an example expects, and what the tariff says."""

    name: str
    expected: str
    priced: str

    @property
    def is_right(self) -> bool:
        return self.expected == self.priced


def run_examples(folder: Path) -> list[ExampleResult]:
    """Price every example of a folder with the tariffs of that folder.

    Raises: TariffFaults when the tariffs or the examples themselves are faulty.
    """
    book = load_book(folder)
    examples, document = read_as(folder / EXAMPLES_FILE, tuple[Example, ...])
    if examples is None:
        raise TariffFaults(document.faults)
    return [_result(example, book) for example in examples]


def _result(example: Example, book: TariffBook) -> ExampleResult:
    day = example.day or book.tariffs[0].effective_from
    legs = [_leg(told, example, day, book.timezone) for told in example.legs]
    previous = legs[-2] if len(legs) > 1 else None
    tariff = book.tariff_at(legs[-1].boarded_at)
    priced = "no tariff" if tariff is None else _told(quote(legs[-1], tariff, previous=previous))
    return ExampleResult(example.name, _expected(example), priced)


def _leg(told: ExampleLeg, example: Example, day: date, timezone: ZoneInfo) -> Leg:
    return Leg(
        network=told.network,
        operator_id=told.operator,
        rider_category=example.rider_category,
        fare_media=example.fare_media,
        boarded_at=_instant(day, told.boards, timezone),
        alighted_at=_instant(day, told.alights, timezone) if told.alights else None,
        from_stop=told.from_stop,
        to_stop=told.to_stop,
        route_id=told.route,
        gate_fare_fen=told.gate_fare_fen,
        distance_m=told.distance_m,
        carriage_class=told.carriage_class,
        riders_count=told.riders_count,
        transfer_proven=told.transfer_proven,
        missing=told.missing,
    )


def _instant(day: date, clock: str, timezone: ZoneInfo) -> datetime:
    hours, minutes = map(int, clock.split(":"))
    days, hours = divmod(hours, 24)
    return datetime.combine(day + timedelta(days), time(hours, minutes), tzinfo=timezone)


def _expected(example: Example) -> str:
    return example.refusal or _sum_told(example.lines, example.fare_fen)


def _told(priced: Quote | FareRefusal) -> str:
    if isinstance(priced, FareRefusal):
        return priced
    lines = [f"{line.rule_id} {line.amount_fen}" for line in priced.lines]
    return _sum_told(lines, priced.fare_fen)


def _sum_told(lines: Iterable[str], fare_fen: int | None) -> str:
    return f"{', '.join(lines)} = {fare_fen}"
