"""`faregate corrections list` and `faregate disruptions apply`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cyclopts import App

from fare_rules import load_book
from gateway.disruption_path import run_disruptions
from gateway.exit_codes import CANNOT_RUN, OK
from gateway.shell.correction_store import list_corrections
from gateway.shell.database import open_pool
from gateway.shell.environment import read_settings

corrections_app = App(name="corrections", help="What was put right, and what waits for a person.")
disruptions_app = App(name="disruptions", help="Rides that a disruption left with one end.")
_AT_ONCE = 500


@disruptions_app.command
def apply() -> int:
    """Put right the rides of every disruption that was agreed to and has ended.

    May be run again, and is at every close.
    """
    settings = read_settings()
    if not settings.database_url:
        print("FAREGATE_DATABASE_URL is not set; the next close applies them, too.")
        return CANNOT_RUN
    asyncio.run(_apply(str(settings.database_url), settings.tariffs_dir))
    return OK


async def _apply(url: str, tariffs: Path) -> None:
    pool = await open_pool(url)
    try:
        done = await run_disruptions(pool, load_book(tariffs), datetime.now(UTC))
        print(
            f"{done.disruptions_count} disruptions, {done.corrected_count} rides put right, "
            f"{done.refused_count} left for a person"
        )
    finally:
        await pool.close()


@corrections_app.command(name="list")
def list_(state: Literal["proposed", "booked", "rejected"] | None = None) -> int:
    """List the corrections as they were proposed, one a line.

    Parameters
    ----------
    state
        Only those that are so.
    """
    url = read_settings().database_url
    if not url:
        print("FAREGATE_DATABASE_URL is not set; ask GET /v1/corrections of a running gateway.")
        return CANNOT_RUN
    asyncio.run(_list(str(url), state))
    return OK


async def _list(url: str, state: str | None) -> None:
    pool = await open_pool(url)
    try:
        after, count = None, 0
        while found := await list_corrections(pool, after, _AT_ONCE, state=state):
            for one in found:
                wish = one.wish
                print(
                    f"{one.proposed_at:%Y-%m-%d %H:%M}  {one.state:<8}  {wish.kind:<13}"
                    f"{one.amount_fen:>9}  {wish.reason}  {one.maker}"
                    f"{f' / {one.checker}' if one.checker else ''}  {wish.correction_id}"
                )
            count += len(found)
            after = found[-1].wish.correction_id
        print(f"{count} corrections")
    finally:
        await pool.close()
