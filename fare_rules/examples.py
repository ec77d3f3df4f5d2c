"""Situations with their fares, beside the tariff they explain, and priced by it.

Every example goes through the same fold as a tap at a gate.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import NAMESPACE_OID, UUID, uuid5
from zoneinfo import ZoneInfo

from msgspec import Struct, structs

from fare_rules.amounts import said
from fare_rules.beside import EXAMPLES_FILE
from fare_rules.book import TariffBook, load_book
from fare_rules.charges import Charge
from fare_rules.compiled import CompiledTariff
from fare_rules.faults import FaultCode, TariffFaults
from fare_rules.fold import Fold, fold
from fare_rules.language.discounts import CountingApart, Rolling, Trailing
from fare_rules.language.example import Example, ExampleBefore, ExampleTap
from fare_rules.language.scalars import moment, moment_on
from fare_rules.load import read_as
from fare_rules.periods import DaySum, Window, first_day_of, window_key
from fare_rules.quotes import QuoteLine, sponsored_by
from fare_rules.states import RiderState, Uses
from fare_rules.subsidies import subsidies_due
from fare_rules.taps import Action, RideTap

RIDER = "rider"
_AMOUNT = re.compile(r"-?\d+(\.\d+)?")
_NEVER = datetime.max.replace(tzinfo=UTC)


class Difference(Struct, frozen=True):
    """One thing that an example expects otherwise."""

    what: str
    expected: str
    priced: str


class ExampleResult(Struct, frozen=True):
    """An example, and where the tariff says otherwise."""

    name: str
    differences: tuple[Difference, ...]

    @property
    def is_right(self) -> bool:
        return not self.differences


def run_examples(folder: Path) -> list[ExampleResult]:
    """Price every example of a folder with the tariffs of that folder.

    Raises: TariffFaults when the tariffs or the examples themselves are faulty.
    """
    book = load_book(folder)
    return [run_example(example, book) for example in load_examples(folder, book)]


def load_examples(folder: Path, book: TariffBook) -> tuple[Example, ...]:
    digits = book.tariffs[0].currency_digits
    examples, document = read_as(folder / EXAMPLES_FILE, tuple[Example, ...], digits)
    if examples is None:
        raise TariffFaults(document.faults)
    faults = [
        document.fault((index, "before", at), FaultCode.NEEDS_ANOTHER_KEY, *said)
        for index, example in enumerate(examples)
        for at, before in enumerate(example.before)
        if (said := _lacks_what_is_apart(before, book))
    ]
    if faults:
        raise TariffFaults(faults)
    return examples


def _lacks_what_is_apart(before: ExampleBefore, book: TariffBook) -> tuple[str, str] | None:
    """Say what a memory needs that a rule keeps for each route, or for each two stops."""
    rules = [tariff.accumulators.get(before.rule) for tariff in book.tariffs]
    found = {rule.for_each for rule in rules if isinstance(rule, CountingApart)}
    if "route" in found and (before.network is None or before.route is None):
        return f"'{before.rule}' counts for each route of a network", "Add network and route"
    if "stops" in found and len(before.stops) != 2:
        return f"'{before.rule}' counts for each two stops", "Add stops: [a, b]"
    return None


def run_example(example: Example, book: TariffBook) -> ExampleResult:
    """Fold an example's taps and hold what they cost against what it expects."""
    folded, taps = fold_example(example, book)
    return ExampleResult(example.name, tuple(_differences(example, folded, taps, book)))


def fold_example(example: Example, book: TariffBook) -> tuple[Fold, list[RideTap]]:
    day = example.day or book.tariffs[0].effective_from
    taps = [_tap(index, example, day, book) for index in range(len(example.taps))]
    state = _state(example, min(tap.tapped_at for tap in taps), book)
    swept_until = None if example.leg_under_way else _NEVER
    return fold(taps, book, state=state, swept_until=swept_until), taps


def _tap(index: int, example: Example, day: date, book: TariffBook) -> RideTap:
    told = example.taps[index]
    tapped_at = instant_of(told.at, day, book.timezone)
    tariff = book.tariff_at(tapped_at) or book.tariffs[0]
    rider = example.rider
    return RideTap(
        tap_id=uuid5(NAMESPACE_OID, f"{example.name} {index}"),
        gate_id=f"gate {told.stop or told.vehicle or told.route}",
        sequence=index,
        tapped_at=tapped_at,
        media_token="example",
        action=Action(told.tap),
        network=told.network,
        operator_id=told.operator,
        rider_category=rider.category or tariff.default_rider_category,
        fare_media=rider.media or tariff.default_fare_media,
        stop_id=told.stop,
        route_id=told.route,
        vehicle_id=told.vehicle,
        full_fare=told.full_fare,
        transfer_proven=told.transfer_proven,
        carriage_class=told.carriage_class,
        riders_count=told.riders,
        distance_m=told.distance_km,
        issuer_id=rider.issuer or None,
        coupons=tuple(
            (coupon.promotion, _local(coupon.activated, book.timezone)) for coupon in rider.coupons
        ),
    )


def instant_of(clock: str, day: date, timezone: ZoneInfo) -> datetime:
    """Read a clock of an example: 08:35, 25:10:30, or with a day before it."""
    if " " in clock:
        said_day, clock = clock.split(" ")
        day = date.fromisoformat(said_day)
    return moment_on(day, clock, timezone).astimezone(UTC)


def _local(said_moment: str, timezone: ZoneInfo) -> datetime:
    return moment(said_moment).replace(tzinfo=timezone).astimezone(UTC)


def _state(example: Example, first_tap_at: datetime, book: TariffBook) -> RiderState:
    tariff = book.tariff_at(first_tap_at)
    if tariff is None:
        return RiderState()
    day = book.service_day_of(first_tap_at)
    windows: dict[str, Window] = {}
    uses: dict[str, Uses] = {}
    for before in example.before:
        since = _local(before.since, book.timezone) if before.since else first_tap_at
        if before.rule in tariff.accumulators:
            apart = sorted(before.stops) or filter(None, (before.network, before.route))
            key = window_key(before.rule, *apart)
            windows[key] = _window(before, tariff, day, since, book.service_day_of(since))
        else:
            uses[before.rule] = Uses(before.rides, since, day, 0)
    for coupon in example.rider.coupons:
        if coupon.used:
            at = _local(coupon.activated, book.timezone)
            known = uses.get(coupon.promotion, Uses(coupon.used, at, day, 0))
            uses[coupon.promotion] = structs.replace(
                known, coupon_at=at, by_coupon=(*known.by_coupon, (at, coupon.used))
            )
    return RiderState(windows=windows, uses=uses)


def _window(
    before: ExampleBefore, tariff: CompiledTariff, day: date, since: datetime, opened_on: date
) -> Window:
    period = tariff.accumulators[before.rule].period
    span = tariff.zones.span(before.zones) if before.zones else None
    spent_fen, (low, high) = int(before.spent), span or (-1, -1)
    if isinstance(period, Trailing):
        own = DaySum(opened_on, spent_fen, before.rides, low, high)
        return Window(None, None, spent_fen, before.rides, low, high, days=(own,))
    is_rolling = isinstance(period, Rolling)
    counts_hours = isinstance(period, Rolling) and not period.service_days
    return Window(
        first_day=None if counts_hours else first_day_of(period, opened_on if is_rolling else day),
        opened_at=since if counts_hours else None,
        spent_fen=spent_fen,
        rides_count=before.rides,
        low=low,
        high=high,
    )


def _differences(
    example: Example, folded: Fold, taps: list[RideTap], book: TariffBook
) -> Iterator[Difference]:
    digits = book.tariffs[0].currency_digits
    charges: dict[UUID, list[Charge]] = {}
    for charge in folded.charges.values():
        charges.setdefault(charge.tap_id, []).append(charge)
    for told, tap in zip(example.taps, taps, strict=True):
        refusal = folded.refused.get(tap.tap_id)
        name = f"{told.at} {told.tap}"
        yield from _tap_differences(name, told, charges.get(tap.tap_id, []), digits)
        if told.refusal != refusal:
            expects_price = told.refusal is None and told.fare is None and told.lines is None
            if not (expects_price and refusal is None):
                yield Difference(f"{name} refusal", told.refusal or "none", refusal or "none")
    everything = list(folded.charges.values())
    if example.total is not None:
        total_fen = sum(charge.fare_fen for charge in everything)
        yield from _differs("total", said(example.total, digits), said(total_fen, digits))
    if example.pays is not None:
        yield from _differs(
            "pays", _payers_said(example.pays, digits), _payers_said(payers(everything), digits)
        )
    if example.subsidies is not None:
        tariff = book.tariff_at(taps[-1].tapped_at) or book.tariffs[0]
        due = subsidies_due(folded.state, tariff)
        yield from _differs(
            "subsidies", _payers_said(example.subsidies, digits), _payers_said(due, digits)
        )


def _tap_differences(
    name: str, told: ExampleTap, charges: list[Charge], digits: int
) -> Iterator[Difference]:
    if told.fare is not None:
        fare_fen = sum(charge.fare_fen for charge in charges)
        yield from _differs(f"{name} fare", said(told.fare, digits), said(fare_fen, digits))
    if told.lines is not None:
        lines = [line_said(line, digits) for charge in charges for line in charge.quote.lines]
        expected = [_normal(line, digits) for line in told.lines]
        yield from _differs(f"{name} lines", ", ".join(expected), ", ".join(lines))
    if told.pays is not None:
        yield from _differs(
            f"{name} pays", _payers_said(told.pays, digits), _payers_said(payers(charges), digits)
        )
    if told.purses is not None:
        may_pay = sorted({terms.rule_id for charge in charges for terms in charge.purses})
        yield from _differs(f"{name} purses", ", ".join(sorted(told.purses)), ", ".join(may_pay))


def _normal(line: str, digits: int) -> str:
    """Write the amount of a line with all its decimals: 11.0 is 11.00."""
    words = line.split()
    for index, word in enumerate(words):
        if index and _AMOUNT.fullmatch(word):
            words[index] = said(int(Decimal(word).scaleb(digits)), digits)
            break
    return " ".join(words)


def _differs(what: str, expected: str, priced: str) -> Iterator[Difference]:
    if expected != priced:
        yield Difference(what, expected, priced)


def payers(charges: list[Charge]) -> dict[str, int]:
    """Who pays what: the rider, and each sponsor by its id."""
    found = {RIDER: sum(int(charge.rider_fen) for charge in charges)}
    for charge in charges:
        for account, amount_fen in charge.quote.sponsored.items():
            sponsor, _ = sponsored_by(account)
            found[sponsor] = found.get(sponsor, 0) + amount_fen
    return found


def _payers_said(shares: Mapping[str, int], digits: int) -> str:
    shares = {name: amount for name, amount in shares.items() if amount}
    listed = (f"{name} {said(amount, digits)}" for name, amount in sorted(shares.items()))
    return ", ".join(listed) or "nothing"


def line_said(line: QuoteLine, digits: int) -> str:
    """Write a line as examples do: `one_cent -2.99 by icbc`."""
    by = f" by {sponsored_by(line.borne_by)[0]}" if line.borne_by else ""
    return f"{line.rule_id} {said(line.amount_fen, digits)}{by}"
