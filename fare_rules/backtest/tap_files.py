"""Taps in a CSV file: a row is a tap, and the columns are the fields of RideTap.

    tap_id         a UUID; a tap that is there twice is priced once
    tapped_at      ISO 8601 with its offset: 2026-03-02T08:05:11+08:00
    full_fare      minor units of the currency: 290 for 2.90
    distance_m     metres
    transfer_proven  true or false
    coupons        JSON: [["promotion", "2026-03-01T00:00:00Z"], ...]

The other columns are text or whole numbers as they are. Columns may stand in any order; those whose
field has a default may be left out, and so may their cells. The rows may be in any order, too.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from fare_rules.backtest.faults import BacktestFault
from fare_rules.taps import YEAR_MAX, YEAR_MIN, RideTap

COLUMNS = RideTap.__struct_fields__
_REQUIRED_COUNT = len(COLUMNS) - len(RideTap.__struct_defaults__)
REQUIRED_COLUMNS = COLUMNS[:_REQUIRED_COUNT]
_COUPONS = COLUMNS.index("coupons")
# A reader of numbers would take 5.00 for 5, which is a hundredth of it.
_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")
_WHOLE_COLUMNS = {
    COLUMNS.index("sequence"): "a whole number",
    COLUMNS.index("full_fare"): "a whole number of minor units: 290 for 2.90",
    COLUMNS.index("riders_count"): "a whole number of riders",
    COLUMNS.index("distance_m"): "a whole number of metres",
}
_RIDERS_COUNT = COLUMNS.index("riders_count")
_coupons_decoder = msgspec.json.Decoder(tuple[tuple[str, datetime], ...])
_TAP_DEFAULTS: tuple[Any, ...] = ("",) * _REQUIRED_COUNT + RideTap.__struct_defaults__


def write_taps(taps: Iterable[RideTap], path: Path) -> int:
    """Write taps to a new file, and count them."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for tap in taps:
            cells: list[Any] = msgspec.to_builtins(tap, enc_hook=int)
            writer.writerow([_cell(cell) for cell in cells] + [""] * (len(COLUMNS) - len(cells)))
            count += 1
    return count


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return msgspec.json.encode(value).decode() if value else ""
    return "" if value is None else value


def read_taps(path: Path) -> Iterator[RideTap]:
    """Read the taps of a file, one by one.

    Raises: BacktestFault at the first row that is no tap: a back-test without it would be wrong.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        try:
            header = next(rows, [])
            _check_header(header, path)
            sources = [
                (header.index(name) if name in header else len(header), default)
                for name, default in zip(COLUMNS, _TAP_DEFAULTS, strict=True)
            ]
            for row in rows:
                if len(row) != len(header):
                    message = f"{len(row)} cells under {len(header)} columns"
                    raise BacktestFault(f"{path}:{rows.line_num}", message, "Write one for each")
                # The cell of the columns that are not there.
                row.append("")
                try:
                    tap = _tap([row[index] or default for index, default in sources])
                except ValueError as error:
                    place, remedy = f"{path}:{rows.line_num}", "Correct the row, or leave it out"
                    raise BacktestFault(place, str(error), remedy) from error
                yield tap
        except (csv.Error, UnicodeDecodeError) as error:
            place, remedy = f"{path}:{rows.line_num + 1}", "Write a CSV file in UTF-8"
            raise BacktestFault(place, f"This is no CSV ({error})", remedy) from error


def _check_header(header: list[str], path: Path) -> None:
    place, columns = f"{path}:1", ", ".join(COLUMNS)
    for name in header:
        if name not in COLUMNS:
            raise BacktestFault(place, f"No column is called '{name}'", f"There are: {columns}")
        if header.count(name) > 1:
            raise BacktestFault(place, f"Column '{name}' is there twice", "Keep one of the two")
    for name in REQUIRED_COLUMNS:
        if name not in header:
            raise BacktestFault(place, f"Column '{name}' is missing", "Add it")


def _tap(values: list[Any]) -> RideTap:
    if "" in values:
        raise ValueError(f"'{COLUMNS[values.index('')]}' is empty")
    for index, what in _WHOLE_COLUMNS.items():
        cell = values[index]
        if isinstance(cell, str) and not _WHOLE.fullmatch(cell):
            raise ValueError(f"'{COLUMNS[index]}' is '{cell}', not {what}")
    if values[_RIDERS_COUNT] == "0":
        raise ValueError("'riders_count' is 0; somebody must ride")
    if values[_COUPONS]:
        values[_COUPONS] = _coupons(values[_COUPONS])
    try:
        tap = msgspec.convert(values, RideTap, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(_with_names(str(error))) from error
    if tap.tapped_at.tzinfo is None:
        raise ValueError("'tapped_at' has no offset, as in 2026-03-02T08:05:11+08:00")
    if not YEAR_MIN <= tap.tapped_at.year <= YEAR_MAX:
        raise ValueError(f"'tapped_at' is in the year {tap.tapped_at.year}")
    if tap.tapped_at.tzinfo is not UTC:
        tap = msgspec.structs.replace(tap, tapped_at=tap.tapped_at.astimezone(UTC))
    return tap


def _coupons(cell: str) -> object:
    try:
        return _coupons_decoder.decode(cell)
    except msgspec.MsgspecError as error:
        raise ValueError(f"'coupons' is not as the columns are described: {error}") from error


def _with_names(message: str) -> str:
    """Say the column where msgspec says its number."""
    for column, name in enumerate(COLUMNS):
        message = message.replace(f"`$[{column}]`", f"'{name}'")
    return message
