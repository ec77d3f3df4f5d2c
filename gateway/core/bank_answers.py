"""What a bank answers: pain.002 about orders, camt.053 and camt.054 about what was booked.

Elements are looked for by their names, whatever version the file's namespace says: what is read
here has not changed between camt .02 and .08, and pain.002 .03 and .10. Anything missing or odd is
told with the element's path, and then nothing of the file is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from uuid import NAMESPACE_OID, UUID, uuid5
from xml.etree.ElementTree import Element, ParseError, fromstring

from msgspec import Struct

from fare_rules.currency import currency_digits

FILE_BYTES_MAX = 64 * 1024 * 1024
_ROOTS = {
    "CstmrPmtStsRpt": "pain.002",
    "BkToCstmrStmt": "camt.053",
    "BkToCstmrDbtCdtNtfctn": "camt.054",
}
# ISO 20022 external codes: taken, and refused for good.
REJECTED_CODES = frozenset({"RJCT", "CANC"})


class BankFileFault(ValueError):
    """Why a file is not taken: the place in it, and what is wrong there."""


class PaymentAnswer(Struct, frozen=True):
    """What became of one payment order: ACCP, ACSP, ACSC, RJCT..., and the bank's reason."""

    end_to_end_id: str
    status: str
    reason: str

    @property
    def is_rejected(self) -> bool:
        return self.status in REJECTED_CODES


class RefusedOrder(Struct, frozen=True):
    """An order that the bank refused as a whole, naming none of its payments."""

    message_id: str
    status: str
    reason: str


class BankLine(Struct, frozen=True):
    """One booking. Above zero, money that came in; a return is a payment that came back.

    `end_to_end_id` names the payment, or where the bank names none, the order that it was in.
    """

    line_id: UUID
    booked_on: date
    amount_fen: int
    currency: str
    is_return: bool
    reference: str
    end_to_end_id: str | None
    remittance: str


class BankBalance(Struct, frozen=True):
    account: str
    balance_on: date
    amount_fen: int


class BankFile(Struct, frozen=True):
    """All that one file says."""

    kind: str
    message_id: str
    answers: tuple[PaymentAnswer, ...] = ()
    refused: tuple[RefusedOrder, ...] = ()
    lines: tuple[BankLine, ...] = ()
    balances: tuple[BankBalance, ...] = ()


def read_bank_file(content: bytes) -> BankFile:
    """Read a pain.002, camt.053 or camt.054.

    Raises: BankFileFault for a file that is another, too large or broken; all or nothing is taken.
    """
    if len(content) > FILE_BYTES_MAX:
        raise BankFileFault(f"the file is larger than {FILE_BYTES_MAX} bytes")
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise BankFileFault("the file declares a document type, which no bank's does")
    try:
        document = _Node(fromstring(content), "Document")
    except ParseError as fault:
        row, column = fault.position
        raise BankFileFault(f"line {row}, column {column}: {fault}") from None
    root = next((child for child in document.children() if child.name in _ROOTS), None)
    if root is None:
        raise BankFileFault("neither a pain.002 nor a camt.053 nor a camt.054")
    kind, message_id = _ROOTS[root.name], root.one("GrpHdr").text("MsgId")
    if kind == "pain.002":
        answers = tuple(_answers(root))
        return BankFile(kind, message_id, answers=answers, refused=tuple(_refused(root)))
    lines: dict[UUID, BankLine] = {}
    balances: list[BankBalance] = []
    for statement in root.all("Stmt" if kind == "camt.053" else "Ntfctn"):
        account = _account(statement)
        for line in _lines(statement, account):
            if lines.setdefault(line.line_id, line) != line:
                raise BankFileFault(
                    f"{statement.path}: two bookings have reference {line.reference}"
                )
        balances += _balances(statement, account)
    return BankFile(kind, message_id, lines=tuple(lines.values()), balances=tuple(balances))


class _Node:
    """An element with its path, which is told when something is wrong with it."""

    def __init__(self, element: Element, path: str) -> None:
        self._element = element
        self.path = path
        self.name = element.tag.rpartition("}")[2]

    def children(self) -> Iterator[_Node]:
        counts: dict[str, int] = {}
        for element in self._element:
            name = element.tag.rpartition("}")[2]
            counts[name] = counts.get(name, 0) + 1
            yield _Node(element, f"{self.path}/{name}[{counts[name]}]")

    def all(self, *names: str) -> list[_Node]:
        """The elements at the end of a path of names."""
        nodes = [self]
        for name in names:
            nodes = [child for node in nodes for child in node.children() if child.name == name]
        return nodes

    def maybe(self, *names: str) -> _Node | None:
        found = self.all(*names)
        return found[0] if found else None

    def one(self, *names: str) -> _Node:
        found = self.maybe(*names)
        if found is None:
            raise BankFileFault(f"{self.path}: {'/'.join(names)} is missing")
        return found

    def text(self, *names: str) -> str:
        said = (self.one(*names)._element.text or "").strip()
        if not said:
            raise BankFileFault(f"{self.path}: {'/'.join(names)} is empty")
        return said

    def said(self, *names: str) -> str:
        found = self.maybe(*names)
        return (found._element.text or "").strip() if found else ""

    def attribute(self, name: str) -> str:
        return self._element.get(name, "")


def _answers(root: _Node) -> Iterator[PaymentAnswer]:
    for payment in root.all("OrgnlPmtInfAndSts", "TxInfAndSts"):
        yield PaymentAnswer(
            payment.text("OrgnlEndToEndId"), payment.text("TxSts"), _reason(payment)
        )


def _refused(root: _Node) -> Iterator[RefusedOrder]:
    """An order is one group and one payment information; either may be refused without more."""
    for order, name, status in [
        *((one, "OrgnlMsgId", "GrpSts") for one in root.all("OrgnlGrpInfAndSts")),
        *((one, "OrgnlPmtInfId", "PmtInfSts") for one in root.all("OrgnlPmtInfAndSts")),
    ]:
        is_told_apart = root.maybe("OrgnlPmtInfAndSts", "TxInfAndSts") is not None
        if order.said(status) in REJECTED_CODES and not is_told_apart:
            yield RefusedOrder(order.text(name), order.said(status), _reason(order))


def _reason(node: _Node) -> str:
    found = node.maybe("StsRsnInf")
    if found is None:
        return ""
    parts = [found.said("Rsn", "Cd") or found.said("Rsn", "Prtry"), found.said("AddtlInf")]
    return " ".join(part for part in parts if part)


def _account(statement: _Node) -> str:
    account = statement.one("Acct", "Id")
    return account.said("IBAN") or account.text("Othr", "Id")


def _lines(statement: _Node, account: str) -> Iterator[BankLine]:
    seen: dict[tuple[object, ...], int] = {}
    for entry in statement.all("Ntry"):
        status = entry.maybe("Sts")
        code = (status.said("Cd") or status.said()) if status else ""
        if code not in ("BOOK", ""):
            continue
        booked_on = _date(entry.one("BookgDt"))
        details, batch = entry.all("NtryDtls", "TxDtls"), entry.maybe("NtryDtls", "Btch")
        is_return = entry.said("RvslInd") == "true" or bool(
            entry.all("NtryDtls", "TxDtls", "RtrInf")
        )
        for number, detail in enumerate(details or [entry]):
            is_whole = len(details) < 2
            priced = entry if is_whole else detail
            amount_fen, currency = _amount(
                priced.maybe("Amt") or detail.one("AmtDtls", "TxAmt", "Amt")
            )
            sign = _sign(detail if detail.maybe("CdtDbtInd") else entry)
            end_to_end_id = _reference(detail, batch)
            reference = detail.said("Refs", "AcctSvcrRef") or entry.said("AcctSvcrRef")
            if reference and not is_whole and not detail.said("Refs", "AcctSvcrRef"):
                reference = f"{reference}/{number}"
            if not reference:
                # Without a reference of the bank's, equal bookings of a day are told by counting.
                key = (booked_on, sign * amount_fen, end_to_end_id)
                seen[key] = seen.get(key, 0) + 1
                reference = f"{booked_on} {sign * amount_fen} {end_to_end_id} {seen[key]}"
            yield BankLine(
                line_id=uuid5(NAMESPACE_OID, f"bank line {account} {reference}"),
                booked_on=booked_on,
                amount_fen=sign * amount_fen,
                currency=currency,
                is_return=is_return,
                reference=reference,
                end_to_end_id=end_to_end_id or None,
                remittance=" ".join(
                    node._element.text or "" for node in detail.all("RmtInf", "Ustrd")
                ).strip()[:500],
            )


def _reference(detail: _Node, batch: _Node | None) -> str:
    """What a booking is of: a payment, or an order whose payments are booked as one sum."""
    named = [detail.said("Refs", name) for name in ("EndToEndId", "PmtInfId", "MsgId")]
    named += [batch.said(name) for name in ("PmtInfId", "MsgId")] if batch else []
    return next((one for one in named if one not in ("", "NOTPROVIDED")), "")


def _balances(statement: _Node, account: str) -> Iterator[BankBalance]:
    for balance in statement.all("Bal"):
        if balance.said("Tp", "CdOrPrtry", "Cd") == "CLBD":
            amount_fen, _ = _amount(balance.one("Amt"))
            yield BankBalance(account, _date(balance.one("Dt")), _sign(balance) * amount_fen)


def _amount(node: _Node) -> tuple[int, str]:
    currency, said = node.attribute("Ccy"), (node._element.text or "").strip()
    try:
        scaled = Decimal(said).scaleb(currency_digits(currency))
    except InvalidOperation:
        raise BankFileFault(f"{node.path}: '{said}' is no amount") from None
    if scaled != scaled.to_integral_value() or scaled < 0 or not currency:
        raise BankFileFault(f"{node.path}: '{said} {currency}' is no amount of a currency")
    return int(scaled), currency


def _sign(node: _Node) -> int:
    said = node.text("CdtDbtInd")
    signs: Mapping[str, int] = {"CRDT": 1, "DBIT": -1}
    if said not in signs:
        raise BankFileFault(f"{node.path}: CdtDbtInd is '{said}', neither CRDT nor DBIT")
    return signs[said]


def _date(node: _Node) -> date:
    said = node.said("Dt") or node.said("DtTm")[:10]
    try:
        return date.fromisoformat(said)
    except ValueError:
        raise BankFileFault(f"{node.path}: '{said}' is no date") from None
