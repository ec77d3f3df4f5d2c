"""Full fares at the edges of their bands, tables and zones; and the taps that make a leg.

A little town is told in its own tariff; each test writes the sections it is about over the town's.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
import yamlcore
from yaml import load

from fare_rules import Action, RiderState, RideTap, TariffBook, fold, load_book
from fare_rules.examples import instant_of, line_said
from fare_rules.fold import Fold
from fare_rules.quotes import QuoteLine

TOWN = """
tariff: town
effective_from: 2026-01-01
reference: Town fare notice
timezone: Asia/Shanghai
service_day_starts: 04:00
currency: CNY
rider_categories: [{id: adult, default: true}, {id: child}]
fare_media: [{id: card}, {id: phone}]
sponsors: [{id: bank}]
zones: [1, 2, 3]
stops:
  - {id: a, zones: [1]}
  - {id: b, zones: [1, 2]}
  - {id: c, zones: [2]}
  - {id: d, zones: [3], areas: [shore]}
  - {id: pier, areas: [shore]}
areas: [{id: shore}]
networks:
  - {id: metro, taps: enter_exit, links: links.csv, journey_time: {minutes: 120}, reference: n}
  - {id: bus, taps: board, reference: n}
  - {id: tram, taps: board, reference: n}
fare_products:
  - {id: metro_ride, reference: p, pricing: {kind: flat, amount: 4}}
  - {id: bus_ride, reference: p, pricing: {kind: flat, amount: 2}}
  - {id: tram_ride, reference: p, pricing: {kind: flat, amount: 3}}
fare_leg_rules:
  - {id: metro, networks: [metro], product: metro_ride}
  - {id: bus, networks: [bus], product: bus_ride}
  - {id: tram, networks: [tram], product: tram_ride}
incomplete_leg_rules:
  - {id: no_end, reference: i, charge: {kind: amount, amount: 9}}
"""
EVER = datetime.max.replace(tzinfo=UTC)
LINKS = "from_stop,to_stop,distance_m\na,b,1000\nb,c,2000\nc,d,4000\n"


def read(text: str) -> dict:
    return load(text, Loader=yamlcore.CCoreLoader)


def town(folder: Path, rules: str, *, effective: str = "2026-01-01", **tables: str) -> TariffBook:
    """The town's tariff with some sections of a test's own, beside those that came before."""
    sections = read(TOWN) | {"effective_from": effective} | read(rules)
    (folder / f"{effective}.yaml").write_text(json.dumps(sections))
    for name, text in ({"links": LINKS} | tables).items():
        (folder / f"{name}.csv").write_text(text)
    return load_book(folder)


def tap(number: int, said: str, book: TariffBook) -> RideTap:
    """Read a tap as one would tell it: `01-06 08:00 enter metro a riders=2`; else on 5 January."""
    words, values = [], {}
    for word in said.split():
        key, is_value, value = word.partition("=")
        if is_value:
            values[key] = value
        else:
            words.append(key)
    day = words.pop(0) if "-" in words[0] else "01-05"
    day = day if day.count("-") == 2 else f"2026-{day}"
    clock, action, network, *stop = words
    first_day = book.tariffs[0].effective_from
    coupon = f"2026-{values['coupon'].replace('T', ' ')}" if "coupon" in values else None
    return RideTap(
        tap_id=UUID(int=number),
        gate_id="gate",
        sequence=number,
        tapped_at=instant_of(f"{day} {clock}", first_day, book.timezone),
        media_token="token",
        action=Action(action),
        network=network,
        operator_id="operator",
        rider_category=values.get("who", "adult"),
        fare_media=values.get("media", "card"),
        stop_id=stop[0] if stop else None,
        route_id=values.get("route"),
        vehicle_id=values.get("vehicle"),
        full_fare=int(values["named"]) if "named" in values else None,
        riders_count=int(values.get("riders", 1)),
        distance_m=int(values["metres"]) if "metres" in values else None,
        transfer_proven="proven" in values,
        coupons=(("gift", instant_of(coupon, first_day, book.timezone)),) if coupon else (),
    )


def ridden(book: TariffBook, *said: str, state: RiderState | None = None) -> Fold:
    """Fold some taps to the end of time, so that nothing is open any more."""
    taps = [tap(number, words, book) for number, words in enumerate(said, 1)]
    return fold(taps, book, state=state or RiderState(), swept_until=EVER)


def charged(book: TariffBook, *said: str, state: RiderState | None = None) -> list[str]:
    """What each charge is made of, in words: `bus_ride 2.00, change -1.00`."""
    folded = ridden(book, *said, state=state)
    refused = [str(refusal) for refusal in folded.refused.values()]
    return [lines_of(charge.quote.lines) for charge in folded.charges.values()] + refused


def lines_of(lines: tuple[QuoteLine, ...]) -> str:
    return ", ".join(line_said(line, 2) for line in lines)


LINKED = """
networks:
  - {id: metro, taps: enter_exit, links: links.csv, journey_time: {minutes: 120}, reference: n}
  - {id: bus, taps: board, reference: n}
  - {id: tram, taps: board, reference: n}
"""


def metro_costs(folder: Path, pricing: str, more: str = "", **tables: str) -> TariffBook:
    """The town with another way of pricing its metro."""
    products = f"""
fare_products:
  - {{id: bus_ride, reference: p, pricing: {{kind: flat, amount: 2}}}}
  - {{id: tram_ride, reference: p, pricing: {{kind: flat, amount: 3}}}}
  - {{id: metro_ride, reference: p, pricing: {{{pricing}}}}}
"""
    return town(folder, products + more, **tables)


def fare(book: TariffBook, from_stop: str, to_stop: str, how: str = "") -> str:
    """What one ride on the metro costs."""
    said = (f"08:00 enter metro {from_stop} {how}", f"08:20 exit metro {to_stop} {how}")
    (lines,) = charged(book, *said)
    return lines.removeprefix("metro_ride ")


def test_a_band_that_ends_exclusively_does_not_hold_its_own_end(tmp_path):
    book = metro_costs(
        tmp_path,
        """
      kind: distance_bands, ends: exclusive, beyond: {every_km: 2, add: 0.50}, maximum: 3,
      bands: [{up_to_km: 1, amount: 1}, {up_to_km: 3, amount: 2}]""",
    )
    metres = (999, 1000, 2999, 3000, 4998, 4999, 5000, 7000, 90_000)
    fares = [fare(book, "a", "c", f"metres={distance}") for distance in metres]
    assert fares == ["1.00", "2.00", "2.00", "2.50", "2.50", "2.50", "3.00", "3.00", "3.00"]


def test_a_fare_by_the_kilometre_lies_between_its_least_and_its_most(tmp_path):
    book = metro_costs(
        tmp_path,
        "kind: per_km, rate: 0.5, start: 1, minimum: 2, maximum: 5, "
        "rounding: {mode: up, step: 0.10}",
    )
    fares = [fare(book, "a", "c", f"metres={metres}") for metres in (0, 2000, 2001, 7900, 9000)]
    assert fares == ["2.00", "2.00", "2.10", "5.00", "5.00"]


ZONE_COUNT = "kind: zone_count, bands: [{up_to_zones: 1, amount: 2}, {up_to_zones: 2, amount: 3}]"


def test_zones_are_counted_along_the_line_and_the_last_fare_holds_for_more(tmp_path):
    book = metro_costs(tmp_path, ZONE_COUNT)
    ends = (("a", "a"), ("a", "b"), ("a", "c"), ("c", "b"), ("c", "d"), ("a", "d"))
    assert [fare(book, *pair) for pair in ends] == ["2.00", "2.00", "3.00", "2.00", "3.00", "3.00"]


def test_a_ride_costs_the_same_both_ways_over_a_boundary_stop(tmp_path):
    book = metro_costs(tmp_path, ZONE_COUNT)
    assert fare(book, "b", "c") == fare(book, "c", "b") == "2.00"


def test_the_only_fare_by_zones_is_for_any_number_of_them(tmp_path):
    book = metro_costs(tmp_path, "kind: zone_count, bands: [{up_to_zones: 1, amount: 2}]")
    assert fare(book, "a", "d") == "2.00"


def test_a_line_that_turns_back_crosses_each_zone_once(tmp_path):
    stops = "stops: [{id: a, zones: [1]}, {id: c, zones: [3]}, {id: x, zones: [1]}, {id: y}]\n"
    lines = "from_stop,to_stop,distance_m\na,c,10\nc,x,10\n"
    book = metro_costs(tmp_path, ZONE_COUNT, stops + "areas: []\n", links=lines)
    assert fare(book, "a", "x") == "3.00"
    # Zones 1 and 3 are the ends, but the line goes from the one straight into the other.
    assert fare(book, "a", "c") == "3.00"
    assert fare(book, "a", "y") == "no_zone"


def test_off_the_line_zones_are_counted_by_their_order(tmp_path):
    pricing = ZONE_COUNT.replace("]", ", {up_to_zones: 3, amount: 4}, {up_to_zones: 4, amount: 5}]")
    stops = "stops: [{id: a, zones: [1]}, {id: c, zones: [2]}, {id: d, zones: [3]}]\nareas: []\n"
    lines = "from_stop,to_stop,distance_m\na,c,10\n"
    book = metro_costs(tmp_path, pricing, stops, links=lines)
    assert [fare(book, "a", to_stop) for to_stop in "acd"] == ["2.00", "3.00", "4.00"]
    assert fare(book, "c", "d") == "3.00"


@pytest.mark.parametrize("taps", ["enter_exit", "board_alight"])
@pytest.mark.parametrize(
    "pricing", [ZONE_COUNT, "kind: zones, fares: [{zones: 1, amount: 2}, {zones: 1-3, amount: 4}]"]
)
def test_a_ride_whose_gate_does_not_say_where_it_is_has_no_fare_by_zones(tmp_path, taps, pricing):
    book = metro_costs(tmp_path, pricing, LINKED.replace("enter_exit", taps))
    first, last = ("enter", "exit") if taps == "enter_exit" else ("board", "alight")
    for ends in (("a", ""), ("", "a"), ("", "")):
        ride = [f"08:00 {first} metro {ends[0]}", f"08:20 {last} metro {ends[1]}"]
        assert charged(book, *ride) == ["no_zone"]


def test_a_boarding_alone_is_in_the_zone_where_it_is(tmp_path):
    board = LINKED.replace("enter_exit", "board").replace("journey_time: {minutes: 120}, ", "")
    book = metro_costs(tmp_path, ZONE_COUNT, board)
    assert charged(book, "08:00 board metro a") == ["metro_ride 2.00"]


def test_a_table_by_zones_takes_the_cheaper_zone_of_a_boundary_stop(tmp_path):
    table = "from,to,amount\n1,1,2\n1,2,3\n2,2,2.50\n2,3,4\n1,3,6\n3,3,1\n"
    book = metro_costs(tmp_path, "kind: matrix, table: fares.csv, by: zones", fares=table)
    ends = (("a", "b"), ("b", "c"), ("c", "a"), ("d", "b"), ("a", "d"), ("a", "pier"))
    fares = [fare(book, *pair) for pair in ends]
    assert fares == ["2.00", "2.50", "3.00", "4.00", "6.00", "no_pair"]


def test_a_table_by_areas_prices_only_the_stops_that_lie_in_one(tmp_path):
    table = "from,to,amount\nshore,shore,1.50\n"
    book = metro_costs(tmp_path, "kind: matrix, table: fares.csv, by: areas", fares=table)
    ends = (("d", "pier"), ("a", "d"), ("d", "nowhere"))
    assert [fare(book, *pair) for pair in ends] == ["1.50", "no_pair", "no_pair"]
    assert charged(book, "08:00 enter metro", "08:20 exit metro d") == ["no_pair"]


def test_a_table_may_have_another_fare_for_the_way_back(tmp_path):
    book = metro_costs(
        tmp_path,
        "kind: matrix, table: fares.csv",
        "stops: [{id: a}, {id: c}]\nareas: []\nzones: []\n",
        fares="from,to,amount\na,c,3\nc,a,2\n",
        links="from_stop,to_stop,distance_m\na,c,10\n",
    )
    assert [fare(book, "a", "c"), fare(book, "c", "a"), fare(book, "a", "x")] == [
        "3.00",
        "2.00",
        "no_pair",
    ]


COMPARED = """
  - {id: by_table, reference: p, pricing: {kind: matrix, table: fares.csv}}
  - {id: by_metre, reference: p, pricing: {kind: per_km, rate: 1, rounding: {mode: down}}}
"""


def test_the_best_of_two_products_is_of_those_that_have_a_fare(tmp_path):
    table = "from,to,amount\na,b,3\na,c,1\n"
    found = {}
    for take in ("lowest", "highest", "sum"):
        (tmp_path / take).mkdir()
        pricing = f"kind: best_of, take: {take}, of_products: [by_table, by_metre]"
        book = metro_costs(tmp_path / take, pricing, COMPARED, fares=table)
        ends = (("a", "b"), ("a", "c"), ("b", "c"), ("b", "pier"))
        found[take] = [fare(book, *pair) for pair in ends]
    assert found == {
        "lowest": ["1.00", "1.00", "2.00", "no_pair"],
        "highest": ["3.00", "3.00", "2.00", "no_pair"],
        "sum": ["4.00", "4.00", "no_pair", "no_pair"],
    }


def test_a_formula_rounds_half_up_where_it_does_not_say_how(tmp_path):
    book = metro_costs(
        tmp_path,
        "kind: formula, of_product: by_metre, subtract: 1.50, times: 3, percent: 33.5, add: 0.20",
        COMPARED,
        fares="from,to,amount\na,b,3\n",
    )
    # (3 - 1.50) x 3 = 4.50, of which 33.5 % are 1.5075.
    assert fare(book, "a", "c") == "1.71"
    assert fare(book, "a", "b") == "0.20"
    # (3.11 - 1.50) x 3 x 33.5 % are 1.61805; of 3.20, 1.7085; of 3.30, 1.809.
    fares = [fare(book, "a", "c", f"metres={metres}") for metres in (3110, 3200, 3300)]
    assert fares == ["1.82", "1.91", "2.01"]


@pytest.mark.parametrize(
    ("rounding", "costs"),
    [("", "1.51"), (", rounding: {mode: half_even}", "1.50"), (", rounding: {mode: up}", "1.51")],
)
def test_half_a_fen_is_rounded_as_the_formula_says(tmp_path, rounding, costs):
    formula = f"kind: formula, of_product: by_metre, percent: 50{rounding}"
    book = metro_costs(tmp_path, formula, COMPARED, fares="from,to,amount\na,b,3\n")
    assert fare(book, "a", "c", "metres=3010") == costs


def test_more_than_half_a_fen_is_a_fen(tmp_path):
    formula = "kind: formula, of_product: by_metre, percent: 90, rounding: {mode: half_even}"
    book = metro_costs(tmp_path, formula, COMPARED, fares="from,to,amount\na,b,3\n")
    # 2.727 and 2.718
    fares = [fare(book, "a", "c", f"metres={metres}") for metres in (3030, 3020)]
    assert fares == ["2.73", "2.72"]


def test_a_long_ride_counts_as_one_of_the_longest_distance(tmp_path):
    network = LINKED.replace("links: links.csv", "links: links.csv, distance_max_km: 5")
    book = metro_costs(tmp_path, "kind: per_km, rate: 1, rounding: {mode: down}", network)
    assert [fare(book, "a", "c"), fare(book, "a", "d")] == ["3.00", "5.00"]
    assert fare(book, "a", "c", "metres=5001") == "5.00"


def test_stops_are_counted_over_the_links_where_no_route_is_known(tmp_path):
    book = metro_costs(
        tmp_path,
        "kind: stop_bands, bands: [{up_to_stops: 1, amount: 1}, {up_to_stops: 2, amount: 2}]",
    )
    assert [fare(book, "a", to_stop) for to_stop in "abcd"] == ["1.00", "1.00", "2.00", "2.00"]
    assert fare(book, "a", "pier") == "no_distance"
    assert charged(book, "08:00 enter metro a", "08:20 exit metro") == ["no_distance"]
    assert charged(book, "08:00 enter metro", "08:20 exit metro a") == ["no_distance"]


ROUTES = "route_id,stop_id,stop_sequence,distance_m\n7,a,1,0\n7,b,2,500\n7,c,3,\n7,d,4,9000\n"
ALONG_ROUTES = """
networks:
  - {id: metro, taps: enter_exit, links: links.csv, distances: known.csv, route_stops: routes.csv,
     journey_time: {minutes: 120}, reference: n}
  - {id: bus, taps: board, reference: n}
  - {id: tram, taps: board, reference: n}
"""


def test_a_distance_is_of_the_table_else_along_the_route_else_over_the_links(tmp_path):
    book = metro_costs(
        tmp_path,
        "kind: per_km, rate: 1, rounding: {mode: up}",
        ALONG_ROUTES,
        known="from_stop,to_stop,distance_m\na,d,8000\n",
        routes=ROUTES,
    )
    on_7 = "route=7"
    assert fare(book, "a", "d", on_7) == "8.00"
    assert fare(book, "a", "b", on_7) == "0.50"
    assert fare(book, "d", "b", on_7) == "8.50"
    # How far c lies from the start of the route is not known, whichever end it is.
    assert [fare(book, "a", "c", on_7), fare(book, "c", "b", on_7)] == ["3.00", "2.00"]
    assert [fare(book, "a", "b"), fare(book, "b", "b")] == ["1.00", "0.00"]
    assert [fare(book, "a", "pier", on_7), fare(book, "pier", "a")] == ["no_distance"] * 2
    assert charged(book, "08:00 enter metro a", "08:20 exit metro") == ["no_distance"]


def test_stops_on_the_route_go_before_the_links(tmp_path):
    book = metro_costs(
        tmp_path,
        "kind: stop_bands, bands: [{up_to_stops: 1, amount: 1}], beyond: {every_stops: 1, add: 1}",
        ALONG_ROUTES,
        known="from_stop,to_stop,distance_m\na,d,8000\n",
        routes=ROUTES.replace("7,c,3,", "7,x,3,").replace("7,d,4", "7,y,4"),
        links=LINKS + "x,y,100\nb,x,100\n",
    )
    assert [fare(book, "a", "y", "route=7"), fare(book, "b", "c", "route=7")] == ["3.00", "1.00"]


BY_STOPS = "kind: stop_bands, bands: [{up_to_stops: 1, amount: 1}, {up_to_stops: 9, amount: 2}]"
ON_ROUTES = ALONG_ROUTES.replace("links: links.csv, distances: known.csv, ", "")


def test_off_its_route_a_ride_has_no_number_of_stops(tmp_path):
    book = metro_costs(tmp_path, BY_STOPS, ON_ROUTES, routes=ROUTES)
    assert [fare(book, "a", "c", "route=7"), fare(book, "c", "b", "route=7")] == ["2.00", "1.00"]
    assert [fare(book, "a", "c", "route=8"), fare(book, "a", "c")] == ["no_distance"] * 2
    assert fare(book, "a", "pier", "route=7") == "no_distance"


def test_the_dearest_ride_is_one_along_the_route(tmp_path):
    dearest = """
incomplete_leg_rules:
  - {id: to_the_end, reference: i, charge: {kind: dearest}}
"""
    stops = "stops: [{id: a}, {id: b}, {id: c}]\nareas: []\nzones: []\n"
    book = metro_costs(
        tmp_path,
        "kind: matrix, table: fares.csv",
        ON_ROUTES + dearest + stops,
        routes="route_id,stop_id,stop_sequence\n7,a,1\n7,b,2\n7,c,3\n8,a,1\n8,b,2\n",
        fares="from,to,amount\na,b,1\na,c,5\nb,c,4\na,a,9\nb,b,9\nc,c,9\n",
    )
    alone = [charged(book, f"08:00 exit metro a {route}") for route in ("route=7", "route=8", "")]
    assert alone == [["to_the_end 5.00"], ["to_the_end 1.00"], ["to_the_end 5.00"]]


def test_a_tap_that_no_tariff_knows_of_is_refused_by_name(tmp_path):
    book = town(tmp_path, "concessions: []")
    assert charged(book, "08:00 exit ferry a") == ["unknown_network"]
    assert charged(book, "2025-12-31 08:00 board bus") == ["no_tariff"]


def test_between_two_stops_on_a_boundary_the_outer_zone_counts(tmp_path):
    fares = "[{zones: 1, amount: 5}, {zones: 2, amount: 2}, {zones: 1-3, amount: 9}]"
    book = metro_costs(tmp_path, f"kind: zones, fares: {fares}")
    assert [fare(book, "b", "b"), fare(book, "b", "a"), fare(book, "b", "c")] == [
        "2.00",
        "5.00",
        "2.00",
    ]


def test_zones_on_the_way_are_travelled_where_the_notice_says_so(tmp_path):
    """Both ends lie in zone 2; the line between them runs through zone 1, or by way of zone 3."""
    network = """
networks:
  - {id: metro, taps: enter_exit, links: links.csv, zones_travelled: path,
     journey_time: {minutes: 120}, reference: n}
  - {id: bus, taps: board, reference: n}
  - {id: tram, taps: board, reference: n}
stops:
  - {id: v, zones: [2]}
  - {id: w, zones: [1]}
  - {id: x, zones: [2]}
  - {id: y, zones: [3]}
  - {id: far, zones: [2]}
areas: []
"""
    fares = "[{zones: 2, amount: 1}, {zones: 1-2, amount: 2}, {zones: 1-3, amount: 3}]"
    lines = "from_stop,to_stop,distance_m\nv,w,1\nw,x,1\nx,y,5\ny,v,5\n"
    book = metro_costs(tmp_path, f"kind: zones, fares: {fares}", network, links=lines)
    assert [fare(book, "v", "x"), fare(book, "v", "v")] == ["2.00", "1.00"]
    by_y = ("08:00 enter metro v", "08:10 touch metro y", "08:20 exit metro x")
    # Zones 2 and 3 alone have no fare of their own.
    assert charged(book, *by_y) == ["metro_ride 3.00"]
    # No line leads there, so only the two ends count.
    assert fare(book, "v", "far") == "1.00"
