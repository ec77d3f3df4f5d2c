"""What a row becomes, how a gate signs it, and when a replay has failed: all without a gateway."""

from unittest.mock import AsyncMock

import pytest
from gate_signature import GateKey, signature_headers
from gateway_client import chunks
from replay_city import register
from replay_comparison import Replay, compare, operator_table
from replay_shenzhen import drawn, gate_by_gate, one_by_one
from shenzhen_taps import RiderClass, read_taps, service_day_of, standard_fare_fen

HEAD = (
    "card_no,deal_date,deal_type,deal_money,deal_value,equ_no,company_name,station,car_no,"
    "conn_mark,close_date"
)
ENTRY = "ALMA,2018-09-01 07:00:00,地铁入站,0,0,G1,一号线,桃园,IGT-1,0,2018-09-01 00:00:00"
EXIT = "ALMA,2018-09-01 07:30:00,地铁出站,380,400,G2,一号线,深大,OGT-1,0,2018-09-01 00:00:00"
BUS = "BERT,2018-09-01 07:10:00,巴士,160,200,B1,蓝巴士,M1(环线）,粤B1,0,2018-09-01 00:00:00"


def read(*rows: str):
    return read_taps([f"{row}\n" for row in (HEAD, *rows)])


def only(row: str):
    (tap,) = read(row).taps
    return tap


def as_answered(stored, **changed):
    """What a gateway that charges every row as the key would say."""
    answered = {
        "results": {tap.tap_id: {"outcome": "leg_opened"} for tap in stored.taps},
        "charges_fen": {tap.tap_id: tap.key_fen for tap in stored.taps if tap.is_charged},
    }
    return Replay(**answered | changed)


@pytest.mark.parametrize(
    ("network", "full_fen", "standard_fen"),
    [
        ("metro", 200, 190),
        ("metro", 250, 238),  # 237.5 rounds up
        ("metro", 0, 0),
        ("bus", 200, 160),
        ("bus", 300, 240),
        ("bus", 400, 240 + 75),
        ("bus", 600, 240 + 225),
        ("bus", 1000, 240 + 225 + 260),
    ],
)
def test_the_standard_fare_is_95_percent_on_the_metro_and_by_bands_on_the_bus(
    network, full_fen, standard_fen
):
    assert standard_fare_fen(network, full_fen) == standard_fen


@pytest.mark.parametrize(
    ("charged_fen", "rider_class", "transfer_proven"),
    [
        (315, "adult", False),
        (275, "adult", True),
        (200, "student", False),
        (0, "free", False),
        (400, "undiscounted", False),
    ],
)
def test_the_amount_tells_class_and_transfer(charged_fen, rider_class, transfer_proven):
    tap = only(BUS.replace("160,200", f"{charged_fen},400"))
    assert (tap.rider_class, tap.transfer_proven) == (rider_class, transfer_proven)


def test_a_bus_row_is_sent_with_its_route_and_vehicle():
    tap = only(BUS)
    sent = tap.as_sent()
    assert sent.pop("tap_id") == tap.tap_id
    assert sent.pop("sequence") == tap.sequence
    assert sent == {
        "gate_id": "B1",
        "tapped_at": "2018-09-01T07:10:00+08:00",
        "media_token": "BERT",
        "action": "board",
        "route_id": "M1(环线）",
        "vehicle_id": "粤B1",
        "full_fare": 200,
        "offline": True,
    }


def test_a_metro_entry_names_its_stop_and_no_fare():
    sent = only(ENTRY).as_sent()
    assert sent["stop_id"] == "桃园"
    assert sent.keys().isdisjoint({"route_id", "vehicle_id", "full_fare", "transfer_proven"})


def test_a_place_that_is_not_known_is_left_out():
    for row in (EXIT.replace("深大,OGT-1", ","), BUS.replace("M1(环线）,粤B1", ",")):
        assert only(row).as_sent().keys().isdisjoint({"stop_id", "route_id", "vehicle_id"})


def test_an_entry_has_the_class_of_its_cards_next_exit():
    student_exit = EXIT.replace("380,400", "200,400")
    adult_again = [row.replace("07:", "09:") for row in (ENTRY, EXIT)]
    classes = [tap.rider_class for tap in read(ENTRY, student_exit, *adult_again).taps]
    assert classes == ["student", "student", "adult", "adult"]


def test_an_entry_without_an_exit_has_the_class_of_its_cards_first_ride():
    free_bus = BUS.replace("BERT", "ALMA").replace("160,200", "0,200")
    assert {tap.media_token for tap in read(ENTRY, free_bus).taps} == {"ALMA.free"}
    assert only(ENTRY).rider_class is RiderClass.ADULT


def test_two_equal_rows_are_two_taps():
    first, second = read(BUS, BUS).taps
    assert first.tap_id != second.tap_id
    assert first.sequence != second.sequence


def test_a_row_is_the_same_tap_in_any_file():
    assert only(BUS) in read(BUS, ENTRY).taps
    assert only(BUS).as_sent() == read(ENTRY, EXIT, BUS).taps[1].as_sent()


def test_a_gates_sequence_grows_with_time():
    sequences = [tap.sequence for tap in read(EXIT.replace("07:30:00", "07:29:59"), EXIT).taps]
    assert sequences == sorted(sequences)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("short,row", "deal_type is ''"),
        (BUS.replace("巴士,160", "轮渡,160"), "deal_type is '轮渡'"),
        (BUS.replace("160", "-160"), "deal_money is not an amount in fen: '-160'"),
        (BUS.replace("200", "two"), "deal_value is not an amount in fen: 'two'"),
        (BUS.replace("B1,", ",", 1), "equ_no is not a name of 1 to 48 characters: ''"),
        (BUS.replace("07:10:00", "7 o'clock"), "does not match format"),
    ],
)
def test_a_malformed_row_is_a_fault_and_no_tap(row, fault):
    stored = read(ENTRY, row)
    assert [tap.line for tap in stored.taps] == [2]
    assert fault in stored.faults[3]
    assert len(compare(stored, as_answered(stored)).differing) == 1


def test_a_row_that_no_rule_explains_is_sent_and_differs_whatever_it_is_charged():
    stored = read(BUS.replace("160,", "77,"), ENTRY.replace(",0,0,", ",5,0,"))
    assert len(stored.taps) == 2
    assert stored.faults == {
        2: "no rule makes 77 fen of 200",
        3: "no rule makes 5 fen of 0",
    }
    assert compare(stored, as_answered(stored)).differing == stored.faults


def test_a_file_without_its_columns_is_refused():
    with pytest.raises(ValueError, match="columns are missing: deal_money"):
        read_taps([HEAD.replace("deal_money", "money")])


def test_a_night_ride_belongs_to_the_day_before():
    night = only(BUS.replace("07:10:00", "03:59:59"))
    assert service_day_of(night.tapped_at).isoformat() == "2018-08-31"
    assert service_day_of(only(BUS).tapped_at).isoformat() == "2018-09-01"


def test_a_signature_covers_method_path_time_and_body():
    """The expected one is openssl's, over the same four lines."""
    key = GateKey("key-1", bytes.fromhex("00112233445566778899aabbccddeeff"))
    headers = signature_headers(key, "POST", "/v1/taps", b"[]", unix_seconds=1_535_760_000)
    assert headers == {
        "Faregate-Key": "key-1",
        "Faregate-Timestamp": "1535760000",
        "Faregate-Signature": "ea1b0e965a0f8b8b0ef28f516dd00db1228c3ebf935593a6c60e84db04447368",
    }


def test_a_gate_sends_what_it_stored_in_few_requests():
    stored = read(EXIT, *[ENTRY.replace("ALMA", f"CARD{n}") for n in range(1_001)])
    sizes = [(delivery.gate_id, len(delivery.tap_ids)) for delivery in gate_by_gate(stored.taps)]
    assert sizes == [("G1", 1_000), ("G1", 1), ("G2", 1)]
    assert all(len(delivery.tap_ids) == 1 for delivery in one_by_one(stored.taps))


def test_records_are_cut_into_chunks_and_none_is_lost():
    assert [len(some) for some in chunks(range(2_500))] == [1_000, 1_000, 500]
    assert list(chunks([])) == []


def test_a_limit_takes_the_first_rows_and_with_a_seed_a_sample():
    stored = read(ENTRY, "short,row", EXIT, BUS)
    assert drawn(stored, None, None) is stored
    assert drawn(stored, 2, None).lines == [2, 3]
    assert drawn(stored, 3, 7) == drawn(stored, 3, 7)
    assert len(drawn(stored, 3, 7).lines) == 3


async def test_operators_are_registered_before_their_gates():
    gateway = AsyncMock()
    await register(read(ENTRY, EXIT, BUS).taps, gateway)
    kinds = [kind for call in gateway.ask.await_args_list for kind in call.args[2]]
    assert kinds == ["operators", "stops", "routes", "gates"]


def test_a_replay_as_the_key_is_faultless():
    stored = read(ENTRY, EXIT, BUS.replace("160,", "0,"))
    comparison = compare(stored, as_answered(stored, settled_fen={"一号线": 380}))
    assert comparison.is_faultless
    assert str(comparison) == "charged 2 of 2, differing 0, refused 0, incomplete 0"


def test_every_kind_of_fault_is_counted_and_named():
    stored = read(ENTRY, EXIT, BUS, BUS)
    entry, bus, second_bus, exit_ = (tap.tap_id for tap in stored.taps)
    replay = Replay(
        results={
            entry: {"outcome": "unknown_media"},
            bus: {"outcome": "ride_charged", "incomplete": True},
            exit_: {"outcome": "ride_charged"},
        },
        charges_fen={entry: 10, bus: 160, second_bus: 160},
        answered_otherwise=frozenset({bus}),
        settled_fen={"一号线": 10, "蓝巴士": 320, "红巴士": 5},
    )
    comparison = compare(stored, replay)
    assert str(comparison) == "charged 2 of 3, differing 3, refused 2, incomplete 1"
    assert not comparison.is_faultless
    assert list(comparison.faults()) == [
        "一号线: settled 10 fen, not 380",
        "红巴士: settled 5 fen, not 0",
        "line 2: charged 10 fen, not 0",
        "line 4: a later copy was answered otherwise",
        "line 3: charged None fen, not 380",
        "line 2: unknown_media",
        "line 5: not answered",
    ]


def test_the_table_ends_with_the_sum_of_all_operators():
    stored = read(ENTRY, EXIT, BUS)
    table = list(operator_table(stored.taps, as_answered(stored)))
    assert [line.split() for line in table[1:]] == [
        ["2", "380", "380", "一号线"],
        ["1", "160", "160", "蓝巴士"],
        ["3", "540", "540", "all"],
    ]
