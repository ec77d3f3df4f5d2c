"""True of any lines, in any order, over any number of closes."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.payment_order import Debtor
from gateway.core.registry import Operator
from gateway.core.settlement import SettledLine, SettlementPeriod, settle
from gateway.core.settlement_files import operator_file_name, settlement_files

FIRST_DAY = date(2026, 3, 2)
OPERATORS = {
    "metro": Operator("metro", "Harbour Metro", "DE89370400440532013000"),
    "巴士/西": Operator("巴士/西", "西部公共汽车", "44010123456789012", "ICBKCNBJSZN"),
    "Ferry": Operator("Ferry", "Harbour Ferry"),
}
DEBTOR = Debtor("Harbour Clearing", "6222020200112233445", "ICBKCNBJSZN")

# Few enough that some rides happen at one moment.
instants = st.integers(0, 5).map(lambda hours: datetime(2026, 3, 2, hours, tzinfo=UTC))
lines_of_three_days = st.lists(
    st.builds(
        SettledLine,
        entry_id=st.integers(0, 2**128 - 1).map(lambda number: UUID(int=number)),
        kind=st.sampled_from(["fare", "correction"]),
        tap_id=st.integers(0, 3).map(lambda number: UUID(int=number)),
        cause_id=st.just(UUID(int=9)),
        operator_id=st.sampled_from(sorted(OPERATORS)),
        product_id=st.sampled_from(["single", "=business", "单程,学生"]),
        service_day=st.just(FIRST_DAY),
        settlement_day=st.integers(0, 2).map(lambda days: FIRST_DAY + timedelta(days=days)),
        effective_at=instants,
        recorded_at=instants,
        ride_count=st.integers(-1, 1),
        amount_fen=st.integers(-2000, 2000),
    ),
    unique_by=lambda line: line.entry_id,
    max_size=30,
)


def period(number: int, days_after: date | None, service_day: date) -> SettlementPeriod:
    closed_at = datetime(2026, 3, 6, 5, tzinfo=UTC)
    return SettlementPeriod(number, days_after, service_day, closed_at, "CNY", "Asia/Shanghai")


def files(lines):
    whole = period(1, None, FIRST_DAY + timedelta(days=2))
    return settlement_files(
        settle(lines, whole, operators=OPERATORS, carried_in={}),
        lines,
        operators=OPERATORS,
        debtor=DEBTOR,
        previous_manifest_sha256=None,
    )


@given(lines_of_three_days.flatmap(lambda lines: st.tuples(st.just(lines), st.permutations(lines))))
def test_the_order_in_which_lines_are_read_changes_no_byte(orders):
    assert files(orders[0]) == files(orders[1])


@given(lines_of_three_days, st.sets(st.integers(0, 1)))
def test_no_fen_is_lost_or_paid_twice_however_the_days_are_closed(lines, earlier_closes):
    """Close after some of the days, and after the last: each line once, each carry once."""
    carried: dict[str, int] = {}
    paid_fen = ride_count = 0
    days_after: date | None = None
    for number, days in enumerate([*sorted(earlier_closes), 2], start=1):
        closing = period(number, days_after, FIRST_DAY + timedelta(days=days))
        held = [line for line in lines if closing.holds(line.settlement_day)]
        settlement = settle(held, closing, operators=OPERATORS, carried_in=carried)
        totals = settlement.totals
        assert totals.gross_fen == sum(line.amount_fen for line in held)
        assert totals.carried_in_fen == sum(carried.values())
        assert all(batch.paid_fen >= 0 for batch in settlement.batches)
        carried = {batch.operator_id: batch.carried_out_fen for batch in settlement.batches}
        paid_fen += totals.paid_fen
        ride_count += totals.ride_count
        days_after = closing.service_day
    assert paid_fen + sum(carried.values()) == sum(line.amount_fen for line in lines)
    assert ride_count == sum(line.ride_count for line in lines)


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=64)))
def test_every_operator_has_a_file_name_of_its_own(operator_ids):
    names = {operator_file_name(operator_id).casefold() for operator_id in operator_ids}
    assert len(names) == len(set(operator_ids))
    assert all(len(name.encode()) <= 255 and "/" not in name for name in names)
