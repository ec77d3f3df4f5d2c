"""A town whose days grow old, and what the gateway says of them before and after."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5
from zoneinfo import ZoneInfo

from _stores import LIMITS, PostgresStore

from fare_rules import TariffBook
from gateway.archive_path import DayTaken, run_archive
from gateway.audit_path import AuditReport, run_audit
from gateway.core.payment_order import Debtor
from gateway.core.settlement import Settlement
from gateway.core.taps import Action, Tap, TapResult
from gateway.core.wallet_wishes import BindMedia, OpenWallet, TopUp, Wish
from gateway.fares_path import run_explanation
from gateway.settlement_path import (
    list_settlements,
    load_settlement,
    run_settlement_close,
)
from gateway.shell.kept_store import load_kept
from gateway.shell.settings import Settings
from gateway.shell.settlement_store import list_settlement_rows
from gateway.unlink_path import DayUnlinked, run_unlink

FIRST_DAY = date(2018, 9, 3)  # A Monday.
ZONE = ZoneInfo("Asia/Shanghai")
DEBTOR = Debtor("Harbour Clearing", "6222020200112233445", "ICBKCNBJSZN")
LATE_DAYS = LIMITS.tap_age_max.days
RETENTION_DAYS = LATE_DAYS + 2
UNLINK_DAYS = RETENTION_DAYS + 2


class Town:
    """Days are counted from the first one, 0. A tap arrives a second after it is made."""

    def __init__(self, book: TariffBook, dsn: str, folder: Path) -> None:
        self.book, self.dsn, self.folder = book, dsn, folder
        self.store = PostgresStore(book, dsn)
        self.settings = Settings(
            data_dir=folder,
            settlement_dir=folder / "settlement",
            archive_dir=folder / "archive",
            trips_dir=folder / "trips",
            tap_age_days_max=LATE_DAYS,
            retention_days=RETENTION_DAYS,
            unlink_days=UNLINK_DAYS,
        )
        self.taps: dict[str, Tap] = {}

    def rider(self, name: str, issuer: str | None = None, *, others: tuple[str, ...] = ()) -> None:
        """Open a wallet with a card of the rider's name, and cards of others."""
        wallet_id = uuid5(NAMESPACE_URL, name)
        opens = OpenWallet(
            wallet_id,
            issuer,
            media=tuple(BindMedia(token) for token in (name, *others)),
            top_up=TopUp(uuid5(wallet_id, "first"), 100_000),
        )
        self.store.take_wishes([Wish(wallet_id, opens=opens)], moment(0, "05:00"))

    def tap(
        self,
        name: str,
        action: str,
        place: str,
        day: int,
        clock: str,
        *,
        arrives: int | None = None,
    ) -> TapResult:
        """`arrives` is the day it comes in, at noon, if that is not its own."""
        network, _, spot = place.partition(" ")
        number = len(self.taps) + 1
        tap = Tap(
            tap_id=uuid5(NAMESPACE_URL, f"tap {number}"),
            gate_id=f"{spot} {action}",
            sequence=number,
            tapped_at=moment(day, clock),
            media_token=name,
            action=Action(action),
            stop_id=None if network == "bus" else spot,
            route_id=spot if network == "bus" else None,
            offline=arrives is not None,
        )
        self.taps[f"{name} {day} {clock}"] = tap
        now = tap.tapped_at if arrives is None else moment(arrives, "12:00")
        return self.send(tap, now + timedelta(seconds=1))

    def send(self, tap: Tap, now: datetime) -> TapResult:
        return self.store.take_taps([tap], now).results[0]

    def close(self, day: int) -> None:
        self.store.run(
            run_settlement_close(
                self.store.pool,
                day_of(day),
                book=self.book,
                now=moment(day + 1, "12:00"),
                folder=self.folder / "settlement",
                debtor=DEBTOR,
                archive=self.settings.archive_dir,
            )
        )

    def archive(
        self,
        day: int,
        *,
        is_dry_run: bool = False,
        after: Callable[[str], None] = lambda step: None,
    ) -> list[DayTaken]:
        """Archive as of the noon of a day."""
        return self.store.run(
            run_archive(
                self.dsn,
                settings=self.settings,
                book=self.book,
                now=moment(day, "12:00"),
                is_dry_run=is_dry_run,
                after=after,
            )
        )

    def unlink(
        self,
        day: int,
        *,
        before: int | None = None,
        is_dry_run: bool = False,
        after: Callable[[str], None] = lambda step: None,
    ) -> list[DayUnlinked]:
        """Unlink as of the noon of a day."""
        return self.store.run(
            run_unlink(
                self.dsn,
                settings=self.settings,
                book=self.book,
                now=moment(day, "12:00"),
                before=None if before is None else day_of(before),
                is_dry_run=is_dry_run,
                after=after,
            )
        )

    def audit(self) -> AuditReport:
        archive = self.settings.archive_dir
        return self.store.run(run_audit(self.store.pool, self.book, archive))

    def check_audit(self) -> AuditReport:
        report = self.audit()
        assert report.is_passed, "\n".join(report.lines())
        assert report.sum_fen == 0
        return report

    def settlement_files(self) -> dict[date, dict[str, bytes]]:
        """Every settlement's files, made again."""
        rows = self.store.run(list_settlement_rows(self.store.pool))
        archive = self.settings.archive_dir
        return {
            row.settlement_day: self.store.run(
                load_settlement(self.store.pool, row.settlement_day, self.book, archive)
            )[1]
            for row in rows
        }

    def settlements(self) -> list[Settlement]:
        return self.store.run(
            list_settlements(self.store.pool, self.book, self.settings.archive_dir)
        )

    def answers_since(self, day: int) -> dict[UUID, tuple]:
        """What is kept, and explained, of each tap made on a day or later."""
        run, pool = self.store.run, self.store.pool
        return {
            tap.tap_id: (
                run(load_kept(pool, tap.tap_id)),
                run(run_explanation(pool, tap.tap_id, self.book)),
            )
            for tap in self.taps.values()
            if tap.tapped_at >= moment(day, "04:00")
        }

    def count(self, table: str) -> int:
        return self.store.run(self.store.pool.fetchval(f"SELECT count(*) FROM {table}"))

    def archived_days(self) -> list[date]:
        rows = self.store.run(
            self.store.pool.fetch(
                "SELECT service_day FROM log_day WHERE archived_at IS NOT NULL ORDER BY 1"
            )
        )
        return [row[0] for row in rows]


def day_of(day: int) -> date:
    return FIRST_DAY + timedelta(days=day)


def moment(day: int, clock: str) -> datetime:
    return datetime.fromisoformat(f"{day_of(day)}T{clock}").replace(tzinfo=ZONE)


class Killed(Exception):
    """The process is gone."""


def killed_after(step: str) -> Callable[[str], None]:
    def after(done: str) -> None:
        if done == step:
            raise Killed

    return after


def broken(town: Town) -> list[tuple[str, str]]:
    report = town.audit()
    assert not report.is_passed
    return [(one.kind, one.subject) for one in report.breaks]
