"""`faregate settle close`: what each operator is paid, and the files that say so."""

from __future__ import annotations

from datetime import UTC, date, datetime

from gateway.close_process import close_day
from gateway.exit_codes import OK, PROBLEMS_FOUND
from gateway.settlement_path import CloseRefused
from gateway.shell.settings import Settings


async def close_and_tell(settings: Settings, dsn: str, service_day: date) -> int:
    """Close, and list payments and files; 1 when the day cannot be closed."""
    try:
        settlement, paths = await close_day(settings, dsn, service_day, datetime.now(UTC))
    except CloseRefused as refused:
        print(refused)
        return PROBLEMS_FOUND
    for batch in settlement.batches:
        print(f"{batch.operator_id}  {batch.ride_count} rides  {batch.gross_fen} fen")
    for path in paths:
        print(path)
    return OK
