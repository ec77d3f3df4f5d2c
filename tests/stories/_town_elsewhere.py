"""A process that plays two days of a town and closes both.

Its arguments: the database, the folder, and the order in which everybody comes, 1 or -1.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo

from fare_rules import load_book
from gateway.audit_path import run_audit
from gateway.core.decide import Limits
from gateway.core.payment_order import Debtor
from gateway.core.purse_desk import GrantMoney
from gateway.core.registry import Gate, Operator, Route
from gateway.core.taps import Action, Tap
from gateway.core.wallet_desk import WalletPlan
from gateway.core.wallet_wishes import BindMedia, OpenWallet, TopUp, Wish
from gateway.registry_path import City, run_city_registration
from gateway.settlement_path import run_settlement_close
from gateway.shell import migrations
from gateway.shell.campaign_store import Budgets, prepare_campaigns
from gateway.shell.database import connect, open_pool
from gateway.shell.registry_store import load_registry
from gateway.shell.signing import Signer
from gateway.tap_path import run_tap_batch
from gateway.wallet_path import run_wallet_wishes

LETTERS = Path(__file__).parent / "letters"
OPERATORS = ("Zug", "äther", "a-c", "ab", "Ab", "地铁", "公交")
ISSUERS = ("Zug", "äther", "a-c", None)
SPONSORS = ("öbank", "Zbank", "z-bank", "银行")
RIDERS = 40
DAY = date(2018, 9, 3)
LIMITS = Limits(tap_ahead_max=timedelta(minutes=5), tap_age_max=timedelta(days=30))


def at(day: int, minutes: int) -> datetime:
    """Minutes after eight in the morning."""
    first = datetime(2018, 9, 3, 8, tzinfo=ZoneInfo("Asia/Shanghai"))
    return first + timedelta(days=day, minutes=minutes)


def wishes(rider: int) -> list[Wish]:
    wallet_id = uuid5(NAMESPACE_URL, f"rider {rider}")
    top_up = TopUp(uuid5(wallet_id, "first"), 10_000)
    media = (BindMedia(f"card {rider}"),)
    issuer = ISSUERS[rider % len(ISSUERS)]
    sponsor = SPONSORS[rider % len(SPONSORS)]
    grant = GrantMoney(uuid5(wallet_id, "gift"), "gift", 100 + rider, sponsor)
    opened = OpenWallet(wallet_id, issuer, media=media, top_up=top_up)
    return [Wish(wallet_id, opens=opened), Wish(wallet_id, grants=grant)]


def tap(rider: int, ride: int, tapped_at: datetime) -> Tap:
    operator_id = OPERATORS[(rider + ride) % len(OPERATORS)]
    return Tap(
        tap_id=uuid5(NAMESPACE_URL, f"tap {rider} {ride}"),
        gate_id=operator_id,
        sequence=10 * rider + ride,
        tapped_at=tapped_at,
        media_token=f"card {rider}",
        action=Action.BOARD,
        route_id=operator_id,
        offline=True,
    )


async def play(dsn: str, folder: Path, order: int) -> None:
    await migrations.upgrade(dsn)
    book = load_book(LETTERS)
    pool, lane = await open_pool(dsn), await connect(dsn)
    for name in OPERATORS[::order]:
        operator = Operator(name, f"{name} GmbH", f"CN{ord(name[0]):05d}", "BKCHCNBJ")
        route, gate = Route(name, "bus"), Gate(name, name, "bus")
        await run_city_registration(pool, City((operator,), (), (route,), (gate,)))
    registry = await load_registry(pool)
    await prepare_campaigns(pool, book, at(0, 0))
    riders, budgets = range(RIDERS)[::order], Budgets()

    async def take(taps: list[Tap], now: datetime) -> None:
        for one in taps:
            await run_tap_batch(
                lane, [one], registry=registry, book=book, limits=LIMITS, received_at=now,
                budgets=budgets,
            )  # fmt: skip

    async def close(day: int) -> None:
        await run_settlement_close(
            pool,
            DAY + timedelta(days=day),
            book=book,
            now=at(day + 1, 0),
            folder=folder,
            debtor=Debtor("Öffentlicher Verkehr", "6222020200112233445", "ICBKCNBJSZN"),
            signer=Signer(bytes(32)),
        )

    for rider in riders:
        for wish in wishes(rider):
            made = await run_wallet_wishes(
                pool, [wish], registry=registry, book=book, now=at(0, 0), floor_fen=0
            )
            assert isinstance(made, WalletPlan), made
        # A change of bus; and in the evening a ride more.
        await take([tap(rider, ride, at(0, 20 * ride)) for ride in (1, 2)], at(0, 600))
    await close(0)
    # One ride came in late, between the two of the change.
    for rider in riders:
        await take([tap(rider, 4, at(1, 5)), tap(rider, 3, at(0, 30))], at(1, 60))
    await close(1)
    report = await run_audit(pool, book)
    assert report.is_passed, "\n".join(report.lines())
    await lane.close()
    await pool.close()


if __name__ == "__main__":
    asyncio.run(play(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
