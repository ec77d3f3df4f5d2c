"""What riders and gates do that no timetable foresees."""


def test_an_entry_never_closed_is_charged_when_the_next_day_begins(harbour_story):
    story = harbour_story
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "enter", "metro luohu", "08:00")
    assert story.ledger() == ""
    story.tap("alice", "board", "bus M390", "Sun 08:00")
    assert story.ledger() == (
        "08:00 correction  purse:alice -900  operator:metro +900\n"
        "Sun 08:00 fare  purse:alice -200  operator:bus +200"
    )
    assert story.said.fare_fen == 200
    assert story.said.balance_fen == 3_900


def test_an_entry_never_closed_is_charged_when_another_ride_begins(harbour_story):
    story = harbour_story
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "enter", "metro luohu", "08:00")
    story.tap("alice", "enter", "metro laojie", "09:00")
    story.tap("alice", "exit", "metro luohu", "09:20")
    assert story.ledger() == (
        "08:00 correction  purse:alice -900  operator:metro +900\n"
        "09:20 fare  purse:alice -300  operator:metro +300"
    )


def test_an_entry_never_closed_is_free_in_shenzhen(story):
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "enter", "metro luohu", "08:00")
    story.tap("alice", "board", "bus M390", "Sun 08:00", full_fare=200)
    assert story.ledger() == "Sun 08:00 fare  purse:alice -160  operator:bus +160"


def test_an_exit_without_entry_costs_what_the_notice_says(story):
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "exit", "metro laojie", "08:20")
    assert story.ledger() == "08:20 fare  purse:alice -1400  operator:metro +1400"
    assert story.said.open


def test_an_exit_at_the_stop_of_entry_costs_the_lowest_band(story):
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "enter", "metro luohu", "08:00").tap("alice", "exit", "metro luohu", "08:05")
    assert story.ledger() == "08:05 fare  purse:alice -190  operator:metro +190"


def test_a_card_handed_back_over_the_gate_is_refused(story):
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "enter", "metro luohu", "08:00:00")
    story.tap("alice", "enter", "metro luohu", "08:00:04")
    assert story.outcomes == ["leg_opened", "passed_back"]
    assert not story.said.open


def test_a_second_beep_at_an_offline_gate_is_the_same_entry(story):
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "enter", "metro luohu", "08:00:00", offline=True)
    story.tap("alice", "enter", "metro luohu", "08:00:04", offline=True)
    story.tap("alice", "exit", "metro laojie", "08:20")
    assert story.outcomes == ["leg_opened", "double_beep", "ride_charged"]
    assert story.balance("alice") == 5_000 - 190


def test_a_second_tap_on_a_bus_pays_for_a_companion(story):
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "board", "bus M390", "08:00:00", full_fare=200)
    story.tap("alice", "board", "bus M390", "08:00:01", full_fare=200)
    assert story.balance("alice") == 5_000 - 160 - 160


def test_the_same_tap_sent_again_hears_the_same_and_costs_nothing(story):
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "board", "bus M390", "08:00", full_fare=200).tap_again()
    first, again = story.answers
    assert first == again
    assert story.ledger() == "08:00 fare  purse:alice -160  operator:bus +160"


def test_an_entry_that_arrives_after_its_exit_corrects_the_exit(story):
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "exit", "metro laojie", "08:20")
    story.tap("alice", "enter", "metro luohu", "08:00", arrives="08:30")
    assert story.ledger() == (
        "08:20 fare  purse:alice -1400  operator:metro +1400\n"
        "08:20 correction  purse:alice +1400  operator:metro -1400\n"
        "08:20 correction  purse:alice -190  operator:metro +190"
    )
    assert story.outcomes == ["ride_charged", "leg_opened"]
    assert story.said.balance_fen == 4_810


def test_a_bus_ride_that_arrives_late_gives_the_later_ride_its_discount(story):
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "enter", "metro luohu", "08:30")
    story.tap("alice", "exit", "metro laojie", "08:50")
    story.tap("alice", "board", "bus M390", "08:00", arrives="09:00", full_fare=200)
    assert story.ledger() == (
        "08:50 fare  purse:alice -190  operator:metro +190\n"
        "08:00 fare  purse:alice -160  operator:bus +160\n"
        "08:50 correction  purse:alice +40  operator:metro -40"
    )


def test_yesterdays_tap_arriving_today_is_charged_to_yesterday(harbour_story):
    story = harbour_story
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "enter", "metro luohu", "20:00")
    story.tap("alice", "board", "bus M390", "Sun 08:00")
    story.tap("alice", "exit", "metro laojie", "20:20", arrives="Sun 09:00")
    assert story.ledger() == (
        "20:00 correction  purse:alice -900  operator:metro +900\n"
        "Sun 08:00 fare  purse:alice -200  operator:bus +200\n"
        "20:00 correction  purse:alice +900  operator:metro -900\n"
        "20:20 fare  purse:alice -300  operator:metro +300"
    )
    assert str(story.store.entries()[-1].service_day) == "2018-09-01"


def test_an_entry_of_yesterday_arriving_today_can_no_longer_be_closed(harbour_story):
    story = harbour_story
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "board", "bus M390", "Sun 08:00")
    story.tap("alice", "enter", "metro luohu", "20:00", arrives="Sun 09:00")
    assert story.said.outcome == "ride_charged"
    assert story.said.fare_fen == 900
