"""Archived, unlinked or not: whoever rides on, early, late or after years, is charged the same."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, uuid4, uuid5

import pytest
from _arrivals import BOOK, FIRST, LATER, OPENING, WALLETS, charges, days, split
from _stores import LIMITS, MIDNIGHT, REGISTRY, PostgresStore
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import structs
from test_whole_gateway import DEBTOR, TERMS, copy_database, drop_database

from fare_rules import TariffBook, load_book
from gateway.archive_path import run_archive
from gateway.audit_path import run_audit
from gateway.core.correction_wishes import CorrectionKind, CorrectionWish, Reason
from gateway.core.taps import Action
from gateway.correction_path import run_correction
from gateway.settlement_path import run_settlement_close
from gateway.shell.correction_store import Correction
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

    def put_right(self, wishes, now) -> None:
        for wish in wishes:
            found = [
                store.run(
                    run_correction(
                        store.pool,
                        wish,
                        maker="anna",
                        registry=REGISTRY,
                        book=self.book,
                        terms=TERMS,
                        now=now,
                    )
                )
                for store in self.stores
            ]
            # What is too old elsewhere may not be known any more here.
            assert isinstance(found[0], Correction) == isinstance(found[1], Correction), found

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
    # Telling it shorter would take longer than a test may.
    @settings(
        phases=[Phase.generate],
        max_examples=8,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
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
            old_wishes = data.draw(corrections(old, 1))
            town.put_right(old_wishes, LATER)
            assert town.archive(LATER + later, data.draw(st.integers(0, 3))) >= 1
            town.check()
            shifted = [moved(tap, later, 1_000) for tap in new]
            batches = split(data.draw, data.draw(st.permutations(shifted)))
            some = data.draw(st.integers(0, len(batches)))
            town.send(batches[:some], LATER + later)
            undone = [undoing(wish) for wish in old_wishes]
            town.put_right([*undone, *data.draw(corrections(shifted, 11))], LATER + later)
            town.send(batches[some:], LATER + later)
            new_ids = {tap.tap_id for tap in shifted}
            archived, other = (
                {key: fen for key, fen in charges(store.entries()).items() if key[0] in new_ids}
                for store in town.stores
            )
            assert archived == other
            town.send([shifted], LATER + later + timedelta(hours=1))
            town.check()

    told()


@st.composite
def corrections(draw, taps, first: int):
    """What the desk puts right of some taps."""
    found = []
    for number, tap in enumerate(draw(st.lists(st.sampled_from(taps), max_size=3)), first):
        wallet_id = next(
            i for i, binds in WALLETS.items() if tap.media_token in [b.media_token for b in binds]
        )
        kinds = [CorrectionKind.VOID, CorrectionKind.RECLASS, CorrectionKind.REFUND]
        if tap.action is not Action.BOARD:
            is_entry = tap.action is Action.ENTER
            kinds.append(CorrectionKind.MISSING_EXIT if is_entry else CorrectionKind.MISSING_ENTRY)
        kind = draw(st.sampled_from(kinds))
        more: dict = {"tap_id": tap.tap_id}
        if kind is CorrectionKind.RECLASS:
            hours = timedelta(hours=draw(st.sampled_from([1, 30])))
            more = {"media_token": tap.media_token, "rider_category": "student",
                    "since": tap.tapped_at, "until": tap.tapped_at + hours}  # fmt: skip
        elif kind is CorrectionKind.REFUND:
            more["amount_fen"] = 40
        elif kind is not CorrectionKind.VOID:
            minutes = timedelta(minutes=20 if kind is CorrectionKind.MISSING_EXIT else -20)
            more |= {"stop_id": tap.stop_id, "at": tap.tapped_at + minutes}
        correction_id = uuid5(NAMESPACE_URL, f"correction {number}")
        found.append(CorrectionWish(correction_id, wallet_id, kind, Reason.COMPLAINT, **more))
    return found


def undoing(wish: CorrectionWish) -> CorrectionWish:
    return CorrectionWish(
        uuid5(wish.correction_id, "undone"),
        wish.wallet_id,
        CorrectionKind.REVERSAL,
        Reason.STAFF_ERROR,
        reverses=wish.correction_id,
    )


def moved(tap, by: timedelta, number: int):
    """The same tap some days later."""
    return structs.replace(
        tap,
        tap_id=uuid5(tap.tap_id, str(number)),
        sequence=tap.sequence + number,
        tapped_at=tap.tapped_at + by,
    )
