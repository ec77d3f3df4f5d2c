"""Two gateways on one database, given the same taps at the same moment."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from datetime import date

import aiohttp
import pytest
from _stack import ROOT, Stack, environment

from gateway.example_city import CityClient, morning, wallets


class Second:
    """`faregate serve` on the database and the master key of a running stack."""

    def __init__(self, stack: Stack) -> None:
        self.other = Stack(stack.folder)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve"],
            cwd=ROOT,
            env=environment(
                FAREGATE_DATABASE_URL=f"postgresql://postgres@/postgres?host={stack.socket_folder}",
                FAREGATE_GATE_MASTER_KEY_FILE=str(stack.folder / "gate_master_key"),
                FAREGATE_PORT=str(self.other.port),
                FAREGATE_TAP_AGE_DAYS_MAX="36500",
                FAREGATE_REGISTRY_POLL_MS="50",
            ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 20
        while not self.other.is_ready():
            assert time.monotonic() < until, "the second gateway did not become ready"
            time.sleep(0.05)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.mark.timeout(120)
async def test_both_give_the_same_answer_and_one_debit(stack: Stack) -> None:
    second = Second(stack)
    token = stack.token_file.read_text().strip()
    taps = morning(date(2018, 9, 3))[:200]
    async with aiohttp.ClientSession() as session:
        first_client = CityClient(session, stack.address, token)
        await first_client.register()
        second_client = CityClient(session, second.other.address, token)
        second_client.share_keys(first_client)
        await asyncio.sleep(0.3)
        pairs = []
        for start in range(0, len(taps), 20):
            both = [(first_client.tap(t), second_client.tap(t)) for t in taps[start : start + 20]]
            found = await asyncio.gather(*(call for pair in both for call in pair))
            pairs += list(zip(found[::2], found[1::2], strict=True))
        held = [
            (await first_client.get(f"/v1/wallets/{one['wallet_id']}"))["balance_fen"]
            for one in wallets()
        ]
    assert all(one == other for one, other in pairs)
    charged = sum(one["fare_fen"] for one, _ in pairs)
    assert sum(held) == 10_000 * len(held) - charged
    assert second.stop() == 0
    assert stack.stop(signal.SIGTERM) == 0
    assert stack.audit().stdout.splitlines()[-1] == "audit passed"


def test_serving_on_a_database_without_its_tables_is_refused(stack: Stack) -> None:
    dsn = f"postgresql://postgres@/template1?host={stack.socket_folder}"
    said = subprocess.run(
        [sys.executable, "-m", "gateway", "serve"],
        cwd=ROOT,
        env=environment(FAREGATE_DATABASE_URL=dsn, FAREGATE_GATE_MASTER_KEY="ab" * 32),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert said.returncode == 3
    assert "faregate db upgrade" in said.stderr
