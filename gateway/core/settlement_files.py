"""The files of a settlement as bytes: the same settlement and lines always make the same bytes.

operator_<id>.csv   every line of one operator, in the order in which the rides happened
clearing, fees, invoices, institutions   gateway/core/clearing_files.py
totals.csv          a row per operator, then a row per fare product of each
pain001.xml         the order to the bank (gateway/core/payment_order.py), if anybody is paid
manifest.json       the totals, each file's SHA-256, and that of the manifest before
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from unicodedata import normalize
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct, structs

from gateway.core.clearing_files import Cleared, clearing_files
from gateway.core.csv_tables import csv_table
from gateway.core.payment_order import Debtor, end_to_end_id, payment_order
from gateway.core.registry import Operator
from gateway.core.settlement import (
    SettledLine,
    Settlement,
    SettlementBatch,
    SettlementPeriod,
    SettlementTotals,
    UnpaidReason,
)

TOTALS = "totals.csv"
PAYMENT_ORDER = "pain001.xml"
MANIFEST = "manifest.json"
NOTHING_CLEARED = Cleared()


class TotalsRow(Struct, frozen=True, kw_only=True):
    """A row of totals.csv: what an operator earned and is paid, or earned by one product."""

    total_of: str
    operator_id: str
    product_id: str | None = None
    ride_count: int
    gross_fen: int
    shared_fen: int | None = None
    fees_fen: int | None = None
    carried_in_fen: int | None = None
    paid_fen: int | None = None
    carried_out_fen: int | None = None
    unpaid_reason: UnpaidReason | None = None
    end_to_end_id: str | None = None
    currency: str


class ManifestFile(Struct, frozen=True):
    """One file as its receiver can check it."""

    name: str
    size_bytes: int
    sha256: str


class Manifest(Struct, frozen=True):
    """What was settled, and in which files. It holds the hash of the manifest before it."""

    period: SettlementPeriod
    totals: SettlementTotals
    batches: tuple[SettlementBatch, ...]
    files: tuple[ManifestFile, ...]
    previous_manifest_sha256: str | None


def settlement_files(
    settlement: Settlement,
    lines: Iterable[SettledLine],
    *,
    operators: Mapping[str, Operator],
    debtor: Debtor,
    previous_manifest_sha256: str | None,
    cleared: Cleared = NOTHING_CLEARED,
) -> dict[str, bytes]:
    """Make every file of a settlement, by name.

    Shape:  the lines that were settled, in any order -> the same bytes; the manifest comes last, so
            a folder that holds it holds them all.
    """
    by_operator: dict[str, list[SettledLine]] = {
        batch.operator_id: [] for batch in settlement.batches
    }
    for line in lines:
        by_operator[line.operator_id].append(line)
    files: dict[str, bytes] = {}
    for batch in settlement.batches:
        own_lines = by_operator[batch.operator_id]
        assert sum(line.amount_fen for line in own_lines) == batch.gross_fen, batch
        files[operator_file_name(batch.operator_id)] = _lines_csv(own_lines, settlement.period)
    assert len(files) == len(settlement.batches), "two operators share a file name"
    files |= clearing_files(cleared, settlement.period, file_name)
    files[TOTALS] = _totals_csv(settlement)
    if settlement.paid_batches:
        files[PAYMENT_ORDER] = payment_order(settlement, operators, debtor)
    files[MANIFEST] = manifest(settlement, files, previous_manifest_sha256)
    return files


def manifest(
    settlement: Settlement, files: Mapping[str, bytes], previous_manifest_sha256: str | None
) -> bytes:
    """Write the manifest."""
    content = Manifest(
        period=settlement.period.as_written,
        totals=settlement.totals,
        batches=settlement.batches,
        files=tuple(
            ManifestFile(name, len(content), sha256_of(content))
            for name, content in sorted(files.items())
        ),
        previous_manifest_sha256=previous_manifest_sha256,
    )
    return json_file(content)


def json_file(content: object) -> bytes:
    """JSON with sorted keys, UTF-8, a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(content, order="sorted"), indent=2) + b"\n"


def saved_settlement(content: bytes) -> Settlement:
    """The settlement that a manifest tells of."""
    found = msgspec.json.decode(content, type=Manifest)
    return Settlement(found.period, found.batches)


def sha256_of(content: bytes) -> str:
    return sha256(content).hexdigest()


def operator_file_name(operator_id: str) -> str:
    """Name an operator's file so that any file system keeps it and no two operators share it.

    An id of small letters (Chinese too), digits, `_` and `-` stands as it is. Any other loses
    something, so part of its hash follows a dot, which an id that stands as it is cannot hold.
    """
    return file_name("operator", operator_id)


def file_name(kind: str, name: str) -> str:
    """The name of a file of one kind about one operator or sponsor."""
    # Some file systems fold case or accents, most hold 255 bytes: 48 characters have 192 at most.
    kept = re.sub(r"[^\w-]", "_", normalize("NFC", name).lower())[:48]
    if kept != name:
        kept += "." + sha256_of(name.encode())[:8]
    return f"{kind}_{kept}.csv"


_TOLD = [name for name in SettledLine.__struct_fields__ if name != "wallet_version"]


def _lines_csv(lines: Iterable[SettledLine], period: SettlementPeriod) -> bytes:
    """All lines of an operator: the same bytes as csv_table's, in a fifth of the time.

    What cannot hold a comma, a quote or a formula is written as it is; names are looked at once.
    """
    in_order = sorted(lines, key=lambda line: (line.effective_at, line.tap_id, line.entry_id))
    zone, currency = ZoneInfo(period.timezone), period.currency
    names: dict[str, str] = {}

    def said(name: str) -> str:
        found = names.get(name)
        if found is None:
            found = names[name] = csv_table((name,), (), zone).decode().removesuffix("\r\n")
        return found

    def clock(instant: datetime) -> str:
        return instant.astimezone(zone).isoformat(timespec="microseconds")

    rows = [csv_table((*_TOLD, "currency"), (), zone).decode()]
    rows += [
        f"{line.entry_id},{said(line.kind)},{line.tap_id},{line.cause_id},"
        f"{said(line.operator_id)},{said(line.product_id)},{line.service_day},"
        f"{line.settlement_day},{clock(line.effective_at)},{clock(line.recorded_at)},"
        f"{line.ride_count},{line.amount_fen},"
        + (
            ",,,,"
            if line.journey_id is None
            else f"{line.journey_id},{line.own_fen},{line.distance_m},{line.change_fen},"
        )
        + currency
        + "\r\n"
        for line in in_order
    ]
    return "".join(rows).encode()


def _totals_csv(settlement: Settlement) -> bytes:
    rows = [_operator_row(batch, settlement.period) for batch in settlement.batches]
    rows += [
        TotalsRow(
            total_of="product",
            operator_id=batch.operator_id,
            product_id=product.product_id,
            ride_count=product.ride_count,
            gross_fen=product.amount_fen,
            currency=settlement.period.currency,
        )
        for batch in settlement.batches
        for product in batch.products
    ]
    zone = ZoneInfo(settlement.period.timezone)
    return csv_table(TotalsRow.__struct_fields__, map(structs.astuple, rows), zone)


def _operator_row(batch: SettlementBatch, period: SettlementPeriod) -> TotalsRow:
    return TotalsRow(
        total_of="operator",
        operator_id=batch.operator_id,
        ride_count=batch.ride_count,
        gross_fen=batch.gross_fen,
        shared_fen=batch.shared_fen,
        fees_fen=batch.fees_fen,
        carried_in_fen=batch.carried_in_fen,
        paid_fen=batch.paid_fen,
        carried_out_fen=batch.carried_out_fen,
        unpaid_reason=batch.unpaid_reason,
        end_to_end_id=end_to_end_id(period.number, batch.operator_id) if batch.paid_fen else None,
        currency=period.currency,
    )
