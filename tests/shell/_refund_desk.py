"""The refund desk's day, and what its tests do again and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from gateway import audit_path

# Of the last service day that is over: days start at 04:00.
NOON = (datetime.now(ZoneInfo("Asia/Shanghai")) - timedelta(days=1, hours=4)).replace(
    hour=12, minute=0, second=0, microsecond=0
)

# Of an entry and an exit, ten minutes on either side of that day's start.
BEFORE_TURN, AFTER_TURN = -490, -470


def at(minutes: int) -> str:
    return (NOON + timedelta(minutes=minutes)).astimezone(UTC).isoformat()


async def audited(client: Any) -> list[str]:
    report = await audit_path.run_audit(client.api.pool, client.api.book)
    return list(report.lines())


async def metro(client: Any, action: str, minutes: int, **more: Any) -> dict[str, Any]:
    said = await client.post_taps(client.metro_tap(action, tapped_at=at(minutes), **more))
    assert said.status == 200, said.body
    found: dict[str, Any] = said.message
    return found


async def net(client: Any, wallet_id: str) -> int:
    wallet = await client.wallet(wallet_id)
    return wallet["balance_fen"] - wallet["owed_fen"]


async def dsn_of(client: Any, server_dsn: str) -> str:
    name = await client.api.pool.fetchval("SELECT current_database()")
    return urlsplit(server_dsn)._replace(path=f"/{name}").geturl()
