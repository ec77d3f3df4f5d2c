"""What is done at the wallet desk: open, bind, top up, block, close."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from fare_rules import TariffBook
from gateway.core.registry import Registry
from gateway.core.wallet_classes import NO_CLASSES, WalletClasses
from gateway.core.wallet_desk import WalletPlan, grant
from gateway.core.wallet_wishes import WalletRefusal, Wish
from gateway.shell.campaign_store import ClaimRefused
from gateway.shell.transactions import until_first
from gateway.shell.wallet_store import wallet_work


async def run_wallet_wishes(
    pool: asyncpg.Pool,
    wishes: Sequence[Wish],
    *,
    registry: Registry,
    book: TariffBook,
    now: datetime,
    floor_fen: int,
    classes: WalletClasses = NO_CLASSES,
) -> WalletPlan | WalletRefusal:
    """Grant all wishes or none; when this returns a plan, it is durable."""
    tariff = book.tariff_at(now) or book.tariffs[-1]

    async def transact() -> WalletPlan | WalletRefusal:
        async with wallet_work(pool) as work:
            snapshot = await work.load_snapshot(
                wishes, now=now, today=book.service_day_of(now), issuers=registry.operators
            )
            plan = grant(wishes, snapshot, tariff, floor_fen=floor_fen, classes=classes)
            if isinstance(plan, WalletPlan):
                await work.save_plan(plan, snapshot, book)
        return plan

    try:
        return await until_first(transact)
    except ClaimRefused:
        return WalletRefusal.NO_COUPON_LEFT
