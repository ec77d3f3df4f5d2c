"""What must hold for every tariff that `check` accepts, and for whatever is tapped under it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

# Test files are imported by path, so their helpers have to be found by name.
sys.path.insert(0, str(Path(__file__).parent))

from _cities import book_of, days, some_amounts, tariffs

from fare_rules import FareRefusal, RiderFold, carried, fold
from fare_rules.ask import Question, ask, asked_taps
from fare_rules.explain import explain_charge, explained, priced_by

EVER = datetime.max.replace(tzinfo=UTC)
# All that makes one ride's price depend on others.
_ACT_ON_A_RIDE = (
    "fare_leg_join_rules", "fare_transfer_rules", "fare_tiers", "fare_caps", "surcharges",
    "concessions",
)  # fmt: skip
few = settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def accepted(tariff):
    book = book_of(tariff)
    assume(book is not None)
    return book


@few
@given(tariff=tariffs(), taps=days())
def test_every_journey_has_a_price_that_adds_up_or_a_named_refusal(tariff, taps):
    book = accepted(tariff)
    folded = fold(taps, book, swept_until=EVER)
    for charge in folded.charges.values():
        quote = charge.quote
        assert quote.rider_fen == sum(line.amount_fen for line in quote.lines) >= 0
        assert all(amount > 0 for amount in quote.sponsored.values())
        assert quote.rider_fen + sum(quote.sponsored.values()) == quote.fare_fen >= 0
        steps = explained(quote, priced_by(quote, book))
        assert steps[-1].leaves_fen == quote.rider_fen
        assert all(step.reference for step in steps)
        assert explain_charge(charge, book)
    assert all(isinstance(refusal, FareRefusal) for refusal in folded.refused.values())
    assert folded.open_until is None


@few
@given(tariff=tariffs(), taps=days(max_size=8), draw=st.data())
def test_any_order_of_arrival_costs_the_same(tariff, taps, draw):
    book = accepted(tariff)
    arriving = draw.draw(st.permutations(taps))
    assert fold(arriving, book, swept_until=EVER) == fold(taps, book, swept_until=EVER)


@few
@given(tariff=tariffs(), taps=days())
def test_one_tap_more_is_the_same_as_all_of_them(tariff, taps):
    book = accepted(tariff)
    folding = RiderFold(book)
    for count, tap in enumerate(taps, 1):
        folding.take(tap)
        assert folding.result() == fold(taps[:count], book)


@few
@given(tariff=tariffs(), taps=days())
def test_a_day_that_begins_with_what_is_remembered_goes_on_as_if_nothing_had_been_between(
    tariff, taps
):
    """What the gateway keeps of a day that is over is all that the next one needs."""
    book = accepted(tariff)
    by_day: dict = {}
    for tap in taps:
        by_day.setdefault(book.service_day_of(tap.tapped_at), []).append(tap)
    charges, state = {}, None
    for day, of_day in by_day.items():
        opening = carried(state, book, book.starts_at(day)) if state else None
        folded = fold(of_day, book, state=opening) if opening else fold(of_day, book)
        charges |= folded.charges
        state = folded.state
    assert charges == fold(taps, book).charges


@few
@given(tariff=tariffs(), taps=days(riders_max=1), limit=some_amounts)
def test_a_daily_cap_is_never_exceeded_and_never_makes_a_rider_pay_more(tariff, taps, limit):
    without = {**tariff, "fare_caps": [], "fare_tiers": [], "promotions": [], "surcharges": []}
    without["fare_transfer_rules"] = []
    cap = {"id": "cap", "reference": "c", "period": {"kind": "service_day"}, "amount": limit}
    free, capped = accepted(without), accepted({**without, "fare_caps": [cap]})
    limit_fen = round(float(limit) * 100)
    uncapped = fold(taps, free, swept_until=EVER).charges
    same_stop_ids = {network.same_stop_id for network in free.tariffs[0].networks.values()}
    by_day: dict = {}
    for key, charge in fold(taps, capped, swept_until=EVER).charges.items():
        assert charge.rider_fen <= uncapped[key].rider_fen
        # What is charged for leaving where one came in, or for a missing tap, is no fare.
        if charge.quote.product_id not in {"maximum", *same_stop_ids}:
            by_day.setdefault(charge.service_day, []).append(charge.rider_fen)
    if tariff["service_day_starts"] == "04:00":
        # A leg belongs to the day of its entry, its charge to the day of its exit.
        assert sum(map(sum, by_day.values())) <= limit_fen * (len(by_day) + 1)


@few
@given(tariff=tariffs(), taps=days(riders_max=1), zones=st.sampled_from(["1", "2", "1-2", "1-3"]))
def test_a_season_ticket_makes_no_ride_dearer_and_more_zones_none_either(tariff, taps, zones):
    alone = {key: tariff[key] for key in tariff if key not in _ACT_ON_A_RIDE} | {"promotions": []}

    def with_ticket(runs: list[str]) -> dict:
        pays = {"kind": "extension", "zones": runs}
        return alone | {"promotions": [{"id": "ticket", "reference": "p", "pays": pays}]}

    known = [accepted(each) for each in (alone, with_ticket([zones]), with_ticket(["1-3"]))]
    without, some, everywhere = (fold(taps, book, swept_until=EVER).charges for book in known)
    assert without.keys() == some.keys() == everywhere.keys()
    for key, charge in without.items():
        assert everywhere[key].rider_fen <= some[key].rider_fen <= charge.rider_fen


@few
@given(tariff=tariffs(), taps=days(riders_max=1), limit=some_amounts, length=st.integers(1, 3))
def test_a_cap_that_trails_holds_for_any_days_in_a_row(tariff, taps, limit, length):
    own = {key: tariff[key] for key in tariff if key not in _ACT_ON_A_RIDE} | {"promotions": []}
    period = {"kind": "trailing", "days": length}
    cap = {"id": "cap", "reference": "c", "period": period, "amount": limit}
    book = accepted(own | {"fare_caps": [cap]})
    folded, tapped_at = fold(taps, book, swept_until=EVER), {t.tap_id: t.tapped_at for t in taps}
    paid: dict = {}
    for charge in folded.charges.values():
        if charge.quote.product_id.endswith("_ride"):
            # A journey is named after its first tap.
            day = book.service_day_of(tapped_at[folded.journeys[charge.tap_id]])
            paid[day] = paid.get(day, 0) + charge.rider_fen
    for first in paid:
        in_a_row = (paid.get(first + timedelta(days=n), 0) for n in range(length))
        assert sum(in_a_row) <= round(float(limit) * 100)


@few
@given(
    tariff=tariffs(),
    before=days(max_size=6),
    network=st.sampled_from(["metro", "bus", "ferry"]),
    ends=st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde")),
    minute=st.integers(0, 300),
)
def test_a_quote_before_travel_is_what_the_gate_charges(tariff, before, network, ends, minute):
    book = accepted(tariff)
    at = before[-1].tapped_at.replace(second=0).astimezone(book.timezone)
    question = Question(
        network=network, at=at, from_stop=ends[0], to_stop=ends[1], minutes=minute % 60,
        gate_fare_fen=250, route="7",
    )  # fmt: skip
    asked = asked_taps(question, book)
    known = fold(before, book).state
    quoted = ask(book, question, state=known)
    assert quoted.charges == fold(asked, book, state=known, swept_until=EVER).charges
    assert ask(book, question).charges == fold(asked, book, swept_until=EVER).charges
