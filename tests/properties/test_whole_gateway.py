"""The real paths on a real database: whatever riders, gates and desks do, the audit passes."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid4, uuid5

import asyncpg
import pytest
from _arrivals import ANN, BOB, BOOK, FIRST, OPENING, SPOTS, TOKENS, tap_at
from _stores import MIDNIGHT, REGISTRY, PostgresStore
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
from gateway.core.bank_answers import read_bank_file
from gateway.core.corrections import CorrectionKind, CorrectionTerms, CorrectionWish, Reason
from gateway.core.payment_order import Debtor
from gateway.core.purse_desk import GrantMoney
from gateway.core.wallet_wishes import BindMedia, TopUp, Wish
from gateway.core.wallets import WalletStatus
from gateway.correction_path import run_correction
from gateway.example_bank import camt_053, debit, orders
from gateway.purse_path import run_expiry
from gateway.reconcile_path import run_reconciliation
from gateway.settlement_path import run_settlement_close
from gateway.shell.bank_store import import_bank_file
from gateway.shell.campaign_store import list_campaigns, prepare_campaigns
from gateway.shell.store import connect, load_wallet, open_pool

TERMS = CorrectionTerms(2**62, 100, *[timedelta(days=40)] * 3)
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
        self.dsn = asyncio.run(copy_database(template, self.name))
        self.store = PostgresStore(book, self.dsn)
        self.store.run(prepare_campaigns(self.store.pool, book, FIRST))
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

    @rule(
        wallet_id=st.sampled_from([ANN, BOB]),
        rule_id=st.sampled_from(["gift", "bus_money"]),
        funder=st.sampled_from(["icbc", "abc", None]),
        fen=st.sampled_from([90, 700]),
        hours=st.sampled_from([1, 30, None]),
    )
    def grant(self, wallet_id, rule_id, funder, fen, hours) -> None:
        self.top_up_count += 1
        until = self.now + timedelta(hours=hours) if hours else None
        grant_id = uuid5(NAMESPACE_URL, f"grant {self.top_up_count}")
        wish = GrantMoney(grant_id, rule_id, fen, funder, self.now - timedelta(hours=2), until)
        self.store.take_wishes([Wish(wallet_id, grants=wish)] * 2, self.now)

    @rule()
    def grants_expire(self) -> None:
        self.store.run(run_expiry(self.store.pool, self.book, self.now))

    @precondition(lambda self: self.sent)
    @rule(
        data=st.data(),
        kind=st.sampled_from([CorrectionKind.VOID, CorrectionKind.REFUND, CorrectionKind.GOODWILL]),
    )
    def put_right(self, data, kind) -> None:
        self.top_up_count += 1
        tap = data.draw(st.sampled_from(self.sent))
        owner = self.store.run(
            self.store.pool.fetchval("SELECT wallet_id FROM tap WHERE tap_id = $1", tap.tap_id)
        )
        if owner is None:
            return
        wish = CorrectionWish(
            uuid5(NAMESPACE_URL, f"correction {self.top_up_count}"),
            owner,
            kind,
            Reason.COMPLAINT,
            tap_id=None if kind is CorrectionKind.GOODWILL else tap.tap_id,
            amount_fen=None if kind is CorrectionKind.VOID else 40,
            sponsor_id="abc" if kind is CorrectionKind.GOODWILL else None,
        )
        for _ in range(2):
            self.store.run(
                run_correction(
                    self.store.pool,
                    wish,
                    maker="anna",
                    registry=REGISTRY,
                    book=self.book,
                    terms=TERMS,
                    now=self.now,
                )
            )

    @rule()
    def the_bank_pays_what_was_ordered(self) -> None:
        for order in sorted(self.folder.glob("*/pain001.xml")):
            ordered = orders(order.read_bytes())
            bookings = [debit(one, one.end_to_end_id) for one in ordered]
            day = date.fromisoformat(order.parent.name)
            content = camt_053(bookings, account="OURS", currency="CNY", day=day)
            file = read_bank_file(content)
            self.store.run(import_bank_file(self.store.pool, file, content, "bank", self.now))
        for order in self.folder.glob("*/pain001.xml"):
            day = date.fromisoformat(order.parent.name)
            found = self.store.run(
                run_reconciliation(self.store.pool, self.book, since=day, through=day, today=day)
            )
            assert all(row.bank_fen >= 0 for row in found.operators)
            kinds = {str(one.kind) for one in found.breaks if not one.is_explained}
            # Days before are settled with it, and are not asked for here.
            assert kinds <= {"ledger_not_settled"}, found.breaks

    @rule()
    def everything_restarts(self) -> None:
        self.store.run(self.store.connection.close())
        self.store.run(self.store.pool.close())
        self.store.pool = self.store.run(open_pool(self.dsn))
        self.store.connection = self.store.run(connect(self.dsn))

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

    @invariant()
    def every_fen_is_where_it_may_be(self) -> None:
        run, pool = self.store.run, self.store.pool
        for wallet_id in (ANN, BOB):
            wallet = run(load_wallet(pool, wallet_id))
            if wallet is not None:
                assert all(purse.held_fen >= 0 for purse in wallet.purses)
        for campaign in run(list_campaigns(pool)):
            assert campaign.is_exact, campaign
            assert 0 <= campaign.left_fen <= campaign.budget_fen
        settled = run(pool.fetchval("SELECT sum(gross_fen)::bigint FROM settlement_batch"))
        due = run(
            pool.fetchval(
                """SELECT sum(operator_fen)::bigint FROM journal_entry, settlement_clock
                WHERE settlement_day <= closed_through"""
            )
        )
        assert (settled or 0) == (due or 0)


CAMPAIGN = load_book(MIDNIGHT.parent / "midnight_campaign")
BOOKS = {"harbour": BOOK, "midnight": load_book(MIDNIGHT), "campaign": CAMPAIGN}


@pytest.mark.parametrize("book", BOOKS.values(), ids=BOOKS)
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
