"""An operator fetches its trips of a day: what was exported for it, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from gateway.export_commands import export_trips
from gateway.verify_commands import verify

NAMES = ("datapackage.json", "datapackage.sig", "fare_transactions_buses.csv")


@pytest.fixture
async def exported(open_door, server_dsn: str, tmp_path: Path):
    """A gateway whose trips of yesterday, by bus and metro, are exported."""
    async with open_door(data_dir=tmp_path, trips_dir=tmp_path / "trips") as door:
        at = datetime.now(UTC) - timedelta(days=1)
        await door.open_wallet()
        bus = door.tap(tapped_at=at.isoformat(), offline=True)
        metro = door.metro_tap("exit", tapped_at=at.isoformat(), offline=True, full_fare=300)
        for tap in (bus, metro):
            assert (await door.post_taps(tap)).message["outcome"] == "ride_charged"
        day = door.api.book.service_day_of(at)
        door.path = f"/v1/trips/{day}/operators/buses/files"
        said = await door.ask("GET", f"{door.path}/{NAMES[0]}")
        said.check_problem(404, "not_found", "none yet")
        database = await door.api.pool.fetchval("SELECT current_database()")
        dsn = urlsplit(server_dsn)._replace(path=f"/{database}").geturl()
        assert await export_trips(door.api.settings, dsn, b"s" * 32, day) == 0
        yield door


async def fetched(door: Any, name: str, who: str) -> bytes:
    said = await door.ask("GET", f"{door.path}/{name}", who=who)
    assert said.status == 200, said.body
    assert said.headers["Content-Type"] == "application/octet-stream"
    return said.body


@pytest.mark.parametrize("who", ["buses_finance", "buses_gate_operator", "finance", "auditor"])
async def test_what_was_exported_is_fetched_and_verified(exported, tmp_path: Path, who: str):
    folder = tmp_path / "fetched"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_bytes(await fetched(exported, name, who))
    keys = tmp_path / "keys of the door.json"
    keys.write_bytes((await exported.ask("GET", "/v1/signing-keys")).body)
    assert verify(folder, key=str(keys)) == 0


async def test_an_operator_reads_no_others_trips_by_any_name(exported):
    metro = exported.path.replace("buses", "metro")
    assert (await exported.ask("GET", f"{metro}/datapackage.json")).status == 200
    said = await exported.ask("GET", f"{metro}/datapackage.json", who="buses_finance")
    assert said.status == 403
    beside = (
        "..%2Fmetro%2Ffare_transactions_metro.csv",
        "%2E%2E%2Fmetro%2Fdatapackage.json",
        "..%2F..%2F..%2F..%2Fsigning_key",
        ".%2Fdatapackage.json",
        quote(str(exported.api.settings.settlement_dir / "keys.json"), safe=""),
        "%00.json",
    )
    for name in beside:
        said = await exported.ask("GET", f"{exported.path}/{name}", who="buses_finance")
        assert (name, said.status) == (name, 404)


@pytest.mark.parametrize("who", ["desk", "checker"])
async def test_who_has_no_business_with_money_or_gates_reads_none(exported, who: str):
    said = await exported.ask("GET", f"{exported.path}/datapackage.json", who=who)
    assert said.status == 403
