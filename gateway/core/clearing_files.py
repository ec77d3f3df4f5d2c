"""The files that say who shares what with whom, what clearing costs, and what sponsors owe.

clearing_<operator>.csv   what agreements moved to the operator, or from it, journey by journey
fees.csv                  what each operator pays of each fee, and to whom; in an operator's folder,
                          as fees_<operator>.csv, only what it pays or is paid itself
invoice_<sponsor>.csv     every entry that a sponsor pays, with its tap
invoices.csv              what each sponsor owes, by campaign and service day
institutions.csv          what each institution's wallets have paid, by operator
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from zoneinfo import ZoneInfo

from msgspec import Struct, structs

from gateway.core.clearing import ClearingLine, FeeLine
from gateway.core.csv_tables import csv_table, text_of
from gateway.core.invoices import InstitutionTotal, SponsoredLine, SponsorInvoice
from gateway.core.reconciliation import invoice_reference
from gateway.core.settlement import SettlementPeriod

FEES, INVOICES, INSTITUTIONS = "fees.csv", "invoices.csv", "institutions.csv"
NameOf = Callable[[str, str], str]


class Cleared(Struct, frozen=True):
    """What was cleared beside the operators' own lines."""

    moved: Sequence[ClearingLine] = ()
    fees: Sequence[FeeLine] = ()
    sponsored: Sequence[SponsoredLine] = ()
    invoices: Sequence[SponsorInvoice] = ()
    institutions: Sequence[InstitutionTotal] = ()


def clearing_files(
    cleared: Cleared, period: SettlementPeriod, name_of: NameOf
) -> Iterator[tuple[str, bytes]]:
    """Each file with its name; none where there is nothing to say.

    Shape:  `name_of` makes a file's name of its kind and id.
    """

    zone = ZoneInfo(period.timezone)

    def table(kind: type[Struct], rows: Iterable[Struct]) -> bytes:
        header = (*kind.__struct_fields__, "currency")
        return csv_table(header, ((*structs.astuple(row), period.currency) for row in rows), zone)

    for operator_id in sorted({line.operator_id for line in cleared.moved}):
        own = [line for line in cleared.moved if line.operator_id == operator_id]
        in_order = sorted(own, key=lambda line: (line.agreement_id, line.journey_id))
        yield name_of("clearing", operator_id), table(ClearingLine, in_order)
    if cleared.fees:
        yield FEES, table(FeeLine, cleared.fees)
    for invoice in cleared.invoices:
        lines = [line for line in cleared.sponsored if line.sponsor_id == invoice.sponsor_id]
        in_order_of_time = sorted(lines, key=lambda line: (line.effective_at, line.entry_id))
        yield name_of("invoice", invoice.sponsor_id), table(SponsoredLine, in_order_of_time)
    if cleared.invoices:
        rows = (
            (
                invoice_reference(period.number, invoice.sponsor_id),
                invoice.sponsor_id,
                *structs.astuple(item),
                period.currency,
            )
            for invoice in cleared.invoices
            for item in invoice.items
        )
        header = (
            "reference", "sponsor_id", "campaign_id", "service_day", "lines_count", "amount_fen",
            "currency",
        )  # fmt: skip
        yield INVOICES, csv_table(header, rows, zone)
    if any(total.issuer_id for total in cleared.institutions):
        yield INSTITUTIONS, table(InstitutionTotal, cleared.institutions)


def own_fees(table: bytes, operator_id: str) -> bytes | None:
    """The lines of fees.csv that one operator pays or is paid, under the same header; None if none.

    What others pay to others is nobody's else to see.
    """
    # A name holds no line ends, so a row is a line.
    header, *lines = table.decode().removesuffix("\r\n").split("\r\n")
    own = [
        line
        for line, row in zip(lines, csv.DictReader(lines, header.split(",")), strict=True)
        if operator_id in (text_of(row["operator_id"]), text_of(row["paid_to"]))
    ]
    return "".join(f"{line}\r\n" for line in (header, *own)).encode() if own else None
