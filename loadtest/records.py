"""What the clients of one process sent and heard, as lines of a file, for the audit."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO
from uuid import UUID

TAP = "tap"
TOP_UP = "top_up"


class Heard(NamedTuple):
    """A tap and the outcome it was answered with, or a top-up and its amount in fen."""

    kind: str
    id: UUID
    answer: str
    wallet_id: UUID | None = None


class Recorder:
    """Writes a line per answer. Only what was answered is in it: the rest is nobody's promise."""

    def __init__(self, folder: Path | None, name: str) -> None:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.tsv" if folder else Path(os.devnull)
        self._file: TextIO = path.open("a", buffering=1 << 16)

    def write(self, kind: str, id: object, answer: object, wallet_id: object = "") -> None:
        self._file.write(f"{kind}\t{id}\t{answer}\t{wallet_id}\n")

    def close(self) -> None:
        self._file.close()


def read_records(folder: Path) -> Iterator[Heard]:
    """What was written whole: of a process that was killed, the last line may not be."""
    for path in sorted(folder.glob("*.tsv")):
        with path.open() as lines:
            for line in lines:
                if not line.endswith("\n"):
                    break
                kind, id, answer, wallet_id = line.rstrip("\n").split("\t")
                yield Heard(kind, UUID(id), answer, UUID(wallet_id) if wallet_id else None)
