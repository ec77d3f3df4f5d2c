"""The price of a journey before it is travelled: taps that did not happen, through the same fold.

So the answer is the gate's own, whatever the tariff, the rider's earlier taps and caps make of it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

from msgspec import Struct

from fare_rules.book import TariffBook, load_book
from fare_rules.compiled import CompiledTariff
from fare_rules.fold import Fold, fold
from fare_rules.states import NOTHING, RiderState
from fare_rules.taps import ENDS, YEAR_MAX, YEAR_MIN, Action, RideTap

DEFAULT_MINUTES = 30
MINUTES_MAX = 1_000_000
_NEVER = datetime.max.replace(tzinfo=UTC)


class Question(Struct, frozen=True, kw_only=True):
    """A journey that somebody thinks of. Names are ids of the tariff; amounts are for one rider."""

    network: str
    # When it begins; a time without a zone is the tariff's own.
    at: datetime
    from_stop: str | None = None
    to_stop: str | None = None
    via_stops: tuple[str, ...] = ()
    # Of travel; at most half an hour, and never more than the network allows, if left out.
    minutes: int | None = None
    route: str | None = None
    vehicle: str | None = None
    operator: str = "operator"
    carriage_class: str = "ordinary"
    distance_m: int | None = None
    gate_fare_fen: int | None = None
    # The tariff's default, if left out.
    rider_category: str | None = None
    fare_media: str | None = None
    issuer: str | None = None
    riders_count: int = 1
    transfer_proven: bool = False
    # Promotions whose coupon the rider has activated, and when.
    coupons: tuple[tuple[str, datetime], ...] = ()


def ask(
    tariffs: TariffBook | Path,
    question: Question,
    *,
    before: Iterable[RideTap] = (),
    state: RiderState = NOTHING,
) -> Fold:
    """Price a journey before travel, after the rider's earlier taps and all that is remembered.

    Shape:  the charges are those of the earlier taps, too; `asked_taps` says which are new.
    Raises: TariffFaults when a folder has faults.
    """
    book = load_book(tariffs) if isinstance(tariffs, Path) else tariffs
    taps = [*before, *asked_taps(question, book)]
    return fold(taps, book, state=state, swept_until=_NEVER)


def asked_taps(question: Question, book: TariffBook) -> tuple[RideTap, ...]:
    """The taps that the journey would be: boarding, or in and out; touches in between."""
    starts_at = _instant(question.at, book)
    tariff = book.tariff_at(starts_at)
    network = tariff.network(question.network) if tariff else None
    if network is None or network.taps == "board":
        return (_tap(question, book, 0, starts_at, Action.BOARD, question.from_stop),)
    opens, closes = ENDS[network.taps]
    stay = _stay(question, network.longest)
    steps = [
        (opens, question.from_stop),
        *((Action.TOUCH, stop) for stop in question.via_stops),
        (closes, question.to_stop),
    ]
    return tuple(
        _tap(question, book, index, starts_at + stay * index / (len(steps) - 1), action, stop)
        for index, (action, stop) in enumerate(steps)
    )


def question_faults(question: Question, book: TariffBook) -> list[str]:
    """Name what a question says that cannot be, or that the tariff does not know."""
    impossible = list(_impossible(question, book))
    if impossible:
        return impossible
    starts_at = _instant(question.at, book)
    tariff = book.tariff_at(starts_at)
    if tariff is None:
        first = book.tariffs[0].effective_from
        return [f"no tariff is in force at {question.at}; the first one is from {first} on"]
    return list(_unknown_names(question, tariff))


def _impossible(question: Question, book: TariffBook) -> Iterator[str]:
    if not YEAR_MIN <= question.at.year <= YEAR_MAX:
        yield f"there is no service in the year {question.at.year}; ask for another"
    elif question.at.tzinfo is None and _is_skipped(question.at, book):
        zone = book.timezone.key
        yield f"clocks in {zone} go forward over {question.at}; ask for a time before or after"
    if question.riders_count < 1:
        yield f"there are {question.riders_count} riders; one at least must ride"
    if question.minutes is not None and not 0 <= question.minutes <= MINUTES_MAX:
        yield f"no journey takes {question.minutes} minutes; say 0 to {MINUTES_MAX}"


def _unknown_names(question: Question, tariff: CompiledTariff) -> Iterator[str]:
    network = tariff.network(question.network)
    stops = frozenset(stop.id for stop in tariff.stops) | (network.stops if network else set())
    known: list[tuple[str, Iterable[str | None], Iterable[str]]] = [
        ("network", [question.network], tariff.networks),
        ("rider category", [question.rider_category], tariff.rider_categories),
        ("fare media", [question.fare_media], tariff.fare_media),
        ("carriage class", [question.carriage_class], [c.id for c in tariff.file.carriage_classes]),
        (
            "promotion",
            [name for name, _ in question.coupons],
            [p.id for p in tariff.file.promotions],
        ),
    ]
    if stops:
        ends = [question.from_stop, question.to_stop, *question.via_stops]
        known.append(("stop", ends, stops))
    for what, names, choices in known:
        for name in names:
            if name is not None and name not in choices:
                yield f"there is no {what} '{name}' in {tariff.tariff_id}; {_offer(name, choices)}"


def _offer(name: str, choices: Iterable[str]) -> str:
    listed = sorted(choices)
    close = difflib.get_close_matches(name, listed, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    shown = ", ".join(listed[:12]) + (f" and {len(listed) - 12} more" if len(listed) > 12 else "")
    return f"it has {shown or 'none'}"


def _instant(at: datetime, book: TariffBook) -> datetime:
    local = at if at.tzinfo else at.replace(tzinfo=book.timezone)
    return local.astimezone(UTC)


def _is_skipped(at: datetime, book: TariffBook) -> bool:
    """Whether a local time never comes. Of one that comes twice, the first is meant."""
    return _instant(at, book).astimezone(book.timezone).replace(tzinfo=None) != at.replace(fold=0)


def _stay(question: Question, longest: timedelta) -> timedelta:
    if question.minutes is not None:
        return timedelta(minutes=question.minutes)
    usual = timedelta(minutes=DEFAULT_MINUTES)
    return min(usual, longest) if longest else usual


def _tap(
    question: Question,
    book: TariffBook,
    index: int,
    tapped_at: datetime,
    action: Action,
    stop: str | None,
) -> RideTap:
    tariff = book.tariff_at(tapped_at) or book.tariffs[0]
    return RideTap(
        tap_id=uuid5(NAMESPACE_OID, f"asked {index}"),
        gate_id=f"gate {stop or question.vehicle or question.route}",
        sequence=index,
        tapped_at=tapped_at,
        media_token="asked",
        action=action,
        network=question.network,
        operator_id=question.operator,
        rider_category=question.rider_category or tariff.default_rider_category,
        fare_media=question.fare_media or tariff.default_fare_media,
        stop_id=stop,
        route_id=question.route,
        vehicle_id=question.vehicle,
        full_fare=None if action is Action.TOUCH else question.gate_fare_fen,
        transfer_proven=question.transfer_proven,
        carriage_class=question.carriage_class,
        riders_count=question.riders_count,
        distance_m=question.distance_m,
        issuer_id=question.issuer,
        coupons=question.coupons,
    )
