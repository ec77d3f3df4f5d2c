"""All the tariffs of one operator, and which of them is in force."""

import hashlib
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import Struct

from fare_rules.beside import BESIDE, read_beside
from fare_rules.compiled import CompiledTariff
from fare_rules.faults import FaultCode, TariffFault, TariffFaults
from fare_rules.language.campaigns import CampaignMoney
from fare_rules.language.clearing import Clearing
from fare_rules.language.scalars import moment
from fare_rules.language.wallets import WalletClass
from fare_rules.load import load_tariff, read_tariff
from fare_rules.service_day import service_day_starts_at
from fare_rules.source import Document

if TYPE_CHECKING:
    from fare_rules.fold import Step


class TariffBook(Struct, frozen=True):
    """Tariffs in the order of their days."""

    tariffs: tuple[CompiledTariff, ...]
    # The instant, in UTC, from which each is in force.
    in_force_from: tuple[datetime, ...]
    timezone: ZoneInfo
    # SHA-256 of all the files, so that a process can say which tariffs it runs.
    digest: str
    wallet_classes: tuple[WalletClass, ...] = ()
    clearing: Clearing = Clearing()
    campaigns: tuple[CampaignMoney, ...] = ()
    # What taps have come to, where somebody keeps it: the auditor, who folds every tap twice.
    steps: "dict[UUID, Step] | None" = None
    # The day asked for last, from its start to its end: one tap asks for its day several times.
    _last_day: list[tuple[datetime, datetime, date]] = []

    def tariff_at(self, instant: datetime) -> CompiledTariff | None:
        """Find the tariff of an instant's service day; None before the first one's day."""
        # Nearly always the newest is in force.
        if instant >= self.in_force_from[-1]:
            return self.tariffs[-1]
        following = bisect_right(self.in_force_from, instant)
        return self.tariffs[following - 1] if following else None

    def window_of(self, begins: str | None, ends: str | None) -> tuple[datetime, datetime]:
        """The instants of two local moments; always, where one is left out."""
        first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
        return (
            moment(begins).replace(tzinfo=self.timezone).astimezone(UTC) if begins else first,
            moment(ends).replace(tzinfo=self.timezone).astimezone(UTC) if ends else last,
        )

    def starts_at(self, day: date) -> datetime:
        """Find the instant at which a service day starts."""
        in_force = [t for t in self.tariffs if t.effective_from <= day] or [self.tariffs[0]]
        return service_day_starts_at(day, self.timezone, in_force[-1].service_day_starts)

    def service_day_of(self, instant: datetime) -> date:
        """Find the service day of an instant; before the first tariff, days start as its do."""
        for starts_at, ends_at, day in self._last_day:
            if starts_at <= instant < ends_at:
                return day
        tariff = self.tariff_at(instant) or self.tariffs[0]
        day = tariff.service_day_of(instant)
        starts_at, ends_at = self.starts_at(day), self.starts_at(day + timedelta(days=1))
        if starts_at <= instant < ends_at:
            self._last_day[:] = [(starts_at, ends_at, day)]
        return day


def load_book(folder: Path) -> TariffBook:
    """Read every tariff of a folder.

    Raises: TariffFaults, with the faults of all its files.
    """
    paths = sorted(path for path in folder.glob("*.yaml") if path.name not in BESIDE)
    misnamed = [_misnamed(path) for path in folder.glob("*") if path.suffix in (".yml", ".YAML")]
    if not paths and not misnamed:
        code, message = FaultCode.NO_TARIFF, "There is no tariff in this folder"
        remedy = "Add one, named for the day from which it is in force"
        raise TariffFaults([TariffFault(str(folder), 1, 1, code, message, remedy)])
    read = [read_tariff(path) for path in paths]
    pages = [(tariff, document) for tariff, document in read if tariff]
    pages.sort(key=lambda page: page[0].effective_from)
    faults = misnamed + [fault for _, document in read for fault in document.faults]
    faults += _book_faults(pages)
    if faults:
        raise TariffFaults(faults)
    tariffs = tuple(tariff for tariff, _ in pages)
    for tariff, following in pairwise(tariffs):
        tariff.last_day = following.effective_from - timedelta(days=1)
    by_day = {tariff.effective_from: tariff for tariff in tariffs}
    for tariff in tariffs:
        if tariff.file.never_dearer_than is not None:
            tariff.never_dearer_than = earlier = by_day[tariff.file.never_dearer_than]
            tariff.times_rides = tariff.times_rides or earlier.times_rides
    beside = read_beside(folder, tariffs)
    if beside.faults:
        raise TariffFaults(list(beside.faults))
    for tariff in tariffs:
        tariff.shares_fares = bool(beside.clearing.agreements)
        tariff.campaign_of = {name: one.id for one in beside.campaigns for name in one.promotions}
    return TariffBook(
        tariffs=tariffs,
        in_force_from=tuple(
            service_day_starts_at(t.effective_from, t.timezone, t.service_day_starts)
            for t in tariffs
        ),
        timezone=tariffs[0].timezone,
        digest=_digest([*paths, *folder.glob("*.csv")]),
        wallet_classes=beside.wallet_classes,
        clearing=beside.clearing,
        campaigns=beside.campaigns,
    )


def load_page(path: Path) -> CompiledTariff:
    """Read one tariff; with the others of its folder where it may not be dearer than one of them.

    Raises: TariffFaults, with the faults of the file, or of the folder.
    """
    tariff = load_tariff(path)
    if tariff.file.never_dearer_than is None:
        return tariff
    book = load_book(path.parent)
    return next(one for one in book.tariffs if one.effective_from == tariff.effective_from)


def _misnamed(path: Path) -> TariffFault:
    # Left out silently, a new tariff would not come into force on its day.
    message = f"The file is not read, for its name ends in {path.suffix}"
    remedy = f"Name it {path.stem}.yaml, or take it out of the folder"
    return TariffFault(str(path), 1, 1, FaultCode.UNREADABLE_FILE, message, remedy)


def _book_faults(pages: list[tuple[CompiledTariff, Document]]) -> list[TariffFault]:
    faults = []
    for (earlier, first), (later, second) in pairwise(pages):
        if earlier.effective_from == later.effective_from:
            code, message = FaultCode.SAME_DATE, f"{first.path.name} is in force from the same day"
            remedy = "Keep one of the two"
            faults.append(second.fault(("effective_from",), code, message, remedy))
        for key, said_first, said_now in (
            ("currency", earlier.currency, later.currency),
            ("tariff", earlier.name, later.name),
            ("timezone", earlier.timezone.key, later.timezone.key),
        ):
            if said_first != said_now:
                code = FaultCode.NOT_THE_SAME_BOOK
                message = f"{key} is '{said_now}' here, but '{said_first}' in {first.path.name}"
                remedy = "Keep each tariff, currency and time zone in a folder of its own"
                faults.append(second.fault((key,), code, message, remedy))
    return faults + [fault for page in pages for fault in _unknown_earlier(page, pages)]


def _unknown_earlier(
    page: tuple[CompiledTariff, Document], pages: list[tuple[CompiledTariff, Document]]
) -> Iterator[TariffFault]:
    tariff, document = page
    wanted = tariff.file.never_dearer_than
    days = [other.effective_from for other, _ in pages if other is not tariff]
    if wanted is not None and (wanted not in days or wanted > tariff.effective_from):
        message = f"No earlier tariff of this folder is in force from {wanted}"
        remedy = "Write the effective_from of an earlier file"
        yield document.fault(("never_dearer_than",), FaultCode.UNKNOWN_NAME, message, remedy)


def _digest(paths: list[Path]) -> str:
    # The length keeps the end of one file from passing for the start of the next.
    digest = hashlib.sha256()
    for path in sorted(paths):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
