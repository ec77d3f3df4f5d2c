"""The city as the gateway knows it: operators, stops, routes, gates and who may speak for them.

A `Registry` is one immutable picture. The shell loads it and swaps it whole; deciding only looks
things up.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from gateway.core.taps import Name

Iban = Annotated[
    str, Meta(pattern=r"^[A-Z0-9]{5,34}$(?!\n)", description="IBAN or local account number")
]
Bic = Annotated[str, Meta(pattern=r"^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$(?!\n)")]


class Operator(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A company that carries riders and is paid for it."""

    operator_id: Name
    name: Name
    bank_account: Iban | None = None
    bank_bic: Bic | None = None


class Stop(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A station or bus stop."""

    stop_id: Name
    name: Name | None = None


class Route(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A line or bus route."""

    route_id: Name
    network: Name
    name: Name | None = None


class Gate(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Any device that makes taps: a turnstile, a bus reader, a station concentrator."""

    gate_id: Name
    operator_id: Name
    network: Name
    concentrator_id: Annotated[
        Name | None, Meta(description="the gate that may sign for this one")
    ] = None


class GateKey(Struct, frozen=True, omit_defaults=True):
    """One of a gate's signing keys. The secret itself is derived, never stored."""

    key_id: str
    gate_id: str
    valid_from: datetime
    valid_until: datetime | None = None
    is_revoked: bool = False

    def is_valid_at(self, instant: datetime) -> bool:
        is_current = self.valid_until is None or instant < self.valid_until
        return not self.is_revoked and self.valid_from <= instant and is_current


class Role(StrEnum):
    """What a person or a back-office system may do."""

    GATE_OPERATOR = "gate_operator"
    FARE_OPERATOR = "fare_operator"
    FINANCE = "finance"
    AUDITOR = "auditor"
    DESK = "desk"
    CHECKER = "checker"
    ADMIN = "admin"


class Credential(Struct, frozen=True, omit_defaults=True):
    """A bearer token's owner. `operator_id` narrows it to one operator's gates and wallets."""

    token_id: str
    role: Role
    operator_id: str | None = None
    valid_until: datetime | None = None
    is_revoked: bool = False

    def is_valid_at(self, instant: datetime) -> bool:
        return not self.is_revoked and (self.valid_until is None or instant < self.valid_until)


class Registry(Struct, frozen=True):
    """One picture of the city. Mappings are by id, tokens by the SHA-256 of what is borne."""

    version: int = 0
    operators: dict[str, Operator] = {}
    stops: dict[str, Stop] = {}
    routes: dict[str, Route] = {}
    gates: dict[str, Gate] = {}
    gate_keys: dict[str, GateKey] = {}
    credentials: dict[bytes, Credential] = {}

    def gates_of(self, operator_id: str | None) -> list[Gate]:
        """An operator's gates, or everybody's, by their ids."""
        return [
            gate
            for _, gate in sorted(self.gates.items())
            if operator_id in (None, gate.operator_id)
        ]

    def may_sign_for(self, signer_id: str, gate_id: str) -> bool:
        """Whether one gate's key may vouch for another gate's taps: its own, or those behind it."""
        if signer_id == gate_id:
            return True
        gate = self.gates.get(gate_id)
        return gate is not None and gate.concentrator_id == signer_id
