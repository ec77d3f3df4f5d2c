"""Riders without money: let out, but not in."""


def test_a_rider_who_cannot_pay_at_the_exit_gets_out_and_the_next_top_up_settles(story):
    story.rider("alice", purse_fen=250)
    story.tap("alice", "enter", "metro luohu", "08:00")
    story.tap("alice", "exit", "metro huaqiang_lu", "08:20")
    assert story.said.outcome == "ride_owed"
    assert story.said.open
    assert (story.balance("alice"), story.owed("alice")) == (0, 35)
    story.top_up("alice", 1_000)
    assert (story.balance("alice"), story.owed("alice")) == (965, 0)
    assert story.ledger() == (
        "08:20 fare  purse:alice -250  debt:alice -35  operator:metro +285\n"
        "desk top_up  purse:alice +965  debt:alice +35  bank -1000"
    )


def test_nobody_enters_below_the_minimum_balance_and_the_refusal_stays_what_it_was(story):
    story.rider("alice", purse_fen=199)
    story.tap("alice", "enter", "metro luohu", "08:00")
    refused = story.said
    assert refused.outcome == "balance_too_low"
    assert not refused.open
    story.top_up("alice", 1_000).tap_again()
    assert story.said == refused
    story.tap("alice", "enter", "metro luohu", "08:01")
    assert story.said.outcome == "leg_opened"


def test_a_purse_with_the_minimum_balance_may_enter(story):
    story.rider("alice", purse_fen=200)
    story.tap("alice", "enter", "metro luohu", "08:00")
    assert story.said.outcome == "leg_opened"


def test_a_refused_entry_is_no_entry(story):
    story.rider("alice", purse_fen=0)
    story.tap("alice", "enter", "metro luohu", "08:00").top_up("alice", 5_000)
    story.tap("alice", "exit", "metro laojie", "08:20")
    assert story.said.fare_fen == 1_400


def test_a_bus_ride_that_the_purse_cannot_pay_is_refused(story):
    story.rider("alice", purse_fen=159)
    story.tap("alice", "board", "bus M390", "08:00", full_fare=200)
    assert story.said.outcome == "balance_too_low"
    assert story.ledger() == ""


def test_an_offline_tap_is_never_refused_for_money(story):
    story.rider("alice", purse_fen=0)
    story.tap("alice", "board", "bus M390", "08:00", full_fare=200, offline=True)
    assert story.said.outcome == "ride_owed"
    assert story.ledger() == "08:00 fare  purse:alice +0  debt:alice -160  operator:bus +160"


def test_an_offline_tap_of_a_blocked_wallet_is_charged_all_the_same(story):
    story.rider("alice", purse_fen=1_000).block("alice")
    story.tap("alice", "board", "bus M390", "08:00", full_fare=200)
    story.tap("alice", "board", "bus M390", "08:05", full_fare=200, offline=True)
    assert story.outcomes == ["wallet_blocked", "ride_charged"]


def test_what_a_stored_tap_made_a_closed_wallet_owe_may_be_paid_and_no_more(story):
    story.rider("alice", purse_fen=0).close("alice")
    story.tap("alice", "board", "bus M390", "08:00", full_fare=200, offline=True, arrives="20:00")
    assert (story.said.outcome, story.owed("alice")) == ("ride_owed", 160)
    assert story.refused_top_up("alice", 161, "20:01") == "wallet_closed"
    story.top_up("alice", 160)
    assert (story.balance("alice"), story.owed("alice")) == (0, 0)
    assert story.refused_top_up("alice", 1, "20:02") == "wallet_closed"
