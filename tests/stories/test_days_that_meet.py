"""What one day leaves to the next: a ride under way, a change, a cap of the week, a late tap."""


def test_a_ride_across_midnight_is_one_ride(midnight_story):
    story = midnight_story
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "enter", "metro luohu", "Fri 23:50")
    story.tap("alice", "exit", "metro laojie", "00:20")
    assert story.ledger() == "00:20 fare  purse:alice -300  operator:metro +300"


def test_its_entry_may_even_arrive_after_its_exit(midnight_story):
    story = midnight_story
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "exit", "metro laojie", "00:20")
    story.tap("alice", "enter", "metro luohu", "Fri 23:50", arrives="08:00")
    assert story.ledger().splitlines() == [
        "00:20 fare  purse:alice -700  operator:metro +700",
        "00:20 correction  purse:alice +700  operator:metro -700",
        "00:20 correction  purse:alice -300  operator:metro +300",
    ]
    assert story.balance("alice") == 4_700


def test_a_change_of_bus_across_midnight_is_a_change(midnight_story):
    story = midnight_story
    story.rider("alice", purse_fen=5_000)
    story.tap("alice", "board", "bus M390", "Fri 23:50")
    story.tap("alice", "board", "bus M506", "00:20")
    assert story.said.fare_fen == 150


def test_a_week_costs_no_more_than_its_cap(midnight_story):
    story = midnight_story
    story.rider("alice", purse_fen=5_000)
    fares = []
    for clock in ("Sat 08:00", "Sat 12:00", "Sun 08:00", "Sun 12:00", "Mon 08:00"):
        story.tap("alice", "board", "bus M390", clock)
        fares.append(story.said.fare_fen)
    assert fares == [200, 200, 200, 100, 200]


def test_a_late_tap_of_an_earlier_day_moves_the_days_after_it(midnight_story):
    story = midnight_story
    story.rider("alice", purse_fen=5_000)
    for clock in ("Sat 08:00", "Sun 08:00", "Sun 12:00"):
        story.tap("alice", "board", "bus M390", clock)
    story.tap("alice", "board", "bus M390", "Fri 08:00", arrives="Sun 20:00")
    assert story.ledger().splitlines()[-2:] == [
        "Fri 08:00 fare  purse:alice -200  operator:bus +200",
        "Sun 12:00 correction  purse:alice +100  operator:bus -100",
    ]
    assert story.balance("alice") == 4_300


def test_a_bank_pays_for_its_riders_in_the_same_entry(midnight_story):
    story = midnight_story
    story.rider("alice", purse_fen=5_000, issuer="icbc").rider("bob", purse_fen=5_000)
    for name in ("alice", "bob"):
        story.tap(name, "enter", "metro luohu", "08:00").tap(name, "exit", "metro laojie", "08:20")
    assert story.ledger() == (
        "08:20 fare  purse:alice -1  sponsor:icbc -299  operator:metro +300\n"
        "08:20 fare  purse:bob -300  operator:metro +300"
    )
    assert story.said.fare_fen == 300
    first = story.answers[1]
    assert [(payer.account, payer.amount_fen) for payer in first.payers] == [
        ("purse", 1),
        ("sponsor:icbc", 299),
    ]
    assert first.display_text == "Fare 0.01 Left 49.99"


def test_a_bank_pays_for_many_rides_to_the_fen(midnight_story):
    """SET-03 in small: what riders, bank and operator gained and lost is nothing together."""
    story = midnight_story
    for number in range(20):
        name = f"rider {number}"
        story.rider(name, purse_fen=500, issuer="icbc")
        story.tap(name, "enter", "metro luohu", "08:00").tap(name, "exit", "metro laojie", "08:20")
    sums: dict[str, int] = {}
    for entry in story.store.entries():
        for side in entry.postings:
            sums[side.account] = sums.get(side.account, 0) + side.amount_fen
    assert sums == {
        "purse": 9_980,
        "bank": -10_000,
        "sponsor:icbc": -5_980,
        "operator:metro": 6_000,
    }


def test_a_coupon_pays_one_ride_within_a_day_of_its_activation(midnight_story):
    story = midnight_story
    for name, activated in (("alice", "Fri 07:00"), ("bob", "Fri 08:00"), ("carol", "")):
        story.rider(name, purse_fen=5_000)
        if activated:
            story.activate(name, "coupon_ride", activated).activate(name, "coupon_ride", activated)
        for board, alight in (("07:30", "07:50"), ("07:55", "08:10")):
            story.tap(name, "board", "ferry east", board).tap(name, "alight", "ferry west", alight)
    assert story.ledger().splitlines() == [
        "07:50 fare  purse:alice -250  operator:ferry +250",
        "08:10 fare  purse:alice -250  operator:ferry +250",
        "07:50 fare  purse:bob -1  sponsor:abc -249  operator:ferry +250",
        "08:10 fare  purse:bob -250  operator:ferry +250",
        "07:50 fare  purse:carol -250  operator:ferry +250",
        "08:10 fare  purse:carol -250  operator:ferry +250",
    ]
