"""After a load test: does the database hold what the clients were promised, and no more?

python -m loadtest.audit --dsn DSN --records FOLDER --base-url URL --token-file FILE

Prints a line a check; exits with 1 when one fails, with 3 when gateway or database cannot be asked.
The clients' records are compared tap by tap, money is added up from the ledger, a sample is asked
for over HTTP, and last `faregate audit` computes every decision again. Run it when no taps are
under way.
"""

import argparse
import asyncio
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from loadtest import audit_queries as queries
from loadtest.back_office import BackOffice, Refused
from loadtest.records import read_records
from loadtest.stack import faregate, own_environment

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


async def _count(
    connection: asyncpg.Connection, name: str, wrong: str, compared: str | None
) -> Check:
    said = f"{await connection.fetchval(compared):,}" if compared else ""
    return Check(name, await connection.fetchval(wrong), said)


async def _sampled(connection: asyncpg.Connection, office: BackOffice) -> list[Check]:
    """Ask for some taps and wallets as a person at a desk would."""
    taps = await connection.fetch(queries.HEARD_SAMPLE, SAMPLE)
    wallets = await connection.fetch(queries.WALLET_SAMPLE, SAMPLE)
    wrong_taps = sum(_ask(office, f"/v1/taps/{id}").get("outcome") != said for id, said in taps)
    wrong_wallets = 0
    for wallet_id, balance_fen, owed_fen in wallets:
        shown = _ask(office, f"/v1/wallets/{wallet_id}/entries").get("wallet", {})
        wrong_wallets += (shown.get("balance_fen"), shown.get("owed_fen")) != (
            balance_fen,
            owed_fen,
        )
    return [
        Check("a desk is told of a tap what its gate was told", wrong_taps, f"{len(taps):,}"),
        Check("a desk is shown the balance that is stored", wrong_wallets, f"{len(wallets):,}"),
    ]


def _ask(office: BackOffice, path: str) -> dict[str, Any]:
    try:
        return office.ask("GET", path)
    except Refused as refused:
        if refused.status != HTTPStatus.NOT_FOUND:
            raise
        return {}


def _recomputed(dsn: str) -> Check:
    """Let the gateway compute every decision again; its own report goes to stdout."""
    print("faregate audit:", flush=True)
    found = subprocess.run(
        [faregate(), "audit", "--full"], env=own_environment(FAREGATE_DATABASE_URL=dsn), check=False
    )
    return Check("every decision comes out the same again", found.returncode)


def main() -> int:
    options = _options()
    office = None
    if options.base_url:
        office = BackOffice(options.base_url, options.token_file.read_text().strip())
    try:
        checks = asyncio.run(
            audit(options.dsn, options.records, office, recompute=not options.no_recompute)
        )
    except (Refused, asyncpg.PostgresError, OSError) as error:
        print(f"audit  cannot run: {error}", file=sys.stderr)
        return 3
    print(*checks, sep="\n")
    return 0 if all(check.is_passed for check in checks) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest.audit", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--dsn", required=True, help="the gateway's database")
    parser.add_argument("--records", type=Path, help="the folder that locust wrote answers to")
    parser.add_argument("--base-url", help="the gateway, to ask for a sample over HTTP")
    parser.add_argument("--token-file", type=Path, help="a token of the role finance or auditor")
    parser.add_argument("--no-recompute", action="store_true", help="leave `faregate audit` out")
    options = parser.parse_args()
    if options.base_url and not options.token_file:
        parser.error("--base-url needs --token-file")
    if options.records and next(read_records(options.records), None) is None:
        parser.error(f"{options.records} holds no records: there is nothing to compare")
    return options


if __name__ == "__main__":
    sys.exit(main())
