"""Paying the operators: end the day's open legs, close the clock, add up, write the files.

Closing moves the settlement clock under an exclusive lock, so from then on no entry can join the
closed days: whatever is added up afterwards comes out the same, and a close that broke off is
simply finished by the next one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Container, Mapping
from datetime import date, datetime
from pathlib import Path

import asyncpg
import msgspec

from fare_rules import TariffBook
from gateway.core.campaigns import usage_of
from gateway.core.clearing import fees, share
from gateway.core.clearing_files import Cleared
from gateway.core.invoices import invoices
from gateway.core.payment_order import Debtor
from gateway.core.rides import charged_until, sweep, sweep_id
from gateway.core.settlement import PayoutTerms, Settlement, SettlementPeriod, settle
from gateway.core.settlement_files import (
    MANIFEST,
    Manifest,
    saved_settlement,
    settlement_files,
    sha256_of,
)
from gateway.core.signed_books import SIGNATURE, operator_files
from gateway.disruption_path import run_disruptions
from gateway.shell.files import write_settlement
from gateway.shell.settings import Settings
from gateway.shell.settlement_books import SettlementBooks, load_settlement_books
from gateway.shell.settlement_store import (
    CloseWork,
    Parties,
    SettlementRow,
    check_kept,
    close_work,
    list_operator_ids,
    list_settlement_rows,
    load_carried,
    load_kept_settlement,
    load_previous_hash,
    parties_of,
    save_settlement,
)
from gateway.shell.signing import Signer, sign_settlement
from gateway.shell.sweep_store import list_late_wallets, sweep_work

_SWEEP_WALLETS_MAX = 500


class CloseRefused(Exception):
    """The day cannot be closed; the text says why and what to do."""


async def run_settlement_close(
    pool: asyncpg.Pool,
    service_day: date,
    *,
    book: TariffBook,
    now: datetime,
    folder: Path,
    debtor: Debtor,
    archive: Path | None = None,
    signer: Signer | None = None,
) -> tuple[Settlement, list[Path]]:
    """Settle everything up to a service day. Doing it again gives the same bytes.

    Raises: CloseRefused for a day that is not over, or that was settled as part of a later one.
    """
    if service_day >= book.service_day_of(now):
        raise CloseRefused(f"Service day {service_day} is not over yet; close it when it is.")
    _check_parties(book, await list_operator_ids(pool))
    await sweep_late_legs(pool, now, book)
    await run_disruptions(pool, book, now)
    async with close_work(pool) as work:
        await _close_clock(work, service_day, now, book, debtor)
    settlement: Settlement | None = None
    for row in await list_settlement_rows(pool):
        if row.settlement_day == service_day or not row.is_saved:
            settlement, files = await _add_up(pool, row, book, archive)
            # Files first: what is saved is delivered, and no later close looks at it again.
            await check_kept(pool, service_day=row.settlement_day, manifest=files[MANIFEST])
            paths = await asyncio.to_thread(
                _write, folder / str(row.settlement_day), settlement, files, signer,
                parties_of(row).tells_fees,
            )  # fmt: skip
            await save_settlement(pool, settlement, files[MANIFEST])
        if row.settlement_day == service_day:
            break
    assert settlement is not None
    return settlement, paths


def _write(
    folder: Path,
    settlement: Settlement,
    files: dict[str, bytes],
    signer: Signer | None,
    tells_fees: bool,
) -> list[Path]:
    own = operator_files(settlement, files, tells_fees=tells_fees)
    paths = write_settlement(folder, files, own)
    if signer is not None:
        signer.publish(folder.parent)
        paths += sign_settlement(folder, signer)
    return paths


def _check_parties(book: TariffBook, known: Container[str]) -> None:
    """Whom agreements and fees name must be registered, or nobody could be paid."""
    terms = book.clearing
    named = {each.operator for agreement in terms.agreements for each in agreement.weights}
    named |= {fee.paid_to for fee in terms.fees} | {one.operator for one in terms.payouts}
    # A slip of the pen here would let an agreement or a fee pass by those who are meant.
    named.update(name for agreement in terms.agreements for name in agreement.operators)
    named.update(name for fee in terms.fees for name in (*fee.operators, *fee.issuers))
    strangers = sorted(name for name in named if name not in known)
    if strangers:
        raise CloseRefused(f"clearing.yaml names {strangers[0]}, which is not registered.")


def debtor_of(settings: Settings) -> Debtor:
    return Debtor(settings.debtor_name, settings.debtor_account, settings.debtor_bic)


async def sweep_late_legs(pool: asyncpg.Pool, now: datetime, book: TariffBook) -> None:
    """Charge every leg that nobody has closed, and that nobody can close any more."""
    late = await list_late_wallets(pool, now)
    for start in range(0, len(late), _SWEEP_WALLETS_MAX):
        async with sweep_work(pool) as work:
            wallets = await work.lock_late(late[start : start + _SWEEP_WALLETS_MAX], now)
            closed_through, left = await work.read_clock(), await work.read_left()
            ended = []
            for wallet in wallets:
                named = sweep_id(wallet.wallet_id, charged_until(wallet, now, book))
                swept, entries, _ = sweep(wallet, named, now, book, closed_through)
                usage = usage_of(entries)
                # A leg whose campaign has not the money stays open until it has.
                if all(i not in left or left[i].allows(one) for i, one in usage.items()):
                    left |= {i: left[i].less(one) for i, one in usage.items() if i in left}
                    ended.append((wallet, swept, entries))
            await work.save(
                [swept for _, swept, _ in ended],
                [entry for *_, entries in ended for entry in entries],
                now,
                [wallet for wallet, *_ in ended],
            )


async def _close_clock(
    work: CloseWork, service_day: date, now: datetime, book: TariffBook, debtor: Debtor
) -> None:
    closed_through = await work.lock_clock()
    if closed_through is not None and service_day <= closed_through:
        if not await work.is_settlement_day(service_day):
            raise CloseRefused(
                f"Service day {service_day} was settled as part of a later close; the settlements "
                f"reach to {closed_through}."
            )
        return
    currency = book.tariffs[-1].currency
    await work.save_close(service_day, closed_through, now, currency, debtor, book.clearing)


async def _add_up(
    pool: asyncpg.Pool, row: SettlementRow, book: TariffBook, archive: Path | None
) -> tuple[Settlement, dict[str, bytes]]:
    books = await load_settlement_books(pool, row, archive)
    parties = parties_of(row)
    period = SettlementPeriod(
        number=row.number,
        days_after=row.days_after,
        service_day=row.settlement_day,
        closed_at=row.closed_at,
        currency=row.currency,
        timezone=str(book.timezone),
    )
    carried_in = await load_carried(pool, row.settlement_day)
    previous = await load_previous_hash(pool, row.settlement_day)

    def make() -> tuple[Settlement, dict[str, bytes]]:
        settlement, cleared = clear(books, period, parties, carried_in=carried_in)
        files = settlement_files(
            settlement,
            books.lines,
            operators={operator.operator_id: operator for operator in parties.operators},
            debtor=parties.debtor,
            previous_manifest_sha256=previous,
            cleared=cleared,
        )
        return settlement, files

    # Seconds of work for a large day; a gateway does it only where files must be made again.
    return await asyncio.to_thread(make)


def clear(
    books: SettlementBooks,
    period: SettlementPeriod,
    parties: Parties,
    *,
    carried_in: Mapping[str, int],
) -> tuple[Settlement, Cleared]:
    """Share, take the fees, and net to one amount for each party."""
    terms = parties.clearing
    lines = [*books.lines, *books.earlier]
    moved = share(lines, terms, period.days_after, follows_rides=parties.follows_rides)
    shared_fen: Counter[str] = Counter()
    for line in moved:
        shared_fen[line.operator_id] += line.amount_fen
    earned_fen, ride_counts = Counter(shared_fen), Counter[str]()
    for settled in books.lines:
        earned_fen[settled.operator_id] += settled.amount_fen
        ride_counts[settled.operator_id] += settled.ride_count
    fee_lines = fees(earned_fen, ride_counts, terms, books.institutions)
    fees_fen: Counter[str] = Counter()
    for fee in fee_lines:
        fees_fen[fee.operator_id] -= fee.amount_fen
        fees_fen[fee.paid_to] += fee.amount_fen
    settlement = settle(
        books.lines,
        period,
        operators={operator.operator_id: operator for operator in parties.operators},
        carried_in=carried_in,
        shared=shared_fen,
        fees=fees_fen,
        terms=PayoutTerms(
            frozenset(parties.held),
            {one.operator: one.minimum_payout or 0 for one in terms.payouts},
        ),
    )
    owed = invoices(books.sponsored)
    return settlement, Cleared(moved, fee_lines, books.sponsored, owed, books.institutions)


async def list_settlements(
    pool: asyncpg.Pool, book: TariffBook, archive: Path | None = None
) -> list[Settlement]:
    """Every settlement so far, as it was saved; one that broke off is added up."""
    return [
        saved_settlement(row.manifest)
        if row.manifest is not None
        else (await _add_up(pool, row, book, archive))[0]
        for row in await list_settlement_rows(pool, with_manifests=True)
    ]


async def load_settlement(
    pool: asyncpg.Pool, service_day: date, book: TariffBook, archive: Path | None = None
) -> tuple[Settlement, dict[str, bytes]] | None:
    """A settlement and its files, made again from ledger and archive; None if not closed."""
    for row in await list_settlement_rows(pool):
        if row.settlement_day == service_day:
            return await _add_up(pool, row, book, archive)
    return None


async def load_settlement_file(
    pool: asyncpg.Pool, service_day: date, name: str, book: TariffBook, settings: Settings
) -> bytes | None:
    """One file of a settlement: as it was written, where it still is so; else made again.

    Raises: ArchiveMissing when it must be made of archived days, and the archive cannot be read.
    """
    kept = await load_kept_settlement(pool, service_day)
    if kept is not None:
        folder = settings.settlement_dir / str(service_day)
        written = await asyncio.to_thread(_written, folder, name, kept.manifest)
        if written is not None:
            return written
    made = await load_settlement(pool, service_day, book, settings.archive_dir)
    return made[1].get(name) if made else None


def _written(folder: Path, name: str, manifest: bytes) -> bytes | None:
    """What lies in a settlement's folder under a name that its manifest has, if it is that."""
    hashes = {file.name: file.sha256 for file in msgspec.json.decode(manifest, type=Manifest).files}
    hashes[MANIFEST] = sha256_of(manifest)
    path = folder / name
    if name not in (*hashes, SIGNATURE) or not path.is_file():
        return None
    content = path.read_bytes()
    is_so = name == SIGNATURE or sha256_of(content) == hashes[name]
    return content if is_so else None
