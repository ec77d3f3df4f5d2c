"""Deliveries in the database: made with a settlement, taken by workers, told step by step."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from gateway.core.delivery import (
    Channel,
    Delivery,
    DeliveryEvent,
    DeliveryStatus,
    delivery_id_of,
    delivery_name,
    status_of,
)
from gateway.core.payment_order import end_to_end_id
from gateway.core.settlement import Settlement
from gateway.core.signed_books import operator_folder
from gateway.shell.transactions import Connection, rows_changed


class Job(Struct, frozen=True):
    """A delivery that a worker has taken."""

    delivery_id: UUID
    settlement_day: date
    operator_id: str
    name: str
    attempts_count: int


async def enqueue(
    connection: Connection, settlement: Settlement, manifest_sha256: str, now: datetime
) -> None:
    """Make a delivery for each operator of a settlement, in the transaction that saves it."""
    for row in delivery_rows(settlement, manifest_sha256):
        status = await connection.execute(
            """INSERT INTO delivery VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING""",
            *row,
            now,
        )
        if rows_changed(status):
            delivery_id = row[0]
            await connection.execute(
                "INSERT INTO delivery_job (delivery_id, due_at) VALUES ($1, $2)", delivery_id, now
            )
            await add_event(connection, delivery_id, DeliveryStatus.PENDING, "", now)


def delivery_rows(
    settlement: Settlement, manifest_sha256: str
) -> list[tuple[UUID, date, str, str, int, str | None]]:
    """A settlement's deliveries as they are kept: one an operator, under what name, what it pays
    and the payment's reference.
    """
    period = settlement.period
    return [
        (
            delivery_id_of(manifest_sha256, batch.operator_id),
            period.service_day,
            batch.operator_id,
            delivery_name(period.number, period.service_day, operator_folder(batch.operator_id)),
            batch.paid_fen,
            end_to_end_id(period.number, batch.operator_id) if batch.paid_fen else None,
        )
        for batch in settlement.batches
    ]


async def load_delivery_rows(
    pool: asyncpg.Pool, settlement_day: date
) -> frozenset[tuple[object, ...]]:
    found = await pool.fetch(_READ_OF_SETTLEMENT, settlement_day)
    return frozenset(tuple(row) for row in found)


async def add_event(
    connection: Connection | asyncpg.Pool,
    delivery_id: UUID,
    status: DeliveryStatus,
    detail: str,
    now: datetime,
) -> None:
    await connection.execute(
        """INSERT INTO delivery_event (delivery_id, number, at, status, detail)
        SELECT $1, coalesce(max(number), 0) + 1, $2, $3, $4
        FROM delivery_event WHERE delivery_id = $1""",
        delivery_id,
        now,
        str(status),
        detail[:500],
    )


async def take_job(pool: asyncpg.Pool, now: datetime, lease: timedelta) -> Job | None:
    """Take the delivery that has been due for longest; nobody else gets it during the lease."""
    row = await pool.fetchrow(
        """UPDATE delivery_job SET due_at = $2, attempts_count = attempts_count + 1
        FROM delivery WHERE delivery.delivery_id = delivery_job.delivery_id
        AND delivery_job.delivery_id = (
            SELECT job.delivery_id FROM delivery_job AS job
            JOIN delivery USING (delivery_id) JOIN delivery_channel USING (operator_id)
            WHERE job.due_at <= $1 AND NOT job.is_dead
            ORDER BY job.due_at, job.delivery_id LIMIT 1 FOR UPDATE OF job SKIP LOCKED
        )
        RETURNING delivery.delivery_id, settlement_day, operator_id, name, attempts_count""",
        now,
        now + lease,
    )
    return Job(**row) if row else None


async def finish_job(pool: asyncpg.Pool, job: Job, detail: str, now: datetime) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("DELETE FROM delivery_job WHERE delivery_id = $1", job.delivery_id)
        await add_event(connection, job.delivery_id, DeliveryStatus.SENT, detail, now)


async def put_back(
    pool: asyncpg.Pool, job: Job, detail: str, due_at: datetime | None, now: datetime
) -> None:
    """Try again later; without a time, nobody tries again until a person says so."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            """UPDATE delivery_job SET due_at = coalesce($2, due_at), is_dead = $2 IS NULL
            WHERE delivery_id = $1""",
            job.delivery_id,
            due_at,
        )
        await add_event(connection, job.delivery_id, DeliveryStatus.FAILED, detail, now)


async def retry(pool: asyncpg.Pool, delivery_id: UUID, now: datetime) -> bool:
    """Whether a delivery waits for its next attempt at once."""
    status = await pool.execute(
        """UPDATE delivery_job SET due_at = $2, attempts_count = 0, is_dead = false
        WHERE delivery_id = $1""",
        delivery_id,
        now,
    )
    return rows_changed(status) > 0


async def set_channel(
    pool: asyncpg.Pool, operator_id: str, channel: Channel, by: str, now: datetime
) -> None:
    await pool.execute(
        """INSERT INTO delivery_channel VALUES ($1, $2, $3, $4)
        ON CONFLICT (operator_id) DO UPDATE SET
            channel = excluded.channel, set_by = excluded.set_by, set_at = excluded.set_at""",
        operator_id,
        msgspec.json.encode(channel),
        by,
        now,
    )


async def load_channel(pool: asyncpg.Pool, operator_id: str) -> Channel | None:
    row = await pool.fetchrow(
        "SELECT channel FROM delivery_channel WHERE operator_id = $1", operator_id
    )
    return msgspec.json.decode(row["channel"], type=Channel) if row else None


async def list_deliveries(
    pool: asyncpg.Pool,
    *,
    day: date | None = None,
    operator_id: str | None = None,
    delivery_id: UUID | None = None,
    limit: int = 200,
) -> list[Delivery]:
    """Deliveries, the newest first."""
    found = await pool.fetch(
        """SELECT delivery.*, job.attempts_count, job.is_dead
        FROM delivery LEFT JOIN delivery_job AS job USING (delivery_id)
        WHERE ($1::date IS NULL OR settlement_day = $1)
            AND ($2::text IS NULL OR operator_id = $2)
            AND ($3::uuid IS NULL OR delivery_id = $3)
        ORDER BY settlement_day DESC, operator_id LIMIT $4""",
        day,
        operator_id,
        delivery_id,
        limit,
    )
    events: dict[UUID, list[DeliveryEvent]] = {}
    for row in await pool.fetch(
        """SELECT delivery_id, at, status, detail FROM delivery_event
        WHERE delivery_id = ANY($1::uuid[]) ORDER BY delivery_id, number""",
        [row["delivery_id"] for row in found],
    ):
        status = DeliveryStatus(row["status"])
        event = DeliveryEvent(row["at"], status, row["detail"])
        events.setdefault(row["delivery_id"], []).append(event)
    return [
        Delivery(
            row["delivery_id"],
            row["settlement_day"],
            row["operator_id"],
            row["name"],
            row["paid_fen"],
            status_of(events[row["delivery_id"]]),
            tuple(events[row["delivery_id"]]),
            row["attempts_count"] or 0,
            bool(row["is_dead"]),
            row["end_to_end_id"],
        )
        for row in found
    ]


async def unacknowledged(pool: asyncpg.Pool, operator_id: str) -> Sequence[Delivery]:
    """Deliveries that were sent, and that nobody has acknowledged yet."""
    found = await list_deliveries(pool, operator_id=operator_id)
    return [
        delivery
        for delivery in found
        if any(event.status is DeliveryStatus.SENT for event in delivery.events)
        and all(event.status is not DeliveryStatus.ACKNOWLEDGED for event in delivery.events)
    ]


class Backlog(Struct, frozen=True):
    """What is still to be brought to operators, and how long ago a day was closed."""

    wait_seconds: float
    given_up_count: int
    close_age_seconds: float


async def load_backlog(pool: asyncpg.Pool, now: datetime) -> Backlog:
    """How long files have waited for an operator that has a channel; 0 where nothing waits."""
    row = await pool.fetchrow(_READ_BACKLOG, now)
    assert row is not None
    return Backlog(*row)


_READ_BACKLOG = """
SELECT
    coalesce(extract(epoch FROM $1 - min(created_at) FILTER (WHERE NOT is_dead)), 0)::float8,
    count(*) FILTER (WHERE is_dead),
    coalesce(extract(epoch FROM $1 - coalesce(
        (SELECT max(closed_at) FROM settlement), (SELECT min(opened_at) FROM log_day)
    )), 0)::float8
FROM delivery_job JOIN delivery USING (delivery_id) JOIN delivery_channel USING (operator_id)
"""
_READ_OF_SETTLEMENT = """
SELECT delivery_id, settlement_day, operator_id, name, paid_fen, end_to_end_id FROM delivery
WHERE settlement_day = $1
"""
