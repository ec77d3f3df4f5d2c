"""Trips for planners: a service day's taps and amounts as TIDES fare transactions, without riders.

    fare_transactions_<operator>.csv   a row for each tap that an operator's gates let through, and
                                       one for each amount that something else put right
    datapackage.json                   what the files are: rows, sums, sizes and hashes

An operator's amounts add up to what the ledger has of the service day. A card is told apart from
others within the day alone: its token is made with a key of the day, and nobody's balance is told.
What the log does not hold stays empty: trip, pattern, stop sequence, period, and whether a cap cut
the fare.

Source: TIDES, spec/fare_transactions.schema.json and spec/tides-datapackage-profile.json; Data
        Package v1 for `bytes` and `hash`.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from datetime import date, datetime, tzinfo
from decimal import Decimal
from operator import attrgetter

import msgspec
from msgspec import Struct, structs

from fare_rules.amounts import said
from gateway.core.csv_tables import csv_table
from gateway.core.decide import KeptTap
from gateway.core.ledger import JournalEntry
from gateway.core.settlement_files import file_name, sha256_of
from gateway.core.taps import Action, TapOutcome

PACKAGE = "datapackage.json"
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


class TripFile(Struct, frozen=True):
    """One operator's rows, and what they come to."""

    operator_id: str
    rows: list[FareTransaction]
    amount_fen: int


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


def trip_files(
    day: DayOfTrips, taps: Iterable[KeptTap], entries: Iterable[JournalEntry]
) -> list[TripFile]:
    """Make the rows of each operator, in the order in which things happened.

    Shape:  `taps` are those of the day's log that were let through, `entries` the day's entries
            that name an operator. What a tap itself cost stands in its own row; what a later tap, a
            sweep or a person changed is an `Adjust` of its own.
    """
    charged: dict[object, list[JournalEntry]] = {}
    found: dict[str, list[FareTransaction]] = {}
    sums_fen: dict[str, int] = {}

    def add(operator_id: str, row: FareTransaction, amount_fen: int) -> None:
        found.setdefault(operator_id, []).append(row)
        sums_fen[operator_id] = sums_fen.get(operator_id, 0) + amount_fen

    for entry in entries:
        if entry.kind == "fare":
            charged.setdefault((entry.tap_id, entry.operator_id), []).append(entry)
        else:
            assert entry.operator_id is not None, entry
            add(entry.operator_id, _adjusted(day, entry), entry.operator_fen)
    for kept in taps:
        if kept.facts is None:
            continue
        own = charged.pop((kept.tap.tap_id, kept.facts.operator_id), [])
        row, amount_fen = _tapped(day, kept, own)
        add(kept.facts.operator_id, row, amount_fen)
    # Of rides whose tap is of another day's log.
    for own in charged.values():
        for entry in own:
            assert entry.operator_id is not None, entry
            add(entry.operator_id, _adjusted(day, entry), entry.operator_fen)
    in_order = attrgetter("event_timestamp", "transaction_id")
    return [
        TripFile(operator_id, sorted(rows, key=in_order), sums_fen[operator_id])
        for operator_id, rows in sorted(found.items())
    ]


def _tapped(day: DayOfTrips, kept: KeptTap, own: list[JournalEntry]) -> tuple[FareTransaction, int]:
    tap, facts = kept.tap, kept.facts
    assert facts is not None, kept
    action = _ACTIONS[tap.action]
    if kept.result.outcome is TapOutcome.DOUBLE_BEEP:
        action = "Other"
    elif action == "Enter" and kept.result.journey_id not in (None, tap.tap_id):
        action = "Transfer entrance"
    amount_fen = sum(entry.operator_fen for entry in own)
    products = sorted({entry.product_id for entry in own if entry.product_id})
    return FareTransaction(
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
    ), amount_fen


def _adjusted(day: DayOfTrips, entry: JournalEntry) -> FareTransaction:
    return FareTransaction(
        transaction_id=str(entry.entry_id),
        service_date=day.service_day,
        event_timestamp=entry.effective_at.astimezone(day.zone),
        amount=day.amount(entry.operator_fen),
        currency_type=day.currency,
        fare_action="Adjust",
        fare_product=entry.product_id,
    )


def trip_package(
    day: DayOfTrips, trips: Iterable[TripFile], *, agency: str, version: str
) -> dict[str, bytes]:
    """Every file by its name, the package's own description last."""
    files: dict[str, bytes] = {}
    resources = []
    for trip in trips:
        name = file_name("fare_transactions", trip.operator_id)
        content = csv_table(
            FareTransaction.__struct_fields__, map(structs.astuple, trip.rows), day.zone
        )
        files[name] = content
        resources.append(_resource(day, trip, name, content, version))
    described = {
        "profile": f"{_SPECIFICATION}/tides-datapackage-profile.json",
        "name": f"fare_transactions_{day.service_day}",
        "title": f"Fare transactions of {agency}, service day {day.service_day}",
        "agency": agency,
        "resources": resources,
    }
    files[PACKAGE] = msgspec.json.format(msgspec.json.encode(described), indent=2) + b"\n"
    return files


def _resource(
    day: DayOfTrips, trip: TripFile, name: str, content: bytes, version: str
) -> Mapping[str, object]:
    # A name there is of small Latin letters; an operator's may be of any.
    ascii_name = sha256_of(trip.operator_id.encode())[:8]
    return {
        "profile": "tabular-data-resource",
        "name": f"fare_transactions_{ascii_name}",
        "title": f"Fare transactions of {trip.operator_id}",
        "path": name,
        "tides-table": "fare_transactions",
        "schema": f"{_SPECIFICATION}/fare_transactions.schema.json",
        "encoding": "utf-8",
        "bytes": len(content),
        "hash": f"sha256:{sha256_of(content)}",
        "rows_count": len(trip.rows),
        "amount": str(day.amount(trip.amount_fen)),
        "currency": day.currency,
        "sources": [
            {"title": "faregate", "component": "AFC", "product": "faregate",
             "product_version": version}
        ],
    }  # fmt: skip
