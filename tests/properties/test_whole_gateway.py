"""The real paths on a real database: whatever riders, gates and desks do, the audit passes."""

from __future__ import annotations

import asyncio
import csv
import os
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid4, uuid5

import asyncpg
import pytest
from _arrivals import ANN, BOB, BOOK, FIRST, OPENING, SPOTS, TOKENS, tap_at
from _owners import check_owners, check_purposes
from _stores import CITY, MIDNIGHT, REGISTRY, PostgresStore
from aiohttp import web
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
from msgspec import structs

from fare_rules import TariffBook, load_book
from gateway.audit_path import run_audit, run_head_audit
from gateway.core.bank_answers import read_bank_file
from gateway.core.correction_wishes import CorrectionKind, CorrectionTerms, CorrectionWish, Reason
from gateway.core.delivery import Webhook
from gateway.core.payment_order import Debtor
from gateway.core.purse_desk import GrantMoney
from gateway.core.wallet_wishes import BindMedia, TopUp, Wish
from gateway.core.wallets import WalletStatus
from gateway.correction_path import run_correction
from gateway.delivery_path import run_deliveries
from gateway.example_bank import Order, camt_053, debit, orders, pain_002
from gateway.purse_path import run_expiry
from gateway.reconcile_path import run_reconciliation
from gateway.registry_path import run_city_registration
from gateway.settlement_path import run_settlement_close
from gateway.shell.audit_store import find_head
from gateway.shell.bank_store import import_bank_file
from gateway.shell.campaign_store import list_campaigns, prepare_campaigns
from gateway.shell.correction_store import Correction
from gateway.shell.database import connect, open_pool
from gateway.shell.delivery_store import set_channel
from gateway.shell.settings import Settings
from gateway.shell.settlement_store import list_settlement_rows

# Of each tariff: a few with every other test, many in `make hunt`.
EXAMPLES = int(os.environ.get("EXAMPLES", "12"))
# Hypothesis makes a fault smaller for 300 s at most. A test that is stopped before would look like
# one more fault to it, and it would try to make that smaller.
HUNT_SECONDS_MAX = 420 + 10 * EXAMPLES
TERMS = CorrectionTerms(2**62, 100, *[timedelta(days=40)] * 3)
DEBTOR = Debtor("Harbour Clearing", "6222020200112233445", "ICBKCNBJSZN")
PAID_CITY = structs.replace(
    CITY,
    operators=tuple(
        structs.replace(one, bank_account=f"{number:019}", bank_bic="ICBKCNBJSZN")
        for number, one in enumerate(CITY.operators, 1)
    ),
)
SOME_TAPS = st.lists(
    st.tuples(st.sampled_from(SPOTS), st.sampled_from(TOKENS), st.integers(0, 90), st.booleans()),
    min_size=1,
    max_size=4,
)
# So that whatever comes next has rides to settle, to put right and to give back.
FIRST_TAPS = st.lists(
    st.tuples(st.sampled_from(SPOTS), st.sampled_from(TOKENS), st.integers(0, 90), st.just(True)),
    min_size=8,
    max_size=12,
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


class Operators:
    """Their webhook, which is down at times."""

    def __init__(self) -> None:
        self.is_down = False
        self.taken: Counter[str] = Counter()

    async def start(self) -> str:
        app = web.Application()
        app.router.add_post("/", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        if self.is_down:
            return web.Response(status=503)
        self.taken[request.headers["webhook-id"]] += 1
        return web.json_response({"acknowledged": True})


def _money(tap, sponsor_id):
    return {"tap_id": tap.tap_id, "amount_fen": 40, "sponsor_id": sponsor_id}


# What is told of a tap that is put right.
def _missing_ride(tap):
    """A ride after a tap, by bus or metro, that no gate saw."""
    since = tap.tapped_at + timedelta(minutes=10)
    ride = {"media_token": tap.media_token, "since": since}
    if tap.sequence % 2:
        return {**ride, "gate_id": "M390 board", "route_id": "M390"}
    ends = {"stop_id": "luohu", "exit_stop_id": "laojie", "until": since + timedelta(minutes=20)}
    return {**ride, **ends, "gate_id": "luohu enter"}


CORRECTIONS = {
    CorrectionKind.VOID: lambda tap, _: {"tap_id": tap.tap_id},
    CorrectionKind.CLEARANCE: lambda tap, _: {"tap_id": tap.tap_id},
    CorrectionKind.MISSING_EXIT: lambda tap, _: {
        "tap_id": tap.tap_id, "stop_id": "laojie", "at": tap.tapped_at + timedelta(minutes=20)
    },
    CorrectionKind.MISSING_ENTRY: lambda tap, _: {
        "tap_id": tap.tap_id, "stop_id": "laojie", "at": tap.tapped_at - timedelta(minutes=20)
    },
    CorrectionKind.MISSING_RIDE: lambda tap, _: _missing_ride(tap),
    CorrectionKind.RECLASS: lambda tap, _: {
        "media_token": tap.media_token, "rider_category": "student",
        "since": tap.tapped_at, "until": tap.tapped_at + timedelta(hours=1),
    },
    CorrectionKind.REFUND: _money,
    CorrectionKind.GOODWILL: lambda _, sponsor_id: {
        "amount_fen": 40, "sponsor_id": sponsor_id or "icbc"
    },
}  # fmt: skip
SPONSORS = st.sampled_from(["icbc", "abc", None])


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
        self.store.run(run_city_registration(self.store.pool, PAID_CITY))
        self.store.run(prepare_campaigns(self.store.pool, book, FIRST))
        self.now = FIRST
        self.sent: list = []
        self.corrected: list = []
        self.top_up_count = 0
        # The bank answers each order once.
        self.answered: set[str] = set()
        self.settled: list[date] = []
        self.operators = Operators()
        self.url = self.store.run(self.operators.start())
        self.folder.mkdir()
        (self.folder / "secret").write_bytes(b"secret")
        self.settings = Settings(
            settlement_dir=self.folder,
            delivery_secrets_dir=self.folder,
            delivery_to_loopback=True,
            delivery_attempts_max=1_000,
        )

    def teardown(self) -> None:
        self.store.run(self.operators.stop())
        self.store.close()
        asyncio.run(drop_database(self.template, self.name))

    @initialize(told=FIRST_TAPS)
    def two_riders(self, told) -> None:
        self.store.take_wishes(OPENING, self.now)
        for wallet_id in (ANN, BOB):
            self.top_up(wallet_id, 3_000)
        for operator_id in REGISTRY.operators:
            channel = Webhook(self.url, "secret")
            self.store.run(set_channel(self.store.pool, operator_id, channel, "anna", self.now))
        self.tap(told)

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
    @rule(data=st.data(), kind=st.sampled_from(sorted(CORRECTIONS)), sponsor_id=SPONSORS)
    def put_right(self, data, kind, sponsor_id) -> None:
        tap = data.draw(st.sampled_from(self.sent))
        owner = self.store.run(
            self.store.pool.fetchval("SELECT wallet_id FROM tap WHERE tap_id = $1", tap.tap_id)
        )
        if owner is not None:
            self._correct(owner, kind, **CORRECTIONS[kind](tap, sponsor_id))

    @precondition(lambda self: self.corrected)
    @rule(data=st.data())
    def undo_what_was_put_right(self, data) -> None:
        done = data.draw(st.sampled_from(self.corrected))
        self._correct(done.wallet_id, CorrectionKind.REVERSAL, reverses=done.correction_id)

    @rule(data=st.data(), wallet_id=st.sampled_from([ANN, BOB]))
    def void_a_top_up(self, data, wallet_id) -> None:
        number = data.draw(st.integers(1, self.top_up_count))
        top_up_id = uuid5(NAMESPACE_URL, f"top-up {number}")
        self._correct(wallet_id, CorrectionKind.TOP_UP_VOID, top_up_id=top_up_id)

    def _correct(self, wallet_id, kind, **told) -> None:
        self.top_up_count += 1
        wish = CorrectionWish(
            uuid5(NAMESPACE_URL, f"correction {self.top_up_count}"),
            wallet_id,
            kind,
            Reason.COMPLAINT,
            **told,
        )
        for _ in range(2):
            found = self.store.run(
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
        if isinstance(found, Correction) and kind is not CorrectionKind.REVERSAL:
            self.corrected.append(wish)

    def _orders(self) -> dict[date, list[Order]]:
        return {
            date.fromisoformat(path.parent.name): orders(path.read_bytes())
            for path in sorted(self.folder.glob("*/pain001.xml"))
        }

    @precondition(lambda self: self.settled)
    @rule(is_down=st.booleans())
    def deliver(self, is_down) -> None:
        """Each operator is told of each of its settlements, and takes each in once."""
        run, pool = self.store.run, self.store.pool
        self.operators.is_down = is_down
        run(pool.execute("UPDATE delivery_job SET due_at = now()"))
        run(run_deliveries(pool, self.settings))
        if not is_down:
            made = run(pool.fetch("SELECT delivery_id FROM delivery"))
            assert self.operators.taken == {str(row["delivery_id"]): 1 for row in made}

    @precondition(lambda self: self.settled)
    @rule(is_refusing=st.booleans())
    def the_bank_answers(self, is_refusing) -> None:
        """It pays what was ordered; or refuses it, and the next settlement pays it."""
        for day, ordered in self._orders().items():
            new = [one for one in ordered if one.end_to_end_id not in self.answered]
            self.answered |= {one.end_to_end_id for one in new}
            content = pain_002(new, {one.end_to_end_id: "AC01" for one in new})
            if not is_refusing:
                bookings = [debit(one, one.end_to_end_id) for one in new]
                content = camt_053(bookings, account="OURS", currency="CNY", day=day)
            if new:
                file = read_bank_file(content)
                self.store.run(import_bank_file(self.store.pool, file, content, "bank", self.now))

    @precondition(lambda self: self.settled)
    @rule()
    def finance_reconciles(self) -> None:
        """Every settlement, and nothing is left to explain."""
        run, pool = self.store.run, self.store.pool
        for row in run(list_settlement_rows(pool)):
            through = row.settlement_day
            since = row.days_after + timedelta(days=1) if row.days_after else FIRST.date()
            found = run(
                run_reconciliation(pool, self.book, since=since, through=through, today=through)
            )
            assert found.is_explained, found.breaks

    @rule()
    def everything_restarts(self) -> None:
        self.store.run(self.store.connection.close())
        self.store.run(self.store.pool.close())
        self.store.pool = self.store.run(open_pool(self.dsn))
        self.store.connection = self.store.run(connect(self.dsn))

    @rule(told=SOME_TAPS)
    def a_day_like_any_other(self, told) -> None:
        self.tap(told)
        self.close_day(days_ago=1, afterwards={"deliver", "bank"})

    @rule(
        days_ago=st.sampled_from([1, 1, 2]),
        afterwards=st.sets(st.sampled_from(["deliver", "bank"])),
    )
    def close_day(self, days_ago, afterwards) -> None:
        """After a night, so that what was tapped is of a day that is over."""
        self.now += timedelta(hours=20)
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
            self.settled.append(day)
            if "deliver" in afterwards:
                self.deliver(is_down=False)
            if "bank" in afterwards:
                self.the_bank_answers(is_refusing=False)
                self.finance_reconciles()

    @invariant()
    def every_settled_amount_is_one_line_of_one_file(self) -> None:
        lines = [
            line
            for path in sorted(self.folder.glob("*/operator_*.csv"))
            for line in csv.DictReader(path.read_text("utf-8").splitlines(), strict=True)
        ]
        settled = self.store.run(
            self.store.pool.fetch(
                """SELECT operator_id, tap_id, product_id, operator_fen
                FROM journal_entry, settlement_clock
                WHERE operator_id IS NOT NULL AND settlement_day <= closed_through"""
            )
        )
        named = ("operator_id", "tap_id", "product_id", "amount_fen")
        assert len({line["entry_id"] for line in lines}) == len(lines)
        assert Counter(tuple(line[name] for name in named) for line in lines) == Counter(
            tuple(map(str, row)) for row in settled
        )

    @invariant()
    def the_audit_passes(self) -> None:
        """One of everything, and one from the last verified head, which comes to the same figures
        though it has seen the least part anew.
        """
        run, pool = self.store.run, self.store.pool
        whole = run(run_audit(pool, self.book))
        assert whole.is_passed, "\n".join(whole.lines())
        assert whole.sum_fen == 0
        since = run(find_head(pool))
        report = run(run_head_audit(pool, self.book, since=since, now=self.now))
        assert report.is_passed, "\n".join(report.lines())
        assert structs.replace(report, notes=()) == whole

    @invariant()
    def every_fen_is_where_it_may_be(self) -> None:
        run, pool = self.store.run, self.store.pool
        run(check_owners(pool, [ANN, BOB]))
        run(check_purposes(pool))
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


@pytest.mark.timeout(HUNT_SECONDS_MAX)
@pytest.mark.parametrize("book", BOOKS.values(), ids=BOOKS)
def test_whatever_happens_the_audit_passes(book: TariffBook, database: str, tmp_path: Path):
    run_state_machine_as_test(
        lambda: Gateway(database, tmp_path, book),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
