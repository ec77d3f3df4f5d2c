"""Every setting: its name, default, check and meaning in one table, read from the environment.

Settings        the table; field `port` is the variable FAREGATE_PORT
read_settings   the environment becomes Settings, or all its faults at once
settings_table  the same table for people, secrets hidden
settings_page   and for the documentation
"""

import base64
import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import NODEFAULT, Meta, Struct, field, structs

import fare_rules

PREFIX = "FAREGATE_"
# Variables that may come as a file's name instead, because files can be kept from other users.
SECRETS = ("database_url", "gate_master_key", "signing_key")
# A name ends in its unit, or in its unit and its bound.
UNITS = {
    "bytes", "chars", "count", "days", "fen", "frames", "lanes", "ms", "requests", "seconds",
    "streams", "taps",
}  # fmt: skip

_KEY_BYTES_MIN = 32
_HIDDEN = "(hidden)"
_LOOK_BACK_DAYS = 2


class SettingsWrong(ValueError):
    """The environment has faults; `faults` has a sentence for each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class SecretKey(bytes):
    """A key that does not show itself in a log or a traceback."""

    def __repr__(self) -> str:
        return _HIDDEN


class DatabaseUrl(str):
    """A database's address that shows itself without its password."""

    def __repr__(self) -> str:
        shown = re.sub(r"^([^:]*://[^:/@]*):[^/]*@", rf"\1:{_HIDDEN}@", self)
        return re.sub(r"(?<=[?&]password=)[^&]*", _HIDDEN, shown)


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
        int, _says("A slower commit has an unknown outcome and is looked up.", ge=100, le=600_000)
    ] = 5000
    drain_seconds_max: Annotated[
        int, _says("How long taps in flight may take to be answered at a stop.", ge=1, le=3600)
    ] = 30
    registry_poll_ms: Annotated[
        int, _says("How often gates, media and operators are looked up anew.", ge=50, le=600_000)
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


class SettingRow(NamedTuple):
    """One setting, as text for people."""

    name: str
    value: str
    default: str
    unit: str
    allowed: str
    meaning: str


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read every setting; an empty variable counts as one that is not there.

    Raises: SettingsWrong with every fault of the environment, not just the first.
    """
    given = {name: text for name, text in environment.items() if text}
    faults = _unknown_names(given)
    values: dict[str, Any] = {}
    for setting in structs.fields(Settings):
        try:
            text = _given_text(setting.name, given)
            if text is not None:
                values[setting.name] = _parse(setting, text)
        except ValueError as fault:
            faults.append(f"{_variable(setting.name)}: {fault}")
    if not faults:
        settings = Settings(**values)
        faults = _contradictions(settings)
    if faults:
        raise SettingsWrong(faults)
    return structs.replace(
        settings,
        settlement_dir=settings.data_dir / settings.settlement_dir,
        archive_dir=settings.data_dir / settings.archive_dir,
        trips_dir=settings.data_dir / settings.trips_dir,
    )


def retention_fault(settings: Settings, late_days: int, cause: str) -> str | None:
    """Say so if a tap may come later than its day is sure to be kept.

    A late tap looks back to the day before its own, and a change of clocks may move it by another.
    """
    if settings.retention_days >= late_days + _LOOK_BACK_DAYS:
        return None
    return (
        f"{_variable('retention_days')}: {settings.retention_days} is too short: {cause} lets a "
        f"tap come {late_days} days late, and it looks back {_LOOK_BACK_DAYS} more. "
        f"Keep {late_days + _LOOK_BACK_DAYS} days or more, or take taps for fewer."
    )


def unlink_fault(settings: Settings) -> str | None:
    """Say so if a day would have to be unlinked before it is archived."""
    if not settings.unlink_days or settings.unlink_days >= settings.retention_days:
        return None
    return (
        f"{_variable('unlink_days')}: {settings.unlink_days} is less than "
        f"{_variable('retention_days')}, {settings.retention_days}: only an archived day is "
        "unlinked. Raise the one or lower the other."
    )


def settings_table(settings: Settings) -> list[SettingRow]:
    """List every setting with its value; secrets are hidden."""
    return [
        SettingRow(
            name=_variable(setting.name),
            value=_shown(getattr(settings, setting.name)),
            default=_default(setting),
            unit=next((word for word in setting.name.split("_") if word in UNITS), ""),
            allowed=_allowed(setting),
            meaning=_meta(setting).description or "",
        )
        for setting in structs.fields(Settings)
    ]


def settings_page() -> str:
    """Write SETTINGS.md."""
    rows = "".join(
        f"| `{row.name}` | {row.default} | {row.unit} | {row.allowed} | {row.meaning} |\n"
        for row in settings_table(Settings())
    )
    files = " and ".join(f"`{_variable(name)}_FILE`" for name in SECRETS)
    return (
        "# Settings\n\n"
        "Every setting is an environment variable. `faregate config show` prints those in force,\n"
        f"secrets hidden. An unknown `{PREFIX}*` name is an error; an empty one counts as absent.\n"
        f"Secrets may lie in files instead: {files} name them.\n\n"
        "This page is generated by `make docs`.\n\n"
        "| Variable | Default | Unit | Allowed | Meaning |\n|---|---|---|---|---|\n"
        f"{rows}"
    )


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _unknown_names(given: Mapping[str, str]) -> list[str]:
    known = [setting.name.upper() for setting in structs.fields(Settings)]
    known += [f"{name.upper()}_FILE" for name in SECRETS]
    faults = []
    for name in sorted(given):
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in known:
            # The prefix that all share would make any two names look alike.
            close = get_close_matches(name.removeprefix(PREFIX), known, n=1)
            remedy = f"Did you mean {PREFIX}{close[0]}?" if close else "See `faregate config show`."
            faults.append(f"{name}: there is no such setting. {remedy}")
    return faults


def _given_text(name: str, given: Mapping[str, str]) -> str | None:
    text = given.get(_variable(name))
    file = given.get(f"{_variable(name)}_FILE") if name in SECRETS else None
    if text and file:
        raise ValueError(f"set this or {_variable(name)}_FILE, not both.")
    if file:
        try:
            return Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"the file {file} cannot be read: {error}.") from error
    if name == "database_url":
        return text or given.get("DATABASE_URL")
    return text


def _parse(setting: structs.FieldInfo, text: str) -> Any:
    """Raise ValueError with a sentence that never repeats a secret."""
    try:
        return msgspec.convert(text, setting.type, strict=False, dec_hook=_from_text)
    except msgspec.ValidationError as error:
        allowed = _allowed(setting)
        reason = f"{text!r} is not in: {allowed}" if allowed else str(error)
        raise ValueError(f"{reason}. {_meta(setting).description}") from None


def _from_text(kind: type, text: str) -> Any:
    if kind is Path:
        return Path(text).expanduser()
    if kind is DatabaseUrl:
        if not text.startswith(("postgresql://", "postgres://")):
            raise ValueError("Expected a URL that begins with postgresql://")
        _check_ports(text)
        return DatabaseUrl(text)
    assert kind is SecretKey
    return _key_from_text(text)


def _check_ports(url: str) -> None:
    """A password with a bare / ? or # ends where the server's name should begin."""
    try:
        for server in urlsplit(url).netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{server}").port
    except ValueError:
        raise ValueError(
            "The port must be a number from 0 to 65535. Write / ? # : and @ in a password as "
            "%2F %3F %23 %3A and %40"
        ) from None


def _key_from_text(text: str) -> SecretKey:
    # A key in hex is valid base64 too, so hex is tried first.
    try:
        if re.fullmatch(r"(?:[0-9a-fA-F]{2})+", text):
            key = bytes.fromhex(text)
        else:
            plain = text.translate(str.maketrans("-_", "+/")).rstrip("=")
            key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError:
        raise ValueError("Expected hex or base64") from None
    if len(key) < _KEY_BYTES_MIN:
        raise ValueError(f"Expected {_KEY_BYTES_MIN} bytes or more, got {len(key)}")
    return SecretKey(key)


def _contradictions(settings: Settings) -> list[str]:
    faults = []
    if settings.request_taps_max > settings.queue_taps_max:
        faults.append(
            f"{_variable('queue_taps_max')}: {settings.queue_taps_max} is less than "
            f"{_variable('request_taps_max')}, {settings.request_taps_max}: "
            "a full request could never be queued. Raise the one or lower the other."
        )
    age_days_max = settings.tap_age_days_max
    if fault := retention_fault(settings, age_days_max, _variable("tap_age_days_max")):
        faults.append(fault)
    if fault := unlink_fault(settings):
        faults.append(fault)
    return faults


def _meta(setting: structs.FieldInfo) -> Meta:
    meta: Meta = setting.type.__metadata__[0]
    return meta


def _default(setting: structs.FieldInfo) -> str:
    if in_words := (_meta(setting).extra or {})["default"]:
        return str(in_words)
    assert setting.default is not NODEFAULT
    return _shown(setting.default)


def _shown(value: object) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, SecretKey | DatabaseUrl) else str(value)


def _allowed(setting: structs.FieldInfo) -> str:
    kind, meta = setting.type.__origin__, _meta(setting)
    if kind is bool:
        return "true, false"
    if kind is int:
        return f"{meta.ge} to {meta.le}" if meta.le is not None else f"{meta.ge} or more"
    return ", ".join(getattr(kind, "__args__", ())) if "Literal" in str(kind) else ""
