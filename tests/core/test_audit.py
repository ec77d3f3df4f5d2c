"""The auditor passes honest books, and finds each kind of tampering by name."""

from __future__ import annotations

from uuid import uuid5

import pytest
from msgspec import structs

from gateway.core.amendments import Amendment, AmendmentKind
from gateway.core.answers import ride_result
from gateway.core.audit import audit_wallet
from gateway.core.audit_books import WalletBooks
from gateway.core.days import LoadedDays, WalletDay, take_one
from gateway.core.decide import KeptTap
from gateway.core.ledger import JournalEntry, Posting
from gateway.core.rides import sweep, take_ride
from gateway.core.taps import TapOutcome
from gateway.core.wallets import Wallet


@pytest.fixture
def honest(desk) -> WalletBooks:
    """A late entry, a change of bus, and a purse of 5,000 that was paid in."""
    wallet = desk.wallets[desk.id("alice")]
    opening = JournalEntry(
        kind="top_up",
        cause_id=desk.id("top-up"),
        wallet_id=wallet.wallet_id,
        wallet_version=1,
        effective_at=desk.at("07:00"),
        service_day=desk.at("07:00").date(),
        settlement_day=desk.at("07:00").date(),
        postings=(Posting("purse", 5_000), Posting("bank", -5_000)),
    )
    day = desk.at("07:00").date()
    plan = desk.decide(
        desk.tap("exit", "laojie", "08:20"),
        desk.tap("enter", "luohu", "08:00"),
        desk.tap("board", "M390", "09:00"),
        desk.tap("board", "M506", "09:30"),
        wallets={wallet.wallet_id: structs.replace(wallet, version=1)},
        days={wallet.wallet_id: LoadedDays(day, (WalletDay(day),))},
    )
    return WalletBooks(plan.wallets[0], plan.kept, (opening, *plan.entries))


def kinds(books: WalletBooks, book) -> set[str]:
    return {one.kind for one in audit_wallet(books, book)}


def with_entry(books: WalletBooks, position: int, entry: JournalEntry) -> WalletBooks:
    entries = list(books.entries)
    entries[position] = entry
    return structs.replace(books, entries=tuple(entries))


def test_honest_books_pass(honest, harbour):
    assert audit_wallet(honest, harbour) == []


@pytest.mark.parametrize("change", [{"balance_fen": 4_999}, {"owed_fen": 1}])
def test_a_changed_balance_is_found(honest, harbour, change):
    books = structs.replace(honest, wallet=structs.replace(honest.wallet, **change))
    assert kinds(books, harbour) == {"balance_differs"}


def test_each_missing_entry_is_found(honest, harbour):
    for position, entry in enumerate(honest.entries):
        rest = honest.entries[:position] + honest.entries[position + 1 :]
        found = kinds(structs.replace(honest, entries=rest), harbour)
        assert "balance_differs" in found
        assert ("charge_differs" in found) is (entry.tap_id is not None)


def test_an_entry_posted_twice_is_found(honest, harbour):
    twice = structs.replace(honest, entries=(*honest.entries, honest.entries[-1]))
    assert kinds(twice, harbour) >= {"balance_differs", "charge_differs"}


def test_a_changed_amount_is_found_even_when_the_entry_still_balances(honest, harbour):
    last = honest.entries[-1]
    purse, operator = last.postings
    postings = (
        Posting("purse", purse.amount_fen - 1),
        Posting(operator.account, operator.amount_fen + 1),
    )
    books = with_entry(honest, -1, structs.replace(last, postings=postings))
    assert kinds(books, harbour) >= {"balance_differs", "charge_differs"}


@pytest.mark.parametrize("fare_fen", [300, 0])
def test_an_amount_or_a_ride_moved_to_another_operator_is_found(desk, harbour, fare_fen):
    wallet = desk.wallets[desk.id("alice")]
    day = desk.at("07:00").date()
    plan = desk.decide(
        structs.replace(desk.tap("board", "M390", "09:00"), full_fare=fare_fen),
        wallets={wallet.wallet_id: structs.replace(wallet, balance_fen=5_000)},
        days={wallet.wallet_id: LoadedDays(day, (WalletDay(day),))},
    )
    entry = plan.entries[0]
    postings = tuple(
        structs.replace(one, account="operator:tram") if one.account == "operator:bus" else one
        for one in entry.postings
    )
    books = WalletBooks(plan.wallets[0], plan.kept, plan.entries)
    assert "charge_differs" not in kinds(books, harbour)
    moved = with_entry(books, 0, structs.replace(entry, operator_id="tram", postings=postings))
    (found,) = [one for one in audit_wallet(moved, harbour) if one.kind == "charge_differs"]
    assert f"posted operator:tram {fare_fen}, due operator:bus {fare_fen}" in found.fault


@pytest.mark.parametrize(
    "change",
    [{"fare_fen": 1}, {"balance_fen": 1}, {"open": False}, {"payers": ()}, {"owed_fen": 9}],
)
def test_a_changed_answer_is_found_and_its_field_is_named(honest, harbour, change):
    *first, last = honest.taps
    changed = structs.replace(last, result=structs.replace(last.result, **change))
    (found,) = audit_wallet(structs.replace(honest, taps=(*first, changed)), harbour)
    assert (found.kind, found.subject) == ("answer_differs", f"tap {last.tap.tap_id}")
    assert found.fault.startswith(next(iter(change)))


def test_a_tap_taken_out_of_the_log_is_found(honest, harbour):
    found = kinds(structs.replace(honest, taps=honest.taps[:-1]), harbour)
    assert found >= {"charge_differs", "memory_differs"}


def test_a_tap_whose_facts_were_changed_is_found(honest, harbour):
    *first, last = honest.taps
    changed = structs.replace(last, facts=structs.replace(last.facts, rider_category="student"))
    books = structs.replace(honest, taps=(*first, changed))
    assert kinds(books, harbour) == {
        "charge_differs",
        "answer_differs",
        "entry_differs",
        "memory_differs",
    }


def test_a_wallet_that_remembers_what_no_tap_says_is_found(honest, harbour):
    forgetful = structs.replace(honest, wallet=structs.replace(honest.wallet, riders={}))
    assert kinds(forgetful, harbour) == {"memory_differs"}


def test_a_day_that_ended_without_a_charge_is_replayed_as_it_was(desk, harbour):
    """A free tram entry is left open and swept; then a metro entry, which costs, comes late."""
    tram = structs.replace(
        desk.facts("enter", "luohu", "08:00"), network="tram", operator_id="tram", stop_id="park"
    )
    metro = desk.tap("enter", "luohu", "09:00", offline=True)
    day = desk.at("08:00").date()
    wallet = Wallet(desk.id("alice"))
    first = take_ride(wallet, tram, None, book=harbour, day=day, closed_through=None)
    now = desk.at("23:00")
    swept, entries, _ = sweep(first.wallet, uuid5(wallet.wallet_id, "end"), now, harbour, None)
    assert entries == ()
    plan = desk.decide(metro, wallets={wallet.wallet_id: swept})
    tap_of_tram = desk.tap("enter", "luohu", "08:00", stop_id="park")
    kept = KeptTap(
        tap_of_tram,
        ride_result(tap_of_tram, TapOutcome.LEG_OPENED, first),
        desk.at("08:01"),
        day,
        wallet.wallet_id,
        first.wallet.version,
        tram,
    )
    books = WalletBooks(plan.wallets[0], (kept, *plan.kept), plan.entries)
    assert audit_wallet(books, harbour) == []


def test_a_further_tap_of_a_day_leaves_what_was_put_right(desk, harbour):
    """Replayed, the days would else be folded without it as soon as a late tap comes."""
    first, second = desk.facts("enter", "luohu", "08:00"), desk.facts("exit", "laojie", "08:20")
    day = desk.at("08:00").date()
    void = Amendment(
        correction_id=desk.id("void"),
        kind=AmendmentKind.VOID,
        media_token=first.media_token,
        since=first.tapped_at,
        until=first.tapped_at,
        tap_id=first.tap_id,
    )
    days = LoadedDays(day, (WalletDay(day, (first,)),), amendments=(void,))
    moved = take_one(None, {}, {}, second, day, harbour, swept_until=None)
    more = days.after(moved, second, {})
    assert (more.days[0].taps, more.amendments) == ((first, second), (void,))
