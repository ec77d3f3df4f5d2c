"""What sponsors owe for a period, tap by tap; and what each institution's wallets have paid."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from uuid import UUID

from msgspec import Struct


class SponsoredLine(Struct, frozen=True):
    """A sponsor's side of one journal entry. Below zero it was given back."""

    entry_id: UUID
    kind: str
    sponsor_id: str
    # Empty where no campaign is named.
    campaign_id: str
    service_day: date
    settlement_day: date
    effective_at: datetime
    amount_fen: int
    tap_id: UUID | None = None


class InvoiceItem(Struct, frozen=True):
    """What a sponsor owes for one campaign and service day: rides, and money granted to riders."""

    campaign_id: str
    service_day: date
    lines_count: int
    amount_fen: int


class SponsorInvoice(Struct, frozen=True):
    """What one sponsor owes for a period; equal to its postings in the ledger."""

    sponsor_id: str
    amount_fen: int
    items: tuple[InvoiceItem, ...]

    def __post_init__(self) -> None:
        assert self.amount_fen == sum(item.amount_fen for item in self.items), self


class InstitutionTotal(Struct, frozen=True, order=True):
    """What wallets of one operating institution have paid for rides with one operator."""

    issuer_id: str
    operator_id: str
    ride_count: int
    amount_fen: int


def invoices(lines: Iterable[SponsoredLine]) -> tuple[SponsorInvoice, ...]:
    """Sum up what each sponsor owes, by campaign and service day.

    Shape:  any order of lines -> the same invoices, in the order of the sponsors' ids.
    """
    found: dict[str, dict[tuple[str, date], tuple[int, int]]] = {}
    for line in lines:
        items = found.setdefault(line.sponsor_id, {})
        count, amount_fen = items.get((line.campaign_id, line.service_day), (0, 0))
        items[line.campaign_id, line.service_day] = (count + 1, amount_fen + line.amount_fen)
    return tuple(
        SponsorInvoice(
            sponsor_id,
            sum(amount_fen for _, amount_fen in items.values()),
            tuple(
                InvoiceItem(campaign_id, day, *items[campaign_id, day])
                for campaign_id, day in sorted(items)
            ),
        )
        for sponsor_id, items in sorted(found.items())
    )
