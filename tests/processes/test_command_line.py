"""The command line: exit codes, and messages that say what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from _stack import ROOT, run_faregate

TARIFFS = Path(__file__).parents[2] / "fare_rules" / "tariffs"


def test_help_and_version_are_answered() -> None:
    assert run_faregate("--version").stdout.strip() == "0.1.0"
    shown = run_faregate("--help")
    assert shown.returncode == 0
    for command in ("serve", "run", "demo", "demo-stack", "settle", "audit", "archive", "config"):
        assert command in shown.stdout


def test_an_unknown_command_is_a_usage_error() -> None:
    assert run_faregate("fly").returncode == 2


def test_an_unknown_setting_is_a_usage_error_that_suggests_the_right_one() -> None:
    said = run_faregate("config", "show", FAREGATE_PROT="80")
    assert said.returncode == 2
    assert "Did you mean FAREGATE_PORT?" in said.stderr


def test_settings_are_shown_without_their_secrets() -> None:
    said = run_faregate("config", "show", FAREGATE_GATE_MASTER_KEY="ab" * 32)
    assert said.returncode == 0
    assert "FAREGATE_PORT" in said.stdout
    assert "abab" not in said.stdout


def test_a_database_that_is_away_is_told_apart_from_a_fault() -> None:
    said = run_faregate("audit", FAREGATE_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
    assert said.returncode == 3
    assert "FAREGATE_DATABASE_URL" in said.stderr


@pytest.mark.parametrize("change", [{"path": "/nothing"}, {"netloc": "nobody_we_know@"}])
def test_a_database_that_does_not_let_us_in_is_told_apart_from_a_fault(
    server_dsn: str, change: dict[str, str]
) -> None:
    dsn = urlsplit(server_dsn)._replace(**change).geturl()
    said = run_faregate("db", "status", FAREGATE_DATABASE_URL=dsn)
    assert said.returncode == 3
    assert "does not exist" in said.stderr
    assert "Traceback" not in said.stderr


def test_a_folder_that_cannot_be_made_is_not_taken_for_the_database() -> None:
    said = run_faregate("demo-stack", "--data", "/proc/nothing")
    assert said.returncode == 3
    assert "/proc/nothing" in said.stderr
    assert "database" not in said.stderr


@pytest.mark.parametrize("command", [("bank", "import"), ("rules", "speed")])
def test_a_command_that_is_told_no_file_does_not_do_nothing_in_silence(
    command: tuple[str, str],
) -> None:
    said = run_faregate(*command)
    assert said.returncode == 2
    assert "requires an argument" in said.stdout + said.stderr


async def test_a_token_that_is_not_made_says_why(database: str, tmp_path: Path) -> None:
    where = {"FAREGATE_DATABASE_URL": database, "FAREGATE_DATA_DIR": str(tmp_path)}
    create = ("token", "create", "ann", "--role", "desk")
    assert run_faregate(*create, **where).returncode == 0
    for name, *more, why in [
        ("ann", "named ann; choose another name"),
        ("", "1 to 255 characters"),
        ("a\tb", "no control characters"),
        ("ben", "--operator", "nobody", "no operator nobody; register it first"),
        ("ben", "--days", "0", "--days"),
        ("ben", "--days", "10000000000", "--days"),
    ]:
        said = run_faregate("token", "create", name, "--role", "desk", *more, **where)
        assert said.returncode == 2, said
        assert why in said.stdout + said.stderr
        assert "Traceback" not in said.stderr


@pytest.mark.parametrize("command", [("corrections", "list"), ("disruptions", "apply")])
def test_without_the_address_of_a_database_each_command_takes_the_embedded_one(
    folder: Path, command: tuple[str, ...]
) -> None:
    where = {"FAREGATE_DATA_DIR": str(folder), "DATABASE_URL": ""}
    assert run_faregate("db", "upgrade", **where).returncode == 0
    said = run_faregate(*command, **where)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("0 ")


@pytest.mark.parametrize(
    "command",
    [
        ("gates",),
        ("archive", "--dry-run"),
        ("token", "create", "ann", "--role", "finance"),
        ("corrections", "list"),
        ("audit",),
    ],
    ids=" ".join,
)
async def test_a_schema_older_than_the_command_is_told_with_its_remedy(
    database: str, command: tuple[str, ...]
) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(
        "DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)"
    )
    await connection.close()
    said = run_faregate(*command, FAREGATE_DATABASE_URL=database)
    assert (said.returncode, said.stdout) == (3, "")
    assert said.stderr.startswith("cannot run: 1 migrations are pending")
    assert "faregate db upgrade" in said.stderr


@pytest.mark.parametrize(
    "command", [("serve",), ("worker", "--supervisor", str(os.getpid()), "--heartbeat", "1")]
)
def test_what_serves_says_in_its_log_why_it_cannot(command: tuple[str, ...], server_dsn) -> None:
    """Nothing is migrated there: a machine that reads the log is told so as of all else."""
    said = run_faregate(
        *command, FAREGATE_DATABASE_URL=server_dsn, FAREGATE_GATE_MASTER_KEY="ab" * 32
    )
    assert said.returncode == 3
    lines = [json.loads(line) for line in said.stderr.splitlines()]
    assert "faregate db upgrade" in lines[-1]["event"]
    assert lines[-1]["level"] == "error"


def test_the_shipped_tariffs_are_free_of_faults() -> None:
    cities = sorted(str(path) for path in TARIFFS.iterdir() if path.is_dir())
    said = run_faregate("rules", "check", *cities)
    assert said.returncode == 0
    assert said.stdout.splitlines()[-1] == f"0 faults in {len(cities)} folders or files"


@pytest.mark.timeout(200)
def test_the_demo_ends_with_every_figure_explained(tmp_path: Path) -> None:
    said = run_faregate("demo", "--riders", "200", TMPDIR=str(tmp_path))
    assert said.returncode == 0, said.stdout + said.stderr
    lines = said.stdout.splitlines()
    assert "audit passed" in lines
    assert "1 breaks, 0 of them not explained" in lines
    assert not any("DOES NOT ADD UP" in line for line in lines)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may run as somebody without a name")
def test_a_user_without_a_name_is_told_by_its_number() -> None:
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "from gateway.bank_commands import who_runs_this as who; print(who())",
        ],
        cwd=ROOT,
        env={"HOME": "/"},
        user=54321,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout == "uid 54321\n", said.stderr
