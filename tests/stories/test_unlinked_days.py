"""Days so old that nothing stored tells any more where a card was; the books are as they were."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

import asyncpg
import duckdb
import pytest
from _stores import MIDNIGHT, REGISTRY
from _town import RETENTION_DAYS, UNLINK_DAYS, Killed, Town, broken, day_of, killed_after, moment
from msgspec import structs

from fare_rules import load_book
from gateway.audit_path import run_head_audit
from gateway.core.correction_wishes import CorrectionKind, CorrectionTerms, CorrectionWish, Reason
from gateway.core.wallet_wishes import GrantMoney, Wish
from gateway.correction_path import run_correction
from gateway.rider_path import run_export, run_journeys
from gateway.shell import archive_store
from gateway.shell.archive_files import ArchiveDiffers
from gateway.shell.archive_store import DayInUse
from gateway.shell.audit_store import find_head
from gateway.shell.kept_store import load_kept
from gateway.shell.messages import JSON, encode
from gateway.shell.transactions import reading
from gateway.unlink_path import UnlinkRefused

BOOK = load_book(MIDNIGHT)
# Monday to Thursday. Where the riders were on Monday alone:
LAST_DAY, MONDAYS_STOP = 3, "huaqiang_lu"
ARCHIVING_DAY = LAST_DAY + RETENTION_DAYS + 1
# The days on which Monday alone is old enough, and on which all are that the next one is old for.
FIRST_UNLINKING, LAST_UNLINKING = UNLINK_DAYS + 1, UNLINK_DAYS + LAST_DAY
STEPS = (
    "checked", "forgetting", "forgotten", "noted", "written", "marked", "committed", "removed",
)  # fmt: skip
TERMS = CorrectionTerms(10_000, 5, timedelta(days=30), timedelta(days=30), timedelta(minutes=20))


@pytest.fixture
def town(database: str, tmp_path: Path) -> Iterator[Town]:
    """A week that has a cap: riders who stay, who are late, who cross midnight or never come out.

    All of it is archived; two have ridden since.
    """
    town = Town(BOOK, database, tmp_path)
    for name in ("ann", "bob", "cai", "dan", "eve", "gus", "hal"):
        town.rider(name)
    town.rider("fay", others=("fay's child",))
    give(town, "gus", "gift", 550)
    give(town, "gus", "bus_money", 900)
    give(town, "hal", "bus_money", 900)
    for day in range(LAST_DAY + 1):
        town.tap("ann", "board", "bus M390", day, "08:00")
        stop = MONDAYS_STOP if day == 0 else "luohu"
        town.tap("ann", "enter", f"metro {stop}", day, "17:50")
        town.tap("ann", "exit", "metro laojie", day, "18:10")
        town.tap("fay", "board", "bus M506", day, "08:30")
        town.tap("gus", "board", "bus M390", day, "09:00")
        town.tap("gus", "enter", f"metro {stop}", day, "10:00")
        town.tap("gus", "exit", "metro laojie", day, "10:20")
        if day == 0:
            # Neither comes out again.
            town.tap("bob", "enter", f"metro {MONDAYS_STOP}", 0, "09:00")
            town.tap("fay's child", "enter", f"metro {MONDAYS_STOP}", 0, "09:10")
            town.tap("hal", "enter", f"metro {MONDAYS_STOP}", 0, "09:20")
            exit_at = town.taps["hal 0 09:20"].tapped_at + timedelta(minutes=30)
            put_right(
                town, "hal 0 09:20", CorrectionKind.MISSING_EXIT, stop_id=MONDAYS_STOP, at=exit_at
            )
            town.tap("hal", "board", "bus M390", 0, "12:00")
            town.tap("hal", "board", "bus M390", 0, "14:00")
            # Dan is under way at midnight, cai changes there.
            town.tap("dan", "enter", f"metro {MONDAYS_STOP}", 0, "23:40")
            town.tap("dan", "exit", "metro laojie", 1, "00:10")
            town.tap("cai", "enter", f"metro {MONDAYS_STOP}", 0, "23:30")
            town.tap("cai", "exit", "metro laojie", 0, "23:50")
            town.tap("cai", "board", "bus M390", 1, "00:15")
        if day == 2:
            town.tap("dan", "board", "bus M390", 2, "08:00")
            # Monday's, after Tuesday's and Wednesday's.
            town.tap("eve", "board", "bus M390", 1, "08:00")
            town.tap("eve", "board", "bus M506", 2, "08:00")
            town.tap("eve", "enter", f"metro {MONDAYS_STOP}", 0, "08:00", arrives=3)
            town.tap("eve", "exit", "metro laojie", 0, "08:30", arrives=3)
            town.tap("eve", "board", "bus M506", 2, "18:00", arrives=3)
        town.close(day)
    for name in ("ann", "gus"):
        town.tap(name, "board", "bus M390", ARCHIVING_DAY - 5, "08:00")
    town.close(ARCHIVING_DAY - 5)
    assert len(town.archive(ARCHIVING_DAY)) == LAST_DAY + 1
    yield town
    town.store.close()


def test_nothing_leads_from_a_card_to_where_it_was(town: Town) -> None:
    before, files = town.check_audit(), town.settlement_files()
    assert {name for name, _ in leads(town)} == {
        "tap.parquet", "correction", "wallet", "wallet_day",
    }  # fmt: skip
    [monday] = town.unlink(FIRST_UNLINKING)
    assert str(monday) == f"{day_of(0)}  {monday.manifest.tally.taps_count} taps lead to nobody"
    assert leads(town) == []
    after = town.check_audit()
    assert structs.replace(after, unlinked_days_count=0) == before
    assert after.unlinked_days_count == 1
    assert town.settlement_files() == files


def test_what_a_planner_asks_is_still_told(town: Town) -> None:
    town.unlink(FIRST_UNLINKING)
    taps = town.settings.archive_dir / f"{day_of(0)}.unlinked" / "unlinked_tap.parquet"
    found = duckdb.sql(
        f"SELECT network, action, count(*), count(DISTINCT rider) FROM '{taps}' "
        "WHERE is_let_through GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert found == [("bus", "board", 5, 4), ("metro", "enter", 8, 8), ("metro", "exit", 4, 4)]
    [(hours, names)] = duckdb.sql(
        f"SELECT bool_and(epoch(hour) % 3600 = 0), count(DISTINCT rider) FROM '{taps}'"
    ).fetchall()
    assert (hours, names) == (True, 9)


def test_a_riders_name_is_another_every_day(town: Town) -> None:
    town.unlink(LAST_UNLINKING)
    taps = town.settings.archive_dir / "*.unlinked" / "unlinked_tap.parquet"
    [(names, days)] = duckdb.sql(
        f"SELECT count(DISTINCT rider), count(DISTINCT (rider, service_day)) FROM '{taps}'"
    ).fetchall()
    assert names == days > 0


def test_later_days_are_computed_again_in_full(town: Town) -> None:
    """The week's cap was reached on Tuesday; by rides of Monday."""
    town.unlink(FIRST_UNLINKING)
    town.check_audit()
    town.store.run(as_owner(town, "UPDATE wallet_base SET opening = ''"))
    assert {"charge_differs", "answer_differs"} <= {kind for kind, _ in broken(town)}


def test_days_are_unlinked_one_after_the_other(town: Town) -> None:
    before = town.check_audit()
    for number in range(3):
        [day] = town.unlink(FIRST_UNLINKING + number)
        assert day.service_day == day_of(number)
        after = town.check_audit()
        assert structs.replace(after, unlinked_days_count=0) == before
    assert town.unlink(FIRST_UNLINKING + 2) == []


def test_whoever_rides_on_is_charged_and_audited_as_before(town: Town) -> None:
    town.unlink(LAST_UNLINKING)
    today = LAST_UNLINKING
    assert town.tap("bob", "exit", "metro laojie", today, "12:30").fare_fen == 700
    assert town.tap("fay's child", "enter", "metro luohu", today, "12:40").open
    assert town.tap("fay's child", "exit", "metro laojie", today, "12:50").fare_fen == 300
    for name in ("ann", "cai", "dan", "eve", "fay", "gus", "hal"):
        assert town.tap(name, "board", "bus M390", today, "13:00").fare_fen == 200
    town.tap("cai", "board", "bus M506", today - 1, "08:00", arrives=today + 1)
    town.check_audit()
    town.close(today)
    town.check_audit()


def test_a_sum_of_a_week_goes_when_its_rider_stays_away(town: Town) -> None:
    town.unlink(FIRST_UNLINKING)
    assert town.store.wallet(uuid5(NAMESPACE_URL, "dan")).riders
    assert len(town.unlink(LAST_UNLINKING + 7)) == LAST_DAY
    dan = town.store.wallet(uuid5(NAMESPACE_URL, "dan"))
    assert (dan.riders, dan.opening) == ({}, {})
    town.check_audit()


def test_a_sweep_of_an_unlinked_day_and_a_later_one_is_not_done_again(
    database: str, tmp_path: Path
) -> None:
    town = Town(BOOK, database, tmp_path)
    town.rider("ann", others=("her son", "her aunt"))
    town.tap("ann", "enter", f"metro {MONDAYS_STOP}", 0, "09:00")
    town.tap("her son", "enter", "metro luohu", 2, "09:00")
    town.close(2)
    town.tap("her aunt", "enter", "metro luohu", 3, "09:00")
    town.close(3)
    town.archive(ARCHIVING_DAY)
    before = town.check_audit()
    town.unlink(FIRST_UNLINKING)
    assert leads(town) == []
    assert structs.replace(town.check_audit(), unlinked_days_count=0) == before
    town.store.close()


def test_a_sweep_that_began_with_a_free_leg_is_known_when_that_leg_is_forgotten(
    database: str, tmp_path: Path
) -> None:
    """Nobody closed a day from Monday to Friday. Then three legs were given up at once: Monday's
    cost nothing, and Friday's was closed after all, by an exit that came in late.
    """
    town = Town(BOOK, database, tmp_path)
    town.rider("ann", others=("her son", "her aunt"))
    town.tap("her son", "enter", "tram park", 0, "09:00")
    town.tap("ann", "enter", "metro luohu", 2, "09:00")
    town.tap("her aunt", "enter", "metro luohu", 4, "09:00")
    town.close(4)
    assert town.tap("her aunt", "exit", "metro laojie", 4, "09:30", arrives=6).fare_fen == 300
    town.tap("her son", "enter", "metro luohu", 7, "09:00")
    town.close(7)
    town.archive(7 + RETENTION_DAYS + 1)
    before = town.check_audit()
    for number in (0, 2, 4):
        town.unlink(FIRST_UNLINKING + number)
        after = town.check_audit()
        assert structs.replace(after, unlinked_days_count=0) == before
    assert after.unlinked_days_count == 3
    town.store.close()


def test_an_entry_of_an_unlinked_day_that_the_desk_struck_out(
    database: str, tmp_path: Path
) -> None:
    """It was closed after midnight, so all that was put right was of the next day."""
    town = Town(BOOK, database, tmp_path)
    town.rider("ann")
    town.tap("ann", "enter", f"metro {MONDAYS_STOP}", 0, "23:30")
    town.tap("ann", "exit", "metro laojie", 1, "00:15")
    put_right(town, "ann 0 23:30", CorrectionKind.VOID)
    town.tap("ann", "board", "bus M390", 1, "08:00")
    town.close(1)
    town.archive(ARCHIVING_DAY)
    before = town.check_audit()
    town.unlink(FIRST_UNLINKING)
    assert leads(town) == []
    assert structs.replace(town.check_audit(), unlinked_days_count=0) == before
    town.store.close()


def test_an_audit_from_a_head_goes_on_over_an_unlinked_day(town: Town) -> None:
    run, pool, archive = town.store.run, town.store.pool, town.settings.archive_dir

    def audit(since):
        return run(run_head_audit(pool, BOOK, archive, since=since, now=moment(90, "12:00")))

    assert audit(None).is_passed
    head = run(find_head(pool))
    town.unlink(FIRST_UNLINKING)
    town.tap("ann", "board", "bus M390", FIRST_UNLINKING, "13:00")
    report = audit(head)
    assert report.is_passed, report.lines()
    assert report.unlinked_days_count == 1
    head = run(find_head(pool))
    run(as_owner(town, "UPDATE wallet_base SET opening = ''"))
    assert "charge_differs" in {one.kind for one in audit(head).breaks}


@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_killed_after_any_step_is_simply_run_again(town: Town, step: str) -> None:
    before, files = town.check_audit(), town.settlement_files()
    for _ in range(2):
        is_done = town.store.run(
            town.store.pool.fetchval("SELECT count(*) FROM log_day WHERE unlinked_at IS NOT NULL")
        )
        if not is_done:
            with pytest.raises(Killed):
                town.unlink(FIRST_UNLINKING, after=killed_after(step))
        kinds = {one.kind for one in town.audit().breaks}
        # What still leads to the riders is named until it is gone.
        assert kinds == ({"archive_linked"} if step == "committed" else set())
    town.unlink(FIRST_UNLINKING)
    assert leads(town) == []
    assert sorted(path.name for path in town.settings.archive_dir.iterdir()) == [
        f"{day_of(0)}.unlinked", *(str(day_of(n)) for n in range(1, LAST_DAY + 1)),
    ]  # fmt: skip
    assert structs.replace(town.check_audit(), unlinked_days_count=0) == before
    assert town.settlement_files() == files


@pytest.mark.parametrize("name", ["unlinked_tap.parquet", "journal_entry.parquet", "manifest.json"])
def test_a_changed_or_missing_file_of_an_unlinked_day_is_named(town: Town, name: str) -> None:
    town.unlink(FIRST_UNLINKING)
    path = town.settings.archive_dir / f"{day_of(0)}.unlinked" / name
    content = path.read_bytes()
    path.write_bytes(spoiled(content))
    assert ("archive_changed", str(path)) in broken(town)
    path.unlink()
    assert ("archive_missing", str(path)) in broken(town)
    path.write_bytes(content)
    town.check_audit()


def test_an_old_folder_that_was_brought_back_is_named(town: Town) -> None:
    town.unlink(FIRST_UNLINKING)
    folder = town.settings.archive_dir / str(day_of(0))
    folder.mkdir()
    assert broken(town) == [("archive_linked", str(folder))]
    town.unlink(FIRST_UNLINKING)
    town.check_audit()


def test_while_an_audit_reads_a_day_stays_as_it_sees_it(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_store, "_TRIES_MAX", 2)
    run, pool = town.store.run, town.store.pool
    auditing = reading(pool)
    run(auditing.__aenter__())
    try:
        with pytest.raises(DayInUse, match="being read"):
            town.unlink(FIRST_UNLINKING)
        assert (town.settings.archive_dir / str(day_of(0))).exists()
        # Taps go on meanwhile.
        town.tap("ann", "board", "bus M390", FIRST_UNLINKING, "13:00")
    finally:
        run(auditing.__aexit__(None, None, None))
    town.unlink(FIRST_UNLINKING)
    assert leads(town) == []
    town.check_audit()


def test_a_day_that_is_not_whole_stays_as_it_is(town: Town) -> None:
    path = town.settings.archive_dir / str(day_of(0)) / "tap.parquet"
    content = path.read_bytes()
    path.write_bytes(spoiled(content))
    with pytest.raises(ArchiveDiffers, match="whole"):
        town.unlink(FIRST_UNLINKING)
    path.write_bytes(content)
    assert town.check_audit().unlinked_days_count == 0
    assert town.store.run(town.store.pool.fetchval("SELECT count(*) FROM wallet_base")) == 0


def test_the_manifest_tells_what_the_day_was(town: Town) -> None:
    was = json.loads((town.settings.archive_dir / str(day_of(0)) / "manifest.json").read_bytes())
    [kept] = town.store.run(
        town.store.pool.fetch("SELECT * FROM log_day WHERE service_day = $1", day_of(0))
    )
    town.unlink(FIRST_UNLINKING)
    folder = town.settings.archive_dir / f"{day_of(0)}.unlinked"
    said = json.loads((folder / "manifest.json").read_bytes())
    assert said["was_sha256"] == kept["manifest_sha256"]
    assert said["tally"] == was["tally"]
    assert said["files"]["journal_entry.parquet"] == was["files"]["journal_entry.parquet"]


def test_a_rider_is_told_of_no_place_of_an_unlinked_day(town: Town) -> None:
    town.unlink(LAST_UNLINKING)
    run, pool, now = town.store.run, town.store.pool, moment(LAST_UNLINKING, "13:00")
    for name in ("ann", "bob", "cai", "dan", "eve", "fay", "gus", "hal"):
        wallet = town.store.wallet(uuid5(NAMESPACE_URL, name))
        told = encode(run(run_export(pool, wallet, town.settings.archive_dir)), JSON)
        told += encode(
            run(run_journeys(pool, wallet.wallet_id, now=now, history_days=400, limit=100)), JSON
        )
        assert name.encode() in told
        assert MONDAYS_STOP.encode() not in told
    assert run(load_kept(pool, town.taps["ann 0 08:00"].tap_id)) is None


def test_what_was_put_right_stays_without_its_place(town: Town) -> None:
    run, pool = town.store.run, town.store.pool
    [before] = run(pool.fetch("SELECT * FROM correction"))
    town.unlink(FIRST_UNLINKING)
    [after] = run(pool.fetch("SELECT * FROM correction"))
    kept = {name for name in dict(before) if before[name] == after[name]}
    assert kept == set(dict(before)) - {"wish", "amendment", "note"}
    assert json.loads(after["wish"])["kind"] == "missing_exit"


def test_a_day_is_refused_that_is_too_young_or_still_needed(town: Town) -> None:
    assert town.unlink(FIRST_UNLINKING - 1) == []
    with pytest.raises(UnlinkRefused, match="must stay linked"):
        town.unlink(FIRST_UNLINKING, before=2)
    assert town.unlink(LAST_UNLINKING, before=0) == []
    town.settings = structs.replace(town.settings, unlink_days=RETENTION_DAYS)
    *_, last = town.unlink(ARCHIVING_DAY, is_dry_run=True)
    assert str(last) == (
        f"{day_of(LAST_DAY)}  stays linked: it acts on prices until {day_of(LAST_DAY + 1)}, "
        "which taps may still be late for"
    )
    town.settings = structs.replace(town.settings, unlink_days=0)
    with pytest.raises(UnlinkRefused, match="for ever"):
        town.unlink(LAST_UNLINKING)
    town.settings = structs.replace(town.settings, unlink_days=RETENTION_DAYS - 1)
    with pytest.raises(UnlinkRefused, match="only an archived day"):
        town.unlink(LAST_UNLINKING)


def test_a_day_that_is_not_archived_stays(town: Town) -> None:
    *_, last = town.unlink(ARCHIVING_DAY + 60)
    assert last.service_day == day_of(ARCHIVING_DAY - 5)
    assert last.still_needed == f"{last.service_day} is not archived; run `faregate archive`"


def test_a_dry_run_says_what_would_go_and_unlinks_nothing(town: Town) -> None:
    found = town.unlink(LAST_UNLINKING, is_dry_run=True)
    assert [str(one) for one in found] == [f"{day_of(n)}  can be unlinked" for n in range(3)]
    assert town.check_audit().unlinked_days_count == 0


async def as_owner(town: Town, sql: str) -> None:
    connection = await asyncpg.connect(town.dsn)
    await connection.execute(sql)
    await connection.close()


def give(town: Town, name: str, rule_id: str, amount_fen: int) -> None:
    wallet_id = uuid5(NAMESPACE_URL, name)
    gives = GrantMoney(uuid5(wallet_id, rule_id), rule_id, amount_fen, funder_id="icbc")
    town.store.take_wishes([Wish(wallet_id, grants=gives)], moment(0, "05:30"))


def put_right(town: Town, tap: str, kind: CorrectionKind, **more: object) -> None:
    """The desk corrects a tap an hour later, and notes where that was."""
    found = town.taps[tap]
    wish = CorrectionWish(
        uuid5(found.tap_id, kind),
        uuid5(NAMESPACE_URL, found.media_token),
        kind,
        Reason.GATE_FAULT,
        note=f"was at {found.stop_id}",
        tap_id=found.tap_id,
        **more,
    )
    done = run_correction(
        town.store.pool,
        wish,
        maker="desk",
        registry=REGISTRY,
        book=BOOK,
        terms=TERMS,
        now=found.tapped_at + timedelta(hours=1),
    )
    assert town.store.run(done).state == "booked"


def leads(town: Town) -> list[tuple[str, bytes]]:
    """Every row of database and archive that names a rider and Monday's stop."""
    riders = [*{tap.media_token.encode() for tap in town.taps.values()}, *wallet_ids(town)]
    found = [*rows_of_database(town), *rows_of_archive(town)]
    return [
        (name, row)
        for name, row in found
        if MONDAYS_STOP.encode() in row and any(rider in row for rider in riders)
    ]


def wallet_ids(town: Town) -> Iterator[bytes]:
    ids = [row[0] for row in town.store.run(town.store.pool.fetch("SELECT wallet_id FROM wallet"))]
    ids += [tap.tap_id for tap in town.taps.values()]
    for each in ids:
        yield each.bytes
        yield str(each).encode()


def rows_of_database(town: Town) -> Iterator[tuple[str, bytes]]:
    """Every row of every table, all of its columns one after the other."""
    run, pool = town.store.run, town.store.pool
    tables = run(pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
    for table in [row[0] for row in tables]:
        for row in run(pool.fetch(f'SELECT * FROM "{table}"')):
            yield table, b"\0".join(map(as_bytes, row.values()))


def as_bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.bytes + str(value).encode() if isinstance(value, UUID) else str(value).encode()


def rows_of_archive(town: Town) -> Iterator[tuple[str, bytes]]:
    """Every row of the files, and every file without its compression."""
    session = duckdb.connect()
    for path in sorted(town.settings.archive_dir.rglob("*.parquet")):
        found = session.execute(f"SELECT COLUMNS(*)::VARCHAR FROM '{path}'").fetchall()
        for row in found:
            yield path.name, b"\0".join(map(as_bytes, row))
        plain = town.folder / "plain"
        session.execute(
            f"COPY (FROM '{path}') TO '{plain}' (FORMAT parquet, COMPRESSION uncompressed)"
        )
        yield path.name, plain.read_bytes()


def spoiled(content: bytes) -> bytes:
    return content[:-20] + bytes([content[-20] ^ 1]) + content[-19:]
