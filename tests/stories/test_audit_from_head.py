"""An audit from a verified head finds what a full one finds of all that has changed since."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

import asyncpg
import pytest
from _stores import MIDNIGHT
from _town import RETENTION_DAYS, Town, moment
from msgspec import structs

from fare_rules import load_book
from gateway import audit_parts
from gateway.audit_commands import audit_books
from gateway.audit_parts import Crew
from gateway.audit_path import AuditReport, run_audit, run_head_audit
from gateway.core.audit_heads import Head
from gateway.shell.audit_store import HeadEdited, find_head

BOOK = load_book(MIDNIGHT)
LAST_DAY = 2
RIDERS = ("ann", "bob", "cai", "dan", "eve")


def desk_entries(kind: str, moved_fen: dict[str, int]) -> str:
    """Statements that book something at the desk, wallets and all."""
    return ";".join(
        f"""UPDATE wallet SET version = version + 1, balance_fen = balance_fen + {fen}
        WHERE wallet_id = '{uuid5(NAMESPACE_URL, name)}';
        INSERT INTO journal_entry (wallet_id, wallet_version, effective_at, recorded_at,
            service_day, settlement_day, purse_fen, bank_fen, ride_count, cause_id, kind)
        SELECT wallet_id, version, now(), now(), '2018-09-05', '2018-09-05', {fen}, -({fen}), 0,
            gen_random_uuid(), '{kind}'
        FROM wallet WHERE wallet_id = '{uuid5(NAMESPACE_URL, name)}'"""
        for name, fen in moved_fen.items()
    )


# What is done behind the gateway's back, what a full audit says of it, and what one from a head
# that was made before says.
CHANGES = {
    "a balance": (
        "UPDATE wallet SET balance_fen = balance_fen + 1 WHERE version = 10",
        {"balance_differs"},
        {"balance_differs"},
    ),
    "a memory": (
        "UPDATE wallet SET state = (SELECT state FROM wallet WHERE version = 1) WHERE version = 10",
        {"memory_differs"},
        {"memory_differs"},
    ),
    "a memory that nobody can read": (
        "UPDATE wallet SET state = 'nonsense' WHERE version = 10",
        {"wallet_unreadable", "memory_differs"},
        {"wallet_unreadable", "memory_differs"},
    ),
    "an amount, moved to the operator": (
        "UPDATE journal_entry SET purse_fen = purse_fen - 1, operator_fen = operator_fen + 1"
        " WHERE wallet_version = 2",
        {"balance_differs", "charge_differs", "settlement_differs", "entry_differs"},
        {
            "balance_differs",
            "charge_differs",
            "settlement_differs",
            "verified_day_differs",
            "entry_differs",
        },
    ),
    "an entry that no longer sums to zero": (
        "ALTER TABLE journal_entry DROP CONSTRAINT postings_sum_to_zero;"
        "UPDATE journal_entry SET operator_fen = operator_fen + 1 WHERE wallet_version = 2"
        " AND service_day = '2018-09-05'",
        {
            "entry_unbalanced",
            "entry_unreadable",
            "balance_differs",
            "charge_differs",
            "entry_differs",
        },
        {
            "entry_unbalanced",
            "entry_unreadable",
            "balance_differs",
            "charge_differs",
            "verified_day_differs",
            "entry_differs",
        },
    ),
    "an answer": (
        "UPDATE tap SET answer = (SELECT answer FROM tap WHERE wallet_version = 3 LIMIT 1)"
        " WHERE wallet_version = 2",
        {"answer_differs"},
        {"answer_differs", "verified_day_differs"},
    ),
    "a tap that nobody can read": (
        "UPDATE tap SET said = 'nonsense' WHERE wallet_version = 10",
        {"tap_unreadable", "charge_differs", "memory_differs", "sweep_differs"},
        {
            "tap_unreadable",
            "charge_differs",
            "memory_differs",
            "sweep_differs",
            "verified_day_differs",
        },
    ),
    "a tap that is gone": (
        "DELETE FROM tap WHERE wallet_version = 10",
        {"charge_differs", "entry_without_tap", "memory_differs", "sweep_differs"},
        {"verified_day_differs"},
    ),
    "an entry that is gone": (
        "DELETE FROM journal_entry WHERE wallet_version = 2",
        {"balance_differs", "charge_differs", "settlement_differs", "entry_differs"},
        {"verified_day_differs"},
    ),
    "a day opened again": (
        "UPDATE settlement_clock SET closed_through = '2018-09-03'",
        {"clock_differs"},
        {"clock_differs", "clock_set_back"},
    ),
    "a clock that is gone": (
        "DELETE FROM settlement_clock",
        {"clock_differs"},
        {"clock_differs", "clock_set_back"},
    ),
    "a ride that is to be settled later": (
        "UPDATE journal_entry SET settlement_day = '2018-09-09' WHERE service_day = '2018-09-05'"
        " AND wallet_version = 8",
        {"entry_in_wrong_period"},
        {"entry_in_wrong_period", "verified_day_differs"},
    ),
    "a payment that nobody gave back": (
        "INSERT INTO payout_return VALUES ('9-nobody', 'bus', 1000, 'AC01', now())",
        {"return_without_bank"},
        {"return_without_bank"},
    ),
    "a transfer that nobody asked for": (
        desk_entries("transfer", {"ann": 1_000, "bob": -1_000}),
        {"transfer_differs", "entry_differs"},
        {"transfer_differs", "entry_differs"},
    ),
    "a payout of a wallet that is open": (
        desk_entries("payout", {"ann": -1_000}),
        {"payout_without_close", "entry_differs"},
        {"payout_without_close", "entry_differs"},
    ),
    "an auto top-up that nobody's rule asked for": (
        desk_entries("auto_top_up", {"ann": 1_000}),
        {"entry_differs", "memory_differs"},
        {"entry_differs", "memory_differs"},
    ),
    "money carried from no settlement": (
        "INSERT INTO settlement_batch (settlement_day, operator_id, ride_count, gross_fen,"
        " carried_in_fen, paid_fen, carried_out_fen, shared_fen, fees_fen)"
        " VALUES ('2018-09-05', 'bus', 0, 0, 1000, 0, 1000, 0, 0)",
        {"batch_without_settlement"},
        {"batch_without_settlement"},
    ),
    "a settlement": (
        "UPDATE settlement_manifest SET manifest = manifest || ' '",
        {"settlement_differs"},
        {"settlement_differs"},
    ),
    "the hash of a settlement": (
        "UPDATE settlement_manifest SET manifest_sha256 = repeat('0', 64)"
        " WHERE settlement_day = '2018-09-04'",
        {"settlement_differs"},
        {"settlement_differs"},
    ),
    "what an operator is paid": (
        "UPDATE settlement_batch SET paid_fen = paid_fen - 1, carried_out_fen = carried_out_fen + 1"
        " WHERE settlement_day = '2018-09-04' AND operator_id = 'bus'",
        {"settlement_differs", "delivery_differs"},
        {"settlement_differs", "delivery_differs"},
    ),
    "an operator that nobody knows": (
        "UPDATE journal_entry SET operator_id = 'nobody' WHERE wallet_version = 2"
        " AND service_day = '2018-09-03'",
        {"charge_differs", "settlement_differs", "entry_differs"},
        {"charge_differs", "settlement_differs", "verified_day_differs", "entry_differs"},
    ),
    "who was to be paid": (
        "UPDATE settlement SET parties = 'nonsense' WHERE settlement_day = '2018-09-04'",
        {"settlement_differs"},
        {"settlement_differs"},
    ),
    "a delivery that is gone": (
        "DELETE FROM delivery WHERE operator_id = 'bus'",
        {"delivery_differs", "settlement_differs"},
        {"delivery_differs"},
    ),
    # Changes that only a full audit sees.
    "a top-up": (
        "UPDATE top_up SET amount_fen = amount_fen + 1 WHERE wallet_id ="
        " (SELECT max(wallet_id::text) FROM wallet)::uuid",
        {"entry_without_top_up", "top_up_without_entry"},
        set(),
    ),
    "a gate's number": (
        "DELETE FROM gate_sequence WHERE sequence = 1",
        {"tap_without_sequence"},
        set(),
    ),
}


@pytest.fixture
def town(database: str, tmp_path: Path) -> Iterator[Town]:
    """Three days, of which two are closed; a late tap in between."""
    town = Town(BOOK, database, tmp_path)
    for name in RIDERS:
        town.rider(name)
    for day in range(LAST_DAY + 1):
        town.tap("ann", "board", "bus M390", day, "08:00")
        town.tap("ann", "enter", "metro luohu", day, "17:50")
        town.tap("ann", "exit", "metro laojie", day, "18:10")
        town.tap("cai", "board", "bus M506", day, "09:00")
    # Bob never came out.
    town.tap("bob", "enter", "metro luohu", 1, "09:00")
    town.tap("dan", "board", "bus M506", 2, "07:00")
    town.close(0)
    town.tap("dan", "board", "bus M506", 0, "07:00", arrives=2)
    town.close(1)
    yield town
    town.store.close()


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_found_in_full_and_from_a_head_before_it(town: Town, what: str) -> None:
    statements, in_full, from_head = CHANGES[what]
    head = take_head(town)
    town.store.run(tamper(town, statements))
    full = town.audit()
    assert kinds(full) == in_full
    assert kinds(audit_since(town, head)) == from_head
    # What was found keeps an audit from becoming a head.
    assert (newest_head(town) != head) is (not from_head)


def test_what_was_verified_is_not_computed_again(town: Town) -> None:
    take_head(town)
    again = audit_since(town, newest_head(town))
    assert said_of(again, "anew") == (
        "anew                      0   wallets, new rows on 0 days, 0 settlements"
    )
    town.tap("eve", "board", "bus M390", 2, "12:00")
    more = audit_since(town, newest_head(town))
    assert said_of(more, "anew").split()[1] == "1"
    assert said_of(more, "by its head").split()[3] == "4"
    assert structs.replace(more, notes=()) == town.check_audit()
    # And from the head that this has left, nothing is new.
    assert said_of(audit_since(town, newest_head(town)), "anew").split()[1] == "0"


def test_a_close_after_the_head_is_made_again(town: Town) -> None:
    head = take_head(town)
    town.close(2)
    report = audit_since(town, head)
    assert report.is_passed, "\n".join(report.lines())
    assert said_of(report, "anew").endswith("1 settlements")


def test_rows_of_a_transaction_that_was_under_way_belong_to_the_next_audit(town: Town) -> None:
    """It began before the head and commits after it: nothing of it counts as verified."""
    run = town.store.run

    async def under_way() -> tuple[asyncpg.Connection, asyncpg.transaction.Transaction]:
        connection = await asyncpg.connect(town.dsn)
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SELECT pg_current_xact_id()")
        return connection, transaction

    connection, transaction = run(under_way())
    town.tap("eve", "board", "bus M390", 2, "12:00")
    head = take_head(town)
    run(connection.execute("SET session_replication_role = replica"))
    run(connection.execute("UPDATE wallet SET balance_fen = balance_fen + 1 WHERE version = 10"))
    run(transaction.commit())
    run(connection.close())
    report = audit_since(town, head)
    assert kinds(report) == {"balance_differs"}


def test_several_processes_find_what_one_finds(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_parts, "_WALLETS_WORTH_A_PROCESS", 0)
    monkeypatch.setattr(audit_parts, "_WALLETS_AT_ONCE", 1)
    town.archive(RETENTION_DAYS + 2)
    head = take_head(town)
    assert parted(town, None) == town.check_audit()
    for name in RIDERS:
        town.tap(name, "board", "bus M390", 3, "12:00")
    changes = (
        "UPDATE journal_entry SET purse_fen = purse_fen - 1, operator_fen = operator_fen + 1"
        " WHERE service_day > '2018-09-03'; UPDATE wallet SET balance_fen = 0 WHERE version = 1"
    )
    town.store.run(tamper(town, changes))
    alone = town.audit()
    assert len(alone.breaks) > 8
    assert parted(town, None) == alone
    assert parted(town, head) == audit_since(town, head)


def test_a_day_archived_after_the_head_is_held_by_its_files(town: Town) -> None:
    head = take_head(town)
    assert town.archive(RETENTION_DAYS + 2)
    report = audit_since(town, head)
    assert report.is_passed, "\n".join(report.lines())
    assert structs.replace(report, notes=()) == town.check_audit()


def test_another_tariff_makes_a_head_of_no_use(town: Town) -> None:
    head = take_head(town)
    town.book = structs.replace(BOOK, digest="another")
    report = audit_since(town, head)
    assert "is of no use: the tariffs have changed" in report.lines()[10]
    assert report.is_passed


def test_a_head_that_was_edited_is_not_believed(town: Town) -> None:
    take_head(town)
    edit = "UPDATE audit_head SET content = replace(content::text, 'bus', 'tram')::bytea || ' '"
    town.store.run(tamper(town, edit))
    with pytest.raises(HeadEdited, match="has been edited"):
        newest_head(town)


def test_the_gateway_may_keep_heads_and_not_change_them(town: Town) -> None:
    take_head(town)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        town.store.run(town.store.pool.execute("UPDATE audit_head SET content = ''"))


def test_the_command_goes_on_from_the_newest_head_or_a_named_one(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    def audit(*, full: bool = False, since: str | None = None) -> tuple[int, str]:
        work = audit_books(town.settings, town.dsn, full=full, since=since, processes=1)
        return town.store.run(work), capsys.readouterr().out

    town.settings = structs.replace(town.settings, tariffs_dir=MIDNIGHT)
    code, said = audit()
    assert (code, "by its head" in said) == (0, False)
    first = next(line.split()[1] for line in said.splitlines() if line.startswith("head"))
    assert "by its head" in audit()[1]
    assert "by its head" not in audit(full=True)[1]
    code, said = audit(since=first[:12])
    assert (code, "by its head" in said) == (0, True)
    assert audit(since="0" * 64) == (3, f"no verified head's name begins with '{'0' * 64}'\n")
    town.store.run(tamper(town, "DELETE FROM tap WHERE wallet_version = 10"))
    code, said = audit()
    assert (code, "verified_day_differs" in said, "\nhead " in said) == (1, True, False)


async def tamper(town: Town, statements: str) -> None:
    """Change the database past the triggers that would refuse it."""
    connection = await asyncpg.connect(town.dsn)
    await connection.execute("SET session_replication_role = replica")
    await connection.execute(statements)
    await connection.close()


def take_head(town: Town) -> Head:
    report = audit_since(town, None)
    assert report.is_passed, "\n".join(report.lines())
    return newest_head(town)


def newest_head(town: Town) -> Head:
    head = town.store.run(find_head(town.store.pool))
    assert head is not None
    return head


def audit_since(town: Town, head: Head | None) -> AuditReport:
    report = run_head_audit(
        town.store.pool,
        town.book,
        town.settings.archive_dir,
        since=head,
        now=moment(LAST_DAY + 2, "12:00"),
    )
    return without_head(town.store.run(report))


def parted(town: Town, head: Head | None) -> AuditReport:
    """By two processes."""
    crew, archive = Crew(town.dsn, 2), town.settings.archive_dir
    pool, now = town.store.pool, moment(LAST_DAY + 2, "12:00")
    work = (
        run_head_audit(pool, town.book, archive, crew=crew, since=head, now=now)
        if head
        else run_audit(pool, town.book, archive, crew=crew)
    )
    report = town.store.run(work)
    assert crew.cpu_seconds
    return without_head(report)


def without_head(report: AuditReport) -> AuditReport:
    notes = tuple(note for note in report.notes if not note.startswith("head "))
    return structs.replace(report, notes=notes)


def kinds(report: AuditReport) -> set[str]:
    return {one.kind for one in report.breaks}


def said_of(report: AuditReport, name: str) -> str:
    lines = "\n".join(report.notes).splitlines()
    return next(line for line in lines if line.startswith(name))


def test_a_head_is_of_no_use_in_a_database_that_was_restored_on_its_server(
    database: str, server_dsn: str, tmp_path: Path
) -> None:
    """What is restored has the same rows, written by transactions of its own."""
    town = Town(BOOK, database, tmp_path)
    town.rider("ann")
    town.tap("ann", "board", "bus M390", 0, "08:00")
    take_head(town)
    town.store.close()
    name = urlsplit(database).path.removeprefix("/")
    asyncio.run(on_server(server_dsn, f"CREATE DATABASE {name}_copy TEMPLATE {name}"))
    other = urlsplit(database)._replace(path=f"/{name}_copy").geturl()
    copy = Town(BOOK, other, tmp_path)
    written_anew = "UPDATE tap SET tap_id = tap_id; UPDATE journal_entry SET tap_id = tap_id"
    copy.store.run(tamper(copy, written_anew))
    report = audit_since(copy, newest_head(copy))
    copy.store.close()
    asyncio.run(on_server(server_dsn, f"DROP DATABASE {name}_copy"))
    assert report.is_passed, "\n".join(report.lines())
    assert "restored" in report.notes[0]


async def on_server(server_dsn: str, statement: str) -> None:
    server = await asyncpg.connect(server_dsn)
    await server.execute(statement)
    await server.close()
