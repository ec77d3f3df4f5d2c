"""A bank for trying out: it takes a pain.001 and answers as banks do, well or badly.

Used by the demo and by tests; no gateway ever trusts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from xml.etree.ElementTree import fromstring
from xml.sax.saxutils import escape

from msgspec import Struct


class Order(Struct, frozen=True):
    """One payment that the bank was told to make."""

    end_to_end_id: str
    amount: Decimal
    currency: str
    creditor: str


def orders(pain_001: bytes) -> list[Order]:
    """The payments of an order."""
    document = fromstring(pain_001)
    names = {"p": document.tag[1 : document.tag.index("}")]}
    return [
        Order(
            payment.findtext("p:PmtId/p:EndToEndId", "", names),
            Decimal(payment.findtext("p:Amt/p:InstdAmt", "0", names)),
            str(payment.find("p:Amt/p:InstdAmt", names).get("Ccy")),  # type: ignore[union-attr]
            payment.findtext("p:Cdtr/p:Nm", "", names),
        )
        for payment in document.iterfind(".//p:CdtTrfTxInf", names)
    ]


def pain_002(found: Sequence[Order], rejected: Mapping[str, str]) -> bytes:
    """The bank's answer: each order settled, or rejected with a code."""
    parts = []
    for order in found:
        code = rejected.get(order.end_to_end_id)
        reason = f"<StsRsnInf><Rsn><Cd>{code}</Cd></Rsn></StsRsnInf>" if code else ""
        parts.append(
            f"<TxInfAndSts><OrgnlEndToEndId>{order.end_to_end_id}</OrgnlEndToEndId>"
            f"<TxSts>{'RJCT' if code else 'ACSC'}</TxSts>{reason}</TxInfAndSts>"
        )
    return (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>'
        "<GrpHdr><MsgId>ANSWER-1</MsgId></GrpHdr><OrgnlPmtInfAndSts>"
        f"{''.join(parts)}</OrgnlPmtInfAndSts></CstmrPmtStsRpt></Document>"
    ).encode()


class Booking(Struct, frozen=True):
    """One line of a statement; above zero, money that came in."""

    amount: Decimal
    reference: str
    end_to_end_id: str = ""
    text: str = ""
    is_return: bool = False
    # Where the bank books a whole order as one sum, and says no more of it.
    order_id: str = ""


def debit(order: Order, reference: str) -> Booking:
    return Booking(-order.amount, reference, order.end_to_end_id)


def camt_053(
    bookings: Sequence[Booking],
    *,
    account: str,
    currency: str,
    day: date,
    opening: Decimal = Decimal(0),
    message_id: str = "STATEMENT-1",
) -> bytes:
    """A statement of one day, with the balance at its end."""
    closing = opening + sum(one.amount for one in bookings)
    return (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>'
        f"<GrpHdr><MsgId>{message_id}</MsgId></GrpHdr><Stmt><Id>{message_id}</Id>"
        f"<Acct><Id><Othr><Id>{account}</Id></Othr></Id></Acct>"
        f"<Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp>{_amount(closing, currency)}"
        f"<Dt><Dt>{day}</Dt></Dt></Bal>"
        f"{''.join(_entry(one, currency, day) for one in bookings)}"
        "</Stmt></BkToCstmrStmt></Document>"
    ).encode()


def _entry(one: Booking, currency: str, day: date) -> str:
    reference = f"<EndToEndId>{one.end_to_end_id}</EndToEndId>" if one.end_to_end_id else ""
    text = f"<RmtInf><Ustrd>{escape(one.text)}</Ustrd></RmtInf>" if one.text else ""
    back = "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>" if one.is_return else ""
    details = f"<TxDtls><Refs>{reference}</Refs>{back}{text}</TxDtls>"
    if one.order_id:
        details = f"<Btch><PmtInfId>{one.order_id}</PmtInfId></Btch>"
    return (
        f"<Ntry>{_amount(one.amount, currency)}<Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>{day}</Dt></BookgDt><AcctSvcrRef>{escape(one.reference)}</AcctSvcrRef>"
        f"<NtryDtls>{details}</NtryDtls></Ntry>"
    )


def _amount(amount: Decimal, currency: str) -> str:
    side = "CRDT" if amount >= 0 else "DBIT"
    return f'<Amt Ccy="{currency}">{abs(amount)}</Amt><CdtDbtInd>{side}</CdtDbtInd>'
