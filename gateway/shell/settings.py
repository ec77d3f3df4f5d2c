"""Every setting: its name, type, default, bounds and meaning in one table.

The field `port` is the variable FAREGATE_PORT; environment.py reads them.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

import fare_rules

PREFIX = "FAREGATE_"
_HIDDEN = "(hidden)"
_LOOK_BACK_DAYS = 2


class SecretKey(bytes):
    """A key that does not show itself in a log or a traceback."""

    def __repr__(self) -> str:
        return _HIDDEN


class DatabaseUrl(str):
    """A database's address that shows itself without its password."""

    def __repr__(self) -> str:
        shown = re.sub(r"^([^:]*://[^:/@]*):[^/]*@", rf"\1:{_HIDDEN}@", self)
        return re.sub(r"([?&](?:ssl)?password=)[^&]*", rf"\1{_HIDDEN}", shown)


def _data_dir() -> Path:
    # PostgreSQL does not run as root, and whoever runs it instead cannot enter root's home.
    if os.geteuid() == 0:
        return Path("/var/lib/faregate")
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "faregate"


def _says(meaning: str, *, default: str = "", **bounds: Any) -> Meta:
    """One sentence of meaning; `default` says in words what differs from machine to machine."""
    return Meta(description=meaning, extra={"default": default}, **bounds)


class Settings(Struct, frozen=True, kw_only=True):
    """What an operator can choose. Limits refuse at once; nothing grows without a bound."""

    # Where things are.
    database_url: Annotated[
        DatabaseUrl,
        _says(
            "PostgreSQL 15 or newer; without it, DATABASE_URL; without both, an embedded server."
        ),
    ] = DatabaseUrl("")
    auto_migrate: Annotated[
        bool, _says("Apply pending migrations at the start instead of refusing to serve.")
    ] = False
    pg_bin: Annotated[
        Path | None, _says("The folder of PostgreSQL's programs for the embedded server.")
    ] = None
    data_dir: Annotated[
        Path,
        _says(
            "The folder of the embedded server, its keys, settlement files, archive and trips.",
            default="/var/lib/faregate for root, else ~/.local/share/faregate",
        ),
    ] = field(default_factory=_data_dir)
    settlement_dir: Annotated[
        Path, _says("The folder of the settlement files, seen from the data folder.")
    ] = Path("settlement")
    archive_dir: Annotated[
        Path, _says("The folder of archived days, seen from the data folder.")
    ] = Path("archive")
    trips_dir: Annotated[
        Path, _says("The folder of exported trips that are served, seen from the data folder.")
    ] = Path("trips")
    tariffs_dir: Annotated[
        Path,
        _says(
            "The folder of the tariffs in force.", default="the Shenzhen tariff that ships along"
        ),
    ] = Path(fare_rules.__file__).parent / "tariffs" / "shenzhen"

    # The door.
    host: Annotated[str, _says("The address to listen on.")] = "127.0.0.1"
    port: Annotated[int, _says("The TCP port to listen on.", ge=1, le=65_535)] = 8080
    gate_master_key: Annotated[
        SecretKey | None,
        _says("The key that the gates' keys are derived from: 32 bytes or more, hex or base64."),
    ] = None
    signing_key: Annotated[
        SecretKey | None,
        _says("The key that settlements are signed with: 32 bytes or more, hex or base64."),
    ] = None
    delivery_secrets_dir: Annotated[
        Path | None,
        _says("The folder of the keys that settlement files are sent with, one a file."),
    ] = None
    delivery_attempts_max: Annotated[
        int, _says("After so many attempts a delivery waits for a person.", ge=1, le=100)
    ] = 12
    delivery_timeout_seconds: Annotated[
        int, _says("How long one delivery may take.", ge=1, le=540)
    ] = 60
    delivery_to_loopback: Annotated[
        bool, _says("Let webhooks lie on this machine, without TLS: for trying out.")
    ] = False
    history_days: Annotated[
        int, _says("Journeys older than this are told to nobody at the desk.", ge=1, le=4000)
    ] = 56
    metrics_public: Annotated[
        bool, _says("Show /metrics to everyone who reaches the port, without a token.")
    ] = False
    signature_skew_seconds_max: Annotated[
        int, _says("How far a signature's time may lie from the server's.", ge=1, le=3600)
    ] = 300
    tap_ahead_seconds_max: Annotated[
        int, _says("How far a gate's clock may run ahead of the server's.", ge=0, le=86_400)
    ] = 300
    tap_age_days_max: Annotated[
        int,
        _says(
            "An older tap is set aside for a person to look at; 0: as old as the tariff says.",
            ge=0,
            le=36_600,
        ),
    ] = 0

    retention_days: Annotated[
        int,
        _says(
            "How long taps and entries stay in the database and a repeat is recognised, before "
            "`faregate archive` may take them.",
            ge=3,
            le=40_000,
        ),
    ] = 400
    unlink_days: Annotated[
        int,
        _says(
            "How long it is known where and when a card was used, before `faregate unlink` may "
            "take that from the archive. 0: for ever.",
            ge=0,
            le=40_000,
        ),
    ] = 0

    # The limits of one request.
    body_bytes_max: Annotated[
        int, _says("A larger body is refused with 413.", ge=1024, le=67_108_864)
    ] = 1_048_576
    request_taps_max: Annotated[
        int, _says("More taps in one request are refused with 422.", ge=1, le=10_000)
    ] = 1000
    header_count_max: Annotated[int, _says("More headers are refused.", ge=16, le=1000)] = 64
    header_bytes_max: Annotated[
        int, _says("A longer header, or request line, is refused.", ge=1024, le=65_536)
    ] = 8190
    text_chars_max: Annotated[
        int, _says("A longer id or name is refused with 422.", ge=16, le=255)
    ] = 64
    request_timeout_ms: Annotated[
        int, _says("A client slower to send its request is hung up on.", ge=100, le=600_000)
    ] = 10_000

    # The limits of all requests together.
    connections_count_max: Annotated[
        int,
        _says("More open connections are answered 503 and closed.", ge=1, le=1_000_000),
    ] = 10_000
    idle_seconds_max: Annotated[
        int, _says("A connection on which nothing is asked for so long is closed.", ge=1, le=86_400)
    ] = 600
    requests_in_flight_max: Annotated[
        int, _says("More requests at once are answered 503.", ge=1, le=100_000)
    ] = 512
    gate_requests_in_flight_max: Annotated[
        int, _says("More requests at once of one gate are answered 429.", ge=1, le=100_000)
    ] = 250
    streams_max: Annotated[int, _says("More open streams are answered 503.", ge=0, le=100_000)] = (
        1000
    )
    stream_frames_max: Annotated[
        int,
        _says("A stream with more unanswered frames is not read until some are.", ge=1, le=10_000),
    ] = 256
    stream_ping_seconds: Annotated[
        int,
        _says("A stream that does not answer a ping in half this time is closed.", ge=1, le=3600),
    ] = 30
    queue_taps_max: Annotated[
        int,
        _says("When more taps wait for a batch, a request is answered 503.", ge=1, le=1_000_000),
    ] = 20_000
    batch_taps_max: Annotated[
        int, _says("The most taps that one database transaction decides.", ge=1, le=10_000)
    ] = 512
    lanes_count: Annotated[
        int, _says("Writers; no wallet is with two of them at once.", ge=1, le=64)
    ] = 2
    pool_connections_count_max: Annotated[
        int, _says("Connections for all that is not a tap; the next one waits.", ge=2, le=100)
    ] = 4
    commit_timeout_ms: Annotated[
        int,
        _says(
            "A slower commit, or statement of the desk, has an unknown outcome and is looked up.",
            ge=100,
            le=600_000,
        ),
    ] = 5000
    drain_seconds_max: Annotated[
        int, _says("How long taps in flight may take to be answered at a stop.", ge=1, le=3600)
    ] = 30
    registry_poll_ms: Annotated[
        int, _says("How often the city and its keys are looked up anew.", ge=50, le=600_000)
    ] = 1000

    # Several processes.
    workers_count: Annotated[
        int,
        _says(
            "Processes that serve the port together; a supervisor keeps more than one alive.",
            ge=1,
            le=64,
        ),
    ] = 1
    worker_deaths_count_max: Annotated[
        int,
        _says(
            "After so many deaths in a row, each soon after its start, the supervisor gives up.",
            ge=1,
            le=1000,
        ),
    ] = 10

    worker_silence_seconds_max: Annotated[
        int,
        _says(
            "A process whose event loop does not turn for so long is killed and begun again.",
            ge=5,
            le=86_400,
        ),
    ] = 30

    # Money.
    wallet_floor_fen: Annotated[
        int, _says("The lowest balance that a charge may leave.", ge=-1_000_000, le=0)
    ] = 0

    correction_unchecked_fen_max: Annotated[
        int,
        _says(
            "What one person at the desk may put right, refunds of one ride taken together and "
            "goodwill to one wallet within 30 days; more needs a second.",
            ge=0,
            le=10_000_000,
        ),
    ] = 1000
    correction_self_count_max: Annotated[
        int, _says("Missing ends that a rider may name without a person, a wallet.", ge=0, le=1000)
    ] = 10
    correction_self_window_days: Annotated[
        int, _says("In how many days that count is.", ge=1, le=400)
    ] = 28
    correction_self_age_days_max: Annotated[
        int, _says("How long after the ride riders may do so.", ge=0, le=400)
    ] = 7
    clearance_minutes_max: Annotated[
        int, _says("How long after an entry staff may clear it.", ge=0, le=1440)
    ] = 20
    debt_block_fen: Annotated[
        int, _says("Who owes as much does not begin a ride; 0: no limit of its own.", ge=0)
    ] = 0

    debtor_name: Annotated[str, _says("Who pays the operators, in payment orders.")] = (
        "Example Clearing House"
    )
    debtor_account: Annotated[
        str, _says("The account they are paid from: an IBAN or a local number.")
    ] = "EXAMPLE0001"
    debtor_bic: Annotated[str, _says("The BIC of that account's bank.")] = "EXAMCNBJ"

    # Logs.
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _says("The least severe line to log.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "console"],
        _says("How a line looks; auto means console on a terminal and json elsewhere."),
    ] = "auto"


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def retention_fault(settings: Settings, late_days: int, cause: str) -> str | None:
    """Say so if a tap may come later than its day is sure to be kept.

    A late tap looks back to the day before its own, and a change of clocks may move it by another.
    """
    if settings.retention_days >= late_days + _LOOK_BACK_DAYS:
        return None
    return (
        f"{variable('retention_days')}: {settings.retention_days} is too short: {cause} lets a "
        f"tap come {late_days} days late, and it looks back {_LOOK_BACK_DAYS} more. "
        f"Keep {late_days + _LOOK_BACK_DAYS} days or more, or take taps for fewer."
    )


def unlink_fault(settings: Settings) -> str | None:
    """Say so if a day would have to be unlinked before it is archived."""
    if not settings.unlink_days or settings.unlink_days >= settings.retention_days:
        return None
    return (
        f"{variable('unlink_days')}: {settings.unlink_days} is less than "
        f"{variable('retention_days')}, {settings.retention_days}: only an archived day is "
        "unlinked. Raise the one or lower the other."
    )
