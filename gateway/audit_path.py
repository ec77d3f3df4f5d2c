"""The audit: every decision computed again from the tap log, every figure held against another."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from uuid import UUID

import asyncpg
from msgspec import Struct

from fare_rules import TariffBook
from gateway.core.audit import Break, audit_wallet
from gateway.core.taps import TapOutcome
from gateway.settlement_path import load_settlement_files
from gateway.shell.archive_files import (
    ArchivedDay,
    ArchiveMissing,
    Tally,
    folder_breaks,
    read_manifest,
    stray_breaks,
)
from gateway.shell.archived_books import ArchivedBooks
from gateway.shell.settlement_store import list_settlement_rows
from gateway.shell.store import load_archived_days, reading
from gateway.shell.tap_store import load_books

_WALLETS_AT_ONCE = 500
_BREAKS_SHOWN_MAX = 50

# Each finds rows that must not exist: what kind of break they are, and a name for each.
_QUERIES = {
    "entry_unbalanced": """
        SELECT wallet_id || ' ' || wallet_version FROM posting
        GROUP BY wallet_id, wallet_version, service_day HAVING sum(amount_fen) <> 0""",
    "entry_without_tap": """
        SELECT wallet_id || ' ' || wallet_version FROM journal_entry WHERE tap_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM tap WHERE tap.tap_id = journal_entry.tap_id)
        AND NOT EXISTS (
            SELECT FROM correction WHERE correction.correction_id = journal_entry.tap_id
        )""",
    "entry_without_wallet": """
        SELECT wallet_id || ' ' || wallet_version FROM journal_entry
        WHERE NOT EXISTS (SELECT FROM wallet WHERE wallet.wallet_id = journal_entry.wallet_id)""",
    "tap_answered_twice": """
        SELECT tap_id::text FROM tap WHERE outcome <> 'sequence_reused'
        GROUP BY tap_id HAVING count(*) > 1""",
    "tap_without_sequence": """
        SELECT tap_id::text FROM tap LEFT JOIN gate_sequence USING (tap_id, service_day)
        WHERE outcome <> 'sequence_reused' AND gate_sequence.tap_id IS NULL""",
    "correction_without_checker": """
        SELECT correction_id::text FROM correction
        JOIN correction_decision USING (correction_id)
        WHERE checker = maker""",
    "correction_without_decision": """
        SELECT wallet_id || ' ' || wallet_version FROM journal_entry AS entry
        WHERE kind IN ('refund', 'goodwill') AND NOT EXISTS (
            SELECT FROM correction_decision AS decided
            WHERE decided.correction_id = entry.cause_id AND state = 'booked'
        )""",
    "campaign_inexact": """
        WITH slots AS (
            SELECT account, sum(left_fen) AS left_fen FROM campaign_slot GROUP BY account
        ), paid AS (
            SELECT share.sponsor AS account, -sum(share.amount_fen) AS paid_fen
            FROM journal_entry
            CROSS JOIN unnest(sponsors, sponsors_fen) AS share (sponsor, amount_fen)
            WHERE sponsors IS NOT NULL GROUP BY share.sponsor
        )
        SELECT account FROM campaign JOIN slots USING (account) LEFT JOIN paid USING (account)
        WHERE left_fen + coalesce(paid_fen, 0) <> budget_fen""",
    "entry_in_no_period": """
        SELECT wallet_id || ' ' || wallet_version FROM journal_entry CROSS JOIN settlement_clock
        WHERE operator_id IS NOT NULL AND settlement_day <= closed_through AND 1 <> (
            SELECT count(*) FROM settlement
            WHERE settlement.settlement_day >= journal_entry.settlement_day
            AND (days_after IS NULL OR days_after < journal_entry.settlement_day)
        )""",
}


class AuditReport(Struct, frozen=True):
    """What was looked at, and what was found."""

    wallets_count: int
    taps_count: int
    entries_count: int
    settlements_count: int
    archived_days_count: int
    rider_fen: int
    operator_fen: int
    bank_fen: int
    sponsors_fen: int
    incomplete_count: int
    quarantined_count: int
    breaks: tuple[Break, ...]

    @property
    def sum_fen(self) -> int:
        return self.rider_fen + self.operator_fen + self.bank_fen + self.sponsors_fen

    @property
    def is_passed(self) -> bool:
        return not self.breaks

    def lines(self) -> Sequence[str]:
        shown = [f"  {one.kind}: {one.subject}: {one.fault}" for one in self.breaks]
        return [
            f"wallets      {self.wallets_count:>14,}",
            f"taps         {self.taps_count:>14,}   of them incomplete {self.incomplete_count:,},"
            f" quarantined {self.quarantined_count:,}",
            f"entries      {self.entries_count:>14,}",
            f"settlements  {self.settlements_count:>14,}",
            f"old days     {self.archived_days_count:>14,}   in the archive",
            f"riders hold  {self.rider_fen:>14,} fen",
            f"operators    {self.operator_fen:>14,} fen",
            f"bank         {self.bank_fen:>14,} fen",
            f"sponsors     {self.sponsors_fen:>14,} fen",
            f"sum          {self.sum_fen:>14,} fen",
            *shown[:_BREAKS_SHOWN_MAX],
            "audit passed" if self.is_passed else f"audit FAILED: {len(shown)} breaks",
        ]


async def run_audit(
    pool: asyncpg.Pool, book: TariffBook, archive: Path | None = None
) -> AuditReport:
    """Look at everything in one consistent picture of the database, archived days included.

    Raises: ArchiveMissing when days are archived and there is nothing to read them with.
    """
    wallets_count = entries_count = incomplete_count = 0
    async with reading(pool) as connection:
        days = await load_archived_days(connection)
        known = [row[0] for row in await connection.fetch("SELECT service_day FROM log_day")]
        breaks, archived, tallies = _check_archive(archive, days, known)
        after: UUID | None = None
        while chunk := await load_books(connection, after, _WALLETS_AT_ONCE):
            for one in chunk:
                books = archived.joined_to(one)
                breaks += audit_wallet(books, book)
                wallets_count += 1
                entries_count += len(books.entries)
                incomplete_count += sum(kept.result.incomplete for kept in books.taps)
            after = chunk[-1].wallet.wallet_id
        breaks += archived.breaks()
        for kind, query in _QUERIES.items():
            breaks += [Break(kind, row[0], "") for row in await connection.fetch(query)]
        taps_count = await connection.fetchval("SELECT count(*) FROM tap")
        quarantined_count = await connection.fetchval(
            "SELECT count(*) FROM tap WHERE outcome = ANY($1::text[])",
            [outcome for outcome in TapOutcome if outcome.is_quarantined],
        )
        sums = await connection.fetchrow(
            """SELECT
                coalesce(sum(amount_fen)
                    FILTER (WHERE account ~ '^(purse|debt|grant):'), 0)::bigint,
                coalesce(sum(amount_fen) FILTER (WHERE account ~ '^operator:'), 0)::bigint,
                coalesce(sum(amount_fen) FILTER (WHERE account = 'bank'), 0)::bigint,
                coalesce(sum(amount_fen) FILTER (WHERE account ~ '^sponsor:'), 0)::bigint
            FROM posting"""
        )
        assert sums is not None
    settlements = await list_settlement_rows(pool)
    for row in settlements:
        try:
            files = await load_settlement_files(pool, row.settlement_day, book, archive)
        except ArchiveMissing as missing:
            subject = f"settlement {row.settlement_day}"
            breaks.append(Break("settlement_differs", subject, str(missing)))
            continue
        kept = await pool.fetchval(
            "SELECT manifest FROM settlement_manifest WHERE settlement_day = $1", row.settlement_day
        )
        if kept is not None and files is not None and kept != files["manifest.json"]:
            subject = f"settlement {row.settlement_day}"
            breaks.append(Break("settlement_differs", subject, "it adds up to other files now"))
    return AuditReport(
        wallets_count=wallets_count,
        taps_count=taps_count + sum(tally.taps_count for tally in tallies),
        entries_count=entries_count,
        settlements_count=len(settlements),
        archived_days_count=len(days),
        rider_fen=sums[0] + sum(tally.money_fen["riders"] for tally in tallies),
        operator_fen=sums[1] + sum(tally.money_fen["operators"] for tally in tallies),
        bank_fen=sums[2] + sum(tally.money_fen["bank"] for tally in tallies),
        sponsors_fen=sums[3] + sum(tally.money_fen["sponsors"] for tally in tallies),
        incomplete_count=incomplete_count,
        quarantined_count=quarantined_count + sum(tally.quarantined_count for tally in tallies),
        breaks=tuple(breaks),
    )


def _check_archive(
    archive: Path | None, days: Sequence[ArchivedDay], known: Sequence[date]
) -> tuple[list[Break], ArchivedBooks, list[Tally]]:
    """Hold each file against its hash; a day that has changed or is missing is not read at all."""
    if archive is None:
        return [], ArchivedBooks(archive, days), []
    breaks = list(stray_breaks(archive, known))
    whole = []
    for day in days:
        found = list(folder_breaks(archive / str(day.service_day), day))
        breaks += found
        whole += [] if any(one.kind != "archive_extra" for one in found) else [day]
    tallies = [read_manifest(archive, day).tally for day in whole]
    return breaks, ArchivedBooks(archive, whole), tallies
