"""PostgreSQL: connections, what all transactions share, the wallet desk's statements, the sweep's.

The tap batch's own are in tap_store.py, reads of kept taps in kept_store.py. A statement that waits
for a lock still sees the other tables as they were before it waited; so what must be true under the
lock is read by the statements after it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import date, datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from fare_rules import TariffBook
from gateway.core.campaigns import Left, usage_of
from gateway.core.ledger import JournalEntry
from gateway.core.purse_desk import KnownGrant
from gateway.core.wallet_desk import WalletPlan, WalletSnapshot
from gateway.core.wallet_wishes import Wish
from gateway.core.wallets import Media, Wallet, WalletStatus
from gateway.shell import rows
from gateway.shell.archive_files import ArchivedDay
from gateway.shell.campaign_store import claim, load_left, spend_anywhere
from gateway.shell.transactions import Connection, LostRace, rows_changed

T = TypeVar("T")

# Lost connections, a server that starts, stops, is full or was told to break off: trying again is
# safe and may help.
OUTAGES = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # What asyncpg says when a connection is cut inside a transaction.
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,  # Of connections, disk or memory.
    asyncpg.QueryCanceledError,
)
# A database that does not let us in, or that has another schema: the operator's to mend.
UNFIT = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidParameterValueError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedObjectError,
)


# Durable whatever the server's default is, and with the grants of the gateway's role only: whoever
# owns the tables could still edit the ledger, the gateway cannot.
_SESSION = {
    "application_name": "faregate",
    "synchronous_commit": "on",
    "role": "faregate_gateway",
}
# What a lane asks for is found by index, whatever the planner thinks of a partition that was empty
# when it looked; and rows are updated in the order in which they are sent.
_LANE_SESSION = _SESSION | {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    # Up to PostgreSQL 17 a scan that is ruled out counts as dear, and what is dear is compiled
    # first: for some tenths of a second, where the statement takes a millisecond.
    "jit": "off",
}


RACES = (LostRace, asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_TRIES_MAX = 5


async def until_first(transact: Callable[[], Awaitable[T]]) -> T:
    """Do a whole transaction again as long as other processes are first; a few times at most.

    Raises: one of RACES when all of them were lost.
    """
    for _ in range(_TRIES_MAX - 1):
        with suppress(*RACES):
            return await transact()
    return await transact()


async def connect(dsn: str, *, timeout_seconds: float = 60) -> asyncpg.Connection:
    """Open a lane's connection. It may append to the ledger but not edit it."""
    connection: asyncpg.Connection = await asyncpg.connect(
        dsn, command_timeout=timeout_seconds, server_settings=_LANE_SESSION
    )
    return connection


async def connect_for_reading(dsn: str) -> asyncpg.Connection:
    """Open a connection that scans whole tables, and may take as long as that needs."""
    connection: asyncpg.Connection = await asyncpg.connect(dsn, server_settings=_SESSION)
    return connection


async def open_pool(dsn: str, *, connections_count_max: int = 4) -> asyncpg.Pool:
    """Connections for everything but the hot path."""
    pool = await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=connections_count_max,
        command_timeout=60,
        server_settings=_SESSION,
    )
    assert pool is not None
    return pool


async def append(
    connection: Connection, table: str, columns: tuple[str, ...], content: bytes
) -> None:
    """Append rows to a table. Raises: LostRace when one of them is there already."""
    # A memoryview, for plain bytes would be taken for the name of a file.
    source: Any = memoryview(content)
    try:
        await connection.copy_to_table(table, source=source, columns=columns, format="binary")
    except asyncpg.UniqueViolationError as lost:
        raise LostRace(f"a row of {table} was saved by another process") from lost


class LogDays:
    """The days that the tap log and the ledger are known to have partitions for."""

    def __init__(self) -> None:
        self._known: set[date] = set()

    async def open(self, connection: Connection | asyncpg.Pool, days: Iterable[date]) -> None:
        """Make the partitions of some days, where they are missing."""
        for day in sorted(set(days) - self._known):
            await connection.execute("SELECT open_log_day($1)", day)
            self._known.add(day)


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


class SweepWork:
    """One transaction that ends days with open legs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock_late(self, wallet_ids: Sequence[UUID], now: datetime) -> list[Wallet]:
        """Those of some wallets whose open leg nobody can close any more."""
        found = await self._connection.fetch(_LOCK_LATE, wallet_ids, now)
        return [rows.wallet_from_row(row) for row in found]

    async def read_clock(self) -> date | None:
        found: date | None = await self._connection.fetchval(READ_CLOCK)
        return found

    async def read_left(self) -> dict[str, Left]:
        return await load_left(self._connection)

    async def save(
        self,
        wallets: Sequence[Wallet],
        entries: Sequence[JournalEntry],
        now: datetime,
        loaded: Sequence[Wallet],
    ) -> None:
        known = {wallet.wallet_id: wallet for wallet in loaded}
        await save_wallets_and_entries(self._connection, wallets, entries, now, known)
        await spend_anywhere(self._connection, usage_of(entries))


@asynccontextmanager
async def reading(pool: asyncpg.Pool) -> AsyncIterator[Connection]:
    """One consistent picture of the log and the ledger, of which no day is archived meanwhile,
    nor unlinked.
    """
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        # Before the first look, so that the picture is of after the lock.
        await connection.execute("LOCK TABLE tap, journal_entry, log_day IN ACCESS SHARE MODE")
        yield connection


async def load_archived_days(
    connection: Connection | asyncpg.Pool, through: date = date.max
) -> list[ArchivedDay]:
    """The days that are in the archive, oldest first."""
    found = await connection.fetch(
        """SELECT service_day, manifest_sha256, settled_through,
            unlinked_at IS NOT NULL AS is_unlinked
        FROM log_day WHERE archived_at IS NOT NULL AND service_day <= $1 ORDER BY service_day""",
        through,
    )
    return [ArchivedDay(**row) for row in found]


@asynccontextmanager
async def sweep_work(pool: asyncpg.Pool) -> AsyncIterator[SweepWork]:
    async with pool.acquire() as connection, connection.transaction():
        yield SweepWork(connection)


async def list_late_wallets(pool: asyncpg.Pool, now: datetime) -> list[UUID]:
    """The wallets with an open leg that nobody can close any more."""
    return [row[0] for row in await pool.fetch(_LIST_LATE, now)]


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
# No index leads to open legs: keeping one would cost each tap more than this costs a close.
_LIST_LATE = "SELECT wallet_id FROM wallet WHERE open_until <= $1 ORDER BY wallet_id"
_LOCK_LATE = f"""
{READ_WALLETS} WHERE wallet_id = ANY($1::uuid[]) AND open_until <= $2
ORDER BY wallet_id FOR UPDATE
"""
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
