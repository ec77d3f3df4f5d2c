from datetime import UTC, date, datetime, time
from uuid import NAMESPACE_OID, uuid5

import pytest

from gateway.core.registry import Operator
from gateway.core.settlement import (
    ProductTotal,
    SettledLine,
    SettlementPeriod,
    UnpaidReason,
    settle,
)

MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)
OPERATORS = {
    "metro": Operator("metro", "Harbour Metro", "DE89370400440532013000", "COBADEFFXXX"),
    "bus": Operator("bus", "Harbour Bus", "44010123456789012"),
    "ferry": Operator("ferry", "Harbour Ferry"),
}
PERIOD = SettlementPeriod(
    number=1,
    days_after=None,
    service_day=MONDAY,
    closed_at=datetime(2026, 3, 3, 5, tzinfo=UTC),
    currency="CNY",
    timezone="Asia/Shanghai",
)
NEXT_PERIOD = SettlementPeriod(
    number=2,
    days_after=MONDAY,
    service_day=TUESDAY,
    closed_at=datetime(2026, 3, 4, 5, tzinfo=UTC),
    currency="CNY",
    timezone="Asia/Shanghai",
)


def line(
    name: str,
    operator_id: str,
    amount_fen: int,
    *,
    kind: str = "fare",
    product_id: str = "single",
    ride_count: int = 1,
    service_day: date = MONDAY,
    settlement_day: date = MONDAY,
) -> SettledLine:
    happened_at = datetime.combine(service_day, time(8), UTC)
    return SettledLine(
        entry_id=uuid5(NAMESPACE_OID, f"entry {name}"),
        kind=kind,
        tap_id=uuid5(NAMESPACE_OID, f"tap {name}"),
        cause_id=uuid5(NAMESPACE_OID, f"tap {name}"),
        operator_id=operator_id,
        product_id=product_id,
        service_day=service_day,
        settlement_day=settlement_day,
        effective_at=happened_at,
        recorded_at=happened_at,
        ride_count=ride_count,
        amount_fen=amount_fen,
    )


def batches(lines, *, period=PERIOD, carried_in=None):
    settlement = settle(lines, period, operators=OPERATORS, carried_in=carried_in or {})
    return {batch.operator_id: batch for batch in settlement.batches}


def test_each_operator_is_paid_what_its_riders_were_charged():
    settlement = settle(
        [line("a", "metro", 190), line("b", "bus", 160), line("c", "metro", 285)],
        PERIOD,
        operators=OPERATORS,
        carried_in={},
    )
    assert [
        (batch.operator_id, batch.ride_count, batch.paid_fen) for batch in settlement.batches
    ] == [("bus", 1, 160), ("metro", 2, 190 + 285)]
    assert settlement.totals.paid_fen == 190 + 160 + 285
    assert settlement.totals.ride_count == 3
    assert settlement.totals.payment_count == 2


def test_an_operator_is_told_how_much_each_product_earned():
    sold = [
        line("a", "metro", 190),
        line("b", "metro", 570, product_id="business"),
        line("c", "metro", 285),
    ]
    assert batches(sold)["metro"].products == (
        ProductTotal("business", 1, 570),
        ProductTotal("single", 2, 190 + 285),
    )


def test_a_free_ride_earns_nothing_and_counts():
    senior = batches([line("a", "metro", 0)])["metro"]
    assert (senior.ride_count, senior.paid_fen) == (1, 0)
    assert senior.unpaid_reason is UnpaidReason.NOTHING_DUE


def test_a_correction_changes_the_amount_and_not_the_count():
    corrected = [line("a", "bus", 160), line("a2", "bus", -40, kind="correction", ride_count=0)]
    assert batches(corrected)["bus"].products == (ProductTotal("single", 1, 160 - 40),)


@pytest.mark.parametrize(
    ("operator_id", "gross_fen", "carried_in_fen", "paid_fen", "carried_out_fen", "reason"),
    [
        ("metro", 500, 0, 500, 0, None),
        ("metro", 500, 120, 620, 0, None),
        ("metro", 500, -120, 380, 0, None),
        ("metro", 500, -500, 0, 0, "nothing_due"),
        ("metro", 500, -700, 0, -200, "owes"),
        ("metro", -80, 0, 0, -80, "owes"),
        ("metro", -80, -20, 0, -100, "owes"),
        ("metro", -80, 100, 20, 0, None),
        ("ferry", 500, 0, 0, 500, "no_bank_account"),
        ("ferry", 500, 300, 0, 800, "no_bank_account"),
        ("ferry", -80, 0, 0, -80, "owes"),
        ("ferry", 0, 0, 0, 0, "nothing_due"),
    ],
)
def test_what_is_not_paid_is_carried(
    operator_id, gross_fen, carried_in_fen, paid_fen, carried_out_fen, reason
):
    batch = batches([line("a", operator_id, gross_fen)], carried_in={operator_id: carried_in_fen})[
        operator_id
    ]
    assert (batch.gross_fen, batch.carried_in_fen) == (gross_fen, carried_in_fen)
    assert (batch.paid_fen, batch.carried_out_fen) == (paid_fen, carried_out_fen)
    assert batch.unpaid_reason == reason


def test_an_operator_without_riders_is_paid_what_it_carries():
    idle = batches([], carried_in={"metro": 250, "bus": 0})
    assert list(idle) == ["metro"]
    assert (idle["metro"].ride_count, idle["metro"].products) == (0, ())
    assert idle["metro"].paid_fen == 250


def test_a_day_without_riders_is_closed_too():
    assert batches([]) == {}


def test_a_late_correction_is_settled_with_the_next_period():
    ride = line("a", "metro", 190)
    late = line("a2", "metro", -40, kind="correction", ride_count=0, settlement_day=TUESDAY)
    first = batches([ride])["metro"]
    second = batches([late], period=NEXT_PERIOD, carried_in={"metro": first.carried_out_fen})
    assert first.paid_fen == 190
    assert (second["metro"].paid_fen, second["metro"].carried_out_fen) == (0, -40)


@pytest.mark.parametrize(
    ("settlement_day", "held"), [(MONDAY, False), (TUESDAY, True), (date(2026, 3, 4), False)]
)
def test_a_period_begins_after_the_last_close_and_ends_with_its_own_day(settlement_day, held):
    assert NEXT_PERIOD.holds(settlement_day) is held


def test_the_first_period_holds_every_day_before():
    assert PERIOD.holds(date(2001, 1, 1))


@pytest.mark.parametrize(
    "stray",
    [line("a", "metro", 190, settlement_day=TUESDAY), line("a", "metro", 190, kind="top_up")],
)
def test_a_line_of_another_period_or_kind_is_our_bug(stray):
    with pytest.raises(AssertionError):
        batches([stray])


def test_an_operator_that_nobody_knows_is_our_bug():
    with pytest.raises(KeyError):
        batches([line("a", "tram", 190)])
