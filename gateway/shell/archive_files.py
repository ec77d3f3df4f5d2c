"""The archive's files: a folder a service day, readable by whatever reads Parquet.

DIR/<day>/tap.parquet            the tap log of the day, one column a field
DIR/<day>/journal_entry.parquet  its entries, with their postings as a list
DIR/<day>/manifest.json          counts, sums and hashes; its own hash is kept in log_day

Of an unlinked day (unlinked_files.py) the folder is DIR/<day>.unlinked. Rows lie in the order of
wallet and version, as the audit wants them. DuckDB is loaded only when a day is written or read.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct, structs

from gateway.core.audit_books import Break
from gateway.core.days import ride_tap
from gateway.core.decide import KeptTap
from gateway.core.ledger import JournalEntry
from gateway.core.taps import Tap, TapResult
from gateway.shell.files import file_sha256, sync_folder, write_whole

TAPS, ENTRIES, MANIFEST = "tap.parquet", "journal_entry.parquet", "manifest.json"
_FORMAT = 1
_ROWS_AT_ONCE = 5_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PAYERS = "STRUCT(account VARCHAR, amount_fen BIGINT)[]"
_FACTS = ("network", "operator_id", "rider_category", "fare_media", "issuer_id")
_LISTS = ("coupons", "without", "leaves_without")
_TAP_COLUMNS = {
    "wallet_id": "UUID", "wallet_version": "BIGINT", "tap_id": "UUID", "service_day": "DATE",
    "received_at": "TIMESTAMPTZ", "tapped_at": "TIMESTAMPTZ", "gate_id": "VARCHAR",
    "sequence": "BIGINT", "media_token": "VARCHAR", "action": "VARCHAR", "stop_id": "VARCHAR",
    "route_id": "VARCHAR", "vehicle_id": "VARCHAR", "full_fare": "BIGINT", "distance_m": "BIGINT",
    "transfer_proven": "BOOLEAN", "carriage_class": "VARCHAR", "riders_count": "BIGINT",
    "offline": "BOOLEAN", "deny_list_version": "BIGINT", "network": "VARCHAR",
    "operator_id": "VARCHAR", "rider_category": "VARCHAR", "fare_media": "VARCHAR",
    "issuer_id": "VARCHAR", "coupons": "VARCHAR", "without": "VARCHAR",
    "leaves_without": "VARCHAR", "outcome": "VARCHAR", "open": "BOOLEAN",
    "display_text": "VARCHAR", "fare_fen": "BIGINT", "payers": _PAYERS,
    "balance_fen": "BIGINT", "owed_fen": "BIGINT", "journey_id": "UUID", "incomplete": "BOOLEAN",
    "needs_person": "BOOLEAN",
}  # fmt: skip
_ENTRY_COLUMNS = {
    "wallet_id": "UUID", "wallet_version": "BIGINT", "kind": "VARCHAR", "cause_id": "UUID",
    "tap_id": "UUID", "effective_at": "TIMESTAMPTZ", "recorded_at": "TIMESTAMPTZ",
    "service_day": "DATE", "settlement_day": "DATE", "operator_id": "VARCHAR",
    "product_id": "VARCHAR", "ride_count": "BIGINT", "postings": _PAYERS,
    "shared": "STRUCT(journey_id UUID, own_fen BIGINT, distance_m BIGINT, change_fen BIGINT)",
}  # fmt: skip
_COLUMNS = {TAPS: _TAP_COLUMNS, ENTRIES: _ENTRY_COLUMNS}
_RESULT_FIELDS = [name for name in TapResult.__struct_fields__[1:] if name in _TAP_COLUMNS]
_coupons = msgspec.json.Decoder(tuple[tuple[str, datetime], ...]).decode
_names = msgspec.json.Decoder(tuple[str, ...]).decode


class ArchiveMissing(Exception):
    """There is no archive, nothing to read it with, or no room to write it."""


class ArchiveDiffers(Exception):
    """What is in the archive is not what the database holds. Nothing was written over it."""


class ArchivedDay(Struct, frozen=True):
    """What the database remembers of a day in the archive."""

    service_day: date
    manifest_sha256: str
    settled_through: date | None
    is_unlinked: bool = False

    @property
    def folder(self) -> str:
        return unlinked_folder(self.service_day) if self.is_unlinked else str(self.service_day)


def unlinked_folder(day: date) -> str:
    return f"{day}.unlinked"


class Tally(Struct, frozen=True):
    """What all rows of a day come to. The two hashes are of the values, not of the files."""

    taps_count: int
    entries_count: int
    quarantined_count: int
    incomplete_count: int
    money_fen: dict[str, int]
    taps_sha256: str
    entries_sha256: str


class DayManifest(Struct, frozen=True):
    """What a day's folder holds. The tally is of the day as it was archived.

    `was_sha256` is the manifest of before the day was unlinked.
    """

    service_day: date
    schema: str
    tally: Tally
    files: dict[str, str]
    format: int = _FORMAT
    was_sha256: str | None = None


class Counting:
    """Adds up a day's rows as they go by."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._money = dict.fromkeys(("riders", "operators", "bank", "sponsors"), 0)
        self._hashes = {TAPS: hashlib.sha256(), ENTRIES: hashlib.sha256()}

    def take_tap(self, kept: KeptTap) -> bytes:
        """Count a tap; the row of its columns, as JSON."""
        row = msgspec.json.encode(_tap_row(kept))
        self._hashes[TAPS].update(row)
        self._counts["taps"] += 1
        self._counts["quarantined"] += kept.result.outcome.is_quarantined
        self._counts["incomplete"] += kept.result.incomplete
        return row

    def take_entry(self, entry: JournalEntry) -> bytes:
        row = msgspec.json.encode(entry)
        self._hashes[ENTRIES].update(row)
        self._counts["entries"] += 1
        for posting in entry.postings:
            self._money[_holder(posting.account)] += posting.amount_fen
        return row

    def tally(self) -> Tally:
        return Tally(
            self._counts["taps"],
            self._counts["entries"],
            self._counts["quarantined"],
            self._counts["incomplete"],
            self._money,
            self._hashes[TAPS].hexdigest(),
            self._hashes[ENTRIES].hexdigest(),
        )


def _holder(account: str) -> str:
    kind = account.partition(":")[0]
    return {"operator": "operators", "sponsor": "sponsors", "bank": "bank"}.get(kind, "riders")


class DayWriter:
    """Writes one day beside its final folder; `seal` puts it in place, whole."""

    def __init__(self, archive: Path, day: date, schema: str) -> None:
        self._archive, self._day, self._schema = archive, day, schema
        self._partial = archive / f"{day}.partial"
        if self._partial.exists():
            shutil.rmtree(self._partial)
        self._partial.mkdir(parents=True)
        self._counting = Counting()
        self._staging = self._partial / "staging.duckdb"
        self._session = duckdb_session(str(self._staging))
        for name, columns in _COLUMNS.items():
            said = ", ".join(f"{column} {kind}" for column, kind in columns.items())
            self._session.execute(f'CREATE TABLE "{name}" ({said})')

    def add_taps(self, taps: Iterable[KeptTap]) -> None:
        self._add(TAPS, map(self._counting.take_tap, taps))

    def add_entries(self, entries: Iterable[JournalEntry]) -> None:
        self._add(ENTRIES, map(self._counting.take_entry, entries))

    def _add(self, name: str, rows: Iterable[bytes]) -> None:
        kinds = {c: _PAYERS_JSON if k is _PAYERS else k for c, k in _COLUMNS[name].items()}
        self._session.execute(
            f'INSERT INTO "{name}" SELECT unnest(from_json($1, $2), max_depth := 2)',
            [f"[{b','.join(rows).decode()}]", msgspec.json.encode([kinds]).decode()],
        )

    def write(self, name: str) -> None:
        path = self._partial / name
        self._session.execute(
            f'COPY "{name}" TO {quoted(path)} '
            f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {4 * _ROWS_AT_ONCE})"
        )
        with path.open("rb") as file:
            os.fsync(file.fileno())

    def seal(self) -> tuple[DayManifest, str]:
        """Read back what was written, compare, and put it in place; the manifest and its hash.

        Shape:  a folder that a broken run has put in place already is kept if it holds the same.
        Raises: ArchiveDiffers when it does not, or when the files do not hold what was told.
        """
        self.close()
        self._staging.unlink()
        tally, place = self._counting.tally(), self._archive / str(self._day)
        if count_day(self._partial) != tally:
            raise ArchiveDiffers(f"{self._partial} does not hold what was written to it.")
        files = {name: file_sha256(self._partial / name) for name in _COLUMNS}
        manifest = DayManifest(self._day, self._schema, tally, files)
        write_whole(self._partial / MANIFEST, manifest_bytes(manifest))
        if place.exists():
            self._keep(place, tally)
        else:
            sync_folder(self._partial)
            self._partial.rename(place)
        sync_folder(self._archive)
        kept = (place / MANIFEST).read_bytes()
        return msgspec.json.decode(kept, type=DayManifest), hashlib.sha256(kept).hexdigest()

    def close(self) -> None:
        self._session.close()

    def _keep(self, place: Path, tally: Tally) -> None:
        if any(folder_breaks(place, None)) or _manifest_in(place).tally != tally:
            raise ArchiveDiffers(
                f"{place} is there already and holds something else than the database does of that "
                "day. Is it another gateway's archive? Move it away and archive again."
            )
        shutil.rmtree(self._partial)


def count_day(folder: Path) -> Tally:
    """Read a day's files from end to end."""
    counting = Counting()
    for kept in read_taps([folder / TAPS]):
        counting.take_tap(kept)
    for entry in read_entries([folder / ENTRIES]):
        counting.take_entry(entry)
    return counting.tally()


# Wallets after one and up to another; None: from the first, or to the last.
Between = tuple[UUID | None, UUID | None]
_ALL: Between = (None, None)


def read_taps(paths: Sequence[Path], between: Between = _ALL) -> Iterator[KeptTap]:
    """Taps of some days in the order of wallet and version; those of no wallet come last."""
    return map(_kept, _read(TAPS, paths, "wallet_id, wallet_version, tap_id", *_those(between)))


def read_entries(paths: Sequence[Path], between: Between = _ALL) -> Iterator[JournalEntry]:
    """Entries of some days in the order of wallet and version."""
    rows = _read(ENTRIES, paths, "wallet_id, wallet_version", *_those(between))
    return (msgspec.convert(row, JournalEntry) for row in rows)


def _those(between: Between) -> tuple[str, dict[str, Any]]:
    given = {n: str(one) for n, one in zip(("after", "until"), between, strict=True) if one}
    signs = {"after": ">", "until": "<="}
    condition = " AND ".join(f"wallet_id {signs[n]} ${n}::UUID" for n in given)
    return condition or "true", given


def read_settled_entries(
    paths: Sequence[Path], after: date | None, through: date
) -> list[JournalEntry]:
    """Entries by which operators are paid or sponsors owe, of some settlement days."""
    found = _read(
        ENTRIES,
        paths,
        "wallet_id, wallet_version",
        "settlement_day <= $through AND settlement_day > $after",
        {"after": after or date.min, "through": through},
    )
    return [msgspec.convert(row, JournalEntry) for row in found]


class SettledSum(Struct, frozen=True):
    """What the entries of a day come to for one operator or sponsor, of one settlement day."""

    account: str
    service_day: date
    settlement_day: date
    amount_fen: int


def read_settled_sums(paths: Sequence[Path]) -> list[SettledSum]:
    """What the entries of some days come to for operators and sponsors, added up as they are read.

    Raises: ArchiveMissing when they cannot be read.
    """
    found = _rows(
        "SELECT side.account, service_day, settlement_day, sum(side.amount_fen)::BIGINT "
        "FROM (SELECT service_day, settlement_day, unnest(postings) AS side "
        f"FROM {_parquet(paths)}) WHERE side.account ~ '^(operator|sponsor):.*' "
        "GROUP BY ALL ORDER BY ALL"
    )
    return [SettledSum(*row) for row in found]


def paths_of(archive: Path | None, days: Iterable[ArchivedDay], name: str) -> list[Path]:
    """A file of each day. Raises: ArchiveMissing when one is not there."""
    if archive is None:
        raise ArchiveMissing("Some days are archived, and nobody has said where.")
    paths = [archive / day.folder / name for day in days]
    if missing := [str(path) for path in paths if not path.exists()]:
        raise ArchiveMissing(
            f"{missing[0]} is missing. Bring the archive back to FAREGATE_ARCHIVE_DIR."
        )
    return paths


def stray_breaks(
    archive: Path, known: Iterable[date], unlinked: Collection[date]
) -> Iterator[Break]:
    """What lies in the archive and is of none of the days that the database knows, or should be
    gone.

    The folder of one that is not archived yet, or not unlinked, is what a broken run left, and its
    next run finishes.
    """
    expected = {unlinked_folder(day) for day in known} | {str(day) for day in known}
    gone = {str(day) for day in unlinked}
    for path in sorted(archive.iterdir()) if archive.exists() else ():
        name = path.name.removesuffix(".partial")
        if name in gone:
            fault = "the day is unlinked, and this leads to its riders; run `faregate unlink` again"
            yield Break("archive_linked", str(path), fault)
        elif name not in expected:
            yield Break("archive_extra", str(path), "it is the archive of no day")


def folder_breaks(folder: Path, day: ArchivedDay | None) -> Iterator[Break]:
    """What is wrong with one day's folder; with no day given, its manifest is taken as it is."""
    manifest_path = folder / MANIFEST
    if not manifest_path.exists():
        yield Break("archive_missing", str(manifest_path), "the day is archived, its file is gone")
        return
    content = manifest_path.read_bytes()
    if day is not None and hashlib.sha256(content).hexdigest() != day.manifest_sha256:
        yield Break("archive_changed", str(manifest_path), "it is not the manifest that was kept")
        return
    try:
        manifest = msgspec.json.decode(content, type=DayManifest)
    except msgspec.MsgspecError as error:
        yield Break("archive_changed", str(manifest_path), f"it is no manifest: {error}")
        return
    for name, sha256 in manifest.files.items():
        if not (folder / name).exists():
            yield Break("archive_missing", str(folder / name), "the manifest names it")
        elif file_sha256(folder / name) != sha256:
            yield Break("archive_changed", str(folder / name), "its hash is not the manifest's")
    for path in sorted(folder.iterdir()):
        if path.name not in (*manifest.files, MANIFEST):
            yield Break("archive_extra", str(path), "the manifest does not name it")


def read_manifest(archive: Path, day: ArchivedDay) -> DayManifest:
    return _manifest_in(paths_of(archive, [day], MANIFEST)[0].parent)


def _manifest_in(folder: Path) -> DayManifest:
    return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=DayManifest)


def manifest_bytes(manifest: DayManifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


_PAYERS_JSON = [{"account": "VARCHAR", "amount_fen": "BIGINT"}]


def _tap_row(kept: KeptTap) -> dict[str, Any]:
    """A tap's columns, always in one order and all of them, so that equal taps are equal bytes."""
    facts = kept.facts
    # Lists of the card and of campaigns that had run out: as JSON, for few taps have any.
    lists = {} if facts is None else {name: getattr(facts, name) for name in _LISTS}
    return {
        **structs.asdict(kept.tap),
        **{name: getattr(kept.result, name) for name in _RESULT_FIELDS},
        **{name: getattr(facts, name, None) for name in _FACTS},
        **dict.fromkeys(_LISTS),
        **{name: msgspec.json.encode(each).decode() for name, each in lists.items()},
        "needs_person": kept.result.needs_person,
        "received_at": kept.received_at,
        "service_day": kept.service_day,
        "wallet_id": kept.wallet_id,
        "wallet_version": kept.wallet_version,
    }


def _kept(row: dict[str, Any]) -> KeptTap:
    tap = msgspec.convert({name: row[name] for name in Tap.__struct_fields__}, Tap)
    said = {name: row[name] for name in ("tap_id", *_RESULT_FIELDS)}
    facts = None
    if row["coupons"] is not None:
        facts = ride_tap(
            tap,
            coupons=_coupons(row["coupons"]),
            without=_names(row["without"]),
            leaves_without=_names(row["leaves_without"]),
            **{name: row[name] for name in _FACTS},
        )
    return KeptTap(
        tap=tap,
        result=msgspec.convert(said, TapResult),
        received_at=row["received_at"],
        service_day=row["service_day"],
        wallet_id=row["wallet_id"],
        wallet_version=row["wallet_version"],
        facts=facts,
    )


def _read(
    name: str,
    paths: Sequence[Path],
    order: str,
    condition: str = "true",
    given: dict[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    if not paths:
        return
    columns = _COLUMNS[name]
    # Instants come as microseconds: DuckDB wants another library to make datetimes of them.
    instants = [column for column, kind in columns.items() if kind == "TIMESTAMPTZ"]
    said = ", ".join(f"epoch_us({c}) AS {c}" if c in instants else f'"{c}"' for c in columns)
    statement = f"SELECT {said} FROM {_parquet(paths)} WHERE {condition} ORDER BY {order}"
    for values in _rows(statement, given):
        row = dict(zip(columns, values, strict=True))
        for column in instants:
            if row[column] is not None:
                row[column] = _EPOCH + timedelta(microseconds=row[column])
        yield row


def _parquet(paths: Iterable[Path]) -> str:
    return f"read_parquet([{', '.join(map(quoted, paths))}])"


def _rows(statement: str, given: dict[str, Any] | None = None) -> Iterator[tuple[Any, ...]]:
    session = duckdb_session(":memory:")
    from duckdb import Error

    try:
        session.execute(statement, given)
        while found := session.fetchmany(_ROWS_AT_ONCE):
            yield from found
    except Error as error:
        raise ArchiveMissing(f"The archive cannot be read: {error}") from error
    finally:
        session.close()


def disk_faults() -> tuple[type[Exception], ...]:
    """What DuckDB raises for a disk that is full or shut; nothing where it was never loaded."""
    duckdb = sys.modules.get("duckdb")
    return (duckdb.IOException,) if duckdb else ()


def duckdb_session(database: str) -> Any:
    """A DuckDB on one core and in bounded memory; what does not fit is spilled."""
    try:
        import duckdb
    except ImportError:
        raise ArchiveMissing(
            "The archive is Parquet, and reading or writing it needs DuckDB, which is not "
            "installed: pip install 'faregate[archive]'."
        ) from None
    return duckdb.connect(
        database,
        config={
            "threads": 1,
            "memory_limit": "512MB",
            "temp_directory": str(Path(tempfile.gettempdir()) / f"faregate-{os.getpid()}"),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )


def quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
