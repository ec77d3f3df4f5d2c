"""Checking settlement files with nothing but the files themselves and a public key.

Each function is given what lies in a folder and says every fault it finds: the file, the line where
there is one, what is said and what is found. None needs the gateway's database.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import TextIO

from msgspec import Struct

from fare_rules.currency import currency_digits
from gateway.core.clearing_files import FEES
from gateway.core.csv_tables import text_of
from gateway.core.payment_order import end_to_end_id
from gateway.core.settlement import SettlementBatch, SettlementPeriod
from gateway.core.settlement_files import (
    MANIFEST,
    PAYMENT_ORDER,
    Manifest,
    file_name,
    operator_file_name,
)
from gateway.core.signed_books import OperatorManifest
from gateway.core.tides import TripResource

# Opens a file of the folder as text.
Open = Callable[[str], TextIO]


class Link(Struct, frozen=True):
    """One settlement in the chain: its number, its head, and the head before it."""

    number: int
    name: str
    head_sha256: str
    previous_sha256: str | None


def batch_faults(
    batch: SettlementBatch, period: SettlementPeriod, names: Container[str], opened: Open
) -> Iterator[str]:
    """Hold what an operator's files come to against its batch, which itself adds up.

    Shape:  `names` are the files that there are. Where none tells of fees, what they come to is
            taken as said: operators were given none in the beginning.
    """
    name = operator_file_name(batch.operator_id)
    amount_fen = ride_count = 0
    for line, row in _rows(name, opened):
        place = f"{name}:{line}"
        try:
            day, amount = date.fromisoformat(row["settlement_day"]), int(row["amount_fen"])
            rides, operator_id = int(row["ride_count"]), text_of(row["operator_id"])
        except (KeyError, ValueError, TypeError) as fault:
            yield f"{place}: not a line of a settlement ({fault})"
            continue
        if operator_id != batch.operator_id:
            yield f"{place}: is {operator_id}'s, in the file of {batch.operator_id}"
        if not period.holds(day):
            yield f"{place}: is settled on {day}, outside this period"
        amount_fen, ride_count = amount_fen + amount, ride_count + rides
    yield from _differs(name, "the sum of amount_fen", batch.gross_fen, amount_fen)
    yield from _differs(name, "the sum of ride_count", batch.ride_count, ride_count)
    shared_fen, name = 0, file_name("clearing", batch.operator_id)
    if name in names:
        shared_fen = sum(int(row["amount_fen"]) for _, row in _rows(name, opened))
    yield from _differs(name, "the sum of amount_fen", batch.shared_fen, shared_fen)
    if fees := fees_name(batch, names):
        yield from _fee_faults(batch, fees, opened)


def fees_name(batch: SettlementBatch, names: Container[str]) -> str | None:
    """The file that tells of an operator's fees; None if there is none."""
    own = file_name("fees", batch.operator_id)
    return own if own in names else FEES if FEES in names else None


def _fee_faults(batch: SettlementBatch, name: str, opened: Open) -> Iterator[str]:
    fees_fen = 0
    for line, row in _rows(name, opened):
        try:
            pays, is_paid = text_of(row["operator_id"]), text_of(row["paid_to"])
            amount_fen = int(row["amount_fen"])
        except (KeyError, ValueError, TypeError, AttributeError) as fault:
            yield f"{name}:{line}: not a line of fees ({fault})"
            continue
        if name != FEES and batch.operator_id not in (pays, is_paid):
            yield f"{name}:{line}: is {pays}'s to {is_paid}, in the file of {batch.operator_id}"
        fees_fen += amount_fen * ((is_paid == batch.operator_id) - (pays == batch.operator_id))
    yield from _differs(name, "what fees bring", batch.fees_fen, fees_fen)


def trip_faults(resource: TripResource, opened: Open) -> Iterator[str]:
    """Hold a table of trips against what its package says of it."""
    amount, rows_count = Decimal(0), 0
    for line, row in _rows(resource.path, opened):
        place = f"{resource.path}:{line}"
        try:
            amount += Decimal(row["amount"])
            currency = row["currency_type"]
        except (KeyError, InvalidOperation, TypeError) as fault:
            yield f"{place}: not a fare transaction ({fault})"
            continue
        if currency != resource.currency:
            yield f"{place}: is in {currency}, not in {resource.currency}"
        rows_count += 1
    yield from _differs(resource.path, "the count of rows", resource.rows_count, rows_count)
    yield from _differs(resource.path, "the sum of amount", resource.amount, amount)


def order_faults(
    payments: Sequence[tuple[str, str, str]],
    totals: tuple[str | None, Decimal | None],
    batches: Iterable[SettlementBatch],
    period: SettlementPeriod,
) -> Iterator[str]:
    """Hold the order to the bank against the batches.

    Shape:  of each payment its EndToEndId, amount and currency; the order's NbOfTxs and CtrlSum.
    """
    due = {end_to_end_id(period.number, b.operator_id): b.paid_fen for b in batches if b.paid_fen}
    scale = currency_digits(period.currency)
    found: dict[str, int] = {}
    for reference, amount, currency in payments:
        try:
            amount_fen = int(Decimal(amount).scaleb(scale))
        except InvalidOperation:
            yield f"{PAYMENT_ORDER}: {reference} has no amount: {amount}"
            continue
        if currency != period.currency:
            yield f"{PAYMENT_ORDER}: {reference} is in {currency}, not in {period.currency}"
        if reference in found:
            yield f"{PAYMENT_ORDER}: {reference} is ordered twice"
        found[reference] = found.get(reference, 0) + amount_fen
    for reference in sorted(due.keys() | found.keys()):
        yield from _differs(
            PAYMENT_ORDER, f"payment {reference}", due.get(reference, 0), found.get(reference, 0)
        )
    number, control = totals
    yield from _differs(PAYMENT_ORDER, "NbOfTxs", str(len(payments)), number)
    yield from _differs(
        PAYMENT_ORDER, "CtrlSum", Decimal(sum(due.values())).scaleb(-scale), control
    )


def total_faults(manifest: Manifest) -> Iterator[str]:
    """Hold a settlement's totals against its batches."""
    batches, totals = manifest.batches, manifest.totals
    for name, summed in (
        ("ride_count", sum(batch.ride_count for batch in batches)),
        ("gross_fen", sum(batch.gross_fen for batch in batches)),
        ("carried_in_fen", sum(batch.carried_in_fen for batch in batches)),
        ("paid_fen", sum(batch.paid_fen for batch in batches)),
        ("carried_out_fen", sum(batch.carried_out_fen for batch in batches)),
        ("operator_count", len(batches)),
    ):
        yield from _differs(MANIFEST, f"totals.{name}", getattr(totals, name), summed)
    yield from _differs(MANIFEST, "what is shared", 0, sum(b.shared_fen for b in batches))
    yield from _differs(MANIFEST, "what fees move", 0, sum(b.fees_fen for b in batches))
    if any(b.fees_fen for b in batches) and FEES not in {file.name for file in manifest.files}:
        yield f"{MANIFEST}: fees are taken, but there is no {FEES}"


def chain_faults(links: Iterable[Link]) -> Iterator[str]:
    """Whether each settlement names the one before it. A gap is a fault: the chain is not shown."""
    by_number: dict[int, Link] = {}
    for link in sorted(links, key=lambda link: link.number):
        other = by_number.get(link.number)
        if other is not None and other.head_sha256 != link.head_sha256:
            yield f"{link.name}: settlement {link.number} has another head in {other.name}"
        by_number[link.number] = link
    numbers = sorted(by_number)
    for number, following in pairwise(numbers):
        before, after = by_number[number], by_number[following]
        if following != number + 1:
            yield f"{after.name}: the settlement before it, {following - 1}, is not among them"
        elif after.previous_sha256 != before.head_sha256:
            yield (
                f"{after.name}: says that settlement {number} had the head "
                f"{after.previous_sha256}, but {before.name} has {before.head_sha256}"
            )
    if numbers and numbers[0] == 1 and by_number[1].previous_sha256 is not None:
        yield f"{by_number[1].name}: the first settlement names one before it"


def link_of(manifest: Manifest | OperatorManifest, name: str, sha256: str) -> Link:
    if isinstance(manifest, OperatorManifest):
        head, previous = manifest.head_sha256, manifest.previous_head_sha256
    else:
        head, previous = sha256, manifest.previous_manifest_sha256
    return Link(manifest.period.number, name, head, previous)


def _rows(name: str, opened: Open) -> Iterator[tuple[int, dict[str, str]]]:
    with opened(name) as text:
        reader = csv.DictReader(text, strict=True)
        for row in reader:
            yield reader.line_num, row


def _differs(name: str, what: str, said: object, found: object) -> Iterator[str]:
    if said != found:
        yield f"{name}: {what} is {found}, but the manifest says {said}"
