"""How the city becomes known: operators, stops, routes, gates and their keys, and bearer tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import asyncpg
import msgspec
from msgspec import Meta, Struct

from fare_rules import TariffBook
from gateway.core.missing_rides import DESK
from gateway.core.registry import Gate, GateKey, Operator, Registry, Role, Route, Stop
from gateway.core.taps import Instant, Name
from gateway.shell.registry_store import RegistryWork
from gateway.shell.signatures import gate_secret, new_key_id, new_token, token_sha256

KEYS_PER_GATE_MAX = 2
_RECORDS_MAX = 1000


class City(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Records to add or to change; sending them twice changes nothing."""

    operators: Annotated[tuple[Operator, ...], Meta(max_length=_RECORDS_MAX)] = ()
    stops: Annotated[tuple[Stop, ...], Meta(max_length=_RECORDS_MAX)] = ()
    routes: Annotated[tuple[Route, ...], Meta(max_length=_RECORDS_MAX)] = ()
    gates: Annotated[tuple[Gate, ...], Meta(max_length=_RECORDS_MAX)] = ()


class KeyWish(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Gates that need a new key each. `replace` revokes the keys they have."""

    gate_ids: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=_RECORDS_MAX)]
    replace: bool = False
    valid_until: Instant | None = None


class IssuedKey(Struct, frozen=True):
    """A key with its secret, in hex: shown this once."""

    key_id: str
    gate_id: str
    secret: str


class RegistryRefusal(StrEnum):
    """Why a record is not taken. Ordered by precedence; the whole request has no effect."""

    GATE_ID_TAKEN = "gate_id_taken"
    UNKNOWN_OPERATOR = "unknown_operator"
    UNKNOWN_NETWORK = "unknown_network"
    UNKNOWN_CONCENTRATOR = "unknown_concentrator"
    UNKNOWN_GATE = "unknown_gate"
    TOO_MANY_KEYS = "too_many_keys"


class TokenRefused(Exception):
    """A token that is not made; the text says why, and what to do."""


@asynccontextmanager
async def _work(pool: asyncpg.Pool) -> AsyncIterator[RegistryWork]:
    async with pool.acquire() as connection, connection.transaction():
        yield RegistryWork(connection)


def check_city(
    city: City, registry: Registry, book: TariffBook
) -> tuple[RegistryRefusal, str] | None:
    """The first record that refers to nothing, or takes the desk's name, and what it says."""
    operators = registry.operators.keys() | {one.operator_id for one in city.operators}
    gates = registry.gates.keys() | {one.gate_id for one in city.gates}
    networks = {name for tariff in book.tariffs for name in tariff.networks}
    if any(gate.gate_id == DESK for gate in city.gates):
        return RegistryRefusal.GATE_ID_TAKEN, DESK
    for gate in city.gates:
        if gate.operator_id not in operators:
            return RegistryRefusal.UNKNOWN_OPERATOR, gate.operator_id
        if gate.concentrator_id is not None and gate.concentrator_id not in gates:
            return RegistryRefusal.UNKNOWN_CONCENTRATOR, gate.concentrator_id
    named = [gate.network for gate in city.gates] + [route.network for route in city.routes]
    for network in named:
        if network not in networks:
            return RegistryRefusal.UNKNOWN_NETWORK, network
    return None


async def run_city_registration(pool: asyncpg.Pool, city: City) -> None:
    async with _work(pool) as work:
        await work.save_city(city.operators, city.stops, city.routes, city.gates)


async def run_key_issue(
    pool: asyncpg.Pool, wish: KeyWish, *, registry: Registry, master_key: bytes, now: datetime
) -> list[IssuedKey] | tuple[RegistryRefusal, str]:
    """Give each gate a new key. A gate has two at most, so that keys rotate without a gap."""
    for gate_id in wish.gate_ids:
        if gate_id not in registry.gates:
            return RegistryRefusal.UNKNOWN_GATE, gate_id
    async with _work(pool) as work:
        held = [key for key in await work.lock_keys(wish.gate_ids) if _may_still_sign(key, now)]
        revoked = [key.key_id for key in held] if wish.replace else []
        if crowded := _crowded_gate(wish.gate_ids, [] if wish.replace else held):
            return RegistryRefusal.TOO_MANY_KEYS, crowded
        keys = [GateKey(new_key_id(), gate, now, wish.valid_until) for gate in wish.gate_ids]
        await work.save_keys(keys, revoked)
    return [
        IssuedKey(key.key_id, key.gate_id, gate_secret(master_key, key.key_id).hex())
        for key in keys
    ]


def _may_still_sign(key: GateKey, now: datetime) -> bool:
    return key.valid_until is None or key.valid_until > now


def _crowded_gate(gate_ids: Sequence[str], held: Sequence[GateKey]) -> str | None:
    counts = dict.fromkeys(gate_ids, 0)
    for gate_id in (*gate_ids, *(key.gate_id for key in held)):
        counts[gate_id] += 1
        if counts[gate_id] > KEYS_PER_GATE_MAX:
            return gate_id
    return None


async def run_key_revocation(pool: asyncpg.Pool, key_id: str) -> bool:
    async with _work(pool) as work:
        return await work.revoke_key(key_id)


async def run_token_issue(
    pool: asyncpg.Pool,
    token_id: str,
    role: Role,
    *,
    operator_id: str | None = None,
    valid_until: datetime | None = None,
) -> str:
    """A new bearer token: shown this once, kept only as its hash. Raises: TokenRefused."""
    try:
        msgspec.convert(token_id, Name)
    except msgspec.ValidationError:
        raise TokenRefused(
            "A token's name has 1 to 255 characters and no control characters among them."
        ) from None
    token = new_token()
    try:
        async with _work(pool) as work:
            await work.save_credential(
                token_sha256(token), token_id, role, operator_id, valid_until
            )
    except asyncpg.UniqueViolationError:
        raise TokenRefused(
            f"A token is or was named {token_id}; choose another name, for names stay in the books."
        ) from None
    except asyncpg.ForeignKeyViolationError:
        raise TokenRefused(f"There is no operator {operator_id}; register it first.") from None
    return token


async def run_token_revocation(pool: asyncpg.Pool, token_id: str) -> bool:
    async with _work(pool) as work:
        return await work.revoke_credential(token_id)
