"""Red envelopes: who wins can be foreseen by nobody, and made again by anybody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gateway.core.envelopes import (
    EnvelopeCampaign,
    EnvelopeRefusal,
    RandomAmount,
    draw,
    faults_of,
    grant_id_of,
    split_at_random,
    ticket_of,
)

SEED = "a seed that nobody was told"
OPENS = datetime(2020, 10, 9, tzinfo=UTC)
CAMPAIGN = EnvelopeCampaign(
    campaign_id="luohu_2020",
    rule_id="envelope",
    funder_id="luohu_district",
    envelopes_count=3,
    registration_opens=OPENS,
    registration_closes=OPENS + timedelta(days=2),
    valid_from=OPENS + timedelta(days=3),
    valid_until=OPENS + timedelta(days=9),
    seed_sha256=sha256(SEED.encode()).hexdigest(),
    amount_fen=20_000,
)
RIDERS = [UUID(int=n) for n in range(1, 21)]
TICKETS = [ticket_of("luohu_2020", rider) for rider in RIDERS]


def asked(now: datetime = OPENS - timedelta(days=1), **changes) -> EnvelopeRefusal | None:
    campaign = structs.replace(CAMPAIGN, **changes)
    return faults_of(campaign, now, purse_rules={"envelope"}, sponsors={"luohu_district"})


def test_the_campaign_of_luohu_can_be_announced():
    assert asked() is None
    assert CAMPAIGN.total_fen == 60_000


@pytest.mark.parametrize(
    ("refusal", "changes"),
    [
        ("unknown_purse_rule", {"rule_id": "gift"}),
        ("unknown_funder", {"funder_id": "nobody"}),
        ("amount_impossible", {"amount_fen": None}),
        ("amount_impossible", {"random_amount": RandomAmount(60, 10, 30)}),
        ("amount_impossible", {"amount_fen": None, "random_amount": RandomAmount(29, 10, 30)}),
        ("amount_impossible", {"amount_fen": None, "random_amount": RandomAmount(91, 10, 30)}),
        ("times_out_of_order", {"valid_until": CAMPAIGN.valid_from}),
        ("times_out_of_order", {"registration_closes": OPENS}),
        ("announced_too_late", {"now": OPENS}),
    ],
)
def test_what_cannot_be_announced(refusal, changes):
    assert asked(**changes) == refusal


def test_the_draw_has_a_known_answer():
    """Written down once: whoever changes the published algorithm changes this."""
    wins = draw(CAMPAIGN, TICKETS, seed=SEED, public_value="3312.67")
    assert [win.rank for win in wins] == [1, 2, 3]
    assert [TICKETS.index(win.ticket) for win in wins] == [19, 4, 3]
    assert {win.amount_fen for win in wins} == {20_000}


@given(st.permutations(TICKETS))
def test_the_order_of_registrations_does_not_matter(tickets):
    made = draw(CAMPAIGN, tickets, seed=SEED, public_value="3312.67")
    assert made == draw(CAMPAIGN, TICKETS, seed=SEED, public_value="3312.67")


def test_another_public_value_or_one_ticket_more_draws_otherwise():
    draws = {
        tuple(win.ticket for win in draw(CAMPAIGN, tickets, seed=SEED, public_value=value))
        for tickets, value in [
            (TICKETS, "3312.67"),
            (TICKETS, "3312.68"),
            (TICKETS[:-1], "3312.67"),
        ]
    }
    assert len(draws) == 3


def test_where_few_registered_everybody_wins_and_the_rest_stays_with_the_sponsor():
    random = structs.replace(CAMPAIGN, amount_fen=None, random_amount=RandomAmount(90, 20, 50))
    wins = draw(random, TICKETS[:2], seed=SEED, public_value="1")
    assert len(wins) == 2
    assert sum(win.amount_fen for win in wins) == 60


@given(
    st.integers(1, 100),
    st.integers(0, 100),
    st.data(),
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=60),
)
def test_every_fen_is_in_an_envelope_and_each_holds_what_it_may(least, room, data, weights):
    count = len(weights)
    total = data.draw(st.integers(least * count, (least + room) * count))
    scores = [f"{weight:064x}" for weight in weights]
    parts = split_at_random(RandomAmount(total, least, least + room), count, scores)
    assert sum(parts) == total
    assert all(least <= part <= least + room for part in parts)


@given(st.integers(1, 40), st.integers(1, 40))
def test_envelopes_left_over_keep_the_bounds(count, drawn_count):
    amount = RandomAmount(25 * count + count // 2, 20, 50)
    scores = [sha256(bytes([n])).hexdigest() for n in range(min(drawn_count, count))]
    parts = split_at_random(amount, count, scores)
    assert all(20 <= part <= 50 for part in parts)
    assert sum(parts) <= amount.total_fen


def test_an_envelope_is_granted_under_one_id():
    ids = {grant_id_of("luohu_2020", rider) for rider in RIDERS}
    assert len(ids) == len(RIDERS)
    assert grant_id_of("other", RIDERS[0]) not in ids
    assert grant_id_of("luohu_2020", RIDERS[0]) in ids
    assert uuid5(RIDERS[0], "") not in ids
