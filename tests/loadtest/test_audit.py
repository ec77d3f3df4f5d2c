"""The audit after a load test passes a true database, and finds each way of being untrue."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from loadtest import audit
from loadtest.back_office import BackOffice, Refused
from loadtest.records import TAP, TOP_UP, Recorder, read_records
from tests.conftest import Client


class Run(NamedTuple):
    """A small load test that is over: the gateway's client, its database, what was recorded."""

    client: Client
    dsn: str
    records: Path

    async def broken(self) -> set[str]:
        checks = await audit.audit(self.dsn, self.records, None, recompute=False)
        return {check.name for check in checks if not check.is_passed}

    async def tamper(self, *statements: str) -> None:
        """Change the database behind the gateway's back, past the triggers that would refuse it."""
        connection = await asyncpg.connect(self.dsn)
        await connection.execute("SET session_replication_role = replica")
        for statement in statements:
            assert not (await connection.execute(statement)).endswith(" 0"), statement
        await connection.close()

    def record(self, kind: str, id: object, answer: object, wallet_id: object = "") -> None:
        recorder = Recorder(self.records, "more")
        recorder.write(kind, id, answer, wallet_id)
        recorder.close()


@pytest.fixture
async def run(door: Client, server_dsn: str, tmp_path: Path) -> Run:
    records = tmp_path / "records"
    recorder = Recorder(records, "part-0")
    wallet_id = await door.open_wallet("card-1", fen=10_000)
    said = []
    for tap in (door.metro_tap("enter"), door.metro_tap("enter"), door.tap()):
        answer: dict[str, Any] = (await door.post_taps(tap)).message
        said.append(answer["outcome"])
        recorder.write(TAP, tap["tap_id"], answer["outcome"])
    assert "passed_back" in said
    assert "ride_charged" in said
    top_up_id = str(uuid4())
    money = {"top_up_id": top_up_id, "amount_fen": 500}
    paid = await door.ask("POST", f"/v1/wallets/{wallet_id}/top-ups", money)
    assert paid.status == 200
    recorder.write(TOP_UP, top_up_id, 500, wallet_id)
    recorder.close()
    database = await door.api.pool.fetchval("SELECT current_database()")
    return Run(door, urlsplit(server_dsn)._replace(path=f"/{database}").geturl(), records)


async def test_a_true_database_passes_and_a_desk_is_told_the_same(run: Run):
    assert await run.broken() == set()
    with BackOffice(run.client.address, run.client.tokens["finance"]) as office:
        checks = await asyncio.to_thread(
            lambda: asyncio.run(audit.audit(run.dsn, run.records, office, recompute=False))
        )
    said = {check.name: check.said for check in checks}
    assert all(check.is_passed for check in checks)
    assert said["each tap that was answered is logged exactly once"] == "3"
    assert said["a desk is told of a tap what its gate was told"] == "3"


async def test_a_desk_that_is_not_let_in_is_no_difference(run: Run):
    with BackOffice(run.client.address, "no token") as office:
        asking = asyncio.to_thread(
            lambda: asyncio.run(audit.audit(run.dsn, run.records, office, recompute=False))
        )
        with pytest.raises(Refused, match="401"):
            await asking


async def test_a_tap_that_was_answered_but_is_not_logged(run: Run):
    run.record(TAP, uuid4(), "ride_charged")
    assert await run.broken() == {"each tap that was answered is logged exactly once"}


async def test_an_outcome_that_no_gate_heard(run: Run):
    await run.tamper("UPDATE tap SET outcome = 'double_beep' WHERE outcome = 'leg_opened'")
    assert await run.broken() == {"with the outcome that its gate heard"}


async def test_a_repeat_that_was_answered_otherwise(run: Run):
    tap_id = next(heard.id for heard in read_records(run.records) if heard.answer == "ride_charged")
    run.record(TAP, tap_id, "ride_owed")
    assert "an answer heard again is the same answer" in await run.broken()


async def test_a_tap_logged_on_two_days(run: Run):
    await run.tamper(
        "CREATE TABLE tap_elsewhere PARTITION OF tap FOR VALUES FROM ('1999-01-01') TO"
        " ('1999-12-31'); INSERT INTO tap SELECT tap_id, wallet_id, wallet_version,"
        " received_at, '1999-02-03', needs_person, outcome, said, facts, answer FROM tap"
    )
    assert {
        "no tap is logged twice",
        "each tap that was answered is logged exactly once",
    } <= await run.broken()


@pytest.mark.parametrize("amount_fen", [500, 700])
async def test_a_top_up_that_was_acknowledged_but_is_not_booked(run: Run, amount_fen: int):
    (top_up,) = (heard for heard in read_records(run.records) if heard.kind == TOP_UP)
    top_up_id = uuid4() if amount_fen == 500 else top_up.id
    run.record(TOP_UP, top_up_id, amount_fen, top_up.wallet_id)
    assert "each top-up that was acknowledged is booked exactly once" in await run.broken()


async def test_a_balance_that_no_entry_explains(run: Run):
    await run.tamper("UPDATE wallet SET balance_fen = balance_fen + 1")
    assert await run.broken() == {"each wallet holds the sum of its entries"}


async def test_an_entry_that_makes_money(run: Run):
    await run.tamper(
        "ALTER TABLE journal_entry DROP CONSTRAINT postings_sum_to_zero",
        "UPDATE journal_entry SET operator_fen = operator_fen + 1 WHERE kind = 'fare'",
    )
    assert await run.broken() == {"every journal entry sums to zero"}


async def test_money_taken_for_a_tap_that_was_refused(run: Run):
    await run.tamper(
        "UPDATE journal_entry SET tap_id = (SELECT tap_id FROM tap WHERE outcome = 'passed_back')"
        " WHERE kind = 'fare'"
    )
    assert await run.broken() == {"nothing is charged for a tap that was refused"}


def test_records_of_nothing_are_no_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    arguments = ["audit", "--dsn", "postgresql://h/d", "--records", str(tmp_path / "misspelt")]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as ended:
        audit.main()
    assert ended.value.code == 2
    assert "misspelt holds no records" in capsys.readouterr().err
