"""Taps parted by rider into files, so that memory stays small and processes share no objects.

A bucket is a file of frames: four bytes of length, then so many bytes of MessagePack, a list of
taps. Which bucket a rider falls into depends on the token alone, so any number of processes come to
the same result.
"""

from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import msgspec

from fare_rules.taps import RideTap

# A bucket of the largest city's day is some ten thousand taps.
BUCKETS_COUNT = 128
_FRAME_TAPS = 500

_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder = msgspec.msgpack.Decoder(list[RideTap])


class Buckets:
    """Files of taps in a folder; the caller removes it."""

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / f"{index}.taps" for index in range(BUCKETS_COUNT)]
        self._waiting: list[list[RideTap]] = [[] for _ in range(BUCKETS_COUNT)]
        self._counts = [0] * BUCKETS_COUNT

    def add(self, tap: RideTap) -> None:
        index = crc32(tap.media_token.encode()) % BUCKETS_COUNT
        waiting = self._waiting[index]
        waiting.append(tap)
        if len(waiting) == _FRAME_TAPS:
            self._write(index)

    def close(self) -> list[tuple[Path, int]]:
        """Write what waits, and list the files that have taps with their counts."""
        for index in range(BUCKETS_COUNT):
            self._write(index)
        return [(p, count) for p, count in zip(self._paths, self._counts, strict=True) if count]

    def _write(self, index: int) -> None:
        waiting = self._waiting[index]
        if not waiting:
            return
        frame = _encoder.encode(waiting)
        with self._paths[index].open("ab") as file:
            file.write(len(frame).to_bytes(4, "big"))
            file.write(frame)
        self._counts[index] += len(waiting)
        waiting.clear()


def read_bucket(path: Path) -> Iterator[RideTap]:
    content = memoryview(path.read_bytes())
    starts = 0
    while starts < len(content):
        ends = starts + 4 + int.from_bytes(content[starts : starts + 4], "big")
        yield from _decoder.decode(content[starts + 4 : ends])
        starts = ends
