"""What a gateway must know before the first tap: operators, stops, routes, gates and wallets."""

from collections.abc import Iterable
from typing import Any
from uuid import uuid5

from gate_signature import GateKey
from gateway_client import GatewayClient, chunks
from shenzhen_taps import REPLAY, RiderClass, StoredTap

TOP_UP_FEN = 50_000  # far more than a morning costs
# As the tariff words them: which rider, and on which media.
MEDIA = {
    RiderClass.ADULT: ("adult", "card"),
    RiderClass.STUDENT: ("student", "card"),
    RiderClass.FREE: ("free", "card"),
    RiderClass.UNDISCOUNTED: ("adult", "qr"),
}


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


def _each(taps: Iterable[StoredTap], name: str) -> list[str]:
    return sorted({getattr(tap, name) for tap in taps})
