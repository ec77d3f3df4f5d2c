"""Rides that no gate saw, put in by the desk: they cost what they would have, whenever it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

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
from gateway.fares_path import run_explanation
from gateway.shell.correction_store import Correction, load_correction_entries

BOOK = load_book(MIDNIGHT)
TERMS = CorrectionTerms(2**62, 100, *[timedelta(days=40)] * 3)
# No gate saw Ann's bus on day 1; the desk hears of it on day 3.
HEARD = 3
ARCHIVING_DAY = HEARD + RETENTION_DAYS + 1


def correct(
    town: Town, kind: CorrectionKind, now: tuple[int, str], **told: object
) -> Correction | CorrectionRefusal:
    name = str(told.pop("name", "ann"))
    wish = CorrectionWish(
        uuid5(NAMESPACE_URL, f"{name} {kind} {now}"),
        uuid5(NAMESPACE_URL, name),
        kind,
        Reason.GATE_FAULT,
        **told,
    )
    work = run_correction(
        town.store.pool,
        wish,
        maker="anna",
        registry=REGISTRY,
        book=town.book,
        terms=TERMS,
        now=moment(*now),
    )
    return town.store.run(work)


def bus(day: int, clock: str, line: str = "M390", name: str = "ann") -> dict[str, object]:
    since = moment(day, clock)
    return {"media_token": name, "gate_id": f"{line} board", "route_id": line, "since": since}


def metro(day: int, clock: str, until: str, name: str = "ann") -> dict[str, object]:
    return {
        "media_token": name,
        "gate_id": "luohu enter",
        "stop_id": "luohu",
        "since": moment(day, clock),
        "exit_stop_id": "laojie",
        "until": moment(day, until),
    }


def missing(
    town: Town, told: dict[str, object], now: tuple[int, str] = (HEARD, "12:00")
) -> Correction:
    done = correct(town, CorrectionKind.MISSING_RIDE, now, name=told["media_token"], **told)
    assert isinstance(done, Correction), done
    assert done.state == "booked"
    return done


def undo(town: Town, done: Correction, now: tuple[int, str]) -> None:
    name = done.wish.media_token
    undone = correct(
        town, CorrectionKind.REVERSAL, now, name=name, reverses=done.wish.correction_id
    )
    assert isinstance(undone, Correction), undone


def paid_fen(town: Town, name: str = "ann") -> int:
    return 100_000 - town.store.wallet(uuid5(NAMESPACE_URL, name)).net_fen


@pytest.fixture
def town(database: str, tmp_path: Path) -> Iterator[Town]:
    town = Town(BOOK, database, tmp_path)
    for name in ("ann", "twin"):
        town.rider(name)
    yield town
    town.check_audit()
    town.store.close()


def seen_by_gates(town: Town, *, but: str = "") -> None:
    """Rides on which caps and changes of a week act, of both; Ann's lack one of them."""
    for name in ("ann", "twin"):
        for day in (0, 1, 2):
            town.tap(name, "enter", "metro luohu", day, "07:40")
            town.tap(name, "exit", "metro laojie", day, "07:55")
            if (name, but) != ("ann", f"bus {day}"):
                town.tap(name, "board", "bus M390", day, "08:10")
            if (name, but) != ("ann", f"metro {day}"):
                town.tap(name, "enter", "metro luohu", day, "12:00")
                town.tap(name, "exit", "metro laojie", day, "12:20")
            town.tap(name, "board", "bus M506", day, "18:00")


@pytest.mark.parametrize("lost", ["bus 0", "bus 1", "bus 2", "metro 0", "metro 1", "metro 2"])
def test_a_ride_costs_what_it_would_have_had_a_gate_seen_it(town: Town, lost: str) -> None:
    seen_by_gates(town, but=lost)
    kind, day = lost.split()
    told = bus(int(day), "08:10") if kind == "bus" else metro(int(day), "12:00", "12:20")
    before = paid_fen(town)
    done = missing(town, told)
    assert paid_fen(town) == paid_fen(town, "twin")
    assert done.amount_fen == abs(paid_fen(town) - before)
    # What both ride then costs alike, late or not.
    for name in ("ann", "twin"):
        town.tap(name, "board", "bus M390", int(day), "20:00", arrives=HEARD)
        town.tap(name, "board", "bus M390", HEARD + 1, "08:00")
    assert paid_fen(town) == paid_fen(town, "twin")


def test_the_only_ride_of_a_day_and_the_first_of_a_card_can_be_missing(town: Town) -> None:
    town.tap("twin", "board", "bus M390", 1, "08:00")
    town.tap("twin", "enter", "metro luohu", 2, "09:00")
    town.tap("twin", "exit", "metro laojie", 2, "09:30")
    missing(town, bus(1, "08:00"), (HEARD, "12:00"))
    missing(town, metro(2, "09:00", "09:30"), (HEARD, "12:01"))
    assert paid_fen(town) == paid_fen(town, "twin") > 0
    for name in ("ann", "twin"):
        town.tap(name, "board", "bus M506", 1, "18:00", arrives=HEARD)
        town.tap(name, "board", "bus M506", HEARD + 1, "18:00")
    assert paid_fen(town) == paid_fen(town, "twin")


def test_the_day_before_still_begins_with_what_the_week_had_cost_by_then(town: Town) -> None:
    """The ride is newer than all that gates saw; then a tap of the day before comes in late."""
    for name in ("ann", "twin"):
        for clock in ("08:00", "10:00", "12:00", "14:00"):
            town.tap(name, "board", "bus M390", 0, clock)
        town.tap(name, "board", "bus M390", 1, "08:00")
    missing(town, bus(2, "08:00"))
    town.tap("twin", "board", "bus M390", 2, "08:00")
    for name in ("ann", "twin"):
        town.tap(name, "board", "bus M506", 1, "18:00", arrives=HEARD)
    # The week's cap.
    assert paid_fen(town) == paid_fen(town, "twin") == 700


def test_undone_it_never_was_and_the_receipt_tells_all_of_it(town: Town) -> None:
    seen_by_gates(town, but="bus 1")
    before = paid_fen(town)
    done = missing(town, bus(1, "08:10"))
    ride = done.wish.ride[-1]
    told = town.store.run(run_explanation(town.store.pool, ride, BOOK))
    assert told is not None
    assert told.lines[0] == "tariff midnight/2018-08-01: Midnight fare notice"
    assert told.lines[-1] == "missing_ride booked: gate_fault, by anna"
    again = correct(town, CorrectionKind.MISSING_RIDE, (HEARD, "13:00"), **bus(1, "08:10"))
    assert again is CorrectionRefusal.WRONG_TIME
    void = correct(town, CorrectionKind.VOID, (HEARD, "13:00"), tap_id=ride)
    assert void is CorrectionRefusal.ALREADY_CORRECTED
    undo(town, done, (HEARD, "14:00"))
    assert paid_fen(town) == before
    told = town.store.run(run_explanation(town.store.pool, ride, BOOK))
    assert told is not None
    assert told.lines == ("missing_ride booked: gate_fault, by anna",)
    # Then it may be put in again, as what it was.
    missing(town, bus(1, "08:10", "M506"), (HEARD, "15:00"))


def test_it_is_paid_in_the_open_period_and_lies_in_the_archive_with_its_day(town: Town) -> None:
    seen_by_gates(town, but="bus 1")
    for day in range(HEARD):
        town.close(day)
    done = missing(town, bus(1, "08:10"))
    (entry, *_) = town.store.run(load_correction_entries(town.store.pool, done.wish))
    assert (entry.service_day, entry.settlement_day) == (day_of(1), day_of(HEARD))
    assert (entry.kind, entry.operator_id, entry.ride_count) == ("fare", "bus", 1)
    town.tap("ann", "board", "bus M390", HEARD + 1, "08:00")
    lost = missing(town, metro(HEARD, "12:00", "12:20"), (HEARD + 1, "12:00"))
    undo(town, lost, (HEARD + 1, "12:01"))
    town.close(HEARD)
    settled = sum(one.totals.gross_fen for one in town.settlements())
    town.close(HEARD + 1)
    files, before = town.settlement_files(), town.check_audit()
    assert len(town.archive(ARCHIVING_DAY + 1)) == HEARD + 2
    after = town.check_audit()
    assert structs.replace(after, archived_days_count=0) == before
    assert town.settlement_files() == files
    refused = correct(
        town,
        CorrectionKind.REVERSAL,
        (ARCHIVING_DAY + 1, "13:00"),
        reverses=done.wish.correction_id,
    )
    assert refused is CorrectionRefusal.TOO_OLD
    assert settled > 0


def test_nothing_tells_where_it_was_once_its_day_is_unlinked(town: Town) -> None:
    """Ann rode on that day as nobody but the desk knows."""
    missing(town, metro(1, "09:00", "09:30"), (1, "12:00"))
    town.tap("ann", "board", "bus M390", 2, "08:00")
    for day in range(3):
        town.close(day)
    town.tap("ann", "board", "bus M390", ARCHIVING_DAY - 2, "08:00")
    town.close(ARCHIVING_DAY - 2)
    town.archive(ARCHIVING_DAY)
    before = town.check_audit()
    assert b"laojie" in town.store.run(town.store.pool.fetchval("SELECT wish FROM correction"))
    town.unlink(UNLINK_DAYS + 2)
    after = town.check_audit()
    assert structs.replace(after, unlinked_days_count=0) == before
    assert after.unlinked_days_count
    noted = town.store.run(town.store.pool.fetchrow("SELECT wish, amendment, note FROM correction"))
    assert (noted["amendment"], noted["note"]) == (None, None)
    assert not any(place in noted["wish"] for place in (b"laojie", b"luohu", b"ann", b"09:"))


@pytest.mark.parametrize(
    ("told", "refusal"),
    [
        ({"until": moment(1, "09:00")}, "fields_differ"),
        ({"until": moment(1, "09:00"), "exit_stop_id": "laojie"}, "fields_differ"),
        ({"at": moment(1, "09:00")}, "fields_differ"),
        ({"gate_id": "nowhere"}, "unknown_gate"),
        ({"media_token": "twin"}, "unknown_media"),
        ({"media_token": "nobody"}, "unknown_media"),
        ({"stop_id": "nowhere"}, "unknown_stop"),
        ({"route_id": "nowhere"}, "unknown_route"),
        ({"since": moment(-40, "08:00")}, "too_old"),
        ({"since": moment(HEARD, "12:01")}, "not_yet"),
        # On a bus while in the metro, and as a gate has it already.
        ({"since": moment(1, "07:50")}, "wrong_time"),
        ({"since": moment(1, "18:00")}, "wrong_time"),
    ],
)
def test_a_bus_that_cannot_have_been_taken_is_refused(town: Town, told, refusal: str) -> None:
    seen_by_gates(town)
    before = paid_fen(town)
    wish = {**bus(1, "08:30"), **told}
    found = correct(town, CorrectionKind.MISSING_RIDE, (HEARD, "12:00"), **wish)
    assert found is CorrectionRefusal(refusal)
    assert paid_fen(town) == before
    assert town.count("correction") == 0


@pytest.mark.parametrize(
    ("since", "until", "refusal"),
    [
        ("09:00", "08:59", "wrong_time"),
        ("07:30", "08:00", "wrong_time"),
        ("11:50", "12:10", "wrong_time"),
        ("19:00", "23:59", "wrong_time"),
    ],
)
def test_a_metro_ride_that_cannot_be_is_refused(
    town: Town, since: str, until: str, refusal: str
) -> None:
    seen_by_gates(town)
    found = correct(town, CorrectionKind.MISSING_RIDE, (HEARD, "12:00"), **metro(1, since, until))
    assert found is CorrectionRefusal(refusal)
    one_end = metro(1, "09:00", "09:20")
    del one_end["until"]
    found = correct(town, CorrectionKind.MISSING_RIDE, (HEARD, "12:00"), **one_end)
    assert found is CorrectionRefusal.FIELDS_DIFFER
