"""Taps in a CSV file: what is written is read again, and what is no tap is named by its line."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fare_rules import Action, RideTap
from fare_rules.backtest import BacktestFault, read_taps, write_taps

WORDS = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\r\n\0"), min_size=1
)
INSTANTS = st.datetimes(
    min_value=datetime(2000, 1, 1),  # noqa: DTZ001 - the zone is given beside it
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
TAPS = st.builds(
    RideTap,
    tap_id=st.uuids(),
    gate_id=WORDS,
    sequence=st.integers(0, 2**40),
    tapped_at=INSTANTS,
    media_token=WORDS,
    action=st.sampled_from(Action),
    network=WORDS,
    operator_id=WORDS,
    rider_category=WORDS,
    fare_media=WORDS,
    stop_id=st.none() | WORDS,
    route_id=st.none() | WORDS,
    vehicle_id=st.none() | WORDS,
    full_fare=st.none() | st.integers(0, 10**9),
    transfer_proven=st.booleans(),
    carriage_class=WORDS,
    riders_count=st.integers(1, 20),
    distance_m=st.none() | st.integers(0, 10**6),
    issuer_id=st.none() | WORDS,
    coupons=st.lists(st.tuples(WORDS, INSTANTS), max_size=2).map(tuple),
)

HEADER = (
    "tap_id,gate_id,sequence,tapped_at,media_token,action,network,operator_id,rider_category,"
    "fare_media,full_fare,coupons"
)
TAP_ID = "00000000-0000-0000-0000-000000000001"
ROW = f"{TAP_ID},g1,1,2026-03-02T08:05:11+08:00,anna,board,bus,city_bus,adult,card,290,"


@settings(deadline=None)
@given(taps=st.lists(TAPS, max_size=4))
def test_what_is_written_is_read_again(tmp_path_factory, taps):
    path = tmp_path_factory.mktemp("taps") / "taps.csv"
    assert write_taps(taps, path) == len(taps)
    assert list(read_taps(path)) == taps


def test_columns_may_stand_in_any_order_and_those_with_a_default_may_be_missing(tmp_path):
    path = tmp_path / "taps.csv"
    names, cells = HEADER.split(","), ROW.split(",")
    path.write_text(f"{','.join(names[::-1])}\n{','.join(cells[::-1])}\n", encoding="utf-8")
    (tap,) = read_taps(path)
    assert tap.tap_id == UUID(TAP_ID)
    assert tap.tapped_at == datetime(2026, 3, 2, 0, 5, 11, tzinfo=UTC)
    assert tap.full_fare == 290
    assert (tap.stop_id, tap.riders_count, tap.coupons) == (None, 1, ())


FAULTS = {
    "an unknown column": (HEADER + ",colour", ROW, r"taps.csv:1: No column is called 'colour'"),
    "a column twice": (
        HEADER + ",full_fare",
        ROW,
        r"taps.csv:1: Column 'full_fare' is there twice",
    ),
    "a missing column": ("tap_id", TAP_ID, r"taps.csv:1: Column 'gate_id' is missing"),
    "an empty file": ("", "", r"taps.csv:1: Column 'tap_id' is missing"),
    "a cell too few": (HEADER, TAP_ID, r"taps.csv:2: 1 cells under 12 columns"),
    "an empty cell": (HEADER, ROW.replace("anna", ""), r"taps.csv:2: 'media_token' is empty"),
    "no offset": (HEADER, ROW.replace("+08:00", ""), r"taps.csv:2: 'tapped_at' has no offset"),
    "no number": (HEADER, ROW.replace("290", "2.90"), r"taps.csv:2: 'full_fare' is '2.90', not"),
    "a main unit": (HEADER, ROW.replace("290", "3.00"), r"taps.csv:2: 'full_fare' is '3.00', not"),
    "less than nothing": (HEADER, ROW.replace("290", "-290"), r"taps.csv:2: 'full_fare' is '-290'"),
    "nobody": (HEADER + ",riders_count", ROW + ",0", r"taps.csv:2: 'riders_count' is 0"),
    "no year": (
        HEADER,
        ROW.replace("2026", "9999"),
        r"taps.csv:2: 'tapped_at' is in the year 9999",
    ),
    "the first year": (HEADER, ROW.replace("2026", "0001"), r"taps.csv:2: .* in the year 1"),
    "no action": (HEADER, ROW.replace("board", "jump"), r"taps.csv:2: .*'jump' - at 'action'"),
    "no coupons": (HEADER, ROW + "free", r"taps.csv:2: 'coupons' is not as the columns"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_row_that_is_no_tap_is_named(tmp_path, name):
    header, row, message = FAULTS[name]
    path = tmp_path / "taps.csv"
    path.write_text(f"{header}\n{row}\n", encoding="utf-8")
    with pytest.raises(BacktestFault, match=message):
        list(read_taps(path))


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "taps.csv"
    path.write_bytes(f"{HEADER}\n{ROW}\n".encode().replace(b"anna", b"\xff"))
    with pytest.raises(BacktestFault, match="Write a CSV file in UTF-8"):
        list(read_taps(path))
