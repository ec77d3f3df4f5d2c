"""Whose each fen is, and whether it was spent as it may be: by the ledger's rows alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import asyncpg

from gateway.shell.wallet_store import load_wallet

BUS_MONEY_FEN_MAX, BUS_MONEY_RIDES_MAX = 100, 2
_NET_SHARES = """
SELECT
    tap_id, product_id, service_day, max(effective_at) AS effective_at,
    share.grant_id, -sum(share.fen)::bigint AS paid_fen
FROM journal_entry CROSS JOIN unnest(purses, purses_fen) AS share (grant_id, fen)
WHERE tap_id IS NOT NULL
GROUP BY tap_id, product_id, service_day, share.grant_id
"""


async def check_owners(pool: asyncpg.Pool, wallet_ids: Sequence[UUID]) -> None:
    """Every fen has one owner: what wallets hold and owe is what was posted to them."""
    posted = {
        row["account"]: row["fen"]
        for row in await pool.fetch(
            "SELECT account, sum(amount_fen)::bigint AS fen FROM posting GROUP BY account"
        )
        if row["fen"]
    }
    assert sum(posted.values()) == 0
    held: Counter[str] = Counter()
    for wallet_id in wallet_ids:
        wallet = await load_wallet(pool, wallet_id)
        assert wallet is not None
        own = posted.get(f"purse:{wallet_id}", 0) + posted.get(f"debt:{wallet_id}", 0)
        assert (wallet.net_fen, wallet.balance_fen * wallet.owed_fen) == (own, 0)
        for purse in wallet.purses:
            assert purse.held_fen >= 0
            assert f"grant:{purse.grant_id}" not in held
            held[f"grant:{purse.grant_id}"] = purse.held_fen
    assert +held == {account: fen for account, fen in posted.items() if account[:6] == "grant:"}


async def check_purposes(pool: asyncpg.Pool) -> None:
    """Purses paid for rides in their time; bus money for buses, so much and so often."""
    grants = {row["grant_id"]: row for row in await pool.fetch("SELECT * FROM purse_grant")}
    of_bus: Counter[tuple[object, ...]] = Counter()
    for row in await pool.fetch(_NET_SHARES):
        grant = grants[row["grant_id"]]
        assert row["paid_fen"] >= 0, dict(row)
        if not row["paid_fen"]:
            continue
        until = grant["valid_until"]
        assert grant["valid_from"] <= row["effective_at"], dict(row)
        assert until is None or row["effective_at"] < until, dict(row)
        if grant["rule_id"] == "bus_money":
            assert row["product_id"] == "bus_ride", dict(row)
            assert row["paid_fen"] <= BUS_MONEY_FEN_MAX, dict(row)
            of_bus[row["grant_id"], row["service_day"]] += 1
    assert all(count <= BUS_MONEY_RIDES_MAX for count in of_bus.values()), of_bus
