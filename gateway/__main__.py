"""The command line: `faregate --help`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Coroutine, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import aiohttp
import structlog
import uvloop
from cyclopts import App, Parameter
from cyclopts.validators import Number
from msgspec import structs
from rich.console import Console
from rich.table import Table

from fare_rules import RideTap, TariffFaults
from gateway import example_city
from gateway.api import VERSION
from gateway.archive_commands import tell_days
from gateway.archive_path import run_archive
from gateway.audit_commands import audit_books
from gateway.bank_commands import import_files, reconcile
from gateway.close_process import NICENESS
from gateway.command_database import database
from gateway.core.registry import Role
from gateway.correction_commands import corrections_app, disruptions_app
from gateway.delivery_commands import deliver
from gateway.demo.monday import run_monday
from gateway.envelope_commands import envelopes_app
from gateway.exit_codes import CANNOT_RUN, OK, PROBLEMS_FOUND, USAGE
from gateway.export_commands import export_trips
from gateway.fare_speed import measure_speed
from gateway.gate_commands import tell_gates
from gateway.registry_path import TokenRefused, run_token_issue, run_token_revocation
from gateway.rules_commands import rules_app
from gateway.serving import (
    CannotRun,
    ensure_admin_token,
    gateway,
    master_key_of,
    serve_until_stopped,
    serving,
    stop_event,
)
from gateway.settlement_commands import close_and_tell
from gateway.shell import migrations
from gateway.shell.archive_files import ArchiveMissing
from gateway.shell.archive_store import NotTheOwner
from gateway.shell.database import OUTAGES, UNFIT, open_pool
from gateway.shell.embedded_postgres import PostgresCannotRun, die_with
from gateway.shell.environment import SettingsWrong, read_settings, settings_table
from gateway.shell.settings import Settings
from gateway.shell.tap_log import read_tap_log
from gateway.supervisor import serve_and_beat, supervise_until_stopped
from gateway.unlink_path import run_unlink
from gateway.verify_commands import verify

T = TypeVar("T")

app = App(name="faregate", version=VERSION, help="A fare gateway for buses and metros.")
settle = app.command(App(name="settle", help="Pay the operators."))
config = app.command(App(name="config", help="The settings in force."))
db = app.command(App(name="db", help="The database's schema."))
token = app.command(App(name="token", help="Bearer tokens for people and back-office systems."))


def _read_tap_log(first_day: date | None, last_day: date | None) -> Iterator[RideTap]:
    """The gateway's own taps; those before the first day fill the riders' memory."""
    with database() as (_, dsn):
        yield from read_tap_log(dsn, last_day)


rules = app.command(rules_app(_read_tap_log))
app.command(envelopes_app)
app.command(corrections_app)
app.command(disruptions_app)
app.command(verify)
bank = app.command(App(name="bank", help="What the bank says."))
export = app.command(App(name="export", help="Files for others to work with."))


@rules.command
def speed(folder: Path, /, *more: Path) -> int:
    """Measure how many taps a second this machine prices on one core, city by city."""
    for one in (folder, *more):
        found = measure_speed(one)
        refused = f", {found.refused_count} refused" if found.refused_count else ""
        _out.print(
            f"{one.name}: {found.taps_per_second:,.0f} taps a second "
            f"({found.taps_count:,} taps{refused})"
        )
    return OK


_out = Console(highlight=False, soft_wrap=True)
log = structlog.get_logger()


@app.command
def serve(
    *,
    workers: Annotated[
        int | None, Parameter(help="Processes on the port; else FAREGATE_WORKERS_COUNT.")
    ] = None,
) -> int:
    """Serve taps on FAREGATE_HOST:FAREGATE_PORT until SIGTERM."""
    if workers is not None:
        os.environ["FAREGATE_WORKERS_COUNT"] = str(workers)
    with _last_words_logged(), database(checks_schema=False) as (settings, dsn):
        key = _master_key(settings)
        if settings.workers_count == 1:
            _run(serve_until_stopped(settings, dsn, key))
        elif not asyncio.run(supervise_until_stopped(settings, dsn)):
            return PROBLEMS_FOUND
    return OK


@app.command(show=False)
def worker(*, supervisor: int, heartbeat: int, after_silence: bool = False) -> int:
    """Serve beside others on the port. `faregate serve --workers` starts it."""
    die_with(supervisor, signal.SIGKILL)
    with _last_words_logged(), database(checks_schema=False) as (settings, dsn):
        key = _master_key(settings)
        _run(serve_and_beat(settings, dsn, key, heartbeat, after_silence=after_silence))
    return OK


@app.command
def run(
    *,
    simulation: bool = True,
    port: int | None = None,
    data: Path | None = None,
    rate: Annotated[float, Parameter(help="Simulated taps per second.")] = 5,
) -> int:
    """Serve an example city, by default with simulated gates and an embedded PostgreSQL."""
    with database(data, port, checks_schema=False) as (settings, dsn):
        _run(_run_city(settings, dsn, rate if simulation else 0))
    return OK


@app.command
def demo_stack(*, data: Path, port: int = 8080) -> int:
    """Serve an empty gateway on its own PostgreSQL, for replaying recorded days of any age."""
    with database(data, port, checks_schema=False) as (settings, dsn):
        settings = structs.replace(settings, tap_age_days_max=36_500)
        _run(_run_empty(settings, dsn))
    return OK


@app.command
def demo(*, riders: int = 20_000) -> int:
    """Tell a Monday with real processes: an outage, envelopes, refunds, the bank; then stop.

    Parameters
    ----------
    riders
        How many of them; a tenth as many is a tenth of the wait.
    """
    folder = Path(tempfile.mkdtemp(prefix="faregate-demo-"))
    folder.chmod(0o755)
    with database(folder / "data", 0, checks_schema=False) as (_, dsn):
        return _run(run_monday(folder, dsn, riders_count=riders))


@settle.command(name="close")
def settle_close(*, service_day: date) -> int:
    """Settle everything up to a service day and write the files; again gives the same bytes."""
    with database() as (settings, dsn):
        _let_gates_go_first()
        return _run(close_and_tell(settings, dsn, service_day))


@app.command(name="deliver")
def deliver_files(*, watch: bool = False) -> int:
    """Send every settlement file that is due; exit 1 when some failed. --watch: stay and go on."""
    with database() as (settings, dsn):
        return _run(deliver(settings, dsn, watches=watch))


@export.command(name="trips")
def export_trips_of_day(
    *, service_day: date, to: Path | None = None, operator: str | None = None
) -> int:
    """Write a day's fare transactions for planners: TIDES tables, cards renamed, no balances.

    Without --to, each operator's own are put where the gateway serves them.
    """
    with database() as (settings, dsn):
        secret = _master_key(settings)
        return _run(export_trips(settings, dsn, secret, service_day, to, operator))


@bank.command(name="import")
def bank_import(path: Path, /, *more: Path) -> int:
    """Take in what the bank says: pain.002, camt.053, camt.054. Twice changes nothing."""
    with database() as (settings, dsn):
        return _run(import_files(settings, dsn, (path, *more)))


@app.command(name="reconcile")
def reconcile_day(
    day: date | None = None, *, csv: Path | None = None, html: Path | None = None
) -> int:
    """Hold taps, ledger and bank against each other; exit 1 while something is not explained."""
    with database() as (settings, dsn):
        return _run(reconcile(settings, dsn, day, csv, html))


@app.command
def audit(
    *,
    full: Annotated[bool, Parameter(help="Everything, whatever has been verified.")] = False,
    since: Annotated[
        str | None, Parameter(help="How a head's name begins; else from the newest, if any.")
    ] = None,
    processes: Annotated[int | None, Parameter(help="How many; else as many as cores.")] = None,
) -> int:
    """Compute what is new again from the tap log and compare; exit 1 on any break."""
    with database() as (settings, dsn):
        _let_gates_go_first()
        return _run(audit_books(settings, dsn, full=full, since=since, processes=processes))


@app.command
def archive(
    *,
    before: Annotated[
        date | None, Parameter(help="Only days before this one; else all past the retention.")
    ] = None,
    dry_run: Annotated[bool, Parameter(help="Say which days, and why not more.")] = False,
) -> int:
    """Move days older than FAREGATE_RETENTION_DAYS to Parquet files in FAREGATE_ARCHIVE_DIR."""
    with database() as (settings, dsn):
        _let_gates_go_first()
        return _run(tell_days(run_archive, settings, dsn, before, is_dry_run=dry_run))


@app.command
def unlink(
    *,
    before: Annotated[
        date | None, Parameter(help="Only days before this one; else all that are old enough.")
    ] = None,
    dry_run: Annotated[bool, Parameter(help="Say which days, and why not more.")] = False,
) -> int:
    """Take from archived days older than FAREGATE_UNLINK_DAYS what leads to cards and wallets."""
    with database() as (settings, dsn):
        _let_gates_go_first()
        return _run(tell_days(run_unlink, settings, dsn, before, is_dry_run=dry_run))


@config.command(name="show")
def config_show() -> int:
    """Print every setting, secrets hidden."""
    table = Table(box=None)
    for title in ("setting", "value", "default", "unit", "meaning"):
        table.add_column(title, overflow="fold")
    for row in settings_table(read_settings()):
        table.add_row(row.name, row.value, row.default, row.unit, row.meaning)
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    return OK


@db.command(name="upgrade")
def db_upgrade() -> int:
    """Apply pending migrations; safe when two processes do it at once."""
    with database(checks_schema=False) as (_, dsn):
        for name in _run(migrations.upgrade(dsn)):
            _out.print(f"applied {name}")
    return OK


@db.command(name="status")
def db_status() -> int:
    """List pending migrations; exit 1 when there are any."""
    with database(checks_schema=False) as (_, dsn):
        missing = _run(migrations.pending(dsn))
    for name in missing:
        _out.print(f"pending {name}")
    return PROBLEMS_FOUND if missing else OK


@token.command(name="create")
def token_create(
    name: str,
    *,
    role: Role,
    operator: str | None = None,
    days: Annotated[int, Parameter(validator=Number(gte=1, lte=36_500))] = 365,
) -> int:
    """Print a new token, once. --operator narrows it to one operator's gates and wallets."""
    until = datetime.now(UTC) + timedelta(days=days)
    with database() as (_, dsn):
        issued = _with_pool(
            dsn,
            lambda pool: run_token_issue(pool, name, role, operator_id=operator, valid_until=until),
        )
    _out.print(issued)
    return OK


@token.command(name="revoke")
def token_revoke(name: str) -> int:
    """Revoke a token by its name."""
    with database() as (_, dsn):
        is_known = _with_pool(dsn, lambda pool: run_token_revocation(pool, name))
    _out.print("revoked" if is_known else f"there is no token named {name}")
    return OK if is_known else PROBLEMS_FOUND


@app.command
def gates(
    *,
    operator: Annotated[str | None, Parameter(help="Only this operator's.")] = None,
    day: Annotated[date | None, Parameter(help="A service day; else today.")] = None,
) -> int:
    """List the gates: what each sent on a day, and which numbers of its taps were not seen yet."""
    with database() as (settings, dsn):
        return _run(tell_gates(settings, dsn, operator, day))


@app.command
def healthcheck() -> int:
    """Ask this machine's gateway whether it is ready; for containers."""
    settings = read_settings()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host else host
    try:
        with urllib.request.urlopen(f"http://{host}:{settings.port}/readyz", timeout=3):
            return OK
    except (urllib.error.URLError, OSError) as error:
        _out.print(f"not ready: {error}", markup=False)
        return PROBLEMS_FOUND


# What the commands share.


def _let_gates_go_first() -> None:
    """Take what processors the gateways of this machine leave. The database knows no order."""
    os.nice(NICENESS)


def _master_key(settings: Settings) -> bytes:
    if settings.gate_master_key is None and settings.database_url:
        raise CannotRun(
            "FAREGATE_GATE_MASTER_KEY is not set. Make one with `openssl rand -hex 32`; all "
            "gateways on one database share it."
        )
    return master_key_of(settings)


def _run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _with_pool(dsn: str, work: Any) -> Any:
    async def with_pool() -> Any:
        pool = await open_pool(dsn)
        try:
            return await work(pool)
        finally:
            await pool.close()

    return _run(with_pool())


async def _run_empty(settings: Settings, dsn: str) -> None:
    stop = stop_event()
    async with gateway(settings, dsn, master_key_of(settings)) as api, serving(api) as address:
        path = settings.data_dir / "admin.token"
        await ensure_admin_token(api.pool, path)
        await api.door.registry.refresh()
        _out.print(f"serving {address}\nadmin token file {path}\ndata {settings.data_dir}")
        await stop.wait()


async def _run_city(settings: Settings, dsn: str, taps_per_second: float) -> None:
    stop = stop_event()
    async with (
        gateway(settings, dsn, master_key_of(settings)) as api,
        serving(api) as address,
        aiohttp.ClientSession() as session,
    ):
        path = settings.data_dir / "admin.token"
        admin = await ensure_admin_token(api.pool, path)
        await api.door.registry.refresh()
        client = example_city.CityClient(session, address, admin)
        await client.register()
        _out.print(_welcome(address, settings, path, client), markup=False)
        if taps_per_second:
            riding = asyncio.create_task(example_city.simulate(client, taps_per_second, stop))
            await stop.wait()
            await riding
        else:
            await stop.wait()


def _welcome(address: str, settings: Settings, token: Path, client: example_city.CityClient) -> str:
    gate_id = example_city.bus_gate("M486")
    key_id, secret = client.key_of(gate_id)
    return f"""
faregate {VERSION} serves {address}   (API: {address}/docs)
data             {settings.data_dir}
admin token      {token}

A signed tap, by hand:

  body='{{"tap_id":"'$(cat /proc/sys/kernel/random/uuid)'","gate_id":"{gate_id}",\
"sequence":'$(date +%s%N)',"tapped_at":"'$(date -u +%Y-%m-%dT%H:%M:%SZ)'",\
"media_token":"rider-0007","action":"board","route_id":"M486","full_fare":200}}'
  now=$(date +%s)
  digest=$(printf %s "$body" | openssl dgst -sha256 -hex | sed 's/.* //')
  signature=$(printf 'POST\\n/v1/taps\\n%s\\n%s' "$now" "$digest" \\
    | openssl dgst -sha256 -mac HMAC -macopt hexkey:{secret.hex()} -hex | sed 's/.* //')
  curl -s {address}/v1/taps -H 'Content-Type: application/json' -H 'Faregate-Key: {key_id}' \\
    -H "Faregate-Timestamp: $now" -H "Faregate-Signature: $signature" -d "$body"

Ctrl-C drains and stops.
"""


_DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def _is_of_files(error: OSError) -> bool:
    """Sockets name no file, and what is written to an open one names none either."""
    return error.filename is not None or error.errno in _DISK_FAULTS


def _why_it_cannot_run(error: Exception) -> str | None:
    """What the operator has to mend; None when it is a fault of ours."""
    if isinstance(error, TariffFaults):
        return str(error)
    if isinstance(
        error,
        CannotRun | PostgresCannotRun | migrations.MigrationFailed | NotTheOwner | ArchiveMissing,
    ):
        return f"cannot run: {error}"
    if not isinstance(error, (*OUTAGES, *UNFIT)):
        return None
    if isinstance(error, OSError) and _is_of_files(error):
        return f"cannot run: a file or folder cannot be used ({error})."
    return (
        f"cannot run: the database cannot be used ({error}). Check FAREGATE_DATABASE_URL, and "
        "run `faregate db upgrade` if it is new."
    )


@contextlib.contextmanager
def _last_words_logged() -> Iterator[None]:
    """What serves ends in the form of its log, whose lines a machine may read."""
    try:
        yield
    except SettingsWrong:
        raise  # There is no log yet.
    except Exception as error:
        if why := _why_it_cannot_run(error):
            log.error(why)
            sys.exit(CANNOT_RUN)
        log.exception("ended by a fault")
        sys.exit(PROBLEMS_FOUND)


def main() -> None:
    if not __debug__:
        sys.exit("faregate checks money with assertions; do not run it under python -O.")
    try:
        sys.exit(app(exit_on_error=True, result_action="return_value"))
    except (SettingsWrong, TokenRefused) as wrong:
        print(wrong, file=sys.stderr)
        sys.exit(USAGE)
    except Exception as error:
        if why := _why_it_cannot_run(error):
            print(why, file=sys.stderr)
            sys.exit(CANNOT_RUN)
        raise


if __name__ == "__main__":
    main()
