"""Money is held for rides under way: a ferry holds 4.00, the dearest that a leg left open costs."""


def company(story, purse_fen):
    """Three cards that pay from one wallet."""
    story.rider("ann", purse_fen=purse_fen)
    return story.card("ben", of="ann").card("cai", of="ann")


def test_rides_under_way_hold_what_they_may_cost(midnight_story):
    story = company(midnight_story, 1_050)
    story.tap("ann", "board", "ferry east", "08:00").tap("ben", "board", "ferry east", "08:01")
    story.tap("cai", "board", "ferry east", "08:02")
    assert story.outcomes == ["leg_opened", "leg_opened", "balance_too_low"]
    assert story.balance("ann") == 1_050
    story.tap("ann", "alight", "ferry west", "08:20").tap("cai", "board", "ferry east", "08:21")
    assert story.outcomes[3:] == ["ride_charged", "leg_opened"]
    story.tap("ben", "alight", "ferry west", "08:30").tap("cai", "alight", "ferry west", "08:40")
    assert (story.balance("ann"), story.owed("ann")) == (300, 0)


def test_a_bus_does_not_spend_what_a_ferry_holds(midnight_story):
    story = company(midnight_story, 599)
    story.tap("ann", "board", "ferry east", "08:00").tap("ben", "board", "bus M390", "08:05")
    assert story.outcomes == ["leg_opened", "balance_too_low"]
    story.top_up("ann", 1).tap("ben", "board", "bus M390", "08:06")
    assert (story.said.outcome, story.balance("ann")) == ("ride_charged", 400)


def test_a_hold_ends_when_the_leg_can_no_longer_be_closed(midnight_story):
    story = company(midnight_story, 700)
    story.tap("ann", "board", "ferry east", "08:00")
    story.tap("ben", "board", "ferry east", "09:59:59")
    story.tap("ben", "board", "ferry east", "10:00:30")
    assert story.outcomes == ["leg_opened", "balance_too_low", "leg_opened"]


def test_who_boards_again_must_have_the_hold_after_the_leg_left_open_is_charged(midnight_story):
    story = company(midnight_story, 799)
    story.tap("ann", "board", "ferry east", "08:00").tap("ann", "board", "ferry west", "09:00")
    assert story.outcomes == ["leg_opened", "balance_too_low"]
    story.top_up("ann", 1).tap("ann", "board", "ferry west", "09:01")
    assert (story.said.outcome, story.balance("ann")) == ("leg_opened", 400)


def test_a_wallet_is_not_closed_while_money_is_held(midnight_story):
    story = company(midnight_story, 700)
    story.tap("ann", "board", "ferry east", "08:00")
    assert story.refused_close("ann", "08:10") == "wallet_rides"
    story.tap("ann", "alight", "ferry west", "08:20").close("ann")
    assert story.balance("ann") == 0


def test_money_that_is_held_is_not_set_aside_for_a_purpose(midnight_story):
    story = company(midnight_story, 700)
    story.tap("ann", "board", "ferry east", "08:00")
    assert story.refused_grant("ann", "bus_money", 301, "08:10") == "balance_too_low"
    story.grant("ann", "bus_money", 300, funder=None)
    story.tap("ann", "alight", "ferry west", "08:20")
    assert (story.balance("ann"), story.owed("ann")) == (150, 0)
