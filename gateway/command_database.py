"""The database that a command works on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

from msgspec import structs

from gateway.serving import migrations_pending
from gateway.shell import migrations, telemetry
from gateway.shell.embedded_postgres import EmbeddedPostgres, cluster_folder
from gateway.shell.environment import read_settings
from gateway.shell.settings import Settings


@contextlib.contextmanager
def database(
    data: Path | None = None, port: int | None = None, *, checks_schema: bool = True
) -> Iterator[tuple[Settings, str]]:
    """The settings and a database: FAREGATE_DATABASE_URL, else an embedded server.

    Raises: CannotRun when its schema is older than the command, unless that is not to be checked.
    """
    settings = read_settings()
    if data is not None:
        data = data.resolve()
        settlement_dir = data / settings.settlement_dir.name
        archive_dir = data / settings.archive_dir.name
        settings = structs.replace(
            settings,
            data_dir=data,
            settlement_dir=settlement_dir,
            archive_dir=archive_dir,
            trips_dir=data / settings.trips_dir.name,
        )
    if port is not None:
        settings = structs.replace(settings, port=port)
    telemetry.start_logging(settings.log_level, settings.log_format)
    with contextlib.ExitStack() as opened:
        if settings.database_url:
            dsn = str(settings.database_url)
        else:
            settings = structs.replace(settings, auto_migrate=True)
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            postgres = EmbeddedPostgres(
                cluster_folder(settings.data_dir), bin_folder=settings.pg_bin
            )
            dsn = opened.enter_context(postgres).dsn
        if checks_schema and (missing := asyncio.run(migrations.pending(dsn))):
            raise migrations_pending(missing)
        yield settings, dsn
