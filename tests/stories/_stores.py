"""Two stores that the same stories run on, so that the fake and the real cannot drift."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

from msgspec import structs

from fare_rules import TariffBook
from gateway.core.days import LoadedDays, WalletDay
from gateway.core.decide import Deciding, Limits, Plan, Snapshot
from gateway.core.ledger import JournalEntry
from gateway.core.purses import Paid, merged
from gateway.core.registry import Gate, Operator, Registry, Route, Stop
from gateway.core.taps import Action, Tap
from gateway.core.wallet_desk import WalletPlan, WalletSnapshot, grant
from gateway.core.wallet_wishes import WalletRefusal, Wish
from gateway.core.wallets import Wallet
from gateway.registry_path import City, run_city_registration
from gateway.shell import rows
from gateway.shell.campaign_store import Budgets
from gateway.shell.database import connect, open_pool
from gateway.shell.wallet_store import load_wallet
from gateway.tap_path import run_tap_batch
from gateway.wallet_path import run_wallet_wishes

HARBOUR = Path(__file__).parent / "harbour"
MIDNIGHT = Path(__file__).parent / "midnight"
LIMITS = Limits(tap_ahead_max=timedelta(minutes=5), tap_age_max=timedelta(days=30))
STATIONS = ("luohu", "laojie", "huaqiang_lu")
PLACES = (
    *(("metro", station, None) for station in STATIONS),
    *(("bus", None, route) for route in ("M390", "M506")),
    *(("ferry", pier, None) for pier in ("east", "west")),
    *(("tram", stop, None) for stop in ("park", "zoo")),
)
CITY = City(
    operators=tuple(Operator(name, name) for name in ("metro", "bus", "ferry", "tram", "icbc")),
    stops=tuple(Stop(stop) for _, stop, _ in PLACES if stop),
    routes=tuple(Route(route, network) for network, _, route in PLACES if route),
    gates=tuple(
        Gate(f"{stop or route} {action}", network, network)
        for network, stop, route in PLACES
        for action in Action
    ),
)
REGISTRY = Registry(
    operators={one.operator_id: one for one in CITY.operators},
    stops={one.stop_id: one for one in CITY.stops},
    routes={one.route_id: one for one in CITY.routes},
    gates={one.gate_id: one for one in CITY.gates},
)


class FakeStore:
    """Holds a Snapshot and takes a Plan. If it grows, a decision has leaked into it."""

    def __init__(self, book: TariffBook) -> None:
        self.book = book
        self.held = Snapshot(received_at=datetime.min.replace(tzinfo=UTC), registry=REGISTRY)
        self.posted: list[JournalEntry] = []
        self.openings: dict = {}
        self.grants: dict = {}

    def take_taps(self, taps: Sequence[Tap], now: datetime) -> Plan:
        snapshot = structs.replace(self.held, received_at=now)
        deciding = Deciding(taps, snapshot, self.book, LIMITS)
        while deciding.to_answer:
            for position in deciding.to_answer:
                deciding.answer(position)
            found = {i: self._days(i, day) for i, day in deciding.lacks.items()}
            snapshot = structs.replace(snapshot, days=snapshot.days | found)
            deciding.again(snapshot)
        plan = deciding.plan()
        kept = self.held.kept | {one.tap.tap_id: one for one in plan.kept}
        self.openings |= plan.openings
        self._hold(
            plan.wallets,
            plan.entries,
            kept=kept,
            sequences={(one.tap.gate_id, one.tap.sequence): i for i, one in kept.items()},
        )
        return plan

    def _days(self, wallet_id: UUID, since: date) -> LoadedDays:
        wallet = self.held.wallets[wallet_id]
        openings = {day: o for (i, day), o in self.openings.items() if i == wallet_id}
        openings |= {wallet.day: wallet.opening}
        days: dict = {}
        for one in self.held.kept.values():
            if one.wallet_id == wallet_id and one.result.outcome.is_let_through:
                days.setdefault(one.service_day, []).append(one.facts)
        first = max((day for day in days if day <= since), default=since)
        return LoadedDays(
            since,
            tuple(
                WalletDay(day, tuple(taps), openings.get(day, {}))
                for day, taps in sorted(days.items())
                if day >= first
            ),
            self._paid(wallet_id),
        )

    def _paid(self, wallet_id: UUID) -> Paid:
        purses = {grant_id: one.purse for grant_id, one in self.grants.items()}
        paid: Paid = {}
        for entry in self.posted:
            if entry.wallet_id == wallet_id and entry.tap_id and entry.grants_fen:
                tap = (entry.tap_id, entry.product_id)
                paid = merged(paid, tap, entry.service_day, entry.grants_fen, purses)
        return paid

    def take_wishes(self, wishes: Sequence[Wish], now: datetime) -> WalletPlan | WalletRefusal:
        top_ups = {e.entry_id: (e.wallet_id, -e.postings[-1].amount_fen) for e in self.posted}
        held, today = self.held, self.book.service_day_of(now)
        snapshot = WalletSnapshot(
            now,
            today,
            None,
            frozenset(REGISTRY.operators),
            held.wallets,
            held.media,
            top_ups,
            self.grants,
        )
        plan = grant(wishes, snapshot, self.book.tariffs[-1], floor_fen=0)
        if isinstance(plan, WalletPlan):
            media = self.held.media | {one.media_token: one for one in plan.media}
            self.grants |= {one.grant_id: one for one in plan.grants}
            self._hold((*plan.opened, *plan.changed), plan.entries, media=media)
        return plan

    def _hold(self, wallets: Sequence[Wallet], entries: Sequence[JournalEntry], **more) -> None:
        known = self.held.wallets | {wallet.wallet_id: wallet for wallet in wallets}
        self.held = structs.replace(self.held, wallets=known, **more)
        self.posted += entries

    def wallet(self, wallet_id: UUID) -> Wallet:
        return self.held.wallets[wallet_id]

    def entries(self) -> list[JournalEntry]:
        return self.posted


class PostgresStore:
    """The real paths on a real database, driven from tests that do not await."""

    def __init__(self, book: TariffBook, dsn: str) -> None:
        self.book = book
        self.loop = asyncio.new_event_loop()
        self.pool = self.run(open_pool(dsn))
        self.connection = self.run(connect(dsn))
        self.budgets = Budgets()
        self.run(run_city_registration(self.pool, CITY))

    def run(self, waiting):
        return self.loop.run_until_complete(waiting)

    def close(self) -> None:
        self.run(self.connection.close())
        self.run(self.pool.close())
        self.loop.close()

    def take_taps(self, taps: Sequence[Tap], now: datetime) -> Plan:
        return self.run(
            run_tap_batch(
                self.connection,
                taps,
                registry=REGISTRY,
                book=self.book,
                limits=LIMITS,
                received_at=now,
                budgets=self.budgets,
            )
        )

    def take_wishes(self, wishes: Sequence[Wish], now: datetime) -> WalletPlan | WalletRefusal:
        return self.run(
            run_wallet_wishes(
                self.pool, wishes, registry=REGISTRY, book=self.book, now=now, floor_fen=0
            )
        )

    def wallet(self, wallet_id: UUID) -> Wallet:
        found = self.run(load_wallet(self.pool, wallet_id))
        assert found is not None
        return found

    def entries(self) -> list[JournalEntry]:
        sql = "SELECT * FROM journal_entry ORDER BY recorded_at, wallet_version"
        return [rows.entry_from_row(row) for row in self.run(self.pool.fetch(sql))]
