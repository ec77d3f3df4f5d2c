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

from fare_rules.compiled import CompiledTariff
from fare_rules.faults import FaultCode, TariffFault, TariffFaults
from fare_rules.language.campaigns import CampaignMoney, Campaigns
from fare_rules.language.clearing import Clearing
from fare_rules.language.scalars import moment
from fare_rules.language.wallets import WalletClass, Wallets
from fare_rules.load import load_tariff, read_as, read_tariff
from fare_rules.service_day import service_day_starts_at
from fare_rules.source import Document

if TYPE_CHECKING:
    from fare_rules.fold import Step

EXAMPLES_FILE = "examples.yaml"
WALLETS_FILE = "wallets.yaml"
CLEARING_FILE = "clearing.yaml"
CAMPAIGNS_FILE = "campaigns.yaml"
# What lies beside the tariffs and is none.
BESIDE = frozenset({EXAMPLES_FILE, WALLETS_FILE, CAMPAIGNS_FILE, CLEARING_FILE})


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
            tariff.never_dearer_than = by_day[tariff.file.never_dearer_than]
    clearing = _clearing(folder, tariffs[0].currency_digits)
    campaigns = _campaigns(folder, tariffs[-1])
    for tariff in tariffs:
        tariff.shares_fares = bool(clearing.agreements)
        tariff.campaign_of = {name: one.id for one in campaigns for name in one.promotions}
    return TariffBook(
        tariffs=tariffs,
        in_force_from=tuple(
            service_day_starts_at(t.effective_from, t.timezone, t.service_day_starts)
            for t in tariffs
        ),
        timezone=tariffs[0].timezone,
        digest=_digest([*paths, *folder.glob("*.csv")]),
        wallet_classes=_wallet_classes(folder, tariffs[0].currency_digits),
        clearing=clearing,
        campaigns=campaigns,
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


def _campaigns(folder: Path, newest: CompiledTariff) -> tuple[CampaignMoney, ...]:
    if not (folder / CAMPAIGNS_FILE).exists():
        return ()
    found, document = read_as(folder / CAMPAIGNS_FILE, Campaigns, newest.currency_digits)
    if found is None:
        raise TariffFaults(document.faults)
    promotions = {promotion.id: promotion for promotion in newest.file.promotions}
    taken: set[str] = set()
    for index, campaign in enumerate(found.campaigns):
        for number, name in enumerate(campaign.promotions):
            promotion, place = promotions.get(name), ("campaigns", index, "promotions", number)
            message, remedy, code = "", "", FaultCode.UNKNOWN_NAME
            if promotion is None:
                message = f"'{name}' is no promotion of {newest.tariff_id}"
                remedy = "Name one of its promotions"
            elif promotion.borne_by != campaign.sponsor:
                message = f"The promotion '{name}' is borne by {promotion.borne_by or 'nobody'}"
                remedy = f"Write borne_by: {campaign.sponsor} there, or another sponsor here"
            elif name in taken:
                message, code = f"Another campaign pays for '{name}'", FaultCode.DUPLICATE_ID
                remedy = "Keep it in one of the two"
            if message:
                document.faults.append(document.fault(place, code, message, remedy))
            taken.add(name)
    if document.faults:
        raise TariffFaults(document.faults)
    return found.campaigns


def _clearing(folder: Path, digits: int) -> Clearing:
    if not (folder / CLEARING_FILE).exists():
        return Clearing()
    clearing, document = read_as(folder / CLEARING_FILE, Clearing, digits)
    if clearing is None:
        raise TariffFaults(document.faults)
    taken: set[str] = set()
    for section in ("agreements", "fees"):
        for index, one in enumerate(getattr(clearing, section)):
            if one.id in taken:
                message, remedy = f"The id '{one.id}' is already taken", "Choose another id"
                fault = document.fault(
                    (section, index, "id"), FaultCode.DUPLICATE_ID, message, remedy
                )
                document.faults.append(fault)
            taken.add(one.id)
    for index, agreement in enumerate(clearing.agreements):
        needs = agreement.by == "table" or agreement.bearers == "table"
        if needs and not agreement.weights:
            message, remedy = "A table needs weights", "Add weights, one for each operator"
            place = ("agreements", index, "by")
            fault = document.fault(place, FaultCode.NEEDS_ANOTHER_KEY, message, remedy)
            document.faults.append(fault)
    if document.faults:
        raise TariffFaults(document.faults)
    return clearing


def _wallet_classes(folder: Path, digits: int) -> tuple[WalletClass, ...]:
    if not (folder / WALLETS_FILE).exists():
        return ()
    wallets, document = read_as(folder / WALLETS_FILE, Wallets, digits)
    if wallets is None:
        raise TariffFaults(document.faults)
    known = set()
    for index, one in enumerate(wallets.classes):
        if (one.id, one.effective_from) in known:
            message = f"The class '{one.id}' has two sets of limits from the same day"
            remedy = "Keep one of them, or write another effective_from"
            place = ("classes", index, "id")
            document.faults.append(document.fault(place, FaultCode.DUPLICATE_ID, message, remedy))
        known.add((one.id, one.effective_from))
    if document.faults:
        raise TariffFaults(document.faults)
    return wallets.classes


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
