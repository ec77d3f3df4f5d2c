"""An example city, small enough to read: Shenzhen's metro and buses, their gates, and some riders.

It is registered over HTTP like any other city, by a client that knows only what the README tells.
The riders' day is drawn from a seed, so everyone sees the same morning.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo

import aiohttp
import msgspec

from gateway.shell.signatures import KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign

ZONE = ZoneInfo("Asia/Shanghai")
STATIONS = (
    "luohu", "guomao", "laojie", "grand_theater", "science_museum", "huaqiang_lu", "gangxia",
    "convention_center", "shopping_park", "xiangmihu", "chegongmiao", "zhuzilin", "civic_center",
    "shangmeilin", "shenzhen_north", "longhua", "buji", "wuhe", "xili", "futian",
)  # fmt: skip
BUS_ROUTES = ("M486", "M519", "M562", "316", "324")
OPERATORS = {
    "shenzhen_metro": "Shenzhen Metro",
    "bus_group": "Shenzhen Bus Group",
    "western_bus": "Shenzhen Western Bus",
}
_RIDERS_COUNT = 200
_START_FEN = 10_000
_PATIENCE_SECONDS = 30


def metro_gate(station: str, way: str) -> str:
    return f"{station}-{way}"


def bus_gate(route: str) -> str:
    return f"bus-{route}"


def city() -> dict[str, Any]:
    """The body of POST /v1/registry."""
    gates = [
        {"gate_id": metro_gate(s, way), "operator_id": "shenzhen_metro", "network": "metro"}
        for s in STATIONS
        for way in ("in", "out")
    ]
    for number, route in enumerate(BUS_ROUTES):
        operator = "bus_group" if number < 3 else "western_bus"
        gates.append({"gate_id": bus_gate(route), "operator_id": operator, "network": "bus"})
    return {
        "operators": [
            {"operator_id": i, "name": name, "bank_account": f"CN{n:014d}", "bank_bic": "BKCHCNBJ"}
            for n, (i, name) in enumerate(OPERATORS.items(), 1)
        ],
        "stops": [{"stop_id": station} for station in STATIONS],
        "routes": [{"route_id": route, "network": "bus"} for route in BUS_ROUTES],
        "gates": gates,
    }


def wallets() -> list[dict[str, Any]]:
    """The body of POST /v1/wallets: most riders are adults with a card, some have a phone."""
    opened = []
    for number in range(_RIDERS_COUNT):
        media = {
            "media_token": media_token(number),
            "rider_category": ("student", "senior")[number % 2] if number % 10 < 2 else "adult",
            "fare_media": "qr" if number % 10 == 9 else "card",
        }
        wallet_id = uuid5(NAMESPACE_URL, f"example wallet {number}")
        top_up = {"top_up_id": str(uuid5(wallet_id, "first")), "amount_fen": _START_FEN}
        opened.append({"wallet_id": str(wallet_id), "media": [media], "top_up": top_up})
    return opened


def media_token(number: int) -> str:
    return f"rider-{number:04d}"


def morning(day: date, seed: int = 1, riders_count: int = _RIDERS_COUNT) -> list[dict[str, Any]]:
    """One morning's taps in event order: to work by metro, by bus, or by bus and then metro."""
    draw = random.Random(seed)
    taps: list[tuple[datetime, str, dict[str, Any]]] = []
    for number in range(riders_count):
        minute = draw.gauss(8 * 60, 35)
        start = datetime(day.year, day.month, day.day, tzinfo=ZONE) + timedelta(minutes=minute)
        token = media_token(number)
        for at, gate_id, tap in _way_to_work(draw, start):
            taps.append((at, gate_id, {**tap, "media_token": token}))
    taps.sort(key=lambda one: (one[0], one[2]["media_token"]))
    return list(_numbered(taps))


def _way_to_work(
    draw: random.Random, at: datetime
) -> Iterator[tuple[datetime, str, dict[str, Any]]]:
    way = draw.random()
    if way < 0.6:
        route = draw.choice(BUS_ROUTES)
        yield at, bus_gate(route), {"action": "board", "route_id": route, "full_fare": 200}
        at += timedelta(minutes=draw.uniform(15, 40))
    if way > 0.35:
        home, work = draw.sample(STATIONS, 2)
        yield at, metro_gate(home, "in"), {"action": "enter", "stop_id": home}
        at += timedelta(minutes=draw.uniform(8, 45))
        # Some exits are lost, as everywhere.
        if draw.random() < 0.97:
            yield at, metro_gate(work, "out"), {"action": "exit", "stop_id": work}


def _numbered(
    taps: list[tuple[datetime, str, dict[str, Any]]],
) -> Iterator[dict[str, Any]]:
    sequences: Counter[str] = Counter()
    for at, gate_id, tap in taps:
        sequences[gate_id] += 1
        sequence = int(at.timestamp()) // 86_400 * 1_000_000 + sequences[gate_id]
        tap_id = uuid5(NAMESPACE_URL, f"{gate_id} {sequence} {tap['media_token']}")
        yield {
            "tap_id": str(tap_id),
            "gate_id": gate_id,
            "sequence": sequence,
            "tapped_at": at.isoformat(timespec="seconds"),
            **tap,
        }


class CityClient:
    """Speaks to a gateway as the back office and as its gates."""

    def __init__(self, session: aiohttp.ClientSession, address: str, token: str) -> None:
        self._session = session
        self._address = address
        self._token = token
        self._keys: dict[str, tuple[str, bytes]] = {}

    async def register(self) -> None:
        await self.post("/v1/registry", city())
        gate_ids = [gate["gate_id"] for gate in city()["gates"]]
        issued = await self.post("/v1/gate-keys", {"gate_ids": gate_ids, "replace": True})
        for key in issued["keys"]:
            self._keys[key["gate_id"]] = (key["key_id"], bytes.fromhex(key["secret"]))
        await self.post("/v1/wallets", wallets())

    def share_keys(self, other: CityClient) -> None:
        """Sign with the keys that another client was issued."""
        self._keys = other._keys

    def key_of(self, gate_id: str) -> tuple[str, bytes]:
        return self._keys[gate_id]

    async def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"}
        return msgspec.json.decode(await self._send("GET", path, b"", headers))

    async def post(self, path: str, message: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"}
        body = msgspec.json.encode(message)
        return msgspec.json.decode(await self._send("POST", path, body, headers))

    async def tap(
        self, tap: dict[str, Any], *, patience_seconds: float = _PATIENCE_SECONDS
    ) -> dict[str, Any]:
        """Post one tap, signed by its gate. Resent until it is answered: that is safe."""
        answer = await self.tap_bytes(tap, patience_seconds=patience_seconds)
        found: dict[str, Any] = msgspec.json.decode(answer)
        return found

    async def tap_bytes(
        self, tap: dict[str, Any], *, patience_seconds: float = _PATIENCE_SECONDS
    ) -> bytes:
        """The same, with the answer as it came."""
        body = msgspec.json.encode(tap)
        until = time.monotonic() + patience_seconds
        while True:
            key_id, secret = self._keys[tap["gate_id"]]
            timestamp = str(int(time.time()))
            headers = {
                KEY_HEADER: key_id,
                TIMESTAMP_HEADER: timestamp,
                SIGNATURE_HEADER: sign(secret, "POST", "/v1/taps", timestamp, body),
            }
            try:
                return await self._send("POST", "/v1/taps", body, headers)
            except (aiohttp.ClientConnectionError, aiohttp.ClientResponseError) as error:
                is_final = isinstance(error, aiohttp.ClientResponseError) and error.status != 503
                if is_final or time.monotonic() > until:
                    raise
                await asyncio.sleep(0.2)

    async def _send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        headers = {**headers, "Content-Type": "application/json"}
        async with self._session.request(
            method, self._address + path, data=body, headers=headers
        ) as response:
            said = await response.read()
            response.raise_for_status()
            return said


async def simulate(client: CityClient, taps_per_second: float, stop: asyncio.Event) -> None:
    """Let riders go to work for ever, at a gentle rate and at the present time."""
    seed = int(time.time())
    # Gates count up by one; after a restart they go on higher than they ever were.
    first, counted = time.time_ns() // 1_000_000, Counter[str]()
    while not stop.is_set():
        for tap in morning(datetime.now(ZONE).date(), seed):
            if stop.is_set():
                return
            now = datetime.now(ZONE)
            sequence = first + counted[tap["gate_id"]]
            counted[tap["gate_id"]] += 1
            tap_id = str(uuid5(NAMESPACE_URL, f"{tap['tap_id']} {sequence}"))
            # A gate whose key was revoked is refused; the others go on.
            with contextlib.suppress(aiohttp.ClientResponseError):
                await client.tap(
                    {**tap, "tap_id": tap_id, "sequence": sequence, "tapped_at": now.isoformat()}
                )
            await asyncio.sleep(1 / taps_per_second)
        seed += 1
