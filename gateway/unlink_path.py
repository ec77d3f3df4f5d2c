"""Unlinking: after a time, where and when somebody rode leads to no card and no wallet any more.

A day in the archive is written once more without its riders, and takes the place of what it was.
Its entries stay, for they are the books. What is remembered of its riders goes, too, where it names
a place; from what is left, later days are computed again as before (core/unlinking.py).

load     a day of the archive, whole, and its riders' wallets
decide   what of their memory stays, and where their books begin
save     that, some wallets at a time; the new folder, the mark, and the old folder is gone

The oldest day goes first, and each step may be done twice: a run that breaks off is run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
from msgspec import Struct

from fare_rules import TariffBook
from gateway.core.unlinking import (
    Base,
    DayRows,
    base_of,
    begun_at,
    days_remembered,
    forgotten_opening,
    last_day_of,
    resting,
    unlinked,
)
from gateway.shell.archive_files import (
    ENTRIES,
    TAPS,
    ArchivedDay,
    DayManifest,
    read_entries,
    read_taps,
)
from gateway.shell.archive_store import archive_connection, list_days, try_again
from gateway.shell.log_days import load_archived_days
from gateway.shell.settings import Settings, unlink_fault
from gateway.shell.trip_files import remove_trips
from gateway.shell.unlink_store import (
    Noted,
    RidersWork,
    check_alone,
    forget_places,
    mark,
    riders_work,
)
from gateway.shell.unlinked_files import check_whole, list_riders, remove_linked, write_unlinked

_WALLETS_AT_ONCE = 1_000


class UnlinkRefused(Exception):
    """No day may be unlinked like this; the text says why and what to do."""


class DayUnlinked(Struct, frozen=True):
    """A day that was unlinked, or (on a dry run) could be; else why it is still needed."""

    service_day: date
    manifest: DayManifest | None = None
    still_needed: str | None = None

    def __str__(self) -> str:
        if self.still_needed:
            return f"{self.service_day}  stays linked: {self.still_needed}"
        if self.manifest is None:
            return f"{self.service_day}  can be unlinked"
        return f"{self.service_day}  {self.manifest.tally.taps_count:,} taps lead to nobody"


async def run_unlink(
    dsn: str,
    *,
    settings: Settings,
    book: TariffBook,
    now: datetime,
    before: date | None = None,
    is_dry_run: bool = False,
    say: Callable[[DayUnlinked], None] = lambda day: None,
    after: Callable[[str], None] = lambda step: None,
) -> list[DayUnlinked]:
    """Unlink every archived day older than FAREGATE_UNLINK_DAYS, or than `before`.

    Shape:  oldest first, and none after one that is still needed. `say` hears of each day when it
            is done, `after` of each step.
    Raises: UnlinkRefused for settings or a `before` that contradict each other; NotTheOwner;
            ArchiveDiffers when a day is not whole; DayInUse when an audit did not let go of one.
    """
    today = book.service_day_of(now)
    if not settings.unlink_days:
        raise UnlinkRefused("FAREGATE_UNLINK_DAYS is 0: days stay linked for ever. Set it first.")
    if fault := unlink_fault(settings):
        raise UnlinkRefused(fault)
    kept_since = today - timedelta(days=settings.unlink_days)
    if before is not None and before > kept_since:
        raise UnlinkRefused(
            f"Days since {kept_since} must stay linked: FAREGATE_UNLINK_DAYS is "
            f"{settings.unlink_days}. Give an earlier day, or set it lower."
        )
    found: list[DayUnlinked] = []
    async with archive_connection(dsn) as connection:
        await check_alone(connection)
        is_archived = await list_days(connection)
        archived = {each.service_day: each for each in await load_archived_days(connection)}
        for day in is_archived:
            if day >= (before or kept_since):
                break
            if day in archived and archived[day].is_unlinked:
                if not is_dry_run:
                    _remove_linked(settings, day)
                continue
            last = day + timedelta(days=days_remembered(book))
            kept = [each for each, is_out in is_archived.items() if each <= last and not is_out]
            reason = manifest = None
            if kept:
                reason = f"{kept[0]} is not archived; run `faregate archive`"
            elif last >= today - timedelta(days=settings.retention_days):
                reason = f"it acts on prices until {last}, which taps may still be late for"
            elif not is_dry_run:
                manifest = await _unlink(connection, archived, day, book, now, settings, after)
            found.append(DayUnlinked(day, manifest, reason))
            say(found[-1])
            if reason:
                break
    return found


async def _unlink(
    connection: asyncpg.Connection,
    archived: dict[date, ArchivedDay],
    day: date,
    book: TariffBook,
    now: datetime,
    settings: Settings,
    after: Callable[[str], None],
) -> DayManifest:
    archive = settings.archive_dir
    # Taps are late by less than the retention time.
    none_before = book.service_day_of(now) - timedelta(days=settings.retention_days)
    check_whole(archive, archived[day])
    after("checked")
    riders, noted = list_riders(archive, archived[day]), list[Noted]()
    for start in range(0, len(riders), _WALLETS_AT_ONCE):
        ids = riders[start : start + _WALLETS_AT_ONCE]
        rows = _ArchivedRows(archive, archived, ids, day)
        async with riders_work(connection, ids) as work:
            noted += await _forget(work, rows, day, book=book, now=now, none_before=none_before)
            after("forgetting")
    after("forgotten")
    # After the bases, for until then the desk's facts are folded.
    await try_again(lambda: forget_places(connection, noted))
    after("noted")
    manifest, sha256 = write_unlinked(archive, archived[day])
    after("written")
    await try_again(lambda: mark(connection, day, sha256, after))
    after("committed")
    _remove_linked(settings, day)
    after("removed")
    return manifest


def _remove_linked(settings: Settings, day: date) -> None:
    remove_linked(settings.archive_dir, day)
    remove_trips(settings.trips_dir, day)


async def _forget(
    work: RidersWork,
    archived: _ArchivedRows,
    day: date,
    *,
    book: TariffBook,
    now: datetime,
    none_before: date,
) -> list[Noted]:
    """Forget where some riders were on a day; what the desk noted of it, still to be forgotten."""
    bases: dict[UUID, Base] = {}
    moved, openings, noted = [], {}, []
    for wallet_id, wallet in work.wallets.items():
        rows_of = archived.of(wallet_id)
        base = base_of(
            work.bases.get(wallet_id),
            day,
            rows_of,
            book,
            amendments=work.amendments.get(wallet_id, ()),
            swept_until=wallet.swept_until,
        )
        has_ridden_since = wallet.day is not None and wallet.day >= base.day
        if not has_ridden_since:
            base = resting(base, book, none_before)
        bases[wallet_id] = base
        after = unlinked(wallet, book, day) if has_ridden_since else begun_at(wallet, base, book)
        if after is not wallet:
            moved.append(after)
        for each, opening in work.openings.get(wallet_id, {}).items():
            if has_ridden_since or each > base.day:
                openings[wallet_id, each] = forgotten_opening(opening, book, day)
        if not has_ridden_since:
            openings[wallet_id, base.day] = base.opening
        ridden = {kept.tap.tap_id for kept in rows_of(day).taps}
        for one in work.noted.get(wallet_id, ()):
            amendment = one.amendment
            is_over = amendment is not None and last_day_of(amendment, book) <= day
            if one.is_telling and (is_over or one.wish.tap_id in ridden):
                noted.append(one)
    await work.save_bases(bases)
    await work.save_wallets(moved, now)
    await work.save_openings(openings)
    return noted


class _ArchivedRows:
    """What the archive has of some wallets: of one day, read before they are locked, and of others
    when they are asked for.
    """

    def __init__(
        self, archive: Path, archived: dict[date, ArchivedDay], ids: Sequence[UUID], day: date
    ) -> None:
        self._archive, self._archived, self._ids = archive, archived, frozenset(ids)
        self._between = (UUID(int=ids[0].int - 1) if ids[0].int else None, ids[-1])
        self._days = {day: self._read(day)}

    def of(self, wallet_id: UUID) -> Callable[[date], DayRows]:
        def rows_of(day: date) -> DayRows:
            if day not in self._days:
                self._days[day] = self._read(day)
            return self._days[day].get(wallet_id, DayRows([], []))

        return rows_of

    def _read(self, day: date) -> dict[UUID, DayRows]:
        archived = self._archived.get(day)
        if archived is None:
            return {}
        folder = self._archive / archived.folder
        found: dict[UUID, DayRows] = {}
        for kept in read_taps([folder / TAPS], self._between):
            if kept.wallet_id in self._ids:
                assert kept.wallet_id is not None
                found.setdefault(kept.wallet_id, DayRows([], [])).taps.append(kept)
        for entry in read_entries([folder / ENTRIES], self._between):
            if entry.wallet_id in self._ids:
                found.setdefault(entry.wallet_id, DayRows([], [])).entries.append(entry)
        return found
