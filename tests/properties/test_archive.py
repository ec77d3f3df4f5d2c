"""Archived, unlinked or not: whoever rides on, early, late or after years, is charged the same."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from pathlib import Path
from uuid import uuid4, uuid5

import pytest
from _arrivals import BOOK, FIRST, LATER, OPENING, charges, days, split
from _stores import LIMITS, MIDNIGHT, PostgresStore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs
from test_whole_gateway import DEBTOR, copy_database, drop_database

from fare_rules import TariffBook, load_book
from gateway.archive_path import run_archive
from gateway.audit_path import run_audit
from gateway.settlement_path import run_settlement_close
from gateway.shell.settings import Settings
from gateway.unlink_path import run_unlink

LATE_DAYS = LIMITS.tap_age_max.days
# So long after the first days that they are out of reach for late taps, and so past the retention.
AFTER_DAYS = LATE_DAYS + 6


class Town:
    """The same town twice: one archives and unlinks its old days, the other never does."""

    def __init__(self, book: TariffBook, template: str, folder: Path) -> None:
        self.book, self.template = book, template
        self.names = [f"faregate_archive_{uuid4().hex}" for _ in range(2)]
        self.dsns = [asyncio.run(copy_database(template, name)) for name in self.names]
        self.stores = [PostgresStore(book, dsn) for dsn in self.dsns]
        self.folder = folder / self.names[0]
        for store in self.stores:
            store.take_wishes(OPENING, FIRST)

    def send(self, batches, now) -> None:
        answers = [[store.take_taps(batch, now).results for batch in batches]
                   for store in self.stores]  # fmt: skip
        assert answers[0] == answers[1]

    def archive(self, now, unlinked_count: int) -> int:
        """Archive all days that are old enough, and unlink some."""
        for store in self.stores:
            store.run(
                run_settlement_close(
                    store.pool,
                    self.book.service_day_of(now) - timedelta(days=1),
                    book=self.book,
                    now=now,
                    folder=self.folder,
                    debtor=DEBTOR,
                )
            )
        chosen = Settings(
            archive_dir=self.folder / "archive",
            tap_age_days_max=LATE_DAYS,
            retention_days=LATE_DAYS + 2,
            unlink_days=LATE_DAYS + 2,
        )
        run, dsn = self.stores[0].run, self.dsns[0]
        archived = run(run_archive(dsn, settings=chosen, book=self.book, now=now))
        if 0 < unlinked_count <= len(archived):
            before = archived[unlinked_count - 1].service_day + timedelta(days=1)
            unlinking = run_unlink(dsn, settings=chosen, book=self.book, now=now, before=before)
            assert all(day.manifest for day in run(unlinking))
        return len(archived)

    def check(self) -> None:
        archived, other = self.stores
        reports = [
            archived.run(run_audit(archived.pool, self.book, self.folder / "archive")),
            other.run(run_audit(other.pool, self.book)),
        ]
        assert [one.breaks for one in reports] == [(), ()], reports[0].lines()
        assert (
            structs.replace(reports[0], archived_days_count=0, unlinked_days_count=0) == reports[1]
        )

    def close(self) -> None:
        for store, name in zip(self.stores, self.names, strict=True):
            store.close()
            asyncio.run(drop_database(self.template, name))


@pytest.mark.parametrize("book", [BOOK, load_book(MIDNIGHT)], ids=["harbour", "midnight"])
def test_archived_and_unlinked_or_not_everybody_is_charged_the_same(
    book: TariffBook, database: str, tmp_path: Path
):
    @settings(
        max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(data=st.data())
    def told(data) -> None:
        old, new = data.draw(days()), data.draw(days())
        # Whether a rider has been seen between, out of reach of late taps as well.
        between = data.draw(st.sampled_from([[], old[:1]]))
        later = timedelta(days=AFTER_DAYS)
        with contextlib.closing(Town(book, database, tmp_path)) as town:
            town.send([old], LATER)
            town.send([[moved(tap, timedelta(days=3), 500)] for tap in between], LATER)
            assert town.archive(LATER + later, data.draw(st.integers(0, 3))) >= 1
            town.check()
            shifted = [moved(tap, later, 1_000) for tap in new]
            batches = split(data.draw, data.draw(st.permutations(shifted)))
            town.send(batches, LATER + later)
            new_ids = {tap.tap_id for tap in shifted}
            archived, other = (
                {key: fen for key, fen in charges(store.entries()).items() if key[0] in new_ids}
                for store in town.stores
            )
            assert archived == other
            town.send([shifted], LATER + later + timedelta(hours=1))
            town.check()

    told()


def moved(tap, by: timedelta, number: int):
    """The same tap some days later."""
    return structs.replace(
        tap,
        tap_id=uuid5(tap.tap_id, str(number)),
        sequence=tap.sequence + number,
        tapped_at=tap.tapped_at + by,
    )
