"""What a tap is: which numbers it must not carry, and when two of them are one."""

from datetime import UTC

import pytest
from msgspec import structs

from gateway.core.taps import Tap, TapOutcome, differing_field, looks_like_card_number


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("4111111111111111", True),
        ("4111 1111 1111 1111", True),
        ("4111-1111-1111-1111", True),
        ("card:4111111111111111;", True),
        ("378282246310005", True),
        ("6304000000000000000", True),
        ("4111 1111 1111 1111 12/27", True),
        ("flat 12 4111111111111111", True),
        ("4111-1111-1111-1111-737", True),
        ("4111111111111112", False),
        ("4111 1111 1111 1112 12/27", False),
        ("14111111111111111", False),
        ("411111111111", False),
        ("41111111111111111111111", False),
        ("GGDKCBKEA", False),
        ("a1111111111111b", False),
        ("", False),
    ],
)
def test_thirteen_to_nineteen_digits_that_pass_luhn_look_like_a_card_number(text, is_one):
    assert looks_like_card_number(text) is is_one


OTHER = {
    "tap_id": None,
    "gate_id": "laojie",
    "sequence": 9,
    "tapped_at": None,
    "media_token": "bob",
    "action": "exit",
    "stop_id": "laojie",
    "route_id": "M390",
    "vehicle_id": "bus 7",
    "full_fare": 200,
    "distance_m": 4_000,
    "transfer_proven": True,
    "carriage_class": "business",
    "riders_count": 2,
    "offline": True,
    "deny_list_version": 4,
}


@pytest.mark.parametrize("field", OTHER)
def test_the_field_in_which_two_taps_of_one_id_differ_is_named(desk, field):
    first = desk.tap("enter", "luohu", "08:00")
    other = {"tap_id": desk.id("x"), "tapped_at": desk.at("08:01")}.get(field, OTHER[field])
    assert differing_field(first, structs.replace(first, **{field: other})) == field


def test_every_field_of_a_tap_is_compared():
    assert tuple(OTHER) == Tap.__struct_fields__


def test_one_moment_under_two_offsets_is_one_tap(desk):
    first = desk.tap("enter", "luohu", "08:00")
    again = structs.replace(first, tapped_at=first.tapped_at.astimezone(UTC))
    assert differing_field(first, again) is None


def test_outcomes_fall_into_not_kept_refused_and_let_through_in_that_order():
    kinds = [(one.is_kept, one.is_let_through) for one in TapOutcome]
    assert kinds == sorted(kinds)
    assert {str(one) for one in TapOutcome if one.is_let_through} == {
        "double_beep",
        "leg_opened",
        "ride_charged",
        "ride_owed",
    }


def test_a_tap_with_neither_place_nor_vehicle_is_incomplete(desk):
    tap = desk.tap("board", "M390", "08:00", route_id=None)
    assert tap.is_incomplete
    assert not structs.replace(tap, vehicle_id="bus 7").is_incomplete
