"""What all stores share: a connection, rows changed, and the race that another process won."""

from __future__ import annotations

import asyncpg

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy


def rows_changed(status: str) -> int:
    """How many rows a statement inserted, updated or deleted.

    Shape:  `status` is PostgreSQL's command tag, such as `UPDATE 1` or `INSERT 0 1`.
    """
    return int(status.rsplit(" ", 1)[1])


class LostRace(Exception):
    """Another process saved something of ours first. Load again and decide again."""
