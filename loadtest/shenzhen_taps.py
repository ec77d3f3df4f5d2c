"""A morning of Shenzhen Tong taps, read from its CSV into what each gate would send.

The file does not name a rider's class or each transfer, but the fare charged tells both. What a row
becomes depends on it and on its card's other rows alone, so that two halves of one sample can be
replayed into one gateway.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

SHENZHEN_TIME = timezone(timedelta(hours=8))
SERVICE_DAY_STARTS = timedelta(hours=4)
REPLAY = uuid5(NAMESPACE_URL, "urn:faregate:replay:shenzhen")  # every id of a replay is named in it

COLUMNS = (
    *("card_no", "deal_date", "deal_type", "deal_money", "deal_value", "equ_no"),
    *("company_name", "station", "car_no", "conn_mark", "close_date"),
)
ACTIONS = {"地铁入站": "enter", "地铁出站": "exit", "巴士": "board"}
METRO_CARD_PERCENT = 95
BUS_CARD_BANDS = ((0, 80), (300, 75), (600, 65))  # the full fare's part from so many fen: percent
TRANSFER_FEN = 40


class RiderClass(StrEnum):
    ADULT = "adult"
    STUDENT = "student"
    FREE = "free"
    UNDISCOUNTED = "undiscounted"  # pays the full fare: other media, or business carriage


class FareReading(NamedTuple):
    """What a charged amount says about the rider."""

    rider_class: RiderClass
    transfer_proven: bool = False


@dataclass(frozen=True, slots=True)
class StoredTap:
    """One row: the tap that a gate stored, and in `key_fen` what its rider was charged."""

    line: int
    tap_id: str
    tapped_at: datetime
    action: str
    gate_id: str
    operator_id: str
    card: str
    place: str | None
    vehicle_id: str | None
    full_fare_fen: int
    key_fen: int
    rider_class: RiderClass = RiderClass.ADULT
    transfer_proven: bool = False

    @property
    def network(self) -> str:
        return "bus" if self.action == "board" else "metro"

    @property
    def is_charged(self) -> bool:
        return self.action != "enter"

    @property
    def media_token(self) -> str:
        """A card that mixes classes is several media, for media have one class."""
        adult = self.rider_class is RiderClass.ADULT
        return self.card if adult else f"{self.card}.{self.rider_class}"

    @property
    def sequence(self) -> int:
        """Grows with time, so that no row's number depends on how many rows a file holds."""
        return int(self.tapped_at.timestamp()) * 1_000_000 + UUID(self.tap_id).int % 1_000_000

    def as_sent(self) -> dict[str, Any]:
        """The tap as its gate words it; what the row does not know is left out."""
        bus = self.network == "bus"
        words = {
            "tap_id": self.tap_id,
            "gate_id": self.gate_id,
            "sequence": self.sequence,
            "tapped_at": self.tapped_at.isoformat(),
            "media_token": self.media_token,
            "action": self.action,
            "stop_id": None if bus else self.place,
            "route_id": self.place if bus else None,
            # A metro row names its gate a second time here.
            "vehicle_id": self.vehicle_id if bus else None,
            "full_fare": self.full_fare_fen if self.is_charged else None,
            "transfer_proven": self.transfer_proven or None,
            "offline": True,
        }
        return {name: word for name, word in words.items() if word is not None}


class StoredTaps(NamedTuple):
    """A file's taps in order of time, and by line what is wrong with a row."""

    taps: list[StoredTap]
    faults: dict[int, str]

    @property
    def lines(self) -> list[int]:
        return sorted({tap.line for tap in self.taps} | self.faults.keys())

    def on_lines(self, lines: Iterable[int]) -> "StoredTaps":
        chosen = set(lines)
        return StoredTaps(
            [tap for tap in self.taps if tap.line in chosen],
            {line: fault for line, fault in self.faults.items() if line in chosen},
        )


def read_taps(csv_lines: Iterable[str]) -> StoredTaps:
    """Read the rows of a file, headed by its column names.

    Shape:  a row that no published rule explains is a tap and a fault; a malformed one, a fault.
    Raises: ValueError when columns are missing.
    """
    rows = csv.DictReader(csv_lines)
    if missing := set(COLUMNS) - set(rows.fieldnames or ()):
        raise ValueError(f"columns are missing: {', '.join(sorted(missing))}")
    taps: list[StoredTap] = []
    faults: dict[int, str] = {}
    seen: Counter[str] = Counter()
    for row in rows:
        words = [(row[column] or "").strip() for column in COLUMNS]
        identity = "\n".join(words)
        seen[identity] += 1
        tap_id = str(uuid5(REPLAY, f"tap\n{identity}\n{seen[identity]}"))
        try:
            tap = _stored_tap(rows.line_num, tap_id, words)
        except ValueError as fault:
            faults[rows.line_num] = str(fault)
            continue
        fare = read_fare(tap)
        if fare is None:
            faults[tap.line] = f"no rule makes {tap.key_fen} fen of {tap.full_fare_fen}"
        taps.append(replace(tap, **fare._asdict()) if fare else tap)
    taps.sort(key=lambda tap: (tap.tapped_at, tap.line))
    return StoredTaps(_with_classed_entries(taps), faults)


def read_fare(tap: StoredTap) -> FareReading | None:
    """Read class and transfer off the amount charged; None when no published rule makes it."""
    if not tap.is_charged:
        return FareReading(RiderClass.ADULT) if tap.key_fen == 0 else None
    standard_fen = standard_fare_fen(tap.network, tap.full_fare_fen)
    readings = (
        (standard_fen, FareReading(RiderClass.ADULT)),
        (standard_fen - TRANSFER_FEN, FareReading(RiderClass.ADULT, transfer_proven=True)),
        (_percent_of(tap.full_fare_fen, 50), FareReading(RiderClass.STUDENT)),
        (0, FareReading(RiderClass.FREE)),
        (tap.full_fare_fen, FareReading(RiderClass.UNDISCOUNTED)),
    )
    return next((reading for fen, reading in readings if fen == tap.key_fen), None)


def standard_fare_fen(network: str, full_fare_fen: int) -> int:
    """What an adult's card pays without a transfer: 95% on the metro, by bands on the bus."""
    if network == "metro":
        return _percent_of(full_fare_fen, METRO_CARD_PERCENT)
    ends = [start for start, _ in BUS_CARD_BANDS[1:]] + [full_fare_fen]
    return sum(
        _percent_of(max(min(full_fare_fen, end) - start, 0), percent)
        for (start, percent), end in zip(BUS_CARD_BANDS, ends, strict=True)
    )


def service_day_of(tapped_at: datetime) -> date:
    return (tapped_at.astimezone(SHENZHEN_TIME) - SERVICE_DAY_STARTS).date()


def _percent_of(amount_fen: int, percent: int) -> int:
    return (amount_fen * percent + 50) // 100


def _stored_tap(line: int, tap_id: str, words: list[str]) -> StoredTap:
    card, tapped_at, deal_type, money, value, gate, company, place, vehicle, _, _ = words
    if deal_type not in ACTIONS:
        raise ValueError(f"deal_type is {deal_type!r}")
    return StoredTap(
        line=line,
        tap_id=tap_id,
        tapped_at=datetime.strptime(tapped_at, "%Y-%m-%d %H:%M:%S").replace(tzinfo=SHENZHEN_TIME),
        action=ACTIONS[deal_type],
        gate_id=_name("equ_no", gate),
        operator_id=_name("company_name", company),
        card=_name("card_no", card),
        place=None if place == "" else _name("station", place),
        vehicle_id=None if vehicle == "" else _name("car_no", vehicle),
        full_fare_fen=_fen("deal_value", value),
        key_fen=_fen("deal_money", money),
    )


def _name(column: str, text: str) -> str:
    if not re.fullmatch(r"[^\x00-\x1f\x7f]{1,48}", text):
        raise ValueError(f"{column} is not a name of 1 to 48 characters: {text!r}")
    return text


def _fen(column: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text):
        raise ValueError(f"{column} is not an amount in fen: {text!r}")
    return int(text)


def _with_classed_entries(taps: list[StoredTap]) -> list[StoredTap]:
    """Give each entry the class of its card's next exit, else of its card's first charged row."""
    classes = {tap.card: tap.rider_class for tap in reversed(taps) if tap.is_charged}
    classed = []
    for tap in reversed(taps):
        if tap.action == "exit":
            classes[tap.card] = tap.rider_class
        elif tap.action == "enter":
            tap = replace(tap, rider_class=classes.get(tap.card, RiderClass.ADULT))
        classed.append(tap)
    return classed[::-1]
