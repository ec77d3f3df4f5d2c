"""`faregate archive` as an operator runs it at night."""

from __future__ import annotations

import json
import resource
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from _stack import FAREGATE, ROOT, environment, run_faregate


async def test_an_old_day_is_refused_until_it_is_settled_then_archived_and_then_unlinked(
    database: str, tmp_path: Path
) -> None:
    owner = await asyncpg.connect(database)
    await owner.execute("SELECT open_log_day('2020-01-01')")
    where = {"FAREGATE_DATABASE_URL": database, "FAREGATE_DATA_DIR": str(tmp_path)}
    refused = run_faregate("archive", **where)
    assert refused.returncode == 1
    assert refused.stdout.startswith("2020-01-01  stays: it is not settled; run `faregate settle")
    assert run_faregate("settle", "close", "--service-day", "2020-01-01", **where).returncode == 0
    planned = run_faregate("archive", "--dry-run", **where)
    assert (planned.returncode, planned.stdout) == (0, "2020-01-01  can be archived\n")
    done = run_faregate("archive", "--before", "2020-02-01", **where)
    assert (done.returncode, done.stdout) == (0, "2020-01-01  0 taps  0 entries\n"), done.stderr
    manifest = json.loads((tmp_path / "archive/2020-01-01/manifest.json").read_bytes())
    assert manifest["service_day"] == "2020-01-01"
    assert await owner.fetchval("SELECT to_regclass('tap_20200101')") is None
    await owner.close()
    audited = run_faregate("audit", **where)
    assert audited.returncode == 0, audited.stdout + audited.stderr
    assert "1   in the archive" in audited.stdout
    never = run_faregate("unlink", **where)
    assert never.returncode == 1
    assert "FAREGATE_UNLINK_DAYS is 0" in never.stdout
    where["FAREGATE_UNLINK_DAYS"] = "400"
    unlinked = run_faregate("unlink", **where)
    assert (unlinked.returncode, unlinked.stdout) == (0, "2020-01-01  0 taps lead to nobody\n")
    assert [path.name for path in (tmp_path / "archive").iterdir()] == ["2020-01-01.unlinked"]
    audited = run_faregate("audit", "--full", **where)
    assert audited.returncode == 0, audited.stdout + audited.stderr


async def test_a_disk_that_is_full_is_told_as_such(database: str, tmp_path: Path) -> None:
    owner = await asyncpg.connect(database)
    await owner.execute("SELECT open_log_day('2020-01-01')")
    await owner.close()
    where = {"FAREGATE_DATABASE_URL": database, "FAREGATE_DATA_DIR": str(tmp_path)}
    assert run_faregate("settle", "close", "--service-day", "2020-01-01", **where).returncode == 0
    full = subprocess.run(
        [*FAREGATE, "archive"],
        cwd=ROOT,
        env=environment(**where),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert full.returncode == 3, full.stderr
    assert "cannot run: The archive cannot be written" in full.stderr
    assert run_faregate("archive", **where).returncode == 0


def test_days_within_the_retention_time_are_not_given_away(database: str, tmp_path: Path) -> None:
    where = {"FAREGATE_DATABASE_URL": database, "FAREGATE_DATA_DIR": str(tmp_path)}
    refused = run_faregate("archive", "--before", "2999-01-01", **where)
    assert refused.returncode == 1
    assert "FAREGATE_RETENTION_DAYS is 400" in refused.stdout


async def test_the_gateways_own_role_may_not_archive(database: str, tmp_path: Path) -> None:
    owner = await asyncpg.connect(database)
    name = f"clerk_{urlsplit(database).path[-8:]}"
    await owner.execute(f"CREATE ROLE {name} LOGIN IN ROLE faregate_gateway")
    parts = urlsplit(database)
    server = parts.netloc.rpartition("@")[2]
    clerk = parts._replace(netloc=f"{name}@{server}").geturl()
    refused = run_faregate("archive", FAREGATE_DATABASE_URL=clerk, FAREGATE_DATA_DIR=str(tmp_path))
    await owner.execute(f"DROP ROLE {name}")
    await owner.close()
    assert refused.returncode == 3
    assert "by the owner of the tables alone" in refused.stderr
