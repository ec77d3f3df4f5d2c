"""The real paths on a real database: whatever riders, gates and desks do, the audit passes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid4, uuid5

import asyncpg
import pytest
from _arrivals import ANN, BOB, BOOK, FIRST, OPENING, SPOTS, TOKENS, tap_at
from _stores import MIDNIGHT, PostgresStore
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fare_rules import TariffBook, load_book
from gateway.audit_path import run_audit
from gateway.core.payment_order import Debtor
from gateway.core.wallet_wishes import BindMedia, TopUp, Wish
from gateway.core.wallets import WalletStatus
from gateway.settlement_path import run_settlement_close

DEBTOR = Debtor("Harbour Clearing", "6222020200112233445", "ICBKCNBJSZN")
SOME_TAPS = st.lists(
    st.tuples(st.sampled_from(SPOTS), st.sampled_from(TOKENS), st.integers(0, 90), st.booleans()),
    min_size=1,
    max_size=4,
)


async def copy_database(dsn: str, name: str) -> str:
    server = await asyncpg.connect(urlsplit(dsn)._replace(path="/postgres").geturl())
    await server.execute(f"CREATE DATABASE {name} TEMPLATE {urlsplit(dsn).path[1:]}")
    await server.close()
    return urlsplit(dsn)._replace(path=f"/{name}").geturl()


async def drop_database(dsn: str, name: str) -> None:
    server = await asyncpg.connect(urlsplit(dsn)._replace(path="/postgres").geturl())
    await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await server.close()


class Gateway(RuleBasedStateMachine):
    """Time only goes on; taps may be of any earlier moment."""

    def __init__(self, template: str, folder: Path, book: TariffBook) -> None:
        super().__init__()
        self.template = template
        self.book = book
        self.name = f"faregate_machine_{uuid4().hex}"
        self.folder = folder / self.name
        self.store = PostgresStore(book, asyncio.run(copy_database(template, self.name)))
        self.now = FIRST
        self.sent: list = []
        self.top_up_count = 0

    def teardown(self) -> None:
        self.store.close()
        asyncio.run(drop_database(self.template, self.name))

    @initialize()
    def two_riders(self) -> None:
        self.store.take_wishes(OPENING, self.now)
        self.top_up(ANN, 3_000)

    def _send(self, told, earliest) -> None:
        taps = [
            tap_at(
                len(self.sent) + number,
                spot,
                token,
                earliest + timedelta(minutes=minute),
                offline=off,
            )
            for number, (spot, token, minute, off) in enumerate(told, 1)
        ]
        self.sent += taps
        self.store.take_taps(taps, self.now)

    @rule(told=SOME_TAPS)
    def tap(self, told) -> None:
        self.now += timedelta(minutes=100)
        self._send(told, self.now - timedelta(minutes=95))

    @rule(told=SOME_TAPS, hours=st.integers(2, 60))
    def late_tap(self, told, hours) -> None:
        self._send(told, max(FIRST, self.now - timedelta(hours=hours)))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def tap_sent_again(self, data) -> None:
        again = data.draw(st.lists(st.sampled_from(self.sent), min_size=1, max_size=3))
        assert len(self.store.take_taps(again, self.now).repeats) == len(again)

    @rule(wallet_id=st.sampled_from([ANN, BOB]), fen=st.sampled_from([150, 2_000]))
    def top_up(self, wallet_id, fen) -> None:
        self.top_up_count += 1
        wish = TopUp(uuid5(NAMESPACE_URL, f"top-up {self.top_up_count}"), fen)
        self.store.take_wishes([Wish(wallet_id, top_up=wish)] * 2, self.now)

    @rule(
        wallet_id=st.sampled_from([ANN, BOB]),
        status=st.sampled_from([WalletStatus.OPEN, WalletStatus.BLOCKED]),
    )
    def block_or_unblock(self, wallet_id, status) -> None:
        self.store.take_wishes([Wish(wallet_id, status=status)], self.now)

    @rule(blocked=st.booleans())
    def block_or_unblock_a_card(self, blocked) -> None:
        self.store.take_wishes([Wish(ANN, blocks_media=("ann's card", blocked))], self.now)

    @rule(new=st.sampled_from([ANN, BOB]))
    def a_card_changes_hands(self, new) -> None:
        for held_by in (ANN, BOB):
            self.store.take_wishes([Wish(held_by, unbinds="ann's card")], self.now)
        self.store.take_wishes([Wish(new, binds=BindMedia("ann's card"))], self.now)

    @rule()
    def bob_closes_his_wallet(self) -> None:
        self.store.take_wishes([Wish(BOB, status=WalletStatus.CLOSED)], self.now)

    @rule()
    def night_passes(self) -> None:
        self.now += timedelta(hours=20)

    @rule(days_ago=st.integers(1, 2))
    def close_day(self, days_ago) -> None:
        day = self.book.service_day_of(self.now) - timedelta(days=days_ago)
        closed = self.store.run(
            self.store.pool.fetchval("SELECT closed_through FROM settlement_clock")
        )
        if closed is None or day > closed:
            self.store.run(
                run_settlement_close(
                    self.store.pool,
                    day,
                    book=self.book,
                    now=self.now,
                    folder=self.folder,
                    debtor=DEBTOR,
                )
            )

    @invariant()
    def the_audit_passes(self) -> None:
        report = self.store.run(run_audit(self.store.pool, self.book))
        assert report.is_passed, "\n".join(report.lines())
        assert report.sum_fen == 0


@pytest.mark.parametrize("book", [BOOK, load_book(MIDNIGHT)], ids=["harbour", "midnight"])
def test_whatever_happens_the_audit_passes(book: TariffBook, database: str, tmp_path: Path):
    run_state_machine_as_test(
        lambda: Gateway(database, tmp_path, book),
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
