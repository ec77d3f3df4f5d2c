"""A campaign's budget over several lanes: exact to the fen, whatever the order and the batches."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo

import pytest
from _stores import LIMITS, REGISTRY, PostgresStore
from msgspec import structs

from fare_rules import load_book
from gateway.audit_path import run_audit
from gateway.core.campaigns import Usage
from gateway.core.taps import Action, Tap, TapResult
from gateway.core.wallet_wishes import BindMedia, OpenWallet, TopUp, Wish
from gateway.shell.campaign_store import (
    Budgets,
    CampaignLowered,
    draw,
    list_campaigns,
    prepare_campaigns,
    spend,
)
from gateway.shell.database import connect
from gateway.shell.transactions import RACES
from gateway.tap_path import run_tap_batch

FOLDER = Path(__file__).parents[1] / "stories" / "midnight_campaign"
BOOK = load_book(FOLDER)
MORNING = datetime(2018, 9, 3, 8, tzinfo=ZoneInfo("Asia/Shanghai"))
NOW = MORNING + timedelta(hours=6)
RIDERS = [f"rider {number}" for number in range(24)]
# The metro is 3.00 of which the bank pays 2.99; its budget is 50.00, for fifteen rides.
BANK_PAYS_FEN, USES, BUDGET_FEN = 299, 15, 5_000
# A sixteenth of what is in the pool, each time.
DRAWN_FEN = (BUDGET_FEN // 16, (BUDGET_FEN - BUDGET_FEN // 16) // 16)


@pytest.fixture
def store(database: str) -> Iterator[PostgresStore]:
    found = PostgresStore(BOOK, database)
    found.run(prepare_campaigns(found.pool, BOOK, NOW))
    for name in RIDERS:
        wallet_id = uuid5(NAMESPACE_URL, name)
        media, top_up = (BindMedia(name),), TopUp(uuid5(wallet_id, "first"), 10_000)
        wish = Wish(wallet_id, opens=OpenWallet(wallet_id, "icbc", media=media, top_up=top_up))
        found.take_wishes([wish], MORNING - timedelta(days=1))
    yield found
    found.close()


def ride(name: str, number: int, minute: int) -> list[Tap]:
    """In at Luohu and out at Laojie."""
    return [
        Tap(
            tap_id=uuid5(NAMESPACE_URL, f"{name} {number} {action}"),
            gate_id=f"{stop} {action}",
            sequence=RIDERS.index(name) * 1_000 + number,
            tapped_at=MORNING + timedelta(minutes=minute + later),
            media_token=name,
            action=action,
            stop_id=stop,
            offline=True,
        )
        for action, stop, later in ((Action.ENTER, "luohu", 0), (Action.EXIT, "laojie", 20))
    ]


async def take_over_lanes(
    store: PostgresStore, dsn: str, work: list[list[Tap]], lanes_count: int
) -> list[TapResult]:
    """Each lane decides its batches, all lanes at once."""
    budgets, results = Budgets(), []

    async def lane(batches: list[list[Tap]]) -> None:
        connection = await connect(dsn)
        for batch in batches:
            for attempt in range(20):
                try:
                    plan = await run_tap_batch(
                        connection,
                        batch,
                        registry=REGISTRY,
                        book=BOOK,
                        limits=LIMITS,
                        received_at=NOW,
                        budgets=budgets,
                        is_locking=attempt > 0,
                    )
                    results.extend(plan.results)
                    break
                except RACES:
                    continue
            else:
                raise AssertionError("never saved")
        await connection.close()

    await asyncio.gather(*(lane(work[n::lanes_count]) for n in range(lanes_count)))
    return results


def paid_by_bank(results: list[TapResult]) -> int:
    return sum(
        any(payer.account == "sponsor:icbc/october" for payer in result.payers)
        for result in results
    )


@pytest.mark.parametrize("seed", range(6))
def test_exactly_so_many_rides_are_paid_for_over_any_lanes_and_batches(
    store: PostgresStore, database: str, seed: int
):
    rng = random.Random(seed)
    rides = [ride(name, 1, rng.randrange(60)) for name in RIDERS]
    rng.shuffle(rides)
    batches: list[list[Tap]] = []
    while rides:
        size = rng.randint(1, 5)
        batches.append([tap for one in rides[:size] for tap in one])
        rides = rides[size:]
    results = store.run(take_over_lanes(store, database, batches, rng.randint(1, 4)))
    (campaign,) = [c for c in store.run(list_campaigns(store.pool)) if c.campaign_id == "october"]
    assert paid_by_bank(results) == USES
    assert campaign.spent_fen == USES * BANK_PAYS_FEN
    assert campaign.left_uses == 0
    assert campaign.is_exact
    # Whoever came too late paid the whole fare, and the auditor sees why.
    assert sum(result.fare_fen or 0 for result in results) == 300 * len(RIDERS)
    report = store.run(run_audit(store.pool, BOOK))
    assert report.is_passed, report.lines()


def test_running_out_within_one_batch_follows_the_order_of_the_taps(
    store: PostgresStore, database: str
):
    taps = [tap for name in RIDERS for tap in ride(name, 1, 0)]
    results = store.run(take_over_lanes(store, database, [taps], 1))
    exits = [result for result in results if result.outcome == "ride_charged"]
    paid = [paid_by_bank([result]) for result in exits]
    assert paid == [1] * USES + [0] * (len(RIDERS) - USES)


def test_what_a_cheaper_ride_gives_back_is_there_for_the_next_rider(
    store: PostgresStore, database: str
):
    """The bank pays two rides of a rider. An earlier third comes in late and takes one's place."""
    first, second, late = (ride(RIDERS[0], n, minute) for n, minute in ((1, 60), (2, 120), (3, 0)))
    store.run(take_over_lanes(store, database, [first, second], 1))
    before = store.run(list_campaigns(store.pool))[1]
    assert (before.spent_fen, before.left_uses) == (2 * BANK_PAYS_FEN, USES - 2)
    # What the lane drew beforehand nobody else has promised: it is reserved, and not spent.
    assert before.reserved_fen == sum(DRAWN_FEN) - before.spent_fen
    store.run(take_over_lanes(store, database, [late], 1))
    after = store.run(list_campaigns(store.pool))[1]
    assert after.spent_fen - after.reversed_fen == 2 * BANK_PAYS_FEN
    assert (after.reversed_fen, after.left_uses) == (BANK_PAYS_FEN, USES - 2)
    assert after.is_exact


def test_a_lane_that_never_drew_anything_can_give_back(store: PostgresStore):
    """The process whose lane paid for the ride has died; another learns that it cost less."""
    account, ride_fen, back_fen = "icbc/october", Usage(899, 1), Usage(-600, 0)
    store.run(draw(store.connection, {account: ride_fen}, 7))
    store.run(spend(store.connection, {account: ride_fen}, 7))
    store.run(spend(store.connection, {account: back_fen}, 8))
    left = store.run(list_campaigns(store.pool))[1]
    assert (left.left_fen, left.left_uses) == (BUDGET_FEN - 299, USES - 1)


def test_a_budget_that_is_raised_pays_on_and_one_that_is_lowered_is_refused(
    store: PostgresStore, tmp_path: Path
):
    for path in FOLDER.iterdir():
        text = path.read_text("utf-8").replace("budget: 50.00, uses: 15", "budget: 80.00, uses: 20")
        (tmp_path / path.name).write_text(text.replace("count: 20", "count: 30"), "utf-8")
    raised = load_book(tmp_path)
    store.run(prepare_campaigns(store.pool, raised, NOW + timedelta(hours=1)))
    ferries, found = store.run(list_campaigns(store.pool))
    assert (found.budget_fen, found.left_fen, found.left_uses) == (8_000, 8_000, 20)
    assert ferries.claims_max == 30
    for lowered, was in (("october", "budget 80.00, uses 20"), ("ferries", "claims 30")):
        less = [one for one in BOOK.campaigns if one.id == lowered]
        with pytest.raises(CampaignLowered, match=rf"/{lowered} gives; it was {was}\. Let"):
            store.run(prepare_campaigns(store.pool, structs.replace(BOOK, campaigns=less), NOW))


def test_a_campaign_that_has_given_something_stays_in_its_file(store: PostgresStore):
    """Without it its promotion would be paid for without limit, and its rides priced otherwise."""
    others = tuple(one for one in BOOK.campaigns if one.id != "october")
    without = structs.replace(BOOK, campaigns=others)
    store.run(prepare_campaigns(store.pool, without, NOW))
    account, one_ride = "icbc/october", Usage(299, 1)
    store.run(draw(store.connection, {account: one_ride}, 7))
    store.run(spend(store.connection, {account: one_ride}, 7))
    with pytest.raises(CampaignLowered, match="no longer has icbc/october"):
        store.run(prepare_campaigns(store.pool, without, NOW))
