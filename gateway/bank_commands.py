"""`faregate bank import` and `faregate reconcile`."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, date, datetime
from pathlib import Path

from fare_rules import load_book
from gateway.core.bank_answers import BankFileFault, read_bank_file
from gateway.exit_codes import OK, PROBLEMS_FOUND
from gateway.reconcile_path import run_reconciliation
from gateway.reconcile_report import as_csv, as_html, as_text
from gateway.shell.bank_store import first_day, import_bank_file
from gateway.shell.database import open_pool
from gateway.shell.settings import Settings
from gateway.shell.settlement_store import list_settlement_rows


async def import_files(settings: Settings, dsn: str, paths: tuple[Path, ...]) -> int:
    """Take in what the bank said; a file that is wrong is named and changes nothing."""
    code, pool = OK, await open_pool(dsn)
    try:
        for path in paths:
            try:
                content = path.read_bytes()
                file = read_bank_file(content)
            except (OSError, BankFileFault) as fault:
                print(f"{path}: {fault}")
                code = PROBLEMS_FOUND
                continue
            found = await import_bank_file(pool, file, content, who_runs_this(), datetime.now(UTC))
            what = (
                "known already"
                if found.is_known
                else f"{found.answers_count} answers, {found.lines_count} new lines, "
                f"{found.returned_count} payments to be made again"
            )
            print(f"{path}: {found.kind} {found.message_id}: {what}")
    finally:
        await pool.close()
    return code


def who_runs_this() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container's user may have a number and no name.
        return f"uid {os.getuid()}"


async def reconcile(
    settings: Settings, dsn: str, day: date | None, csv: Path | None, html: Path | None
) -> int:
    """Reconcile one settlement, or the newest; exit 1 when something is not explained."""
    book, pool = load_book(settings.tariffs_dir), await open_pool(dsn)
    try:
        closes = await list_settlement_rows(pool)
        wanted = [row for row in closes if day is None or row.settlement_day == day]
        if not wanted:
            print(f"no settlement of {day}" if day else "nothing is settled yet")
            return PROBLEMS_FOUND
        through, after = wanted[-1].settlement_day, wanted[-1].days_after
        # The first settlement has everything up to its day.
        since = date.fromordinal(after.toordinal() + 1) if after else await first_day(pool, through)
        found = await run_reconciliation(
            pool,
            book,
            since=since,
            through=through,
            today=datetime.now(book.timezone).date(),
            archive=settings.archive_dir,
        )
    finally:
        await pool.close()
    digits = book.tariffs[-1].currency_digits
    print(as_text(found, digits), end="")
    _write(csv, as_csv(found))
    _write(html, as_html(found, digits))
    return OK if found.is_explained else PROBLEMS_FOUND


def _write(path: Path | None, text: str) -> None:
    if path is not None:
        path.write_text(text, encoding="utf-8", newline="")
