"""What all stores share: a connection, and the race that another process won."""

from __future__ import annotations

import asyncpg

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy


class LostRace(Exception):
    """Another process saved something of ours first. Load again and decide again."""
