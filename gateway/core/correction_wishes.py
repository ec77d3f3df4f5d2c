"""What may be asked of the desk, why it may be refused, and what is known when it is decided."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated
from uuid import UUID, uuid5

from msgspec import Meta, Struct

from gateway.core.amendments import Amendment
from gateway.core.campaigns import Left
from gateway.core.days import LoadedDays
from gateway.core.decide import KeptTap
from gateway.core.purse_desk import Amount
from gateway.core.registry import Registry
from gateway.core.taps import Fare, Name
from gateway.core.wallets import Media, Wallet


class CorrectionKind(StrEnum):
    """The first ones are facts about taps, the last ones money alone."""

    VOID = "void"
    FREE_RIDE = "free_ride"
    MISSING_EXIT = "missing_exit"
    MISSING_ENTRY = "missing_entry"
    MISSING_RIDE = "missing_ride"
    RECLASS = "reclass"
    CLEARANCE = "clearance"
    REVERSAL = "reversal"
    REFUND = "refund"
    GOODWILL = "goodwill"
    TOP_UP_VOID = "top_up_void"


class Reason(StrEnum):
    DUPLICATE = "duplicate"
    GATE_FAULT = "gate_fault"
    FORGOTTEN_TAP = "forgotten_tap"
    WRONG_CLASS = "wrong_class"
    NOT_TRAVELLED = "not_travelled"
    DISRUPTION = "disruption"
    STAFF_ERROR = "staff_error"
    PAID_BY_MISTAKE = "paid_by_mistake"
    COMPLAINT = "complaint"


class CorrectionRefusal(StrEnum):
    """Why a correction is refused. Ordered by precedence; it then has no effect."""

    CORRECTION_ID_REUSED = "correction_id_reused"
    UNKNOWN_CORRECTION = "unknown_correction"
    ALREADY_DECIDED = "already_decided"
    SAME_PERSON = "same_person"
    FIELDS_DIFFER = "fields_differ"
    CARD_NUMBER = "card_number"
    NOT_SELF_SERVICE = "not_self_service"
    UNKNOWN_WALLET = "unknown_wallet"
    UNKNOWN_TAP = "unknown_tap"
    UNKNOWN_TOP_UP = "unknown_top_up"
    UNKNOWN_GATE = "unknown_gate"
    UNKNOWN_MEDIA = "unknown_media"
    UNKNOWN_STOP = "unknown_stop"
    UNKNOWN_ROUTE = "unknown_route"
    UNKNOWN_RIDER_CATEGORY = "unknown_rider_category"
    UNKNOWN_SPONSOR = "unknown_sponsor"
    TOO_OLD = "too_old"
    NOT_YET = "not_yet"
    ALREADY_CORRECTED = "already_corrected"
    WRONG_ACTION = "wrong_action"
    NOT_INCOMPLETE = "not_incomplete"
    WRONG_TIME = "wrong_time"
    MORE_THAN_CHARGED = "more_than_charged"
    NO_FARE = "no_fare"
    REFUNDED = "refunded"
    WALLET_CLOSED = "wallet_closed"
    TOO_MANY_SELF_SERVICE = "too_many_self_service"


class CorrectionWish(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something to put right. The caller chooses the id, so sending twice is asking once.

    void, clearance: tap_id. free_ride: tap_id of either end, and until, where riders who entered
    may have been kept in till then. missing_exit, missing_entry: tap_id is the end that is known;
    stop_id and at are the other's. missing_ride: media_token, since, gate_id of the gate that did
    not see it; until and exit_stop_id where riders tap out; stop_id, route_id and full_fare_fen as
    the gate would have said them. reclass: media_token, rider_category, since, until. reversal:
    reverses. refund: tap_id, amount_fen, and sponsor_id unless the operator bears it. goodwill:
    amount_fen, sponsor_id. top_up_void: top_up_id.
    """

    correction_id: UUID
    wallet_id: UUID
    kind: CorrectionKind
    reason: Reason
    note: Annotated[
        Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
        | None,
        Meta(description="in words; nothing that names a person"),
    ] = None
    by_rider: Annotated[bool, Meta(description="the rider asked for it, without a person")] = False
    tap_id: UUID | None = None
    stop_id: Name | None = None
    at: Annotated[datetime, Meta(tz=True)] | None = None
    media_token: Name | None = None
    rider_category: Name | None = None
    since: Annotated[datetime, Meta(tz=True)] | None = None
    until: Annotated[datetime, Meta(tz=True, description="included")] | None = None
    reverses: UUID | None = None
    amount_fen: Amount | None = None
    sponsor_id: Name | None = None
    top_up_id: UUID | None = None
    gate_id: Name | None = None
    route_id: Name | None = None
    exit_stop_id: Name | None = None
    full_fare_fen: Fare | None = None

    @property
    def subject(self) -> UUID | None:
        is_ride = self.kind is CorrectionKind.MISSING_RIDE
        return self.ride[-1] if is_ride else self.tap_id or self.top_up_id or self.reverses

    @property
    def ride(self) -> tuple[UUID, ...]:
        """The ids of a missing ride's taps; it is charged by the last."""
        ends = ("begin", "end") if self.until else ("ride",)
        return tuple(uuid5(self.correction_id, end) for end in ends)


class CorrectionTerms(Struct, frozen=True):
    """How far the desk may go."""

    unchecked_fen_max: int
    self_count_max: int
    self_window: timedelta
    self_age: timedelta
    clearance: timedelta


class CorrectionSnapshot(Struct, frozen=True):
    """All that was loaded for one correction."""

    now: datetime
    closed_through: date | None
    registry: Registry
    wallet: Wallet | None = None
    tap: KeptTap | None = None
    # Of a ride that no gate saw: the card.
    media: Media | None = None
    # What campaigns have left to pay for what comes of it.
    left: Mapping[str, Left] = {}
    days: LoadedDays | None = None
    # What the tap has cost the rider by now; and the operator that was paid.
    charged_fen: int = 0
    operator_id: str | None = None
    # What was given back of the same tap or top-up, or is proposed to be.
    refunded_fen: int = 0
    # Of each tap of the wallet that money was given back of: what is still paid for it.
    left_fen: Mapping[UUID, int] = {}
    # What the wallet was given as goodwill within the window, or is to be.
    goodwill_fen: int = 0
    is_corrected: bool = False
    top_up: tuple[UUID, int] | None = None
    reversed: Amendment | None = None
    self_count: int = 0
    # The taps of this day, and of all before it, are in the archive, where no fold sees them.
    archived_through: date | None = None
