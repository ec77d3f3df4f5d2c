"""The load of `loadtest.faults`: clients that keep each tap until it is acknowledged."""

import asyncio
import json
import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import aiohttp

from loadtest.gate_signature import GateKey, signature_headers
from loadtest.records import TAP, TOP_UP, Recorder

CLIENTS_COUNT, RIDERS_COUNT, GATES_COUNT = 12, 300, 24
OPERATORS = ("east", "west")
_RETRY_SECONDS, _REQUEST_SECONDS_MAX = 0.05, 20
# "Not now": all that a gateway may say while something is broken.
_NOT_NOW = (429, 503)
_OUTAGES = (aiohttp.ClientError, OSError, TimeoutError)


class Load:
    """Clients of one gateway, between `start` and `finish`; what they heard is written down."""

    def __init__(
        self, address: str, token: str, folder: Path, *, days_back: int, seed: int
    ) -> None:
        self.breaks: list[str] = []
        self.acknowledged: set[str] = set()
        # When each client was answered last.
        self.answered_at = [0.0] * CLIENTS_COUNT
        self._address, self._token, self.folder = address, token, folder
        self._days_back = days_back
        self._draws = [random.Random(f"{seed} {number}") for number in range(CLIENTS_COUNT)]
        self._sequences: Counter[str] = Counter()
        self._keys: dict[str, GateKey] = {}
        self._clients: list[asyncio.Task[None]] = []
        self._is_finishing = False
        self._rounds_count = 0
        self._recorder = Recorder(None, "")
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS_MAX)
        )

    async def open_city(self) -> None:
        gates = [f"gate-{number}" for number in range(GATES_COUNT)]
        await self._ask("/v1/registry", {
            "operators": [
                {"operator_id": name, "name": name, "bank_account": f"CN{number:014d}"}
                for number, name in enumerate(OPERATORS, 1)
            ],
            "routes": [{"route_id": gate, "network": "bus"} for gate in gates],
            "gates": [
                {"gate_id": gate, "operator_id": OPERATORS[number % 2], "network": "bus"}
                for number, gate in enumerate(gates)
            ],
        })  # fmt: skip
        issued = await self._ask("/v1/gate-keys", {"gate_ids": gates})
        for key in issued["keys"]:
            self._keys[key["gate_id"]] = GateKey(key["key_id"], bytes.fromhex(key["secret"]))
        await self._ask("/v1/wallets", [
            {
                "wallet_id": str(wallet_id(number)),
                "media": [{"media_token": f"rider-{number}"}],
                "top_up": {
                    "top_up_id": str(uuid5(wallet_id(number), "first")), "amount_fen": 100_000
                },
            }
            for number in range(RIDERS_COUNT)
        ])  # fmt: skip
        # Until both workers have read of the gates.
        await asyncio.sleep(0.5)

    def start(self) -> None:
        self._rounds_count += 1
        self._recorder = Recorder(self.folder, f"round-{self._rounds_count}")
        self._is_finishing = False
        self._clients = [
            asyncio.create_task(self._client(number)) for number in range(CLIENTS_COUNT)
        ]

    def check(self) -> None:
        """Raises: what ended a client, if one has ended."""
        for client in self._clients:
            if client.done():
                client.result()

    async def finish(self) -> None:
        """Nothing new, but whatever was begun is sent until it is answered."""
        self._is_finishing = True
        await asyncio.gather(*self._clients)
        self._recorder.close()

    async def close(self) -> None:
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._recorder.close()
        await self._session.close()

    async def _client(self, number: int) -> None:
        """The gates of one client in turn; some requests twice, some taps days late."""
        draw = self._draws[number]
        gates = [f"gate-{n}" for n in range(number, GATES_COUNT, CLIENTS_COUNT)]
        while not self._is_finishing:
            gate = draw.choice(gates)
            taps = [self._tap(gate, draw) for _ in range(draw.choice((1, 1, 1, 5, 20)))]
            first = await self._send(number, gate, taps)
            if draw.random() < 0.1 and await self._send(number, gate, taps) != first:
                self.breaks.append(f"{gate} {self._sequences[gate]}: answered otherwise again")
            if draw.random() < 0.05:
                await self._top_up(draw)

    def _tap(self, gate: str, draw: random.Random) -> dict[str, Any]:
        self._sequences[gate] += 1
        back = draw.choice((0, draw.randrange(self._days_back)))
        at = datetime.now(UTC) - timedelta(days=back, minutes=draw.randrange(600))
        return {
            "tap_id": str(uuid5(NAMESPACE_URL, f"{gate} {self._sequences[gate]}")),
            "gate_id": gate,
            "sequence": self._sequences[gate],
            "tapped_at": at.isoformat(),
            "media_token": f"rider-{draw.randrange(RIDERS_COUNT)}",
            "action": "board",
            "route_id": gate,
            "full_fare": draw.choice((200, 300, 450)),
            "offline": True,
        }

    async def _send(self, number: int, gate: str, taps: list[dict[str, Any]]) -> list[Any]:
        body = json.dumps(taps).encode()
        found = await self._post(
            "/v1/taps",
            body,
            lambda: signature_headers(
                self._keys[gate], "POST", "/v1/taps", body, unix_seconds=int(time.time())
            ),
        )
        if [one["tap_id"] for one in found] != [tap["tap_id"] for tap in taps]:
            self.breaks.append(f"{gate}: {len(taps)} taps were answered with others")
        for one in found:
            self._recorder.write(TAP, one["tap_id"], one["outcome"])
            self.acknowledged.add(one["tap_id"])
        self.answered_at[number] = time.monotonic()
        return found

    async def _top_up(self, draw: random.Random) -> None:
        wallet = wallet_id(draw.randrange(RIDERS_COUNT))
        top_up_id = uuid5(NAMESPACE_URL, f"top-up {draw.random()}")
        message = {"top_up_id": str(top_up_id), "amount_fen": 1_000}
        await self._ask(f"/v1/wallets/{wallet}/top-ups", message)
        self._recorder.write(TOP_UP, top_up_id, 1_000, wallet)

    async def _ask(self, path: str, message: Any) -> Any:
        """As the desk."""
        headers = {"Authorization": f"Bearer {self._token}"}
        return await self._post(path, json.dumps(message).encode(), lambda: headers)

    async def _post(self, path: str, body: bytes, headers: Any) -> Any:
        """The same bytes until they are answered. Raises: RuntimeError for a refusal."""
        while True:
            try:
                async with self._session.post(
                    self._address + path,
                    data=body,
                    headers={**headers(), "Content-Type": "application/json"},
                ) as answer:
                    if answer.status < 300:
                        return await answer.json()
                    if answer.status not in _NOT_NOW:
                        raise RuntimeError(f"{path}: {answer.status} {await answer.text()}")
            except _OUTAGES:
                pass
            await asyncio.sleep(_RETRY_SECONDS)


def wallet_id(number: int) -> UUID:
    return uuid5(NAMESPACE_URL, f"faults rider {number}")
