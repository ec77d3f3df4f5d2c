"""Days that were put right, by the desk or for a disruption, grow old and go to the archive."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

import asyncpg
import pytest
from _stores import MIDNIGHT, REGISTRY
from _town import RETENTION_DAYS, UNLINK_DAYS, Town, day_of, moment
from msgspec import structs

from fare_rules import load_book
from gateway.core.correction_wishes import (
    CorrectionKind,
    CorrectionRefusal,
    CorrectionTerms,
    CorrectionWish,
    Reason,
)
from gateway.correction_path import run_correction
from gateway.shell.correction_store import Correction

BOOK = load_book(MIDNIGHT)
TERMS = CorrectionTerms(2**62, 100, *[timedelta(days=40)] * 3)
LAST_OLD_DAY = 2
ARCHIVING_DAY = LAST_OLD_DAY + RETENTION_DAYS + 1
RECENT_DAY = ARCHIVING_DAY - 5


def put_right(
    town: Town, name: str, kind: CorrectionKind, clock: str, **told: object
) -> Correction | CorrectionRefusal:
    """`clock` is when it is booked, as "1 12:00". A tap is told of as in Town.taps."""
    day, time = clock.split()
    if tap := told.pop("tap", None):
        told["tap_id"] = town.taps[str(tap)].tap_id
    wish = CorrectionWish(
        uuid5(NAMESPACE_URL, f"{name} {kind} {clock}"),
        uuid5(NAMESPACE_URL, name),
        kind,
        Reason.COMPLAINT,
        **told,
    )
    return town.store.run(
        run_correction(
            town.store.pool,
            wish,
            maker="anna",
            registry=REGISTRY,
            book=town.book,
            terms=TERMS,
            now=moment(int(day), time),
        )
    )


def undo(town: Town, name: str, done: Correction, clock: str) -> Correction | CorrectionRefusal:
    return put_right(town, name, CorrectionKind.REVERSAL, clock, reverses=done.wish.correction_id)


def students_day(name: str, day: int) -> dict[str, object]:
    return {
        "media_token": name,
        "rider_category": "student",
        "since": moment(day, "04:00"),
        "until": moment(day, "23:00"),
    }


def paid_fen(town: Town, name: str) -> int:
    return 100_000 - town.store.wallet(uuid5(NAMESPACE_URL, name)).net_fen


@pytest.fixture
def town(database: str, tmp_path: Path) -> Iterator[Town]:
    """Three days of long ago: each is put right before its close, after it, or both."""
    town = Town(BOOK, database, tmp_path)
    for name in ("ann", "bob", "cai", "dan"):
        town.rider(name)
    town.tap("ann", "board", "bus M390", 0, "08:00")
    town.tap("ann", "board", "bus M390", 0, "08:01")
    assert put_right(town, "ann", CorrectionKind.VOID, "0 12:00", tap="ann 0 08:01").state
    # Bob never tapped off; he came back after a month.
    town.tap("bob", "enter", "metro luohu", 0, "09:00")
    town.tap("cai", "board", "bus M390", 0, "10:00")
    # Dan came out where he had gone in.
    town.tap("dan", "enter", "metro luohu", 1, "08:00")
    town.tap("dan", "exit", "metro luohu", 1, "08:10")
    town.close(0)
    out = {"stop_id": "laojie", "at": moment(0, "09:20")}
    corrections = [
        put_right(town, "bob", CorrectionKind.MISSING_EXIT, "1 13:00", tap="bob 0 09:00", **out),
        put_right(town, "cai", CorrectionKind.RECLASS, "1 14:00", **students_day("cai", 0)),
        put_right(town, "dan", CorrectionKind.CLEARANCE, "1 15:00", tap="dan 1 08:00"),
    ]
    town.tap("ann", "board", "bus M506", 1, "18:00")
    void = put_right(town, "ann", CorrectionKind.VOID, "1 20:00", tap="ann 1 18:00")
    corrections += [void, undo(town, "ann", void, "1 21:00")]
    assert all(isinstance(one, Correction) and one.state == "booked" for one in corrections)
    town.close(1)
    town.tap("ann", "board", "bus M390", 2, "08:00")
    town.close(LAST_OLD_DAY)
    for day in (RECENT_DAY, RECENT_DAY + 1):
        town.tap("ann", "board", "bus M390", day, "08:00")
        town.close(day - 1)
    assert [paid_fen(town, name) for name in ("ann", "bob", "cai", "dan")] == [1_000, 300, 100, 0]
    yield town
    town.store.close()


def test_days_that_were_put_right_are_archived_as_they_stand(town: Town) -> None:
    answers, files = town.answers_since(RECENT_DAY), town.settlement_files()
    before = town.check_audit()
    # What was put right after a close is in the settlement of the next day.
    (batch,) = [
        batch
        for one in town.settlements()
        if one.period.service_day == day_of(1)
        for batch in one.batches
        if batch.operator_id == "metro"
    ]
    assert batch.gross_fen == 300 - 900
    assert len(town.archive(ARCHIVING_DAY)) == LAST_OLD_DAY + 1
    assert structs.replace(town.check_audit(), archived_days_count=0) == before
    assert town.settlement_files() == files
    assert town.answers_since(RECENT_DAY) == answers


def test_whoever_was_put_right_long_ago_goes_on_from_there(town: Town) -> None:
    town.archive(ARCHIVING_DAY)
    assert town.tap("bob", "exit", "metro laojie", ARCHIVING_DAY, "12:30").fare_fen == 700
    town.tap("cai", "board", "bus M390", ARCHIVING_DAY - 1, "09:00", arrives=ARCHIVING_DAY + 1)
    town.tap("dan", "board", "bus M390", ARCHIVING_DAY, "09:00")
    assert [paid_fen(town, name) for name in ("bob", "cai", "dan")] == [1_000, 300, 200]
    void = put_right(
        town, "ann", CorrectionKind.VOID, f"{RECENT_DAY + 3} 08:00", tap=f"ann {RECENT_DAY} 08:00"
    )
    assert isinstance(void, Correction)
    assert paid_fen(town, "ann") == 800
    town.check_audit()
    town.close(ARCHIVING_DAY)
    assert sum(one.totals.gross_fen for one in town.settlements()) == 800 + 1_000 + 300 + 200
    town.check_audit()


def test_a_correction_that_nobody_can_read_is_named(town: Town) -> None:
    async def spoil() -> UUID:
        owner = await asyncpg.connect(town.dsn)
        await owner.execute("SET session_replication_role = replica")
        found: UUID = await owner.fetchval(
            """UPDATE correction SET amendment = 'nonsense' WHERE kind = 'reclass'
            RETURNING correction_id"""
        )
        await owner.close()
        return found

    spoilt = town.store.run(spoil())
    named = [one for one in town.audit().breaks if one.kind == "correction_unreadable"]
    assert [one.subject for one in named] == [f"correction {spoilt}"]


def test_a_card_that_did_not_tap_then_is_given_no_class_archived_or_not(town: Town) -> None:
    for _ in range(2):
        now, never = f"{RECENT_DAY + 3} 08:00", students_day("cai", RECENT_DAY)
        refused = put_right(town, "cai", CorrectionKind.RECLASS, now, **never)
        assert refused is CorrectionRefusal.UNKNOWN_TAP
        town.archive(ARCHIVING_DAY)
    town.check_audit()


def test_nothing_of_an_archived_day_is_put_right_any_more(town: Town) -> None:
    town.archive(ARCHIVING_DAY)
    now = f"{ARCHIVING_DAY} 13:00"
    refused = put_right(town, "ann", CorrectionKind.VOID, now, tap="ann 0 08:00")
    assert refused is CorrectionRefusal.UNKNOWN_TAP
    for wish in (students_day("ann", 1), students_day("cai", 0)):
        name = str(wish["media_token"])
        refused = put_right(town, name, CorrectionKind.RECLASS, now, **wish)
        assert refused is CorrectionRefusal.TOO_OLD
    town.check_audit()


def test_nor_where_taps_may_be_late_for_fewer_days_than_the_tariff_would_let_them(
    database: str, tmp_path: Path
) -> None:
    """Day 0 is archived on day 6, though the tariff prices rides of seven days ago again."""
    town = Town(BOOK, database, tmp_path)
    town.settings = structs.replace(town.settings, tap_age_days_max=3, retention_days=5)
    town.rider("cai")
    town.tap("cai", "board", "bus M390", 0, "08:00")
    done = put_right(town, "cai", CorrectionKind.RECLASS, "1 08:00", **students_day("cai", 0))
    assert isinstance(done, Correction)
    town.close(5)
    assert len(town.archive(6)) == 1
    assert undo(town, "cai", done, "6 13:00") is CorrectionRefusal.TOO_OLD
    town.tap("cai", "board", "bus M390", 6, "18:00")
    whole_week = students_day("cai", 6) | {"since": moment(0, "04:00")}
    refused = put_right(town, "cai", CorrectionKind.RECLASS, "6 23:30", **whole_week)
    assert refused is CorrectionRefusal.TOO_OLD
    town.check_audit()
    town.store.close()


def test_ends_named_before_or_after_midnight_are_forgotten_with_their_day(
    database: str, tmp_path: Path
) -> None:
    """Of ann and cai the gate told after all, of bob it did not."""
    town = Town(BOOK, database, tmp_path)
    for name in ("ann", "bob", "cai"):
        town.rider(name)
    for name in ("ann", "bob"):
        town.tap(name, "enter", "metro luohu", 0, "21:30")
        named = {"tap": f"{name} 0 21:30", "stop_id": "huaqiang_lu", "at": moment(0, "21:40")}
        assert put_right(town, name, CorrectionKind.MISSING_EXIT, "0 23:00", **named).state
    town.tap("cai", "exit", "metro laojie", 1, "00:15")
    named = {"tap": "cai 1 00:15", "stop_id": "huaqiang_lu", "at": moment(1, "00:05")}
    assert put_right(town, "cai", CorrectionKind.MISSING_ENTRY, "1 01:00", **named).state
    town.tap("cai", "enter", "metro luohu", 0, "21:30", arrives=2)
    town.tap("ann", "exit", "metro laojie", 1, "00:15", arrives=2)
    ann, cai = (town.store.wallet(uuid5(NAMESPACE_URL, name)) for name in ("ann", "cai"))
    assert ann.net_fen == cai.net_fen
    for name in ("ann", "bob", "cai"):
        town.tap(name, "board", "bus M390", 1, "08:00", arrives=2)
    town.close(2)
    town.archive(ARCHIVING_DAY)
    before = town.check_audit()
    for number in (1, 2):
        town.unlink(UNLINK_DAYS + number)
        assert structs.replace(town.check_audit(), unlinked_days_count=0) == before
    town.store.close()
