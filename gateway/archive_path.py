"""Old days leave the database: written to Parquet, read back, compared, and only then dropped.

One day is one transaction, the oldest first. Its folder is put in place before the commit, so a run
that breaks off anywhere is simply run again: either the day is still in the database and the
folder is found to hold the same, or it is out and marked as such.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

from msgspec import Struct

from fare_rules import TariffBook
from gateway.core.days import closing
from gateway.core.wallets import Wallet
from gateway.shell.archive_files import ENTRIES, TAPS, DayManifest, DayWriter
from gateway.shell.archive_store import (
    DayWork,
    archive_connection,
    day_work,
    list_days,
    try_again,
)
from gateway.shell.settings import Settings, retention_fault


class ArchiveRefused(Exception):
    """No day may be archived like this; the text says why and what to do."""


class DayTaken(Struct, frozen=True):
    """A day that was archived, or (on a dry run) could be; else why it is still needed."""

    service_day: date
    manifest: DayManifest | None = None
    still_needed: str | None = None

    def __str__(self) -> str:
        if self.still_needed:
            return f"{self.service_day}  stays: {self.still_needed}"
        if self.manifest is None:
            return f"{self.service_day}  can be archived"
        tally = self.manifest.tally
        return f"{self.service_day}  {tally.taps_count:,} taps  {tally.entries_count:,} entries"


async def run_archive(
    dsn: str,
    *,
    settings: Settings,
    book: TariffBook,
    now: datetime,
    before: date | None = None,
    is_dry_run: bool = False,
    say: Callable[[DayTaken], None] = lambda day: None,
    after: Callable[[str], None] = lambda step: None,
) -> list[DayTaken]:
    """Archive every day older than the retention time, or than `before`, up to one still needed.

    Shape:  oldest first, and none after one that is still needed: what a wallet goes on from is
            kept of its newest archived day alone. `say` hears of each day when it is done, `after`
            of each step.
    Raises: ArchiveRefused for settings or a `before` that contradict each other; NotTheOwner;
            ArchiveDiffers when the archive holds something else already; DayInUse when taps or an
            audit did not let go of a day. What was archived before stays archived.
    """
    late_days = late_days_max(settings, book)
    if fault := retention_fault(settings, late_days, "the tariff"):
        raise ArchiveRefused(fault)
    kept_since = book.service_day_of(now) - timedelta(days=settings.retention_days)
    if before is not None and before > kept_since:
        raise ArchiveRefused(
            f"Days since {kept_since} must stay: FAREGATE_RETENTION_DAYS is "
            f"{settings.retention_days}. Give an earlier day, or keep them for less long."
        )
    late_since = book.service_day_of(now - timedelta(days=late_days))
    taken: list[DayTaken] = []
    async with archive_connection(dsn) as connection:
        days = await list_days(connection)
        for day in [day for day, is_archived in days.items() if not is_archived]:
            if day >= (before or kept_since):
                break
            async with day_work(connection, day) as work:
                await work.lock()
                reason = await _why_needed(work, day, book)
                manifest = None
                if reason is None and not is_dry_run:
                    manifest = await _archive(
                        work, day, book, settings.archive_dir, late_since, after
                    )
            after("committed")
            taken.append(DayTaken(day, manifest, reason))
            say(taken[-1])
            if reason:
                break
    return taken


def late_days_max(settings: Settings, book: TariffBook) -> int:
    """How many days late a tap may come, by the settings or else by any tariff."""
    by_tariff = max(tariff.late_taps_days for tariff in book.tariffs)
    return settings.tap_age_days_max or by_tariff


async def _why_needed(work: DayWork, day: date, book: TariffBook) -> str | None:
    closed_through = await work.closed_through()
    if closed_through is None or closed_through < day:
        return f"it is not settled; run `faregate settle close --service-day {day}`"
    settled_through = await work.settled_through()
    if settled_through is not None and settled_through > closed_through:
        return f"a correction of it is settled with {settled_through}, which is not closed"
    waiting = [
        wallet
        for wallet in await work.list_wallets_with_open_legs()
        if _has_open_leg_of(wallet, day, book)
    ]
    if waiting:
        return (
            f"legs of {len(waiting)} wallets are neither closed nor charged; the next "
            "`faregate settle close` charges them"
        )
    return None


def _has_open_leg_of(wallet: Wallet, day: date, book: TariffBook) -> bool:
    return any(
        rider.open_until is not None
        and (wallet.swept_until is None or rider.open_until > wallet.swept_until)
        and rider.state.open_tap is not None
        and book.service_day_of(rider.state.open_tap.tapped_at) <= day
        for rider in wallet.riders.values()
    )


async def _archive(
    work: DayWork,
    day: date,
    book: TariffBook,
    folder: Path,
    late_since: date,
    after: Callable[[str], None],
) -> DayManifest:
    after("locked")
    with contextlib.closing(DayWriter(folder, day, await work.schema())) as writer:
        async for taps in work.taps():
            writer.add_taps(taps)
        writer.write(TAPS)
        after("taps written")
        async for entries in work.entries():
            writer.add_entries(entries)
        writer.write(ENTRIES)
        after("entries written")
        manifest, sha256 = writer.seal()
    after("sealed")
    async for wallet_days in work.wallet_days_to_remember(late_since):
        # A day that no tap can be of, so that nothing else is ever kept under it.
        await work.remember(
            {
                (i, day + timedelta(days=1)): closing([each], book, amendments)
                for i, each, amendments in wallet_days
            }
        )
    after("remembered")
    await try_again(lambda: work.take_out(sha256, late_since))
    after("taken out")
    return manifest
