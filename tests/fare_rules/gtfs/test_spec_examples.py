"""The fares that the GTFS specification's own examples describe, in small tables."""

VANCOUVER = {
    "fare_media": "fare_media_id,fare_media_name,fare_media_type\ncontactless,Contactless,3",
    "networks": "network_id,network_name\nskytrain_seabus,SkyTrain and SeaBus\nbus,Buses",
    "areas": "area_id,area_name\nZN1,Vancouver\nZN2,Burnaby\nZN3,Surrey\nsea_island,Airport",
    "stops": "stop_id,stop_name\n8039,Waterfront\n8066,Edmonds\n9000,Surrey\n99901,Airport\n"
    "99902,Templeton",
    "stop_areas": "stop_id,area_id\n8039,ZN1\n8066,ZN2\n9000,ZN3\n99901,ZN2\n99901,sea_island\n"
    "99902,ZN2\n99902,sea_island",
    "fare_products": """
        fare_product_id, fare_product_name, amount, currency, fare_media_id
        bus_flat_fare, Bus Flat Fare, 3.20, CAD, contactless
        1_zone_fare, 1-Zone Fare, 3.20, CAD, contactless
        2_zone_fare, 2-Zone Fare, 4.65, CAD, contactless
        3_zone_fare, 3-Zone Fare, 6.35, CAD, contactless
        island_1, Sea Island and 1 zone, 8.20, CAD, contactless
        island_2, Sea Island and 2 zones, 9.65, CAD, contactless
        island, Within Sea Island, 0, CAD, contactless
        upgrade_2, Bus to 2 zones, 1.45, CAD, contactless
        """,
    "fare_leg_rules": """
        leg_group_id, network_id, fare_product_id, from_area_id, to_area_id, rule_priority
        bus, bus, bus_flat_fare,,,
        island_ZN1, skytrain_seabus, island_2, sea_island, ZN1, 1
        island_ZN2, skytrain_seabus, island_1, sea_island, ZN2, 1
        island_ZN3, skytrain_seabus, island_2, sea_island, ZN3, 1
        island, skytrain_seabus, island, sea_island, sea_island, 2
        ZN1_ZN1, skytrain_seabus, 1_zone_fare, ZN1, ZN1,
        ZN2_ZN2, skytrain_seabus, 1_zone_fare, ZN2, ZN2,
        ZN3_ZN3, skytrain_seabus, 1_zone_fare, ZN3, ZN3,
        ZN1_ZN2, skytrain_seabus, 2_zone_fare, ZN1, ZN2,
        ZN1_ZN2, skytrain_seabus, 2_zone_fare, ZN2, ZN1,
        ZN2_ZN3, skytrain_seabus, 2_zone_fare, ZN2, ZN3,
        ZN2_ZN3, skytrain_seabus, 2_zone_fare, ZN3, ZN2,
        ZN1_ZN3, skytrain_seabus, 3_zone_fare, ZN1, ZN3,
        ZN1_ZN3, skytrain_seabus, 3_zone_fare, ZN3, ZN1,
        """,
    "fare_transfer_rules": """
        from_leg_group_id,to_leg_group_id,transfer_count,duration_limit,duration_limit_type,fare_transfer_type,fare_product_id
        bus, bus, -1, 5400, 1, 0,
        bus, ZN1_ZN1,, 5400, 1, 0,
        bus, ZN1_ZN2,, 5400, 1, 0, upgrade_2
        """,
}


def test_zones_of_which_one_lies_in_another(imported):
    vancouver = imported(**VANCOUVER)
    train = "skytrain_seabus "
    assert vancouver.fare("bus 1>2") == 320
    assert vancouver.fare(train + "8039>8039") == 320
    assert vancouver.fare(train + "8039>8066") == 465
    assert vancouver.fare(train + "9000>8039") == 635
    assert vancouver.fare(train + "8039>99901") == 465
    assert vancouver.fare(train + "99901>8039") == 965
    assert vancouver.fare(train + "99901>8066") == 820
    assert vancouver.fare(train + "99901>99902") == 0
    assert [network.taps for network in vancouver.tariff.networks] == ["enter_exit", "board"]


def test_a_change_costs_what_the_transfer_product_does(imported):
    vancouver = imported(**VANCOUVER)
    train = "skytrain_seabus "
    assert vancouver.transfer("bus 1>2", "bus 2>3") == 0
    assert vancouver.transfer("bus 1>2", train + "8039>8039") == 0
    assert vancouver.transfer("bus 1>2", train + "8039>8066") == 145
    assert vancouver.transfer("bus 1>2", train + "9000>9000") == 320
    first, second, _ = vancouver.tariff.fare_transfer_rules
    assert (first.window_minutes, first.window_from) == (90, "first_boarding")
    assert (second.window_minutes, second.window_from) == (90, "previous_boarding")


def test_of_a_ride_and_passes_for_it_the_ride_is_sold(imported):
    baltimore = imported(
        networks="network_id\ncore",
        fare_products="""
            fare_product_id, fare_product_name, amount, currency
            oneway, One Way, 2.00, USD
            day, 1-Day Pass, 4.60, USD
            month, 31-Day Pass, 77.00, USD
            week, 7-Day Pass, 22.00, USD
            """,
        fare_leg_rules="""
            leg_group_id, network_id, fare_product_id
            one_way_trip, core, day
            one_way_trip, core, oneway
            one_way_trip, core, month
            one_way_trip, core, week
            """,
        fare_transfer_rules="""
            from_leg_group_id,to_leg_group_id,duration_limit,duration_limit_type,fare_transfer_type,transfer_count
            one_way_trip, one_way_trip, 5400, 1, 0, -1
            """,
    )
    assert baltimore.fare("core a>b") == 200
    assert baltimore.transfer("core a>b", "core b>c") == 0
    assert [product.id for product in baltimore.tariff.fare_products] == ["oneway"]
    assert sum("is not sold" in remark for remark in baltimore.remarks) == 3


def test_a_product_of_its_own_for_each_pair(imported):
    bay = imported(
        areas="area_id\nASHB\nGLEN\nOAKL",
        stop_areas="area_id,stop_id\nASHB,ASHB\nGLEN,GLEN\nOAKL,OAKL",
        fare_products="""
            fare_product_id, amount, currency
            BA:matrix:ASHB-GLEN, 4.75, USD
            BA:matrix:ASHB-OAKL, 9.45, USD
            """,
        fare_leg_rules="""
            leg_group_id, from_area_id, to_area_id, fare_product_id
            BA, ASHB, GLEN, BA:matrix:ASHB-GLEN
            BA, ASHB, OAKL, BA:matrix:ASHB-OAKL
            """,
    )
    assert bay.fare("other_routes ASHB>GLEN") == 475
    assert bay.fare("other_routes ASHB>OAKL") == 945


def test_each_media_has_its_price(imported):
    muni = imported(
        fare_media="fare_media_id,fare_media_name,fare_media_type\nclipper,Clipper,2\ncash,Cash,0",
        fare_products="""
            fare_product_id, fare_product_name, amount, currency, fare_media_id
            SF:local:single, Single, 3, USD, cash
            SF:local:single, Single, 2.5, USD, clipper
            """,
        fare_leg_rules="fare_product_id\nSF:local:single",
    )
    assert muni.fare("other_routes a>b", media="clipper") == 250
    assert muni.fare("other_routes a>b", media="cash") == 300


def test_a_price_without_media_is_for_all_that_have_none_of_their_own(imported):
    express = imported(
        fare_media="fare_media_id,fare_media_name,fare_media_type\ntap_to_ride,Tap to Ride,3",
        fare_products="""
            fare_product_id, fare_product_name, fare_media_id, amount, currency
            single-ride, Single Ride, tap_to_ride, 6, USD
            single-ride, Single Ride,, 7, USD
            """,
        fare_leg_rules="fare_product_id\nsingle-ride",
    )
    assert express.fare("other_routes a>b", media="tap_to_ride") == 600
    assert express.fare("other_routes a>b", media="other_media") == 700


def test_fares_by_the_hour_and_the_day(imported):
    washington = imported(
        calendar="""
            service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,start_date,end_date
            weekday,1,1,1,1,1,0,0,20260101,20261231
            saturday,0,0,0,0,0,1,0,20260101,20261231
            sunday,0,0,0,0,0,0,1,20260101,20261231
            """,
        networks="network_id\n1",
        timeframes="""
            timeframe_group_id, start_time, end_time, service_id
            weekday_peak, 5:00:00, 9:30:00, weekday
            weekday_offpeak, 9:30:00, 15:00:00, weekday
            weekday_peak, 15:00:00, 19:00:00, weekday
            weekday_offpeak, 19:00:00, 21:30:00, weekday
            weekday_late, 21:30:00, 24:00:00, weekday
            weekday_late, 00:00:00, 5:00:00, weekday
            weekend,,, saturday
            weekend,,, sunday
            """,
        fare_products="""
            fare_product_id, amount, currency
            peak, 5, USD
            regular, 3, USD
            weekend, 2, USD
            late, 2, USD
            """,
        fare_leg_rules="""
            network_id, fare_product_id, from_timeframe_group_id, to_timeframe_group_id
            1, weekend, weekend,
            1, late, weekday_late,
            1, peak, weekday_peak,
            1, regular, weekday_offpeak,
            """,
    )
    assert washington.fare("1 a>b mon 07:30-07:30") == 500
    assert washington.fare("1 a>b mon 11:30-11:30") == 300
    assert washington.fare("1 a>b mon 09:30-09:30") == 300
    assert washington.fare("1 a>b fri 23:10-23:10") == 200
    assert washington.fare("1 a>b sun 07:30-07:30") == 200
    assert washington.tariff.networks[0].taps == "board"


def test_hours_of_entry_and_exit_with_zones(imported):
    hudson = imported(
        fare_media="fare_media_id,fare_media_type\npaper,1",
        networks="network_id,network_name\nmnr_hudson,Hudson Line",
        areas="area_id\nmnr_1\nmnr_HUD-7",
        stops="stop_id,stop_name\nITO1897,Cold Spring\nITO2383,Grand Central",
        stop_areas="area_id,stop_id\nmnr_1,ITO2383\nmnr_HUD-7,ITO1897",
        calendar="""
            service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,start_date,end_date
            weekdays,1,1,1,1,1,0,0,20220101,20280101
            weekends,0,0,0,0,0,1,1,20220101,20280101
            anyday,1,1,1,1,1,1,1,20220101,20280101
            """,
        timeframes="""
            timeframe_group_id, start_time, end_time, service_id
            anytime, 00:00:00, 24:00:00, anyday
            weekdays, 00:00:00, 24:00:00, weekdays
            weekends, 00:00:00, 24:00:00, weekends
            mnr_ampeak, 06:00:00, 10:00:00, weekdays
            mnr_notampeak, 00:00:00, 06:00:00, weekdays
            mnr_notampeak, 10:00:00, 24:00:00, weekdays
            mnr_am2pmpeak, 06:00:00, 09:00:00, weekdays
            mnr_am2pmpeak, 16:00:00, 20:00:00, weekdays
            mnr_notam2pmpeak, 00:00:00, 06:00:00, weekdays
            mnr_notam2pmpeak, 09:00:00, 16:00:00, weekdays
            mnr_notam2pmpeak, 20:00:00, 24:00:00, weekdays
            """,
        fare_products="""
            fare_product_id, fare_media_id, amount, currency
            out_peak, paper, 20.00, USD
            out, paper, 15.00, USD
            in_peak, paper, 20.00, USD
            in, paper, 15.00, USD
            """,
        fare_leg_rules="""
            network_id,from_area_id,to_area_id,fare_product_id,from_timeframe_group_id,to_timeframe_group_id
            mnr_hudson, mnr_1, mnr_HUD-7, out, mnr_notam2pmpeak, anytime
            mnr_hudson, mnr_1, mnr_HUD-7, out, weekends, anytime
            mnr_hudson, mnr_1, mnr_HUD-7, out_peak, mnr_am2pmpeak, anytime
            mnr_hudson, mnr_HUD-7, mnr_1, in, weekdays, mnr_notampeak
            mnr_hudson, mnr_HUD-7, mnr_1, in, weekends, anytime
            mnr_hudson, mnr_HUD-7, mnr_1, in_peak, weekdays, mnr_ampeak
            """,
    )
    out, back = "mnr_hudson ITO2383>ITO1897", "mnr_hudson ITO1897>ITO2383"
    assert hudson.fare(f"{out} mon 18:45-20:10") == 2000
    assert hudson.fare(f"{out} mon 21:04-22:30") == 1500
    assert hudson.fare(f"{back} mon 05:30-06:50") == 2000
    assert hudson.fare(f"{back} mon 09:30-10:50") == 1500
    assert hudson.fare(f"{back} sat 05:30-06:50") == 1500
