"""Tariffs that are written as Fares v2: what comes back costs the same, and the rest is named."""

import csv

import pytest

from fare_rules.gtfs import UnusableFeed, export_gtfs

HEAD = """\
tariff: city
effective_from: 2026-01-05
reference: Notice 1
timezone: Europe/Paris
service_day_starts: 04:00
currency: EUR
"""
EVERYTHING = (
    HEAD
    + """
rider_categories:
  - {id: adult, name: Adult, default: true}
  - {id: student, name: Student}
  - {id: senior, name: Senior}
fare_media: [{id: card, name: Card}, {id: cash, name: Cash}]
networks:
  - {id: bus, taps: board, reference: s.1}
  - {id: tram, taps: board, reference: s.1}
  - {id: metro, taps: enter_exit, reference: s.1, journey_time: {minutes: 180}}
zones: [1, 2, 3]
stops:
  - {id: a, zones: [1]}
  - {id: b, zones: [2]}
  - {id: c, zones: [3]}
  - {id: x, zones: [3], areas: [airport]}
areas: [{id: airport, name: Airport, stops: []}]
timeframes:
  - id: peak
    periods: [{start: 07:00, end: 09:30, days: [mon, tue, wed, thu, fri]}]
    holidays: excluded
  - {id: night, day: service, periods: [{start: 23:00, end: "26:00", days: [mon]}]}
holidays: {also: [2026-01-06]}
fare_products:
  - {id: bus_ride, reference: s.2, pricing: {kind: flat, amount: 2}}
  - {id: night_ride, reference: s.2, pricing: {kind: flat, amount: 4}}
  - id: metro_ride
    reference: s.3
    pricing:
      kind: zones
      fares: [{zones: 1, amount: 2.10}, {zones: 1-2, amount: 3.50}, {zones: 1-3, amount: 5.00}]
  - {id: to_airport, reference: s.4, pricing: {kind: flat, amount: 11}}
fare_leg_rules:
  - {id: buses, networks: [bus, tram], product: bus_ride}
  - {id: nights, networks: [bus], from_timeframes: [night], product: night_ride, priority: 1}
  - {id: metro, networks: [metro], product: metro_ride}
  - {id: airport, networks: [metro], to_areas: [airport], product: to_airport, priority: 1}
incomplete_leg_rules:
  - {id: no_exit, reference: s.9, charge: {kind: amount, amount: 9}}
surcharges:
  - {id: peak_extra, reference: s.5, networks: [metro], from_timeframes: [peak], amount: 0.50}
concessions:
  - {id: student_half, reference: s.6, rider_categories: [student], fare_media: [card],
     pays: {kind: percent, percent: 50, rounding: {mode: down, step: 0.05}}}
  - {id: senior_free, reference: s.6, rider_categories: [senior], networks: [bus, tram],
     pays: {kind: free}}
fare_transfer_rules:
  - {id: change, reference: s.7, from: {networks: [bus, tram]}, to: {networks: [bus, tram]},
     different_network: true, pays: {kind: less, amount: 0.40}, window_minutes: 60,
     window_from: previous_boarding}
  - {id: to_metro, reference: s.7, from: {networks: [bus]}, to: {networks: [metro],
     fare_media: [card]}, pays: {kind: percent, percent: 50, rounding: {mode: half_up}},
     window_minutes: 60, priority: 1}
fare_caps:
  - {id: day_cap, reference: s.8, period: {kind: service_day}, amount: 100}
promotions:
  - {id: one_cent, reference: s.8, coupon: {days: 7}, pays: {kind: free}}
"""
)


def rows(folder, name):
    with (folder / f"{name}.txt").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_prices_are_the_same_there_and_back(written, there_and_back):
    city = written(EVERYTHING)
    back = there_and_back(city)
    rides = [
        "bus a>b mon 12:00-12:10",
        "bus a>b mon 23:10-23:20",
        "bus a>b tue 01:30-01:40",
        "bus a>b tue 02:30-02:40",
        "tram a>b mon 23:10-23:20",
        "metro a>a mon 12:00-12:10",
        "metro a>b mon 12:00-12:10",
        "metro c>a mon 08:00-08:10",
        "metro c>b tue 08:00-08:10",
        "metro c>b wed 09:30-09:50",
        "metro a>x mon 12:00-12:10",
        "metro a>x thu 09:29-09:50",
        "metro x>a mon 12:00-12:10",
    ]
    for rider in ("adult", "student", "senior"):
        for media in ("card", "cash"):
            for ride in rides:
                expected = city.fare(ride, rider=rider, media=media)
                assert back.fare(ride, rider=rider, media=media) == expected, (ride, rider, media)
            for first, second in (
                ("bus a>b", "tram b>a"),
                ("tram a>b", "bus b>a"),
                ("bus a>b", "bus b>a"),
                ("bus a>b", "metro b>c"),
                ("tram a>b", "metro b>c"),
                ("bus a>b", "metro b>x"),
                ("metro a>b", "metro b>c"),
            ):
                expected = city.transfer(first, second, rider=rider, media=media)
                priced = back.transfer(first, second, rider=rider, media=media)
                assert priced == expected, (first, second, rider, media)


def test_each_rule_that_gtfs_cannot_say_is_named(written, there_and_back, tmp_path):
    city = written(EVERYTHING)
    back = there_and_back(city)
    assert [remark.split(": ", 1)[0] for remark in back.remarks] == [
        "incomplete_leg_rules no_exit",
        "fare_caps day_cap",
        "promotions one_cent",
        "networks metro",
        "fare_media card",
        "fare_media cash",
    ]
    page = (tmp_path / "exported" / "NOT_IN_GTFS.md").read_text(encoding="utf-8")
    assert all(f"- {remark}\n" in page for remark in back.remarks)


def test_the_files_of_a_small_tariff(written, there_and_back, tmp_path):
    city = written(
        HEAD
        + """
rider_categories: [{id: adult, default: true}, {id: child}]
fare_media: [{id: card}]
networks: [{id: bus, taps: board, reference: s.1}]
fare_products: [{id: ride, name: Ride, reference: s.1, pricing: {kind: flat, amount: 2}}]
fare_leg_rules: [{id: all, product: ride}]
concessions:
  - {id: child, reference: s.2, rider_categories: [child], pays: {kind: amount, amount: 0.80}}
fare_transfer_rules:
  - {id: change, reference: s.3, pays: {kind: free}, window_minutes: 90, transfers_max: 2,
     window_from: first_boarding}
"""
    )
    back = there_and_back(city)
    feed = tmp_path / "exported"
    assert [path.name for path in sorted(feed.iterdir())] == [
        "NOT_IN_GTFS.md",
        "agency.txt",
        "fare_leg_rules.txt",
        "fare_media.txt",
        "fare_products.txt",
        "fare_transfer_rules.txt",
        "networks.txt",
        "rider_categories.txt",
    ]
    assert (feed / "fare_products.txt").read_text(encoding="utf-8") == (
        "fare_product_id,fare_product_name,rider_category_id,fare_media_id,amount,currency\n"
        "ride,Ride,adult,card,2.00,EUR\n"
        "ride,Ride,child,card,0.80,EUR\n"
    )
    assert rows(feed, "fare_transfer_rules") == [
        {
            "from_leg_group_id": "bus ride",
            "to_leg_group_id": "bus ride",
            "transfer_count": "2",
            "duration_limit": "5400",
            "duration_limit_type": "1",
            "fare_transfer_type": "0",
            "fare_product_id": "",
        }
    ]
    four = [f"bus a>b mon 12:{minute:02}-12:{minute:02}" for minute in (0, 10, 20, 30)]
    for rider in ("adult", "child"):
        assert back.fares(*four, rider=rider) == city.fares(*four, rider=rider)


def test_a_feed_is_not_written_over(written, tmp_path):
    city = written(EVERYTHING)
    (tmp_path / "agency.txt").write_text("the operator's own", encoding="utf-8")
    with pytest.raises(UnusableFeed) as unusable:
        export_gtfs(*city.parts, tmp_path)
    assert unusable.value.faults == ("agency.txt:1: The folder has this file already",)


def test_tables_of_pairs_of_stops_and_areas(written, there_and_back):
    city = written(
        HEAD
        + """
rider_categories: [{id: adult, default: true}]
fare_media: [{id: card}]
networks:
  - {id: metro, taps: enter_exit, reference: s.1, journey_time: {minutes: 180}}
  - {id: boat, taps: board_alight, reference: s.1, journey_time: {minutes: 180}}
stops: [{id: a, areas: [west]}, {id: b, areas: [east]}, {id: c, areas: [east]}]
areas: [{id: west, stops: []}, {id: east, stops: []}]
fare_products:
  - {id: metro_ride, reference: s.1, pricing: {kind: matrix, table: pairs.csv}}
  - {id: boat_ride, reference: s.1, pricing: {kind: matrix, table: ways.csv, by: areas,
     both_ways: false}}
  - {id: boat_more, reference: s.1, pricing: {kind: formula, of_product: boat_ride, times: 2,
     add: 0.10}}
fare_leg_rules:
  - {id: metro, networks: [metro], product: metro_ride}
  - {id: boat, networks: [boat], product: boat_more}
incomplete_leg_rules:
  - {id: no_exit, reference: s.9, charge: {kind: amount, amount: 9}}
""",
        pairs="from,to,amount\na,a,1.00\na,b,2.00\na,c,3.00\nb,c,2.50\nb,b,1.00\n",
        ways="from,to,amount\nwest,east,4.00\neast,west,3.00\neast,east,1.00\n",
    )
    back = there_and_back(city)
    for ride in ("a>b", "b>a", "c>a", "c>b", "a>a"):
        assert back.fare(f"metro {ride}") == city.fare(f"metro {ride}"), ride
    for ride in ("a>b", "b>a", "c>b"):
        assert back.fare(f"boat {ride}") == city.fare(f"boat {ride}"), ride


def test_an_area_within_a_table_of_zones(written, there_and_back):
    city = written(
        HEAD
        + """
rider_categories: [{id: adult, default: true}]
fare_media: [{id: card}]
networks: [{id: rail, taps: enter_exit, reference: s.1, journey_time: {minutes: 180}}]
zones: [1, 2, 6]
stops: [{id: a, zones: [1]}, {id: b, zones: [2]}, {id: h, zones: [6], areas: [airport]},
  {id: f, zones: [6]}]
areas: [{id: airport, stops: []}]
timeframes:
  - {id: peak, periods: [{start: 07:00, end: 09:00}]}
fare_products:
  - id: off_peak
    reference: s.1
    pricing: {kind: zones, fares: [{zones: 1, amount: 2}, {zones: 1-6, amount: 4}]}
  - id: peak
    reference: s.1
    pricing: {kind: zones, fares: [{zones: 1, amount: 3}, {zones: 1-6, amount: 6}]}
fare_leg_rules:
  - {id: off_peak, product: off_peak}
  - {id: peak, from_timeframes: [peak], product: peak, priority: 1}
  - {id: airport, from_areas: [airport], product: peak, priority: 2}
incomplete_leg_rules:
  - {id: no_exit, reference: s.9, charge: {kind: amount, amount: 9}}
"""
    )
    back = there_and_back(city)
    for way in ("h>a", "h>b", "a>h", "f>a", "a>b", "a>a"):
        for clocks in ("08:00-08:30", "12:00-12:30"):
            ride = f"rail {way} mon {clocks}"
            assert back.fare(ride) == city.fare(ride), ride


def test_what_the_places_of_a_leg_do_not_decide(written, there_and_back, tmp_path):
    city = written(
        HEAD
        + """
rider_categories: [{id: adult, default: true}]
fare_media: [{id: card}]
networks: [{id: bus, taps: board, reference: s.1, route_stops: r.csv}]
fare_products:
  - {id: far, reference: s.1, pricing: {kind: distance_bands, bands: [{up_to_km: 4, amount: 2}]}}
  - {id: gate, reference: s.1, pricing: {kind: gate_names}}
  - {id: flat, reference: s.1, pricing: {kind: flat, amount: 1}}
fare_leg_rules:
  - {id: short, routes: [r9], product: flat, priority: 2}
  - {id: long, from_stops: [a], product: far, priority: 1}
  - {id: rest, product: flat}
concessions:
  - {id: on_r1, reference: s.2, routes: [r1], pays: {kind: free}}
fare_tiers:
  - {id: more, reference: s.2, period: {kind: month}, rounding: {mode: half_up},
     steps: [{from: 100, percent: 80}]}
fare_transfer_rules:
  - {id: change, reference: s.3, pays: {kind: difference}, window_minutes: 90,
     different_route: true, borne_by: mayor}
sponsors: [{id: mayor}]
""",
        r="route_id,stop_id,stop_sequence\nr1,a,1\nr1,b,2\n",
    )
    back = there_and_back(city)
    assert [remark.split(": ", 1)[0] for remark in back.remarks] == [
        "fare_products far",
        "fare_products gate",
        "fare_leg_rules short",
        "fare_leg_rules long",
        "fare_transfer_rules change",
        "fare_transfer_rules change",
        "concessions on_r1",
        "fare_tiers more",
        "fare_media card",
    ]
    assert back.fare("bus b>a") == city.fare("bus b>a") == 100


def test_what_beyond_paid_zones_costs_is_in_no_price(written, there_and_back):
    city = written(
        HEAD
        + """
rider_categories: [{id: adult, default: true}]
fare_media: [{id: card}]
zones: [1, 2]
stops: [{id: a, zones: [1]}, {id: b, zones: [2]}]
networks: [{id: bus, taps: board, reference: s.1}]
fare_products:
  - {id: ride, reference: s.1, pricing: {kind: zones, fares: [{zones: 1-2, amount: 2}]}}
  - {id: timed, reference: s.1, pricing: {kind: time_bands, bands: [{up_to_minutes: 9, amount: 1}]}}
fare_leg_rules:
  - {id: timed, fare_media: [card], routes: [r1], product: timed, priority: 1}
  - {id: all, product: ride}
concessions:
  - {id: season, reference: s.2, pays: {kind: extension, zones: [1]}}
"""
    )
    back = there_and_back(city)
    said = [remark for remark in back.remarks if "season" in remark or "timed" in remark]
    assert "concessions season: In no price, since it asks which zones are paid already" in said
    assert any("time_bands" in remark for remark in said)
    assert back.fare("bus a>b") == 200


def test_seasons_and_worked_days_are_in_the_calendar(written, there_and_back, tmp_path):
    city = written(
        HEAD
        + """
rider_categories: [{id: adult, default: true}]
fare_media: [{id: card}]
networks: [{id: bus, taps: board, reference: s.1}]
holidays: {also: [2026-05-01, 2026-08-15], workdays: [2026-01-10, 2026-06-06]}
timeframes:
  - {id: evening, periods: [{start: 19:00, end: 23:00}]}
  - id: summer
    first_day: 2026-06-01
    last_day: 2026-09-15
    holidays: excluded
    periods: [{start: 19:00, end: 23:00, days: [mon, tue, wed, thu, fri]}]
  - {id: night, day: service, periods: [{start: 23:00, end: "25:00", days: [fri]}]}
fare_products:
  - {id: ride, reference: s.2, pricing: {kind: flat, amount: 2}}
fare_leg_rules:
  - {id: evenings, from_timeframes: [evening], product: ride, priority: 1}
  - {id: all, product: ride}
surcharges:
  - {id: beach, reference: s.3, from_timeframes: [summer], amount: 1}
  - {id: night, reference: s.3, from_timeframes: [night], amount: 1}
"""
    )
    back = there_and_back(city)
    feed = tmp_path / "exported"
    assert {row["service_id"]: row for row in rows(feed, "calendar")}[
        "mon-tue-wed-thu-fri without holidays from 2026-06-01 until 2026-09-15"
    ] == {
        "service_id": "mon-tue-wed-thu-fri without holidays from 2026-06-01 until 2026-09-15",
        **dict.fromkeys(("monday", "tuesday", "wednesday", "thursday", "friday"), "1"),
        **dict.fromkeys(("saturday", "sunday"), "0"),
        "start_date": "20260601",
        "end_date": "20260915",
    }
    assert [tuple(row.values()) for row in rows(feed, "calendar_dates")] == [
        ("mon-tue-wed-thu-fri without holidays from 2026-06-01 until 2026-09-15", "20260815", "2"),
        ("mon-tue-wed-thu-fri without holidays from 2026-06-01 until 2026-09-15", "20260606", "1"),
        ("fri", "20260110", "1"),
        ("fri", "20260606", "1"),
        ("sat the day after", "20260111", "1"),
        ("sat the day after", "20260607", "1"),
    ]
    # An evening is not always one of summer, so the extra of summer is in no price of evenings.
    assert any(
        remark.startswith("surcharges beach: Not in all prices") for remark in back.remarks
    ), back.remarks


def test_what_is_dropped_of_joins_is_named(written, there_and_back, tmp_path):
    city = written(
        HEAD
        + """
rider_categories: [{id: adult, default: true}]
fare_media: [{id: card}]
networks:
  - {id: metro, taps: board, reference: s.1}
  - {id: bus, taps: board, reference: s.1}
fare_products: [{id: ride, reference: s.2, through: whole, pricing: {kind: flat, amount: 2}},
  {id: whole, reference: s.2, pricing: {kind: flat, amount: 3}}]
fare_leg_rules: [{id: all, product: ride}]
stops: [{id: a}, {id: b}]
fare_leg_join_rules:
  - {id: through, reference: s.4, window_minutes: 60, from: {networks: [metro]}, less: 0.70,
     price_as: sum, priority: 1}
  - {id: change, reference: s.4, from: {networks: [bus]}, price_as: highest, leg_by_leg: true,
     legs_max: 5, pairs: [{from_stop: a, to_stop: b, minutes: 30}]}
"""
    )
    remarks = there_and_back(city).remarks
    assert [remark for remark in remarks if not remark.startswith("fare_media")] == [
        "fare_products ride: GTFS cannot say through",
        "fare_leg_join_rules through: GTFS makes one leg of two, and cannot add them up; left out",
        "fare_leg_join_rules change: GTFS cannot say legs_max, price_as, leg_by_leg, "
        "minutes of pairs; the legs are joined without it",
    ]
    assert {
        row["from_network_id"] for row in rows(tmp_path / "exported", "fare_leg_join_rules")
    } == {"bus"}
