"""Taps parted by rider into files, so that memory stays small and processes share no objects.

A bucket is a file of taps in MessagePack, one after the other. Which bucket a rider falls into
depends on the token alone, so any number of processes come to the same result.
"""

from pathlib import Path
from zlib import crc32

import msgspec
from msgspec import Struct

from fare_rules.taps import RideTap

# A bucket of the largest city's day is some ten thousand taps.
BUCKETS_COUNT = 128
_WAITING_BYTES_MAX = 32_768
# MessagePack's mark of a list whose length follows in four bytes.
_LIST = b"\xdd"

# A tap made from an example holds its amounts as kinds of int.
_encoder = msgspec.msgpack.Encoder(enc_hook=int, uuid_format="bytes")
_decoder = msgspec.msgpack.Decoder(list[RideTap])


class Bucket(Struct, frozen=True):
    """A file of some riders' taps."""

    path: Path
    taps_count: int


class Buckets:
    """Files of taps in a folder; the caller removes it."""

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / f"{index}.taps" for index in range(BUCKETS_COUNT)]
        self._waiting = [bytearray() for _ in range(BUCKETS_COUNT)]
        self._counts = [0] * BUCKETS_COUNT

    def add(self, tap: RideTap) -> None:
        index = crc32(tap.media_token.encode()) % BUCKETS_COUNT
        waiting = self._waiting[index]
        _encoder.encode_into(tap, waiting, -1)
        self._counts[index] += 1
        if len(waiting) > _WAITING_BYTES_MAX:
            self._write(index)

    def close(self) -> list[Bucket]:
        """Write what waits, and list the buckets that have taps."""
        for index in range(BUCKETS_COUNT):
            self._write(index)
        return [Bucket(*pair) for pair in zip(self._paths, self._counts, strict=True) if pair[1]]

    def _write(self, index: int) -> None:
        with self._paths[index].open("ab") as file:
            file.write(self._waiting[index])
        self._waiting[index].clear()


def read_bucket(bucket: Bucket) -> list[RideTap]:
    length = bucket.taps_count.to_bytes(4, "big")
    return _decoder.decode(_LIST + length + bucket.path.read_bytes())
