"""`faregate export`: what planners get of a service day."""

from __future__ import annotations

from datetime import date
from importlib.metadata import version
from pathlib import Path

from fare_rules import load_book
from gateway.core.tides import DayOfTrips, trip_files, trip_package
from gateway.journey_options import OK, PROBLEMS_FOUND
from gateway.shell.files import replace_files
from gateway.shell.settings import Settings
from gateway.shell.store import open_pool
from gateway.shell.trip_store import load_trips


async def export_trips(
    settings: Settings, dsn: str, secret: bytes, day: date, folder: Path, operator: str | None
) -> int:
    """Write a day's fare transactions into a folder; exit 1 when there is nothing to write."""
    book, pool = load_book(settings.tariffs_dir), await open_pool(dsn)
    try:
        found = await load_trips(pool, day, settings.archive_dir)
    finally:
        await pool.close()
    if found is None:
        print(f"the log has nothing of service day {day}")
        return PROBLEMS_FOUND
    tariff = book.tariffs[-1]
    trips_day = DayOfTrips(day, tariff.currency, tariff.currency_digits, book.timezone, secret)
    trips = [
        trip
        for trip in trip_files(trips_day, found.taps, found.entries)
        if operator in (None, trip.operator_id)
    ]
    if not trips:
        print(f"{operator or 'nobody'} carried nobody on service day {day}")
        return PROBLEMS_FOUND
    files = trip_package(trips_day, trips, agency=settings.debtor_name, version=version("faregate"))
    replace_files(folder, files)
    for name in files:
        print(folder / name)
    return OK
