"""A user that signs taps: it sends them until they are answered, and records the answers."""

import time
from typing import Any, ClassVar

import gevent
import msgspec
from locust import FastHttpUser

from loadtest.city import CityTap
from loadtest.feed import Feed
from loadtest.gate_signature import signature_headers
from loadtest.keys_file import KeysFile
from loadtest.records import TAP, Recorder

# A double beep is refused at the way in and let through at the way out. Nothing else is refused:
# every rider is known and has money.
MEANT_OUTCOMES = frozenset(
    {"leg_opened", "ride_charged", "ride_owed", "passed_back", "double_beep"}
)
RESENT_STATUSES = frozenset({0, 429, 502, 503, 504})
SENDINGS_MAX = 20
PAUSE_SECONDS_MAX = 5.0


class Played:
    """What all users of one process share: the city's taps, the gates' keys, the records."""

    feed: ClassVar[Feed]
    keys: ClassVar[KeysFile]
    recorder: ClassVar[Recorder]
    token: ClassVar[str] = ""


class SigningUser(FastHttpUser):
    abstract = True
    connection_timeout = 10
    network_timeout = 15

    def post_taps(self, signer: str, taps: CityTap | list[CityTap], name: str) -> None:
        """Send one tap or many, again and again until they are answered: that is safe."""
        body = msgspec.json.encode(taps)
        for _ in range(SENDINGS_MAX):
            pause_seconds = self._send(signer, body, taps, name)
            if pause_seconds is None:
                return
            gevent.sleep(pause_seconds)

    def _send(
        self, signer: str, body: bytes, taps: CityTap | list[CityTap], name: str
    ) -> float | None:
        """Send once. None when there is nothing left to do, else how long to wait."""
        key = Played.keys.key(signer)
        signed = signature_headers(key, "POST", "/v1/taps", body, unix_seconds=int(time.time()))
        headers = {"Content-Type": "application/json", **signed}
        with self.client.post(
            "/v1/taps", data=body, headers=headers, name=name, catch_response=True
        ) as response:
            if response.status_code == 200:
                results = msgspec.json.decode(response.content)
                fault = _record(taps, results)
                if fault:
                    response.failure(fault)
                return None
            response.failure(f"status {response.status_code}")
            if response.status_code not in RESENT_STATUSES:
                return None
            after = (response.headers or {}).get("Retry-After", "")
            return min(float(after), PAUSE_SECONDS_MAX) if after.isdecimal() else 1.0


def _record(taps: CityTap | list[CityTap], results: Any) -> str | None:
    """Write down what was answered; the first answer that was not meant is a fault."""
    pairs = zip(taps, results, strict=True) if isinstance(taps, list) else [(taps, results)]
    fault = None
    for tap, result in pairs:
        outcome = result["outcome"]
        Played.recorder.write(TAP, tap.tap_id, outcome)
        if str(tap.tap_id) != result["tap_id"]:
            fault = "the answer is another tap's"
        elif outcome not in MEANT_OUTCOMES:
            fault = fault or f"outcome {outcome}"
    return fault
