"""The tap log as it is priced, read from end to end for a back-test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date

from fare_rules import RideTap
from gateway.core.taps import LET_THROUGH
from gateway.shell import rows
from gateway.shell.database import connect

_ROWS_AT_ONCE = 20_000
_READ = """
SELECT tap_id, said, facts FROM tap
WHERE outcome = ANY($1::text[]) AND ($2::date IS NULL OR service_day <= $2)
ORDER BY wallet_id, service_day
"""


def read_tap_log(dsn: str, last_day: date | None) -> Iterator[RideTap]:
    """Read every tap that was let through, up to a service day, wallet by wallet.

    Shape:  the days before those that are reported come, too: they fill the riders' memory.
    """
    loop = asyncio.new_event_loop()
    try:
        connection = loop.run_until_complete(connect(dsn, timeout_seconds=600))
        transaction = connection.transaction(isolation="repeatable_read", readonly=True)
        loop.run_until_complete(transaction.start())
        cursor = loop.run_until_complete(connection.cursor(_READ, LET_THROUGH, last_day))
        while chunk := loop.run_until_complete(cursor.fetch(_ROWS_AT_ONCE)):
            yield from map(rows.facts_from_row, chunk)
        loop.run_until_complete(connection.close())
    finally:
        loop.close()
