"""SQL keeps the core's promises: what is written stays, and a cut connection loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_OID, uuid4, uuid5

import asyncpg
import pytest
from msgspec import structs

from fare_rules import load_book
from gateway.audit_path import run_audit
from gateway.core.decide import Limits, Plan, decide
from gateway.core.ledger import POSTINGS_MAX
from gateway.core.payment_order import Debtor
from gateway.core.registry import Gate, Operator, Route, Stop
from gateway.core.taps import Action, Tap, TapOutcome
from gateway.core.wallet_wishes import BindMedia, OpenWallet, TopUp, Wish
from gateway.registry_path import City, run_city_registration
from gateway.settlement_path import CloseRefused, run_settlement_close
from gateway.shell import tap_store
from gateway.shell.batcher import Batcher
from gateway.shell.database import connect, open_pool
from gateway.shell.kept_store import list_taps_for_a_person
from gateway.shell.registry_store import load_registry
from gateway.shell.settings import Settings
from gateway.shell.tap_store import tap_work
from gateway.shell.transactions import RACES
from gateway.tap_path import run_tap_batch
from gateway.wallet_path import run_wallet_wishes

DEBTOR = Debtor("Clearing House", "EXAMPLE0001", "EXAMCNBJ")
BOOK = load_book(Settings().tariffs_dir)
LIMITS = Limits(tap_ahead_max=timedelta(minutes=5), tap_age_max=timedelta(days=36_500))
NOW = datetime(2018, 9, 3, 4, tzinfo=UTC)
CITY = City(
    operators=(Operator("buses", "Harbour Buses"),),
    stops=(Stop("pier"),),
    routes=(Route("M1", "bus"), Route("M2", "bus")),
    gates=(Gate("bus-1", "buses", "bus"),),
)


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await open_pool(database)
    await run_city_registration(pool, CITY)
    wishes = [
        OpenWallet(uuid4(), media=(BindMedia(f"card-{n}"),), top_up=TopUp(uuid4(), 10_000))
        for n in range(20)
    ]
    await run_wallet_wishes(
        pool,
        [Wish(wish.wallet_id, opens=wish) for wish in wishes],
        registry=await load_registry(pool),
        book=BOOK,
        now=NOW,
        floor_fen=0,
    )
    yield pool
    await pool.close()


def boarding(card: str, sequence: int, *, minute: int = 0, route: str = "M1") -> Tap:
    return Tap(
        tap_id=uuid4(),
        gate_id="bus-1",
        sequence=sequence,
        tapped_at=datetime(2018, 9, 3, 0, minute, tzinfo=UTC),
        media_token=card,
        action=Action.BOARD,
        route_id=route,
        full_fare=200,
    )


async def ride(pool: asyncpg.Pool, database: str, taps: Sequence[Tap]) -> Plan:
    connection = await connect(database)
    try:
        return await run_tap_batch(
            connection,
            taps,
            registry=await load_registry(pool),
            book=BOOK,
            limits=LIMITS,
            received_at=NOW,
        )
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE journal_entry SET purse_fen = 0, operator_fen = 0",
        "DELETE FROM journal_entry",
        "DELETE FROM tap",
        "TRUNCATE tap",
    ],
)
async def test_the_gateway_may_not_edit_the_ledger_and_its_owner_cannot(
    pool: asyncpg.Pool, database: str, edit: str
) -> None:
    await ride(pool, database, [boarding("card-0", 1)])
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(edit)
    owner = await asyncpg.connect(database)
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await owner.execute(edit)
    await owner.close()


async def post_like_the_fare(pool: asyncpg.Pool, amounts_fen: Sequence[int]) -> None:
    purse_fen, operator_fen, *others_fen = amounts_fen
    debt_fen, shares_fen = (others_fen or [None])[0], others_fen[1:]
    sponsors_fen, purses_fen = shares_fen[:13], shares_fen[13:]
    await pool.execute(
        """INSERT INTO journal_entry (
            wallet_id, wallet_version, effective_at, recorded_at, service_day, settlement_day,
            purse_fen, debt_fen, operator_fen, cause_id, tap_id, ride_count, kind,
            operator_id, product_id, sponsors, sponsors_fen, purses, purses_fen
        )
        SELECT wallet_id, 1000 + random() * 1000000, effective_at, recorded_at, service_day,
            settlement_day, $1, $2, $3, cause_id, tap_id, ride_count, kind, operator_id, product_id,
            $4, $5, $6, $7
        FROM journal_entry WHERE kind = 'fare'""",
        purse_fen,
        debt_fen,
        operator_fen,
        [f"bank_{n}" for n in range(len(sponsors_fen))] or None,
        sponsors_fen or None,
        [uuid5(NAMESPACE_OID, str(n)) for n in range(len(purses_fen))] or None,
        purses_fen or None,
    )


@pytest.mark.parametrize("postings_count", range(2, POSTINGS_MAX + 1))
async def test_an_entry_that_does_not_sum_to_zero_is_refused(
    pool: asyncpg.Pool, database: str, postings_count: int
) -> None:
    await ride(pool, database, [boarding("card-0", 1)])
    amounts_fen = [-1] * (postings_count - 1) + [postings_count - 1]
    await post_like_the_fare(pool, amounts_fen)
    with pytest.raises(asyncpg.CheckViolationError, match="postings_sum_to_zero"):
        await post_like_the_fare(pool, [*amounts_fen[:-1], amounts_fen[-1] + 1])


async def test_an_entry_of_more_postings_than_the_gateway_makes_is_refused(
    pool: asyncpg.Pool, database: str
) -> None:
    await ride(pool, database, [boarding("card-0", 1)])
    with pytest.raises(asyncpg.CheckViolationError, match="named_purses"):
        await post_like_the_fare(pool, [-1] * POSTINGS_MAX + [POSTINGS_MAX])


async def batcher_on(pool: asyncpg.Pool, database: str, *, batch_taps_max: int = 512) -> Batcher:
    registry = await load_registry(pool)

    async def run_batch(
        connection: asyncpg.Connection, taps: Sequence[Tap], is_locking: bool
    ) -> Plan:
        return await run_tap_batch(
            connection,
            taps,
            registry=registry,
            book=BOOK,
            limits=LIMITS,
            received_at=NOW,
            is_locking=is_locking,
        )

    batcher = Batcher(
        database,
        run_batch,
        lanes_count=2,
        batch_taps_max=batch_taps_max,
        queue_taps_max=1000,
        commit_timeout_seconds=10,
    )
    batcher.start()
    return batcher


async def test_connections_cut_at_any_moment_leave_every_tap_answered_and_charged_once(
    pool: asyncpg.Pool, database: str
) -> None:
    batcher = await batcher_on(pool, database, batch_taps_max=8)
    owner = await asyncpg.connect(database)
    taps = [boarding(f"card-{n % 20}", n, minute=n % 60, route=f"M{n % 2 + 1}") for n in range(300)]
    answering = [asyncio.create_task(batcher.submit([tap])) for tap in taps]
    while not all(task.done() for task in answering):
        await owner.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND usename IS NOT NULL
            AND query ILIKE ANY (ARRAY['COPY%', 'COMMIT%', '%UPDATE wallet%'])
            AND pid <> pg_backend_pid()"""
        )
        await asyncio.sleep(0.01)
    answers = [(await task)[0] for task in answering]
    await batcher.drain()
    await owner.close()
    assert {answer.result.outcome for answer in answers} == {TapOutcome.RIDE_CHARGED}
    assert await pool.fetchval("SELECT count(*) FROM tap") == len(taps)
    report = await run_audit(pool, BOOK)
    assert report.breaks == ()
    # Each answer was the charge of its moment; a tap that came out of order corrected others later.
    assert report.rider_fen + report.operator_fen + report.bank_fen == 0


async def test_a_close_waits_for_the_tap_in_flight_and_the_next_tap_joins_the_next_period(
    pool: asyncpg.Pool, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap_store, "_AT_ONCE_MAX", 0)
    connection = await connect(database)
    day = date(2018, 9, 3)
    async with tap_work(connection) as work:
        snapshot = await work.load_snapshot(
            [boarding("card-1", 1)], await load_registry(pool), NOW, [day], is_locking=False
        )
        plan = decide([boarding("card-1", 1)], snapshot, BOOK, LIMITS)
        await work.save_plan(plan, snapshot, slot=0)
        closing = asyncio.create_task(
            run_settlement_close(
                pool, day, book=BOOK, now=datetime.now(UTC), folder=tmp_path, debtor=DEBTOR
            )
        )
        await asyncio.sleep(0.3)
        assert not closing.done()
    settlement, _ = await closing
    await connection.close()
    assert [batch.ride_count for batch in settlement.batches] == [1]
    plan = await ride(pool, database, [boarding("card-1", 2)])
    assert [entry.service_day for entry in plan.entries] == [day]
    assert [entry.settlement_day for entry in plan.entries] == [day + timedelta(days=1)]


@pytest.mark.parametrize("at_once_max", [0, 64], ids=["many taps", "few taps"])
async def test_a_day_that_is_closed_while_a_tap_is_decided_takes_no_entry_any_more(
    pool: asyncpg.Pool,
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    at_once_max: int,
) -> None:
    monkeypatch.setattr(tap_store, "_AT_ONCE_MAX", at_once_max)
    connection = await connect(database)

    async def close() -> None:
        await run_settlement_close(
            pool,
            date(2018, 9, 3),
            book=BOOK,
            now=datetime.now(UTC),
            folder=tmp_path,
            debtor=DEBTOR,
        )

    with pytest.raises(RACES):
        await decide_and_save(connection, pool, boarding("card-1", 1), meanwhile=close)
    await connection.close()
    assert await pool.fetchval("SELECT count(*) FROM journal_entry WHERE kind = 'fare'") == 0
    assert await pool.fetchval("SELECT count(*) FROM tap") == 0


async def test_closing_a_day_twice_gives_the_same_bytes_and_late_taps_go_to_the_next(
    pool: asyncpg.Pool, database: str, tmp_path: Path
) -> None:
    day, now = date(2018, 9, 3), datetime.now(UTC)
    await ride(pool, database, [boarding("card-1", 1), boarding("card-2", 2)])
    first, paths = await run_settlement_close(
        pool, day, book=BOOK, now=now, folder=tmp_path, debtor=DEBTOR
    )
    written = {path.name: path.read_bytes() for path in paths}
    await ride(pool, database, [boarding("card-3", 3)])
    again, paths = await run_settlement_close(
        pool, day, book=BOOK, now=now + timedelta(hours=1), folder=tmp_path, debtor=DEBTOR
    )
    await run_city_registration(
        pool, City(operators=(Operator("buses", "A New Name", "NL91ABNA0417164300"),))
    )
    again, paths = await run_settlement_close(
        pool, day, book=BOOK, now=now, folder=tmp_path, debtor=DEBTOR
    )
    assert again == first
    assert {path.name: path.read_bytes() for path in paths} == written
    later, _ = await run_settlement_close(
        pool, day + timedelta(days=1), book=BOOK, now=now, folder=tmp_path, debtor=DEBTOR
    )
    assert [batch.gross_fen for batch in (*first.batches, *later.batches)] == [320, 160]


async def test_a_lane_has_nothing_compiled(database: str) -> None:
    connection = await connect(database)
    assert await connection.fetchval("SHOW jit") == "off"
    await connection.close()


async def test_a_day_that_is_not_over_cannot_be_closed(pool: asyncpg.Pool, tmp_path: Path) -> None:
    with pytest.raises(CloseRefused, match="not over"):
        await run_settlement_close(
            pool, date(2018, 9, 3), book=BOOK, now=NOW, folder=tmp_path, debtor=DEBTOR
        )


async def test_a_tap_without_place_or_vehicle_is_priced_and_listed_for_a_person(
    pool: asyncpg.Pool, database: str
) -> None:
    nowhere = structs.replace(boarding("card-4", 9), route_id=None)
    plan = await ride(pool, database, [boarding("card-4", 8), nowhere])
    assert [result.fare_fen for result in plan.results] == [160, 160]
    listed = await list_taps_for_a_person(pool, None, 10)
    assert [kept.tap for kept in listed] == [nowhere]
    assert await list_taps_for_a_person(pool, nowhere.tap_id, 10) == []


async def test_a_page_of_one_operators_taps_for_a_person_is_full_when_more_follow(
    pool: asyncpg.Pool, database: str
) -> None:
    """Another operator's taps lie before and between them."""
    await run_city_registration(
        pool,
        City(operators=(Operator("ferries", "Ferries"),), gates=(Gate("quay", "ferries", "bus"),)),
    )
    taps = [
        structs.replace(boarding(f"card-{n}", n), route_id=None, gate_id=("quay", "bus-1")[n % 2])
        for n in range(6)
    ]
    for tap in taps:
        await ride(pool, database, [tap])
    page = await list_taps_for_a_person(pool, None, 2, operator_id="buses")
    rest = await list_taps_for_a_person(pool, page[-1].tap.tap_id, 2, operator_id="buses")
    # All of them came at one moment, so they are listed by their ids.
    own = sorted((taps[1], taps[3], taps[5]), key=lambda tap: tap.tap_id)
    assert [kept.tap for kept in (*page, *rest)] == own
    assert len(await list_taps_for_a_person(pool, None, 10)) == 6


@pytest.mark.parametrize("at_once_max", [0, 64], ids=["many taps", "few taps"])
async def test_two_batches_that_meet_at_a_wallet_are_decided_one_after_the_other(
    pool: asyncpg.Pool, database: str, monkeypatch: pytest.MonkeyPatch, at_once_max: int
) -> None:
    """The slower one has read the wallet before the faster one changed it."""
    monkeypatch.setattr(tap_store, "_AT_ONCE_MAX", at_once_max)
    slow = await connect(database)
    first, second = boarding("card-0", 1), boarding("card-0", 2, minute=1)

    async def overtake() -> None:
        await ride(pool, database, [second])

    with pytest.raises(RACES):
        await decide_and_save(slow, pool, first, meanwhile=overtake)
    await ride(pool, database, [first])
    await slow.close()
    report = await run_audit(pool, BOOK)
    assert report.breaks == ()
    assert await pool.fetchval("SELECT count(*) FROM tap") == 2


async def test_few_taps_and_many_are_kept_in_the_same_rows(
    pool: asyncpg.Pool, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One statement saves what COPY would: known riders and strangers, paid rides and owed ones."""
    batches = [
        [boarding(f"card-{n}", n, minute=n) for n in range(5)],
        [boarding("nobody's", 5), structs.replace(boarding("card-1", 6), route_id=None)],
        [structs.replace(boarding("card-2", 7), full_fare=20_000, offline=True)],
        [structs.replace(boarding("card-3", 8, minute=1), vehicle_id="B 12345")],
    ]
    tables = ("gate_sequence", "tap", "journal_entry", "wallet")
    owner = await asyncpg.connect(database)
    await owner.execute(
        "SET session_replication_role = replica; CREATE TABLE fresh AS TABLE wallet"
    )
    kept = []
    for at_once_max in (0, 64):
        monkeypatch.setattr(tap_store, "_AT_ONCE_MAX", at_once_max)
        for batch in batches:
            await ride(pool, database, batch)
        found = [await owner.fetch(f"SELECT * FROM {table}") for table in tables]
        kept.append([sorted(map(str, rows)) for rows in found])
        await owner.execute(
            "DELETE FROM tap; DELETE FROM gate_sequence; DELETE FROM wallet;"
            "DELETE FROM journal_entry WHERE tap_id IS NOT NULL; INSERT INTO wallet TABLE fresh"
        )
    await owner.close()
    assert len(kept[0][1]) == sum(map(len, batches))
    assert kept[0] == kept[1]


async def decide_and_save(
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    tap: Tap,
    meanwhile: Callable[[], Awaitable[None]],
) -> None:
    """A batch of one, while something else happens between its reading and its saving."""
    registry = await load_registry(pool)
    async with tap_work(connection) as work:
        day = date(2018, 9, 3)
        snapshot = await work.load_snapshot([tap], registry, NOW, [day], is_locking=False)
        await meanwhile()
        await work.save_plan(decide([tap], snapshot, BOOK, LIMITS), snapshot, slot=0)


@pytest.mark.parametrize("code", ["disk_full", "out_of_memory", "query_canceled"])
async def test_a_server_that_could_not_this_time_is_asked_again(
    pool: asyncpg.Pool, database: str, code: str
) -> None:
    owner = await asyncpg.connect(database)
    await owner.execute(
        f"""CREATE SEQUENCE tries;
        CREATE FUNCTION fail_twice() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            IF nextval('tries') < 3 THEN RAISE EXCEPTION USING ERRCODE = '{code}'; END IF;
            RETURN NULL;
        END $$;
        SELECT open_log_day('{NOW:%Y-%m-%d}');
        CREATE TRIGGER fail_twice BEFORE UPDATE ON wallet FOR EACH STATEMENT
        EXECUTE FUNCTION fail_twice()"""
    )
    batcher = await batcher_on(pool, database)
    (answer,) = await batcher.submit([boarding("card-1", 1)])
    await batcher.drain()
    assert answer.result.outcome is TapOutcome.RIDE_CHARGED
    assert not answer.is_repeat
    assert await owner.fetchval("SELECT last_value FROM tries") == 3
    await owner.close()
