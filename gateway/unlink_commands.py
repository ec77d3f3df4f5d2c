"""`faregate unlink`: days that are old enough lead to nobody any more."""

from __future__ import annotations

from datetime import UTC, date, datetime

from fare_rules import load_book
from gateway.journey_options import OK, PROBLEMS_FOUND
from gateway.shell.archive_files import ArchiveDiffers
from gateway.shell.archive_store import DayInUse
from gateway.shell.settings import Settings
from gateway.unlink_path import UnlinkRefused, run_unlink


async def unlink_days(
    settings: Settings, dsn: str, before: date | None, *, is_dry_run: bool
) -> int:
    """Unlink, and say so of each day; 1 when one had to stay."""
    try:
        found = await run_unlink(
            dsn,
            settings=settings,
            book=load_book(settings.tariffs_dir),
            now=datetime.now(UTC),
            before=before,
            is_dry_run=is_dry_run,
            say=print,
        )
    except (UnlinkRefused, ArchiveDiffers, DayInUse) as refused:
        print(refused)
        return PROBLEMS_FOUND
    return PROBLEMS_FOUND if any(day.still_needed for day in found) else OK
