"""An embedded PostgreSQL that lives until its input ends; it prints its address and process.

Started again on the same folder, it is the same database; its postmaster may be killed meanwhile.
"""

import sys
from pathlib import Path

from gateway.shell.embedded_postgres import EmbeddedPostgres


def main() -> None:
    with EmbeddedPostgres(Path(sys.argv[1])) as server:
        print(server.dsn, server.pid, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
