"""What every handler is given, and how it reads what stands in a request's path."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import msgspec
from aiohttp import web
from msgspec import Struct

from fare_rules import TariffBook
from gateway.core.taps import Name
from gateway.shell import rider_store
from gateway.shell.archive_files import ArchiveMissing
from gateway.shell.batcher import Batcher
from gateway.shell.problems import Problem, not_found, not_granted
from gateway.shell.settings import DatabaseUrl, Settings
from gateway.shell.web import Door

IDS_MAX = 1000
T = TypeVar("T")


class Given(Struct, frozen=True):
    """One running gateway."""

    door: Door
    dsn: DatabaseUrl
    pool: asyncpg.Pool
    # Its statements may take long: reports, exports, draws.
    long_pool: asyncpg.Pool
    batcher: Batcher
    book: TariffBook
    settings: Settings
    master_key: bytes


class Done(Struct, frozen=True):
    """The request was carried out, or had been already."""

    status: str = "done"


def granted(found: T | StrEnum, remedies: Mapping[Any, str], statuses: Mapping[Any, int]) -> T:
    """What was asked for. Raises: Problem when it was refused: 409, if no other status is said."""
    if isinstance(found, StrEnum):
        raise not_granted(statuses.get(found, 409), found, remedies[found])
    return found


def uuid_of(request: web.Request, name: str) -> UUID:
    return as_uuid(request.match_info[name], name)


def as_uuid(text: str, name: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Problem(
            422, "invalid_id", "The id is not a UUID", f"{name} must be a UUID."
        ) from None


def media_token_of(request: web.Request) -> str:
    try:
        return msgspec.convert(request.match_info["media_token"], Name)
    except msgspec.ValidationError as error:
        raise Problem(422, "invalid_id", "The media_token cannot be one", str(error)) from None


def day_of(request: web.Request) -> date:
    return as_day(request.match_info["service_day"])


def as_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Problem(
            422, "invalid_day", "The day is not a date", "Write it as 2026-01-31."
        ) from None


def file_in(folder: Path, name: str) -> web.FileResponse:
    """A file that was put into a folder for whoever asks."""
    # A name that was asked for may lead anywhere; one that is listed lies in the folder.
    path = {path.name: path for path in folder.glob("*")}.get(name)
    if path is None or path.suffix not in (".csv", ".json", ".sig"):
        raise not_found("No such file: the day has none of this name, or none yet.")
    return web.FileResponse(path, headers={"Content-Type": "application/octet-stream"})


def now() -> datetime:
    return datetime.now(UTC)


async def refuse_erased(pool: asyncpg.Pool, wallet_id: UUID) -> None:
    """Raises: Problem 410 for a wallet of whose journeys nobody is told any more."""
    if await rider_store.is_erased(pool, wallet_id):
        detail = "Its rider asked to be forgotten; what is kept of it is for the books alone."
        raise Problem(410, "wallet_erased", "The wallet was erased", detail)


@contextlib.contextmanager
def archive_at_hand() -> Iterator[None]:
    """What needs archived days is answered 503 where they cannot be read."""
    try:
        yield
    except ArchiveMissing as missing:
        raise Problem(
            503,
            "archive_missing",
            "The archive cannot be read",
            str(missing),
            retry_after_seconds=60,
        ) from missing
