"""A tap, what can become of it, and what the gate is told.

These are the gateway's public words: the HTTP door decodes straight into `Tap` and encodes
`TapResult`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from fare_rules import Action as Action  # A word of the gateway's public language, too.

# Ids are the operator's own words (Chinese station names, too) without control characters.
Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)",
        description="an identifier in the operator's own words, without control characters; a "
        "gateway may be set to take fewer of them (FAREGATE_TEXT_CHARS_MAX)",
    ),
]
Fare = Annotated[int, Meta(ge=0, le=10_000_000, description="minor units of the currency")]
Sequence = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Instant = Annotated[datetime, Meta(tz=True)]


class Tap(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """One card held to one gate, with an id the gate chose and stored before sending."""

    tap_id: UUID
    gate_id: Name
    sequence: Annotated[Sequence, Meta(description="counts up by one for each tap of this gate")]
    tapped_at: Annotated[datetime, Meta(tz=True, description="the gate's clock, with its offset")]
    media_token: Annotated[Name, Meta(description="opaque; never a card number")]
    action: Action
    stop_id: Name | None = None
    route_id: Name | None = None
    vehicle_id: Name | None = None
    full_fare: Annotated[Fare | None, Meta(description="where the gate itself knows the fare")] = (
        None
    )
    distance_m: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)] | None,
        Meta(description="metres, where the gate measures them"),
    ] = None
    transfer_proven: Annotated[bool, Meta(description="the card itself holds its last ride")] = (
        False
    )
    carriage_class: Name = "ordinary"
    riders_count: Annotated[int, Meta(ge=1, le=99)] = 1
    offline: Annotated[bool, Meta(description="the gate has already let the rider through")] = False
    deny_list_version: Sequence | None = None

    @property
    def is_incomplete(self) -> bool:
        """Neither place nor vehicle is known: priced if it can be, and listed for a person."""
        return self.stop_id is None and self.route_id is None and self.vehicle_id is None


class TapOutcome(StrEnum):
    """Ordered by precedence: when two apply, the earlier one is reported."""

    # Not kept: the message is not a tap of this gate's, or keeping it would do harm.
    MALFORMED = "malformed"
    GATE_NOT_SIGNERS = "gate_not_signers"
    UNKNOWN_GATE = "unknown_gate"
    CARD_NUMBER = "card_number"
    TAP_ID_REUSED = "tap_id_reused"
    # Kept as refusals: a repeat hears the same.
    SEQUENCE_REUSED = "sequence_reused"
    CLOCK_AHEAD = "clock_ahead"
    TOO_OLD = "too_old"
    NO_TARIFF = "no_tariff"
    WRONG_ACTION = "wrong_action"
    UNKNOWN_STOP = "unknown_stop"
    UNKNOWN_ROUTE = "unknown_route"
    UNKNOWN_MEDIA = "unknown_media"
    MEDIA_BLOCKED = "media_blocked"
    WALLET_BLOCKED = "wallet_blocked"
    WALLET_CLOSED = "wallet_closed"
    NO_FARE = "no_fare"
    PASSED_BACK = "passed_back"
    DEBT_TOO_HIGH = "debt_too_high"
    BALANCE_TOO_LOW = "balance_too_low"
    LIMIT_REACHED = "limit_reached"
    VERIFICATION_REQUIRED = "verification_required"
    # Let through.
    DOUBLE_BEEP = "double_beep"
    LEG_OPENED = "leg_opened"
    RIDE_CHARGED = "ride_charged"
    RIDE_OWED = "ride_owed"

    @property
    def is_kept(self) -> bool:
        return self not in _NOT_KEPT

    @property
    def is_let_through(self) -> bool:
        return self in _LET_THROUGH

    @property
    def is_quarantined(self) -> bool:
        """Kept for a person to price or to write off, because no rule can."""
        return self in _QUARANTINED


_NOT_KEPT = frozenset(list(TapOutcome)[: list(TapOutcome).index(TapOutcome.SEQUENCE_REUSED)])
_LET_THROUGH = frozenset(list(TapOutcome)[list(TapOutcome).index(TapOutcome.DOUBLE_BEEP) :])
# As the log has them.
LET_THROUGH = [str(outcome) for outcome in TapOutcome if outcome in _LET_THROUGH]
_QUARANTINED = frozenset(
    {
        TapOutcome.TOO_OLD,
        TapOutcome.NO_TARIFF,
        TapOutcome.NO_FARE,
        TapOutcome.VERIFICATION_REQUIRED,
    }
)


class Payer(Struct, frozen=True, gc=False):
    """One payer's share of a fare."""

    account: str
    amount_fen: int


class TapResult(Struct, frozen=True, gc=False, omit_defaults=True):
    """What the gate is told. The same tap is told the same bytes, however often it is sent."""

    tap_id: UUID | None
    outcome: TapOutcome
    open: bool
    display_text: str
    fare_fen: int | None = None
    payers: tuple[Payer, ...] = ()
    balance_fen: int | None = None
    owed_fen: int = 0
    journey_id: UUID | None = None
    incomplete: bool = False
    fault: str | UnsetType = UNSET

    @property
    def needs_person(self) -> bool:
        """Nothing is dropped: these are listed until somebody has looked at them."""
        return self.incomplete or self.outcome in _QUARANTINED


def differing_field(first: Tap, second: Tap) -> str | None:
    """The first field in which two taps of one id differ, or None.

    Instants are compared as instants: the same moment under another offset is the same tap.
    """
    return next(
        (name for name in Tap.__struct_fields__ if getattr(first, name) != getattr(second, name)),
        None,
    )


_DIGITS_MIN, _DIGITS_MAX = 13, 19
_CARD_NUMBER = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,}")


def looks_like_card_number(text: str) -> bool:
    """Whether a text holds 13 to 19 digits that pass the Luhn check, spaced or not.

    Other digits may stand beside them, after a space or hyphen, as a date of expiry does.
    Source: ISO/IEC 7812-1, annex B. One opaque token of digits in ten passes by chance, so tokens
    should hold a letter.
    """
    return any(
        _passes_luhn(digits)
        for match in _CARD_NUMBER.finditer(text)
        for digits in _runs(re.split("[ -]", match.group()))
    )


def _runs(groups: list[str]) -> Iterator[str]:
    """Each run of whole groups that has as many digits as a card number."""
    for start in range(len(groups)):
        digits = ""
        for group in groups[start:]:
            digits += group
            if len(digits) > _DIGITS_MAX:
                break
            if len(digits) >= _DIGITS_MIN:
                yield digits


def _passes_luhn(number: str) -> bool:
    digits = [int(digit) for digit in reversed(number)]
    doubled = (digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
