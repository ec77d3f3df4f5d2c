from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from fare_rules import TariffFaults, load_book

HARBOUR = """
tariff: {tariff}
effective_from: {effective_from}
reference: Harbour fare notice 2025/11
timezone: {timezone}
service_day_starts: {starts}
currency: SGD
rider_categories: [{{id: adult, default: true}}]
fare_media: [{{id: card}}]
networks: [{{id: ferry, taps: board, reference: s.1}}]
fare_products: [{{id: ferry_ride, reference: s.2, pricing: {{kind: flat, amount: 3.00}}}}]
fare_leg_rules: [{{id: ferry, networks: [ferry], product: ferry_ride}}]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path()


def publish(name, effective_from, *, tariff="harbour", timezone="Asia/Singapore", starts="04:00"):
    text = HARBOUR.format(
        tariff=tariff, effective_from=effective_from, timezone=timezone, starts=starts
    )
    Path(name).write_text(text)


def faults_of(folder):
    with pytest.raises(TariffFaults) as caught:
        load_book(folder)
    return str(caught.value)


def test_a_tariff_is_in_force_from_the_start_of_its_service_day(folder):
    publish("2026-01-01.yaml", "2026-01-01")
    publish("2026-07-01.yaml", "2026-07-01")
    Path("examples.yaml").write_text("[]")
    book = load_book(folder)
    four_in_the_morning = datetime(2026, 6, 30, 20, tzinfo=UTC)
    in_june = book.tariff_at(four_in_the_morning - timedelta(microseconds=1))
    assert in_june.tariff_id == "harbour/2026-01-01"
    assert book.tariff_at(four_in_the_morning).tariff_id == "harbour/2026-07-01"
    years_later = four_in_the_morning + timedelta(days=900)
    assert book.tariff_at(years_later).tariff_id == "harbour/2026-07-01"
    assert book.service_day_of(four_in_the_morning) == date(2026, 7, 1)
    assert book.service_day_of(four_in_the_morning - timedelta(seconds=1)) == date(2026, 6, 30)
    assert book.timezone.key == "Asia/Singapore"


@pytest.mark.parametrize(("old", "new"), [("00:00", "04:00"), ("04:00", "00:00")])
def test_a_day_ends_where_the_next_tariffs_first_day_starts(folder, old, new):
    publish("2026-01-01.yaml", "2026-01-01", starts=old)
    publish("2026-07-01.yaml", "2026-07-01", starts=new)
    first_at = load_book(folder).starts_at(date(2026, 7, 1))
    in_june = [first_at - timedelta(hours=hours) for hours in (3, 5, 20)]
    in_july = [first_at + timedelta(hours=hours) for hours in (0, 3, 23)]
    # Whatever was asked before.
    for instants in (in_june + in_july, in_july + in_june, in_june[::-1]):
        book = load_book(folder)
        for instant in instants:
            day = date(2026, 6, 30) if instant < first_at else date(2026, 7, 1)
            assert book.service_day_of(instant) == day
            tariff = book.tariff_at(instant)
            assert tariff is not None
            assert tariff.service_day_of(instant) == day


def test_before_the_first_tariff_there_is_none(folder):
    publish("2026-01-01.yaml", "2026-01-01")
    book = load_book(folder)
    assert book.tariff_at(datetime(2025, 12, 31, 19, 59, tzinfo=UTC)) is None
    assert book.service_day_of(datetime(2025, 12, 31, 19, 59, tzinfo=UTC)) == date(2025, 12, 31)


def test_the_digest_is_of_every_byte_that_can_change_a_fare(folder):
    publish("2026-01-01.yaml", "2026-01-01")
    bare = load_book(folder).digest
    Path("links.csv").write_text("from_stop,to_stop,distance_m\n")
    with_links = load_book(folder).digest
    Path("examples.yaml").write_text("[]")
    assert len({bare, with_links}) == 2
    assert len(bare) == 64
    assert load_book(folder).digest == with_links


def test_a_folder_without_tariff_is_refused(folder):
    assert faults_of(folder) == (
        ".:1:1: error[no_tariff]: There is no tariff in this folder. "
        "Add one, named for the day from which it is in force"
    )


@pytest.mark.parametrize("name", ["2026-07-01.yml", "2026-07-01.YAML"])
def test_a_tariff_whose_name_ends_otherwise_is_not_left_out_in_silence(folder, name):
    publish("2026-01-01.yaml", "2026-01-01")
    publish(name, "2026-07-01")
    assert faults_of(folder) == (
        f"{name}:1:1: error[unreadable_file]: The file is not read, for its name ends in "
        f"{Path(name).suffix}. Name it 2026-07-01.yaml, or take it out of the folder"
    )


def test_two_tariffs_of_one_day_are_refused(folder):
    publish("a.yaml", "2026-01-01")
    publish("b.yaml", "2026-01-01")
    assert faults_of(folder) == (
        "b.yaml:3:17: error[same_date]: a.yaml is in force from the same day. Keep one of the two"
    )


def test_another_operator_or_time_zone_belongs_in_another_book(folder):
    publish("2026-01-01.yaml", "2026-01-01")
    publish("2026-07-01.yaml", "2026-07-01", tariff="pier", timezone="Asia/Tokyo")
    remedy = "Keep each tariff, currency and time zone in a folder of its own"
    assert faults_of(folder) == (
        "2026-07-01.yaml:2:9: error[not_the_same_book]: "
        f"tariff is 'pier' here, but 'harbour' in 2026-01-01.yaml. {remedy}\n"
        "2026-07-01.yaml:5:11: error[not_the_same_book]: "
        f"timezone is 'Asia/Tokyo' here, but 'Asia/Singapore' in 2026-01-01.yaml. {remedy}"
    )


def test_the_faults_of_every_file_are_told_together(folder):
    publish("2026-01-01.yaml", "2026-01-01", timezone="Asia/Singapur")
    publish("2026-07-01.yaml", "2026-07-02")
    assert [line.split(": ")[1] for line in faults_of(folder).splitlines()] == [
        "error[unknown_timezone]",
        "error[date_not_file_name]",
    ]
