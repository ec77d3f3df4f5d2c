"""`faregate archive` and `faregate unlink`: what becomes of days that are old enough."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from functools import partial

from fare_rules import load_book
from gateway.archive_path import ArchiveRefused, DayTaken
from gateway.exit_codes import OK, PROBLEMS_FOUND
from gateway.shell.archive_files import ArchiveDiffers, ArchiveMissing, disk_faults
from gateway.shell.archive_store import DayInUse
from gateway.shell.settings import Settings
from gateway.unlink_path import DayUnlinked, UnlinkRefused


async def tell_days(
    run: Callable[..., Awaitable[Sequence[DayTaken | DayUnlinked]]],
    settings: Settings,
    dsn: str,
    before: date | None,
    *,
    is_dry_run: bool,
) -> int:
    """Archive or unlink, and say so of each day; 1 when one had to stay."""
    try:
        found = await run(
            dsn,
            settings=settings,
            book=load_book(settings.tariffs_dir),
            now=datetime.now(UTC),
            before=before,
            is_dry_run=is_dry_run,
            say=partial(print, flush=True),
        )
    except (ArchiveRefused, UnlinkRefused, ArchiveDiffers, DayInUse) as refused:
        print(refused)
        return PROBLEMS_FOUND
    except disk_faults() as error:
        raise ArchiveMissing(f"The archive cannot be written: {error}") from error
    return PROBLEMS_FOUND if any(day.still_needed for day in found) else OK
