"""The order to the bank that pays a settlement: ISO 20022, pain.001.001.09."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from hashlib import sha256

from msgspec import Struct
from pyiso20022.pain import pain_001_001_09 as iso
from xsdata.formats.dataclass.serializers import XmlSerializer
from xsdata.formats.dataclass.serializers.config import SerializerConfig
from xsdata.models.datatype import XmlDate, XmlDateTime

from fare_rules.currency import currency_digits
from gateway.core.registry import Bic, Iban, Operator
from gateway.core.settlement import Settlement, SettlementBatch, SettlementPeriod

_MESSAGE_ID = re.compile(r"SETTLE-([0-9]{1,19})-[0-9]{8}")


class Debtor(Struct, frozen=True):
    """Who pays the operators, and from which account."""

    name: str
    bank_account: Iban
    bank_bic: Bic


def end_to_end_id(number: int, operator_id: str) -> str:
    """The reference of one payment, which banks carry to the operator and back in statements.

    Units:  35 characters at most, as in ISO 20022: the settlement's number has 19 or fewer. The
            operator is a hash of its id, because few banks take Chinese in a reference.
    """
    return f"{number}-{sha256(operator_id.encode()).hexdigest()[:15]}"


def message_id(number: int, service_day: date) -> str:
    """The reference of a whole order."""
    return f"SETTLE-{number}-{service_day:%Y%m%d}"


def settlements_named(references: Iterable[str]) -> set[int]:
    """The numbers of the settlements that orders are of; other references name none."""
    found = (_MESSAGE_ID.fullmatch(reference) for reference in references)
    return {number for one in found if one and (number := int(one[1])) < 2**63}


def payment_order(
    settlement: Settlement, operators: Mapping[str, Operator], debtor: Debtor
) -> bytes:
    """Order the bank to pay every paid batch.

    The message's id follows from the settlement, so a bank that is sent it twice can tell.

    Source: ISO 20022, CustomerCreditTransferInitiationV09.
    """
    period, paid = settlement.period, settlement.paid_batches
    assert paid, "an order pays somebody"
    order_id = message_id(period.number, period.service_day)
    payment_count = str(len(paid))
    sum_paid = _decimal(sum(batch.paid_fen for batch in paid), period.currency)
    header = iso.GroupHeader85(
        msg_id=order_id,
        cre_dt_tm=XmlDateTime.from_datetime(period.local(period.closed_at).replace(microsecond=0)),
        nb_of_txs=payment_count,
        ctrl_sum=sum_paid,
        initg_pty=_party(debtor.name),
    )
    payments = iso.PaymentInstruction30(
        pmt_inf_id=order_id,
        pmt_mtd=iso.PaymentMethod3Code.TRF,
        nb_of_txs=payment_count,
        ctrl_sum=sum_paid,
        reqd_exctn_dt=iso.DateAndDateTime2Choice(dt=XmlDate.from_date(_execution_day(period))),
        dbtr=_party(debtor.name),
        dbtr_acct=_account(debtor.bank_account),
        dbtr_agt=_bank(debtor.bank_bic),
        cdt_trf_tx_inf=[_payment(batch, operators[batch.operator_id], period) for batch in paid],
    )
    initiation = iso.CustomerCreditTransferInitiationV09(grp_hdr=header, pmt_inf=[payments])
    xml = XmlSerializer(config=SerializerConfig(indent="  ")).render(
        iso.Document(cstmr_cdt_trf_initn=initiation), ns_map={None: iso.Document.Meta.namespace}
    )
    return xml.encode()


def _execution_day(period: SettlementPeriod) -> date:
    # A day that is closed late cannot be paid on a day gone by: banks refuse that.
    return max(period.service_day + timedelta(days=1), period.local(period.closed_at).date())


def _payment(
    batch: SettlementBatch, operator: Operator, period: SettlementPeriod
) -> iso.CreditTransferTransaction34:
    assert operator.bank_account, operator
    reference = end_to_end_id(period.number, batch.operator_id)
    amount = iso.ActiveOrHistoricCurrencyAndAmount(
        value=_decimal(batch.paid_fen, period.currency), ccy=period.currency
    )
    purpose = f"Fares to {period.service_day}, settlement {period.number}"
    return iso.CreditTransferTransaction34(
        pmt_id=iso.PaymentIdentification6(end_to_end_id=reference),
        amt=iso.AmountType4Choice(instd_amt=amount),
        cdtr_agt=_bank(operator.bank_bic) if operator.bank_bic else None,
        cdtr=_party(operator.name),
        cdtr_acct=_account(operator.bank_account),
        rmt_inf=iso.RemittanceInformation16(ustrd=[purpose]),
    )


def _decimal(amount_fen: int, currency: str) -> Decimal:
    return Decimal(amount_fen).scaleb(-currency_digits(currency))


def _party(name: str) -> iso.PartyIdentification135:
    # XML 1.0 cannot hold every character; one in a name must not stop everybody's pay.
    held = re.sub(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", name)
    return iso.PartyIdentification135(nm=held)


def _bank(bic: str) -> iso.BranchAndFinancialInstitutionIdentification6:
    return iso.BranchAndFinancialInstitutionIdentification6(
        fin_instn_id=iso.FinancialInstitutionIdentification18(bicfi=bic)
    )


def _account(number: str) -> iso.CashAccount38:
    if _is_iban(number):
        return iso.CashAccount38(id=iso.AccountIdentification4Choice(iban=number))
    local = iso.GenericAccountIdentification1(id=number)
    return iso.CashAccount38(id=iso.AccountIdentification4Choice(othr=local))


def _is_iban(number: str) -> bool:
    """Whether the check digits are right. Many countries, China too, have local numbers only.

    Source: ISO 13616; the first four go last, letters count from 10, and the whole is 1 modulo 97.
    """
    if not re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{1,30}", number):
        return False
    return int("".join(str(int(sign, 36)) for sign in number[4:] + number[:4])) % 97 == 1
