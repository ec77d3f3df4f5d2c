"""The keys file: which city was registered with a gateway, and its gates' keys.

It is secret. Whoever reads it can sign taps for every gate in it.
"""

import os
from pathlib import Path

import msgspec

from loadtest.city import City
from loadtest.gate_signature import GateKey


class KeysFile(msgspec.Struct):
    """What makes the city again, and by gate the id and the secret (in hex) of its key."""

    seed: int
    riders_count: int
    bus_operators_count: int
    gates_per_line: int
    keys: dict[str, tuple[str, str]] = {}

    def city(
        self, part: int = 0, parts_count: int = 1, *, offline_buses_per_1000: int = 50
    ) -> City:
        return City(
            self.seed,
            riders_count=self.riders_count,
            bus_operators_count=self.bus_operators_count,
            gates_per_line=self.gates_per_line,
            offline_buses_per_1000=offline_buses_per_1000,
            part=part,
            parts_count=parts_count,
        )

    def key(self, gate_id: str) -> GateKey:
        key_id, secret = self.keys[gate_id]
        return GateKey(key_id, bytes.fromhex(secret))

    def write(self, path: Path) -> None:
        """Write it so that nobody else can read it, not even for a moment."""
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(self))

    @classmethod
    def read(cls, path: Path) -> "KeysFile":
        return msgspec.json.decode(path.read_bytes(), type=cls)
