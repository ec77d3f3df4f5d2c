from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from fare_rules import FareRefusal, Leg

MORNING = datetime(2018, 9, 1, 6, tzinfo=ZoneInfo("Asia/Shanghai"))
STATIONS = st.sampled_from([None, "luohu", "laojie", "longhua", "airport", "nowhere"])
INSTANTS = st.integers(0, 20_000).map(lambda seconds: MORNING + timedelta(seconds=seconds))
LEGS = st.builds(
    Leg,
    network=st.sampled_from(["metro", "bus"]),
    operator_id=st.just("any"),
    rider_category=st.sampled_from(["adult", "student", "senior", "free"]),
    fare_media=st.sampled_from(["card", "qr"]),
    boarded_at=INSTANTS,
    alighted_at=st.none() | INSTANTS,
    from_stop=STATIONS,
    to_stop=STATIONS,
    route_id=st.sampled_from([None, "M390", "M506"]),
    gate_fare_fen=st.none() | st.integers(0, 5_000),
    distance_m=st.none() | st.integers(0, 100_000),
    carriage_class=st.sampled_from(["ordinary", "business"]),
    riders_count=st.integers(1, 4),
    transfer_proven=st.booleans(),
    missing=st.sampled_from([None, None, "entry", "exit"]),
)


@given(leg=LEGS, previous=st.none() | LEGS)
def test_a_fare_is_the_sum_of_its_lines_and_never_negative(priced, tariff, leg, previous):
    quote = priced(leg, tariff, previous=previous)
    if isinstance(quote, FareRefusal):
        return
    full, *discounts = quote.lines
    assert full.amount_fen >= 0
    assert len(discounts) <= 2
    assert all(line.amount_fen < 0 for line in discounts)
    assert quote.fare_fen == sum(line.amount_fen for line in quote.lines) >= 0
    assert quote == priced(leg, tariff, previous=previous)


@given(leg=LEGS, previous=st.none() | LEGS)
def test_a_ride_before_never_makes_a_fare_higher(priced, tariff, leg, previous):
    alone, after = (priced(leg, tariff, previous=ride) for ride in (None, previous))
    if isinstance(alone, FareRefusal):
        assert after == alone
    else:
        assert alone.fare_fen - 40 <= after.fare_fen <= alone.fare_fen


@given(
    category=st.sampled_from(["adult", "student", "senior"]),
    media=st.sampled_from(["card", "qr"]),
    carriage_class=st.sampled_from(["ordinary", "business"]),
    near_m=st.integers(0, 100_000),
    more_m=st.integers(0, 50_000),
)
def test_a_longer_ride_is_never_cheaper(
    priced, tariff, ride, category, media, carriage_class, near_m, more_m
):
    near, far = (
        priced(
            ride(
                "metro",
                "08:00",
                rider_category=category,
                fare_media=media,
                carriage_class=carriage_class,
                distance_m=distance_m,
            ),
            tariff,
        ).fare_fen
        for distance_m in (near_m, near_m + more_m)
    )
    assert near <= far


@given(fare_fen=st.integers(0, 5_000), more_fen=st.integers(0, 500))
def test_on_the_bus_a_higher_full_fare_is_never_cheaper(priced, tariff, ride, fare_fen, more_fen):
    lower, higher = (
        priced(ride("bus M390", "08:00", gate_fare_fen=full), tariff).fare_fen
        for full in (fare_fen, fare_fen + more_fen)
    )
    assert lower <= higher
    assert higher * 100 >= (fare_fen + more_fen) * 65
