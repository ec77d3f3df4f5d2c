"""Bringing operators their files: where to, under which name, how often, and how it stands."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated
from uuid import NAMESPACE_OID, UUID, uuid5

from msgspec import Meta, Struct

from gateway.core.taps import Name

# Python's $ also matches before a last line break, and JSON Schema has no \Z.
Host = Annotated[str, Meta(pattern=r"^[A-Za-z0-9.:-]{1,253}$(?!\n)")]
SecretName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)",
        description="a file of FAREGATE_DELIVERY_SECRETS_DIR",
    ),
]


class Sftp(Struct, frozen=True, forbid_unknown_fields=True, tag="sftp", tag_field="kind"):
    """Files are put into a folder of an SFTP server, whose key must be the one given."""

    host: Host
    user: Name
    host_key: Annotated[
        str, Meta(max_length=2000, description="the server's public key, as ssh-keyscan prints it")
    ]
    secret: Annotated[SecretName, Meta(description="the private key to log in with")]
    port: Annotated[int, Meta(ge=1, le=65_535)] = 22
    folder: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_./-]{1,200}$(?!\n)")] = "."


class Webhook(Struct, frozen=True, forbid_unknown_fields=True, tag="webhook", tag_field="kind"):
    """A message that names the files and their hashes is posted; the operator fetches them."""

    url: Annotated[str, Meta(pattern=r"^https?://[^\s]{1,1000}$(?!\n)")]
    secret: Annotated[SecretName, Meta(description="what the message is signed with, HMAC-SHA-256")]


Channel = Sftp | Webhook


class DeliveryStatus(StrEnum):
    """How a delivery, or the payment that it tells of, stands: the furthest it has come.

    A failed attempt may be followed by one that is not; money that was paid may still come back,
    and then it is in the next settlement, whatever is said afterwards.
    """

    PENDING = "pending"
    FAILED = "failed"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    PAID = "paid"
    REJECTED = "rejected"


class DeliveryEvent(Struct, frozen=True):
    at: datetime
    status: DeliveryStatus
    detail: str


class Delivery(Struct, frozen=True, omit_defaults=True):
    """The files of one operator and settlement on their way, with all that became of them."""

    delivery_id: UUID
    settlement_day: date
    operator_id: str
    name: str
    paid_fen: int
    status: DeliveryStatus
    events: tuple[DeliveryEvent, ...]
    attempts_count: int = 0
    is_dead: bool = False
    end_to_end_id: str | None = None


def status_of(events: Iterable[DeliveryEvent]) -> DeliveryStatus:
    """How a delivery stands, by all that became of it, in whatever order it was heard of."""
    return max((event.status for event in events), key=list(DeliveryStatus).index)


def delivery_id_of(manifest_sha256: str, operator_id: str) -> UUID:
    """The same settlement is the same delivery, however often it is closed."""
    return uuid5(NAMESPACE_OID, f"faregate delivery {manifest_sha256} {operator_id}")


def delivery_name(number: int, service_day: date, folder: str) -> str:
    """What files go out under: settlement 7 of 2 March for metro is 0007_2026-03-02_metro."""
    return f"{number:04d}_{service_day}_{folder.rpartition('/')[2]}"


def wait_after(attempts_count: int, spread: float) -> timedelta:
    """How long to wait after so many attempts: a minute, doubled each time, six hours at most.

    Shape:  `spread`, from 0 to 1, parts those that failed together by half of it.
    """
    seconds = min(60 * 2 ** (attempts_count - 1), 6 * 3600)
    return timedelta(seconds=seconds * (0.75 + spread / 2))
