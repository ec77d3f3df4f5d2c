"""A journey as it is written on the command line, and what it costs before it is travelled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from gateway.exit_codes import PROBLEMS_FOUND, USAGE

if TYPE_CHECKING:
    from fare_rules import Fold, RideTap, TariffBook
    from fare_rules.ask import Question


class CannotAnswer(Exception):
    """A command that cannot be carried out as it was given; says what to write instead."""

    def __init__(self, sentence: str, exit_code: int = USAGE) -> None:
        self.exit_code = exit_code
        super().__init__(sentence)


@dataclass(kw_only=True)
class JourneyOptions:
    """A journey that somebody thinks of; the ids are the tariff's own."""

    network: str = ""
    """Network of the gates."""
    from_stop: Annotated[str | None, Parameter(name="--from")] = None
    """Stop where it begins."""
    to_stop: Annotated[str | None, Parameter(name="--to")] = None
    """Stop where it ends."""
    at: str = ""
    """Local time of the first tap, such as "2025-03-03 08:00"; of two, the first."""
    via: tuple[str, ...] = ()
    """Stops whose route validator is touched on the way."""
    minutes: int | None = None
    """Minutes of travel; half an hour, or less where less is allowed."""
    route: str | None = None
    """Route or line."""
    vehicle: str | None = None
    """Vehicle."""
    operator: str = "operator"
    """Operator of the gates."""
    carriage: str = "ordinary"
    """Class of carriage."""
    distance_km: str | None = None
    """Distance, if the gate measures it."""
    gate_fare: str | None = None
    """Full fare, if the gate names it, such as 5.00."""
    rider: str | None = None
    """Rider category; the default one."""
    media: str | None = None
    """Fare media; the first of the tariff."""
    issuer: str | None = None
    """Institution that operates the wallet which pays."""
    riders: int = 1
    """Riders on one tap."""
    proven: bool = False
    """The card proves the ride before."""
    coupon: tuple[str, ...] = ()
    """An activated coupon: "promotion 2025-03-01 08:00"."""
    before: Path | None = None
    """Earlier taps of the rider: a YAML list of taps, written as in examples.yaml."""


def folded_journey(book: TariffBook, options: JourneyOptions) -> tuple[Fold, list[RideTap]]:
    from fare_rules.ask import ask, asked_taps, question_faults

    question = _question(book, options)
    faults = question_faults(question, book)
    if faults:
        raise CannotAnswer("\n".join(faults), PROBLEMS_FOUND)
    before = _taps_before(book, options)
    taps = [*before, *asked_taps(question, book)]
    return ask(book, question, before=before), taps


def _question(book: TariffBook, options: JourneyOptions) -> Question:
    from fare_rules.ask import Question

    missing = [name for name in ("network", "at") if not getattr(options, name)]
    if missing:
        raise CannotAnswer(f"--{missing[0]} is missing; a journey needs --network and --at")
    digits = book.tariffs[0].currency_digits
    gate_fare, distance = options.gate_fare, options.distance_km
    return Question(
        network=options.network,
        at=_local_time("--at", options.at),
        from_stop=options.from_stop,
        to_stop=options.to_stop,
        via_stops=options.via,
        minutes=options.minutes,
        route=options.route,
        vehicle=options.vehicle,
        operator=options.operator,
        carriage_class=options.carriage,
        distance_m=None if distance is None else _decimal("--distance-km", distance, 3),
        gate_fare_fen=None if gate_fare is None else _decimal("--gate-fare", gate_fare, digits),
        rider_category=options.rider,
        fare_media=options.media,
        issuer=options.issuer,
        riders_count=options.riders,
        transfer_proven=options.proven,
        coupons=tuple(_coupon(said, book) for said in options.coupon),
    )


def _coupon(said: str, book: TariffBook) -> tuple[str, datetime]:
    promotion, _, moment = said.partition(" ")
    return promotion, _local_time("--coupon", moment).replace(tzinfo=book.timezone)


def _local_time(option: str, said: str) -> datetime:
    try:
        return datetime.fromisoformat(said)
    except ValueError as error:
        raise CannotAnswer(f"{option}: '{said}' is no time; write \"2025-03-03 08:00\"") from error


def _decimal(option: str, said: str, digits: int) -> int:
    whole, _, part = said.partition(".")
    if not (whole.isdecimal() and (part.isdecimal() or not part) and len(part) <= digits):
        raise CannotAnswer(
            f"{option}: '{said}' is no number with {digits} decimals at most; write one such as 5"
        )
    return int(whole + part.ljust(digits, "0"))


def _taps_before(book: TariffBook, options: JourneyOptions) -> list[RideTap]:
    if options.before is None:
        return []
    from fare_rules import TariffFaults
    from fare_rules.examples import fold_example
    from fare_rules.language.example import Example, ExampleRider, ExampleTap
    from fare_rules.load import read_as

    digits = book.tariffs[0].currency_digits
    taps, document = read_as(options.before, tuple[ExampleTap, ...], digits)
    if taps is None:
        raise TariffFaults(document.faults)
    rider = ExampleRider(category=options.rider, media=options.media, issuer=options.issuer or "")
    day = _local_time("--at", options.at).date()
    example = Example(name=str(options.before), day=day, rider=rider, taps=taps)
    return fold_example(example, book)[1]
