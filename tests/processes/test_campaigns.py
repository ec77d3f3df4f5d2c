"""2,000 riders claim at two gateways at once: exactly as many get it as there is to give."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import aiohttp
import msgspec
import pytest
from _stack import Gateway, run_faregate

from gateway.example_city import CityClient

FOLDER = Path(__file__).parents[1] / "stories" / "midnight_campaign"
RIDERS_COUNT = 2_000
USES, CLAIMS = 700, 20


@pytest.fixture
def gateways(folder: Path, database: str) -> Iterator[list[Gateway]]:
    tariffs = folder / "tariffs"
    tariffs.mkdir()
    for path in FOLDER.iterdir():
        text = path.read_text("utf-8").replace("budget: 50.00, uses: 15", f"uses: {USES}")
        (tariffs / path.name).write_text(text, "utf-8")
    found = [
        Gateway(folder, database, FAREGATE_TARIFFS_DIR=str(tariffs), FAREGATE_TAP_AGE_DAYS_MAX="0",
                FAREGATE_RETENTION_DAYS="400")
        for _ in range(2)
    ]  # fmt: skip
    for gateway in found:
        gateway.start()
    yield found
    for gateway in found:
        assert gateway.stop() == 0


def city() -> dict[str, Any]:
    gates = [
        {"gate_id": f"luohu {way} {number}", "operator_id": "metro", "network": "metro"}
        for way in ("enter", "exit")
        for number in range(20)
    ]
    return {
        "operators": [{"operator_id": name, "name": name} for name in ("metro", "icbc", "abc")],
        "stops": [{"stop_id": "luohu"}, {"stop_id": "laojie"}],
        "gates": gates,
    }


def wallet(number: int) -> dict[str, Any]:
    wallet_id = uuid5(NAMESPACE_URL, f"rider {number}")
    return {
        "wallet_id": str(wallet_id),
        "issuer_id": "icbc",
        "media": [{"media_token": f"card {number}"}],
        "top_up": {"top_up_id": str(uuid5(wallet_id, "first")), "amount_fen": 5_000},
    }


def taps(number: int, at: datetime) -> list[dict[str, Any]]:
    return [
        {
            "tap_id": str(uuid5(NAMESPACE_URL, f"tap {number} {action}")),
            "gate_id": f"luohu {action} {number % 20}",
            "sequence": number,
            "tapped_at": (at + timedelta(minutes=later)).isoformat(),
            "media_token": f"card {number}",
            "action": action,
            "stop_id": stop,
            "offline": True,
        }
        for action, stop, later in (("enter", "luohu", 0), ("exit", "laojie", 20))
    ]


@pytest.mark.timeout(240)
async def test_no_ride_and_no_coupon_too_many(gateways: list[Gateway]) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=128)) as session:
        clients = [
            CityClient(session, gateway.address, await asyncio.to_thread(gateway.admin_token))
            for gateway in gateways
        ]
        await asyncio.sleep(0.3)
        await clients[0].post("/v1/registry", city())
        names = [gate["gate_id"] for gate in city()["gates"]]
        issued = await clients[0].post("/v1/gate-keys", {"gate_ids": names})
        for key in issued["keys"]:
            clients[0]._keys[key["gate_id"]] = (key["key_id"], bytes.fromhex(key["secret"]))
        clients[1].share_keys(clients[0])
        for start in range(0, RIDERS_COUNT, 500):
            await clients[0].post(
                "/v1/wallets", [wallet(number) for number in range(start, start + 500)]
            )
        await asyncio.sleep(0.3)
        at = datetime.now(UTC) - timedelta(minutes=40)

        async def rides(number: int) -> int:
            client, paid = clients[number % 2], 0
            for tap in taps(number, at):
                answer = msgspec.json.decode(await client.tap_bytes(tap, patience_seconds=90))
                paid += any(
                    p["account"] == "sponsor:icbc/october" for p in answer.get("payers", ())
                )
            return paid

        granted = sum(await asyncio.gather(*(rides(number) for number in range(RIDERS_COUNT))))
        assert granted == USES

        async def claims(number: int) -> int:
            path = f"/v1/wallets/{wallet(number)['wallet_id']}/media/card%20{number}/coupons"
            wish = {"promotion_id": "coupon_ride", "activated_at": at.isoformat()}
            async with session.post(
                clients[number % 2]._address + path,
                data=msgspec.json.encode(wish),
                headers={
                    "Authorization": f"Bearer {clients[number % 2]._token}",
                    "Content-Type": "application/json",
                },
            ) as answer:
                assert answer.status in (200, 409), await answer.text()
                return int(answer.status == 200)

        assert sum(await asyncio.gather(*(claims(number) for number in range(200)))) == CLAIMS
        ferries, october = await clients[1].get("/v1/campaigns")
        assert (ferries["claims_count"], october["left_uses"]) == (CLAIMS, 0)
        assert october["left_fen"] + october["spent_fen"] == october["budget_fen"]
        assert october["spent_fen"] == USES * 299
    audited = await asyncio.to_thread(gateways[0].audit)
    assert audited.returncode == 0, audited.stdout


def test_a_gateway_that_would_give_less_than_was_promised_does_not_start(
    folder: Path, database: str
) -> None:
    less = folder / "less"
    less.mkdir()
    for path in FOLDER.iterdir():
        text = path.read_text("utf-8").replace("count: 20", "count: 19")
        (less / path.name).write_text(text, "utf-8")
    for tariffs, starts in ((FOLDER, True), (less, False)):
        gateway = Gateway(
            folder,
            database,
            FAREGATE_TARIFFS_DIR=str(tariffs),
            FAREGATE_TAP_AGE_DAYS_MAX="0",
            FAREGATE_RETENTION_DAYS="400",
        )
        if starts:
            gateway.start()
            assert gateway.stop() == 0
        else:
            said = run_faregate("serve", **gateway.variables)
            assert said.returncode == 3
            assert "cannot run: campaigns.yaml lowers what abc/ferries gives" in said.stderr
