"""An operator's own folder: what it earned, shares and pays, and nothing of what others do."""

from __future__ import annotations

import io
from collections import Counter
from datetime import UTC, date, datetime
from uuid import UUID

import msgspec
import pytest

from gateway.core.clearing import FeeLine
from gateway.core.clearing_files import Cleared
from gateway.core.payment_order import Debtor
from gateway.core.registry import Operator
from gateway.core.settlement import SettledLine, Settlement, SettlementPeriod, settle
from gateway.core.settlement_files import settlement_files
from gateway.core.signed_books import OperatorManifest, operator_files, operator_folder
from gateway.core.verification import batch_faults

MONDAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 4, tzinfo=UTC)
PERIOD = SettlementPeriod(1, None, MONDAY, NOON, "CNY", "Asia/Shanghai")
OPERATORS = {name: Operator(name, name) for name in ("metro", "bus, north", "=ferry", "desk")}
FEES = [
    FeeLine("agent", "=ferry", "desk", 7),
    FeeLine("agent", "bus, north", "desk", 5),
    FeeLine("agent", "metro", "desk", 3),
    FeeLine("shelter", "=ferry", "bus, north", 2),
]


@pytest.fixture
def settled() -> tuple[Settlement, dict[str, bytes]]:
    """Three earn 1.00 each; all pay the desk, and the ferry pays for the bus's shelter."""
    lines = [
        SettledLine(
            UUID(int=number), "fare", UUID(int=number), UUID(int=number), name, "ride", MONDAY,
            MONDAY, NOON, NOON, 1, 100,
        )
        for number, name in enumerate(OPERATORS) if name != "desk"
    ]  # fmt: skip
    moved: Counter[str] = Counter()
    for fee in FEES:
        moved[fee.paid_to] += fee.amount_fen
        moved[fee.operator_id] -= fee.amount_fen
    settlement = settle(lines, PERIOD, operators=OPERATORS, carried_in={}, fees=moved)
    return settlement, settlement_files(
        settlement,
        lines,
        operators=OPERATORS,
        debtor=Debtor("Harbour", "6222020200112233445", "ICBKCNBJSZN"),
        previous_manifest_sha256=None,
        cleared=Cleared(fees=FEES),
    )


def own_of(settled: tuple[Settlement, dict[str, bytes]], name: str) -> dict[str, bytes]:
    folder = operator_folder(name) + "/"
    return {
        path.removeprefix(folder): content
        for path, content in operator_files(*settled).items()
        if path.startswith(folder)
    }


def faults(own: dict[str, bytes]) -> list[str]:
    manifest = msgspec.json.decode(own["manifest.json"], type=OperatorManifest)
    return list(
        batch_faults(
            manifest.batch,
            manifest.period,
            {file.name for file in manifest.files},
            lambda name: io.StringIO(own[name].decode(), newline=""),
        )
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("metro", ["agent,metro,desk,3,CNY"]),
        ("bus, north", ['agent,"bus, north",desk,5,CNY', 'shelter,\'=ferry,"bus, north",2,CNY']),
        ("=ferry", ["agent,'=ferry,desk,7,CNY", 'shelter,\'=ferry,"bus, north",2,CNY']),
        (
            "desk",
            ["agent,'=ferry,desk,7,CNY", 'agent,"bus, north",desk,5,CNY', "agent,metro,desk,3,CNY"],
        ),
    ],
)
def test_an_operator_sees_the_fees_that_it_pays_or_is_paid_and_no_others(settled, name, told):
    own = own_of(settled, name)
    (fees,) = (content for path, content in own.items() if path.startswith("fees_"))
    header, *lines = fees.decode().splitlines()
    assert header == "fee_id,operator_id,paid_to,amount_fen,currency"
    assert lines == told
    assert faults(own) == []


def test_whom_no_fee_concerns_has_no_file_of_them(settled):
    settlement, files = settled
    files = {**files, "fees.csv": b"fee_id,operator_id,paid_to,amount_fen,currency\r\n"}
    assert not any("fees_" in name for name in operator_files(settlement, files))


def test_a_fee_that_was_not_said_is_found(settled):
    own = own_of(settled, "metro")
    own["fees_metro.csv"] = own["fees_metro.csv"].replace(b",3,", b",2,")
    assert faults(own) == [
        "fees_metro.csv: what fees bring is -2, but the manifest says -3",
    ]


def test_the_fee_of_others_has_no_place_there(settled):
    own = own_of(settled, "metro")
    own["fees_metro.csv"] += b"agent,bus,desk,5,CNY\r\n"
    assert faults(own) == ["fees_metro.csv:3: is bus's to desk, in the file of metro"]
