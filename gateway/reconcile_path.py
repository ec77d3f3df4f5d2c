"""Every day three ways: taps, ledger and bank, per operator and sponsor, and what differs."""

from __future__ import annotations

from collections import Counter
from datetime import date

import asyncpg
from msgspec import Struct

from fare_rules import TariffBook
from gateway.core.audit import audit_wallet, folded_afresh
from gateway.core.bank_answers import BankLine
from gateway.core.reconciliation import (
    BreakKind,
    ReconciliationBreak,
    Row,
    invoice_breaks,
    invoice_paid_fen,
    payment_breaks,
)
from gateway.shell import bank_store as store
from gateway.shell.kept_store import load_books_of
from gateway.shell.store import reading

_WALLETS_AT_ONCE = 500


class Reconciliation(Struct, frozen=True):
    """What was held against what, and every difference."""

    since: date
    through: date
    today: date
    operators: tuple[Row, ...]
    sponsors: tuple[Row, ...]
    breaks: tuple[ReconciliationBreak, ...]

    @property
    def is_explained(self) -> bool:
        return all(one.is_explained for one in self.breaks)


async def run_reconciliation(
    pool: asyncpg.Pool, book: TariffBook, *, since: date, through: date, today: date
) -> Reconciliation:
    """Reconcile the settlements of some days.

    Shape:  taps and ledger are held against each other by service day, ledger and settlement by
            settlement day, settlement and bank by each payment's reference. Taps of days that are
            archived are not folded again: `faregate audit` reads them.
    """
    taps_fen, breaks = await _fold_taps(pool, book, since, through)
    ledger_fen, late_fen, settles_fen = await store.load_ledger_by_operator(pool, since, through)
    settled_fen = await store.load_settled(pool, since, through)
    for operator_id in sorted(settles_fen.keys() | settled_fen.keys()):
        says, is_settled = settles_fen.get(operator_id, 0), settled_fen.get(operator_id, 0)
        if says != is_settled:
            text = f"the ledger has {says} to settle, the settlements have {is_settled}"
            kind, subject = BreakKind.LEDGER_NOT_SETTLED, f"operator {operator_id}"
            breaks.append(
                ReconciliationBreak(kind, subject, through, says - is_settled, text, False)
            )
    for operator_id, amount_fen in sorted(late_fen.items()):
        text = "came after the close; it is in a later settlement and keeps its service day"
        subject = f"operator {operator_id}"
        breaks.append(ReconciliationBreak(BreakKind.LATE, subject, through, amount_fen, text, True))
    due = await store.load_payments_due(pool, since, through)
    everything = await store.load_bank_lines(pool)
    references = {payment.end_to_end_id for payment in due} - {None}
    # Money out that belongs to no settlement at all is told with every day until it is explained.
    known = {
        payment.end_to_end_id for payment in await store.load_payments_due(pool, date.min, date.max)
    }
    lines = [
        line
        for line in everything
        if line.end_to_end_id in references or line.end_to_end_id not in known
    ]
    answers, returned = await store.load_answers(pool), await store.load_returned(pool)
    breaks += payment_breaks(due, lines, answers, returned, today)
    invoices = await store.load_invoices_due(pool, since, through)
    breaks += invoice_breaks(invoices, everything, today)
    paid_fen: Counter[str] = Counter()
    for payment in due:
        paid_fen[payment.operator_id] -= _booked_fen(everything, payment.end_to_end_id)
    names = sorted(taps_fen.keys() | ledger_fen.keys() | settled_fen.keys())
    return Reconciliation(
        since,
        through,
        today,
        tuple(
            Row(
                name,
                taps_fen.get(name, 0),
                ledger_fen.get(name, 0),
                settled_fen.get(name, 0),
                paid_fen.get(name, 0),
            )
            for name in names
        ),
        tuple(
            Row(
                one.sponsor_id,
                one.amount_fen,
                one.amount_fen,
                one.amount_fen,
                invoice_paid_fen(one, everything),
            )
            for one in invoices
        ),
        tuple(sorted(breaks, key=lambda one: (list(BreakKind).index(one.kind), one.subject))),
    )


def _booked_fen(lines: list[BankLine], reference: str | None) -> int:
    if reference is None:
        return 0
    return sum(line.amount_fen for line in lines if line.end_to_end_id == reference)


async def _fold_taps(
    pool: asyncpg.Pool, book: TariffBook, since: date, through: date
) -> tuple[dict[str, int], list[ReconciliationBreak]]:
    """What the taps of some service days come to, by operator; and wallets charged otherwise."""
    due_fen: Counter[str] = Counter()
    breaks: list[ReconciliationBreak] = []
    async with reading(pool) as connection:
        ids = [row[0] for row in await store.wallets_that_rode(connection, since, through)]
        for start in range(0, len(ids), _WALLETS_AT_ONCE):
            chunk = ids[start : start + _WALLETS_AT_ONCE]
            for books in await load_books_of(connection, chunk):
                for charge in folded_afresh(books, book).charges.values():
                    if since <= charge.service_day <= through:
                        due_fen[charge.operator_id] += charge.fare_fen
                breaks += [
                    ReconciliationBreak(
                        BreakKind.CHARGE_DIFFERS, one.subject, through, 0, one.fault, False
                    )
                    for one in audit_wallet(books, book)
                    if one.kind == "charge_differs"
                ]
    return dict(due_fen), breaks
