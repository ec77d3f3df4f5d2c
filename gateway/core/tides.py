"""Trips for planners: a service day's taps and amounts as TIDES fare transactions, without riders.

    fare_transactions_<operator>.csv   a row for each tap that an operator's gates let through, and
                                       one for each amount that something else put right
    datapackage.json                   what the files are: rows, sums, sizes and hashes
    datapackage.sig                    who says so: the key that settlements are signed with

An operator's amounts add up to what the ledger has of the service day. A card is told apart from
others within the day alone: its token is made with a key of the day, and nobody's balance is told.
What the log does not hold stays empty: trip, pattern, stop sequence, period, and whether a cap cut
the fare.

Source: TIDES, spec/fare_transactions.schema.json and spec/tides-datapackage-profile.json; Data
        Package v1 for `bytes` and `hash`.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
from datetime import date, datetime, tzinfo
from decimal import Decimal
from typing import NamedTuple

import msgspec
from msgspec import Struct, field

from fare_rules.amounts import said
from gateway.core.decide import KeptTap
from gateway.core.ledger import JournalEntry
from gateway.core.settlement_files import file_name, sha256_of
from gateway.core.taps import Action, TapOutcome

PACKAGE = "datapackage.json"
PACKAGE_SIGNATURE = "datapackage.sig"
_SPECIFICATION = "https://raw.githubusercontent.com/TIDES-transit/TIDES/main/spec"
_ACTIONS = {
    Action.ENTER: "Enter",
    Action.BOARD: "Enter",
    Action.EXIT: "Exit",
    Action.ALIGHT: "Exit",
    Action.TOUCH: "Other",
}
# The kinds that notices name alike everywhere; a city's own kinds are of another type.
_MEDIA = {
    "card": "Smart card or ticket",
    "contactless": "Bank card",
    "bank_card": "Bank card",
    "phone": "Mobile NFC",
    "ecny": "Mobile NFC",
    "qr": "Optical scan",
    "cash": "Cash or coins",
}


class FareTransaction(Struct, frozen=True, kw_only=True, gc=False):
    """A row, with TIDES' columns in their order. `amount` is in the currency's main unit."""

    transaction_id: str
    service_date: date
    event_timestamp: datetime
    amount: Decimal
    currency_type: str
    fare_action: str
    trip_id_performed: None = None
    pattern_id: None = None
    stop_sequence: None = None
    vehicle_id: str | None = None
    device_id: str | None = None
    fare_id: None = None
    stop_id: str | None = None
    num_riders: int | None = None
    fare_media_id: str | None = None
    rider_category: str | None = None
    fare_product: str | None = None
    fare_period: None = None
    fare_capped: None = None
    token_id: str | None = None
    balance: None = None


class OperatorRow(NamedTuple):
    """A row, whose it is, and its amount in minor units."""

    operator_id: str
    transaction: FareTransaction
    amount_fen: int


class TripFile(Struct, frozen=True):
    """One operator's table as it was written."""

    operator_id: str
    size_bytes: int
    sha256: str
    rows_count: int
    amount_fen: int

    @property
    def name(self) -> str:
        return trip_file_name(self.operator_id)


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the rows come from."""

    title: str
    component: str
    product: str
    product_version: str


class TripResource(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table as a data package describes it. `sha256` begins with the name of the hash."""

    profile: str = "tabular-data-resource"
    name: str
    title: str
    path: str
    table: str = field(name="tides-table", default="fare_transactions")
    schema: str = f"{_SPECIFICATION}/fare_transactions.schema.json"
    encoding: str = "utf-8"
    size_bytes: int = field(name="bytes")
    sha256: str = field(name="hash")
    rows_count: int
    amount: Decimal
    currency: str
    sources: tuple[Source, ...]


class TripPackage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service day's tables, as their receiver can check them."""

    profile: str = f"{_SPECIFICATION}/tides-datapackage-profile.json"
    name: str
    title: str
    agency: str
    resources: tuple[TripResource, ...]


class DayOfTrips(Struct, frozen=True):
    """How a service day's money is written, and the secret by which its cards are renamed."""

    service_day: date
    currency: str
    currency_digits: int
    zone: tzinfo
    secret: bytes

    def amount(self, fen: int) -> Decimal:
        """Minor units in the currency's main unit, as a number: 2.90."""
        return Decimal(said(fen, self.currency_digits))

    def token_id(self, media_token: str) -> str:
        """The card's name on this day. Without the secret, nothing leads from it to the card."""
        named = f"{self.service_day} {media_token}".encode()
        return hmac.digest(self.secret, b"faregate trips " + named, "sha256").hex()[:32]


def trip_file_name(operator_id: str) -> str:
    return file_name("fare_transactions", operator_id)


def operator_rows(
    day: DayOfTrips, taps: Iterable[KeptTap], entries: Iterable[JournalEntry]
) -> Iterator[OperatorRow]:
    """Make the rows of a wallet, or of several, in no order.

    Shape:  `taps` are those of the day's log that were let through, `entries` the day's entries
            that name an operator; all that a wallet has of both. What a tap itself cost stands in
            its own row; what a later tap, a sweep or a person changed is an `Adjust` of its own.
    """
    charged: dict[object, list[JournalEntry]] = {}
    for entry in entries:
        if entry.kind == "fare":
            charged.setdefault((entry.tap_id, entry.operator_id), []).append(entry)
        else:
            yield _adjusted(day, entry)
    for kept in taps:
        if kept.facts is not None:
            own = charged.pop((kept.tap.tap_id, kept.facts.operator_id), [])
            yield _tapped(day, kept, own)
    # Of rides whose tap is of another day's log.
    for own in charged.values():
        for entry in own:
            yield _adjusted(day, entry)


def _tapped(day: DayOfTrips, kept: KeptTap, own: list[JournalEntry]) -> OperatorRow:
    tap, facts = kept.tap, kept.facts
    assert facts is not None, kept
    action = _ACTIONS[tap.action]
    if kept.result.outcome is TapOutcome.DOUBLE_BEEP:
        action = "Other"
    elif action == "Enter" and kept.result.journey_id not in (None, tap.tap_id):
        action = "Transfer entrance"
    amount_fen = sum(entry.operator_fen for entry in own)
    products = sorted({entry.product_id for entry in own if entry.product_id})
    transaction = FareTransaction(
        transaction_id=str(tap.tap_id),
        service_date=day.service_day,
        event_timestamp=tap.tapped_at.astimezone(day.zone),
        amount=day.amount(amount_fen),
        currency_type=day.currency,
        fare_action=action,
        vehicle_id=tap.vehicle_id,
        device_id=tap.gate_id,
        stop_id=tap.stop_id,
        num_riders=tap.riders_count,
        fare_media_id=_MEDIA.get(facts.fare_media, "Other type"),
        rider_category=facts.rider_category,
        fare_product=" + ".join(products) or None,
        token_id=day.token_id(tap.media_token),
    )
    return OperatorRow(facts.operator_id, transaction, amount_fen)


def _adjusted(day: DayOfTrips, entry: JournalEntry) -> OperatorRow:
    assert entry.operator_id is not None, entry
    transaction = FareTransaction(
        transaction_id=str(entry.entry_id),
        service_date=day.service_day,
        event_timestamp=entry.effective_at.astimezone(day.zone),
        amount=day.amount(entry.operator_fen),
        currency_type=day.currency,
        fare_action="Adjust",
        fare_product=entry.product_id,
    )
    return OperatorRow(entry.operator_id, transaction, entry.operator_fen)


def trip_package(day: DayOfTrips, files: Iterable[TripFile], *, agency: str, version: str) -> bytes:
    """Describe a day's tables."""
    package = TripPackage(
        name=f"fare_transactions_{day.service_day}",
        title=f"Fare transactions of {agency}, service day {day.service_day}",
        agency=agency,
        resources=tuple(_resource(day, file, version) for file in files),
    )
    return msgspec.json.format(msgspec.json.encode(package), indent=2) + b"\n"


def _resource(day: DayOfTrips, file: TripFile, version: str) -> TripResource:
    # A name there is of small Latin letters; an operator's may be of any.
    ascii_name = sha256_of(file.operator_id.encode())[:8]
    return TripResource(
        name=f"fare_transactions_{ascii_name}",
        title=f"Fare transactions of {file.operator_id}",
        path=file.name,
        size_bytes=file.size_bytes,
        sha256=f"sha256:{file.sha256}",
        rows_count=file.rows_count,
        amount=day.amount(file.amount_fen),
        currency=day.currency,
        sources=(Source("faregate", "AFC", "faregate", version),),
    )
