"""Databases on the race's one server: a template with a loaded city, and copies of it."""

from __future__ import annotations

from urllib.parse import urlsplit

import asyncpg

TEMPLATE = "city"
# What lanes look up of every rider is in memory, as it is in a server that has run for a day.
_WARM = """
SELECT pg_prewarm(warm.oid) FROM pg_class AS warm LEFT JOIN pg_index ON indexrelid = warm.oid
WHERE coalesce(indrelid, warm.oid) IN ('wallet'::regclass, 'media'::regclass)
"""


class Databases:
    def __init__(self, server_dsn: str) -> None:
        self._server_dsn = server_dsn

    def dsn_of(self, name: str) -> str:
        return urlsplit(self._server_dsn)._replace(path=f"/{name}").geturl()

    async def make(self, name: str) -> None:
        await self._execute(f"CREATE DATABASE {name}")

    async def copy(self, name: str, template: str = TEMPLATE) -> str:
        """Copy the template, which nobody may be connected to, and warm the copy; where it is."""
        # Copying files is faster than logging each page, and ends with a checkpoint.
        await self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        dsn = self.dsn_of(name)
        await _execute(dsn, _WARM)
        return dsn

    async def drop(self, name: str) -> None:
        await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _execute(self, statement: str) -> None:
        await _execute(self._server_dsn, statement)


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
