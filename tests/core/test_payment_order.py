"""The order is checked against the schema that the bank checks it against."""

from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.metadata import distribution
from pathlib import Path

import pytest
from lxml import etree
from msgspec import structs

from fare_rules.currency import currency_digits
from fare_rules.language.scalars import Money
from gateway.core.payment_order import (
    Debtor,
    end_to_end_id,
    message_id,
    payment_order,
    settlements_named,
)
from gateway.core.registry import Operator
from gateway.core.settlement import ProductTotal, Settlement, SettlementBatch, SettlementPeriod

NAMESPACE = {"p": "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"}
PERIOD = SettlementPeriod(
    number=7,
    days_after=date(2026, 3, 1),
    service_day=date(2026, 3, 2),
    closed_at=datetime(2026, 3, 2, 21, 30, 15, 123456, tzinfo=UTC),
    currency="CNY",
    timezone="Asia/Shanghai",
)
DEBTOR = Debtor("城市清算中心", "6222020200112233445", "ICBKCNBJSZN")
METRO = Operator("metro", "Harbour Metro", "DE89370400440532013000", "COBADEFFXXX")
BUS = Operator("巴士集团", "巴士集团", "44010123456789012")


@pytest.fixture(scope="module")
def schema():
    # The package is here only because it brings the schema; it is never imported.
    path = distribution("pain001").locate_file("pain001/templates/pain.001.001.09")
    return etree.XMLSchema(etree.parse(Path(str(path)) / "pain.001.001.09.xsd"))


def paid(operator: Operator, amount_fen: int) -> SettlementBatch:
    return SettlementBatch(
        operator_id=operator.operator_id,
        ride_count=1,
        gross_fen=amount_fen,
        products=(ProductTotal("single", 1, amount_fen),),
        carried_in_fen=0,
        paid_fen=amount_fen,
        carried_out_fen=0,
        unpaid_reason=None,
    )


def order(*payments, period=PERIOD):
    """Read back the order that pays these amounts to these operators."""
    settlement = Settlement(period, tuple(paid(*payment) for payment in payments))
    operators = {operator.operator_id: operator for operator, _ in payments}
    return etree.fromstring(payment_order(settlement, operators, DEBTOR))


def texts(document, path):
    return [node.text for node in document.iterfind(f".//{path}", NAMESPACE)]


@pytest.mark.parametrize(
    "name", ["Harbour Metro", "巴士集团", "Smith & Sons <Ltd>", "x" * 140, "not\ufffea character"]
)
@pytest.mark.parametrize("bic", [None, "COBADEFFXXX"])
@pytest.mark.parametrize("account", ["DE89370400440532013000", "44010123456789012", "A1234"])
def test_the_order_is_valid(schema, name, bic, account):
    schema.assertValid(order((Operator("metro", name, account, bic), 190), (BUS, 1)))


def test_the_bank_is_told_how_many_payments_and_how_much_together():
    document = order((METRO, 47500), (BUS, 160))
    assert texts(document, "p:NbOfTxs") == ["2", "2"]
    assert texts(document, "p:CtrlSum") == ["476.60", "476.60"]
    assert texts(document, "p:InstdAmt") == ["475.00", "1.60"]


@pytest.mark.parametrize(
    ("currency", "amount"),
    [("CNY", "12345.06"), ("EUR", "12345.06"), ("JPY", "1234506"), ("KWD", "1234.506")],
)
def test_a_currency_has_its_own_minor_unit(schema, currency, amount):
    document = order((METRO, 1_234_506), period=structs.replace(PERIOD, currency=currency))
    schema.assertValid(document)
    assert texts(document, "p:InstdAmt") == texts(document, "p:PmtInf/p:CtrlSum") == [amount]
    assert document.find(".//p:InstdAmt", NAMESPACE).get("Ccy") == currency


@pytest.mark.parametrize("currency", ["CNY", "KRW", "KWD", "RSD", "IQD", "LBP"])
def test_the_bank_pays_what_the_tariff_writes(currency):
    fare_fen = Money.read("50", currency_digits(currency))
    document = order((METRO, fare_fen), period=structs.replace(PERIOD, currency=currency))
    assert [Decimal(text) for text in texts(document, "p:InstdAmt")] == [50]


def test_an_account_with_right_check_digits_is_an_iban_and_any_other_is_local():
    wrong = structs.replace(METRO, operator_id="tram", bank_account="DE89370400440532013001")
    creditors = "p:CdtrAcct/p:Id/"
    document = order((METRO, 1), (BUS, 1), (wrong, 1))
    assert texts(document, creditors + "p:IBAN") == [METRO.bank_account]
    assert texts(document, creditors + "p:Othr/p:Id") == [BUS.bank_account, wrong.bank_account]


def test_each_payment_has_a_reference_of_its_own():
    document = order((METRO, 1), (BUS, 1))
    assert texts(document, "p:EndToEndId") == [
        end_to_end_id(7, "metro"),
        end_to_end_id(7, "巴士集团"),
    ]
    assert end_to_end_id(7, "metro") != end_to_end_id(8, "metro")


def test_no_reference_is_longer_than_the_bank_carries(schema):
    document = order((METRO, 1), period=structs.replace(PERIOD, number=2**63 - 1))
    schema.assertValid(document)
    assert len(texts(document, "p:EndToEndId")[0]) == 35


def test_an_order_is_known_again_by_its_reference():
    day, most = PERIOD.service_day, 2**63 - 1
    ours = [message_id(number, day) for number in (7, most)]
    others = [
        "",
        "7-metro",
        "OTHERS-7-20260302",
        f"{ours[0]} ",
        message_id(most + 1, day),
    ]
    assert settlements_named([*ours, *others]) == {7, most}


def test_a_message_says_which_settlement_it_pays():
    document = order((METRO, 1))
    assert texts(document, "p:MsgId") == texts(document, "p:PmtInfId") == ["SETTLE-7-20260302"]
    assert texts(document, "p:CreDtTm") == ["2026-03-03T05:30:15+08:00"]
    assert texts(document, "p:Ustrd") == ["Fares to 2026-03-02, settlement 7"]


@pytest.mark.parametrize(
    ("closed_at", "execution_day"),
    [
        (datetime(2026, 3, 2, 15, tzinfo=UTC), "2026-03-03"),
        (datetime(2026, 3, 2, 21, tzinfo=UTC), "2026-03-03"),
        (datetime(2026, 3, 5, 21, tzinfo=UTC), "2026-03-06"),
    ],
)
def test_operators_are_paid_the_day_after_or_when_the_day_is_closed_late(closed_at, execution_day):
    document = order((METRO, 1), period=structs.replace(PERIOD, closed_at=closed_at))
    assert texts(document, "p:ReqdExctnDt/p:Dt") == [execution_day]
