"""The statements of unlinking: what is remembered of wallets, what the desk noted, and the mark.

All of it needs the tables' owner, as archiving does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct, structs

from gateway.core.amendments import Amendment
from gateway.core.correction_wishes import CorrectionWish
from gateway.core.days import Opening
from gateway.core.unlinking import Base
from gateway.core.wallets import Wallet
from gateway.shell import rows
from gateway.shell.amendment_rows import decode_amendment, decode_wish, load_amendments
from gateway.shell.archive_store import DayInUse
from gateway.shell.kept_store import load_bases
from gateway.shell.tap_store import save_openings
from gateway.shell.wallet_store import LOCK_WALLETS, save_wallets_and_entries

# How long an audit may keep us from the mark, and new days of the log wait behind us.
_LOCK_MS = 200
_PLACES = (
    "stop_id", "at", "media_token", "since", "until", "gate_id", "route_id", "exit_stop_id"
)  # fmt: skip
_ONE_AT_A_TIME = 7_015_126_020


class Noted(Struct, frozen=True):
    """What the desk noted of a ride: what it asked, and what the fold was told."""

    wish: CorrectionWish
    amendment: Amendment | None

    @property
    def is_telling(self) -> bool:
        return self.amendment is not None or self.wish != _wish_without_place(self.wish)


class RidersWork:
    """Some wallets, locked."""

    def __init__(self, connection: asyncpg.Connection, ids: Sequence[UUID]) -> None:
        self._connection = connection
        self._ids = ids

    async def load(self) -> None:
        found = await self._connection.fetch(LOCK_WALLETS, self._ids)
        self.wallets = {row["wallet_id"]: rows.wallet_from_row(row) for row in found}
        self.bases = await load_bases(self._connection, self._ids)
        self.amendments = await load_amendments(self._connection, self._ids)
        self.openings: dict[UUID, dict[date, Opening]] = {}
        for row in await self._connection.fetch(_READ_OPENINGS, self._ids):
            days = self.openings.setdefault(row["wallet_id"], {})
            days[row["day"]] = rows.opening_from(row["opening"])
        self.noted: dict[UUID, list[Noted]] = {}
        for row in await self._connection.fetch(_READ_NOTED, self._ids):
            amendment = decode_amendment(row["amendment"]) if row["amendment"] else None
            self.noted.setdefault(row["wallet_id"], []).append(
                Noted(decode_wish(row["wish"]), amendment)
            )

    async def save_bases(self, bases: Mapping[UUID, Base]) -> None:
        columns = [
            list(bases),
            [base.day for base in bases.values()],
            [base.version for base in bases.values()],
            [base.swept_until for base in bases.values()],
            [rows.opening_bytes(base.opening) for base in bases.values()],
        ]
        await self._connection.execute(_UPSERT_BASES, *columns)

    async def save_wallets(self, wallets: Sequence[Wallet], now: datetime) -> None:
        await save_wallets_and_entries(self._connection, wallets, [], now, self.wallets)

    async def save_openings(self, openings: Mapping[tuple[UUID, date], Opening]) -> None:
        """Keep these openings of the wallets' days, and no others."""
        before = {(i, day): one for i, days in self.openings.items() for day, one in days.items()}
        gone = [key for key in before if key not in openings]
        await self._connection.execute(
            _DELETE_OPENINGS, [wallet_id for wallet_id, _ in gone], [day for _, day in gone]
        )
        changed = {key: one for key, one in openings.items() if before.get(key) != one}
        await save_openings(self._connection, changed)


async def forget_places(connection: asyncpg.Connection, noted: Sequence[Noted]) -> None:
    """Keep that something was put right, by whom and for how much; not where.

    Raises: DayInUse when the desk did not let go of the table for too long.
    """
    wishes = [_wish_without_place(one.wish) for one in noted]
    if not wishes:
        return
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MS}")
            # The owner alone may; the gateway's role cannot edit it either way.
            await connection.execute("ALTER TABLE correction DISABLE TRIGGER append_only")
            await connection.execute(
                _FORGET_PLACES,
                [wish.correction_id for wish in wishes],
                [msgspec.json.encode(wish) for wish in wishes],
            )
            await connection.execute("ALTER TABLE correction ENABLE TRIGGER append_only")
    except asyncpg.LockNotAvailableError:
        raise DayInUse("Corrections are being written or read. Unlink later.") from None


def _wish_without_place(wish: CorrectionWish) -> CorrectionWish:
    return structs.replace(wish, note=None, **dict.fromkeys(_PLACES))


@asynccontextmanager
async def riders_work(
    connection: asyncpg.Connection, ids: Sequence[UUID]
) -> AsyncIterator[RidersWork]:
    async with connection.transaction():
        work = RidersWork(connection, ids)
        await work.load()
        yield work


async def check_alone(connection: asyncpg.Connection) -> None:
    """Raises: DayInUse when another process unlinks days."""
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _ONE_AT_A_TIME):
        raise DayInUse("Another process is unlinking days. Let it end.")


async def mark(
    connection: asyncpg.Connection,
    day: date,
    manifest_sha256: str,
    after: Callable[[str], None],
) -> None:
    """Mark a day as unlinked, once nobody reads it as it was.

    Raises: DayInUse when somebody did for too long.
    """
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MS}")
            # Whoever reads the archive holds the weakest lock on this table.
            await connection.execute("LOCK TABLE log_day IN ACCESS EXCLUSIVE MODE")
            await connection.execute(
                "UPDATE log_day SET unlinked_at = now(), manifest_sha256 = $2 "
                "WHERE service_day = $1",
                day,
                manifest_sha256,
            )
            after("marked")
    except asyncpg.LockNotAvailableError:
        raise DayInUse(f"{day} is being read, by an audit perhaps. Unlink it later.") from None


_READ_OPENINGS = "SELECT * FROM wallet_day WHERE wallet_id = ANY($1::uuid[])"
_READ_NOTED = "SELECT wallet_id, wish, amendment FROM correction WHERE wallet_id = ANY($1::uuid[])"
_UPSERT_BASES = """
INSERT INTO wallet_base (wallet_id, day, version, swept_until, opening)
SELECT * FROM unnest($1::uuid[], $2::date[], $3::bigint[], $4::timestamptz[], $5::bytea[])
ON CONFLICT (wallet_id) DO UPDATE SET
    day = excluded.day, version = excluded.version, swept_until = excluded.swept_until,
    opening = excluded.opening
"""
_DELETE_OPENINGS = """
DELETE FROM wallet_day USING unnest($1::uuid[], $2::date[]) AS gone (wallet_id, day)
WHERE wallet_day.wallet_id = gone.wallet_id AND wallet_day.day = gone.day
"""
_FORGET_PLACES = """
UPDATE correction SET wish = new.wish, amendment = NULL, note = NULL
FROM unnest($1::uuid[], $2::bytea[]) AS new (correction_id, wish)
WHERE correction.correction_id = new.correction_id
"""
