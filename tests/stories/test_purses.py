"""Money for a purpose: which purse pays a ride, and which gets it back."""

from __future__ import annotations

from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from _town import Town, moment

from fare_rules import TariffBook
from gateway.core.purse_desk import GrantMoney
from gateway.core.wallet_wishes import Wish
from gateway.purse_path import run_expiry


def test_an_envelope_pays_before_the_main_purse_and_in_part(harbour_story):
    story = harbour_story.rider("alice", purse_fen=1_000).grant("alice", "gift", 500)
    story.tap("alice", "board", "bus M390", "08:00").tap("alice", "board", "bus M390", "09:00")
    story.tap("alice", "board", "bus M390", "10:00")
    assert story.holds("alice") == {"gift": 0}
    assert story.balance("alice") == 900
    assert story.ledger().splitlines() == [
        "desk grant  purse:alice +0  grant:alice's gift +500  sponsor:icbc -500",
        "08:00 fare  purse:alice +0  grant:alice's gift -200  operator:bus +200",
        "09:00 fare  purse:alice +0  grant:alice's gift -200  operator:bus +200",
        "10:00 fare  purse:alice -100  grant:alice's gift -100  operator:bus +200",
    ]


def test_the_gate_is_told_who_pays(harbour_story):
    story = harbour_story.rider("alice", purse_fen=1_000).grant("alice", "bus_money", 500)
    story.tap("alice", "board", "bus M390", "08:00")
    assert [(payer.account.split(":")[0], payer.amount_fen) for payer in story.said.payers] == [
        ("purse", 100),
        ("grant", 100),
    ]


def test_money_for_buses_pays_no_metro_and_so_much_and_so_often_only(harbour_story):
    story = harbour_story.rider("alice", purse_fen=2_000).grant("alice", "bus_money", 900)
    for clock in ("08:00", "09:00", "10:00"):
        story.tap("alice", "board", "bus M390", clock)
    assert story.holds("alice") == {"bus_money": 700}
    story.tap("alice", "enter", "metro luohu", "11:00")
    story.tap("alice", "exit", "metro laojie", "11:20")
    assert story.holds("alice") == {"bus_money": 700}
    assert story.balance("alice") == 2_000 - 100 - 100 - 200 - 300
    story.tap("alice", "board", "bus M390", "Sun 08:00")
    assert story.holds("alice") == {"bus_money": 600}


def test_what_expires_first_pays_first_then_what_is_bound_most(harbour_story):
    story = harbour_story.rider("alice", purse_fen=1_000)
    story.grant("alice", "gift", 150, until="Mon").grant("alice", "bus_money", 500, until="Mon")
    story.tap("alice", "board", "bus M390", "08:00")
    assert story.holds("alice") == {"gift": 50, "bus_money": 400}
    story.rider("bob", purse_fen=1_000)
    story.grant("bob", "gift", 150, until="Sun").grant("bob", "bus_money", 500, until="Mon")
    story.tap("bob", "board", "bus M390", "09:00")
    assert story.holds("bob") == {"gift": 0, "bus_money": 450}


def test_an_envelope_pays_until_the_moment_at_which_it_ends(harbour_story):
    story = harbour_story.rider("alice", purse_fen=1_000)
    story.grant("alice", "gift", 500, until="Sat 08:30")
    story.tap("alice", "board", "bus M390", "08:29").tap("alice", "board", "bus M390", "08:30")
    assert (story.holds("alice"), story.balance("alice")) == ({"gift": 300}, 800)


def test_a_rider_with_an_envelope_and_nothing_else_is_let_in(harbour_story):
    story = harbour_story.rider("alice", purse_fen=0).grant("alice", "gift", 300)
    story.tap("alice", "enter", "metro luohu", "08:00")
    assert story.said.outcome == "leg_opened"
    story.rider("bob", purse_fen=0).grant("bob", "bus_money", 300)
    story.tap("bob", "enter", "metro luohu", "08:00")
    assert story.said.outcome == "balance_too_low"


def test_a_late_exit_gives_an_envelope_back_what_it_paid_too_much(harbour_story):
    """The leg was given up at 9.00; its exit comes in late, and the ride costs 3.00."""
    story = harbour_story.rider("alice", purse_fen=1_000).grant("alice", "gift", 700)
    story.tap("alice", "enter", "metro luohu", "08:00")
    story.tap("alice", "enter", "metro laojie", "14:00")
    assert (story.holds("alice"), story.balance("alice")) == ({"gift": 0}, 800)
    story.tap("alice", "exit", "metro laojie", "08:20", arrives="14:05")
    assert story.holds("alice") == {"gift": 400}
    assert story.balance("alice") == 1_000


def test_own_money_set_aside_goes_back_to_the_main_purse(harbour_story):
    story = harbour_story.rider("alice", purse_fen=1_000)
    story.grant("alice", "bus_money", 400, funder=None)
    assert story.balance("alice") == 600
    story.tap("alice", "board", "bus M390", "08:00").close("alice")
    assert story.ledger().splitlines() == [
        "desk grant  purse:alice -400  grant:alice's bus_money +400",
        "08:00 fare  purse:alice -100  grant:alice's bus_money -100  operator:bus +200",
        "desk grant_return  purse:alice +300  grant:alice's bus_money -300",
        "desk payout  purse:alice -800  bank +800",
    ]


def test_what_a_late_exit_gives_back_to_a_closed_wallet_leaves_when_it_is_closed_again(
    harbour_story,
):
    """The leg was given up at 9.00, and the ride costs 3.00."""
    story = harbour_story.rider("alice", purse_fen=1_000).grant("alice", "gift", 700)
    story.tap("alice", "enter", "metro luohu", "08:00")
    story.tap("alice", "enter", "tram park", "14:00").close("alice")
    story.tap("alice", "exit", "metro laojie", "08:20", arrives="14:05")
    assert (story.holds("alice"), story.balance("alice")) == ({"gift": 400}, 200)
    for _ in range(2):
        story.close("alice")
        assert (story.holds("alice"), story.balance("alice")) == ({}, 0)
    assert story.ledger().splitlines()[-2:] == [
        "desk grant_return  purse:alice +0  grant:alice's gift -400  sponsor:icbc +400",
        "desk payout  purse:alice -200  bank +200",
    ]


def test_a_ride_is_paid_by_no_more_purses_than_an_entry_has_room_for(harbour_story):
    """Three grants that were used up are opened again when late rides make theirs a change."""
    story, hours = harbour_story.rider("alice", purse_fen=5_000), ("08", "10", "12")
    for hour in hours:
        story.grant("alice", "gift", 200).tap("alice", "board", "bus M390", f"{hour}:30")
    for _ in range(12):
        story.grant("alice", "gift", 1)
    for hour in reversed(hours):
        story.tap("alice", "board", "bus M506", f"{hour}:10", arrives="16:00")
    assert story.balance("alice") == 5_000 - 3 * 200
    story.tap("alice", "board", "bus M390", "17:00")
    assert story.said.outcome == "ride_charged"
    assert story.balance("alice") == 5_000 - 3 * 200 - (200 - 3 * 50 - 9)
    story.tap("alice", "board", "bus M390", "18:30")
    assert story.balance("alice") == 5_000 - 3 * 200 - (200 - 3 * 50 - 9) - (200 - 3)


def test_what_comes_back_to_a_gift_that_was_used_up_when_it_ended_is_its_funders(
    harbour_book: TariffBook, database: str, tmp_path: Path
) -> None:
    """The leg was given up at 9.00, which the gift paid; the ride costs 3.00."""
    town = Town(harbour_book, database, tmp_path)
    town.rider("ann")
    wallet_id, ends = uuid5(NAMESPACE_URL, "ann"), moment(1, "06:00")
    gift = GrantMoney(uuid5(wallet_id, "gift"), "gift", 900, "icbc", None, ends)
    town.store.take_wishes([Wish(wallet_id, grants=gift)], moment(0, "06:00"))
    town.tap("ann", "enter", "metro luohu", 0, "08:00")
    town.tap("ann", "enter", "tram park", 0, "14:00")
    town.store.run(run_expiry(town.store.pool, town.book, ends))
    town.tap("ann", "exit", "metro laojie", 0, "08:20", arrives=2)
    returned = town.store.run(run_expiry(town.store.pool, town.book, moment(2, "12:01")))
    assert (returned.grants_count, returned.amount_fen) == (1, 600)
    assert town.store.wallet(wallet_id).held_fen == town.store.wallet(wallet_id).balance_fen
    town.check_audit()
    town.store.close()


def test_what_a_grant_paid_is_known_after_a_close_has_charged_a_leg(
    database: str, tmp_path: Path, harbour_book: TariffBook
):
    """The bus turns out to be a change when the metro's taps come in, two days later."""
    town = Town(harbour_book, database, tmp_path)
    town.rider("ann")
    wallet_id = uuid5(NAMESPACE_URL, "ann")
    gift = GrantMoney(uuid5(wallet_id, "gift"), "gift", 300, "icbc", moment(0, "06:00"))
    town.store.take_wishes([Wish(wallet_id, grants=gift)], moment(0, "06:00"))
    town.tap("ann", "board", "bus M390", 0, "08:30")
    town.tap("ann", "enter", "metro luohu", 0, "18:00")
    town.close(0)
    assert town.store.wallet(wallet_id).purses[0].held_fen == 0
    town.tap("ann", "enter", "metro luohu", 0, "07:40", arrives=2)
    town.tap("ann", "exit", "metro laojie", 0, "08:10", arrives=2)
    assert town.store.wallet(wallet_id).purses[0].held_fen == 50
    town.check_audit()
    town.store.close()
