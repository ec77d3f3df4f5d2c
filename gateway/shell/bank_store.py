"""What the bank said, in the database; and what was due, to hold it against."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import asyncpg
import msgspec
from msgspec import Struct

from fare_rules.quotes import sponsored_by
from gateway.core.bank_answers import BankFile, BankLine, PaymentAnswer, RefusedOrder
from gateway.core.delivery import DeliveryStatus
from gateway.core.payment_order import end_to_end_id, message_id, settlements_named
from gateway.core.reconciliation import InvoiceDue, PaymentDue, invoice_reference, told_apart
from gateway.shell.archive_files import ENTRIES, SettledSum, paths_of, read_settled_sums
from gateway.shell.delivery_store import add_event
from gateway.shell.log_days import load_archived_days
from gateway.shell.transactions import Connection, rows_changed


class Imported(Struct, frozen=True):
    """What of a file was new."""

    kind: str
    message_id: str
    is_known: bool
    answers_count: int
    lines_count: int
    returned_count: int


async def import_bank_file(
    pool: asyncpg.Pool, file: BankFile, content: bytes, by: str, now: datetime
) -> Imported:
    """Take a file in, all of it or nothing; a second time it changes nothing."""
    digest = sha256(content).hexdigest()
    async with pool.acquire() as connection, connection.transaction():
        status = await connection.execute(
            "INSERT INTO bank_file VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
            digest,
            file.kind,
            file.message_id,
            by,
            now,
        )
        if not rows_changed(status):
            return Imported(file.kind, file.message_id, True, 0, 0, 0)
        # Payments are found by their references; only an order is told apart into its payments.
        named = [order.message_id for order in file.refused]
        named += [line.end_to_end_id for line in file.lines if line.end_to_end_id]
        due = await load_payments_due(connection, settlements_named(named))
        answers = [*file.answers, *_answers_of(file.refused, due)]
        for answer in answers:
            await connection.execute(
                """INSERT INTO payment_answer VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT DO NOTHING""",
                digest,
                answer.end_to_end_id,
                answer.status,
                answer.reason,
                now,
            )
        new = await _insert_lines(connection, file.lines, digest)
        for balance in file.balances:
            await connection.execute(
                "INSERT INTO bank_balance VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
                digest,
                balance.account,
                balance.balance_on,
                balance.amount_fen,
            )
        telling = told_apart(await _without_mends(connection, new), due)
        returned = await _note_returns(connection, answers, telling, now)
        await _tell_deliveries(connection, answers, telling, now)
    return Imported(file.kind, file.message_id, False, len(answers), len(new), returned)


def _answers_of(refused: Sequence[RefusedOrder], due: Sequence[PaymentDue]) -> list[PaymentAnswer]:
    """Of an order that was refused as a whole, each payment was."""
    orders = {order.message_id: order for order in refused}
    return [
        PaymentAnswer(payment.end_to_end_id, order.status, order.reason)
        for payment in due
        if payment.end_to_end_id and (order := orders.get(payment.order_id))
    ]


async def _insert_lines(
    connection: Connection, lines: Sequence[BankLine], digest: str
) -> list[BankLine]:
    """The lines that no earlier file had."""
    new = []
    for line in lines:
        status = await connection.execute(
            """INSERT INTO bank_line VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            ON CONFLICT DO NOTHING""",
            line.line_id,
            digest,
            *msgspec.structs.astuple(line)[1:],
        )
        if rows_changed(status):
            new.append(line)
    return new


async def _without_mends(connection: Connection, lines: Sequence[BankLine]) -> list[BankLine]:
    """Without what came back of payments that are booked in full all the same: the bank had booked
    them twice.
    """
    references = [line.end_to_end_id for line in lines if line.amount_fen > 0]
    found = await connection.fetch(_READ_PAID_IN_FULL, references) if references else ()
    in_full = {row["end_to_end_id"] for row in found}
    return [line for line in lines if line.amount_fen < 0 or line.end_to_end_id not in in_full]


_READ_PAID_IN_FULL = """
SELECT end_to_end_id FROM delivery JOIN bank_line USING (end_to_end_id)
WHERE end_to_end_id = ANY($1::text[]) AND paid_fen > 0
GROUP BY delivery_id HAVING sum(amount_fen) <= -paid_fen
"""


async def _note_returns(
    connection: Connection,
    answers: Sequence[PaymentAnswer],
    lines: Sequence[BankLine],
    now: datetime,
) -> int:
    """Carry payments that were refused, or came back, into the next settlement; each once."""
    reasons = {one.end_to_end_id: one.reason or one.status for one in answers if one.is_rejected}
    reasons |= {
        line.end_to_end_id: "the bank gave it back"
        for line in lines
        if line.end_to_end_id and line.amount_fen > 0
    }
    count = 0
    for reference, reason in reasons.items():
        status = await connection.execute(
            """INSERT INTO payout_return (end_to_end_id, operator_id, amount_fen, reason, noted_at)
            SELECT end_to_end_id, operator_id, paid_fen, $2, $3 FROM delivery
            WHERE end_to_end_id = $1 AND paid_fen > 0 ON CONFLICT DO NOTHING""",
            reference,
            reason,
            now,
        )
        count += rows_changed(status)
    return count


async def _tell_deliveries(
    connection: Connection,
    answers: Sequence[PaymentAnswer],
    lines: Sequence[BankLine],
    now: datetime,
) -> None:
    told = [
        (one.end_to_end_id, DeliveryStatus.REJECTED, f"{one.status} {one.reason}".strip())
        for one in answers
        if one.is_rejected
    ]
    for line in lines:
        if line.end_to_end_id:
            status = DeliveryStatus.PAID if line.amount_fen < 0 else DeliveryStatus.REJECTED
            told.append((line.end_to_end_id, status, f"booked {line.booked_on} {line.reference}"))
    for reference, status, detail in told:
        for row in await connection.fetch(
            "SELECT delivery_id FROM delivery WHERE end_to_end_id = $1", reference
        ):
            await add_event(connection, row["delivery_id"], status, detail, now)


async def load_payments_due(
    connection: Connection | asyncpg.Pool, numbers: Collection[int] | None = None
) -> list[PaymentDue]:
    """The payments of all settlements or of some, and those that none was made of; the oldest
    first.
    """
    some = "" if numbers is None else "WHERE settlement.number = ANY($1::bigint[])"
    found = await connection.fetch(
        f"""SELECT batch.*, settlement.number, currency FROM settlement_batch AS batch
        JOIN settlement USING (settlement_day) {some} ORDER BY settlement_day, operator_id""",
        *(() if numbers is None else (list(numbers),)),
    )
    return [
        PaymentDue(
            row["operator_id"],
            row["settlement_day"],
            message_id(row["number"], row["settlement_day"]),
            end_to_end_id(row["number"], row["operator_id"]) if row["paid_fen"] else None,
            row["paid_fen"],
            row["carried_out_fen"],
            row["currency"],
            "nothing to pay, or kept back; see totals.csv",
        )
        for row in found
    ]


async def load_invoices_due(
    connection: Connection, closes: Sequence[Close], archived: Sequence[SettledSum]
) -> list[InvoiceDue]:
    """What each sponsor was invoiced with some settlements."""
    found = await connection.fetch(
        """SELECT settlement.settlement_day, settlement.number,
            split_part(share.sponsor, '/', 1), -sum(share.amount_fen)::bigint
        FROM settlement JOIN journal_entry AS entry
            ON entry.settlement_day <= settlement.settlement_day
            AND (days_after IS NULL OR entry.settlement_day > days_after)
        CROSS JOIN unnest(entry.sponsors, entry.sponsors_fen) AS share (sponsor, amount_fen)
        WHERE settlement.number = ANY($1::bigint[]) AND entry.sponsors IS NOT NULL
        GROUP BY 1, 2, 3""",
        [close.number for close in closes],
    )
    owed: Counter[tuple[date, int, str]] = Counter()
    for day, number, sponsor_id, amount_fen in found:
        owed[day, number, sponsor_id] += amount_fen
    for close in closes:
        for one in archived:
            kind, _, account = one.account.partition(":")
            if kind == "sponsor" and close.holds(one.settlement_day):
                sponsor_id = sponsored_by(account)[0]
                owed[close.settlement_day, close.number, sponsor_id] -= one.amount_fen
    return [
        InvoiceDue(sponsor_id, day, invoice_reference(number, sponsor_id), owed[key])
        for key in sorted(owed)
        for day, number, sponsor_id in [key]
    ]


class Close(Struct, frozen=True):
    """Which settlement days a settlement is of: those after one, or all, up to its own."""

    number: int
    days_after: date | None
    settlement_day: date

    def holds(self, settlement_day: date) -> bool:
        is_after = self.days_after is None or self.days_after < settlement_day
        return is_after and settlement_day <= self.settlement_day


async def list_closes(
    connection: Connection, since: date, through: date, numbers: Sequence[int]
) -> list[Close]:
    """The settlements of some days, and those of some numbers."""
    found = await connection.fetch(
        """SELECT number, days_after, settlement_day FROM settlement
        WHERE settlement_day BETWEEN $1 AND $2 OR number = ANY($3::bigint[]) ORDER BY number""",
        since,
        through,
        numbers,
    )
    return [Close(*row) for row in found]


async def load_archived_sums(
    connection: Connection, archive: Path | None, since: date, through: date, closes: list[Close]
) -> list[SettledSum]:
    """What archived days come to of which something was settled on some days, or by some closes.

    Raises: ArchiveMissing when there are such days, and the archive cannot be read.
    """
    spans = [(since, through)]
    spans += [
        (
            close.days_after + timedelta(days=1) if close.days_after else date.min,
            close.settlement_day,
        )
        for close in closes
    ]
    days = [
        day
        for day in await load_archived_days(connection)
        if day.settled_through is not None
        and any(
            day.service_day <= through and day.settled_through >= since for since, through in spans
        )
    ]
    if not days:
        return []
    return await asyncio.to_thread(read_settled_sums, paths_of(archive, days, ENTRIES))


async def load_bank_lines(pool: asyncpg.Pool) -> list[BankLine]:
    found = await pool.fetch(
        """SELECT line_id, booked_on, amount_fen, currency, is_return, reference, end_to_end_id,
            remittance
        FROM bank_line ORDER BY booked_on, line_id"""
    )
    return [BankLine(*row) for row in found]


async def load_answers(pool: asyncpg.Pool) -> list[PaymentAnswer]:
    """The newest answer to each payment."""
    found = await pool.fetch(
        """SELECT DISTINCT ON (end_to_end_id) end_to_end_id, status, reason
        FROM payment_answer ORDER BY end_to_end_id, imported_at DESC"""
    )
    return [PaymentAnswer(*row) for row in found]


async def load_returned(pool: asyncpg.Pool) -> dict[str, date | None]:
    found = await pool.fetch("SELECT end_to_end_id, carried_into FROM payout_return")
    return {row[0]: row[1] for row in found}


async def load_ledger_by_operator(
    connection: Connection, since: date, through: date, archived: Sequence[SettledSum]
) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """By service day, what each operator's riders were charged, and what of it settled later; and
    by settlement day, what the ledger says was settled.

    Shape:  the first is without archived days, whose taps are not there to hold against it.
    """
    found = await connection.fetch(
        """SELECT operator_id,
            coalesce(sum(operator_fen) FILTER (WHERE service_day BETWEEN $1 AND $2
                AND kind IN ('fare', 'correction')), 0)::bigint,
            coalesce(sum(operator_fen) FILTER (WHERE service_day BETWEEN $1 AND $2
                AND settlement_day > $2), 0)::bigint,
            coalesce(sum(operator_fen) FILTER (WHERE settlement_day BETWEEN $1 AND $2), 0)::bigint
        FROM journal_entry
        WHERE operator_id IS NOT NULL
            AND (service_day BETWEEN $1 AND $2 OR settlement_day BETWEEN $1 AND $2)
        GROUP BY operator_id""",
        since,
        through,
    )
    late_fen, settles_fen = (Counter({row[0]: row[n] for row in found}) for n in (2, 3))
    for one in archived:
        kind, _, operator_id = one.account.partition(":")
        if kind == "operator" and since <= one.settlement_day <= through:
            settles_fen[operator_id] += one.amount_fen
        elif kind == "operator" and since <= one.service_day <= through < one.settlement_day:
            late_fen[operator_id] += one.amount_fen
    return (
        {row[0]: row[1] for row in found},
        {name: amount_fen for name, amount_fen in late_fen.items() if amount_fen},
        settles_fen,
    )


async def load_ledger_by_sponsor(
    connection: Connection, since: date, through: date
) -> dict[str, int]:
    """By service day, what each sponsor was charged of rides; without archived days, as above."""
    found = await connection.fetch(
        """SELECT split_part(share.sponsor, '/', 1), -sum(share.amount_fen)::bigint
        FROM journal_entry CROSS JOIN unnest(sponsors, sponsors_fen) AS share (sponsor, amount_fen)
        WHERE service_day BETWEEN $1 AND $2 AND kind IN ('fare', 'correction')
        GROUP BY 1""",
        since,
        through,
    )
    return {row[0]: row[1] for row in found}


async def load_settled(pool: asyncpg.Pool, since: date, through: date) -> dict[str, int]:
    found = await pool.fetch(
        """SELECT operator_id, sum(gross_fen)::bigint FROM settlement_batch
        WHERE settlement_day BETWEEN $1 AND $2 GROUP BY operator_id""",
        since,
        through,
    )
    return {row[0]: row[1] for row in found}


async def wallets_that_rode(
    connection: Connection, since: date, through: date
) -> list[asyncpg.Record]:
    return list(
        await connection.fetch(
            """SELECT DISTINCT wallet_id FROM tap
            WHERE service_day BETWEEN $1 AND $2 AND wallet_id IS NOT NULL ORDER BY wallet_id""",
            since,
            through,
        )
    )


async def first_day(pool: asyncpg.Pool, through: date) -> date:
    """The oldest service day that the log has, up to this one."""
    found: date = await pool.fetchval("SELECT least(min(service_day), $1) FROM log_day", through)
    return found
