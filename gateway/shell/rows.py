"""Rows to values and back. What is not searched by SQL is kept as compact MessagePack."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, get_type_hints
from uuid import UUID

import msgspec
from asyncpg import Record
from msgspec import structs

from fare_rules import RideTap
from gateway.core.days import Opening, WalletDay
from gateway.core.decide import KeptTap
from gateway.core.ledger import JournalEntry, Posting
from gateway.core.taps import Tap, TapResult
from gateway.core.wallets import Media, Wallet, WalletStatus

# Ids and accounts hold no control characters, so this one may stand between them.
SEPARATOR = "\x1f"

_encode = msgspec.msgpack.Encoder().encode
_hints = get_type_hints(Tap, include_extras=False)
# tuple[...] of Tap's own types: half the size of a mapping, and decoded as strictly.
_said_type: Any = tuple[tuple(_hints[name] for name in Tap.__struct_fields__)]  # type: ignore[misc]
_decode_said = msgspec.msgpack.Decoder(_said_type).decode
_decode_facts = msgspec.msgpack.Decoder(RideTap).decode
_decode_day = msgspec.msgpack.Decoder(tuple[RideTap, ...]).decode
_decode_opening = msgspec.msgpack.Decoder(Opening).decode
_decode_coupons = msgspec.msgpack.Decoder(tuple[tuple[str, datetime], ...]).decode
_decode_result = msgspec.msgpack.Decoder(TapResult).decode


def wallet_from_row(row: Record) -> Wallet:
    return Wallet(
        wallet_id=row["wallet_id"],
        issuer_id=row["issuer_id"],
        status=WalletStatus(row["status"]),
        balance_fen=row["balance_fen"],
        owed_fen=row["owed_fen"],
        floor_fen=row["floor_fen"],
        version=row["version"],
        day=row["day"],
        day_taps=_decode_day(row["day_taps"]),
        opening=opening_from(row["opening"]),
        swept_until=row["swept_until"],
        open_until=row["open_until"],
    )


def wallet_columns(wallets: Sequence[Wallet]) -> list[list[Any]]:
    return [
        [wallet.wallet_id for wallet in wallets],
        [str(wallet.status) for wallet in wallets],
        [wallet.balance_fen for wallet in wallets],
        [wallet.owed_fen for wallet in wallets],
        [wallet.version for wallet in wallets],
        [wallet.day for wallet in wallets],
        [_encode(wallet.day_taps) for wallet in wallets],
        [opening_bytes(wallet.opening) for wallet in wallets],
        [wallet.swept_until for wallet in wallets],
        [wallet.open_until for wallet in wallets],
    ]


def coupons_bytes(media: Media) -> bytes:
    return _encode(media.coupons) if media.coupons else b""


def opening_bytes(opening: Opening) -> bytes:
    return _encode(opening) if opening else b""


def opening_from(column: bytes) -> Opening:
    return _decode_opening(column) if column else {}


def opening_columns(openings: Sequence[tuple[UUID, WalletDay]]) -> list[list[Any]]:
    return [
        [wallet_id for wallet_id, _ in openings],
        [each.day for _, each in openings],
        [opening_bytes(each.opening) for _, each in openings],
    ]


def media_from_row(row: Record) -> Media:
    return Media(
        media_token=row["media_token"],
        wallet_id=row["wallet_id"],
        rider_category=row["rider_category"],
        fare_media=row["fare_media"],
        is_blocked=row["is_blocked"],
        coupons=_decode_coupons(row["coupons"]) if row["coupons"] else (),
    )


def kept_from_row(row: Record) -> KeptTap:
    return KeptTap(
        tap=Tap(*_decode_said(row["said"])),
        result=_decode_result(row["answer"]),
        received_at=row["received_at"],
        wallet_id=row["wallet_id"],
        wallet_version=row["wallet_version"],
        service_day=row["service_day"],
        facts=_decode_facts(row["facts"]) if row["facts"] else None,
    )


def facts_from_row(row: Record) -> RideTap:
    return _decode_facts(row["facts"])


def kept_columns(kept: Sequence[KeptTap]) -> list[list[Any]]:
    return [
        [one.tap.tap_id for one in kept],
        [one.tap.gate_id for one in kept],
        [one.tap.sequence for one in kept],
        [one.tap.tapped_at for one in kept],
        [one.received_at for one in kept],
        [str(one.result.outcome) for one in kept],
        [one.result.needs_person for one in kept],
        [one.wallet_id for one in kept],
        [one.wallet_version for one in kept],
        [one.service_day for one in kept],
        [_encode(structs.astuple(one.tap)) for one in kept],
        [_encode(one.facts) if one.facts else None for one in kept],
        [_encode(one.result) for one in kept],
    ]


def entry_from_row(row: Record) -> JournalEntry:
    return JournalEntry(
        entry_id=row["entry_id"],
        kind=row["kind"],
        cause_id=row["cause_id"],
        wallet_id=row["wallet_id"],
        wallet_version=row["wallet_version"],
        effective_at=row["effective_at"],
        service_day=row["service_day"],
        settlement_day=row["settlement_day"],
        postings=tuple(map(Posting, row["accounts"], row["amounts_fen"])),
        tap_id=row["tap_id"],
        operator_id=row["operator_id"],
        product_id=row["product_id"],
        ride_count=row["ride_count"],
        recorded_at=row["recorded_at"],
    )


def entry_columns(entries: Sequence[JournalEntry]) -> list[list[Any]]:
    """Columns for unnest. PostgreSQL flattens arrays of arrays, so the postings travel as text."""
    return [
        [entry.entry_id for entry in entries],
        [entry.kind for entry in entries],
        [entry.cause_id for entry in entries],
        [entry.wallet_id for entry in entries],
        [entry.wallet_version for entry in entries],
        [entry.effective_at for entry in entries],
        [entry.service_day for entry in entries],
        [entry.settlement_day for entry in entries],
        [entry.tap_id for entry in entries],
        [entry.operator_id for entry in entries],
        [entry.product_id for entry in entries],
        [entry.ride_count for entry in entries],
        [SEPARATOR.join(posting.account for posting in entry.postings) for entry in entries],
        [SEPARATOR.join(str(side.amount_fen) for side in entry.postings) for entry in entries],
    ]


def uuid_bytes(value: UUID) -> bytes:
    return value.bytes


def uuid_from_bytes(value: bytes) -> UUID:
    return UUID(bytes=bytes(value))
