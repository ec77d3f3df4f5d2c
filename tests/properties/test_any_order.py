"""The order in which taps arrive, how often, and in what company changes nothing of the money."""

from __future__ import annotations

from _arrivals import BOOKS, LATER, OPENING, WALLETS, account_sums, charges, days, split, top_ups
from _stores import FakeStore
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.audit import audit_wallet
from gateway.core.audit_books import WalletBooks


def told(book, *steps) -> FakeStore:
    """A store that has taken tap batches (lists) and wishes, in order."""
    store = FakeStore(book)
    store.take_wishes(OPENING, LATER)
    for step in steps:
        if isinstance(step, list):
            store.take_taps(step, LATER)
        else:
            store.take_wishes([step], LATER)
    return store


def books(store: FakeStore):
    return [
        WalletBooks(
            store.wallet(wallet_id),
            tuple(one for one in store.held.kept.values() if one.wallet_id == wallet_id),
            tuple(entry for entry in store.posted if entry.wallet_id == wallet_id),
        )
        for wallet_id in WALLETS
    ]


def figures(store: FakeStore):
    wallets = [store.wallet(wallet_id) for wallet_id in WALLETS]
    return (
        charges(store.posted),
        account_sums(store.posted),
        [(wallet.balance_fen, wallet.owed_fen, wallet.day) for wallet in wallets],
        [wallet.open_until for wallet in wallets],
    )


@given(data=st.data(), book=BOOKS, taps=days(), wishes=top_ups)
def test_any_order_any_repetition_and_any_batches_come_to_the_same_money(data, book, taps, wishes):
    in_order = told(book, *wishes, *([tap] for tap in sorted(taps, key=lambda tap: tap.tapped_at)))
    repeated = data.draw(st.lists(st.sampled_from(taps), max_size=6), label="repeated")
    arriving = data.draw(st.permutations(taps + repeated), label="arriving")
    steps = data.draw(st.permutations([*split(data.draw, arriving), *wishes]), label="steps")
    store = told(book, *steps)
    assert all(one.result.outcome.is_let_through for one in store.held.kept.values())
    assert figures(store) == figures(in_order)


@given(data=st.data(), book=BOOKS, taps=days(offline=st.booleans()), wishes=top_ups)
def test_a_batch_decides_what_its_taps_would_decide_one_by_one(data, book, taps, wishes):
    repeated = data.draw(st.lists(st.sampled_from(taps), max_size=4), label="repeated")
    arriving = data.draw(st.permutations(taps + repeated), label="arriving")
    singles = told(book, *wishes, *([tap] for tap in arriving))
    batches = told(book, *wishes, *split(data.draw, arriving))
    assert batches.held == singles.held
    assert books(batches) == books(singles)


@given(data=st.data(), book=BOOKS, taps=days(offline=st.booleans()), wishes=top_ups)
def test_no_money_is_made_or_lost(data, book, taps, wishes):
    store = told(book, *data.draw(st.permutations([*([tap] for tap in taps), *wishes])))
    sums = account_sums(store.posted)
    assert sum(sums.values()) == 0
    assert all(sum(side.amount_fen for side in entry.postings) == 0 for entry in store.posted)
    for wallet_id in WALLETS:
        wallet = store.wallet(wallet_id)
        paid_in_fen = sum(wish.top_up.amount_fen for wish in wishes if wish.wallet_id == wallet_id)
        own = [entry for entry in store.posted if entry.wallet_id == wallet_id]
        charged_fen = -sum(entry.rider_fen for entry in own if entry.tap_id)
        assert wallet.net_fen == paid_in_fen - charged_fen
        assert wallet.balance_fen == sums.get((wallet_id, "purse"), 0) >= wallet.floor_fen
        assert wallet.owed_fen == -sums.get((wallet_id, "debt"), 0) >= 0


@given(data=st.data(), book=BOOKS, taps=days(offline=st.booleans()), wishes=top_ups)
def test_whatever_arrives_the_auditor_comes_to_the_same_answers(data, book, taps, wishes):
    store = told(book, *data.draw(st.permutations([*([tap] for tap in taps), *wishes])))
    for one in books(store):
        assert audit_wallet(one, book) == []


@given(data=st.data(), book=BOOKS, taps=days(offline=st.booleans()))
def test_what_is_sent_again_hears_the_same_and_changes_nothing(data, book, taps):
    store = told(book, taps)
    held, posted = store.held, list(store.posted)
    again = data.draw(st.permutations(taps), label="again")
    plan = store.take_taps(again, LATER)
    assert (store.held, store.posted) == (held, posted)
    assert list(plan.results) == [held.kept[tap.tap_id].result for tap in again]
    assert plan.repeats == tuple(range(len(again)))
    assert (plan.kept, plan.entries, plan.wallets) == ((), (), ())
