"""The audit: every decision computed again from the tap log, every figure held against another.

run_audit        everything
run_head_audit   what is new since a verified head; of the rest, that it has not changed

load     one picture of the database, each row of the log counted and hashed
decide   wallets and settlements in parts (audit_parts.py), by one process or several
save     a new head, when nothing was found
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import asyncpg
from msgspec import Struct, structs

from fare_rules import TariffBook
from gateway.audit_parts import (
    Crew,
    Found,
    Part,
    Scene,
    audit_part,
    audit_settlement,
    list_settlements,
    parts_between,
    parts_of,
)
from gateway.core.audit_books import Break
from gateway.core.audit_heads import (
    Basis,
    Head,
    clock_breaks,
    day_breaks,
    head_content,
    head_name,
    unusable,
)
from gateway.envelope_path import audit_draw
from gateway.shell import audit_store as store
from gateway.shell.archive_files import (
    MANIFEST,
    ArchivedDay,
    Tally,
    folder_breaks,
    paths_of,
    read_manifest,
    stray_breaks,
)
from gateway.shell.envelope_store import list_draws
from gateway.shell.log_days import load_archived_days
from gateway.shell.transactions import Connection, reading

_BREAKS_SHOWN_MAX = 50


class AuditReport(Struct, frozen=True):
    """What was looked at, and what was found."""

    wallets_count: int
    taps_count: int
    entries_count: int
    settlements_count: int
    archived_days_count: int
    unlinked_days_count: int
    rider_fen: int
    operator_fen: int
    bank_fen: int
    sponsors_fen: int
    incomplete_count: int
    quarantined_count: int
    breaks: tuple[Break, ...]
    # What was verified anew and what by an earlier head, where one was asked for.
    notes: tuple[str, ...] = ()

    @property
    def sum_fen(self) -> int:
        return self.rider_fen + self.operator_fen + self.bank_fen + self.sponsors_fen

    @property
    def is_passed(self) -> bool:
        return not self.breaks

    def lines(self) -> Sequence[str]:
        shown = [f"  {one.kind}: {one.subject}: {one.fault}" for one in self.breaks]
        return [
            f"wallets      {self.wallets_count:>14,}",
            f"taps         {self.taps_count:>14,}   of them incomplete {self.incomplete_count:,},"
            f" quarantined {self.quarantined_count:,}",
            f"entries      {self.entries_count:>14,}",
            f"settlements  {self.settlements_count:>14,}",
            f"old days     {self.archived_days_count:>14,}   in the archive, of them unlinked and "
            f"verified by their entries alone {self.unlinked_days_count:,}",
            f"riders hold  {self.rider_fen:>14,} fen",
            f"operators    {self.operator_fen:>14,} fen",
            f"bank         {self.bank_fen:>14,} fen",
            f"sponsors     {self.sponsors_fen:>14,} fen",
            f"sum          {self.sum_fen:>14,} fen",
            *self.notes,
            *shown[:_BREAKS_SHOWN_MAX],
            "audit passed" if self.is_passed else f"audit FAILED: {len(shown)} breaks",
        ]


class _Todo(NamedTuple):
    """What is to be computed again."""

    wallets_count: int
    parts: list[Part]
    settlements: list[date]
    # Where rows that must not exist are looked for; None: everywhere.
    days: list[date] | None


async def run_audit(
    pool: asyncpg.Pool, book: TariffBook, archive: Path | None = None, *, crew: Crew | None = None
) -> AuditReport:
    """Look at everything in one consistent picture of the database, archived days included.

    Raises: ArchiveMissing when days are archived and there is nothing to read them with.
    """
    report, _ = await _audit(pool, book, archive, crew, since=None, now=None)
    return report


async def run_head_audit(
    pool: asyncpg.Pool,
    book: TariffBook,
    archive: Path | None = None,
    *,
    crew: Crew | None = None,
    since: Head | None,
    now: datetime,
) -> AuditReport:
    """Look at what is new since a head, or at everything; keep a new head if all is right."""
    report, head = await _audit(pool, book, archive, crew, since=since, now=now)
    if head is None or not report.is_passed:
        return report
    name = await store.save_head(pool, head)
    return structs.replace(report, notes=(*report.notes, f"head         {name}"))


async def _audit(
    pool: asyncpg.Pool,
    book: TariffBook,
    archive: Path | None,
    crew: Crew | None,
    *,
    since: Head | None,
    now: datetime | None,
) -> tuple[AuditReport, Head | None]:
    notes: list[str] = []
    async with reading(pool) as connection:
        picture = await store.look_at(connection)
        basis = Basis(version("faregate"), book.digest, picture.server, picture.columns)
        if since is not None and (why := unusable(since, basis)):
            notes.append(f"The head of {since.made_at:%F %R} is of no use: {why}.")
            since = None
        days = await load_archived_days(connection)
        known = [row[0] for row in await connection.fetch("SELECT service_day FROM log_day")]
        breaks, whole, tallies = _check_archive(archive, days, known)
        settlements = await list_settlements(connection)
        scan = await store.scan_log(connection, picture, since)
        if since is None:
            todo = await _all_to_do(connection, picture, settlements, crew)
        else:
            todo = await _new_to_do(connection, picture, settlements, crew, scan, since)
            breaks += day_breaks(since, scan.verified, {day.service_day for day in days})
            breaks += clock_breaks(since, picture.closed_through)
            notes.append(_note(since, picture, todo, len(settlements)))
        shared_since = await store.find_shared_since(connection)
        scene = Scene(book, archive, tuple(whole), shared_since)
        if crew and crew.is_worth_it(todo.wallets_count):
            found, more = await _do_with(crew, connection, scene, todo)
        else:
            found, more = await _do_here(pool, connection, scene, todo)
        incomplete_count = sum(part.incomplete_count for part in found)
        if since is not None:
            incomplete_count = await store.count_incomplete(connection)
            incomplete_count += sum(tally.incomplete_count for tally in tallies)
        else:
            unlinked = zip(whole, tallies, strict=True)
            incomplete_count += sum(t.incomplete_count for day, t in unlinked if day.is_unlinked)
        age = picture.ages_since(since.settled_below) if since else None
        for campaign_id in await list_draws(connection, age):
            breaks += await audit_draw(connection, campaign_id)
    breaks += [one for part in found for one in part.breaks]
    total = scan.total()
    report = AuditReport(
        wallets_count=picture.wallets_count,
        taps_count=total.taps_count + sum(tally.taps_count for tally in tallies),
        entries_count=total.entries_count + sum(tally.entries_count for tally in tallies),
        settlements_count=len(settlements),
        archived_days_count=len(days),
        unlinked_days_count=sum(day.is_unlinked for day in days),
        rider_fen=total.riders_fen + _archived_fen(tallies, "riders"),
        operator_fen=total.operators_fen + _archived_fen(tallies, "operators"),
        bank_fen=total.bank_fen + _archived_fen(tallies, "bank"),
        sponsors_fen=total.sponsors_fen + _archived_fen(tallies, "sponsors"),
        incomplete_count=incomplete_count,
        quarantined_count=scan.quarantined_count
        + sum(tally.quarantined_count for tally in tallies),
        breaks=(*breaks, *scan.breaks, *more),
        notes=tuple(notes),
    )
    if now is None:
        return report, None
    return report, Head(
        made_at=now,
        basis=basis,
        settled_below=picture.settled_below,
        closed_through=picture.closed_through,
        wallets_count=picture.wallets_count,
        days=scan.settled,
        settlements=settlements,
        since=head_name(head_content(since)) if since else None,
    )


def _archived_fen(tallies: Sequence[Tally], holder: str) -> int:
    return sum(tally.money_fen[holder] for tally in tallies)


async def _all_to_do(
    connection: Connection,
    picture: store.Picture,
    settlements: Mapping[date, str],
    crew: Crew | None,
) -> _Todo:
    bounds: list[UUID] = []
    if crew:
        each = crew.wallets_each(picture.wallets_count)
        bounds = await store.list_bounds(connection, each)
    return _Todo(picture.wallets_count, parts_between(bounds), list(settlements), None)


async def _new_to_do(
    connection: Connection,
    picture: store.Picture,
    settlements: Mapping[date, str],
    crew: Crew | None,
    scan: store.Scan,
    since: Head,
) -> _Todo:
    """Wallets with anything new; settlements that the head does not know as they are now, or that
    a new entry may be part of.
    """
    ids = await store.list_changed_wallets(connection, picture, since)
    each = crew.wallets_each(len(ids)) if crew else max(1, len(ids))
    changed = await store.list_changed_settlements(connection, picture, since)
    first = scan.first_settled_anew or date.max
    again = [
        day
        for day, manifest_sha256 in settlements.items()
        if day in changed or day >= first or since.settlements.get(day) != manifest_sha256
    ]
    return _Todo(len(ids), parts_of(ids, each), again, sorted(scan.days_with_new_rows))


async def _do_here(
    pool: asyncpg.Pool, connection: Connection, scene: Scene, todo: _Todo
) -> tuple[list[Found], tuple[Break, ...]]:
    found = [await audit_part(connection, scene, part) for part in todo.parts]
    breaks = await store.list_forbidden(connection, todo.days)
    for day in todo.settlements:
        breaks += await audit_settlement(pool, scene, day)
    return found, tuple(breaks)


async def _do_with(
    crew: Crew, connection: Connection, scene: Scene, todo: _Todo
) -> tuple[list[Found], tuple[Break, ...]]:
    picture = await store.export_picture(connection)
    async with crew.working():
        # The longest first.
        settling = [crew.audit_settlement(scene, day) for day in todo.settlements]
        auditing = [crew.audit_wallets(scene, picture, part) for part in todo.parts]
        settled, found, forbidden = await asyncio.gather(
            asyncio.gather(*settling),
            asyncio.gather(*auditing),
            store.list_forbidden(connection, todo.days),
        )
    return list(found), (*forbidden, *(one for breaks in settled for one in breaks))


def _note(since: Head, picture: store.Picture, todo: _Todo, settlements_count: int) -> str:
    """What was verified anew, and what by its head."""
    wallets_count = picture.wallets_count - todo.wallets_count
    by_head = settlements_count - len(todo.settlements)
    days_count = len(todo.days or ())
    return (
        f"anew         {todo.wallets_count:>14,}   wallets, new rows on {days_count} days, "
        f"{len(todo.settlements)} settlements\n"
        f"by its head  {wallets_count:>14,}   wallets, {len(since.days)} "
        f"days by their hashes, {by_head} settlements; head of {since.made_at:%F %R}"
    )


def _check_archive(
    archive: Path | None, days: Sequence[ArchivedDay], known: Sequence[date]
) -> tuple[list[Break], list[ArchivedDay], list[Tally]]:
    """Hold each file against its hash; a day that has changed or is missing is not read at all."""
    if archive is None:
        if days:
            paths_of(archive, days, MANIFEST)
        return [], [], []
    unlinked = {day.service_day for day in days if day.is_unlinked}
    breaks = list(stray_breaks(archive, known, unlinked))
    whole = []
    for day in days:
        found = list(folder_breaks(archive / day.folder, day))
        breaks += found
        whole += [] if any(one.kind != "archive_extra" for one in found) else [day]
    tallies = [read_manifest(archive, day).tally for day in whole]
    return breaks, whole, tallies
