"""Rows to values and back. What is not searched by SQL is kept as compact MessagePack.

What a tap batch appends travels as COPY's binary rows: the server takes them a page at a time, in a
fifth of the log and of both sides' work that arrays of parameters need.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from struct import Struct as Layout
from typing import Any, get_type_hints
from uuid import UUID

import msgspec
from asyncpg import Record
from msgspec import defstruct, structs

from fare_rules import Fen, RideTap
from fare_rules.charges import SharedLeg
from gateway.core.days import Opening, ride_tap
from gateway.core.decide import KeptTap
from gateway.core.ledger import (
    BANK,
    DEBT,
    GRANT,
    OPERATOR,
    PURSE,
    SPONSOR,
    JournalEntry,
    Posting,
)  # fmt: skip
from gateway.core.purse_desk import KnownGrant
from gateway.core.taps import Payer, Tap, TapOutcome, TapResult
from gateway.core.wallets import Media, Wallet, WalletStatus
from gateway.shell.rider_rows import state_bytes, state_from

_encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode
# A tap as the tuple of its fields: half the size of a mapping, and decoded as strictly. Its id, the
# first, has a column of its own. Of a usual tap the last ones are left out.
_hints = get_type_hints(Tap, include_extras=False)
_USUAL_FIELDS = Tap.__struct_fields__.index("distance_m")
_USUAL = Tap.__struct_defaults__[_USUAL_FIELDS - len(Tap.__struct_fields__) :]
_Said = defstruct(
    "_Said",
    [
        *((name, _hints[name]) for name in Tap.__struct_fields__[1:_USUAL_FIELDS]),
        *zip(
            Tap.__struct_fields__[_USUAL_FIELDS:],
            (_hints[name] for name in Tap.__struct_fields__[_USUAL_FIELDS:]),
            _USUAL,
            strict=True,
        ),
    ],
    array_like=True,
)
_decode_said = msgspec.msgpack.Decoder(_Said).decode
# What the registry and the card added: network, operator, rider category, fare media, issuer,
# coupons, campaigns that had run out.
_decode_facts = msgspec.msgpack.Decoder(
    defstruct(
        "_FactsColumn",
        [
            *((name, str) for name in ("network", "operator_id", "rider_category", "fare_media")),
            ("issuer_id", str | None),
            ("coupons", tuple[tuple[str, datetime], ...]),
            ("without", tuple[str, ...], ()),
            ("leaves_without", tuple[str, ...], ()),
        ],
        array_like=True,
    )
).decode
# A TapResult without its tap's id and its outcome, which have columns of their own.
_decode_answer = msgspec.msgpack.Decoder(
    tuple[bool, str, int | None, tuple[tuple[str, int], ...], int | None, int, UUID | None, bool]
).decode
_decode_opening = msgspec.msgpack.Decoder(Opening).decode
_decode_coupons = msgspec.msgpack.Decoder(tuple[tuple[str, datetime], ...]).decode


# What reading a row raises that nobody of ours has written.
UNREADABLE = (msgspec.MsgspecError, ValueError, LookupError, TypeError, AssertionError)
_STATUSES = {str(status): status for status in WalletStatus}
# What wallet_from_row expects, in its order.
WALLET_COLUMNS = (
    "wallet_id, issuer_id, status, balance_fen, owed_fen, floor_fen, version, open_until, state"
)


def wallet_from_row(row: Record | tuple[Any, ...]) -> Wallet:
    (
        wallet_id, issuer_id, status, balance_fen, owed_fen, floor_fen, version, open_until, state
    ) = row  # fmt: skip
    day, riders, opening, swept_until, purses, terms, spent, amended_until = state_from(
        state, open_until
    )
    return Wallet(
        wallet_id, issuer_id, _STATUSES[status], balance_fen, owed_fen, floor_fen, version,
        day, riders, opening, swept_until, open_until, purses, terms, spent, amended_until,
    )  # fmt: skip


# A tap changes these alone.
MOVED = ("wallet_id", "balance_fen", "owed_fen", "version", "open_until", "state")


def moved_wallets(
    wallets: Iterable[Wallet], loaded: Mapping[UUID, Wallet]
) -> list[tuple[object, ...]]:
    """Wallets as rows of the type moved_wallet; one that was not loaded is new."""
    return [
        (
            wallet.wallet_id, wallet.balance_fen, wallet.owed_fen, wallet.version,
            wallet.open_until, state_bytes(wallet),
            loaded[wallet.wallet_id].version if loaded else None,
        )
        for wallet in wallets
    ]  # fmt: skip


def coupons_bytes(media: Media) -> bytes:
    return _encode(media.coupons) if media.coupons else b""


def opening_bytes(opening: Opening) -> bytes:
    return _encode(opening) if opening else b""


def opening_from(column: bytes) -> Opening:
    return _decode_opening(column) if column else {}


def grant_columns(grants: Sequence[KnownGrant]) -> list[list[Any]]:
    fields = [structs.astuple(one)[:-1] for one in grants]
    return [list(column) for column in zip(*fields, strict=True)]


def opening_columns(openings: dict[tuple[UUID, date], Opening]) -> list[list[Any]]:
    return [
        [wallet_id for wallet_id, _ in openings],
        [day for _, day in openings],
        [opening_bytes(opening) for opening in openings.values()],
    ]


# What media_from_row expects, in its order.
MEDIA_COLUMNS = "media_token, wallet_id, rider_category, fare_media, is_blocked, coupons"


def media_from_row(row: Record | tuple[Any, ...]) -> Media:
    media_token, wallet_id, rider_category, fare_media, is_blocked, coupons = row
    return Media(
        media_token, wallet_id, rider_category, fare_media, is_blocked,
        _decode_coupons(coupons) if coupons else (),
    )  # fmt: skip


# What riders_from_rows expects first.
RIDER_COLUMNS = ", ".join(
    f"{table}.{column}"
    for table, columns in (("media", MEDIA_COLUMNS), ("wallet", WALLET_COLUMNS))
    for column in columns.split(", ")
)
_MEDIA_END = len(MEDIA_COLUMNS.split(", "))
_WALLET_END = _MEDIA_END + len(WALLET_COLUMNS.split(", "))


def riders_from_rows(found: Sequence[Record]) -> tuple[dict[str, Media], dict[UUID, Wallet]]:
    """Each media with the wallet that it is bound to, if it is."""
    media: dict[str, Media] = {}
    wallets: dict[UUID, Wallet] = {}
    for row in found:
        if row[0] is None:
            continue
        one = media_from_row(row[:_MEDIA_END])
        media[one.media_token] = one
        if one.wallet_id is not None and one.wallet_id not in wallets:
            wallets[one.wallet_id] = wallet_from_row(row[_MEDIA_END:_WALLET_END])
    return media, wallets


# What kept_from_row expects, by their names.
KEPT_COLUMNS = """
    tap.tap_id, tap.said, tap.answer, tap.facts, tap.received_at, tap.outcome,
    tap.wallet_id, tap.wallet_version, tap.service_day
"""


def kept_from_row(row: Record) -> KeptTap:
    tap = _tap_from_row(row)
    opened, text, fare_fen, payers, balance_fen, owed_fen, journey_id, incomplete = _decode_answer(
        row["answer"]
    )
    result = TapResult(
        tap.tap_id,
        TapOutcome(row["outcome"]),
        opened,
        text,
        fare_fen=fare_fen,
        payers=tuple([Payer(*payer) for payer in payers]),
        balance_fen=balance_fen,
        owed_fen=owed_fen,
        journey_id=journey_id,
        incomplete=incomplete,
    )
    facts = row["facts"]
    return KeptTap(
        tap,
        result,
        row["received_at"],
        row["service_day"],
        row["wallet_id"],
        row["wallet_version"],
        _facts(tap, facts) if facts else None,
    )


def is_incomplete(answer: bytes) -> bool:
    """Whether an answer of the tap log says that its tap lacks something."""
    return _decode_answer(answer)[-1]


def facts_from_row(row: Record) -> RideTap:
    return _facts(_tap_from_row(row), row["facts"])


def _tap_from_row(row: Record) -> Tap:
    return Tap(row["tap_id"], *structs.astuple(_decode_said(row["said"])))


def _facts(tap: Tap, column: bytes) -> RideTap:
    (
        network, operator_id, rider_category, fare_media, issuer_id, coupons, without,
        leaves_without,
    ) = structs.astuple(_decode_facts(column))  # fmt: skip
    return ride_tap(
        tap,
        network=network,
        operator_id=operator_id,
        rider_category=rider_category,
        fare_media=fare_media,
        issuer_id=issuer_id,
        coupons=coupons,
        without=without,
        leaves_without=leaves_without,
    )


# COPY's binary rows. Each table's columns stand in the order in which they are sent.

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()
_MICROSECOND = timedelta(microseconds=1)
_TEXT_OID, _INT8_OID, _UUID_OID = 25, 20, 2950
_NO_SHARES = _NO_JOURNEY = _NULL * 4
_shared = Layout("!i16s iq iq iq").pack
_array_head = Layout("!5i").pack

_length = Layout("!i").pack
_long = Layout("!iq").pack
TAP_COLUMNS = (
    "tap_id", "received_at", "service_day", "needs_person", "wallet_id", "wallet_version",
    "outcome", "said", "facts", "answer",
)  # fmt: skip
_tap_start = Layout("!h i16s iq ii i?").pack
_wallet_version = Layout("!i16s iq").pack
_SEQUENCE_COLUMNS = ("sequence", "service_day", "tap_id", "gate_id")
_sequence_start = Layout("!h iq ii i16s").pack
ENTRY_COLUMNS = (
    "wallet_id", "wallet_version", "effective_at", "recorded_at", "service_day",
    "settlement_day", "ride_count", "cause_id", "tap_id", "kind", "operator_id", "product_id",
    "purse_fen", "debt_fen", "operator_fen", "bank_fen", "sponsors", "sponsors_fen",
    "purses", "purses_fen", "journey_id", "own_fen", "distance_m", "change_fen",
)  # fmt: skip
_entry_start = Layout("!h i16s iq iq iq ii ii iq i16s").pack
_TOP_UP_COLUMNS = ("top_up_id", "wallet_id", "amount_fen", "recorded_at")
_top_up = Layout("!h i16s i16s iq iq").pack


def _said(tap: Tap) -> bytes:
    fields = structs.astuple(tap)
    return _encode(fields[1:_USUAL_FIELDS] if fields[_USUAL_FIELDS:] == _USUAL else fields[1:])


def _answer(result: TapResult) -> bytes:
    return _encode((
        result.open, result.display_text, result.fare_fen,
        [(payer.account, payer.amount_fen) for payer in result.payers],
        result.balance_fen, result.owed_fen, result.journey_id, result.incomplete,
    ))  # fmt: skip


def _facts_of(facts: RideTap) -> tuple[object, ...]:
    return (
        facts.network, facts.operator_id, facts.rider_category, facts.fare_media,
        facts.issuer_id, facts.coupons,
        *((facts.without, facts.leaves_without) if facts.without or facts.leaves_without else ()),
    )  # fmt: skip


def kept_rows(kept: Iterable[KeptTap]) -> tuple[tuple[str, ...], bytes]:
    """Taps of the log, as columns and rows of COPY."""
    parts = [_HEADER]
    for one in kept:
        tap, result, facts = one.tap, one.result, one.facts
        said, answer = _said(tap), _answer(result)
        parts += (
            _tap_start(
                10, 16, tap.tap_id.bytes, 8, _same_microseconds(one.received_at),
                4, _days(one.service_day), 1, result.needs_person,
            ),
            _wallet_version(16, one.wallet_id.bytes, 8, one.wallet_version or 0)
            if one.wallet_id
            else _NULL + _NULL,
            _text(result.outcome),
            _length(len(said)),
            said,
            _NULL if facts is None else _bytes(_facts_column(*_facts_of(facts))),
            _length(len(answer)),
            answer,
        )  # fmt: skip
    parts.append(_TRAILER)
    return TAP_COLUMNS, b"".join(parts)


def sequence_rows(kept: Iterable[KeptTap]) -> tuple[tuple[str, ...], bytes]:
    """The gates' numbers of those taps that keep theirs."""
    parts = [_HEADER]
    for one in kept:
        if one.result.outcome is not TapOutcome.SEQUENCE_REUSED:
            tap = one.tap
            day = _days(one.service_day)
            parts.append(
                _sequence_start(4, 8, tap.sequence, 4, day, 16, tap.tap_id.bytes)
                + _text(tap.gate_id)
            )
    parts.append(_TRAILER)
    return _SEQUENCE_COLUMNS, b"".join(parts)


def entry_rows(
    entries: Iterable[JournalEntry], recorded_at: datetime
) -> tuple[tuple[str, ...], bytes]:
    """Entries of the ledger."""
    recorded = _microseconds(recorded_at)
    parts = [_HEADER]
    for entry in entries:
        fen = {posting.account: posting.amount_fen for posting in entry.postings}
        operator_id = entry.operator_id
        parts += (
            _entry_start(
                24, 16, entry.wallet_id.bytes, 8, entry.wallet_version,
                8, _microseconds(entry.effective_at), 8, recorded,
                4, _days(entry.service_day), 4, _days(entry.settlement_day),
                8, entry.ride_count, 16, entry.cause_id.bytes,
            ),
            _bytes(entry.tap_id.bytes) if entry.tap_id else _NULL,
            _text(entry.kind),
            _NULL if operator_id is None else _text(operator_id),
            _NULL if entry.product_id is None else _text(entry.product_id),
            _long(8, fen.pop(PURSE)),
            _long(8, fen.pop(DEBT)) if DEBT in fen else _NULL,
            _NULL if operator_id is None else _long(8, fen.pop(f"{OPERATOR}{operator_id}")),
            _long(8, fen.pop(BANK)) if BANK in fen else _NULL,
            _shares(fen) if fen else _NO_SHARES,
            _NO_JOURNEY if entry.shared is None else _shared(16, entry.shared.journey_id.bytes,
                8, entry.shared.own_fen, 8, entry.shared.distance_m, 8, entry.shared.change_fen),
        )  # fmt: skip
    parts.append(_TRAILER)
    return ENTRY_COLUMNS, b"".join(parts)


def _shares(fen: dict[str, int]) -> bytes:
    """Sponsors with their amounts, and purses of grants with theirs: two arrays each."""
    grants = {account: amount for account, amount in fen.items() if account.startswith(GRANT)}
    sponsors = {account: amount for account, amount in fen.items() if account not in grants}
    assert all(account.startswith(SPONSOR) for account in sponsors), fen
    names = [_text(account.removeprefix(SPONSOR)) for account in sponsors]
    ids = [_bytes(UUID(account.removeprefix(GRANT)).bytes) for account in grants]
    return (
        _array(_TEXT_OID, names)
        + _array(_INT8_OID, [_long(8, amount) for amount in sponsors.values()])
        + _array(_UUID_OID, ids)
        + _array(_INT8_OID, [_long(8, amount) for amount in grants.values()])
    )


def _array(oid: int, elements: Sequence[bytes]) -> bytes:
    if not elements:
        return _NULL
    return _bytes(_array_head(1, 0, oid, len(elements), 1) + b"".join(elements))


def top_up_rows(
    entries: Iterable[JournalEntry], recorded_at: datetime
) -> tuple[tuple[str, ...], bytes]:
    """The top-ups among some entries."""
    recorded = _microseconds(recorded_at)
    rows = [
        _top_up(
            4, 16, entry.cause_id.bytes, 16, entry.wallet_id.bytes, 8, entry.rider_fen, 8, recorded
        )
        for entry in entries
        if entry.kind == "top_up"
    ]
    return _TOP_UP_COLUMNS, b"".join((_HEADER, *rows, _TRAILER))


def _microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


# All taps of a batch were received at one instant.
_same_microseconds = lru_cache(maxsize=8)(_microseconds)


@lru_cache(maxsize=64)
def _days(day: date) -> int:
    return day.toordinal() - _EPOCH_DAY


@lru_cache(maxsize=65_536)
def _text(text: str) -> bytes:
    return _bytes(text.encode())


def _bytes(column: bytes) -> bytes:
    return _length(len(column)) + column


@lru_cache(maxsize=4096)
def _facts_column(*facts: object) -> bytes:
    return _encode(facts)


# The same rows as records, for a statement that saves a few of them. An array of records costs less
# than an array a column: each array is looked through for arrays inside it before it is sent, and
# the server unpacks each into a store of its own.


def kept_taps(kept: Iterable[KeptTap]) -> list[tuple[object, ...]]:
    """Taps of the log with their gates' numbers, as rows of the type kept_tap."""
    return [
        (
            one.tap.gate_id, one.tap.sequence, one.service_day, one.tap.tap_id,
            one.result.needs_person, one.wallet_id,
            (one.wallet_version or 0) if one.wallet_id else None,
            str(one.result.outcome), _said(one.tap),
            None if one.facts is None else _facts_column(*_facts_of(one.facts)),
            _answer(one.result),
        )
        for one in kept
    ]  # fmt: skip


def is_plain(entry: JournalEntry) -> bool:
    """Whether purse, debt, operator and bank are all that an entry moves, and it is not shared."""
    return entry.shared is None and all(
        posting.account in _PLAIN_ACCOUNTS or posting.account.startswith(OPERATOR)
        for posting in entry.postings
    )


_PLAIN_ACCOUNTS = frozenset({PURSE, DEBT, BANK})


def plain_entries(entries: Iterable[JournalEntry]) -> list[tuple[object, ...]]:
    """Plain entries, as rows of the type plain_entry."""
    found: list[tuple[object, ...]] = []
    for entry in entries:
        fen = {posting.account: posting.amount_fen for posting in entry.postings}
        found.append((
            entry.wallet_id, entry.wallet_version, entry.effective_at, entry.service_day,
            entry.settlement_day, entry.ride_count, entry.cause_id, entry.tap_id, entry.kind,
            entry.operator_id, entry.product_id, fen[PURSE], fen.get(DEBT),
            fen.get(f"{OPERATOR}{entry.operator_id}"), fen.get(BANK),
        ))  # fmt: skip
    return found


def entry_from_row(row: Record) -> JournalEntry:
    postings = [Posting(PURSE, row["purse_fen"])]
    operator_id, debt_fen, bank_fen = row["operator_id"], row["debt_fen"], row["bank_fen"]
    if debt_fen is not None:
        postings.append(Posting(DEBT, debt_fen))
    if grants := row["purses"]:
        shares = zip(grants, row["purses_fen"], strict=True)
        postings += [Posting(f"{GRANT}{grant_id}", fen) for grant_id, fen in shares]
    if sponsors := row["sponsors"]:
        shares = zip(sponsors, row["sponsors_fen"], strict=True)
        postings += [Posting(f"{SPONSOR}{sponsor}", fen) for sponsor, fen in shares]
    if operator_id is not None:
        postings.append(Posting(f"{OPERATOR}{operator_id}", row["operator_fen"]))
    if bank_fen is not None:
        postings.append(Posting(BANK, bank_fen))
    journey_id = row["journey_id"]
    # With more names than these, CPython 3.11 would make a dictionary of them first.
    return JournalEntry(
        row["kind"],
        row["cause_id"],
        row["wallet_id"],
        row["wallet_version"],
        row["effective_at"],
        row["service_day"],
        row["settlement_day"],
        tuple(postings),
        tap_id=row["tap_id"],
        operator_id=operator_id,
        product_id=row["product_id"],
        ride_count=row["ride_count"],
        shared=None
        if journey_id is None
        else SharedLeg(journey_id, Fen(row["own_fen"]), row["distance_m"], Fen(row["change_fen"])),
        recorded_at=row["recorded_at"],
    )
