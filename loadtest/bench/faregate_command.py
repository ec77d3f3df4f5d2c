"""The gateway's command line, run as an operator would on the raced database."""

from __future__ import annotations

import asyncio
import sys
import sysconfig
from datetime import date, datetime
from pathlib import Path

from loadtest.bench.processes import own_environment
from loadtest.bench.stage import MASTER_KEY, Stage

PROGRAM = Path(sysconfig.get_path("scripts")) / "faregate"


def environment(stage: Stage, **settings: object) -> dict[str, str]:
    """What tells the gateway where it runs; its other settings are its own."""
    return {
        **own_environment(),
        "FAREGATE_DATABASE_URL": stage.dsn,
        "FAREGATE_GATE_MASTER_KEY": MASTER_KEY.hex(),
        "FAREGATE_DATA_DIR": str(stage.folder / "data"),
        "FAREGATE_LOG_LEVEL": "warning",
        # The days of the race lie in the past, because it runs through one in minutes.
        "FAREGATE_TAP_AGE_DAYS_MAX": "36500",
        "FAREGATE_RETENTION_DAYS": "40000",
        **{f"FAREGATE_{name.upper()}": str(value) for name, value in settings.items()},
    }


async def start_close(
    stage: Stage, service_day: date, now: datetime, **settings: object
) -> asyncio.subprocess.Process:
    """Begin to close a day by the race's clock."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest.bench.inside.close"),
        *(str(service_day), now.isoformat()),
        env=environment(stage, **settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def faregate(stage: Stage, *arguments: str, **settings: object) -> tuple[str, bool]:
    """Run one command to its end: what it said, and whether it is content."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *arguments,
        env=environment(stage, **settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return said.decode(), process.returncode == 0
