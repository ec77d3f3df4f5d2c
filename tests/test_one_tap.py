"""One tap, from a gate to the ledger: read this after `gateway/tap_path.py`.

A rider with 50.00 on her card boards a bus in Shenzhen. The gate names the fare, 2.00; a card pays
80 % of it. Everything is real but the gate: the path, the database, the tariff.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import fare_rules
from fare_rules import load_book
from gateway.core.decide import Limits
from gateway.core.registry import Gate, Operator, Registry, Route
from gateway.core.taps import Action, Payer, Tap, TapOutcome
from gateway.core.wallet_wishes import BindMedia, OpenWallet, TopUp, Wish
from gateway.shell.database import connect, open_pool
from gateway.shell.kept_store import load_kept
from gateway.shell.wallet_store import load_wallet
from gateway.tap_path import run_tap_batch
from gateway.wallet_path import run_wallet_wishes

TARIFFS = Path(fare_rules.__file__).parent / "tariffs" / "shenzhen"
EIGHT = datetime(2018, 9, 1, 8, tzinfo=ZoneInfo("Asia/Shanghai"))
ALICE = UUID(int=1)


async def test_one_tap_becomes_an_answer_a_debit_and_an_entry(database: str):
    # The city: one operator, one route, one gate. And what its rides cost.
    registry = Registry(
        operators={"bus_group": Operator("bus_group", "Shenzhen Bus Group")},
        routes={"M390": Route("M390", "bus")},
        gates={"bus-7": Gate("bus-7", operator_id="bus_group", network="bus")},
    )
    book = load_book(TARIFFS)
    pool, connection = await open_pool(database), await connect(database)

    # A rider: a wallet, a card that pays from it, and 50.00 paid in.
    opens = OpenWallet(ALICE, media=(BindMedia("alice's card"),), top_up=TopUp(UUID(int=2), 5_000))
    await run_wallet_wishes(
        pool, [Wish(ALICE, opens=opens)], registry=registry, book=book, now=EIGHT, floor_fen=0
    )

    # The tap, as the gate made and stored it before sending.
    tap = Tap(
        tap_id=UUID(int=3),
        gate_id="bus-7",
        sequence=1,
        tapped_at=EIGHT,
        media_token="alice's card",
        action=Action.BOARD,
        route_id="M390",
        full_fare=200,
    )

    async def send() -> list:
        plan = await run_tap_batch(
            connection,
            [tap],
            registry=registry,
            book=book,
            limits=Limits(tap_ahead_max=timedelta(minutes=5), tap_age_max=timedelta(days=30)),
            received_at=EIGHT + timedelta(seconds=1),
        )
        return list(plan.results)

    (answer,) = await send()

    # What the gate is told.
    assert answer.outcome is TapOutcome.RIDE_CHARGED
    assert answer.open
    assert answer.display_text == "Fare 1.60 Left 48.40"
    assert (answer.fare_fen, answer.balance_fen) == (160, 4_840)
    assert answer.payers == (Payer("purse", 160),)

    # What is durable: the answer, the purse, and a journal entry that sums to zero.
    kept = await load_kept(pool, tap.tap_id)
    wallet = await load_wallet(pool, ALICE)
    postings = await pool.fetch("SELECT account, amount_fen FROM posting WHERE kind = 'fare'")
    assert kept is not None
    assert kept.result == answer
    assert wallet is not None
    assert wallet.balance_fen == 4_840
    assert [tuple(row) for row in postings] == [
        (f"purse:{ALICE}", -160),
        ("operator:bus_group", 160),
    ]

    # The gate lost the answer and sends the tap again: it is told the same, and nothing moves.
    assert await send() == [answer]
    assert await load_wallet(pool, ALICE) == wallet

    await connection.close()
    await pool.close()
