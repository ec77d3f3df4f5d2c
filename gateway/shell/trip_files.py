"""The files of a day's trips: put in order on disk, so that no day is too large for the memory."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from msgspec import structs

from gateway.core.csv_tables import csv_lines, csv_table
from gateway.core.tides import (
    DayOfTrips,
    FareTransaction,
    OperatorRow,
    TripFile,
    trip_file_name,
)
from gateway.shell.files import file_sha256, sync_folder, write_parts

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class TripTables:
    """Rows in any order become each operator's table, in the order in which things happened."""

    def __init__(self, day: DayOfTrips, database: sqlite3.Connection) -> None:
        self._day = day
        self._database = database
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("CREATE TABLE line (operator_id, at, said, amount_fen)")

    def add(self, rows: Iterable[OperatorRow]) -> None:
        rows = list(rows)
        lines = csv_lines((structs.astuple(row.transaction) for row in rows), self._day.zone)
        self._database.executemany(
            "INSERT INTO line VALUES (?, ?, ?, ?)",
            (
                (
                    row.operator_id,
                    (row.transaction.event_timestamp - _EPOCH) // _MICROSECOND,
                    line,
                    row.amount_fen,
                )
                for row, line in zip(rows, lines, strict=True)
            ),
        )

    def write(self, folder_of: dict[str, Path]) -> Iterator[tuple[Path, TripFile]]:
        """Write each operator's table into its folder."""
        # A line begins with its transaction's id.
        found = self._database.execute(
            "SELECT operator_id, said, amount_fen FROM line ORDER BY operator_id, at, said"
        )
        for operator_id, lines in groupby(found, itemgetter(0)):
            folder = folder_of[operator_id]
            folder.mkdir(parents=True, exist_ok=True)
            yield folder, self._write(folder, operator_id, lines)

    def operator_ids(self) -> list[str]:
        return [row[0] for row in self._database.execute("SELECT DISTINCT operator_id FROM line")]

    def _write(
        self, folder: Path, operator_id: str, lines: Iterable[tuple[str, str, int]]
    ) -> TripFile:
        path = folder / trip_file_name(operator_id)
        rows_count = amount_fen = 0

        def parts() -> Iterator[bytes]:
            nonlocal rows_count, amount_fen
            yield csv_table(FareTransaction.__struct_fields__, (), self._day.zone)
            for _, line, fen in lines:
                rows_count += 1
                amount_fen += fen
                yield line.encode()

        write_parts(path, parts())
        size_bytes = path.stat().st_size
        return TripFile(operator_id, size_bytes, file_sha256(path), rows_count, amount_fen)


@contextmanager
def trip_tables(day: DayOfTrips) -> Iterator[TripTables]:
    # A database without a name lies in a file of its own, which is gone when it is closed.
    database = sqlite3.connect("")
    try:
        yield TripTables(day, database)
    finally:
        database.close()


def remove_trips(folder: Path, day: date) -> None:
    """Remove the trips of a day from those that are served."""
    if (folder / str(day)).exists():
        shutil.rmtree(folder / str(day))
        sync_folder(folder)
