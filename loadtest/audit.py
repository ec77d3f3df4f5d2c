"""After a load test: does the database hold what the clients were promised, and no more?

python -m loadtest.audit --dsn DSN --records FOLDER --base-url URL --token-file FILE

Prints a line a check; exits with 1 when one fails. The clients' records are compared tap by tap,
money is added up from the ledger, a sample is asked for over HTTP, and last `faregate audit`
computes every decision again. Run it when no taps are under way.
"""

from pathlib import Path
from typing import NamedTuple

import asyncpg

from loadtest import audit_queries as queries
from loadtest.back_office import BackOffice
from loadtest.records import read_records

SAMPLE = 200


class Check(NamedTuple):
    name: str
    wrong_count: int
    said: str = ""

    @property
    def is_passed(self) -> bool:
        return self.wrong_count == 0

    def __str__(self) -> str:
        verdict = "ok" if self.is_passed else f"BROKEN ({self.wrong_count:,})"
        return f"audit  {self.name:<58}{self.said:>18}   {verdict}"


async def audit(
    dsn: str, records: Path | None, office: BackOffice | None, *, recompute: bool = True
) -> list[Check]:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(queries.HEARD_TABLE)
        if records:
            await connection.copy_records_to_table(
                "heard", records=read_records(records), columns=queries.HEARD_COLUMNS
            )
            await connection.execute("ANALYZE heard")
        checks = [await _count(connection, *check) for check in _CHECKS]
        checks.append(await _nothing_unheard_of(connection))
        if office:
            checks += await _sampled(connection, office)
    finally:
        await connection.close()
    if recompute:
        checks.append(_recomputed(dsn))
    return checks


# What is counted, what must be 0 of it, and what it is compared with.
_CHECKS = (
    ("an answer heard again is the same answer", queries.ANSWERED_TWICE_DIFFERENTLY, None),
    (
        "each tap that was answered is logged exactly once",
        queries.TAPS_NOT_EXACTLY_ONCE,
        queries.HEARD_TAPS_COUNT,
    ),
    ("with the outcome that its gate heard", queries.TAPS_WITH_ANOTHER_OUTCOME, None),
    ("no tap is logged twice", queries.TAPS_LOGGED_TWICE, queries.TAPS_COUNT),
    (
        "each top-up that was acknowledged is booked exactly once",
        queries.TOP_UPS_NOT_EXACTLY_ONCE,
        queries.HEARD_TOP_UPS_COUNT,
    ),
    ("every journal entry sums to zero", queries.ENTRIES_NOT_ZERO, None),
    (
        "each wallet holds the sum of its entries",
        queries.WALLETS_NOT_THE_SUM_OF_THEIR_ENTRIES,
        None,
    ),
    ("nothing is charged for a tap that was refused", queries.REFUSED_BUT_CHARGED, None),
)
