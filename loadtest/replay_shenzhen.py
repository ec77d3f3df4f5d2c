"""Replay a morning of Shenzhen taps through a gateway and hold its charges against the answer key.

A black box: it knows the gateway by its HTTP interface alone. `shenzhen_taps` reads the rows,
`gateway_client` sends them, `replay_comparison` judges; here is the order in which it happens.
"""

import argparse
import asyncio
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import UUID, uuid5

import aiohttp
from gate_signature import GateKey
from gateway_client import GatewayClient, GatewayFailure, encode
from replay_comparison import Replay, compare, operator_table, operator_totals
from shenzhen_taps import REPLAY, RiderClass, StoredTap, StoredTaps, read_taps, service_day_of

try:
    from uvloop import new_event_loop
except ImportError:  # a replay is only slower without it
    from asyncio import new_event_loop

REQUEST_RECORDS_MAX = 1_000
TOP_UP_FEN = 50_000  # far more than a morning costs
FAULTS_SHOWN_MAX = 20
# As the tariff words them: which rider, and on which media.
MEDIA = {
    RiderClass.ADULT: ("adult", "card"),
    RiderClass.STUDENT: ("student", "card"),
    RiderClass.FREE: ("free", "card"),
    RiderClass.UNDISCOUNTED: ("adult", "qr"),
}

Item = TypeVar("Item")


class Delivery(NamedTuple):
    """Taps that one gate sends in one request."""

    gate_id: str
    taps: list[StoredTap]
    body: bytes


async def replay(stored: StoredTaps, gateway: GatewayClient, options: argparse.Namespace) -> bool:
    """Run the replay from an empty registry to the last line printed; whether it was faultless."""
    taps = stored.taps
    await register(taps, gateway)
    keys = await issue_keys(taps, gateway)
    await open_wallets(taps, gateway)

    deliveries = list(one_by_one(taps) if options.shuffle is not None else gate_by_gate(taps))
    deliveries *= options.repeat
    if options.shuffle is not None:
        random.Random(options.shuffle).shuffle(deliveries)
    results, answered_otherwise = await send(deliveries, keys, gateway, options.connections)
    outcome = Replay(results, await load_charges(taps, gateway), answered_otherwise)

    settled_fen = await settle(taps, gateway) if options.settle else None
    key_fen = operator_totals(taps, {tap.tap_id: tap.key_fen for tap in taps})
    is_settled_right = settled_fen is None or +settled_fen == +key_fen

    comparison = compare(stored, outcome)
    for line, fault in islice((comparison.differing | comparison.refused).items(), FAULTS_SHOWN_MAX):
        print(f"line {line}: {fault}", file=sys.stderr)
    for row in operator_table(taps, outcome, settled_fen):
        print(row)
    if not is_settled_right:
        print("the settlements differ from the key")
    print(comparison)
    return comparison.is_faultless and is_settled_right


async def register(taps: list[StoredTap], gateway: GatewayClient) -> None:
    buses = [tap for tap in taps if tap.network == "bus" and tap.place]
    metro = [tap for tap in taps if tap.network == "metro" and tap.place]
    gates = {tap.gate_id: tap for tap in taps}.values()
    # Operators come first, because a gate names its operator.
    registry: dict[str, list[dict[str, str | None]]] = {
        "operators": [{"operator_id": name, "name": name} for name in _each(taps, "operator_id")],
        "stops": [{"stop_id": name} for name in _each(metro, "place")],
        "routes": [{"route_id": name, "network": "bus"} for name in _each(buses, "place")],
        "gates": [
            {"gate_id": tap.gate_id, "operator_id": tap.operator_id, "network": tap.network}
            for tap in gates
        ],
    }
    for kind, records in registry.items():
        for some in chunks(records):
            await gateway.ask("POST", "v1/registry", {kind: some})


async def issue_keys(taps: list[StoredTap], gateway: GatewayClient) -> dict[str, GateKey]:
    """Get each gate a new key. It takes the place of older ones, so that a replay may run again."""
    keys: dict[str, GateKey] = {}
    for gate_ids in chunks(_each(taps, "gate_id")):
        asked = {"gate_ids": gate_ids, "replace": True}
        for issued in (await gateway.ask("POST", "v1/gate-keys", asked))["keys"]:
            secret = bytes.fromhex(issued["secret"])
            keys[issued["gate_id"]] = GateKey(issued["key_id"], secret)
    return keys


async def open_wallets(taps: list[StoredTap], gateway: GatewayClient) -> None:
    """Open a wallet per media. Its ids follow from the media, so a second run finds it again."""
    for some in chunks({tap.media_token: tap.rider_class for tap in taps}.items()):
        await gateway.ask("POST", "v1/wallets", [_wallet(*media) for media in some])


def _wallet(media_token: str, rider_class: RiderClass) -> dict[str, Any]:
    wallet_id = uuid5(REPLAY, f"wallet\n{media_token}")
    rider_category, fare_media = MEDIA[rider_class]
    return {
        "wallet_id": str(wallet_id),
        "media": [
            {
                "media_token": media_token,
                "rider_category": rider_category,
                "fare_media": fare_media,
            }
        ],
        "top_up": {"top_up_id": str(uuid5(wallet_id, "top up")), "amount_fen": TOP_UP_FEN},
    }


def one_by_one(taps: list[StoredTap]) -> Iterator[Delivery]:
    for tap in taps:
        yield _delivery([tap])


def gate_by_gate(taps: list[StoredTap]) -> Iterator[Delivery]:
    """Every gate was offline all morning, and now sends what it stored."""
    by_gate: defaultdict[str, list[StoredTap]] = defaultdict(list)
    for tap in taps:
        by_gate[tap.gate_id].append(tap)
    for stored in by_gate.values():
        for some in chunks(stored):
            yield _delivery(some)


def _delivery(taps: list[StoredTap]) -> Delivery:
    return Delivery(taps[0].gate_id, taps, encode([tap.as_sent() for tap in taps]))


async def send(
    deliveries: list[Delivery],
    keys: dict[str, GateKey],
    gateway: GatewayClient,
    connections_count: int,
) -> tuple[dict[UUID, dict[str, Any]], frozenset[UUID]]:
    """Send everything, some requests at a time: each tap's result, and the unequal answers' taps."""
    answers: dict[UUID, bytes] = {}
    results: dict[UUID, dict[str, Any]] = {}
    answered_otherwise: set[UUID] = set()
    waiting = iter(_with_progress(deliveries))

    async def carry() -> None:
        for delivery in waiting:
            answer = await gateway.send_taps(keys[delivery.gate_id], delivery.body)
            tap_ids = [tap.tap_id for tap in delivery.taps]
            if answers.setdefault(tap_ids[0], answer) != answer:
                answered_otherwise.update(tap_ids)
            results.update(zip(tap_ids, json_results(answer, tap_ids), strict=True))

    await asyncio.gather(*(carry() for _ in range(connections_count)))
    return results, frozenset(answered_otherwise)
