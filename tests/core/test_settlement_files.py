import csv
import io
import json
from datetime import UTC, date, datetime, timedelta, timezone
from hashlib import sha256
from uuid import UUID

import msgspec
import pytest
from msgspec import structs

from gateway.core.payment_order import Debtor, end_to_end_id
from gateway.core.registry import Operator
from gateway.core.settlement import SettledLine, SettlementPeriod, settle
from gateway.core.settlement_files import Manifest, operator_file_name, settlement_files

DEBTOR = Debtor("Harbour Clearing", "6222020200112233445", "ICBKCNBJSZN")
OPERATORS = {
    "metro": Operator("metro", "Harbour Metro", "DE89370400440532013000", "COBADEFFXXX"),
    "巴士集团": Operator("巴士集团", "巴士集团", "44010123456789012"),
    "ferry": Operator("ferry", "Harbour Ferry"),
}
PERIOD = SettlementPeriod(
    number=7,
    days_after=date(2026, 3, 1),
    service_day=date(2026, 3, 2),
    closed_at=datetime(2026, 3, 2, 21, 30, tzinfo=UTC),
    currency="CNY",
    timezone="Asia/Shanghai",
)
RIDE = SettledLine(
    entry_id=UUID(int=1),
    kind="fare",
    tap_id=UUID(int=11),
    cause_id=UUID(int=11),
    operator_id="metro",
    product_id="single",
    service_day=date(2026, 3, 2),
    settlement_day=date(2026, 3, 2),
    effective_at=datetime(2026, 3, 2, 0, 15, tzinfo=UTC),
    recorded_at=datetime(2026, 3, 2, 0, 15, 1, 500, tzinfo=UTC),
    ride_count=1,
    amount_fen=190,
)
CORRECTION = structs.replace(
    RIDE,
    entry_id=UUID(int=2),
    kind="correction",
    cause_id=UUID(int=12),
    service_day=date(2026, 2, 27),
    effective_at=datetime(2026, 2, 27, 9, tzinfo=UTC),
    ride_count=0,
    amount_fen=-40,
)
BUS_RIDE = structs.replace(
    RIDE, entry_id=UUID(int=3), tap_id=UUID(int=13), operator_id="巴士集团", amount_fen=160
)
FERRY_RIDE = structs.replace(
    RIDE, entry_id=UUID(int=4), tap_id=UUID(int=14), operator_id="ferry", amount_fen=500
)
LINES = [RIDE, CORRECTION, BUS_RIDE, FERRY_RIDE]


def made(lines=LINES, *, period=PERIOD, carried_in=None, previous=None):
    settlement = settle(lines, period, operators=OPERATORS, carried_in=carried_in or {})
    return settlement_files(
        settlement, lines, operators=OPERATORS, debtor=DEBTOR, previous_manifest_sha256=previous
    )


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))


def test_a_settlement_has_a_file_per_operator_and_ends_with_its_manifest():
    assert list(made()) == [
        "operator_ferry.csv",
        "operator_metro.csv",
        "operator_巴士集团.csv",
        "totals.csv",
        "pain001.xml",
        "manifest.json",
    ]


def test_there_is_no_order_to_the_bank_when_nobody_is_paid():
    assert "pain001.xml" not in made([FERRY_RIDE])


def test_a_day_without_riders_has_totals_and_a_manifest():
    assert list(made([])) == ["totals.csv", "manifest.json"]


def test_an_operator_sees_each_line_in_the_order_of_its_rides():
    assert made()["operator_metro.csv"].decode() == (
        "entry_id,kind,tap_id,cause_id,operator_id,product_id,service_day,settlement_day,"
        "effective_at,recorded_at,ride_count,amount_fen,journey_id,own_fen,distance_m,change_fen,"
        "currency\r\n"
        "00000000-0000-0000-0000-000000000002,correction,00000000-0000-0000-0000-00000000000b,"
        "00000000-0000-0000-0000-00000000000c,metro,single,2026-02-27,2026-03-02,"
        "2026-02-27T17:00:00.000000+08:00,2026-03-02T08:15:01.000500+08:00,0,-40,,,,,CNY\r\n"
        "00000000-0000-0000-0000-000000000001,fare,00000000-0000-0000-0000-00000000000b,"
        "00000000-0000-0000-0000-00000000000b,metro,single,2026-03-02,2026-03-02,"
        "2026-03-02T08:15:00.000000+08:00,2026-03-02T08:15:01.000500+08:00,1,190,,,,,CNY\r\n"
    )


def test_totals_have_a_row_per_operator_and_a_row_per_product():
    reference = end_to_end_id(7, "metro")
    bus_reference = end_to_end_id(7, "巴士集团")
    assert made(carried_in={"metro": 50})["totals.csv"].decode().splitlines() == [
        "total_of,operator_id,product_id,ride_count,gross_fen,shared_fen,fees_fen,carried_in_fen,"
        "paid_fen,carried_out_fen,unpaid_reason,end_to_end_id,currency",
        "operator,ferry,,1,500,0,0,0,0,500,no_bank_account,,CNY",
        f"operator,metro,,1,150,0,0,50,200,0,,{reference},CNY",
        f"operator,巴士集团,,1,160,0,0,0,160,0,,{bus_reference},CNY",
        "product,ferry,single,1,500,,,,,,,,CNY",
        "product,metro,single,1,150,,,,,,,,CNY",
        "product,巴士集团,single,1,160,,,,,,,,CNY",
    ]


@pytest.mark.parametrize(
    "product_id",
    ["a,b", 'a"b', "a\r\nb", "\r=1", "=1+1", "@SUM(A1)", "-3", "+3", "'=1", "\uff1d1", "地铁"],
)
def test_no_id_breaks_a_row_or_becomes_a_formula(product_id):
    (row,) = rows(made([structs.replace(RIDE, product_id=product_id)])["operator_metro.csv"])
    assert row["product_id"].removeprefix("'") == product_id
    assert not row["product_id"].startswith(("=", "+", "-", "@", "\r", "\uff1d"))
    assert row["amount_fen"] == "190"


def test_closing_twice_gives_the_same_bytes():
    assert made() == made()


def test_closing_gives_the_same_bytes_from_a_database_in_another_timezone():
    there = timezone(timedelta(hours=-5))
    moved = [
        structs.replace(
            line,
            effective_at=line.effective_at.astimezone(there),
            recorded_at=line.recorded_at.astimezone(there),
        )
        for line in LINES
    ]
    period = structs.replace(PERIOD, closed_at=PERIOD.closed_at.astimezone(there))
    assert made(moved, period=period) == made()


def test_the_manifest_tells_the_size_and_hash_of_every_other_file():
    files = made()
    manifest = msgspec.json.decode(files.pop("manifest.json"), type=Manifest)
    assert {file.name: (file.size_bytes, file.sha256) for file in manifest.files} == {
        name: (len(content), sha256(content).hexdigest()) for name, content in files.items()
    }


def test_the_manifest_tells_the_totals_and_why_somebody_is_not_paid():
    content = made()["manifest.json"]
    manifest = json.loads(content)
    canonical = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert content == canonical.encode()
    assert manifest["totals"] == {
        "operator_count": 3,
        "payment_count": 2,
        "ride_count": 3,
        "gross_fen": 190 - 40 + 160 + 500,
        "fees_fen": 0,
        "carried_in_fen": 0,
        "paid_fen": 190 - 40 + 160,
        "carried_out_fen": 500,
    }
    assert [batch["unpaid_reason"] for batch in manifest["batches"]] == [
        "no_bank_account",
        None,
        None,
    ]
    assert manifest["previous_manifest_sha256"] is None


def test_each_manifest_holds_the_hash_of_the_one_before():
    def close(first_fen):
        first = made([structs.replace(RIDE, amount_fen=first_fen)])["manifest.json"]
        second = made([BUS_RIDE], previous=sha256(first).hexdigest())["manifest.json"]
        third = made([FERRY_RIDE], previous=sha256(second).hexdigest())["manifest.json"]
        return msgspec.json.decode(third, type=Manifest).previous_manifest_sha256

    # One fen in the first changes what the third says.
    assert close(190) == close(190) != close(191)


def test_lines_that_were_not_settled_make_no_files():
    settlement = settle([RIDE], PERIOD, operators=OPERATORS, carried_in={})
    with pytest.raises(AssertionError):
        settlement_files(
            settlement,
            [RIDE, CORRECTION],
            operators=OPERATORS,
            debtor=DEBTOR,
            previous_manifest_sha256=None,
        )


@pytest.mark.parametrize(
    ("operator_id", "file_name"),
    [
        ("metro_1", "operator_metro_1.csv"),
        ("深圳市地铁集团", "operator_深圳市地铁集团.csv"),
        ("totals", "operator_totals.csv"),
        ("Metro", "operator_metro.be618b93.csv"),
        ("../a/b", "operator____a_b.8e7e11e4.csv"),
    ],
)
def test_an_operators_file_is_named_after_it(operator_id, file_name):
    assert operator_file_name(operator_id) == file_name
