"""Red envelopes over HTTP on a real database, from their announcement to the last grant."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from gateway import audit_path, envelope_path
from gateway.core.envelopes import EnvelopeCampaign
from gateway.envelope_commands import verify
from gateway.shell import envelope_store


@pytest.fixture
def tampering(server_dsn: str) -> Any:
    """Change the database past its triggers, tell what the audit finds, and take it back."""

    @contextlib.asynccontextmanager
    async def change(door, statement: str) -> AsyncIterator[Any]:
        name = await door.api.pool.fetchval("SELECT current_database()")
        connection = await asyncpg.connect(urlsplit(server_dsn)._replace(path=f"/{name}").geturl())
        tables = ("envelope", "envelope_draw", "envelope_registration")
        for table in tables:
            await connection.execute(f"CREATE TABLE kept_{table} AS TABLE {table}")
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(statement)
        report = await audit_path.run_audit(door.api.pool, door.api.book)
        yield report.breaks
        for table in tables:
            await connection.execute(f"DELETE FROM {table}")
            await connection.execute(f"INSERT INTO {table} TABLE kept_{table}")
            await connection.execute(f"DROP TABLE kept_{table}")
        await connection.close()

    return change


async def held_fen(door, wallet_id: str) -> int:
    """What the purses of a wallet hold."""
    wallet = await door.wallet(wallet_id)
    return sum(purse["held_fen"] for purse in wallet.get("purses", []))


@contextlib.contextmanager
def clock_of_envelopes(monkeypatch, at: datetime):
    with monkeypatch.context() as patched:
        patched.setattr("gateway.api.envelopes.now", lambda: at)
        yield


async def test_red_envelopes_from_announcement_to_the_last_grant(
    harbour, monkeypatch, tmp_path, tampering
):
    now = datetime.now(UTC)
    seed = "a seed that nobody was told"
    campaign = {
        "campaign_id": "spring",
        "rule_id": "gift",
        "funder_id": "icbc",
        "envelopes_count": 4,
        "random_amount": {"total_fen": 1_000, "least_fen": 100, "most_fen": 400},
        "registration_opens": (now + timedelta(hours=1)).isoformat(),
        "registration_closes": (now + timedelta(hours=2)).isoformat(),
        "valid_from": (now + timedelta(hours=2)).isoformat(),
        "valid_until": (now + timedelta(days=2)).isoformat(),
        "seed_sha256": sha256(seed.encode()).hexdigest(),
    }
    path = "/v1/envelope-campaigns/spring"
    for _ in range(2):
        assert (await harbour.ask("POST", "/v1/envelope-campaigns", campaign)).status == 200
    other = {**campaign, "envelopes_count": 5}
    (await harbour.ask("POST", "/v1/envelope-campaigns", other)).check_problem(
        409, "campaign_differs"
    )
    wallets = [await harbour.open_wallet(f"card-{n}", fen=100) for n in range(7)]
    # One winner closes the wallet before the envelope comes.
    registers = {"wallet_ids": wallets}
    (await harbour.ask("POST", f"{path}/registrations", registers)).check_problem(
        409, "registration_closed"
    )
    with clock_of_envelopes(monkeypatch, now + timedelta(hours=1, minutes=1)):
        for count in (7, 0):
            said = await harbour.ask("POST", f"{path}/registrations", registers)
            assert said.message == {"new_count": count}
        stranger = {"wallet_ids": [str(uuid4())]}
        (await harbour.ask("POST", f"{path}/registrations", stranger)).check_problem(
            422, "unknown_wallet"
        )
        draws = {"seed": seed, "public_value": "3312.67"}
        (await harbour.ask("POST", f"{path}/draw", draws)).check_problem(409, "registration_open")
    with clock_of_envelopes(monkeypatch, now + timedelta(hours=3)):
        (await harbour.ask("POST", f"{path}/draw", {**draws, "seed": "x" * 20})).check_problem(
            409, "seed_differs"
        )
        first, again = [await harbour.ask("POST", f"{path}/draw", draws) for _ in range(2)]
        assert (first.status, first.body) == (200, again.body)
        (await harbour.ask("POST", f"{path}/draw", {**draws, "public_value": "1"})).check_problem(
            409, "drawn_otherwise"
        )
        winners = await harbour.api.pool.fetch("SELECT wallet_id FROM envelope ORDER BY rank")
        assert len(winners) == 4
        gone = str(winners[0]["wallet_id"])
        assert (await harbour.ask("POST", f"/v1/wallets/{gone}/close")).status == 200
        for _ in range(2):
            assert (await harbour.ask("POST", f"{path}/grants")).message == {"left_count": 0}
    report = (await harbour.ask("GET", path)).message
    assert (report["granted_count"], report["refused_count"]) == (3, 1)
    in_wallets = [await held_fen(harbour, wallet_id) for wallet_id in wallets]
    assert sum(in_wallets) == report["granted_fen"]
    assert sum(fen > 0 for fen in in_wallets) == 3
    listed = await harbour.ask("GET", f"{path}/list")
    (tmp_path / "list.json").write_bytes(listed.body)
    assert verify(tmp_path / "list.json") == 0
    forged = msgspec.json.decode(listed.body)
    forged["winners"][0]["ticket"], forged["winners"][1]["ticket"] = (
        forged["winners"][1]["ticket"],
        forged["winners"][0]["ticket"],
    )
    (tmp_path / "list.json").write_bytes(msgspec.json.encode(forged))
    assert verify(tmp_path / "list.json") == 1
    for change, fault in {
        "UPDATE envelope SET amount_fen = 400": "the same seed and tickets draw others",
        "UPDATE envelope_draw SET public_value = '1'": "the same seed and tickets draw others",
        "UPDATE envelope_draw SET seed = 'another'": "its seed is not the one that was promised",
        "DELETE FROM envelope_registration": "the same seed and tickets draw others",
        "UPDATE envelope SET refusal = NULL": f"drawn {drawn_fen(listed.message, gone)}, granted 0",
    }.items():
        async with tampering(harbour, change) as breaks:
            assert [one.fault for one in breaks if fault in one.fault], breaks


async def test_who_registers_at_the_last_moment_is_in_the_draw(harbour, tmp_path):
    """A registration is still being saved when the draw is made; its tickets are in the list."""
    now, seed, pool = datetime.now(UTC), "a seed that nobody was told", harbour.api.pool
    opens, closes = now + timedelta(hours=1), now + timedelta(hours=2)
    campaign = {
        "campaign_id": "spring", "rule_id": "gift", "funder_id": "icbc", "envelopes_count": 2,
        "amount_fen": 100, "registration_opens": opens.isoformat(),
        "registration_closes": closes.isoformat(), "valid_from": closes.isoformat(),
        "valid_until": (now + timedelta(days=2)).isoformat(),
        "seed_sha256": sha256(seed.encode()).hexdigest(),
    }  # fmt: skip
    path = "/v1/envelope-campaigns/spring"
    assert (await harbour.ask("POST", "/v1/envelope-campaigns", campaign)).status == 200
    wallets = [UUID(await harbour.open_wallet(f"card-{n}", fen=100)) for n in range(5)]
    assert await envelope_path.register(pool, "spring", wallets[:3], issuer_id=None, now=opens) == 3
    async with pool.acquire() as slow:
        saving = slow.transaction()
        await saving.start()
        await slow.execute(
            "INSERT INTO envelope_registration VALUES ('spring', $1, $2)", wallets[3], now
        )
        last = closes - timedelta(microseconds=1)
        registering = asyncio.create_task(
            envelope_path.register(pool, "spring", wallets[3:], issuer_id=None, now=last)
        )
        await _waiting(pool, 1)
        drawing = asyncio.create_task(
            envelope_path.run_draw(pool, "spring", seed=seed, public_value="1", now=closes)
        )
        waits = asyncio.create_task(_waiting(pool, 2))
        await asyncio.wait([drawing, waits], return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()
        await saving.rollback()
        assert await registering == 2
    drawn = await drawing
    listed = await harbour.ask("GET", f"{path}/list")
    (tmp_path / "list.json").write_bytes(listed.body)
    assert verify(tmp_path / "list.json") == 0
    assert len(listed.message["tickets"]) == 5
    assert listed.message["draw"]["winners_sha256"] == drawn.winners_sha256
    # A clock that is behind at another process registers nobody once it is drawn.
    late = [UUID(await harbour.open_wallet("late", fen=100))]
    refused = await envelope_path.register(pool, "spring", late, issuer_id=None, now=last)
    assert refused == "registration_closed"


async def test_of_two_who_grant_at_once_neither_denies_what_the_other_gave(harbour):
    """One finds the wallets full and says so, before or after the other has granted."""
    now, seed, pool = datetime.now(UTC), "a seed that nobody was told", harbour.api.pool
    campaign = EnvelopeCampaign(
        "spring", "gift", "icbc", 2, now, now + timedelta(hours=1), now, now + timedelta(days=2),
        sha256(seed.encode()).hexdigest(), amount_fen=100,
    )  # fmt: skip
    await envelope_store.save_campaign(pool, campaign, now)
    wallets = [UUID(await harbour.open_wallet(f"card-{n}", fen=100)) for n in range(2)]
    await envelope_path.register(pool, "spring", wallets, issuer_id=None, now=now)
    at = campaign.registration_closes
    await envelope_path.run_draw(pool, "spring", seed=seed, public_value="1", now=at)
    async with pool.acquire() as slow:
        riding = slow.transaction()
        await riding.start()
        await slow.execute("SELECT FROM wallet FOR UPDATE")
        registry, book = harbour.api.door.registry.current, harbour.api.book
        granting = asyncio.create_task(
            envelope_path.grant_envelopes(
                pool, "spring", registry=registry, book=book, now=at, envelopes_max=10
            )
        )
        await _waiting(pool, 1)
        await envelope_store.save_decided(pool, "spring", [1], ["balance_limit"], at)
        await riding.rollback()
    assert await granting == 0
    await envelope_store.save_decided(pool, "spring", [2], ["balance_limit"], at)
    progress = await envelope_store.load_progress(pool, "spring")
    assert (progress["granted_count"], progress["refused_count"]) == (2, 0)
    for wallet_id in wallets:
        assert await held_fen(harbour, str(wallet_id)) == 100


async def _waiting(pool: asyncpg.Pool, count: int) -> None:
    """Until so many wait for a lock."""
    async with asyncio.timeout(30):
        while True:
            waiting = await pool.fetchval(
                """SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
                WHERE datname = current_database() AND NOT granted"""
            )
            if waiting >= count:
                return
            await asyncio.sleep(0.01)


def drawn_fen(listed: Any, wallet_id: str) -> int:
    """What the list says was in a wallet's envelope."""
    ticket = sha256(f"spring\n{wallet_id}".encode()).hexdigest()
    return next(one["amount_fen"] for one in listed["winners"] if one["ticket"] == ticket)
