"""CSV as we write it for others: RFC 4180 in UTF-8, without a byte order mark.

A header, CRLF, quotes where needed. A text that a spreadsheet would run as a formula has one ' put
before it: drop a leading ' to read a text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import datetime, tzinfo


def csv_table(header: Iterable[str], rows: Iterable[Iterable[object]], zone: tzinfo) -> bytes:
    """Write rows under a header; instants as they are in a zone, to the microsecond."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([_cell(name, zone) for name in header])
    writer.writerows([_cell(value, zone) for value in row] for row in rows)
    return text.getvalue().encode()


# Source: OWASP, CSV Injection. The last four are full-width signs, which count where people write
# Chinese. The quote is here so that one before a text always means that it was put there.
_FORMULA_STARTS = (*"=+-@\t\r\n'", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def _cell(value: object, zone: tzinfo) -> object:
    if isinstance(value, datetime):
        return value.astimezone(zone).isoformat(timespec="microseconds")
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return "'" + value
    return value
