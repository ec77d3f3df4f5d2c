"""Delivering settlements: take what is due, send it, say how it went; until nothing is due."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import msgspec
from msgspec import Struct

from gateway.core.delivery import DeliveryStatus, Sftp, Webhook, wait_after
from gateway.core.settlement_files import MANIFEST, ManifestFile, sha256_of
from gateway.core.signed_books import SIGNATURE, OperatorManifest, operator_folder
from gateway.shell import delivery_store as store
from gateway.shell.couriers import (
    NotDelivered,
    deliver_by_sftp,
    deliver_by_webhook,
    read_acknowledgements,
)
from gateway.shell.settings import Settings

# A worker that has not finished by then is taken for dead.
_LEASE = timedelta(minutes=10)
# An address, a key or a file may be wrong in many ways; none may keep the others from being sent.
_FAILURES = (NotDelivered, OSError, ValueError)


class Notice(Struct, frozen=True):
    """What a webhook is told: which files there are, to be fetched from `path`."""

    delivery_id: str
    operator_id: str
    service_day: str
    name: str
    path: str
    files: tuple[ManifestFile, ...]


class Delivered(Struct, frozen=True):
    """How one run went."""

    sent_count: int = 0
    failed_count: int = 0
    acknowledged_count: int = 0


async def run_deliveries(pool: asyncpg.Pool, settings: Settings) -> Delivered:
    """Send everything that is due, then look for acknowledgements."""
    sent = failed = 0
    while job := await store.take_job(pool, datetime.now(UTC), _LEASE):
        try:
            detail, is_acknowledged = await _deliver(pool, job, settings)
        except _FAILURES as error:
            failed += 1
            now = datetime.now(UTC)
            is_last = job.attempts_count >= settings.delivery_attempts_max
            due_at = None if is_last else now + wait_after(job.attempts_count, random.random())
            await store.put_back(pool, job, str(error), due_at, now)
            continue
        sent += 1
        await store.finish_job(pool, job, detail, datetime.now(UTC))
        if is_acknowledged:
            status = DeliveryStatus.ACKNOWLEDGED
            await store.add_event(pool, job.delivery_id, status, "answer", datetime.now(UTC))
    return Delivered(sent, failed, await _look_for_acknowledgements(pool, settings))


async def _deliver(pool: asyncpg.Pool, job: store.Job, settings: Settings) -> tuple[str, bool]:
    channel = await store.load_channel(pool, job.operator_id)
    if channel is None:
        raise NotDelivered("the operator has no channel any more")
    secret = _secret(settings, channel)
    folder = settings.settlement_dir / str(job.settlement_day) / operator_folder(job.operator_id)
    if not (folder / MANIFEST).exists():
        raise NotDelivered(f"{folder.name} has no manifest yet; close the day again")
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=OperatorManifest)
    # Only what it names: a killed close may have left a part of a file there. The manifest and its
    # signature come last: who sees them may read everything.
    names = [file.name for file in manifest.files]
    if missing := [name for name in names if not (folder / name).exists()]:
        raise NotDelivered(f"{folder.name} lacks {missing[0]}; close the day again")
    names += [name for name in (MANIFEST, SIGNATURE) if (folder / name).exists()]
    files = {name: folder / name for name in names}
    seconds_max = settings.delivery_timeout_seconds
    if isinstance(channel, Sftp):
        return await deliver_by_sftp(
            channel, secret, job.name, files, seconds_max=seconds_max
        ), False
    notice = Notice(
        str(job.delivery_id),
        job.operator_id,
        str(job.settlement_day),
        job.name,
        f"/v1/settlements/{job.settlement_day}/operators/{job.operator_id}/files/",
        tuple(_described(path) for path in files.values()),
    )
    is_acknowledged = await deliver_by_webhook(
        channel,
        secret,
        job.delivery_id,
        msgspec.json.encode(notice),
        now=datetime.now(UTC),
        seconds_max=seconds_max,
        allows_loopback=settings.delivery_to_loopback,
    )
    return f"{len(files)} files named", is_acknowledged


def _described(path: Path) -> ManifestFile:
    content = path.read_bytes()
    return ManifestFile(path.name, len(content), sha256_of(content))


def _secret(settings: Settings, channel: Sftp | Webhook) -> bytes:
    folder = settings.delivery_secrets_dir
    if folder is None:
        raise NotDelivered("FAREGATE_DELIVERY_SECRETS_DIR is not set")
    path = folder / channel.secret
    if not path.is_file():
        raise NotDelivered(f"there is no secret {channel.secret}")
    return path.read_bytes()


async def _look_for_acknowledgements(pool: asyncpg.Pool, settings: Settings) -> int:
    count = 0
    operators = await pool.fetch("SELECT operator_id FROM delivery_channel ORDER BY operator_id")
    for row in operators:
        channel = await store.load_channel(pool, row["operator_id"])
        waiting = await store.unacknowledged(pool, row["operator_id"])
        if not waiting or not isinstance(channel, Sftp):
            continue
        try:
            found = await read_acknowledgements(
                channel,
                _secret(settings, channel),
                [delivery.name for delivery in waiting],
                seconds_max=settings.delivery_timeout_seconds,
            )
        except _FAILURES:
            continue
        for delivery in waiting:
            if delivery.name in found:
                status, now = DeliveryStatus.ACKNOWLEDGED, datetime.now(UTC)
                await store.add_event(pool, delivery.delivery_id, status, "ack file", now)
                count += 1
    return count
