"""Couriers: an operator's files by SFTP, or a signed message about them to its webhook.

What is sent twice arrives once: over SFTP a file that is there with the same bytes is left alone,
and a webhook's message has the delivery's id, by which its receiver knows it again.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import ipaddress
import posixpath
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import asyncssh
import msgspec

from gateway.core.delivery import Sftp, Webhook
from gateway.core.settlement_files import sha256_of

_PART_BYTES = 1 << 18
_ANSWER_BYTES_MAX = 64 * 1024


class NotDelivered(Exception):
    """What went wrong; trying again later may help."""


class Acknowledged(msgspec.Struct, frozen=True):
    """What a webhook may answer when it has taken the files in."""

    acknowledged: bool = False


async def deliver_by_sftp(
    channel: Sftp, secret: bytes, name: str, files: Mapping[str, Path], *, seconds_max: float
) -> str:
    """Put files into a folder named for the delivery, each whole or not there, in their order.

    Raises: NotDelivered.
    """
    async with _sftp(channel, secret, seconds_max) as sftp:
        folder = posixpath.join(channel.folder, name)
        await sftp.makedirs(folder, exist_ok=True)
        sent = [
            await _put(sftp, path, posixpath.join(folder, file)) for file, path in files.items()
        ]
    return f"{sum(sent)} of {len(sent)} files sent, the others were there"


async def read_acknowledgements(
    channel: Sftp, secret: bytes, names: Sequence[str], *, seconds_max: float
) -> list[str]:
    """Those of some deliveries for which a file NAME.ack lies in the folder `ack`."""
    folder = posixpath.join(channel.folder, "ack")
    async with _sftp(channel, secret, seconds_max) as sftp:
        return [name for name in names if await sftp.exists(posixpath.join(folder, f"{name}.ack"))]


@asynccontextmanager
async def _sftp(
    channel: Sftp, secret: bytes, seconds_max: float
) -> AsyncIterator[asyncssh.SFTPClient]:
    """A session of so many seconds at most. Raises: NotDelivered, whatever ends it."""
    try:
        key, known = asyncssh.import_private_key(secret), read_host_key(channel.host_key)
    except ValueError as error:
        raise NotDelivered(f"secret {channel.secret} or host_key: {error}") from error
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds_max
    try:
        async with asyncio.timeout_at(ends_at):
            connection = await asyncssh.connect(
                channel.host,
                channel.port,
                username=channel.user,
                client_keys=[key],
                known_hosts=([known], [], []),
                agent_path=None,
                config=[],
            )
        # Cut, not cancelled: who is cancelled closes the file and takes leave first, and a server
        # that has fallen silent answers neither.
        cut = loop.call_at(ends_at, connection.abort)
        try:
            yield await connection.start_sftp_client()
            connection.close()
            await connection.wait_closed()
        finally:
            cut.cancel()
            connection.abort()
    except (OSError, asyncssh.Error) as error:
        is_late = loop.time() >= ends_at
        said = f"not done within {seconds_max} seconds" if is_late else error
        raise NotDelivered(f"{type(error).__name__}: {said}") from error


def read_host_key(said: str) -> asyncssh.SSHKey:
    """Read a public key, with or without the host that ssh-keyscan prints before it.

    Raises: ValueError for what is none.
    """
    try:
        return asyncssh.import_public_key(said)
    except asyncssh.KeyImportError:
        return asyncssh.import_public_key(said.partition(" ")[2])


async def _put(sftp: asyncssh.SFTPClient, path: Path, place: str) -> bool:
    """Whether a file had to be sent. It is written beside its place, and renamed when whole."""
    content = await asyncio.to_thread(path.read_bytes)
    if await _holds(sftp, place, content):
        return False
    if await sftp.exists(place):
        raise NotDelivered(f"{place} is there already and holds something else")
    part = f"{place}.part"
    async with sftp.open(part, "wb") as file:
        for start in range(0, len(content), _PART_BYTES):
            await file.write(content[start : start + _PART_BYTES])
    if not await _holds(sftp, part, content):
        raise NotDelivered(f"{part} does not hold what was sent")
    await sftp.rename(part, place)
    return True


async def _holds(sftp: asyncssh.SFTPClient, place: str, content: bytes) -> bool:
    if not await sftp.exists(place) or await sftp.getsize(place) != len(content):
        return False
    async with sftp.open(place, "rb") as file:
        found = await file.read()
    assert isinstance(found, bytes)
    return sha256_of(found) == sha256_of(content)


async def deliver_by_webhook(
    channel: Webhook,
    secret: bytes,
    delivery_id: UUID,
    message: bytes,
    *,
    now: datetime,
    seconds_max: float,
    allows_loopback: bool,
) -> bool:
    """Post a signed message; whether it was acknowledged in the answer.

    Shape:  headers webhook-id, webhook-timestamp and webhook-signature, `v1,` and the HMAC-SHA-256
            of id, timestamp and body, joined by dots, in base64.
    Source: Standard Webhooks.
    Raises: NotDelivered.
    """
    await _check_address(channel.url, allows_loopback=allows_loopback)
    timestamp = str(int(now.timestamp()))
    signed = b".".join([str(delivery_id).encode(), timestamp.encode(), message])
    signature = base64.b64encode(hmac.digest(secret.strip(), signed, "sha256"))
    headers = {
        "Content-Type": "application/json",
        "webhook-id": str(delivery_id),
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature.decode()}",
    }
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds_max)) as session,
            session.post(
                channel.url, data=message, headers=headers, allow_redirects=False
            ) as answer,
        ):
            body = await answer.content.read(_ANSWER_BYTES_MAX)
            if not 200 <= answer.status < 300:
                raise NotDelivered(f"answered {answer.status}")
    except (OSError, TimeoutError, aiohttp.ClientError) as error:
        said = str(error) or f"not done within {seconds_max} seconds"
        raise NotDelivered(f"{type(error).__name__}: {said}") from error
    try:
        return msgspec.json.decode(body, type=Acknowledged).acknowledged
    except msgspec.DecodeError:
        return False


async def _check_address(url: str, *, allows_loopback: bool) -> None:
    """Refuse to be sent to ourselves or into a network of our own."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, parts.port or 443, type=socket.SOCK_STREAM
        )
    except OSError as error:
        raise NotDelivered(f"{host} is not found: {error}") from error
    addresses = [ipaddress.ip_address(address[4][0]) for address in found]
    if allows_loopback and all(address.is_loopback for address in addresses):
        return
    if parts.scheme != "https":
        raise NotDelivered("the address must begin with https")
    if not all(address.is_global for address in addresses):
        raise NotDelivered(f"{host} is not a public address")
