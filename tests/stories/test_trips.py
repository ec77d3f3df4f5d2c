"""What planners get of a day: every tap and amount as a TIDES fare transaction, and no rider."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from _stores import MIDNIGHT
from _town import RETENTION_DAYS, UNLINK_DAYS, Town, day_of
from msgspec import structs

from fare_rules import load_book
from gateway.core.tides import PACKAGE, PACKAGE_SIGNATURE
from gateway.export_commands import export_trips
from gateway.shell.archive_files import ArchiveMissing
from gateway.shell.signing import Signer
from gateway.verify_commands import verify

BOOK = load_book(MIDNIGHT)
# Source: TIDES, spec/fare_transactions.schema.json.
COLUMNS = [
    "transaction_id", "service_date", "event_timestamp", "amount", "currency_type", "fare_action",
    "trip_id_performed", "pattern_id", "stop_sequence", "vehicle_id", "device_id", "fare_id",
    "stop_id", "num_riders", "fare_media_id", "rider_category", "fare_product", "fare_period",
    "fare_capped", "token_id", "balance",
]  # fmt: skip
REQUIRED = COLUMNS[:6]
ACTIONS = {
    "Unknown action type", "Purchase", "Enter", "Exit", "Transfer entrance", "Transfer exit", "Add",
    "Activate", "Adjust", "Other",
}  # fmt: skip


@pytest.fixture
def town(database: str, tmp_path: Path) -> Iterator[Town]:
    """A day with rides by bus and metro, one that never came out, and a late bus."""
    town = Town(BOOK, database, tmp_path)
    for name in ("ann", "bob"):
        town.rider(name)
    town.tap("ann", "board", "bus M390", 0, "08:00")
    town.tap("ann", "board", "bus M506", 0, "08:10")
    town.tap("ann", "enter", "metro luohu", 0, "08:20")
    town.tap("ann", "exit", "metro laojie", 0, "08:40")
    town.tap("bob", "enter", "metro luohu", 0, "09:00")
    town.tap("ann", "board", "bus M390", 1, "08:00")
    # It comes in a day late, and what came after it costs something else now.
    town.tap("ann", "board", "bus M506", 0, "07:40", arrives=1)
    town.close(0)
    yield town
    town.store.close()


def export(
    town: Town, day: date, to: Path | None, operator: str | None = None, secret: bytes = b"s" * 32
) -> int:
    settings = structs.replace(town.settings, tariffs_dir=MIDNIGHT)
    return town.store.run(export_trips(settings, town.dsn, secret, day, to, operator))


def exported(
    town: Town, day: date, secret: bytes = b"s" * 32
) -> tuple[dict[str, list[dict[str, str]]], dict[str, bytes]]:
    """Rows by operator; and all files."""
    folder = town.folder / "exported"
    assert export(town, day, folder, secret=secret) == 0
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    tables = {
        name.removeprefix("fare_transactions_").removesuffix(".csv"): list(
            csv.DictReader(io.StringIO(content.decode()))
        )
        for name, content in files.items()
        if name.endswith(".csv")
    }
    shutil.rmtree(folder)
    return tables, files


def ledger_fen(town: Town, day: date) -> dict[str, int]:
    rows = town.store.run(
        town.store.pool.fetch(
            """SELECT operator_id, sum(operator_fen)::bigint AS fen FROM journal_entry
            WHERE service_day = $1 AND operator_id IS NOT NULL GROUP BY operator_id""",
            day,
        )
    )
    return {row["operator_id"]: row["fen"] for row in rows}


def test_every_row_is_a_tides_fare_transaction(town: Town) -> None:
    tables, _ = exported(town, day_of(0))
    rows = [row for table in tables.values() for row in table]
    assert all(list(row) == COLUMNS for row in rows)
    assert all(row[name] for row in rows for name in REQUIRED)
    assert {row["fare_action"] for row in rows} <= ACTIONS
    assert len({row["transaction_id"] for row in rows}) == len(rows)
    for row in rows:
        assert date.fromisoformat(row["service_date"]) == day_of(0)
        assert datetime.fromisoformat(row["event_timestamp"]).utcoffset()
        assert int(row["num_riders"] or 0) >= 0


def test_rows_come_in_the_order_in_which_things_happened(town: Town) -> None:
    tables, _ = exported(town, day_of(0))
    for table in tables.values():
        told = [(row["event_timestamp"], row["transaction_id"]) for row in table]
        assert len(told) > 3
        assert told == sorted(told)


def test_a_change_is_a_transfer_and_what_was_put_right_is_an_adjustment(town: Town) -> None:
    tables, _ = exported(town, day_of(0))
    told = {
        operator: [(row["event_timestamp"][11:16], row["fare_action"], row["amount"]) for row in t]
        for operator, t in tables.items()
    }
    by_bus = next(rows for rows in told.values() if any(row[0] == "07:40" for row in rows))
    by_metro = next(rows for rows in told.values() if any(row[0] == "09:00" for row in rows))
    assert ("07:40", "Enter", "2.00") in by_bus
    assert [row[1] for row in by_bus if row[0] == "08:10"][-1] == "Transfer entrance"
    assert [row[2] for row in by_bus if row[:2] == ("08:00", "Adjust")] == ["-0.50"]
    assert [row[1:] for row in by_metro if row[0] == "08:20"] == [("Enter", "0.00")]
    assert next(row[1] for row in by_metro if row[0] == "08:40") == "Exit"
    # Bob never came out: the charge for that is no tap of his.
    adjusted = [row for row in by_metro if row[0] == "09:00" and row[1] == "Adjust"]
    assert len(adjusted) == 1
    assert Decimal(adjusted[0][2]) > 0


def test_each_operators_amounts_are_the_ledgers_of_the_day(town: Town) -> None:
    for number in (0, 1):
        tables, files = exported(town, day_of(number))
        fen = {
            operator: sum(int(Decimal(row["amount"]) * 100) for row in table)
            for operator, table in tables.items()
        }
        assert fen == ledger_fen(town, day_of(number))
        described = json.loads(files[PACKAGE])
        assert sum(int(Decimal(one["amount"]) * 100) for one in described["resources"]) == sum(
            fen.values()
        )


def test_the_package_names_each_file_with_its_hash(town: Town) -> None:
    _, files = exported(town, day_of(0))
    described = json.loads(files.pop(PACKAGE))
    del files[PACKAGE_SIGNATURE]
    assert {one["path"] for one in described["resources"]} == files.keys()
    for one in described["resources"]:
        assert one["bytes"] == len(files[one["path"]])
        assert one["hash"] == f"sha256:{sha256(files[one['path']]).hexdigest()}"
        assert one["rows_count"] == files[one["path"]].count(b"\r\n") - 1


def test_a_card_is_told_apart_within_the_day_and_leads_to_nobody(town: Town) -> None:
    tables, files = exported(town, day_of(0))
    tokens = {row["token_id"] for table in tables.values() for row in table if row["token_id"]}
    assert len(tokens) == 2
    assert not any(name in b"".join(files.values()) for name in (b"ann", b"bob"))
    next_day, _ = exported(town, day_of(1))
    assert tokens.isdisjoint(row["token_id"] for table in next_day.values() for row in table)
    otherwise, _ = exported(town, day_of(0), secret=b"t" * 32)
    assert tokens.isdisjoint(row["token_id"] for table in otherwise.values() for row in table)


def test_an_archived_day_is_exported_as_before(town: Town) -> None:
    before = exported(town, day_of(0))
    assert [one.service_day for one in town.archive(RETENTION_DAYS + 1)] == [day_of(0)]
    assert exported(town, day_of(0)) == before


def test_the_command_writes_an_operators_table_and_replaces_it(town: Town, tmp_path: Path) -> None:
    folder = tmp_path / "planners"
    for _ in range(2):
        assert export(town, day_of(0), folder, "metro") == 0
    assert {path.name for path in folder.iterdir()} == {
        PACKAGE, PACKAGE_SIGNATURE, "fare_transactions_metro.csv"
    }  # fmt: skip
    tables, _ = exported(town, day_of(0))
    with (folder / "fare_transactions_metro.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == tables["metro"]


def test_nothing_is_written_of_a_day_or_an_operator_without_trips(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "planners"
    assert export(town, day_of(0), folder, "ferries") == 1
    assert export(town, date(2001, 1, 1), folder) == 1
    assert capsys.readouterr().out.splitlines() == [
        "ferries carried nobody on service day 2018-09-03",
        "the log has nothing of service day 2001-01-01",
    ]
    assert not folder.exists()


def test_each_operator_is_served_its_own_trips_and_no_others(town: Town) -> None:
    assert export(town, day_of(0), None) == 0
    tables, files = exported(town, day_of(0))
    served = town.settings.trips_dir / str(day_of(0)) / "operators"
    assert {path.name for path in served.iterdir()} == tables.keys()
    for operator in tables:
        name = f"fare_transactions_{operator}.csv"
        own = {path.name: path.read_bytes() for path in (served / operator).iterdir()}
        assert own.keys() == {PACKAGE, PACKAGE_SIGNATURE, name}
        assert own[name] == files[name]
        assert [one["path"] for one in json.loads(own[PACKAGE])["resources"]] == [name]
        assert verify(served / operator, key=keys_of(town)) == 0


@pytest.mark.parametrize("step", ["committed", "removed"])
def test_an_unlinked_day_is_neither_exported_nor_served_any_more(town: Town, step: str) -> None:
    for day in (0, 1):
        assert export(town, day_of(day), None) == 0
    town.close(1)
    town.archive(RETENTION_DAYS + 3)

    def killed(done: str) -> None:
        if done == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        town.unlink(UNLINK_DAYS + 1, after=killed)
    town.unlink(UNLINK_DAYS + 1)
    assert [path.name for path in town.settings.trips_dir.iterdir()] == [str(day_of(1))]
    with pytest.raises(ArchiveMissing, match=r"2018-09-03 is unlinked: 2018-09-03.unlinked has"):
        export(town, day_of(0), None)
    assert export(town, day_of(1), None) == 0


def keys_of(town: Town) -> str:
    return str(town.settings.settlement_dir / "keys.json")


@pytest.fixture
def package(town: Town, tmp_path: Path) -> Path:
    """A day's trips in a folder, with what both operators carried."""
    folder = tmp_path / "planners"
    assert export(town, day_of(0), folder) == 0
    return folder


def test_a_package_is_verified_with_the_public_key_alone(
    town: Town, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert verify(package, key=keys_of(town)) == 0
    assert verify(package / PACKAGE, key=keys_of(town)) == 0
    said = capsys.readouterr().out
    assert (
        "fare_transactions_2018-09-03 is right: 4 rows and 5.00 CNY in fare_transactions_bus"
        in (said)
    )
    assert verify(package, key=Signer(bytes(32)).public.public_key) == 1
    assert "signed by key" in capsys.readouterr().out
    assert verify(package) == 0
    assert "who signed it was not checked" in capsys.readouterr().out


@pytest.mark.parametrize("name", [PACKAGE, PACKAGE_SIGNATURE, "fare_transactions_bus.csv"])
def test_any_byte_of_a_package_that_is_changed_is_found(
    town: Town, package: Path, name: str
) -> None:
    path = package / name
    content = path.read_bytes()
    for at in range(0, len(content), max(len(content) // 40, 1)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert verify(package, key=keys_of(town)) != 0, f"byte {at}"
    path.write_bytes(content)
    assert verify(package, key=keys_of(town)) == 0
    path.unlink()
    assert verify(package, key=keys_of(town)) != 0


def test_a_package_must_be_right_in_rows_and_sums_whoever_signed_it(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signer = Signer(bytes(32))

    def faults(**changes: object) -> list[str]:
        described = json.loads((package / PACKAGE).read_bytes())
        described["resources"][0] |= changes
        content = json.dumps(described).encode()
        (package / PACKAGE).write_bytes(content)
        (package / PACKAGE_SIGNATURE).write_bytes(signer.sign(content))
        capsys.readouterr()
        assert verify(package, key=signer.public.public_key) == 1
        return [line.removeprefix(f"{package}/") for line in capsys.readouterr().out.splitlines()]

    name = "fare_transactions_bus.csv"
    assert faults(rows_count=7) == [f"{name}: the count of rows is 4, but the manifest says 7"]
    assert faults(rows_count=4, amount="5.50") == [
        f"{name}: the sum of amount is 5.00, but the manifest says 5.50"
    ]
    assert f"{name}:2: is in CNY, not in HKD" in faults(amount="5.00", currency="HKD")
    content = (package / name).read_bytes().replace(b"2.00", b"free", 1)
    (package / name).write_bytes(content)
    written = {"bytes": len(content), "hash": f"sha256:{sha256(content).hexdigest()}"}
    assert f"{name}:2: not a fare transaction" in faults(currency="CNY", **written)[0]
    assert faults(path="../planners/" + name) == [
        f"../planners/{name}: is in the manifest, but not in the folder"
    ]


def test_times_are_the_citys(town: Town) -> None:
    tables, _ = exported(town, day_of(0))
    zone = ZoneInfo("Asia/Shanghai")
    for row in (row for table in tables.values() for row in table):
        said = datetime.fromisoformat(row["event_timestamp"])
        assert said.utcoffset() == said.astimezone(zone).utcoffset()
