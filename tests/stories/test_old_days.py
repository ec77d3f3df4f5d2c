"""Days that grow old go to the archive; what may still be asked is answered as before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import duckdb
import pytest
from _stores import HARBOUR, MIDNIGHT
from _town import RETENTION_DAYS, Killed, Town, broken, day_of, killed_after, moment
from msgspec import structs

from fare_rules import load_book
from gateway.archive_path import ArchiveRefused
from gateway.core.decide import KeptTap
from gateway.core.purse_desk import GrantMoney
from gateway.core.taps import TapOutcome
from gateway.core.wallet_wishes import Wish
from gateway.reconcile_path import run_reconciliation
from gateway.rider_path import WalletExport, run_export
from gateway.shell import archive_store, rows
from gateway.shell.archive_files import ArchiveDiffers, read_entries, read_taps
from gateway.shell.archive_store import DayInUse
from gateway.shell.campaign_store import list_campaign_days, list_campaigns, prepare_campaigns
from gateway.shell.held_store import load_held
from gateway.shell.kept_store import read_days

BOOK = load_book(MIDNIGHT)
LAST_OLD_DAY = 2
# The first day on which all of the old days are past the retention time, and none of the others.
ARCHIVING_DAY = LAST_OLD_DAY + RETENTION_DAYS + 1
RECENT_DAY = ARCHIVING_DAY - 5
STEPS = (
    "locked", "taps written", "entries written", "sealed", "remembered", "taken out", "committed",
)  # fmt: skip


@pytest.fixture
def town(database: str, tmp_path: Path) -> Iterator[Town]:
    """Three days of long ago and two of this week, all closed but the last."""
    town = Town(BOOK, database, tmp_path)
    for name in ("ann", "bob", "cai"):
        town.rider(name)
    for day in range(LAST_OLD_DAY + 1):
        town.tap("ann", "board", "bus M390", day, "08:00")
        town.tap("ann", "enter", "metro luohu", day, "17:50")
        town.tap("ann", "exit", "metro laojie", day, "18:10")
    # Bob never rode again, and never came out.
    town.tap("bob", "enter", "metro luohu", 0, "09:00")
    town.tap("cai", "board", "bus M390", 1, "09:00")
    town.tap("cai", "exit", "metro laojie", 1, "10:00", arrives=3)
    town.close(1)
    town.tap("ann", "board", "bus M506", 2, "07:00", arrives=4)
    town.close(LAST_OLD_DAY)
    for day in (RECENT_DAY, RECENT_DAY + 1):
        town.tap("ann", "board", "bus M390", day, "08:00")
        town.tap("ann", "board", "bus M506", day, "08:20")
        town.close(day - 1)
    yield town
    town.store.close()


def test_a_rider_is_given_what_is_kept_whether_or_not_its_days_are_old(town: Town) -> None:
    wallet_id = uuid5(NAMESPACE_URL, "ann")

    def exported() -> WalletExport:
        wallet = town.store.wallet(wallet_id)
        return town.store.run(run_export(town.store.pool, wallet, town.settings.archive_dir))

    before = exported()
    town.archive(ARCHIVING_DAY)
    assert exported() == before
    assert len(before.taps) == sum(one.startswith("ann ") for one in town.taps)


def test_what_is_held_for_riders_is_told_as_before(database: str, tmp_path: Path) -> None:
    """Money was granted, spent and paid in on days that nobody but the archive remembers."""
    town = Town(load_book(HARBOUR), database, tmp_path)
    town.rider("ann")
    wallet_id = uuid5(NAMESPACE_URL, "ann")
    gift = GrantMoney(uuid5(wallet_id, "gift"), "gift", 700, "icbc")
    town.store.take_wishes([Wish(wallet_id, grants=gift)], moment(0, "06:00"))
    for day in (0, 1, RECENT_DAY):
        town.tap("ann", "board", "bus M390", day, "08:00")
        town.close(day - 1)
    now = moment(ARCHIVING_DAY, "12:00")

    def held():
        return town.store.run(load_held(town.store.pool, now, town.settings.archive_dir))

    before = held()
    assert [(one.what, one.amount_fen) for one in before.held] == [
        ("main purse", 100_000),
        ("gift", 100),
    ]
    assert len(town.archive(ARCHIVING_DAY)) == 2
    assert held() == before
    town.store.close()


def test_a_ride_that_began_on_an_old_day_is_no_break_of_a_later_one(
    database: str, tmp_path: Path
) -> None:
    """Its exit is still in the log, its entry is not; nobody asks for that day any more."""
    town = Town(BOOK, database, tmp_path)
    town.rider("ann")
    town.tap("ann", "enter", "metro luohu", 0, "23:50")
    town.tap("ann", "exit", "metro laojie", 1, "00:10")
    town.close(1)
    town.tap("ann", "board", "bus M390", RECENT_DAY, "08:00")
    town.close(RECENT_DAY)
    assert len(town.archive(RETENTION_DAYS + 1)) == 1
    day = day_of(RECENT_DAY)
    found = town.store.run(
        run_reconciliation(town.store.pool, BOOK, since=day, through=day, today=day)
    )
    assert {str(one.kind) for one in found.breaks} == {"not_payable"}
    town.store.close()


def test_what_a_campaign_has_spent_is_told_as_before(database: str, tmp_path: Path) -> None:
    town = Town(load_book(MIDNIGHT.parent / "midnight_campaign"), database, tmp_path)
    run, pool = town.store.run, town.store.pool
    run(prepare_campaigns(pool, town.book, moment(0, "05:00")))
    town.rider("ann", issuer="icbc")
    for day in (0, 1):
        town.tap("ann", "enter", "metro luohu", day, "08:00")
        town.tap("ann", "exit", "metro laojie", day, "08:20")
    town.close(1)
    account = "icbc/october"
    before = run(list_campaigns(pool, account)), run(list_campaign_days(pool, account))
    assert [(one.spent_fen, one.invoiced_fen, one.left_fen) for one in before[0]] == [
        (2 * 299, 2 * 299, 5_000 - 2 * 299)
    ]
    assert len(town.archive(RETENTION_DAYS + 1)) == 1
    assert (run(list_campaigns(pool, account)), run(list_campaign_days(pool, account))) == before
    town.check_audit()
    town.store.close()


def test_a_ride_that_a_campaign_could_not_pay_any_more_is_audited_as_before(
    database: str, tmp_path: Path
) -> None:
    town = Town(load_book(MIDNIGHT.parent / "midnight_campaign"), database, tmp_path)
    run, pool = town.store.run, town.store.pool
    run(prepare_campaigns(pool, town.book, moment(0, "05:00")))
    # The bank pays for fifteen rides.
    for number in range(16):
        town.rider(f"rider {number}", issuer="icbc")
        town.tap(f"rider {number}", "enter", "metro luohu", 0, f"08:{number:02}")
        town.tap(f"rider {number}", "exit", "metro laojie", 0, f"09:{number:02}")
    town.close(0)
    before, kept = town.check_audit(), kept_taps(town)
    assert [one.facts.without for one in kept if one.facts.without] == [("october",)]
    assert len(town.archive(RETENTION_DAYS + 1)) == 1
    archived = read_taps([town.settings.archive_dir / str(day_of(0)) / "tap.parquet"])
    assert {one.tap.tap_id: one for one in archived} == {one.tap.tap_id: one for one in kept}
    assert structs.replace(town.check_audit(), archived_days_count=0) == before
    town.store.close()


def test_nothing_of_the_days_kept_is_answered_otherwise(town: Town) -> None:
    answers, files = town.answers_since(RECENT_DAY), town.settlement_files()
    before = town.check_audit()
    taken = town.archive(ARCHIVING_DAY)
    assert [one.service_day for one in taken] == [day_of(n) for n in range(LAST_OLD_DAY + 1)]
    assert town.archived_days() == [day_of(n) for n in range(LAST_OLD_DAY + 1)]
    assert town.count("tap") == 4
    assert town.answers_since(RECENT_DAY) == answers
    assert len(answers) == 4
    assert town.settlement_files() == files
    after = town.check_audit()
    assert structs.replace(after, archived_days_count=0) == before
    assert after.archived_days_count == 3


def test_a_day_kept_is_not_taken_and_a_second_run_finds_nothing(town: Town) -> None:
    assert town.archive(ARCHIVING_DAY - LAST_OLD_DAY - 1) == []
    town.archive(ARCHIVING_DAY)
    assert town.archive(ARCHIVING_DAY) == []


def test_every_tap_and_entry_can_be_made_again_from_the_files(town: Town) -> None:
    taps, entries = kept_taps(town), kept_entries(town)
    town.archive(ARCHIVING_DAY)
    folders = [town.settings.archive_dir / str(day_of(n)) for n in range(LAST_OLD_DAY + 1)]
    archived = list(read_taps([folder / "tap.parquet" for folder in folders]))
    assert len(archived) == 13
    assert by_id([*archived, *kept_taps(town)]) == by_id(taps)
    written = list(read_entries([folder / "journal_entry.parquet" for folder in folders]))
    assert sorted([*written, *kept_entries(town)], key=repr) == sorted(entries, key=repr)


def test_anybody_can_ask_the_files(town: Town) -> None:
    town.archive(ARCHIVING_DAY)
    folder = town.settings.archive_dir
    found = duckdb.sql(
        f"SELECT network, count(*) FROM '{folder}/*/tap.parquet' GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert found == [("bus", 5), ("metro", 8)]
    [(paid_fen,)] = duckdb.sql(
        f"""SELECT sum(posting.amount_fen) FROM (
        SELECT unnest(postings) AS posting FROM '{folder}/*/journal_entry.parquet')
        WHERE posting.account LIKE 'operator:%'"""
    ).fetchall()
    manifests = [json.loads(path.read_bytes()) for path in sorted(folder.glob("*/manifest.json"))]
    assert paid_fen == sum(one["tally"]["money_fen"]["operators"] for one in manifests) > 0


def test_a_repeat_of_a_day_kept_hears_the_same_and_one_of_an_archived_day_is_too_old(
    town: Town,
) -> None:
    town.archive(ARCHIVING_DAY)
    recent, old = town.taps[f"ann {RECENT_DAY} 08:00"], town.taps["ann 0 08:00"]
    first = town.answers_since(RECENT_DAY)[recent.tap_id][0].result
    entries_count, wallet = town.count("journal_entry"), town.store.wallet(ann(town))
    assert town.send(recent, moment(ARCHIVING_DAY, "12:00")) == first
    refused = town.send(old, moment(ARCHIVING_DAY, "12:00"))
    assert refused.outcome is TapOutcome.TOO_OLD
    assert town.send(old, moment(ARCHIVING_DAY + 1, "12:00")) == refused
    assert town.count("journal_entry") == entries_count
    assert town.store.wallet(ann(town)) == wallet
    town.check_audit()


def test_a_late_tap_still_moves_the_days_after_it(town: Town) -> None:
    town.archive(ARCHIVING_DAY)
    town.tap("ann", "board", "bus M390", RECENT_DAY, "08:10", arrives=ARCHIVING_DAY)
    corrected = {e.service_day for e in kept_entries(town) if e.kind == "correction"}
    assert corrected == {day_of(RECENT_DAY + 1)}
    town.check_audit()


def test_whoever_stayed_away_goes_on_from_where_the_archive_left_off(town: Town) -> None:
    town.archive(ARCHIVING_DAY)
    assert town.tap("bob", "exit", "metro laojie", ARCHIVING_DAY, "12:30").fare_fen == 700
    town.tap("bob", "board", "bus M390", ARCHIVING_DAY - 1, "08:00", arrives=ARCHIVING_DAY + 1)
    town.tap("cai", "board", "bus M390", ARCHIVING_DAY, "09:00")
    town.check_audit()


@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_killed_after_any_step_is_simply_run_again(town: Town, step: str) -> None:
    answers, files = town.answers_since(RECENT_DAY), town.settlement_files()
    before = town.check_audit()
    for _ in range(2):
        with pytest.raises(Killed):
            town.archive(ARCHIVING_DAY, after=killed_after(step))
        town.check_audit()
    town.archive(ARCHIVING_DAY)
    assert town.archived_days() == [day_of(n) for n in range(LAST_OLD_DAY + 1)]
    folder = town.settings.archive_dir
    assert sorted(path.name for path in folder.iterdir()) == [
        str(day) for day in town.archived_days()
    ]
    assert structs.replace(town.check_audit(), archived_days_count=0) == before
    assert town.answers_since(RECENT_DAY) == answers
    assert town.settlement_files() == files


@pytest.mark.parametrize("name", ["tap.parquet", "journal_entry.parquet", "manifest.json"])
def test_a_changed_or_missing_file_is_named(town: Town, name: str) -> None:
    town.archive(ARCHIVING_DAY)
    path = town.settings.archive_dir / str(day_of(1)) / name
    content = path.read_bytes()
    path.write_bytes(content[:-20] + b"0" + content[-19:])
    assert ("archive_changed", str(path)) in broken(town)
    path.unlink()
    assert ("archive_missing", str(path)) in broken(town)
    path.write_bytes(content)
    town.check_audit()


def test_a_fare_raised_in_the_files_is_named(town: Town) -> None:
    """By somebody who makes the manifest fit, too."""
    town.archive(ARCHIVING_DAY)
    folder = town.settings.archive_dir / str(day_of(1))
    path = folder / "journal_entry.parquet"
    session = duckdb.connect()
    session.execute(f"CREATE TABLE entry AS SELECT * FROM '{path}'")
    session.execute("UPDATE entry SET ride_count = ride_count + 1 WHERE kind = 'fare'")
    session.execute(f"COPY entry TO '{path}' (FORMAT parquet)")
    assert ("archive_changed", str(path)) in broken(town)
    manifest = folder / "manifest.json"
    said = json.loads(manifest.read_bytes())
    said["files"]["journal_entry.parquet"] = "0" * 64
    manifest.write_text(json.dumps(said))
    assert ("archive_changed", str(manifest)) in broken(town)


def test_a_file_of_nobody_is_named(town: Town) -> None:
    town.archive(ARCHIVING_DAY)
    folder = town.settings.archive_dir
    (folder / "2001-01-01").mkdir()
    (folder / str(day_of(0)) / "more.parquet").write_bytes(b"")
    assert broken(town) == [
        ("archive_extra", str(folder / "2001-01-01")),
        ("archive_extra", str(folder / str(day_of(0)) / "more.parquet")),
    ]


def test_a_folder_that_holds_another_day_is_not_written_over(town: Town) -> None:
    with pytest.raises(Killed):
        town.archive(ARCHIVING_DAY, after=killed_after("sealed"))
    path = town.settings.archive_dir / str(day_of(0)) / "tap.parquet"
    path.write_bytes(b"of another gateway")
    with pytest.raises(ArchiveDiffers, match="Move it away"):
        town.archive(ARCHIVING_DAY)
    assert path.read_bytes() == b"of another gateway"
    assert town.archived_days() == []


def test_a_folder_with_half_a_manifest_is_not_written_over_either(town: Town) -> None:
    with pytest.raises(Killed):
        town.archive(ARCHIVING_DAY, after=killed_after("sealed"))
    path = town.settings.archive_dir / str(day_of(0)) / "manifest.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArchiveDiffers, match="Move it away"):
        town.archive(ARCHIVING_DAY)


def test_a_day_that_is_still_needed_stays_and_so_do_those_after_it(
    database: str, tmp_path: Path
) -> None:
    town = Town(BOOK, database, tmp_path)
    town.rider("ann")
    town.tap("ann", "board", "bus M390", 0, "08:00")
    town.tap("ann", "board", "bus M390", 1, "08:00")
    assert "not settled" in only_reason(town)
    town.close(0)
    town.tap("ann", "board", "bus M506", 0, "08:10", arrives=1)
    assert "correction" in only_reason(town)
    assert town.archived_days() == []
    town.close(1)
    town.archive(RETENTION_DAYS + 2)
    assert town.archived_days() == [day_of(0), day_of(1)]
    town.check_audit()
    town.store.close()


def test_a_leg_that_no_close_has_charged_keeps_its_day(database: str, tmp_path: Path) -> None:
    town = Town(BOOK, database, tmp_path)
    town.rider("bob")
    town.close(0)
    town.tap("bob", "enter", "metro luohu", 0, "09:00", arrives=3)
    town.store.run(town.store.pool.execute("SELECT open_log_day($1)", day_of(0)))
    assert "neither closed nor charged" in only_reason(town)
    town.store.close()


def test_a_gift_used_up_long_ago_is_used_up_for_a_late_tap_too(
    database: str, tmp_path: Path
) -> None:
    """Two rides in a lifetime cost a cent. An archived day remembers that they are gone."""
    town = Town(BOOK, database, tmp_path)
    town.rider("dan", "icbc")

    def ride(day: int, hour: int, arrives: int | None = None) -> int | None:
        town.tap("dan", "enter", "metro luohu", day, f"{hour:02}:00", arrives=arrives)
        town.tap("dan", "exit", "metro laojie", day, f"{hour:02}:20", arrives=arrives)
        return sum(
            -posting.amount_fen
            for entry in kept_entries(town)
            if entry.effective_at.date() == day_of(day)
            for posting in entry.postings
            if posting.account == "purse"
        )

    assert [ride(0, 8), ride(0, 12)] == [1, 2]
    town.close(0)
    assert len(town.archive(ARCHIVING_DAY)) == 1
    assert ride(ARCHIVING_DAY, 8) == 300
    assert ride(ARCHIVING_DAY - 1, 8, arrives=ARCHIVING_DAY + 1) == 300
    town.check_audit()
    town.store.close()


def test_an_entry_that_comes_in_after_its_leg_was_given_up_is_charged_as_such(
    database: str, tmp_path: Path
) -> None:
    """A close at noon of day 2 has charged another leg of the same wallet until then."""
    town = Town(BOOK, database, tmp_path)
    town.rider("bob")
    town.tap("bob", "enter", "metro luohu", 0, "09:00")
    town.close(1)
    town.tap("bob", "board", "bus M390", 1, "13:00", arrives=3)
    late = town.tap("bob", "enter", "metro laojie", 1, "14:00", arrives=3)
    assert late.outcome is TapOutcome.RIDE_CHARGED
    town.check_audit()
    town.store.close()


def test_a_dry_run_says_what_would_go_and_takes_nothing(town: Town) -> None:
    taken = town.archive(ARCHIVING_DAY, is_dry_run=True)
    assert [str(one) for one in taken] == [f"{day_of(n)}  can be archived" for n in range(3)]
    assert town.archived_days() == []
    assert not town.settings.archive_dir.exists()


def test_while_an_audit_reads_no_day_is_taken_from_under_it(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_store, "_TRIES_MAX", 2)
    run, pool = town.store.run, town.store.pool
    auditor = run(pool.acquire())
    run(auditor.execute("BEGIN; LOCK TABLE tap, journal_entry IN ACCESS SHARE MODE"))
    with pytest.raises(DayInUse, match="still being read"):
        town.archive(ARCHIVING_DAY)
    # Taps go on meanwhile.
    town.tap("ann", "board", "bus M390", ARCHIVING_DAY, "13:00")
    run(auditor.execute("COMMIT"))
    run(pool.release(auditor))
    assert len(town.archive(ARCHIVING_DAY)) == 3
    town.check_audit()


def test_a_retention_shorter_than_taps_may_be_late_is_refused(town: Town) -> None:
    town.settings = structs.replace(town.settings, retention_days=RETENTION_DAYS - 1)
    with pytest.raises(ArchiveRefused, match="too short"):
        town.archive(ARCHIVING_DAY)


def only_reason(town: Town) -> str:
    """Why the oldest day stays."""
    [stays] = town.archive(RETENTION_DAYS + 2)
    assert stays.service_day == day_of(0)
    assert stays.still_needed
    return stays.still_needed


def ann(town: Town):
    return next(kept.wallet_id for kept in kept_taps(town) if kept.tap.media_token == "ann")


def kept_taps(town: Town) -> list[KeptTap]:
    found = town.store.run(town.store.pool.fetch("SELECT * FROM tap"))
    return [rows.kept_from_row(row) for row in found]


def kept_entries(town: Town):
    found = town.store.run(town.store.pool.fetch("SELECT * FROM journal_entry"))
    return [rows.entry_from_row(row) for row in found]


def by_id(taps: list[KeptTap]) -> dict:
    return {kept.tap.tap_id: kept for kept in taps}


@pytest.mark.parametrize("before", [0, 18, 19, 44], ids="{} is the last day before".format)
def test_a_late_ride_goes_on_from_the_riders_last_day_however_long_ago(
    database: str, tmp_path: Path, before: int
) -> None:
    town = Town(BOOK, database, tmp_path)
    for name in ("ann", "bob"):
        town.rider(name)
    town.tap("ann", "board", "bus M390", 0, "08:00")
    town.tap("ann", "board", "bus M390", before, "09:00")
    for day in (50, 51):
        town.tap("ann", "board", "bus M390", day, "08:00")
        town.tap("bob", "board", "bus M390", day, "08:00")
    wallets = [town.store.wallet(uuid5(NAMESPACE_URL, name)) for name in ("ann", "bob")]
    found = town.store.run(read_days(town.store.pool, wallets, [day_of(49)] * 2))
    anns, bobs = (found[wallet.wallet_id].days for wallet in wallets)
    assert [each.day for each in anns] == [day_of(before), day_of(50), day_of(51)]
    assert len(anns[0].taps) == (2 if before == 0 else 1)
    assert [each.day for each in bobs] == [day_of(50), day_of(51)]
    town.store.close()
