"""The close of a period: what each operator is due for its riders, and whether it is paid now.

Every line has one settlement day and every settlement day one period, so a line is settled once.
What comes in after a close is stamped with a later settlement day and keeps its own service day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import Struct, structs

from gateway.core.registry import Operator

SETTLED_KINDS = frozenset({"fare", "correction", "refund"})


class SettledLine(Struct, frozen=True):
    """The operator's side of one journal entry."""

    entry_id: UUID
    kind: str
    tap_id: UUID
    cause_id: UUID
    operator_id: str
    product_id: str
    service_day: date
    settlement_day: date
    effective_at: datetime
    recorded_at: datetime
    ride_count: int
    amount_fen: int
    # Where agreements share fares: the journey, what the leg costs alone and how far it goes, and
    # what the change to it took off.
    journey_id: UUID | None = None
    own_fen: int | None = None
    distance_m: int | None = None
    change_fen: int | None = None
    # Counts the entries of a wallet, for several may be recorded at one instant. In no file.
    wallet_version: int = 0


class SettlementPeriod(Struct, frozen=True):
    """The settlement days after the last close, or since the beginning, up to the one now closed.

    `number` counts settlements from 1. Days and times in the files are those of `timezone`.
    """

    number: int
    days_after: date | None
    service_day: date
    closed_at: datetime
    currency: str
    timezone: str

    def __post_init__(self) -> None:
        assert self.number > 0, self
        assert self.days_after is None or self.days_after < self.service_day, self
        assert self.closed_at.tzinfo is not None, self

    def holds(self, settlement_day: date) -> bool:
        is_after = self.days_after is None or self.days_after < settlement_day
        return is_after and settlement_day <= self.service_day

    def local(self, instant: datetime) -> datetime:
        return instant.astimezone(ZoneInfo(self.timezone))

    @property
    def as_written(self) -> SettlementPeriod:
        """As files have it: under another offset the same instant would be other bytes."""
        return structs.replace(self, closed_at=self.local(self.closed_at))


class ProductTotal(Struct, frozen=True):
    """What an operator's riders bought of one fare product."""

    product_id: str
    ride_count: int
    amount_fen: int


class UnpaidReason(StrEnum):
    """Why an operator is paid nothing now: what it is due, or owes, is carried on."""

    NOTHING_DUE = "nothing_due"
    OWES = "owes"
    NO_BANK_ACCOUNT = "no_bank_account"
    HELD = "held"
    BELOW_MINIMUM = "below_minimum"


class SettlementBatch(Struct, frozen=True):
    """One payment to one operator, or the reason why there is none.

    `gross_fen` is what its gates charged, below zero when more was given back than earned;
    `shared_fen` what agreements with others add to it, or take; `fees_fen` what fees bring it, or,
    below zero, cost it. A carried amount is below zero when the operator owes it.
    """

    operator_id: str
    ride_count: int
    gross_fen: int
    products: tuple[ProductTotal, ...]
    carried_in_fen: int
    paid_fen: int
    carried_out_fen: int
    unpaid_reason: UnpaidReason | None
    shared_fen: int = 0
    fees_fen: int = 0

    def __post_init__(self) -> None:
        assert self.gross_fen == sum(product.amount_fen for product in self.products), self
        due_fen = self.gross_fen + self.shared_fen + self.fees_fen
        assert due_fen + self.carried_in_fen == self.paid_fen + self.carried_out_fen, self
        assert (self.paid_fen > 0) == (self.unpaid_reason is None), self


class SettlementTotals(Struct, frozen=True):
    """The sums of all batches of a settlement."""

    operator_count: int
    payment_count: int
    ride_count: int
    gross_fen: int
    carried_in_fen: int
    paid_fen: int
    carried_out_fen: int
    # What all that pay fees pay.
    fees_fen: int = 0


class PayoutTerms(Struct, frozen=True):
    """What keeps an operator's payout back, as it stood at the close."""

    held: frozenset[str] = frozenset()
    minimum_fen: Mapping[str, int] = {}


class Settlement(Struct, frozen=True):
    """A closed period. Batches are in the order of their operators' ids."""

    period: SettlementPeriod
    batches: tuple[SettlementBatch, ...]

    @property
    def paid_batches(self) -> tuple[SettlementBatch, ...]:
        return tuple(batch for batch in self.batches if batch.paid_fen)

    @property
    def totals(self) -> SettlementTotals:
        return SettlementTotals(
            operator_count=len(self.batches),
            payment_count=len(self.paid_batches),
            ride_count=sum(batch.ride_count for batch in self.batches),
            gross_fen=sum(batch.gross_fen for batch in self.batches),
            fees_fen=sum(max(batch.fees_fen, 0) for batch in self.batches),
            carried_in_fen=sum(batch.carried_in_fen for batch in self.batches),
            paid_fen=sum(batch.paid_fen for batch in self.batches),
            carried_out_fen=sum(batch.carried_out_fen for batch in self.batches),
        )


def settle(
    lines: Iterable[SettledLine],
    period: SettlementPeriod,
    *,
    operators: Mapping[str, Operator],
    carried_in: Mapping[str, int],
    shared: Mapping[str, int] | None = None,
    fees: Mapping[str, int] | None = None,
    terms: PayoutTerms | None = None,
) -> Settlement:
    """Sum a period's lines into one batch per operator, netted to one amount.

    Shape:  any order of lines -> the same batches; an operator without lines has one if something
            else is due to it, or from it.
    Units:  fen; `carried_in` is what each operator's last batch carried out, below zero if it owes;
            `shared` and `fees` what agreements and fees bring each.
    """
    shared, fees, terms = shared or {}, fees or {}, terms or PayoutTerms()
    ride_counts: Counter[tuple[str, str]] = Counter()
    amounts_fen: Counter[tuple[str, str]] = Counter()
    for line in lines:
        assert line.kind in SETTLED_KINDS, line
        assert period.holds(line.settlement_day), line
        ride_counts[line.operator_id, line.product_id] += line.ride_count
        amounts_fen[line.operator_id, line.product_id] += line.amount_fen
    products: dict[str, list[ProductTotal]] = {
        operator_id: []
        for others in (carried_in, shared, fees)
        for operator_id, amount_fen in others.items()
        if amount_fen
    }
    for key in sorted(ride_counts):
        operator_id, product_id = key
        total = ProductTotal(product_id, ride_counts[key], amounts_fen[key])
        products.setdefault(operator_id, []).append(total)
    return Settlement(
        period,
        tuple(
            _batch(
                operators[operator_id],
                products[operator_id],
                carried_in_fen=carried_in.get(operator_id, 0),
                shared_fen=shared.get(operator_id, 0),
                fees_fen=fees.get(operator_id, 0),
                terms=terms,
            )
            for operator_id in sorted(products)
        ),
    )


def _batch(
    operator: Operator,
    products: list[ProductTotal],
    *,
    carried_in_fen: int,
    shared_fen: int,
    fees_fen: int,
    terms: PayoutTerms,
) -> SettlementBatch:
    gross_fen = sum(product.amount_fen for product in products)
    payable_fen = gross_fen + shared_fen + fees_fen + carried_in_fen
    unpaid_reason = _unpaid_reason(operator, payable_fen, terms)
    paid_fen = 0 if unpaid_reason else payable_fen
    return SettlementBatch(
        operator_id=operator.operator_id,
        ride_count=sum(product.ride_count for product in products),
        gross_fen=gross_fen,
        shared_fen=shared_fen,
        fees_fen=fees_fen,
        products=tuple(products),
        carried_in_fen=carried_in_fen,
        paid_fen=paid_fen,
        carried_out_fen=payable_fen - paid_fen,
        unpaid_reason=unpaid_reason,
    )


def _unpaid_reason(operator: Operator, payable_fen: int, terms: PayoutTerms) -> UnpaidReason | None:
    if payable_fen == 0:
        return UnpaidReason.NOTHING_DUE
    if payable_fen < 0:
        return UnpaidReason.OWES
    if operator.operator_id in terms.held:
        return UnpaidReason.HELD
    if payable_fen < terms.minimum_fen.get(operator.operator_id, 0):
        return UnpaidReason.BELOW_MINIMUM
    return None if operator.bank_account else UnpaidReason.NO_BANK_ACCOUNT
