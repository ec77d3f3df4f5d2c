"""Every day three ways: taps, ledger and bank, per operator and sponsor, and what differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import NamedTuple

import asyncpg
from msgspec import Struct

from fare_rules import TariffBook
from fare_rules.quotes import sponsored_by
from gateway.core.audit import charge_breaks, folded_afresh
from gateway.core.bank_answers import BankLine
from gateway.core.reconciliation import (
    BreakKind,
    ReconciliationBreak,
    Row,
    invoice_breaks,
    invoice_paid_fen,
    invoices_paid_back,
    is_about,
    payment_breaks,
    told_apart,
)
from gateway.shell import bank_store as store
from gateway.shell.kept_store import load_books_of
from gateway.shell.transactions import Connection, reading

_WALLETS_AT_ONCE = 500


class _Taps(NamedTuple):
    """What taps come to, by who is due it and by who bears it; riders bear the rest."""

    operators_fen: Counter[str]
    sponsors_fen: Counter[str]


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
    pool: asyncpg.Pool,
    book: TariffBook,
    *,
    since: date,
    through: date,
    today: date,
    archive: Path | None = None,
) -> Reconciliation:
    """Reconcile the settlements of some days.

    Shape:  taps and ledger are held against each other by service day, ledger and settlement by
            settlement day, settlement and bank by each payment's reference. Taps of days in the
            archive are not priced again: `faregate audit` does that.
    Raises: ArchiveMissing when some of what was settled is archived, and cannot be read.
    """
    ever_due = await store.load_payments_due(pool)
    everything = told_apart(await store.load_bank_lines(pool), ever_due)
    async with reading(pool) as connection:
        taps, breaks = await _fold_taps(connection, book, since, through)
        closes = await store.list_closes(connection, since, through, invoices_paid_back(everything))
        archived = await store.load_archived_sums(connection, archive, since, through, closes)
        ledger_fen, late_fen, settles_fen = await store.load_ledger_by_operator(
            connection, since, through, archived
        )
        borne_fen = await store.load_ledger_by_sponsor(connection, since, through)
        named = await store.load_invoices_due(connection, closes, archived)
    settled_fen = await store.load_settled(pool, since, through)
    breaks += _taps_differ("operator", taps.operators_fen, ledger_fen, through)
    breaks += _taps_differ("sponsor", taps.sponsors_fen, borne_fen, through)
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
    due = [payment for payment in ever_due if since <= payment.settlement_day <= through]
    references = {payment.end_to_end_id for payment in due} - {None}
    # Money out that belongs to no settlement at all is told with every day until it is explained.
    known = {payment.end_to_end_id for payment in ever_due}
    invoices = [one for one in named if since <= one.settlement_day <= through]
    lines = [
        line
        for line in everything
        if line.end_to_end_id in references
        or (line.end_to_end_id not in known and not any(is_about(line, one) for one in named))
    ]
    answers, returned = await store.load_answers(pool), await store.load_returned(pool)
    breaks += payment_breaks(due, lines, answers, returned, today)
    breaks += invoice_breaks(invoices, everything, today)
    paid_fen: Counter[str] = Counter()
    for payment in due:
        paid_fen[payment.operator_id] -= _booked_fen(everything, payment.end_to_end_id)
    invoiced_fen, received_fen = Counter[str](), Counter[str]()
    for one in invoices:
        invoiced_fen[one.sponsor_id] += one.amount_fen
        received_fen[one.sponsor_id] += invoice_paid_fen(one, everything)
    return Reconciliation(
        since,
        through,
        today,
        _table(taps.operators_fen, ledger_fen, settled_fen, paid_fen),
        _table(taps.sponsors_fen, borne_fen, invoiced_fen, received_fen),
        tuple(sorted(breaks, key=lambda one: (list(BreakKind).index(one.kind), one.subject))),
    )


def _table(*columns: Mapping[str, int]) -> tuple[Row, ...]:
    names = sorted({name for column in columns for name in column})
    return tuple(Row(name, *(column.get(name, 0) for column in columns)) for name in names)


def _taps_differ(
    what: str, taps_fen: Mapping[str, int], ledger_fen: Mapping[str, int], through: date
) -> list[ReconciliationBreak]:
    """Sums that differ; also by entries of whoever has no tap, whom no fold would name."""
    return [
        ReconciliationBreak(
            BreakKind.CHARGE_DIFFERS, f"{what} {name}", through, says - due, text, False
        )
        for name in sorted(taps_fen.keys() | ledger_fen.keys())
        for due, says in [(taps_fen.get(name, 0), ledger_fen.get(name, 0))]
        if due != says
        for text in [f"the taps come to {due}, the ledger has {says}"]
    ]


def _booked_fen(lines: list[BankLine], reference: str | None) -> int:
    if reference is None:
        return 0
    return sum(line.amount_fen for line in lines if line.end_to_end_id == reference)


async def _fold_taps(
    connection: Connection, book: TariffBook, since: date, through: date
) -> tuple[_Taps, list[ReconciliationBreak]]:
    """What the taps of some service days come to; and those that were charged otherwise."""
    taps, breaks = _Taps(Counter(), Counter()), list[ReconciliationBreak]()
    ids = [row[0] for row in await store.wallets_that_rode(connection, since, through)]
    for start in range(0, len(ids), _WALLETS_AT_ONCE):
        chunk = ids[start : start + _WALLETS_AT_ONCE]
        for books in await load_books_of(connection, chunk):
            folded = folded_afresh(books, book)
            for charge in folded.charges.values():
                if since <= charge.service_day <= through:
                    taps.operators_fen[charge.operator_id] += charge.fare_fen
                    for account, fen in charge.quote.sponsored.items():
                        taps.sponsors_fen[sponsored_by(account)[0]] += fen
            breaks += [
                ReconciliationBreak(
                    BreakKind.CHARGE_DIFFERS, one.subject, through, 0, one.fault, False
                )
                for one in charge_breaks(books, folded, book, since, through)
            ]
    return taps, breaks
