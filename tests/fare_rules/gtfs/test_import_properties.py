"""Feeds made by chance: each leg costs what the specification's words come to, read afresh here."""

import random
from itertools import product

import pytest

from fare_rules.gtfs import UnusableFeed

NETWORKS = ("bus", "tram", "boat")
STOPS = {"a": {"west"}, "b": {"west", "hill"}, "c": {"east"}, "d": set()}
AREAS = ("west", "hill", "east")
RIDERS = ("adult", "child")
MEDIA = ("card", "cash")
HOURS = {"early": (0, 8), "day": (7, 24)}


def any_feed(chance: random.Random):
    """Make rows of products and leg rules."""
    products = {}
    for number in range(4):
        rows = products[f"p{number}"] = {}
        for rider, media in product(("", *RIDERS), ("", *MEDIA)):
            if chance.random() < 0.4:
                rows[rider, media] = chance.randrange(0, 500)
        if not rows:
            rows["", ""] = chance.randrange(0, 500)
    rules = [
        {
            "network_id": chance.choice(("", *NETWORKS)),
            "from_area_id": chance.choice(("", "", *AREAS)),
            "to_area_id": chance.choice(("", "", *AREAS)),
            "from_timeframe_group_id": chance.choice(("", "", *HOURS)),
            "fare_product_id": chance.choice(list(products)),
            "rule_priority": chance.randrange(3),
        }
        for _ in range(chance.randrange(1, 8))
    ]
    return products, rules, chance.random() < 0.5


def price_of(rows, rider, media):
    if (rider, media) in rows:
        return rows[rider, media]
    partly = [rows[key] for key in ((rider, ""), ("", media)) if key in rows]
    return min(partly) if partly else rows.get(("", ""))


def expected_fare(products, rules, has_priorities, network, start, end, hour, rider, media):
    """Read fare_leg_rules as the specification says; of what is left, the cheapest."""
    found = []
    for rule in rules:
        price = price_of(products[rule["fare_product_id"]], rider, media)
        named = {
            "network_id": {network},
            "from_area_id": STOPS[start],
            "to_area_id": STOPS[end],
        }
        fits = price is not None
        for column, values in named.items():
            listed = {other[column] for other in rules} - {""}
            if rule[column]:
                fits = fits and rule[column] in values
            elif not has_priorities:
                fits = fits and listed.isdisjoint(values)
        if frame := rule["from_timeframe_group_id"]:
            first, last = HOURS[frame]
            fits = fits and first <= hour < last
        if fits:
            found.append((-rule["rule_priority"] if has_priorities else 0, price))
    return min(found)[1] if found else None


@pytest.mark.parametrize("seed", range(12))
def test_each_leg_costs_what_the_feed_says(imported, there_and_back, seed):
    products, rules, has_priorities = any_feed(random.Random(seed))
    columns = [key for key in rules[0] if has_priorities or key != "rule_priority"]
    tables = {
        "networks": "network_id\n" + "\n".join(NETWORKS),
        "areas": "area_id\n" + "\n".join(AREAS),
        "stops": "stop_id\n" + "\n".join(STOPS),
        "stop_areas": "area_id,stop_id\n"
        + "\n".join(f"{area},{stop}" for stop, areas in STOPS.items() for area in sorted(areas)),
        "rider_categories": "rider_category_id,is_default_fare_category\nadult,1\nchild,0",
        "fare_media": "fare_media_id,fare_media_type\ncard,2\ncash,0",
        "calendar": "service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,"
        "start_date,end_date\ndaily,1,1,1,1,1,1,1,20260101,20261231",
        "timeframes": "timeframe_group_id,start_time,end_time,service_id\n"
        + "\n".join(f"{name},{a}:00:00,{b}:00:00,daily" for name, (a, b) in HOURS.items()),
        "fare_products": "fare_product_id,rider_category_id,fare_media_id,amount,currency\n"
        + "\n".join(
            f"{name},{rider},{media},{price / 100:.2f},EUR"
            for name, rows in products.items()
            for (rider, media), price in rows.items()
        ),
        "fare_leg_rules": ",".join(columns)
        + "\n"
        + "\n".join(",".join(str(rule[column]) for column in columns) for rule in rules),
    }
    faults: tuple[str, ...] = ()
    try:
        city = imported(**tables)
    except UnusableFeed as unusable:
        faults = unusable.faults
    if faults:
        assert faults == ("fare_leg_rules.txt:1: No rule has a leg and a price",)
        return
    back = there_and_back(city)
    kept = {network.id for network in city.tariff.networks}
    for network, start, end, hour, rider, media in product(
        NETWORKS, STOPS, STOPS, (6, 7, 12), RIDERS, MEDIA
    ):
        if start == end:
            continue
        expected = expected_fare(
            products, rules, has_priorities, network, start, end, hour, rider, media
        )
        ride = f"{network} {start}>{end} mon {hour:02}:00-{hour:02}:40"
        # Where priorities differ by rider, GTFS cannot say all of them; the export says so.
        exact = not any("by the leg alone" in remark for remark in back.remarks)
        for each in ((city, back) if exact else (city,)) if network in kept else ():
            assert each.fare_or_none(ride, rider, media) == expected, (ride, rider, media)
        assert network in kept or expected is None
