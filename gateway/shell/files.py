"""Files on disk: whole or not there; those of a settlement never changed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import mkstemp

_PARTIAL = ".partial-"


class SettlementFileDiffers(RuntimeError):
    """A settlement file is there already with other content. Ours is a bug, or theirs an edit."""


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_settlement(
    folder: Path, files: dict[str, bytes], own: dict[str, bytes] | None = None
) -> list[Path]:
    """Write a settlement's files in their order, each whole and durable before the next.

    Shape:  a file that is there with the same bytes is left alone, so writing again mends a crash.
    Raises: SettlementFileDiffers before anything is written: a settlement never changes.
    """
    # The settlement's own manifest comes last: a folder that holds it holds everything.
    paths = {folder / name: content for name, content in {**(own or {}), **files}.items()}
    for parent in {path.parent for path in paths}:
        parent.mkdir(parents=True, exist_ok=True)
        _clear_away_parts(parent)
    for path, content in paths.items():
        if path.exists() and path.read_bytes() != content:
            raise SettlementFileDiffers(
                f"{path} differs from the settlement made now, and a settlement never changes. "
                "Compare it with manifest.json; if it was edited, move it away and close again."
            )
    for path, content in paths.items():
        if not path.exists():
            write_whole(path, content)
        # Also for a file found there: a crash may have come between its renaming and this.
        sync_folder(path.parent)
    return list(paths)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole, or not at all."""
    write_parts(path, (content,))


def write_parts(path: Path, parts: Iterable[bytes]) -> None:
    """The same for a file whose parts are made one after the other."""
    # Its own name for each writer, so that two at once cannot write into each other's.
    handle, partial = mkstemp(prefix=_PARTIAL, dir=path.parent)
    try:
        with open(handle, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
            os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _clear_away_parts(folder: Path) -> None:
    """Remove what killed writers left; the lock of one that lives is held until it is done."""
    for path in folder.glob(f"{_PARTIAL}*"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def replace_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write files in their order, each whole; what is there under their names is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_whole(folder / name, content)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_secret(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
