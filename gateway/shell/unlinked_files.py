"""An archived day without its riders: where and when was ridden, by nobody in particular.

DIR/<day>.unlinked/unlinked_tap.parquet   stop, gate and hour of each tap, under a name of the day
DIR/<day>.unlinked/journal_entry.parquet  its entries, as they were
DIR/<day>.unlinked/manifest.json          as before, and the hash of the manifest before

The name of a rider's day is a hash under a key that is made for the day and kept nowhere, so the
legs of one card on one day hang together, and nothing else does. Rows lie in the order of these
names, and times are cut to the hour; ids, money and answers are left out.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from datetime import date
from pathlib import Path
from uuid import UUID

import msgspec
from msgspec import structs

from gateway.core.taps import LET_THROUGH
from gateway.shell.archive_files import (
    ENTRIES,
    MANIFEST,
    TAPS,
    ArchivedDay,
    ArchiveDiffers,
    DayManifest,
    count_day,
    duckdb_session,
    folder_breaks,
    manifest_bytes,
    quoted,
    read_manifest,
    unlinked_folder,
)
from gateway.shell.files import file_sha256, sync_folder, write_whole

UNLINKED_TAPS = "unlinked_tap.parquet"
_KEY_BYTES = 32
_HOUR_SECONDS = 3600
# What a planner asks for. A column that tells one rider of many by itself has no place here.
_KEPT = (
    "service_day", "gate_id", "action", "stop_id", "route_id", "vehicle_id", "network",
    "operator_id", "rider_category", "fare_media", "carriage_class", "riders_count",
)  # fmt: skip
# How a tap was answered would tell who owed money then, and the entries tell when that was.
_LET_THROUGH = ", ".join(f"'{outcome}'" for outcome in LET_THROUGH)


def check_whole(archive: Path, day: ArchivedDay) -> DayManifest:
    """Read a day from end to end, before nobody can any more.

    Raises: ArchiveDiffers when it is not what was archived.
    """
    folder = archive / day.folder
    for one in folder_breaks(folder, day):
        raise ArchiveDiffers(f"{one.subject}: {one.fault}. Only a day that is whole is unlinked.")
    manifest = read_manifest(archive, day)
    if count_day(folder) != manifest.tally:
        raise ArchiveDiffers(f"{folder} does not hold what its manifest says.")
    return manifest


def list_riders(archive: Path, day: ArchivedDay) -> list[UUID]:
    """The wallets that rode on a day, in the order of their ids."""
    session = duckdb_session(":memory:")
    try:
        found = session.execute(
            f"""SELECT DISTINCT wallet_id FROM read_parquet({quoted(archive / day.folder / TAPS)})
            WHERE wallet_id IS NOT NULL AND outcome IN ({_LET_THROUGH}) ORDER BY wallet_id"""
        ).fetchall()
    finally:
        session.close()
    return [row[0] for row in found]


def write_unlinked(archive: Path, day: ArchivedDay) -> tuple[DayManifest, str]:
    """Write a day without its riders beside it; its manifest and the hash of that.

    Shape:  what a broken run has left is made anew, for its key is gone.
    """
    linked, place = archive / day.folder, archive / unlinked_folder(day.service_day)
    partial = place.with_name(f"{place.name}.partial")
    for left in (partial, place):
        if left.exists():
            shutil.rmtree(left)
    partial.mkdir()
    manifest = read_manifest(archive, day)
    rows_count = _write_taps(linked / TAPS, partial / UNLINKED_TAPS)
    if rows_count != manifest.tally.taps_count:
        raise ArchiveDiffers(f"{partial} does not hold as many taps as {linked}.")
    shutil.copyfile(linked / ENTRIES, partial / ENTRIES)
    files = {name: file_sha256(partial / name) for name in (UNLINKED_TAPS, ENTRIES)}
    if files[ENTRIES] != manifest.files[ENTRIES]:
        raise ArchiveDiffers(f"{partial / ENTRIES} is not what {linked / ENTRIES} was.")
    for name in files:
        _sync(partial / name)
    manifest = structs.replace(manifest, files=files, was_sha256=day.manifest_sha256)
    content = manifest_bytes(manifest)
    write_whole(partial / MANIFEST, content)
    sync_folder(partial)
    partial.rename(place)
    sync_folder(archive)
    return msgspec.json.decode(content, type=DayManifest), hashlib.sha256(content).hexdigest()


def remove_linked(archive: Path, day: date) -> bool:
    """Remove what leads to the riders of an unlinked day; whether anything was there."""
    found = [path for path in (archive / str(day), archive / f"{day}.partial") if path.exists()]
    for path in found:
        shutil.rmtree(path)
    if found:
        sync_folder(archive)
    return bool(found)


def _write_taps(linked: Path, unlinked: Path) -> int:
    key = secrets.token_hex(_KEY_BYTES)

    def name_of(column: str) -> str:
        return f"left(sha256('{key}' || {column}::VARCHAR), 32)::UUID"

    hour = (
        f"to_timestamp(floor(epoch_us(tapped_at) / {_HOUR_SECONDS * 1_000_000}) * {_HOUR_SECONDS})"
    )
    session = duckdb_session(":memory:")
    try:
        session.execute(
            f"""COPY (
            SELECT {name_of("media_token")} AS rider, {name_of("journey_id")} AS journey,
                {hour} AS hour, {", ".join(_KEPT)}, outcome IN ({_LET_THROUGH}) AS is_let_through
            FROM read_parquet({quoted(linked)}) ORDER BY ALL
            ) TO {quoted(unlinked)} (FORMAT parquet, COMPRESSION zstd)"""
        )
        found = session.execute(f"SELECT count(*) FROM read_parquet({quoted(unlinked)})").fetchone()
    finally:
        session.close()
    return int(found[0])


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
