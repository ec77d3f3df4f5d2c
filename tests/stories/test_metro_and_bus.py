"""An ordinary day: what the notice says is what the rider pays."""


def test_a_metro_ride_is_charged_at_the_exit(story):
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "enter", "metro luohu", "08:00")
    story.tap("alice", "exit", "metro laojie", "08:20")
    assert story.outcomes == ["leg_opened", "ride_charged"]
    assert story.ledger() == "08:20 fare  purse:alice -190  operator:metro +190"
    assert story.balance("alice") == story.said.balance_fen == 4_810


def test_a_bus_ride_is_charged_at_the_boarding(story):
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "board", "bus M390", "08:00", full_fare=200)
    assert story.outcomes == ["ride_charged"]
    assert story.ledger() == "08:00 fare  purse:alice -160  operator:bus +160"


def test_a_change_from_bus_to_metro_within_ninety_minutes_costs_forty_fen_less(story):
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "board", "bus M390", "08:00", full_fare=200)
    story.tap("alice", "enter", "metro luohu", "09:30")
    story.tap("alice", "exit", "metro laojie", "09:50")
    assert story.ledger() == (
        "08:00 fare  purse:alice -160  operator:bus +160\n"
        "09:50 fare  purse:alice -150  operator:metro +150"
    )
    first, *_, last = story.answers
    assert first.journey_id == last.journey_id


def test_a_change_after_ninety_minutes_is_no_change(story):
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "board", "bus M390", "08:00", full_fare=200)
    story.tap("alice", "enter", "metro luohu", "09:31")
    story.tap("alice", "exit", "metro laojie", "09:50")
    assert story.balance("alice") == 5_000 - 160 - 190


def test_the_same_bus_route_again_has_no_discount_but_another_route_has(story):
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "board", "bus M390", "08:00", full_fare=200)
    story.tap("alice", "board", "bus M390", "08:20", full_fare=200)
    story.tap("alice", "board", "bus M506", "08:40", full_fare=200)
    assert [answer.fare_fen for answer in story.answers] == [160, 160, 120]


def test_a_student_pays_half_and_no_discount_for_a_change_on_top(story):
    story.rider("bo", purse_fen=5_000, category="student")
    story.tap("bo", "board", "bus M390", "08:00", full_fare=200)
    story.tap("bo", "enter", "metro luohu", "08:30").tap("bo", "exit", "metro huaqiang_lu", "08:50")
    assert story.balance("bo") == 5_000 - 100 - 150


def test_a_phone_pays_in_full_and_has_no_discount_for_a_change(story):
    story.rider("chen", purse_fen=5_000, media="qr")
    story.tap("chen", "board", "bus M390", "08:00", full_fare=200)
    story.tap("chen", "enter", "metro luohu", "08:30").tap("chen", "exit", "metro laojie", "08:50")
    assert story.balance("chen") == 5_000 - 200 - 200


def test_a_senior_rides_free_and_the_operator_is_still_told_of_the_ride(story):
    story.rider("dai", purse_fen=0, category="senior")
    story.tap("dai", "board", "bus M390", "08:00", full_fare=200)
    assert story.outcomes == ["ride_charged"]
    assert story.ledger() == "08:00 fare  purse:dai +0  operator:bus +0"


def test_a_group_pays_for_each_rider_and_only_the_holder_has_the_discount_for_a_change(story):
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "board", "bus M390", "08:00", full_fare=200, riders_count=3)
    story.tap("alice", "board", "bus M506", "08:30", full_fare=200, riders_count=3)
    assert [answer.fare_fen for answer in story.answers] == [3 * 160, 3 * 160 - 40]


def test_a_ride_across_midnight_belongs_to_the_day_before(story):
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "enter", "metro luohu", "23:50")
    story.tap("alice", "exit", "metro laojie", "Sun 00:20")
    story.tap("alice", "board", "bus M390", "Sun 00:40", full_fare=200)
    assert story.ledger() == (
        "Sun 00:20 fare  purse:alice -190  operator:metro +190\n"
        "Sun 00:40 fare  purse:alice -120  operator:bus +120"
    )
    assert {str(entry.service_day) for entry in story.store.entries()[1:]} == {"2018-09-01"}
