"""Feeds as they are found: forms that must be read, and faults that must all be named."""

import zipfile
from datetime import date

import pytest

from fare_rules.book import load_book
from fare_rules.gtfs import UnusableFeed, import_gtfs

DAY = date(2026, 1, 5)
REAL = {
    "agency.txt": "agency_id,agency_name,agency_url,agency_timezone\r\nA,Bay,x,Europe/Berlin\r\n",
    "stops.txt": "stop_id,stop_code,stop_name,stop_lat,stop_lon,zone_id,location_type,"
    "parent_station\r\n"
    'hbf,,"Hauptbahnhof, ""Nord""",52.5250,13.3690,1,1,\r\n'
    "hbf1,,Gleis 1,52.5250,13.3690,1,0,hbf\r\n"
    "zoo,,Zoo,52.5072,13.3325,2,0,\r\n"
    "door,,Eingang,52.5,13.3,,2,hbf\r\n",
    "routes.txt": "route_id,agency_id,route_short_name,route_type,network_id\r\nS1,A,S1,1,rail\r\n"
    "M2,A,M2,3,\r\n",
    "trips.txt": "route_id,service_id,trip_id\r\nS1,x,long\r\nS1,x,short\r\n",
    "stop_times.txt": "trip_id,arrival_time,stop_id,stop_sequence,shape_dist_traveled\r\n"
    "long,08:10:00,zoo,7,3.4\r\nlong,08:00:00,hbf1,2,0.2\r\nshort,09:00:00,hbf,1,\r\n",
    "shapes.txt": "shape_id\r\n",
    "areas.txt": "area_id,area_name\r\ninner,Inner\r\nouter,Outer\r\n",
    "stop_areas.txt": "area_id,stop_id\r\ninner,hbf\r\nouter,zoo\r\n",
    "fare_products.txt": "fare_product_id,fare_product_name,amount,currency,colour\r\n"
    "no,Kurzstrecke,2.40,EUR,red\r\n010,Einzel,3.80,EUR,blue\r\nmonth,Monat,99.00,EUR,\r\n",
    "fare_leg_rules.txt": "network_id,from_area_id,to_area_id,fare_product_id\r\n"
    "rail,inner,outer,010\r\nrail,inner,inner,no\r\n",
}


@pytest.fixture
def real_feed(tmp_path):
    path = tmp_path / "feed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in REAL.items():
            archive.writestr(name, b"\xef\xbb\xbf" + text.encode())
        archive.writestr("notes/readme.txt", "no table")
    return path


def test_a_zip_with_marks_quotes_stations_and_other_files(real_feed, tmp_path):
    folder = tmp_path / "tariff"
    remarks = import_gtfs(real_feed, folder, tariff_id="bay", effective_from=DAY)
    assert (folder / "stops.csv").read_text(encoding="utf-8") == (
        "stop_id,stop_name,zones,areas\n"
        'hbf,"Hauptbahnhof, ""Nord""",1,inner\n'
        "hbf1,Gleis 1,1,inner\n"
        "zoo,Zoo,2,outer\n"
    )
    assert (folder / "route_stops.csv").read_text(encoding="utf-8") == (
        "route_id,stop_id,stop_sequence,distance_m\nS1,hbf1,1,0\nS1,zoo,2,3200\n"
    )
    assert [remark.split(": ", 1)[0] for remark in remarks] == [
        "agency.txt:1",
        "fare_leg_rules.txt:1",
        "fare_leg_rules.txt:1",
        "fare_products.txt:1",
        "fare_products.txt:4",
        "routes.txt:1",
        "routes.txt:2",
        "shapes.txt:1",
        "stop_times.txt:1",
        "stops.txt:1",
        "stops.txt:1",
        "stops.txt:1",
        "trips.txt:1",
    ]
    page = (folder / "NOT_FROM_GTFS.md").read_text(encoding="utf-8")
    assert all(f"- {remark}\n" in page for remark in remarks)


def test_the_tariff_of_a_real_feed_is_without_fault_and_the_same_each_time(real_feed, tmp_path):
    written = []
    for name in ("one", "two"):
        import_gtfs(real_feed, tmp_path / name, tariff_id="bay", effective_from=DAY)
        load_book(tmp_path / name)
        written.append({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()})
    assert written[0] == written[1]
    text = written[0]["2026-01-05.yaml"].decode()
    assert 'id: "010"' in text
    assert 'id: "no"' in text
    assert "{kind: flat, amount: 3.80}" in text


def test_distance_over_the_ground_where_the_feed_measures_none(make_feed, tmp_path):
    feed = make_feed(
        stops="stop_id,stop_lat,stop_lon\na,52.5250,13.3690\nb,52.5072,13.3325",
        routes="route_id,route_type\nr,3",
        trips="route_id,trip_id\nr,t",
        stop_times="trip_id,stop_id,stop_sequence\nt,a,1\nt,b,2",
        fare_products="fare_product_id,amount,currency\nride,1,EUR",
        fare_leg_rules="fare_product_id\nride",
    )
    import_gtfs(feed, tmp_path / "tariff", tariff_id="x", effective_from=DAY)
    rows = (tmp_path / "tariff" / "route_stops.csv").read_text(encoding="utf-8").splitlines()
    assert rows[1:] == ["r,a,1,0", "r,b,2,3165"]


def faults_of(feed, tmp_path):
    with pytest.raises(UnusableFeed) as unusable:
        import_gtfs(feed, tmp_path / "tariff", tariff_id="x", effective_from=DAY)
    assert not (tmp_path / "tariff").exists()
    return list(unusable.value.faults)


def test_every_fault_of_a_row_is_named_with_its_file_and_row(make_feed, tmp_path):
    feed = make_feed(
        stops="stop_id,stop_lat,location_type\na,north,0\n,1,0\nb,1,9",
        calendar="service_id,monday\ns,1",
        fare_products="fare_product_id,amount,currency\nride,cheap,EUR\nride,1.00,EUR,x",
        fare_leg_rules="fare_product_id,rule_priority\nride,-1\n,2",
        fare_transfer_rules="fare_transfer_type\n7",
    )
    assert faults_of(feed, tmp_path) == [
        *(
            f"calendar.txt:1: There is no column {column}"
            for column in (
                "tuesday",
                "wednesday",
                "thursday",
                "friday",
                "saturday",
                "sunday",
                "start_date",
                "end_date",
            )
        ),
        "fare_leg_rules.txt:2: rule_priority cannot be '-1'",
        "fare_leg_rules.txt:3: fare_product_id is empty",
        "fare_products.txt:2: amount cannot be 'cheap'",
        "fare_products.txt:3: 4 values for 3 columns",
        "fare_transfer_rules.txt:2: fare_transfer_type cannot be '7'",
        "stops.txt:2: stop_lat cannot be 'north'",
        "stops.txt:3: stop_id is empty",
        "stops.txt:4: location_type cannot be '9'",
    ]


def test_every_fault_between_rows_is_named_with_its_file_and_row(make_feed, tmp_path):
    feed = make_feed(
        agency="agency_id,agency_timezone\nA,Europe/Berlin\nB,Mars/Olympus",
        networks="network_id\nbus",
        stops="stop_id\na\na",
        areas="area_id\ncentre",
        stop_areas="area_id,stop_id\nhill,a\ncentre,z",
        calendar="service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,"
        "start_date,end_date\ns,1,1,1,1,1,1,1,20260101,20261301",
        timeframes="timeframe_group_id,start_time,end_time,service_id\n"
        "peak,07:00:00,09:00:00,s\npeak,08:00:00,10:00:00,s\nlate,23:00:00,25:00:00,s\n"
        "noon,12:00:00,,s\nnever,,,t",
        rider_categories="rider_category_id,is_default_fare_category\nadult,1\nchild,1",
        fare_products="fare_product_id,rider_category_id,amount,currency\nride,,1.00,EUR\n"
        "ride,,2.00,EUR\nodd,,1.005,EUR\nfar,,1.00,USD\nnone,,1.00,XQQ\nless,,-1,EUR\n"
        "pet,dog,1.00,EUR",
        fare_leg_rules="leg_group_id,network_id,from_area_id,fare_product_id\n"
        "g,bus,,ride\ng,tram,,less\ng,bus,moon,gone",
        fare_leg_join_rules="from_network_id,to_network_id,from_stop_id\nbus,bus,a",
        fare_transfer_rules="from_leg_group_id,to_leg_group_id,transfer_count,duration_limit,"
        "fare_transfer_type\ng,g,,,0\ng,h,1,60,0\ng,g,0,,0",
    )
    assert sorted(faults_of(feed, tmp_path)) == [
        "agency.txt:3: 'Mars/Olympus' is no time zone",
        "agency.txt:3: Its time zone is not that of row 2",
        "calendar.txt:2: '20261301' is no day",
        "fare_leg_join_rules.txt:2: One of the two stops is missing",
        "fare_leg_rules.txt:3: 'less' costs less than nothing",
        "fare_leg_rules.txt:3: network_id 'tram' is not in networks.txt or routes.txt",
        "fare_leg_rules.txt:4: fare_product_id 'gone' is not in fare_products.txt",
        "fare_leg_rules.txt:4: from_area_id 'moon' is not in areas.txt",
        "fare_products.txt:3: 'ride' is already on row 2",
        "fare_products.txt:4: 1.005 has more decimals than EUR",
        "fare_products.txt:5: USD, but row 2 is in EUR",
        "fare_products.txt:6: 'XQQ' is no currency",
        "fare_products.txt:8: rider_category_id 'dog' is not in rider_categories.txt",
        "fare_transfer_rules.txt:2: transfer_count is missing, which a change within one group "
        "needs",
        "fare_transfer_rules.txt:3: duration_limit and duration_limit_type come together or not "
        "at all",
        "fare_transfer_rules.txt:3: to_leg_group_id 'h' is not in fare_leg_rules.txt",
        "fare_transfer_rules.txt:3: transfer_count is for changes within one group only",
        "fare_transfer_rules.txt:4: transfer_count cannot be 0",
        "rider_categories.txt:3: A second default category",
        "stop_areas.txt:2: area_id 'hill' is not in areas.txt",
        "stop_areas.txt:3: stop_id 'z' is not in stops.txt",
        "stops.txt:3: 'a' is already on row 2",
        "timeframes.txt:3: It overlaps row 2",
        "timeframes.txt:4: From 23:00:00 until 25:00:00 is no part of a day",
        "timeframes.txt:5: One of the two times is missing",
        "timeframes.txt:6: service_id 't' is not in calendar.txt or calendar_dates.txt",
    ]


def test_a_feed_without_fares(make_feed, tmp_path):
    assert faults_of(make_feed(stops="stop_id\na"), tmp_path) == [
        "fare_products.txt:1: The feed has no such file",
        "fare_leg_rules.txt:1: The feed has no such file",
    ]


def test_what_is_no_feed_at_all(tmp_path):
    (tmp_path / "feed.zip").write_bytes(b"no zip")
    (fault,) = faults_of(tmp_path / "feed.zip", tmp_path)
    assert fault.startswith("feed.zip:1: No zip file or folder of files")


def test_a_zip_with_a_folder_around_its_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "feed.zip", "w") as archive:
        archive.writestr("gtfs/agency.txt", REAL["agency.txt"])
    assert faults_of(tmp_path / "feed.zip", tmp_path) == [
        "feed.zip:1: The files must not be in a folder of the zip"
    ]


def test_a_zip_that_is_damaged(real_feed, tmp_path):
    content = bytearray(real_feed.read_bytes())
    content[60] ^= 0xFF
    real_feed.write_bytes(content)
    (fault,) = faults_of(real_feed, tmp_path)
    assert fault.startswith("feed.zip:1: No zip file or folder of files")


def test_bytes_that_are_no_text(make_feed, tmp_path):
    feed = make_feed(
        fare_products="fare_product_id,amount,currency\nride,1,EUR",
        fare_leg_rules="fare_product_id\nride",
    )
    (feed / "areas.txt").write_bytes(b"area_id\n\xff\xfe\n")
    (fault,) = faults_of(feed, tmp_path)
    assert fault.startswith("areas.txt:")
    assert "Not UTF-8" in fault


def test_a_published_file_is_not_written_over(make_feed, tmp_path):
    feed = make_feed(
        fare_products="fare_product_id,amount,currency\nride,1,EUR",
        fare_leg_rules="fare_product_id\nride",
    )
    import_gtfs(feed, tmp_path / "tariff", tariff_id="x", effective_from=DAY)
    with pytest.raises(UnusableFeed) as unusable:
        import_gtfs(feed, tmp_path / "tariff", tariff_id="x", effective_from=DAY)
    assert unusable.value.faults[0] == "2026-01-05.yaml:1: The folder has this file already"
