"""Money for a purpose at its end: what is left in purses goes back to who gave it.

At the minute a grant expires, or at once for all grants of a rule whose service has stopped. Each
chunk is one transaction, so a run that breaks off is simply run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from msgspec import Struct

from fare_rules import TariffBook
from gateway.core.ledger import JournalEntry
from gateway.core.purse_desk import Books, return_purse
from gateway.core.wallets import Wallet
from gateway.shell.purse_store import PurseWork, purse_work

_GRANTS_AT_ONCE = 500


class Returned(Struct, frozen=True):
    """How many grants were ended, and how much went back."""

    grants_count: int = 0
    amount_fen: int = 0
    # Whether more are left: then the same is to be asked again.
    more: bool = False


async def run_expiry(pool: asyncpg.Pool, book: TariffBook, now: datetime) -> Returned:
    """Take back what is left of every grant that is over by now."""
    total, is_more = Returned(), True
    while is_more:
        async with purse_work(pool) as work:
            chunk = await _return(work, await work.list_expired(now, _GRANTS_AT_ONCE), book, now)
        is_more = chunk.grants_count == _GRANTS_AT_ONCE
        total = _plus(total, chunk)
    return total


async def run_rule_return(
    pool: asyncpg.Pool,
    book: TariffBook,
    now: datetime,
    rule_id: str,
    funder_id: str | None,
    grants_max: int,
) -> Returned:
    """Take back what is left of the grants of a rule, at most so many at a time."""
    total = Returned()
    while total.grants_count < grants_max:
        limit = min(_GRANTS_AT_ONCE, grants_max - total.grants_count)
        async with purse_work(pool) as work:
            grants = await work.list_of_rule(rule_id, funder_id, limit)
            chunk = await _return(work, grants, book, now)
        total = _plus(total, chunk)
        if chunk.grants_count < limit:
            return total
    return Returned(total.grants_count, total.amount_fen, more=True)


async def _return(
    work: PurseWork,
    grants: Sequence[tuple[UUID, UUID, datetime | None]],
    book: TariffBook,
    now: datetime,
) -> Returned:
    """Return some grants, each with its wallet and its end."""
    if not grants:
        return Returned()
    loaded = await work.lock_wallets({wallet_id for _, wallet_id, _ in grants})
    books = Books(now, book.service_day_of(now), await work.read_clock())
    wallets: dict[UUID, Wallet] = dict(loaded)
    entries: list[JournalEntry] = []
    for grant_id, wallet_id, until in grants:
        wallet = wallets[wallet_id]
        for purse in wallet.purses:
            if purse.grant_id == grant_id:
                is_over = until is not None and until <= now
                wallet, entry = return_purse(wallet, purse, books, until if is_over else None)
                entries += [entry] if entry else []
        wallets[wallet_id] = wallet
    changed = [wallet for i, wallet in wallets.items() if wallet is not loaded[i]]
    await work.save(changed, entries, now, loaded, [grant_id for grant_id, _, _ in grants])
    returned_fen = -sum(sum(entry.grants_fen.values()) for entry in entries)
    return Returned(len(grants), returned_fen)


def _plus(one: Returned, other: Returned) -> Returned:
    return Returned(one.grants_count + other.grants_count, one.amount_fen + other.amount_fen)
