"""How many connections there may be, where a process may have only so many open files."""

import subprocess
import sys

import pytest
from _stack import ROOT

ASK = """
import resource, sys
from msgspec import structs
from gateway.serving import with_files_for_connections
from gateway.shell.settings import Settings
resource.setrlimit(resource.RLIMIT_NOFILE, (300, int(sys.argv[1])))
settings = with_files_for_connections(structs.replace(Settings(), connections_count_max=700))
print(settings.connections_count_max, *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("hard", "connections_count", "soft"), [(2000, 700, 956), (956, 700, 956), (600, 344, 600)]
)
def test_there_are_as_many_files_as_connections_or_fewer_connections(
    hard: int, connections_count: int, soft: int
) -> None:
    asked = subprocess.run(
        [sys.executable, "-c", ASK, str(hard)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    # What a log line says comes before it.
    assert asked.stdout.splitlines()[-1] == f"{connections_count} {soft} {hard}"
    assert ("for want of open files" in asked.stdout) == (connections_count < 700)
