"""`faregate audit`: go on from the newest verified head, from a named one, or from none."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

from fare_rules import load_book
from gateway.audit_parts import Crew
from gateway.audit_path import run_head_audit
from gateway.exit_codes import CANNOT_RUN, OK, PROBLEMS_FOUND
from gateway.shell.audit_store import HeadEdited, find_head
from gateway.shell.database import open_pool
from gateway.shell.settings import Settings


async def audit_books(
    settings: Settings, dsn: str, *, full: bool, since: str | None, processes: int | None
) -> int:
    """Audit, say what was found and what it took; keep a head if all is right."""
    started_at = time.perf_counter()
    crew = Crew(dsn, processes or len(os.sched_getaffinity(0)))
    pool = await open_pool(dsn)
    try:
        head = None if full else await find_head(pool, since or "")
        if since is not None and head is None:
            print(f"no verified head's name begins with {since!r}")
            return CANNOT_RUN
        report = await run_head_audit(
            pool,
            load_book(settings.tariffs_dir),
            settings.archive_dir,
            crew=crew,
            since=head,
            now=datetime.now(UTC),
        )
    except HeadEdited as edited:
        print(edited)
        return PROBLEMS_FOUND
    finally:
        await pool.close()
    *lines, verdict = report.lines()
    for line in lines:
        print(line)
    cpu = [time.process_time(), *crew.cpu_seconds.values()]
    said = " + ".join(f"{seconds:.1f}" for seconds in cpu)
    print(f"took         {time.perf_counter() - started_at:>14.1f} s; CPU {said} s")
    print(verdict)
    return OK if report.is_passed else PROBLEMS_FOUND
