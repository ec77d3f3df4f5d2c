"""The table of one run, appended to RESULTS.md with what it was measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import date
from pathlib import Path

RESULTS = Path(__file__).parent.parent / "RESULTS.md"


def append_results(
    command: str, server: str, lines: Sequence[str], *, day: date, path: Path = RESULTS
) -> None:
    """Add one section: where, which commit, which command, and what it printed."""
    text = "\n".join(lines)
    section = (
        f"\n## {day}: `{command}`\n\n"
        f"Commit {_commit()} on {machine()}, {server}.\n\n"
        f"```\n{text}\n```\n"
    )
    with path.open("a") as file:
        file.write(section)


def machine() -> str:
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    python = f"Python {platform.python_version()}"
    return f"{os.cpu_count()} cores ({_cpu_name()}), {memory_gb:.0f} GB, {python}"


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def _commit() -> str:
    said = subprocess.run(
        ("git", "describe", "--always", "--dirty"),
        cwd=RESULTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip() or "unknown"
