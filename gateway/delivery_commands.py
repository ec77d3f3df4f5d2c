"""`faregate deliver`: bring operators their settlement files."""

from __future__ import annotations

import asyncio

from gateway.delivery_path import run_deliveries
from gateway.exit_codes import OK, PROBLEMS_FOUND
from gateway.shell.database import open_pool
from gateway.shell.settings import Settings

_WATCH_SECONDS = 15


async def deliver(settings: Settings, dsn: str, *, watches: bool) -> int:
    """Send what is due and say how it went; with `watches`, again and again."""
    pool = await open_pool(dsn)
    try:
        while True:
            found = await run_deliveries(pool, settings)
            print(
                f"{found.sent_count} sent, {found.failed_count} failed, "
                f"{found.acknowledged_count} acknowledged",
                flush=True,
            )
            if not watches:
                return PROBLEMS_FOUND if found.failed_count else OK
            await asyncio.sleep(_WATCH_SECONDS)
    finally:
        await pool.close()
