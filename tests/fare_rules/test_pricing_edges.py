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

from fare_rules import Action, RideTap, RiderState, TariffBook, fold, load_book
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
    day = f"2026-{words.pop(0)}" if "-" in words[0] else "2026-01-05"
    clock, action, network, *stop = words
    tapped_at = instant_of(f"{day} {clock}", book.tariffs[0].effective_from, book.timezone)
    return RideTap(
        tap_id=UUID(int=number),
        gate_id="gate",
        sequence=number,
        tapped_at=tapped_at,
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


def metro_costs(folder: Path, pricing: str, **tables: str) -> TariffBook:
    """The town with another way of pricing its metro; `near` and `far` are flat, to be compared."""
    return town(
        folder,
        f"""
fare_products:
  - {{id: metro_ride, reference: p, pricing: {pricing}}}
  - {{id: bus_ride, reference: p, pricing: {{kind: flat, amount: 2}}}}
  - {{id: tram_ride, reference: p, pricing: {{kind: flat, amount: 3}}}}
""",
        **tables,
    )


def fare(book: TariffBook, from_stop: str, to_stop: str, how: str = "") -> str:
    """What one ride on the metro costs."""
    words = (f"08:00 enter metro {from_stop} {how}", f"08:20 exit metro {to_stop} {how}")
    (said,) = charged(book, *words)
    return said.removeprefix("metro_ride ")


def test_a_band_that_ends_exclusively_does_not_hold_its_own_end(tmp_path):
    bands = "[{up_to_km: 1, amount: 1}, {up_to_km: 3, amount: 2}]"
    book = metro_costs(
        tmp_path,
        f"{{kind: distance_bands, ends: exclusive, bands: {bands}, "
        "beyond: {every_km: 2, add: 0.50}, maximum: 3}",
    )
    metres = (999, 1000, 2999, 3000, 4998, 4999, 6999, 7000, 90_000)
    fares = [fare(book, "a", "c", f"metres={distance}") for distance in metres]
    assert fares == ["1.00", "2.00", "2.00", "2.50", "2.50", "2.50", "3.00", "3.00", "3.00"]


def test_a_fare_by_the_kilometre_lies_between_its_least_and_its_most(tmp_path):
    book = metro_costs(
        tmp_path,
        "{kind: per_km, rate: 0.5, start: 1, minimum: 2, maximum: 5, "
        "rounding: {mode: up, step: 0.10}}",
    )
    fares = [fare(book, "a", "c", f"metres={metres}") for metres in (0, 2000, 2001, 7900, 9000)]
    assert fares == ["2.00", "2.00", "2.10", "5.00", "5.00"]


def test_zones_are_counted_along_the_line_and_the_last_fare_holds_for_more(tmp_path):
    book = metro_costs(
        tmp_path,
        "{kind: zone_count, bands: [{up_to_zones: 1, amount: 2}, {up_to_zones: 2, amount: 3}]}",
    )
    ends = (("a", "a"), ("a", "b"), ("a", "c"), ("c", "b"), ("c", "d"), ("a", "d"))
    assert [fare(book, *pair) for pair in ends] == ["2.00", "2.00", "3.00", "2.00", "3.00", "3.00"]


def test_without_a_line_zones_are_counted_by_their_order(tmp_path):
    """A line that turns back crosses the same zone twice and pays it once."""
    pricing = (
        "{kind: zone_count, bands: [{up_to_zones: 1, amount: 1}, {up_to_zones: 2, amount: 2},"
        " {up_to_zones: 3, amount: 3}]}"
    )
    turning = "from_stop,to_stop,distance_m\na,c,10\nc,x,10\n"
    rules = """
stops: [{id: a, zones: [1]}, {id: c, zones: [2]}, {id: x, zones: [1]}, {id: d, zones: [3]}]
areas: []
"""
    with_line = metro_costs(tmp_path, pricing + "}" + rules.replace("\n", "\n"), links=turning)
    assert fare(with_line, "a", "x") == "2.00"
