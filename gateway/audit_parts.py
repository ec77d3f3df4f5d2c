"""Parts of an audit: some wallets, or one settlement, looked at here or in processes of their own.

All of them see one picture of the database, and no part knows of another; so it does not matter how
many there are, nor who does them.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import multiprocessing
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from datetime import date, datetime
from pathlib import Path
from uuid import UUID

import asyncpg
from msgspec import Struct

from fare_rules import TariffBook
from gateway.core.audit import audit_wallet
from gateway.core.audit_books import BROKEN, Break, WalletBooks
from gateway.core.settlement_files import MANIFEST
from gateway.settlement_path import load_settlement
from gateway.shell.archive_files import ArchivedDay, ArchiveMissing
from gateway.shell.archived_books import ArchivedBooks
from gateway.shell.audit_store import same_picture
from gateway.shell.database import open_pool
from gateway.shell.delivery_store import delivery_rows, load_delivery_rows
from gateway.shell.embedded_postgres import die_with
from gateway.shell.kept_store import load_books, load_books_of
from gateway.shell.settlement_store import batch_rows, load_kept_settlement
from gateway.shell.transactions import Connection

_WALLETS_AT_ONCE = 500
# So that the last process to end does not keep the others waiting for long.
_PARTS_EACH = 8
# Fewer are done sooner than another process begins.
_WALLETS_WORTH_A_PROCESS = 2_000


class Scene(Struct, frozen=True):
    """What every part needs to know."""

    book: TariffBook
    archive: Path | None
    archived: tuple[ArchivedDay, ...] = ()
    # From when on each ride of an open day must say how it is shared.
    shared_since: datetime | None = None


class Part(Struct, frozen=True):
    """Wallets between two, or some by their ids, in order."""

    after: UUID | None = None
    until: UUID | None = None
    wallet_ids: tuple[UUID, ...] | None = None


class Found(Struct, frozen=True):
    """What a part has come to."""

    wallets_count: int = 0
    incomplete_count: int = 0
    breaks: tuple[Break, ...] = ()


class Crew:
    """Processes on one database that do parts of an audit, and the CPU that each has used."""

    def __init__(self, dsn: str, processes_count: int) -> None:
        self.dsn = dsn
        self.processes_count = processes_count
        self.cpu_seconds: dict[int, float] = {}
        self._executor: ProcessPoolExecutor | None = None

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Let it work; what it has not begun is dropped when the audit ends."""
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            self.processes_count, spawn, _begin_work, (os.getpid(),)
        ) as executor:
            self._executor = executor
            try:
                yield
            finally:
                executor.shutdown(wait=True, cancel_futures=True)

    async def audit_wallets(self, scene: Scene, picture: str, part: Part) -> Found:
        assert self._executor is not None
        loop = asyncio.get_running_loop()
        pid, seconds, found = await loop.run_in_executor(
            self._executor, _audit_there, self.dsn, scene, picture, part
        )
        self.cpu_seconds[pid] = seconds
        return found

    async def audit_settlement(self, scene: Scene, day: date) -> tuple[Break, ...]:
        assert self._executor is not None
        loop = asyncio.get_running_loop()
        pid, seconds, found = await loop.run_in_executor(
            self._executor, _settlement_there, self.dsn, scene, day
        )
        self.cpu_seconds[pid] = seconds
        return found

    def is_worth_it(self, wallets_count: int) -> bool:
        return self.processes_count > 1 and wallets_count > _WALLETS_WORTH_A_PROCESS

    def wallets_each(self, wallets_count: int) -> int:
        """How many wallets a part should have."""
        return max(_WALLETS_AT_ONCE, wallets_count // (self.processes_count * _PARTS_EACH) + 1)


def parts_between(bounds: Sequence[UUID]) -> list[Part]:
    """All wallets there may be, parted at some of them."""
    return [Part(a, b) for a, b in zip([None, *bounds], [*bounds, None], strict=True)]


def parts_of(wallet_ids: Sequence[UUID], wallets_count: int) -> list[Part]:
    return [
        Part(wallet_ids=tuple(wallet_ids[i : i + wallets_count]))
        for i in range(0, len(wallet_ids), wallets_count)
    ]


async def audit_part(connection: Connection, scene: Scene, part: Part) -> Found:
    """Compute everything again that is kept of some wallets."""
    ids = part.wallet_ids
    after, until = part.after, part.until
    if ids:
        after, until = UUID(int=ids[0].int - 1) if ids[0].int else None, ids[-1]
    archived = ArchivedBooks(scene.archive, scene.archived, after, until)
    wallets_count = incomplete_count = 0
    breaks: list[Break] = []
    async for one in _books(connection, part):
        books = archived.joined_to(one)
        breaks += audit_wallet(books, scene.book, scene.shared_since)
        wallets_count += 1
        incomplete_count += sum(kept.result.incomplete for kept in books.taps)
    if ids is None:
        breaks += archived.breaks()
    return Found(wallets_count, incomplete_count, tuple(breaks))


async def _books(connection: Connection, part: Part) -> AsyncIterator[WalletBooks]:
    if part.wallet_ids is not None:
        for i in range(0, len(part.wallet_ids), _WALLETS_AT_ONCE):
            ids = part.wallet_ids[i : i + _WALLETS_AT_ONCE]
            for one in await load_books_of(connection, ids, names_unreadable=True):
                yield one
        return
    after = part.after
    while chunk := await load_books(connection, after, _WALLETS_AT_ONCE, until=part.until):
        for one in chunk:
            yield one
        after = chunk[-1].wallet.wallet_id


async def audit_settlement(pool: asyncpg.Pool, scene: Scene, day: date) -> tuple[Break, ...]:
    """A settlement must add up to the files and the batches that were kept of it."""
    try:
        made = await load_settlement(pool, day, scene.book, scene.archive)
    except ArchiveMissing as missing:
        return (Break("settlement_differs", f"settlement {day}", str(missing)),)
    except BROKEN as error:
        # The books are broken, not the audit.
        fault = f"it does not add up: {type(error).__name__} {error}"
        return (Break("settlement_differs", f"settlement {day}", fault),)
    kept = await load_kept_settlement(pool, day)
    if made is None or kept is None:
        return ()
    settlement, files = made
    faults = []
    if kept.manifest != files[MANIFEST]:
        faults.append("it adds up to other files now")
    if kept.manifest_sha256 != hashlib.sha256(kept.manifest).hexdigest():
        faults.append("its hash is not its manifest's")
    differing = {row[1] for row in kept.batches ^ frozenset(batch_rows(settlement))}
    faults += [f"the batch of {operator_id} is another than kept" for operator_id in differing]
    sent = await load_delivery_rows(pool, day) ^ frozenset(
        delivery_rows(settlement, kept.manifest_sha256)
    )
    told = sorted({str(row[2]) for row in sent})
    faults += [f"the delivery to {operator_id} is another than kept" for operator_id in told]
    return tuple(Break("settlement_differs", f"settlement {day}", fault) for fault in faults)


async def list_settlements(connection: Connection) -> dict[date, str]:
    """Every settlement, oldest first, with the hash of its manifest, or nothing."""
    found = await connection.fetch(
        """SELECT settlement_day, manifest FROM settlement
        LEFT JOIN settlement_manifest USING (settlement_day) ORDER BY number"""
    )
    return {
        row["settlement_day"]: hashlib.sha256(row["manifest"]).hexdigest()
        if row["manifest"]
        else ""
        for row in found
    }


def _begin_work(parent_pid: int) -> None:
    die_with(parent_pid, signal.SIGKILL)
    # What is collected is collected after each part: books are no garbage while they are read.
    gc.disable()


def _audit_there(dsn: str, scene: Scene, picture: str, part: Part) -> tuple[int, float, Found]:
    async def work() -> Found:
        async with same_picture(dsn, picture) as connection:
            return await audit_part(connection, scene, part)

    found = asyncio.run(work())
    gc.collect()
    return os.getpid(), time.process_time(), found


def _settlement_there(dsn: str, scene: Scene, day: date) -> tuple[int, float, tuple[Break, ...]]:
    async def work() -> tuple[Break, ...]:
        pool = await open_pool(dsn)
        try:
            return await audit_settlement(pool, scene, day)
        finally:
            await pool.close()

    found = asyncio.run(work())
    gc.collect()
    return os.getpid(), time.process_time(), found
