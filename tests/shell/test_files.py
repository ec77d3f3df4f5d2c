import fcntl
import os
from pathlib import Path

import pytest

from gateway.shell.files import SettlementFileDiffers, write_settlement

FILES = {"operator_metro.csv": b"lines", "totals.csv": b"totals", "manifest.json": b"{}\n"}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_file_is_written_and_nothing_else(tmp_path):
    folder = tmp_path / "settlement" / "2026-03-02"
    assert write_settlement(folder, FILES) == [folder / name for name in FILES]
    assert content(folder) == FILES


def test_writing_again_leaves_the_files_alone(tmp_path):
    paths = write_settlement(tmp_path, FILES)
    before = [path.stat() for path in paths]
    assert write_settlement(tmp_path, FILES) == paths
    assert [path.stat() for path in paths] == before


def test_writing_again_adds_what_a_crash_left_out(tmp_path):
    write_settlement(tmp_path, FILES)
    (tmp_path / "manifest.json").unlink()
    write_settlement(tmp_path, FILES)
    assert content(tmp_path) == FILES


def test_a_settlement_never_changes(tmp_path):
    (tmp_path / "totals.csv").write_bytes(b"other totals")
    with pytest.raises(SettlementFileDiffers, match=r"totals\.csv differs"):
        write_settlement(tmp_path, FILES)
    assert content(tmp_path) == {"totals.csv": b"other totals"}


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path, monkeypatch):
    def refuse(handle: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        write_settlement(tmp_path, FILES)
    assert content(tmp_path) == {}


def test_what_a_killed_writer_left_is_cleared_away_and_a_living_ones_is_not(tmp_path):
    (tmp_path / ".partial-dead").write_bytes(b"half a li")
    with (tmp_path / ".partial-busy").open("wb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        write_settlement(tmp_path, FILES)
        assert content(tmp_path) == {**FILES, ".partial-busy": b""}
    write_settlement(tmp_path, FILES)
    assert content(tmp_path) == FILES


def test_the_manifest_appears_after_all_others_are_durable(tmp_path, monkeypatch):
    done: list[str] = []
    replace, fsync = os.replace, os.fsync

    def noted_replace(source, target):
        done.append(Path(target).name)
        replace(source, target)

    def noted_fsync(handle: int) -> None:
        done.append("fsync")
        fsync(handle)

    monkeypatch.setattr(os, "replace", noted_replace)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    write_settlement(tmp_path, FILES)
    assert done == [step for name in FILES for step in ("fsync", name, "fsync")]
