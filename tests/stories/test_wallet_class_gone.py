"""A class that wallets have leaves wallets.yaml: no gateway starts, until they have another."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from _stores import HARBOUR, REGISTRY, PostgresStore
from msgspec import structs

from fare_rules import TariffBook, load_book
from gateway.core.wallet_classes import WalletClasses
from gateway.core.wallet_wishes import OpenWallet, TopUp, Wish
from gateway.core.wallets import WalletStatus
from gateway.serving import CannotRun, gateway
from gateway.shell.class_store import ClassGone, prepare_wallet_classes
from gateway.shell.settings import Settings
from gateway.wallet_path import run_wallet_wishes

BOOK = load_book(HARBOUR)
NOW = datetime(2026, 1, 5, 8, tzinfo=UTC)
ANN, BOB = UUID(int=1), UUID(int=2)


def without(*class_ids: str) -> TariffBook:
    others = tuple(one for one in BOOK.wallet_classes if one.id not in class_ids)
    return structs.replace(BOOK, wallet_classes=others)


@pytest.fixture
def store(database: str) -> Iterator[PostgresStore]:
    """Ann and Bob have small wallets."""
    store = PostgresStore(BOOK, database)
    store.run(prepare_wallet_classes(store.pool, BOOK, NOW))
    for wallet_id in (ANN, BOB):
        desk(store, Wish(wallet_id, opens=OpenWallet(wallet_id, class_id="small")))
    yield store
    store.close()


def desk(store: PostgresStore, wish: Wish, book: TariffBook = BOOK) -> object:
    return store.run(
        run_wallet_wishes(
            store.pool,
            [wish],
            registry=REGISTRY,
            book=book,
            now=NOW,
            floor_fen=0,
            classes=WalletClasses.of(book.wallet_classes),
        )
    )


def start(store: PostgresStore, *gone: str) -> None:
    store.run(prepare_wallet_classes(store.pool, without(*gone), NOW))


def test_it_is_named_with_how_many_have_it_and_what_to_do(store: PostgresStore) -> None:
    with pytest.raises(ClassGone, match=rf"the class small, but wallets do \(2, .* {ANN}\)"):
        start(store, "small")
    with pytest.raises(ClassGone, match=r"Put it back; .* \(PUT /v1/wallets/ID/class\)"):
        start(store, "small", "large")


def test_it_may_go_when_nobody_has_it_any_more(store: PostgresStore) -> None:
    start(store, "large")
    start(store)
    desk(store, Wish(ANN, sets_class="large"))
    desk(store, Wish(BOB, status=WalletStatus.CLOSED))
    start(store, "small")
    with pytest.raises(ClassGone, match=r"the class large, but wallets do \(1,"):
        start(store, "small", "large")


def test_meanwhile_the_desk_of_a_gateway_that_runs_takes_nothing_for_it(
    store: PostgresStore,
) -> None:
    wish = Wish(ANN, top_up=TopUp(UUID(int=3), 1))
    assert desk(store, wish, without("small")) == "balance_limit"
    assert desk(store, wish) != "balance_limit"


def test_the_gateway_does_not_start(store: PostgresStore, database: str, tmp_path) -> None:
    folder = tmp_path / "tariffs"
    folder.mkdir()
    for path in HARBOUR.iterdir():
        text = path.read_text("utf-8").replace("id: small", "id: little")
        (folder / path.name).write_text(text, "utf-8")
    settings = Settings(data_dir=tmp_path, tariffs_dir=folder, tap_age_days_max=7)

    async def begin() -> None:
        async with gateway(settings, database, bytes(32)):
            raise AssertionError("it started")

    with pytest.raises(CannotRun, match=r"wallets\.yaml no longer has the class small"):
        store.run(begin())
