"""What the bank answers, and three ways to the same money: each kind of break is found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from gateway.core.bank_answers import BankFileFault, read_bank_file
from gateway.core.delivery import DeliveryStatus
from gateway.core.payment_order import message_id
from gateway.example_bank import Booking, Order, camt_053, debit, orders, pain_002
from gateway.reconcile_path import Reconciliation, run_reconciliation
from gateway.reconcile_report import as_csv, as_html, as_text
from gateway.shell.bank_store import first_day, load_payments_due
from gateway.shell.database import open_pool
from gateway.shell.delivery_store import add_event, list_deliveries
from gateway.shell.log_days import LogDays


class Town:
    """A gateway with one settled day, and its bank."""

    def __init__(self, door, day: date, found: list[Order]) -> None:
        self.door = door
        self.day = day
        self.orders = found
        self.buses = next(order for order in found if order.creditor == "Buses")
        self.metro = next(order for order in found if order.creditor == "Metro")

    async def take(self, content: bytes) -> dict[str, Any]:
        said = await self.door.ask("POST", "/v1/bank-files", content)
        assert said.status == 200, said.body
        found: dict[str, Any] = said.message
        return found

    async def statement(self, *bookings: Booking, message_id: str = "S1") -> dict[str, Any]:
        return await self.take(
            camt_053(bookings, account="OURS", currency="CNY", day=self.day, message_id=message_id)
        )

    async def reconcile(self, *, days_later: int = 1) -> Reconciliation:
        return await run_reconciliation(
            self.door.api.pool,
            self.door.api.book,
            since=self.day - timedelta(days=2),
            through=self.day,
            today=self.day + timedelta(days=days_later),
        )

    async def kinds(self, **more: Any) -> list[tuple[str, bool]]:
        found = await self.reconcile(**more)
        return [(str(one.kind), one.is_explained) for one in found.breaks]


@pytest.fixture
async def town(open_door, tmp_path) -> AsyncIterator[Town]:
    async with open_door(data_dir=tmp_path) as door:
        # On the hour, so that no service day begins between two taps.
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        at = hour - timedelta(days=1)
        await door.open_wallet(fen=10_000)
        for number in range(5):
            tap = door.tap(tapped_at=(at + timedelta(minutes=number)).isoformat(), offline=True)
            assert (await door.post_taps(tap)).status == 200
        tap = door.metro_tap("exit", tapped_at=at.isoformat(), offline=True, full_fare=300)
        assert (await door.post_taps(tap)).status == 200
        day = door.api.book.service_day_of(at)
        said = await door.ask("POST", "/v1/settlements", {"service_day": str(day)})
        assert said.status == 200, said.body
        order = await door.ask("GET", f"/v1/settlements/{day}/files/pain001.xml")
        yield Town(door, day, orders(order.body))


async def status(town: Town, operator_id: str) -> str:
    listed = (await town.door.ask("GET", "/v1/deliveries")).message
    return next(one["status"] for one in listed if one["operator_id"] == operator_id)


async def test_what_was_ordered_and_booked_leaves_no_break(town: Town):
    assert await town.kinds() == [("not_paid_yet", True)] * 2
    assert (await town.take(pain_002(town.orders, {})))["answers_count"] == 2
    found = await town.statement(debit(town.buses, "R1"), debit(town.metro, "R2"))
    assert (found["lines_count"], found["returned_count"]) == (2, 0)
    reconciled = await town.reconcile()
    assert reconciled.breaks == ()
    for row in reconciled.operators:
        assert row.taps_fen == row.ledger_fen == row.settled_fen == row.bank_fen > 0
    assert await status(town, "buses") == "paid"


async def test_files_that_arrive_after_the_money_leave_it_paid(town: Town):
    await town.statement(debit(town.buses, "R1"))
    pool = town.door.api.pool
    (delivery,) = await list_deliveries(pool, operator_id="buses")
    heard = datetime.now(UTC)
    for said in (DeliveryStatus.FAILED, DeliveryStatus.SENT):
        await add_event(pool, delivery.delivery_id, said, "", heard)
        assert await status(town, "buses") == "paid"
    path = f"/v1/deliveries/{delivery.delivery_id}/acknowledgements"
    assert (await town.door.ask("POST", path, {})).status == 200
    (delivery,) = await list_deliveries(pool, operator_id="buses")
    assert [event.status for event in delivery.events] == [
        "pending", "paid", "failed", "sent", "acknowledged",
    ]  # fmt: skip
    assert delivery.status == "paid"
    await town.take(pain_002(town.orders, {town.buses.end_to_end_id: "AC01"}))
    await town.statement(debit(town.buses, "R7"), message_id="S2")
    assert await status(town, "buses") == "rejected"


async def test_a_statement_or_a_line_that_comes_twice_counts_once(town: Town):
    await town.statement(debit(town.buses, "R1"), debit(town.metro, "R2"))
    assert (await town.statement(debit(town.buses, "R1"), debit(town.metro, "R2")))["is_known"]
    again = await town.statement(debit(town.buses, "R1"), message_id="S2")
    assert (again["is_known"], again["lines_count"]) == (False, 0)
    assert await town.kinds() == []


async def test_nobody_paid_after_days_is_no_longer_explained(town: Town):
    assert await town.kinds(days_later=4) == [("not_paid_yet", False)] * 2


async def test_another_amount_and_a_second_payment_are_found(town: Town):
    wrong = Booking(-town.buses.amount - 1, "R1", town.buses.end_to_end_id)
    await town.statement(wrong, debit(town.metro, "R2"), debit(town.metro, "R3"))
    found = await town.reconcile()
    assert [(one.kind, one.amount_fen, one.is_explained) for one in found.breaks] == [
        ("paid_twice", int(town.metro.amount * 200), False),
        ("amount_differs", 100, False),
    ]


async def test_money_that_left_for_no_payment_of_ours_is_found(town: Town):
    await town.statement(
        debit(town.buses, "R1"),
        debit(town.metro, "R2"),
        Booking(Decimal("-12.34"), "R9", "SOMEBODY-ELSE", "rent"),
        Booking(Decimal("-1.00"), "R10"),
    )
    found = await town.reconcile()
    assert [(one.kind, one.amount_fen) for one in found.breaks] == [
        ("unmatched_bank_line", -100),
        ("unmatched_bank_line", -1234),
    ]
    assert "rent" in found.breaks[1].explanation


async def test_an_order_booked_as_one_sum_pays_each_of_its_payments(town: Town):
    number = await town.door.api.pool.fetchval("SELECT number FROM settlement")
    ordered, name = sum(order.amount for order in town.orders), message_id(number, town.day)
    await town.statement(Booking(-ordered, "R1", order_id=name))
    assert await town.kinds() == []
    assert [await status(town, operator_id) for operator_id in ("buses", "metro")] == ["paid"] * 2
    # The details come in a file of their own, as where the statement has sums alone.
    await town.statement(debit(town.buses, "R2"), message_id="S2")
    assert await town.kinds() == []
    await town.statement(debit(town.metro, "R3"), message_id="S3")
    assert await town.kinds() == []
    assert [row.bank_fen for row in (await town.reconcile()).operators] == [
        int(order.amount * 100) for order in (town.buses, town.metro)
    ]


async def test_a_sum_that_is_not_the_orders_stays_unmatched_and_one_booked_twice_is_told(
    town: Town,
):
    number = await town.door.api.pool.fetchval("SELECT number FROM settlement")
    ordered, name = sum(order.amount for order in town.orders), message_id(number, town.day)
    await town.statement(Booking(-ordered - 1, "R1", order_id=name))
    assert await town.kinds() == [("unmatched_bank_line", False), *[("not_paid_yet", True)] * 2]
    await town.statement(
        Booking(-ordered, "R2", order_id=name),
        Booking(-ordered, "R3", order_id=name),
        message_id="S2",
    )
    assert [kind for kind, _ in await town.kinds()] == [
        *["paid_twice"] * 2, "unmatched_bank_line",
    ]  # fmt: skip


async def test_a_file_is_held_against_the_orders_that_it_names_and_no_others(town: Town):
    pool = town.door.api.pool
    number = await pool.fetchval("SELECT number FROM settlement")
    before = town.day - timedelta(days=1)
    await pool.execute(
        "INSERT INTO settlement SELECT $1, number + 1, NULL, closed_at, currency, parties "
        "FROM settlement",
        before,
    )
    await pool.execute(
        "INSERT INTO settlement_batch SELECT $1, operator_id, ride_count, gross_fen, "
        "carried_in_fen, paid_fen, carried_out_fen FROM settlement_batch",
        before,
    )
    ever = await load_payments_due(pool)
    assert {payment.settlement_day for payment in ever} == {before, town.day}
    named = await load_payments_due(pool, {number})
    assert named == [payment for payment in ever if payment.settlement_day == town.day] != []
    assert await load_payments_due(pool, ()) == []


async def test_a_payment_that_came_back_after_a_sum_is_carried_on(town: Town):
    number = await town.door.api.pool.fetchval("SELECT number FROM settlement")
    ordered, name = sum(order.amount for order in town.orders), message_id(number, town.day)
    back = Booking(town.buses.amount, "R2", town.buses.end_to_end_id, is_return=True)
    await town.statement(Booking(-ordered, "R1", order_id=name))
    assert (await town.statement(back, message_id="S2"))["returned_count"] == 1
    assert await town.kinds() == [("returned", True)]
    assert await status(town, "buses") == "rejected"


async def test_a_payment_that_was_refused_is_made_again_once(town: Town):
    rejected = pain_002(town.orders, {town.buses.end_to_end_id: "AC01"})
    assert (await town.take(rejected))["returned_count"] == 1
    assert await status(town, "buses") == "rejected"
    await town.statement(debit(town.metro, "R2"))
    found = await town.reconcile()
    assert [one.kind for one in found.breaks] == ["rejected"]
    assert "AC01" in found.breaks[0].explanation
    assert "waits for the next close" in found.breaks[0].explanation
    pool = town.door.api.pool
    assert (await town.take(pain_002(town.orders[:1], {town.buses.end_to_end_id: "AC04"})))[
        "returned_count"
    ] == 0
    assert await pool.fetchval("SELECT amount_fen FROM payout_return") == town.buses.amount * 100


async def test_an_order_that_was_refused_as_a_whole_is_made_again_payment_by_payment(town: Town):
    """The bank names the message, and none of its payments."""
    number = await town.door.api.pool.fetchval("SELECT number FROM settlement")
    refused = (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt><GrpHdr>'
        "<MsgId>ANSWER-1</MsgId></GrpHdr><OrgnlGrpInfAndSts>"
        f"<OrgnlMsgId>{message_id(number, town.day)}</OrgnlMsgId><GrpSts>RJCT</GrpSts><StsRsnInf>"
        "<Rsn><Cd>FF01</Cd></Rsn></StsRsnInf></OrgnlGrpInfAndSts></CstmrPmtStsRpt></Document>"
    ).encode()
    assert (await town.take(refused))["returned_count"] == 2
    assert [await status(town, name) for name in ("buses", "metro")] == ["rejected"] * 2
    found = await town.reconcile()
    assert [(str(one.kind), one.is_explained) for one in found.breaks] == [("rejected", True)] * 2
    assert all("FF01" in one.explanation for one in found.breaks)
    other = refused.replace(b"SETTLE-", b"OTHERS-")
    assert (await town.take(other))["answers_count"] == 0


async def test_what_is_carried_on_and_booked_all_the_same_is_found(town: Town):
    """One was refused and paid; of another less came back than went out."""
    await town.take(pain_002(town.orders, {town.buses.end_to_end_id: "AC01"}))
    short = Booking(town.metro.amount - 1, "R4", town.metro.end_to_end_id, is_return=True)
    await town.statement(debit(town.buses, "R1"), debit(town.metro, "R2"), short)
    found = await town.reconcile()
    assert [(str(one.kind), one.amount_fen, one.is_explained) for one in found.breaks] == [
        ("amount_differs", int(town.buses.amount * 100), False),
        ("amount_differs", 100, False),
    ]


async def test_a_payment_booked_in_another_currency_is_found(town: Town):
    content = camt_053(
        [debit(town.buses, "R1"), debit(town.metro, "R2")],
        account="OURS",
        currency="USD",
        day=town.day,
    )
    await town.take(content)
    assert await town.kinds() == [("amount_differs", False)] * 2


async def test_a_payment_that_came_back_is_told_and_carried(town: Town):
    await town.statement(debit(town.buses, "R1"), debit(town.metro, "R2"))
    back = Booking(town.buses.amount, "R4", town.buses.end_to_end_id, is_return=True)
    assert (await town.statement(back, message_id="S2"))["returned_count"] == 1
    assert await town.kinds() == [("returned", True)]


async def test_a_second_booking_that_the_bank_takes_back_leaves_the_payment_as_it_is(town: Town):
    """Carried on, it would be paid once more."""
    await town.statement(debit(town.buses, "R1"), debit(town.metro, "R2"), debit(town.buses, "R3"))
    assert await town.kinds() == [("paid_twice", False)]
    back = Booking(town.buses.amount, "R4", town.buses.end_to_end_id, is_return=True)
    assert (await town.statement(back, message_id="S2"))["returned_count"] == 0
    assert await town.kinds() == []
    assert await status(town, "buses") == "paid"
    again = Booking(town.buses.amount, "R5", town.buses.end_to_end_id, is_return=True)
    assert (await town.statement(again, message_id="S3"))["returned_count"] == 1
    assert await status(town, "buses") == "rejected"


async def test_a_charge_that_the_taps_do_not_come_to_is_found(town: Town):
    pool = town.door.api.pool
    wallet_id = await pool.fetchval("SELECT wallet_id FROM wallet")
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            """INSERT INTO journal_entry (wallet_id, wallet_version, effective_at, recorded_at,
                service_day, settlement_day, purse_fen, operator_fen, ride_count, cause_id, tap_id,
                kind, operator_id, product_id)
            SELECT wallet_id, 999, effective_at, recorded_at, service_day, settlement_day, -7, 7, 0,
                cause_id, tap_id, 'correction', operator_id, product_id
            FROM journal_entry WHERE kind = 'fare' AND operator_id = 'buses' LIMIT 1"""
        )
    assert wallet_id is not None
    found = await town.reconcile()
    kinds = [one.kind for one in found.breaks]
    assert kinds[:3] == ["charge_differs", "charge_differs", "ledger_not_settled"]
    assert found.breaks[0].subject == "operator buses"
    assert found.breaks[0].amount_fen == 7
    assert not found.is_explained


async def test_a_fare_of_somebody_who_never_tapped_is_found(town: Town):
    """And one that a sponsor bears, though no tariff says so."""
    stranger = await town.door.open_wallet("card-9", fen=1_000)
    pool = town.door.api.pool
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            """INSERT INTO journal_entry (wallet_id, wallet_version, effective_at, recorded_at,
                service_day, settlement_day, purse_fen, operator_fen, sponsors, sponsors_fen,
                ride_count, cause_id, tap_id, kind, operator_id, product_id)
            SELECT $1, 999, effective_at, recorded_at, service_day, settlement_day, -5, 12,
                ARRAY['icbc/october'], ARRAY[-7], 1, gen_random_uuid(), gen_random_uuid(), kind,
                operator_id, product_id
            FROM journal_entry WHERE kind = 'fare' AND operator_id = 'buses' LIMIT 1""",
            stranger,
        )
    found = await town.reconcile()
    differing = [one for one in found.breaks if one.kind == "charge_differs"]
    assert [(one.subject, one.amount_fen) for one in differing] == [
        ("operator buses", 12),
        ("sponsor icbc", 7),
    ]
    assert not found.is_explained


async def test_finance_reads_a_screen_a_csv_and_a_page(town: Town):
    await town.statement(Booking(Decimal("-5.00"), "<b>R9</b>"))
    found = await town.reconcile()
    text = as_text(found, 2)
    assert "buses" in text
    assert "3 breaks, 1 of them not explained" in text
    assert max(map(len, text.splitlines()[:6])) <= 80
    assert as_csv(found).count("\r\n") == 1 + len(found.operators) + 1 + 1 + 3
    page = as_html(found, 2)
    assert "<b>R9" not in page
    assert "&lt;b&gt;R9" in page


GOOD = camt_053(
    [Booking(Decimal("-1.00"), "R1", "E1")], account="OURS", currency="CNY", day=date(2026, 3, 2)
)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ((b"<MsgId>STATEMENT-1</MsgId>", b""), "GrpHdr[1]: MsgId is missing"),
        ((b'<Amt Ccy="CNY">1.00</Amt>', b'<Amt Ccy="CNY">1.001</Amt>'), "Ntry[1]/Amt[1]"),
        ((b'<Amt Ccy="CNY">1.00</Amt>', b"<Amt>1.00</Amt>"), "is no amount of a currency"),
        ((b"<CdtDbtInd>DBIT", b"<CdtDbtInd>LEFT"), "neither CRDT nor DBIT"),
        ((b"<BookgDt><Dt>2026-03-02", b"<BookgDt><Dt>2026-13-02"), "'2026-13-02' is no date"),
        ((b"BkToCstmrStmt", b"BkToNobody"), "neither a pain.002"),
        ((b"</Document>", b""), "line 1, column"),
        ((b"<Document", b"<!DOCTYPE a><Document"), "declares a document type"),
    ],
)
def test_a_file_that_is_wrong_is_told_by_its_place(change, place):
    with pytest.raises(BankFileFault) as raised:
        read_bank_file(GOOD.replace(*change))
    assert place in str(raised.value)


async def test_a_wrong_file_changes_nothing(town: Town):
    broken = camt_053(
        [debit(town.buses, "R1")], account="OURS", currency="CNY", day=town.day
    ).replace(b"DBIT", b"LEFT")
    said = await town.door.ask("POST", "/v1/bank-files", broken)
    said.check_problem(422, "bank_file", "Nothing of the file was taken")
    assert await town.door.api.pool.fetchval("SELECT count(*) FROM bank_file") == 0


def test_other_versions_say_the_same():
    old = GOOD.replace(b"camt.053.001.08", b"camt.053.001.02").replace(
        b"<Sts><Cd>BOOK</Cd></Sts>", b"<Sts>BOOK</Sts>"
    )
    assert read_bank_file(old).lines == read_bank_file(GOOD).lines
    pending = GOOD.replace(b"BOOK", b"PDNG")
    assert read_bank_file(pending).lines == ()


async def test_before_any_tap_a_reconciliation_is_of_the_settled_day_alone(database: str):
    day = date(2026, 1, 5)
    async with await open_pool(database) as pool:
        assert await first_day(pool, day) == day
        # A gateway opens days before their first tap.
        await LogDays().open(pool, [date(2026, 1, 9)])
        assert await first_day(pool, day) == day
        await LogDays().open(pool, [date(2026, 1, 3)])
        assert await first_day(pool, day) == date(2026, 1, 3)
