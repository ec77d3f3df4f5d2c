"""CSV as we write it for others: RFC 4180 in UTF-8, without a byte order mark.

A header, CRLF, quotes where needed. A text that a spreadsheet would run as a formula has one ' put
before it: drop a leading ' to read a text.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime, tzinfo
from itertools import chain


def csv_table(header: Iterable[str], rows: Iterable[Iterable[object]], zone: tzinfo) -> bytes:
    """Write rows under a header; instants as they are in a zone, to the microsecond."""
    return "".join(csv_lines(chain([header], rows), zone)).encode()


def text_of(cell: str) -> str:
    """The text that was written as a cell."""
    return cell.removeprefix("'")


def csv_lines(rows: Iterable[Iterable[object]], zone: tzinfo) -> Iterator[str]:
    """Each row as the line of a table, its end included."""
    writer = csv.writer(_Echo(), lineterminator="\r\n")
    for row in rows:
        line: str = writer.writerow([_cell(value, zone) for value in row])
        yield line


class _Echo:
    def write(self, line: str) -> str:
        return line


# Source: OWASP, CSV Injection. The last four are full-width signs, which count where people write
# Chinese. The quote is here so that one before a text always means that it was put there.
_FORMULA_STARTS = (*"=+-@\t\r\n'", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def _cell(value: object, zone: tzinfo) -> object:
    if isinstance(value, datetime):
        return value.astimezone(zone).isoformat(timespec="microseconds")
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return "'" + value
    return value
