"""Three ways to the same money: what the taps come to, what the ledger says, what the bank booked.

Every difference is a value of a closed list, explained as far as it can be. What is explained will
mend itself or is somebody's to do; what is not is a fault, and finance looks for its cause.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from enum import StrEnum

from msgspec import Struct, structs

from gateway.core.bank_answers import BankLine, PaymentAnswer


class BreakKind(StrEnum):
    """What differs. Ordered by how much it hurts."""

    CHARGE_DIFFERS = "charge_differs"
    LEDGER_NOT_SETTLED = "ledger_not_settled"
    PAID_TWICE = "paid_twice"
    AMOUNT_DIFFERS = "amount_differs"
    UNMATCHED_BANK_LINE = "unmatched_bank_line"
    INVOICE_OVERPAID = "invoice_overpaid"
    REJECTED = "rejected"
    RETURNED = "returned"
    NOT_PAID_YET = "not_paid_yet"
    NOT_PAYABLE = "not_payable"
    INVOICE_OPEN = "invoice_open"
    CREDIT_OPEN = "credit_open"
    LATE = "late"


class ReconciliationBreak(Struct, frozen=True):
    """One difference: since when, how much, and what is known of it."""

    kind: BreakKind
    subject: str
    since: date
    amount_fen: int
    explanation: str
    is_explained: bool

    def age_days(self, today: date) -> int:
        return max((today - self.since).days, 0)


class PaymentDue(Struct, frozen=True):
    """A payment that a settlement ordered, or the reason why it did not."""

    operator_id: str
    settlement_day: date
    order_id: str
    end_to_end_id: str | None
    paid_fen: int
    due_fen: int
    currency: str
    unpaid_reason: str | None = None


class InvoiceDue(Struct, frozen=True):
    """What a sponsor was invoiced."""

    sponsor_id: str
    settlement_day: date
    reference: str
    amount_fen: int


class Row(Struct, frozen=True):
    """One operator, or one sponsor, on one screen line."""

    name: str
    taps_fen: int
    ledger_fen: int
    settled_fen: int
    bank_fen: int


PAYMENT_DAYS_MAX = 3
INVOICE_DAYS_MAX = 30
AGES = ((1, "0-1"), (3, "2-3"), (7, "4-7"))


def age_bucket(days: int) -> str:
    return next((name for most, name in AGES if days <= most), "8+")


_REFERENCE = re.compile(r"\bINV-(?P<number>\d{1,18})-")


def invoice_reference(number: int, sponsor_id: str) -> str:
    """What a sponsor writes on its payment, so that it finds its invoice."""
    return f"INV-{number}-{sponsor_id}"


def told_apart(lines: Sequence[BankLine], due: Iterable[PaymentDue]) -> list[BankLine]:
    """Bookings of a whole order in one sum, as a booking of each of its payments.

    A payment that is booked by itself, too, because another of the bank's files has the details,
    counts once. A sum that is not the order's stays as it is.
    """
    orders: dict[str, list[PaymentDue]] = {}
    for payment in due:
        if payment.end_to_end_id is not None:
            orders.setdefault(payment.order_id, []).append(payment)
    alone = {line.end_to_end_id for line in lines if line.amount_fen < 0}
    found: list[BankLine] = []
    for line in lines:
        payments = orders.get(line.end_to_end_id or "", [])
        rest = [payment for payment in payments if payment.end_to_end_id not in alone]
        sums = [sum(payment.paid_fen for payment in some) for some in (payments, rest)]
        if not payments or -line.amount_fen not in sums:
            found.append(line)
            continue
        found += [
            structs.replace(line, end_to_end_id=one.end_to_end_id, amount_fen=-one.paid_fen)
            for one in rest
        ]
    return found


def payment_breaks(
    due: Sequence[PaymentDue],
    lines: Iterable[BankLine],
    answers: Iterable[PaymentAnswer],
    returned: Mapping[str, date | None],
    today: date,
) -> list[ReconciliationBreak]:
    """Hold what was ordered against what the bank booked and answered.

    Shape:  `returned` has, of payments that came back, the settlement they were carried into.
    """
    booked: dict[str, list[BankLine]] = {}
    found: list[ReconciliationBreak] = []
    known = {payment.end_to_end_id for payment in due}
    for line in lines:
        if line.amount_fen < 0 and line.end_to_end_id not in known:
            text = f"booked {line.booked_on}: {line.remittance or 'no text'}"
            found.append(
                ReconciliationBreak(
                    BreakKind.UNMATCHED_BANK_LINE,
                    f"bank line {line.reference}",
                    line.booked_on,
                    line.amount_fen,
                    f"{text}; no payment of ours has this EndToEndId",
                    False,
                )
            )
        elif line.end_to_end_id in known:
            booked.setdefault(str(line.end_to_end_id), []).append(line)
    said = {answer.end_to_end_id: answer for answer in answers}
    for payment in due:
        found += _payment(payment, booked, said, returned, today)
    return found


def _payment(
    payment: PaymentDue,
    booked: Mapping[str, list[BankLine]],
    said: Mapping[str, PaymentAnswer],
    returned: Mapping[str, date | None],
    today: date,
) -> list[ReconciliationBreak]:
    subject, since = f"payment to {payment.operator_id}", payment.settlement_day

    def told(
        kind: BreakKind, amount_fen: int, text: str, *, explained: bool
    ) -> list[ReconciliationBreak]:
        return [ReconciliationBreak(kind, subject, since, amount_fen, text, explained)]

    if payment.end_to_end_id is None:
        if not payment.due_fen:
            return []
        text = f"carried on: {payment.unpaid_reason}"
        return told(BreakKind.NOT_PAYABLE, payment.due_fen, text, explained=True)
    reference = payment.end_to_end_id
    lines = booked.get(reference, [])
    debits = [line for line in lines if line.amount_fen < 0]
    back = [line for line in lines if line.amount_fen > 0]
    answer = said.get(reference)
    booked_fen = -sum(line.amount_fen for line in lines)
    if strange := {line.currency for line in lines} - {payment.currency}:
        text = f"{reference}: ordered in {payment.currency}, booked in {', '.join(sorted(strange))}"
        return told(BreakKind.AMOUNT_DIFFERS, booked_fen, text, explained=False)
    if reference in returned and booked_fen:
        # Carried on in full, so what did not come back is paid twice, or lost on the way.
        text = f"{reference}: it is carried on, and of {payment.paid_fen} the bank has {booked_fen}"
        return told(BreakKind.AMOUNT_DIFFERS, booked_fen, text, explained=False)
    if reference in returned:
        carried = returned[reference]
        into = (
            f"carried into the settlement of {carried}" if carried else "waits for the next close"
        )
        kind = BreakKind.RETURNED if back else BreakKind.REJECTED
        reason = answer.reason if answer else "the bank gave it back"
        return told(
            kind, payment.paid_fen, f"{reference}: {reason or 'no reason'}; {into}", explained=True
        )
    if len(debits) - len(back) > 1:
        text = f"{reference} was booked {len(debits)} times"
        return told(BreakKind.PAID_TWICE, booked_fen, text, explained=False)
    if not debits:
        days = (today - since).days
        state = f"the bank says {answer.status}" if answer else "the bank has not answered"
        text = f"{reference}: {state}, {days} days after the day"
        return told(
            BreakKind.NOT_PAID_YET, payment.paid_fen, text, explained=days <= PAYMENT_DAYS_MAX
        )
    if booked_fen != payment.paid_fen:
        text = f"{reference}: ordered {payment.paid_fen}, booked {booked_fen}"
        return told(BreakKind.AMOUNT_DIFFERS, booked_fen - payment.paid_fen, text, explained=False)
    return []


def invoice_breaks(
    invoices: Sequence[InvoiceDue], lines: Sequence[BankLine], today: date
) -> list[ReconciliationBreak]:
    """Hold what sponsors owe against what was paid under the invoice's reference.

    Shape:  an invoice below zero gives back what grants did not need: that is ours to pay.
    """
    found = []
    for invoice in invoices:
        paid_fen = invoice_paid_fen(invoice, lines)
        left_fen = invoice.amount_fen - paid_fen
        if not left_fen:
            continue
        days = (today - invoice.settlement_day).days
        is_credit = invoice.amount_fen < 0
        kind = BreakKind.CREDIT_OPEN if is_credit else BreakKind.INVOICE_OPEN
        if (left_fen > 0) == is_credit:
            kind = BreakKind.INVOICE_OVERPAID
        found.append(
            ReconciliationBreak(
                kind,
                f"invoice {invoice.reference}",
                invoice.settlement_day,
                left_fen,
                f"invoiced {invoice.amount_fen}, paid {paid_fen}",
                kind is not BreakKind.INVOICE_OVERPAID and days <= INVOICE_DAYS_MAX,
            )
        )
    return found


def invoice_paid_fen(invoice: InvoiceDue, lines: Iterable[BankLine]) -> int:
    """What came in, or went out, under an invoice's reference."""
    return sum(line.amount_fen for line in lines if is_about(line, invoice))


def is_about(line: BankLine, invoice: InvoiceDue) -> bool:
    """Whether a booking names an invoice, whose reference stands whole in the text."""
    is_named = invoice.reference in line.remittance.split()
    return is_named or line.end_to_end_id == invoice.reference


def invoices_paid_back(lines: Iterable[BankLine]) -> list[int]:
    """The settlements whose invoices are named by money that went out."""
    found = [_REFERENCE.finditer(line.remittance) for line in lines if line.amount_fen < 0]
    return sorted({int(one["number"]) for named in found for one in named})
