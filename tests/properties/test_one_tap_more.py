"""What a wallet remembers is enough for the next tap: it costs what all taps together say."""

from __future__ import annotations

from _arrivals import BOOKS, days, facts_of
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gateway.core.days import WalletDay, fold_days, take_one


@given(book=BOOKS, taps=days())
def test_a_tap_after_what_is_remembered_costs_what_all_taps_together_say(book, taps):
    in_order = sorted(map(facts_of, taps), key=lambda tap: tap.order)
    day, riders, opening, charged = None, {}, {}, {}
    by_day: dict = {}
    for tap in in_order:
        tap_day = book.service_day_of(tap.tapped_at)
        by_day.setdefault(tap_day, []).append(tap)
        moved = take_one(day, riders, opening, tap, tap_day, book, swept_until=None)
        folded = fold_days([WalletDay(d, tuple(t)) for d, t in by_day.items()], book)
        if moved is None:
            # A rider who left at once and enters again: the wallet is folded afresh.
            assert any(rider.state.reentry for rider in riders.values())
            charged = folded.charges
        else:
            assert moved.riders == folded.riders
            charged = charged | moved.after
        day, riders, opening = tap_day, folded.riders, folded.days[-1].opening
        assert charged == folded.charges


@given(book=BOOKS, taps=days(), data=st.data())
def test_steps_kept_from_one_fold_change_nothing_in_another(book, taps, data):
    """The auditor keeps what each tap came to; after another memory it must not be taken for it."""
    facts = list(map(facts_of, taps))
    keeping = structs.replace(book, steps={})
    missing = data.draw(st.sets(st.integers(0, len(facts)), max_size=2))
    others = [tap for position, tap in enumerate(facts) if position not in missing]
    for some in (others, facts, others):
        by_day: dict = {}
        for tap in some:
            by_day.setdefault(book.service_day_of(tap.tapped_at), []).append(tap)
        days_of_some = [WalletDay(day, tuple(by_day[day])) for day in sorted(by_day)]
        assert fold_days(days_of_some, keeping) == fold_days(days_of_some, book)
