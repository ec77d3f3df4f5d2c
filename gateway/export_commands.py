"""`faregate export`: what planners get of a service day."""

from __future__ import annotations

from datetime import date
from importlib.metadata import version
from pathlib import Path

from fare_rules import load_book
from gateway.core.signed_books import operator_folder
from gateway.core.tides import (
    PACKAGE,
    PACKAGE_SIGNATURE,
    DayOfTrips,
    TripFile,
    operator_rows,
    trip_package,
)
from gateway.exit_codes import OK, PROBLEMS_FOUND
from gateway.shell.database import open_pool
from gateway.shell.files import replace_files
from gateway.shell.settings import Settings
from gateway.shell.signing import signer_of
from gateway.shell.trip_files import TripTables, trip_tables
from gateway.shell.trip_store import reading_trips


async def export_trips(
    settings: Settings,
    dsn: str,
    secret: bytes,
    day: date,
    to: Path | None = None,
    operator: str | None = None,
) -> int:
    """Write a day's fare transactions; exit 1 when there is nothing to write.

    Shape:  one package in the folder `to`; without it, a package for each operator where the
            gateway serves them.
    """
    book, pool = load_book(settings.tariffs_dir), await open_pool(dsn)
    tariff = book.tariffs[-1]
    trips_day = DayOfTrips(day, tariff.currency, tariff.currency_digits, book.timezone, secret)
    try:
        # What is written is written before the day can be unlinked.
        async with reading_trips(pool, day, settings.archive_dir) as wallets:
            if wallets is None:
                print(f"the log has nothing of service day {day}")
                return PROBLEMS_FOUND
            with trip_tables(trips_day) as tables:
                async for wallet in wallets:
                    rows = operator_rows(trips_day, wallet.taps, wallet.entries)
                    tables.add(row for row in rows if operator in (None, row.operator_id))
                return _write(settings, trips_day, tables, to, operator)
    finally:
        await pool.close()


def _write(
    settings: Settings, day: DayOfTrips, tables: TripTables, to: Path | None, operator: str | None
) -> int:
    served = settings.trips_dir / str(day.service_day)
    folders = {name: to or served / operator_folder(name) for name in tables.operator_ids()}
    if not folders:
        print(f"{operator or 'nobody'} carried nobody on service day {day.service_day}")
        return PROBLEMS_FOUND
    signer = signer_of(settings)
    signer.publish(settings.settlement_dir)
    packages: dict[Path, list[TripFile]] = {}
    for folder, file in tables.write(folders):
        packages.setdefault(folder, []).append(file)
        print(folder / file.name)
    for folder, files in packages.items():
        package = trip_package(day, files, agency=settings.debtor_name, version=version("faregate"))
        replace_files(folder, {PACKAGE: package, PACKAGE_SIGNATURE: signer.sign(package)})
        print(folder / PACKAGE)
    return OK
