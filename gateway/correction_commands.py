"""`faregate corrections list` and `faregate disruptions apply`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cyclopts import App

from fare_rules import load_book
from gateway.command_database import database
from gateway.disruption_path import run_disruptions
from gateway.exit_codes import OK
from gateway.shell.correction_store import list_corrections
from gateway.shell.database import open_pool

corrections_app = App(name="corrections", help="What was put right, and what waits for a person.")
disruptions_app = App(name="disruptions", help="Rides that a disruption left with one end.")
_AT_ONCE = 500


@disruptions_app.command
def apply() -> int:
    """Put right the rides of every disruption that was agreed to and has ended.

    May be run again, and is at every close.
    """
    with database() as (settings, dsn):
        asyncio.run(_apply(dsn, settings.tariffs_dir))
    return OK


async def _apply(dsn: str, tariffs: Path) -> None:
    pool = await open_pool(dsn)
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
    with database() as (_, dsn):
        asyncio.run(_list(dsn, state))
    return OK


async def _list(dsn: str, state: str | None) -> None:
    pool = await open_pool(dsn)
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
