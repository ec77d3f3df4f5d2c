"""What columns of Fares v2 mean, one by one, priced by the engine."""

import pytest

TWO = {
    "networks": "network_id\nbus\ntram\nferry",
    "stops": "stop_id\na\nb\nc",
    "fare_products": "fare_product_id,amount,currency\none,1.00,EUR\ntwo,2.00,EUR\nfive,5.00,EUR",
}
GROUPS = {
    **TWO,
    "fare_leg_rules": "leg_group_id,network_id,fare_product_id\n"
    "B,bus,two\nT,tram,five\nF,ferry,one",
}
TRANSFER = (
    "from_leg_group_id,to_leg_group_id,transfer_count,duration_limit,duration_limit_type,"
    "fare_transfer_type,fare_product_id\n"
)


def products(extra: str) -> str:
    return TWO["fare_products"] + "\n" + extra


def test_without_priorities_an_empty_network_is_all_that_no_rule_names(imported):
    city = imported(**TWO, fare_leg_rules="network_id,fare_product_id\nbus,one\n,five")
    assert city.fare("bus a>b") == 100
    assert city.fare("tram a>b") == 500


def test_with_priorities_an_empty_network_is_any_and_the_highest_acts(imported):
    city = imported(
        **TWO, fare_leg_rules="network_id,fare_product_id,rule_priority\nbus,one,\n,five,3"
    )
    assert city.fare("bus a>b") == 500
    assert city.fare("tram a>b") == 500
    assert any("It never acts" in remark for remark in city.remarks)


def test_without_priorities_an_empty_area_is_all_stops_in_none_that_is_named(imported):
    city = imported(
        **TWO,
        areas="area_id\ncentre\nhill",
        stop_areas="area_id,stop_id\ncentre,a\nhill,b",
        fare_leg_rules="from_area_id,to_area_id,fare_product_id\ncentre,centre,one\n,,five",
    )
    assert city.fare("bus a>a mon 12:00-12:20") == 100
    assert city.fare("bus b>c") == 500
    assert "outside_centre" in {area.id for area in city.tariff.areas}


def test_of_two_rules_alike_that_fit_a_leg_the_cheaper_is_charged(imported):
    city = imported(
        **TWO,
        areas="area_id\ncentre\nhill",
        stop_areas="area_id,stop_id\ncentre,a\nhill,a\nhill,b",
        fare_leg_rules="from_area_id,fare_product_id\ncentre,two\nhill,five",
    )
    assert city.fare("bus a>b") == 200
    assert city.fare("bus b>a") == 500
    assert any("dearer rule" in remark for remark in city.remarks)


def test_each_rider_and_media_has_its_price(imported):
    city = imported(
        networks="network_id\nbus",
        rider_categories="rider_category_id,rider_category_name,is_default_fare_category\n"
        "adult,Adult,1\nchild,Child,0\nsenior,Senior,0",
        fare_media="fare_media_id,fare_media_type\ncard,2\ncash,0",
        fare_products="""
            fare_product_id,rider_category_id,fare_media_id,amount,currency
            ride,adult,card,2.00,EUR
            ride,adult,cash,2.50,EUR
            ride,child,,1.00,EUR
            ride,senior,card,0,EUR
            ride,senior,cash,2.50,EUR
            """,
        fare_leg_rules="fare_product_id\nride",
    )
    prices = {
        (rider, media): city.fare("bus a>b", rider=rider, media=media)
        for rider in ("adult", "child", "senior")
        for media in ("card", "cash")
    }
    assert prices == {
        ("adult", "card"): 200,
        ("adult", "cash"): 250,
        ("child", "card"): 100,
        ("child", "cash"): 100,
        ("senior", "card"): 0,
        ("senior", "cash"): 250,
    }
    assert any("No price for rider 'adult' with media 'other_media'" in r for r in city.remarks)


@pytest.mark.parametrize(
    ("kind", "product", "second_leg"),
    [
        (0, "", 0),
        (0, "one", 100),
        (1, "less", 460),
        (1, "", 500),
        (2, "five", 300),
        (2, "one", 0),
    ],
)
def test_the_three_ways_a_transfer_costs(imported, kind, product, second_leg):
    """A is a bus of 2.00, B a tram of 5.00: A + AB, A + AB + B, or AB."""
    city = imported(
        **{**GROUPS, "fare_products": products("less,-0.40,EUR")},
        fare_transfer_rules=TRANSFER + f"B,T,,3600,1,{kind},{product}",
    )
    assert city.transfer("bus a>b", "tram b>c") == second_leg
    assert city.transfer("tram b>c", "bus a>b") == 200


def test_a_transfer_that_costs_on_top_of_both_legs_is_named(imported):
    city = imported(**GROUPS, fare_transfer_rules=TRANSFER + "B,T,,3600,1,1,one")
    assert city.transfer("bus a>b", "tram b>c") == 500
    assert any("A transfer that costs something on top" in remark for remark in city.remarks)


def test_empty_groups_of_a_transfer_are_all_that_no_transfer_names(imported):
    city = imported(**GROUPS, fare_transfer_rules=TRANSFER + "B,T,,3600,1,0,one\n,T,,3600,1,0,")
    assert city.transfer("bus a>b", "tram b>c") == 100
    assert city.transfer("ferry a>b", "tram b>c") == 0


def test_so_many_transfers_and_no_more(imported):
    city = imported(**GROUPS, fare_transfer_rules=TRANSFER + "B,B,2,7200,1,0,")
    rides = [f"bus a>b mon 12:{minute:02}-12:{minute:02}" for minute in (0, 10, 20, 30)]
    assert city.fares(*rides) == [200, 0, 0, 200]


def test_the_second_transfer_costs_what_its_own_row_says(imported):
    city = imported(**GROUPS, fare_transfer_rules=TRANSFER + "B,B,2,7200,1,0,one\nB,B,1,7200,1,0,")
    rides = [f"bus a>b mon 12:{minute:02}-12:{minute:02}" for minute in (0, 10, 20)]
    assert city.fares(*rides) == [200, 0, 100]
    assert any("counts the transfers of these groups" in remark for remark in city.remarks)


def test_a_network_without_a_fare_is_left_out_and_named(imported):
    city = imported(
        **TWO,
        fare_leg_rules="network_id,fare_product_id\nbus,one",
        fare_leg_join_rules="from_network_id,to_network_id\nbus,tram",
    )
    assert [network.id for network in city.tariff.networks] == ["bus"]
    assert "fare_leg_rules.txt:1: No rule is for network 'tram'; left out" in city.remarks
    assert "fare_leg_join_rules.txt:2: One of its networks has no fare; left out" in city.remarks


def test_a_discount_for_one_media_only(imported):
    city = imported(
        networks="network_id\nbus",
        fare_media="fare_media_id,fare_media_type\ncard,2\ncash,0",
        fare_products="""
            fare_product_id,fare_media_id,amount,currency
            ride,card,2.00,CNY
            ride,cash,2.00,CNY
            change,card,-0.40,CNY
            """,
        fare_leg_rules="leg_group_id,fare_product_id\nbus,ride",
        fare_transfer_rules=TRANSFER + "bus,bus,1,5400,2,1,change",
    )
    assert city.transfer("bus a>b", "bus b>c", media="card") == 160
    assert city.transfer("bus a>b", "bus b>c", media="cash") == 200


@pytest.mark.parametrize(
    ("kind", "window"),
    [
        (0, ("previous_boarding", "last_tap")),
        (1, ("previous_boarding", "boarding")),
        (2, ("previous_last_tap", "boarding")),
        (3, ("previous_last_tap", "last_tap")),
    ],
)
def test_four_ways_to_measure_the_time(imported, kind, window):
    city = imported(**GROUPS, fare_transfer_rules=TRANSFER + f"B,T,,5400,{kind},0,")
    (rule,) = city.tariff.fare_transfer_rules
    assert (rule.window_from, rule.window_to) == window
    assert rule.window_minutes == 90


def test_two_legs_that_are_one(imported):
    city = imported(
        **{
            **TWO,
            "stops": "stop_id,location_type,parent_station\nhub,1,\na,0,\nb,0,hub\nc,0,hub\nd,0,",
        },
        areas="area_id\nwest\neast\nmiddle",
        stop_areas="area_id,stop_id\nwest,a\nmiddle,hub\neast,d",
        fare_leg_rules="""
            from_area_id,to_area_id,fare_product_id
            west,middle,two
            middle,east,two
            west,east,five
            """,
        fare_leg_join_rules="from_network_id,to_network_id,from_stop_id,to_stop_id\nbus,tram,hub,hub",
    )
    assert city.fares("bus a>b mon 12:00-12:20", "tram c>d mon 12:25-12:50") == [200, 300]
    assert city.fares("bus a>b mon 12:00-12:20", "bus c>d mon 12:25-12:50") == [200, 200]
    (rule,) = city.tariff.fare_leg_join_rules
    assert len(rule.pairs) == 9


def test_holidays_of_a_service_become_those_of_the_tariff(imported):
    city = imported(
        **TWO,
        calendar="service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,"
        "start_date,end_date\nwork,1,1,1,1,1,0,0,20260101,20261231\n"
        "rest,0,0,0,0,0,1,1,20260101,20261231",
        calendar_dates="service_id,date,exception_type\nwork,20260106,2\nrest,20260106,1",
        timeframes="timeframe_group_id,start_time,end_time,service_id\nwork,,,work\nrest,,,rest",
        fare_leg_rules="fare_product_id,from_timeframe_group_id\nfive,work\none,rest",
    )
    assert city.fare("bus a>b mon 08:00-08:00") == 500
    assert city.fare("bus a>b tue 08:00-08:00") == 100
    assert [frame.holidays for frame in city.tariff.timeframes] == ["excluded", "included"]
    assert not any(remark.startswith("calendar_dates") for remark in city.remarks)


def test_a_currency_without_minor_units(imported):
    city = imported(
        fare_products="fare_product_id,amount,currency\nride,1250,KRW",
        fare_leg_rules="fare_product_id\nride",
    )
    assert city.fare("other_routes a>b") == 1250
    assert "amount: 1250}" in (city.folder / "2026-01-05.yaml").read_text(encoding="utf-8")


def test_a_great_many_pairs_become_a_table(imported, there_and_back):
    stations = [f"s{number}" for number in range(8)]
    pairs = [(one, other) for one in stations for other in stations if one != other]
    city = imported(
        areas="area_id\n" + "\n".join(stations),
        stops="stop_id\n" + "\n".join(stations),
        stop_areas="area_id,stop_id\n" + "\n".join(f"{each},{each}" for each in stations),
        rider_categories="rider_category_id,is_default_fare_category\nadult,1\nchild,0",
        fare_products="fare_product_id,rider_category_id,amount,currency\n"
        + "\n".join(
            f"{one}-{other},adult,{index}.50,USD\n{one}-{other},child,{index},USD"
            for index, (one, other) in enumerate(pairs, start=1)
        ),
        fare_leg_rules="from_area_id,to_area_id,fare_product_id\n"
        + "\n".join(f"{one},{other},{one}-{other}" for one, other in pairs),
    )
    assert [product.id for product in city.tariff.fare_products] == ["table_1", "table_1_2"]
    back = there_and_back(city)
    for index, (one, other) in enumerate(pairs, start=1):
        for each in (city, back):
            assert each.fare(f"other_routes {one}>{other}") == index * 100 + 50
            assert each.fare(f"other_routes {one}>{other}", rider="child") == index * 100
