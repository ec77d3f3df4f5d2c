"""The red envelope of Luohu, October 2020, on the real paths: ECN-08, ECN-09 and ECN-10."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5
from zoneinfo import ZoneInfo

import pytest
from _stores import REGISTRY, PostgresStore

from fare_rules import load_book
from gateway.audit_path import run_audit
from gateway.core.purse_desk import GrantMoney
from gateway.core.taps import Action, Tap, TapResult
from gateway.core.wallet_classes import WalletClasses
from gateway.core.wallet_wishes import BindMedia, OpenWallet, TopUp, WalletRefusal, Wish
from gateway.purse_path import run_expiry
from gateway.wallet_path import run_wallet_wishes

BOOK = load_book(Path(__file__).parents[2] / "fare_rules" / "tariffs" / "luohu")
ALICE = uuid5(NAMESPACE_URL, "alice")


def at(clock: str) -> datetime:
    """A clock of October 2020: "18 23:59"."""
    return datetime.fromisoformat(f"2020-10-{clock}").replace(tzinfo=ZoneInfo("Asia/Shanghai"))


@pytest.fixture
def store(database: str) -> Iterator[PostgresStore]:
    found = PostgresStore(BOOK, database)
    yield found
    report = found.run(run_audit(found.pool, BOOK))
    found.close()
    assert report.is_passed, report.lines()


def desk(store: PostgresStore, wish: Wish, clock: str) -> object:
    return store.run(
        run_wallet_wishes(
            store.pool,
            [wish],
            registry=REGISTRY,
            book=BOOK,
            now=at(clock),
            floor_fen=0,
            classes=WalletClasses.of(BOOK.wallet_classes),
        )
    )


def opened(store: PostgresStore, fen: int, class_id: str | None = None) -> None:
    media = (BindMedia("alice", None, "ecny"),)
    top_up = TopUp(uuid5(ALICE, "first"), fen)
    wish = OpenWallet(ALICE, class_id=class_id, media=media, top_up=top_up)
    desk(store, Wish(ALICE, opens=wish), "12 17:00")


def envelope(fen: int) -> Wish:
    """Of Luohu district, valid from 12 October 18:00 to 18 October 24:00."""
    granted = GrantMoney(
        uuid5(ALICE, "envelope"), "envelope", fen, "luohu_district", at("12 18:00"), at("19 00:00")
    )
    return Wish(ALICE, grants=granted)


def ride(store: PostgresStore, entry: str, exit_: str) -> TapResult:
    """Into the metro, and out at Laojie for 4.75."""
    for sequence, (action, clock) in enumerate(
        ((Action.ENTER, entry), (Action.EXIT, exit_)), start=int(at(entry).timestamp())
    ):
        tap = Tap(
            tap_id=uuid5(NAMESPACE_URL, f"{action} {clock}"),
            gate_id=f"laojie {action}",
            sequence=sequence,
            tapped_at=at(clock),
            media_token="alice",
            action=action,
            stop_id="laojie" if action is Action.EXIT else "luohu",
            full_fare=475 if action is Action.EXIT else None,
        )
        (result,) = store.take_taps([tap], at(clock)).results
    return result


def holds(store: PostgresStore) -> tuple[int, list[int]]:
    wallet = store.wallet(ALICE)
    return wallet.balance_fen, [purse.held_fen for purse in wallet.purses]


def test_a_minute_before_its_end_the_envelope_pays_in_part(store: PostgresStore):
    opened(store, 1_000)
    desk(store, envelope(20_000), "12 18:00")
    result = ride(store, "18 23:30", "18 23:59")
    assert [(UUID(p.account[6:]), p.amount_fen) for p in result.payers] == [
        (uuid5(ALICE, "envelope"), 475)
    ]
    assert holds(store) == (1_000, [19_525])


def test_a_minute_after_its_end_the_main_purse_pays_and_the_rest_is_taken_back(
    store: PostgresStore,
):
    opened(store, 1_000)
    desk(store, envelope(20_000), "12 18:00")
    ride(store, "18 23:30", "18 23:59")
    ride(store, "19 00:00", "19 00:01")
    assert holds(store) == (525, [19_525])
    returned = store.run(run_expiry(store.pool, BOOK, at("19 00:01")))
    assert returned.amount_fen == 19_525
    assert holds(store) == (525, [])
    invoiced = store.run(
        store.pool.fetchval(
            "SELECT sum(amount_fen)::bigint FROM posting WHERE account = 'sponsor:luohu_district'"
        )
    )
    assert invoiced == -475


def test_an_envelope_does_not_lift_a_wallet_above_its_class(store: PostgresStore):
    """ECN-10 with the limits of 2020: class 4 held 1,000 yuan."""
    opened(store, 90_000, "class_4")
    assert desk(store, envelope(15_000), "12 18:00") is WalletRefusal.BALANCE_LIMIT
    assert holds(store) == (90_000, [])
