"""What is held for riders: for whom, how old, and where the money lies that it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
from msgspec import Struct

from gateway.shell import rows
from gateway.shell.archive_files import read_manifest
from gateway.shell.log_days import load_archived_days
from gateway.shell.transactions import Connection, reading

_WALLETS_AT_ONCE = 5_000


class Held(Struct, frozen=True, omit_defaults=True):
    """Money that is held for riders: how much, for how many, and how old.

    `what` is the main purse, or the purse rule that it is bound to; `issuer_id` the institution
    that operates the wallets. What a funder gave lies with it until it has paid its invoice.
    """

    what: str
    wallets_count: int
    amount_fen: int
    under_30_days_fen: int
    under_365_days_fen: int
    older_fen: int
    issuer_id: str | None = None
    funder_id: str | None = None


class AccountBalance(Struct, frozen=True):
    """What the bank last said of one account."""

    account: str
    balance_on: date
    amount_fen: int


class HeldReport(Struct, frozen=True):
    """What is held, what the ledger says lies at the bank for it, and what the bank last said."""

    held: tuple[Held, ...]
    owed_by_riders_fen: int
    ledger_bank_fen: int
    statements: tuple[AccountBalance, ...]


async def load_held(pool: asyncpg.Pool, now: datetime, archive: Path) -> HeldReport:
    """What is held for riders in main purses and grants, by how long ago it was paid in.

    Shape:  of a main purse the newest money is what is left: the oldest was spent first.
    Raises: ArchiveMissing when days are archived and their manifests are not to be found.
    """
    async with reading(pool) as connection:
        main = [Held(*row) for row in await connection.fetch(_READ_MAIN, now)]
        grants = await _load_grants(connection, now)
        owed_fen: int = await connection.fetchval(_READ_OWED)
        bank_fen: int = await connection.fetchval(_READ_BANK)
        for day in await load_archived_days(connection):
            bank_fen += read_manifest(archive, day).tally.money_fen["bank"]
        statements = [AccountBalance(*row) for row in await connection.fetch(_READ_STATEMENTS)]
    return HeldReport((*main, *grants), owed_fen, -bank_fen, tuple(statements))


async def _load_grants(connection: Connection, now: datetime) -> Iterator[Held]:
    """By rule, funder and institution. The wallets have it, whether or not the ledger's old days
    are in the archive.
    """
    found: dict[tuple[str, str, str], tuple[set[UUID], list[int]]] = {}
    after = UUID(int=0)
    while some := await connection.fetch(_READ_GRANTED, after, _WALLETS_AT_ONCE):
        wallets = [rows.wallet_from_row(row) for row in some]
        after = wallets[-1].wallet_id
        ids = [purse.grant_id for wallet in wallets for purse in wallet.purses]
        granted = await connection.fetch(_READ_GRANTED_AT, ids)
        granted_at = {row["grant_id"]: row["granted_at"] for row in granted}
        for wallet in wallets:
            for purse in wallet.purses:
                if purse.held_fen:
                    key = (purse.rule_id, purse.funder_id or "", wallet.issuer_id or "")
                    owners, fen = found.setdefault(key, (set(), [0, 0, 0]))
                    owners.add(wallet.wallet_id)
                    age = now - granted_at[purse.grant_id]
                    fen[(age >= timedelta(days=30)) + (age >= timedelta(days=365))] += (
                        purse.held_fen
                    )
    return (
        Held(
            rule_id,
            len(owners),
            sum(fen),
            fen[0],
            fen[1],
            fen[2],
            issuer_id or None,
            funder_id or None,
        )
        for (rule_id, funder_id, issuer_id), (owners, fen) in sorted(found.items())
    )


# Older than is known is old. A top-up is remembered for ever, what else came in as long as its day.
_READ_MAIN = """
WITH paid_in AS (
    SELECT wallet_id, amount_fen AS fen, recorded_at, top_up_id AS id FROM top_up
    UNION ALL
    SELECT wallet_id, purse_fen, recorded_at, cause_id FROM journal_entry
    WHERE purse_fen > 0
        AND kind IN ('auto_top_up', 'transfer', 'grant_return', 'refund', 'goodwill')
), in_order AS (
    SELECT wallet_id, issuer_id, balance_fen, fen, recorded_at,
        coalesce(sum(fen) OVER (
            PARTITION BY wallet_id ORDER BY recorded_at DESC, id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ), 0) AS newer_fen
    FROM wallet LEFT JOIN paid_in USING (wallet_id) WHERE balance_fen > 0
), wallet_of AS (
    SELECT wallet_id, issuer_id, balance_fen,
        coalesce(sum(left_fen) FILTER (WHERE recorded_at > now - interval '30 days'), 0)
            AS new_fen,
        coalesce(sum(left_fen) FILTER (WHERE recorded_at > now - interval '365 days'), 0)
            AS year_fen
    FROM in_order CROSS JOIN (SELECT $1::timestamptz AS now) AS clock
    CROSS JOIN LATERAL (SELECT least(fen, greatest(balance_fen - newer_fen, 0)) AS left_fen) AS own
    GROUP BY wallet_id, issuer_id, balance_fen
)
SELECT 'main purse', count(*), sum(balance_fen)::bigint, sum(new_fen)::bigint,
    sum(year_fen - new_fen)::bigint, sum(balance_fen - year_fen)::bigint, issuer_id
FROM wallet_of GROUP BY issuer_id ORDER BY issuer_id NULLS FIRST
"""
_READ_GRANTED = f"""
SELECT {rows.WALLET_COLUMNS} FROM wallet
WHERE wallet_id > $1 AND EXISTS (SELECT FROM purse_grant WHERE wallet_id = wallet.wallet_id)
ORDER BY wallet_id LIMIT $2
"""
_READ_GRANTED_AT = "SELECT grant_id, granted_at FROM purse_grant WHERE grant_id = ANY($1::uuid[])"
_READ_OWED = "SELECT coalesce(sum(owed_fen), 0)::bigint FROM wallet"
_READ_BANK = "SELECT coalesce(sum(bank_fen), 0)::bigint FROM journal_entry"
_READ_STATEMENTS = """
SELECT DISTINCT ON (account) account, balance_on, amount_fen FROM bank_balance
ORDER BY account, balance_on DESC
"""
