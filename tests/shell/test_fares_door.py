"""What a fare is and why, asked over HTTP: the explanation of a tap, and a quote before travel."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest


async def explanation(door, tap) -> list[str]:
    said = await door.ask("GET", f"/v1/taps/{tap['tap_id']}/explanation")
    assert said.status == 200
    return said.message["lines"]


async def test_a_charged_tap_is_explained_by_rule_clause_and_place_in_the_file(door):
    await door.open_wallet()
    tap = door.tap()
    await door.post_taps(tap)
    lines = await explanation(door, tap)
    assert lines[0].startswith("tariff shenzhen/2018-08-01: ")
    assert lines[1].startswith("full fare bus_ride: 2.00 CNY (b.1; 2018-08-01.yaml:")
    assert lines[-2:] == ["fare: 2.00 CNY", "the rider pays 2.00 CNY"]


async def test_a_tap_of_an_earlier_day_is_explained_after_later_ones(door):
    await door.open_wallet()
    now = datetime.now(UTC)
    first = door.tap(tapped_at=(now - timedelta(days=2)).isoformat())
    second = door.tap(tapped_at=now.isoformat())
    await door.post_taps([first, second])
    assert (await explanation(door, first))[-1] == "the rider pays 2.00 CNY"


async def test_an_entry_costs_nothing_yet_and_a_refused_tap_says_so(door):
    await door.open_wallet()
    enters = door.metro_tap("enter")
    unknown = door.tap(media_token="nobody's")
    for tap in (enters, unknown):
        await door.post_taps(tap)
    assert await explanation(door, enters) == []
    assert await explanation(door, unknown) == ["not charged: unknown_media"]


async def test_a_tap_that_was_never_sent_has_no_explanation(door):
    path = f"/v1/taps/{door.tap()['tap_id']}/explanation"
    (await door.ask("GET", path)).check_problem(404, "not_found")


async def test_a_quote_is_what_the_gate_then_charges(door):
    await door.open_wallet()
    before = door.tap()
    await door.post_taps(before)
    at = datetime.fromisoformat(before["tapped_at"]) + timedelta(seconds=30)
    wish = {
        "network": "bus",
        "at": at.isoformat(),
        "route_id": "M390",
        "full_fare": 300,
        "media_token": "card-1",
    }
    books = await door.books()
    quoted = await door.ask("POST", "/v1/quotes", wish)
    assert quoted.status == 200
    assert await door.books() == books
    tap = door.tap(tapped_at=at.isoformat(), full_fare=300)
    charged = (await door.post_taps(tap)).message
    assert quoted.message["fare_fen"] == charged["fare_fen"] == 300
    assert quoted.message["pays"] == {"rider": 300}
    assert quoted.message["explanation"] == await explanation(door, tap)


async def test_a_quote_for_another_rider_category_needs_no_card(door):
    wish = {
        "network": "metro",
        "at": "2018-09-01T08:00:00+08:00",
        "distance_m": 3_900,
        "rider_category": "student",
        "fare_media": "card",
    }
    said = await door.ask("POST", "/v1/quotes", wish)
    assert (said.message["fare_fen"], said.message["pays"]) == (100, {"rider": 100})


async def test_a_journey_without_a_price_is_told_by_its_reason(door):
    wish = {"network": "bus", "at": "2018-09-01T08:00:00+08:00"}
    said = await door.ask("POST", "/v1/quotes", wish)
    assert said.message["refusal"] == "no_gate_fare"
    assert "only the gate knows this fare" in said.message["explanation"][0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": "bas"}, "did you mean bus?"),
        ({"rider_category": "pilot"}, "there is no rider category 'pilot'"),
        ({"media_token": "nobody's"}, "bound to no wallet"),
        ({"at": "2001-01-01T00:00:00Z"}, "no tariff is in force"),
    ],
)
async def test_a_quote_for_what_is_not_known_is_refused_with_what_is(door, change, words):
    wish = {"network": "bus", "at": "2018-09-01T08:00:00+08:00", "full_fare": 200, **change}
    said = await door.ask("POST", "/v1/quotes", wish)
    said.check_problem(422, "not_known")
    assert words in said.message["detail"]
