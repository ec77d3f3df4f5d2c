"""Tariffs of a little city, as Hypothesis draws them, and days of taps in it.

The city: five stops on a line through three zones, a metro with gates, a bus tapped on, a ferry
tapped on and off. The rules are drawn; those that `check` accepts must price whatever is tapped.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import yaml
from hypothesis import strategies as st

from fare_rules import Action, RideTap, TariffBook, TariffFaults, load_book

STOPS = {"a": "1", "b": "1 2", "c": "2", "d": "3", "e": "3"}
STOPS_CSV = "stop_id,zones,areas\n" + "".join(
    f"{stop},{zones},{'centre' if '1' in zones else 'rest'}\n" for stop, zones in STOPS.items()
)
LINKS_CSV = "from_stop,to_stop,distance_m\na,b,900\nb,c,2100\nc,d,4000\nd,e,7500\n"
ROUTES_CSV = "route_id,stop_id,stop_sequence\n" + "".join(
    f"7,{stop},{number}\n" for number, stop in enumerate(STOPS)
)
FIRST = datetime(2026, 3, 1, 6, tzinfo=UTC)
NETWORKS = ["metro", "bus", "ferry"]
CATEGORIES, MEDIA = ["adult", "child"], ["card", "phone"]

amounts = st.integers(0, 1_200).map(lambda fen: f"{fen // 100}.{fen % 100:02}")
some_amounts = st.integers(1, 1_200).map(lambda fen: f"{fen // 100}.{fen % 100:02}")
percents = st.integers(0, 100)
roundings = st.fixed_dictionaries(
    {"mode": st.sampled_from(["half_up", "half_even", "up", "down"])},
    optional={"step": st.sampled_from(["0.05", "0.10", "1"])},
)


def lists(choices: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(choices), max_size=2, unique=True)


pricings = st.one_of(
    st.fixed_dictionaries({"kind": st.just("flat"), "amount": amounts}),
    st.tuples(amounts, amounts, amounts).map(
        lambda three: {
            "kind": "distance_bands",
            "bands": [
                {"up_to_km": km, "amount": fare}
                for km, fare in zip(("1", "3", "8.5"), sorted(three, key=float), strict=True)
            ],
            "beyond": {"every_km": "5", "add": "1"},
        }
    ),
    st.tuples(amounts, amounts, amounts).map(
        lambda three: {
            "kind": "zones",
            "fares": [
                {"zones": zones, "amount": fare}
                for zones, fare in zip(("1", "1-2", "1-3"), sorted(three, key=float), strict=True)
            ],
        }
    ),
    st.tuples(amounts, amounts).map(
        lambda two: {
            "kind": "stop_bands",
            "bands": [
                {"up_to_stops": stops, "amount": fare}
                for stops, fare in zip((1, 3), sorted(two, key=float), strict=True)
            ],
        }
    ),
    st.tuples(amounts, amounts).map(
        lambda two: {
            "kind": "time_bands",
            "bands": [
                {"up_to_minutes": minutes, "amount": fare}
                for minutes, fare in zip((10, 45), sorted(two, key=float), strict=True)
            ],
            "beyond": {"every_minutes": 20, "add": "0.50"},
            "maximum": "11",
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("per_km"),
            "rate": st.sampled_from(["0.1", "0.155"]),
            "rounding": roundings,
        }
    ),
    st.just({"kind": "gate_names"}),
)
pays = st.one_of(
    st.fixed_dictionaries({"kind": st.just("percent"), "percent": percents, "rounding": roundings}),
    st.fixed_dictionaries({"kind": st.sampled_from(["amount", "less"]), "amount": amounts}),
    st.just({"kind": "free"}),
)
extensions = st.fixed_dictionaries(
    {
        "kind": st.just("extension"),
        "zones": st.sampled_from([["1"], ["2"], ["1-2"], ["1", "3"], ["1-3"]]),
    }
)
periods = st.one_of(
    st.sampled_from([{"kind": "service_day"}, {"kind": "week"}, {"kind": "month"}]),
    st.fixed_dictionaries({"kind": st.just("rolling"), "minutes": st.integers(30, 2_000)}),
    st.fixed_dictionaries({"kind": st.just("rolling"), "service_days": st.integers(1, 3)}),
    st.fixed_dictionaries({"kind": st.just("trailing"), "days": st.integers(1, 3)}),
)
sponsors = st.sampled_from([None, "bank", "city"])


def without_none(record: dict) -> dict:
    return {key: value for key, value in record.items() if value is not None}


def for_holders_alone(transfer: dict) -> dict:
    """Take companions out where what they have paid would have to be known."""
    return transfer | (
        {"for_companions": False} if transfer["pays"]["kind"] == "difference" else {}
    )


transfers = st.fixed_dictionaries(
    {
        "id": st.just("change"),
        "reference": st.just("t"),
        "from": st.fixed_dictionaries({"networks": lists(NETWORKS)}),
        "to": st.fixed_dictionaries({"networks": lists(NETWORKS)}),
        "pays": pays | st.just({"kind": "difference"}),
        "window_minutes": st.integers(0, 120),
        "window_from": st.sampled_from(
            ["previous_boarding", "previous_last_tap", "first_boarding", "first_last_tap"]
        ),
        "window_to": st.sampled_from(["boarding", "last_tap"]),
        "transfers_max": st.sampled_from([None, 1, 2]),
        "different_route": st.booleans(),
        "others_between": st.booleans(),
        "chain": st.sampled_from(["any", "own"]),
        "window_starts": st.sampled_from(["at_once", "next_full_hour"]),
        "same_service_day": st.booleans(),
        "for_companions": st.booleans(),
        "no_route_twice": st.booleans(),
        "borne_by": sponsors,
    }
).map(lambda rule: for_holders_alone(without_none(rule)))
joins = st.fixed_dictionaries(
    {
        "id": st.just("through"),
        "reference": st.just("j"),
        "from": st.fixed_dictionaries({"networks": lists(NETWORKS)}),
        "window_minutes": st.integers(0, 60),
        "legs_max": st.sampled_from([None, 2, 3]),
        "journey_minutes_by_zones": st.sampled_from(
            [
                None,
                [{"up_to_zones": 1, "minutes": 30}, {"up_to_zones": 2, "minutes": 90}],
            ]
        ),
        "price_as": st.sampled_from(["last", "first", "highest", "sum"]),
        "leg_by_leg": st.booleans(),
        "at_most_alone": st.booleans(),
        "less": st.sampled_from([None, "0.70"]),
        "distance": st.sampled_from(["sum", "direct"]),
    }
).map(without_none)
caps = st.fixed_dictionaries(
    {
        "id": st.just("cap"),
        "reference": st.just("c"),
        "networks": lists(NETWORKS),
        "period": periods,
        "same_place_minutes": st.sampled_from([0, 0, 15]),
    },
).flatmap(
    lambda cap: st.one_of(
        some_amounts.map(lambda fen: cap | {"amount": fen}),
        st.integers(1, 5).map(lambda rides: cap | {"rides": rides}),
        some_amounts.map(
            lambda fen: (
                cap
                | {"by_zones": [{"zones": "1-2", "amount": fen}, {"zones": "1-3", "amount": "13"}]}
            )
        ),
    )
)
tiers = st.fixed_dictionaries(
    {
        "id": st.just("tier"),
        "reference": st.just("m"),
        "period": periods,
        "for_each": st.sampled_from([None, None, "route", "stops"]),
        "reading": st.sampled_from(["per_trip", "split"]),
        "steps": st.tuples(percents, percents).map(
            lambda two: [{"from": "3", "percent": two[0]}, {"from": "9", "percent": two[1]}]
        ),
        "rounding": roundings,
        "borne_by": sponsors,
    }
).map(without_none)
promotions = st.fixed_dictionaries(
    {
        "id": st.just("promotion"),
        "reference": st.just("p"),
        "pays": pays | extensions,
        "borne_by": st.just("bank"),
        "sponsor_pays_max": st.none() | some_amounts,
        "uses_max": st.sampled_from([None, 1, 2]),
        "days_from_first_use": st.sampled_from([None, 1]),
        "coupon": st.sampled_from([None, None, {"days": 1, "uses": 2}]),
    }
).map(without_none)
same_stop_exits = st.sampled_from(
    [
        [],
        [{"charge": "free"}],
        [
            {"up_to_minutes": 2, "charge": "incomplete"},
            {"up_to_minutes": 30, "charge": "ride"},
            {"charge": "two_incomplete"},
        ],
        [{"up_to_minutes": 20, "charge": "amount", "amount": "2"}, {"charge": "ride"}],
    ]
)


incomplete_charges = st.one_of(
    amounts.map(lambda fen: {"kind": "amount", "amount": fen}),
    st.just({"kind": "product", "product": "bus_ride"}),
)


@st.composite
def tariffs(draw) -> dict:
    """A tariff as data, before it is written to a file."""

    def some(rules) -> list:
        return draw(st.lists(rules, max_size=1))

    products = [
        {"id": f"{network}_ride", "reference": "f", "pricing": draw(pricings)}
        for network in NETWORKS
    ]
    time = {
        "minutes": draw(st.integers(20, 200)),
        "over": draw(st.sampled_from(["incomplete", "ride"])),
    }
    networks = [
        {
            "id": "metro", "taps": "enter_exit", "reference": "n", "links": "links.csv",
            "journey_time": time, "same_stop_exit": draw(same_stop_exits),
            "pass_back_seconds": draw(st.sampled_from([0, 20])),
        },
        {"id": "bus", "taps": "board", "reference": "n", "route_stops": "routes.csv"},
        {
            "id": "ferry", "taps": "board_alight", "reference": "n", "links": "links.csv",
            "journey_time": {"minutes": 90},
        },
    ]  # fmt: skip
    if draw(st.booleans()):
        networks[0]["completion"] = {"legs_min": 2}
    return {
        "tariff": "city",
        "effective_from": "2026-01-01",
        "reference": "Notice",
        "timezone": "Europe/Madrid",
        "service_day_starts": draw(st.sampled_from(["00:00", "04:00"])),
        "currency": "EUR",
        "zones": [1, 2, 3],
        "stops": "stops.csv",
        "areas": [{"id": "centre", "stops": []}, {"id": "rest", "stops": []}],
        "rider_categories": [{"id": "adult", "default": True}, {"id": "child"}],
        "fare_media": [{"id": "card"}, {"id": "phone"}],
        "sponsors": [{"id": "bank"}, {"id": "city"}],
        "networks": networks,
        "fare_products": products,
        "fare_leg_rules": [
            {"id": network, "networks": [network], "product": f"{network}_ride"}
            for network in NETWORKS
        ],
        "incomplete_leg_rules": [
            {
                "id": "maximum",
                "reference": "i",
                "charge": draw(incomplete_charges),
            }
        ],
        "surcharges": some(
            st.fixed_dictionaries(
                {
                    "id": st.just("extra"),
                    "reference": st.just("x"),
                    "amount": some_amounts,
                    "networks": lists(NETWORKS),
                    "over_time": st.booleans(),
                    "in_caps": st.booleans(),
                }
            ).map(lambda rule: rule | ({"every_minutes": 30} if rule["over_time"] else {}))
        ),
        "concessions": some(
            st.fixed_dictionaries(
                {
                    "id": st.just("child"),
                    "reference": st.just("k"),
                    "pays": pays | extensions,
                    "rider_categories": st.just(["child"]),
                    "borne_by": sponsors,
                }
            ).map(without_none)
        ),
        "fare_leg_join_rules": some(joins),
        "fare_transfer_rules": some(transfers),
        "fare_tiers": some(tiers),
        "fare_caps": some(caps),
        "promotions": some(promotions),
        "order": draw(st.permutations(["concessions", "transfers", "tiers", "caps", "promotions"])),
    }


def book_of(tariff: dict) -> TariffBook | None:
    """Write and load a tariff; None where `check` finds a fault in it."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (
            ("stops.csv", STOPS_CSV), ("links.csv", LINKS_CSV), ("routes.csv", ROUTES_CSV),
            ("2026-01-01.yaml", yaml.safe_dump(tariff, sort_keys=False)),
        ):  # fmt: skip
            (Path(folder) / name).write_text(text)
        try:
            return load_book(Path(folder))
        except TariffFaults:
            return None


ACTIONS = {
    "metro": [Action.ENTER, Action.EXIT, Action.TOUCH],
    "bus": [Action.BOARD],
    "ferry": [Action.BOARD, Action.ALIGHT],
}
SPOTS = [(network, action) for network in NETWORKS for action in ACTIONS[network]]
# Minutes in which legs meet: a double beep, a change, a ride; and the turn of a day.
MINUTES = st.one_of(st.integers(0, 200), st.integers(900, 1_100), st.integers(1_380, 1_500))


@st.composite
def days(draw, *, max_size: int = 14, riders_max: int = 3) -> list[RideTap]:
    """Taps of one card over two days, in the order of their events."""
    told = draw(
        st.lists(
            st.tuples(
                MINUTES,
                st.integers(0, 59),
                st.sampled_from(SPOTS),
                st.sampled_from(list(STOPS)),
                st.sampled_from([None, "7", "8"]),
                st.sampled_from([None, 0, 250]),
                st.sampled_from([None, None, 2_500]),
                st.integers(1, riders_max),
            ),
            min_size=1,
            max_size=max_size,
        )
    )
    category, media = draw(st.sampled_from(CATEGORIES)), draw(st.sampled_from(MEDIA))
    taps = [
        RideTap(
            tap_id=UUID(int=number),
            gate_id=f"gate {stop}",
            sequence=number,
            tapped_at=FIRST + timedelta(minutes=minute, seconds=second),
            media_token="card",
            action=action,
            network=network,
            operator_id="operator",
            rider_category=category,
            fare_media=media,
            stop_id=stop,
            route_id=route if network != "metro" else None,
            full_fare=fare,
            distance_m=metres,
            riders_count=riders,
            coupons=(("promotion", FIRST), ("promotion", FIRST + timedelta(hours=1))),
        )
        for number, (minute, second, (network, action), stop, route, fare, metres, riders) in
        enumerate(told, 1)
    ]  # fmt: skip
    return sorted(taps, key=lambda tap: tap.order)
