"""Wallets, their media and entries: read, locked and saved; and a transaction at the wallet desk.

A statement that waits for a lock still sees the other tables as they were before it waited; so what
must be true under the lock is read by the statements after it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg

from fare_rules import TariffBook
from gateway.core.ledger import JournalEntry
from gateway.core.purse_desk import KnownGrant
from gateway.core.wallet_desk import WalletPlan, WalletSnapshot
from gateway.core.wallet_wishes import Wish
from gateway.core.wallets import Media, Wallet, WalletStatus
from gateway.shell import rows
from gateway.shell.campaign_store import claim
from gateway.shell.log_days import LogDays
from gateway.shell.transactions import Connection, LostRace, append, rows_changed


async def save_wallets_and_entries(
    connection: Connection,
    wallets: Sequence[Wallet],
    entries: Sequence[JournalEntry],
    recorded_at: datetime,
    loaded: Mapping[UUID, Wallet],
) -> None:
    if wallets:
        # In one order everywhere, like the taps.
        in_order = sorted(wallets, key=lambda wallet: wallet.wallet_id.bytes)
        status = await connection.execute(_UPDATE_WALLETS, rows.moved_wallets(in_order, loaded))
        if rows_changed(status) != len(in_order):
            raise LostRace("a wallet was changed by another process")
    if entries:
        await append(connection, "journal_entry", *rows.entry_rows(entries, recorded_at))


class WalletWork:
    """One transaction at the wallet desk."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def load_snapshot(
        self, wishes: Sequence[Wish], *, now: datetime, today: date, issuers: Iterable[str]
    ) -> WalletSnapshot:
        tokens, top_ups = [], []
        grants = [wish.grants.grant_id for wish in wishes if wish.grants]
        grants += [wish.returns for wish in wishes if wish.returns]
        transfers = [wish.transfers.transfer_id for wish in wishes if wish.transfers]
        for wish in wishes:
            binds = [wish.binds] if wish.binds else list(wish.opens.media) if wish.opens else []
            tokens += [bind.media_token for bind in binds]
            tokens += [wish.unbinds] if wish.unbinds else []
            tokens += [wish.blocks_media[0]] if wish.blocks_media else []
            tokens += [wish.activates[0]] if wish.activates else []
            top_up = wish.top_up or (wish.opens.top_up if wish.opens else None)
            top_ups += [top_up.top_up_id] if top_up else []
        connection = self._connection
        ids = list({i for wish in wishes for i in wish.wallet_ids})
        locked = await connection.fetch(LOCK_WALLETS, ids)
        wallets = {row["wallet_id"]: rows.wallet_from_row(row) for row in locked}
        if any(wish.status is WalletStatus.CLOSED for wish in wishes):
            parents = {w.terms.parent_id for w in wallets.values() if w.terms} - {None, *wallets}
            for row in await connection.fetch(LOCK_WALLETS, list(parents)) if parents else ():
                wallets[row["wallet_id"]] = rows.wallet_from_row(row)
        media = await connection.fetch(_LOCK_MEDIA, tokens)
        return WalletSnapshot(
            now=now,
            today=today,
            closed_through=await connection.fetchval(READ_CLOCK),
            issuers=frozenset(issuers),
            wallets=wallets,
            media={row["media_token"]: rows.media_from_row(row) for row in media},
            top_ups={
                row["top_up_id"]: (row["wallet_id"], row["amount_fen"])
                for row in await connection.fetch(_READ_TOP_UPS, top_ups)
            },
            grants=await load_grants(connection, grants) if grants else {},
            transfers={
                row["transfer_id"]: (row["from_wallet_id"], row["to_wallet_id"], row["amount_fen"])
                for row in await connection.fetch(_READ_TRANSFERS, transfers)
            }
            if transfers
            else {},
        )

    async def save_plan(self, plan: WalletPlan, snapshot: WalletSnapshot, book: TariffBook) -> None:
        now = snapshot.now
        await self._claim(plan, snapshot, book)
        opened = plan.opened
        if opened:
            saved = await self._connection.fetch(
                _INSERT_WALLETS,
                now,
                [wallet.issuer_id for wallet in opened],
                [wallet.floor_fen for wallet in opened],
                [str(wallet.status) for wallet in opened],
                rows.moved_wallets(opened, {}),
            )
            if len(saved) != len(opened):
                raise LostRace("a wallet was opened by another process")
        if plan.media:
            saved = await self._connection.fetch(
                _UPSERT_MEDIA,
                [one.media_token for one in plan.media],
                [one.wallet_id for one in plan.media],
                [one.rider_category for one in plan.media],
                [one.fare_media for one in plan.media],
                [one.is_blocked for one in plan.media],
                [rows.coupons_bytes(one) for one in plan.media],
            )
            if len(saved) != len(plan.media):
                raise LostRace("a media was bound by another process")
        await LogDays().open(self._connection, {entry.service_day for entry in plan.entries})
        if any(entry.kind == "top_up" for entry in plan.entries):
            await append(self._connection, "top_up", *rows.top_up_rows(plan.entries, now))
        if plan.grants:
            await self._insert(_INSERT_GRANTS, rows.grant_columns(plan.grants), "a grant")
        if plan.ended_grants:
            await self._connection.execute(END_GRANTS, list(plan.ended_grants), now)
        if plan.transfers:
            moved = [[i, *one, now] for i, one in plan.transfers.items()]
            await self._insert(_INSERT_TRANSFERS, list(zip(*moved, strict=True)), "a transfer")
        await save_wallets_and_entries(
            self._connection, plan.changed, plan.entries, now, snapshot.wallets
        )
        if plan.changed:
            await self._connection.execute(
                _UPDATE_STATUSES,
                [wallet.wallet_id for wallet in plan.changed],
                [str(wallet.status) for wallet in plan.changed],
            )

    async def _claim(self, plan: WalletPlan, snapshot: WalletSnapshot, book: TariffBook) -> None:
        """Count the coupons that are activated, where their campaigns count claims."""
        paying = (book.tariff_at(snapshot.now) or book.tariffs[-1]).campaign_of
        claims = [
            (promotion_id, paying[promotion_id], media.media_token, activated_at)
            for media in plan.media
            for promotion_id, activated_at in media.coupons
            if promotion_id in paying
            and (known := snapshot.media.get(media.media_token)) is not None
            and (promotion_id, activated_at) not in known.coupons
        ]
        if claims:
            wallet_ids = {media.media_token: media.wallet_id for media in plan.media}
            await claim(self._connection, book, claims, wallet_ids, snapshot.now)

    async def _insert(self, statement: str, columns: Sequence[Sequence[Any]], what: str) -> None:
        saved = await self._connection.fetch(statement, *columns)
        if len(saved) != len(columns[0]):
            raise LostRace(f"{what} was saved by another process")


@asynccontextmanager
async def wallet_work(pool: asyncpg.Pool) -> AsyncIterator[WalletWork]:
    async with pool.acquire() as connection, connection.transaction():
        yield WalletWork(connection)


async def load_wallet(pool: asyncpg.Pool, wallet_id: UUID) -> Wallet | None:
    row = await pool.fetchrow(f"{READ_WALLETS} WHERE wallet_id = $1", wallet_id)
    return rows.wallet_from_row(row) if row else None


async def load_grants(
    connection: Connection | asyncpg.Pool, grant_ids: Sequence[UUID]
) -> dict[UUID, KnownGrant]:
    found = await connection.fetch(_READ_GRANTS, list(grant_ids))
    return {row["grant_id"]: KnownGrant(**row) for row in found}


async def load_media(connection: Connection | asyncpg.Pool, media_token: str) -> Media | None:
    row = await connection.fetchrow(READ_MEDIA, [media_token])
    return rows.media_from_row(row) if row else None


async def load_entries(pool: asyncpg.Pool, wallet_id: UUID, limit: int) -> list[JournalEntry]:
    """A wallet's newest entries first."""
    found = await pool.fetch(_READ_STATEMENT, wallet_id, limit)
    return [rows.entry_from_row(row) for row in found]


READ_CLOCK = "SELECT closed_through FROM settlement_clock"
READ_WALLETS = f"SELECT {rows.WALLET_COLUMNS} FROM wallet"
LOCK_WALLETS = f"{READ_WALLETS} WHERE wallet_id = ANY($1::uuid[]) ORDER BY wallet_id FOR UPDATE"
READ_MEDIA = f"SELECT {rows.MEDIA_COLUMNS} FROM media WHERE media_token = ANY($1::text[])"
_LOCK_MEDIA = f"{READ_MEDIA} ORDER BY media_token FOR UPDATE"
_MOVES = ", ".join(f"{name} = new.{name}" for name in rows.MOVED if name != "wallet_id")


def move_wallets(number: int) -> str:
    """Save wallets that nobody has changed since; `number` is that of the parameter."""
    return f"""
UPDATE wallet SET {_MOVES} FROM unnest(${number}::moved_wallet[]) AS new
WHERE wallet.wallet_id = new.wallet_id AND wallet.version = new.loaded_version
"""


_UPDATE_WALLETS = move_wallets(1)
_UPDATE_STATUSES = """
UPDATE wallet SET status = new.status
FROM unnest($1::uuid[], $2::text[]) AS new (wallet_id, status)
WHERE wallet.wallet_id = new.wallet_id AND wallet.status <> new.status
"""
_INSERT_WALLETS = f"""
INSERT INTO wallet (opened_at, issuer_id, floor_fen, status, {", ".join(rows.MOVED)})
SELECT $1, issuer_id, floor_fen, status, {", ".join(rows.MOVED)}
FROM unnest($2::text[], $3::bigint[], $4::text[], $5::moved_wallet[]) AS new (
    issuer_id, floor_fen, status, {", ".join(rows.MOVED)}, loaded_version
)
ON CONFLICT DO NOTHING RETURNING wallet_id
"""
_UPSERT_MEDIA = """
INSERT INTO media (media_token, wallet_id, rider_category, fare_media, is_blocked, coupons)
SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::boolean[], $6::bytea[])
ON CONFLICT (media_token) DO UPDATE SET
    wallet_id = excluded.wallet_id, rider_category = excluded.rider_category,
    fare_media = excluded.fare_media, is_blocked = excluded.is_blocked,
    coupons = excluded.coupons
WHERE media.wallet_id IS NULL OR media.wallet_id = excluded.wallet_id
    OR excluded.wallet_id IS NULL
RETURNING media_token
"""
_READ_TOP_UPS = "SELECT * FROM top_up WHERE top_up_id = ANY($1::uuid[])"
_READ_GRANTS = "SELECT * FROM purse_grant WHERE grant_id = ANY($1::uuid[])"
_INSERT_GRANTS = """
INSERT INTO purse_grant (
    grant_id, wallet_id, rule_id, funder_id, amount_fen, valid_from, valid_until, granted_at
)
SELECT * FROM unnest(
    $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[],
    $7::timestamptz[], $8::timestamptz[]
)
ON CONFLICT DO NOTHING RETURNING grant_id
"""
END_GRANTS = "UPDATE purse_grant SET ended_at = $2 WHERE grant_id = ANY($1::uuid[])"
_READ_TRANSFERS = "SELECT * FROM transfer WHERE transfer_id = ANY($1::uuid[])"
_INSERT_TRANSFERS = """
INSERT INTO transfer (transfer_id, from_wallet_id, to_wallet_id, amount_fen, recorded_at)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::timestamptz[])
ON CONFLICT DO NOTHING RETURNING transfer_id
"""
_READ_STATEMENT = """
SELECT * FROM journal_entry WHERE wallet_id = $1 ORDER BY wallet_version DESC LIMIT $2
"""
