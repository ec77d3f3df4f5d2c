"""The fleet of gates over HTTP and on the command line: what each sent, and what seems missing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
from _refund_desk import dsn_of

from gateway.core.taps import LET_THROUGH
from gateway.gate_commands import tell_gates
from gateway.shell import gate_store


async def send(door: Any, *sequences: int, ago: timedelta = timedelta(0), **changes: Any) -> None:
    """Taps of bus-1 with these numbers."""
    at = (datetime.now(UTC) - ago).isoformat()
    taps = [door.tap(sequence=number, tapped_at=at, **changes) for number in sequences]
    assert (await door.post_taps(taps)).status == 200


async def listed(door: Any, query: str = "", who: str = "gate_operator") -> dict[str, Any]:
    said = await door.ask("GET", f"/v1/gates{query}", who=who)
    assert said.status == 200, said.body
    return {gate["gate_id"]: gate for gate in said.message["gates"]}


def missing(gate: dict[str, Any]) -> tuple[int, list[tuple[int, int]]]:
    return gate["missing_count"], [(gap["first"], gap["last"]) for gap in gate["gaps"]]


async def test_a_gap_is_seen_and_closes_when_the_offline_taps_come(door):
    await door.open_wallet()
    await send(door, 1010, 1011, 1014, 1020)
    bus = (await listed(door))["bus-1"]
    assert (bus["taps_count"], bus["first_sequence"], bus["last_sequence"]) == (4, 1010, 1020)
    assert missing(bus) == (7, [(1012, 1013), (1015, 1019)])
    await send(door, 1012, 1013, 1015, 1016, 1018, 1019, offline=True)
    bus = (await listed(door))["bus-1"]
    assert missing(bus) == (1, [(1017, 1017)])
    assert bus["taps_count"] == 10


async def test_what_is_lost_between_two_days_is_told_on_the_second(door):
    await door.open_wallet()
    yesterday = {"ago": timedelta(days=1), "offline": True}
    await send(door, 500, **yesterday)
    await send(door, 504, 505)
    day = door.api.book.service_day_of(datetime.now(UTC))
    before = await listed(door, f"?day={day - timedelta(days=1)}")
    assert missing(before["bus-1"]) == (0, [])
    assert missing((await listed(door))["bus-1"]) == (3, [(501, 503)])
    # A number that a wrong clock put on another day was seen all the same.
    await send(door, 501, 502, 503, **yesterday)
    assert missing((await listed(door))["bus-1"]) == (0, [])


async def test_a_replaced_device_is_a_range_and_no_list(door):
    await door.open_wallet()
    await send(door, 7, 8, 9_000_000_000_000_000_001)
    await send(door, 1_000_000)
    assert missing((await listed(door))["bus-1"]) == (
        9_000_000_000_000_000_001 - 10,
        [(9, 999_999), (1_000_001, 9_000_000_000_000_000_000)],
    )


async def test_no_gate_makes_the_report_long(door):
    await door.open_wallet()
    await send(door, *range(100, 300, 2))
    bus = (await listed(door))["bus-1"]
    assert (bus["gaps_count"], bus["missing_count"]) == (99, 99)
    assert missing(bus)[1] == [(number, number) for number in (101, 103, 105, 107, 109)]


async def test_a_device_that_counts_anew_is_seen_by_its_reused_numbers(door):
    await door.open_wallet()
    await send(door, 1, 2, 3)
    await send(door, 1, 2)
    bus = (await listed(door))["bus-1"]
    assert (bus["taps_count"], bus["refused_count"], bus["sequence_reused_count"]) == (5, 2, 2)
    assert missing(bus) == (0, [])


async def test_the_clock_is_judged_by_the_newest_taps_with_a_network(door):
    await door.open_wallet()
    await send(door, 1, ago=timedelta(hours=1), offline=True)
    assert "clock_behind_ms" not in (await listed(door))["bus-1"]
    await send(door, 2, ago=timedelta(seconds=400))
    await send(door, 3, ago=timedelta(seconds=100))
    behind_ms = (await listed(door))["bus-1"]["clock_behind_ms"]
    assert 100_000 <= behind_ms < 200_000
    # A clock that is far ahead is refused, and seen here.
    await send(door, 4, ago=timedelta(hours=-2))
    assert (await listed(door))["bus-1"]["clock_behind_ms"] < -3_600_000
    # Once it was set, the taps before are soon forgotten.
    await send(door, *range(5, 25), media_token="nobody's", ago=timedelta(seconds=100))
    assert 100_000 <= (await listed(door))["bus-1"]["clock_behind_ms"] < 200_000


async def test_what_was_refused_or_needs_a_person_is_counted(door):
    await door.open_wallet()
    await send(door, 1)
    await send(door, 2, media_token="nobody's")
    await send(door, 3, route_id=None)
    bus = (await listed(door))["bus-1"]
    assert (bus["taps_count"], bus["refused_count"], bus["for_a_person_count"]) == (3, 1, 1)
    newest = datetime.fromisoformat(bus["newest_received_at"])
    assert datetime.now(UTC) - newest < timedelta(minutes=2)


async def test_gates_that_sent_nothing_are_listed(door):
    await door.open_wallet()
    await send(door, 1)
    found = await listed(door)
    assert list(found) == ["bus-1", "futian-in", "futian-station", "luohu-in", "luohu-out"]
    assert found["luohu-in"] == {
        "gate_id": "luohu-in", "operator_id": "metro", "network": "metro", "taps_count": 0,
        "refused_count": 0, "sequence_reused_count": 0, "for_a_person_count": 0,
        "missing_count": 0, "gaps_count": 0, "gaps": [],
    }  # fmt: skip


async def test_an_operator_sees_its_own_gates_and_no_others(door):
    assert list(await listed(door, who="buses_gate_operator")) == ["bus-1"]
    assert list(await listed(door, "?operator=buses", who="auditor")) == ["bus-1"]
    said = await door.ask("GET", "/v1/gates?operator=metro", who="buses_gate_operator")
    assert said.status == 403
    said = await door.ask("GET", "/v1/gates?operator=trams")
    said.check_problem(404, "not_found", "operator")


async def test_more_gates_than_fit_are_asked_for_with_after(door, monkeypatch):
    monkeypatch.setattr("gateway.api.gates._LISTED_MAX", 2)
    assert list(await listed(door)) == ["bus-1", "futian-in"]
    assert list(await listed(door, "?after=futian-in")) == ["futian-station", "luohu-in"]
    assert list(await listed(door, "?after=luohu-out")) == []


async def test_a_day_that_is_archived_or_none_is_told_so(door, server_dsn: str, capsys):
    said = await door.ask("GET", "/v1/gates?day=yesterday")
    said.check_problem(422, "invalid_day")
    dsn = await dsn_of(door, server_dsn)
    owner = await asyncpg.connect(dsn)
    await owner.execute(
        """INSERT INTO log_day (service_day, archived_at, manifest_sha256, settled_through)
        VALUES ('2024-01-01', now(), '', '2024-01-01')"""
    )
    await owner.close()
    said = await door.ask("GET", "/v1/gates?day=2024-01-01")
    said.check_problem(404, "not_found", "archived")
    assert await tell_gates(door.api.settings, dsn, None, date(2024, 1, 1)) == 1
    assert capsys.readouterr().out == "2024-01-01 is archived: look in the archive\n"
    assert (await listed(door, "?day=2024-01-02"))["bus-1"]["taps_count"] == 0


async def test_the_command_line_tells_the_same(door, server_dsn: str, capsys):
    await door.open_wallet(fen=5_000)
    await send(door, *range(40, 60, 2))
    await send(door, 40, media_token="nobody's")
    dsn = await dsn_of(door, server_dsn)
    assert await tell_gates(door.api.settings, dsn, None, None) == 0
    bus, *_, last = capsys.readouterr().out.splitlines()
    assert bus.startswith("bus-1  buses  bus  11 taps  40..58  newest ")
    assert "  9 not seen: 41, 43, 45, 47, 49, ...  clock " in bus
    assert bus.endswith(" behind  1 refused  1 of them with a reused number")
    assert last.endswith(": 5 gates, 4 sent nothing, 9 numbers not seen")
    assert await tell_gates(door.api.settings, dsn, "metro", date(2024, 1, 1)) == 0
    assert capsys.readouterr().out.splitlines()[0] == "futian-in  metro  metro  sent nothing"
    assert await tell_gates(door.api.settings, dsn, "trams", None) == 1


async def test_a_day_is_found_by_its_own_index_not_by_each_gates_numbers_of_all_days(door):
    async with door.api.pool.acquire() as connection, connection.transaction():
        await connection.execute(
            """INSERT INTO gate_sequence (sequence, service_day, tap_id, gate_id)
            SELECT number, date '2024-01-01' + number / 4000, gen_random_uuid(),
                'gate ' || number % 1000
            FROM generate_series(0, 159999) AS number"""
        )
        await connection.execute("ANALYZE gate_sequence")
        # So few pages are read as fast from end to end.
        await connection.execute("SET LOCAL enable_seqscan = off")
        for statement, last in (
            (gate_store._READ_SEEN, LET_THROUGH),
            (gate_store._READ_GAPS, 5),
            (gate_store._READ_NEWEST, 20),
        ):
            found = await connection.fetch(
                f"EXPLAIN {statement}", date(2024, 1, 21), ["gate 1"], last
            )
            plan = "\n".join(row[0] for row in found)
            assert "Bitmap Index Scan on gate_sequence_day" in plan, plan
            assert "Bitmap Index Scan on sequence_once" not in plan, plan


async def test_ids_of_gates_are_the_operators_own_words(door):
    gate = {"gate_id": f"罗湖 ' {uuid4()}", "operator_id": "metro", "network": "metro"}
    said = await door.ask("POST", "/v1/registry", {"gates": [gate]})
    assert said.status == 200, said.body
    assert list(await listed(door, "?after=zzz")) == [gate["gate_id"]]
