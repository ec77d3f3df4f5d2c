"""What looks like a fault of meaning, and is none. The faults are in tests/tariff_faults/."""

from pathlib import Path

import pytest

from fare_rules import check_tariff

CITY = """\
tariff: harbour
effective_from: 2026-01-01
reference: Harbour fare notice 2025/11
timezone: Asia/Singapore
service_day_starts: 04:00
currency: SGD
zones: [1, 2, 3]
stops: [{id: a, zones: [1]}, {id: b, zones: [2]}, {id: c, zones: [3]}]
areas: [{id: isle, stops: [c]}]
rider_categories: [{id: adult, default: true}, {id: child}]
fare_media: [{id: card}, {id: phone}]
holidays: {country: SG}
timeframes:
  - {id: peak, holidays: excluded, periods: [{start: 07:00, end: 09:00, days: [mon, tue]}]}
  - {id: later, periods: [{start: 09:00, end: 12:00}]}
  - {id: saturday, periods: [{days: [sat]}]}
  - {id: feast, holidays: only, periods: [{}]}
  - {id: summer, last_day: 2026-08-31, periods: [{}]}
  - {id: winter, first_day: 2026-09-01, periods: [{}]}
networks:
  - {id: metro, taps: enter_exit, reference: s.1, journey_time: {minutes: 90}}
  - {id: bus, taps: board, reference: s.1}
fare_products:
  - {id: metro_ride, reference: s.2, pricing: {kind: zones, fares: [{zones: 1-2, amount: 2}]}}
  - {id: long_ride, reference: s.2, pricing: {kind: zones, fares: [{zones: 1-3, amount: 4}]}}
  - {id: bus_ride, reference: s.2, pricing: {kind: flat, amount: 1}}
fare_leg_rules:
  - {id: near, networks: [metro], within_zones: 1-2, product: metro_ride, priority: 1}
  - {id: far, networks: [metro], product: long_ride}
  - {id: bus, networks: [bus], product: bus_ride}
incomplete_leg_rules:
  - {id: adult_lost, reference: s.9, rider_categories: [adult], charge: {kind: dearest}}
  - {id: child_lost, reference: s.9, rider_categories: [child], charge: {kind: dearest}}
"""


def _concessions(*conditions: str) -> str:
    return "concessions:\n" + "".join(
        f"  - {{id: c{index}, reference: s.3, pays: {{kind: free}}, {said}}}\n"
        for index, said in enumerate(conditions)
    )


def _banks_pay(*, caps: int, promotions: range) -> str:
    """Caps borne by the first banks, promotions by others, or by the same."""
    banks = range(max(caps, promotions.stop))
    return "\n".join(
        (
            "sponsors:",
            *(f"  - {{id: bank_{n}, name: Bank {n}}}" for n in banks),
            "fare_caps:",
            *(
                f"  - {{id: cap_{n}, reference: s.5, period: {{kind: service_day}}, "
                f"amount: {90 - n}.00, borne_by: bank_{n}}}"
                for n in range(caps)
            ),
            "promotions:",
            *(
                f"  - {{id: cent_{n}, reference: s.6, priority: {n}, uses_max: 1, "
                f"pays: {{kind: amount, amount: 0.01}}, borne_by: bank_{n}}}"
                for n in promotions
            ),
        )
    )


def _changes(kind: str, *conditions: str) -> str:
    pays = "pays: {kind: free}, " if kind == "transfer" else ""
    return f"fare_{'transfer' if kind == 'transfer' else 'leg_join'}_rules:\n" + "".join(
        f"  - {{id: t{index}, reference: s.4, window_minutes: 60, {pays}{said}}}\n"
        for index, said in enumerate(conditions)
    )


RIGHT = {
    "nothing more": "",
    "many banks, and two of their promotions in one change": _banks_pay(
        caps=11, promotions=range(11, 30)
    ),
    "banks that bear caps and promotions, too": _banks_pay(caps=13, promotions=range(13)),
    "other timeframes": _concessions("from_timeframes: [peak]", "from_timeframes: [later]"),
    "other seasons": _concessions("from_timeframes: [summer]", "from_timeframes: [winter]"),
    "other weekdays": _concessions("from_timeframes: [peak]", "from_timeframes: [saturday]"),
    "holidays or not": _concessions("from_timeframes: [peak]", "from_timeframes: [feast]"),
    "other zones": _concessions("within_zones: 1-2", "within_zones: 3"),
    "stops of another area": _concessions("from_stops: [a, b]", "from_areas: [isle]"),
    "other layers": _concessions("layer: 1", "layer: 2"),
    "one leaves the other out": _concessions(
        "rider_categories: [child], except: [{networks: [bus]}]", "networks: [bus]"
    ),
    "the narrower goes first": _concessions(
        "networks: [bus], priority: 1", "rider_categories: [adult]"
    ),
    "a wide rule with exceptions goes first": _concessions(
        "priority: 1, except: [{networks: [bus]}]", "networks: [bus]"
    ),
    "changes between other networks": _changes(
        "transfer", "from: {networks: [bus]}", "from: {networks: [metro]}"
    ),
    "changes within and between networks": _changes(
        "transfer",
        "from: {networks: [bus]}, to: {networks: [bus]}",
        "from: {networks: [bus, metro]}, to: {networks: [bus]}, different_network: true",
    ),
    "joined at other stops": _changes(
        "join", "pairs: [{from_stop: a, to_stop: b}]", "between: [b, c]", "same_stop: true"
    ),
    "joined in other months": _changes(
        "join", "ends: 2026-02-01 00:00", "begins: 2026-02-01 00:00"
    ),
}


@pytest.mark.parametrize("more", RIGHT.values(), ids=RIGHT)
def test_what_is_right_is_left_alone(more, tmp_path):
    path = tmp_path / "tariff.yaml"
    path.write_text(CITY + more, "utf-8")
    assert check_tariff(path) == []


def test_a_band_for_some_riders_may_stand_before_a_shorter_one_for_all(tmp_path):
    bands = (
        "same_stop_exit: [{rider_categories: [child], up_to_minutes: 9, charge: free}, "
        "{up_to_minutes: 5, charge: free}, {rider_categories: [child], charge: ride}, "
        "{charge: incomplete}]"
    )
    path = tmp_path / "tariff.yaml"
    path.write_text(CITY.replace("taps: enter_exit,", f"taps: enter_exit, {bands},"), "utf-8")
    assert check_tariff(path) == []


def test_a_table_of_fares_tells_the_stops_for_the_dearest(tmp_path):
    path = tmp_path / "tariff.yaml"
    head, _, _ = CITY.partition("zones:")
    city = """\
rider_categories: [{id: adult, default: true}]
fare_media: [{id: card}]
networks: [{id: metro, taps: enter_exit, reference: s.1, journey_time: {minutes: 90}}]
fare_products:
  - {id: ride, reference: s.2, pricing: {kind: matrix, table: fares.csv}}
fare_leg_rules: [{id: all, product: ride}]
incomplete_leg_rules: [{id: lost, reference: s.9, charge: {kind: dearest}}]
"""
    (tmp_path / "fares.csv").write_text("from,to,amount\na,b,2\na,c,3\nb,c,1\n", "utf-8")
    path.write_text(head + city, "utf-8")
    assert check_tariff(path) == []


def test_all_tariffs_that_ship_are_right():
    folder = Path(__file__).parents[2] / "fare_rules" / "tariffs"
    for path in folder.glob("*/2*.yaml"):
        assert check_tariff(path) == [], path


def test_a_timeframe_may_be_the_whole_service_day_whenever_that_starts(tmp_path):
    path = tmp_path / "2026-01-01.yaml"
    for starts, ends in (("00:00", "24:00"), ("04:00", "28:00"), ("07:30", "31:30")):
        whole = f"{{id: whole, day: service, periods: [{{start: {starts}, end: {ends}}}]}}"
        city = CITY.replace("service_day_starts: 04:00", f"service_day_starts: {starts}")
        path.write_text(city.replace("timeframes:\n", f"timeframes:\n  - {whole}\n"))
        assert check_tariff(path) == []
