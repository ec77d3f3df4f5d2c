"""Feeds written as tables, and rides priced by the tariffs that are made of them."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from fare_rules.book import load_book
from fare_rules.examples import fold_example
from fare_rules.gtfs import export_gtfs, import_gtfs
from fare_rules.language.example import Example, ExampleRider, ExampleTap
from fare_rules.language.tariff import Tariff
from fare_rules.load import read_parts
from fare_rules.tables import Tables

DAY = date(2026, 1, 5)  # A Monday.
AGENCY = "agency_id,agency_name,agency_timezone\nA,Agency,America/Vancouver"
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TAPS = {"enter_exit": ("enter", "exit"), "board_alight": ("board", "alight"), "board": ("board",)}
MakeFeed = Callable[..., Path]


class City:
    """A tariff folder, priced by the engine."""

    def __init__(self, folder: Path, remarks: list[str]) -> None:
        self.folder = folder
        self.remarks = remarks
        self.book = load_book(folder)

    @property
    def tariff(self) -> Tariff:
        return self.book.tariffs[0].file

    @property
    def parts(self) -> tuple[Tariff, Tables]:
        (path,) = self.folder.glob("20*.yaml")
        tariff, tables, document = read_parts(path)
        assert tariff is not None, document.faults
        return tariff, tables

    def fares(self, *rides: str, rider: str | None = None, media: str | None = None) -> list[int]:
        """Price rides such as `bus a>b mon 12:00-12:30`, in minor units.

        Shape:  one fare a ride, whichever of its taps is charged.
        """
        fares, refused = self._priced(rides, rider, media)
        assert not refused, refused
        return fares

    def fare_or_none(self, ride: str, rider: str, media: str) -> int | None:
        """Price one ride that may have no fare."""
        fares, refused = self._priced((ride,), rider, media)
        return None if refused else fares[0]

    def _priced(
        self, rides: tuple[str, ...], rider: str | None, media: str | None
    ) -> tuple[list[int], object]:
        taps: list[ExampleTap] = []
        ends: list[int] = []
        taps_of = {network.id: TAPS[network.taps] for network in self.tariff.networks}
        for ride in rides:
            network, way, weekday, clocks = ride.split()
            day = DAY + timedelta(days=WEEKDAYS.index(weekday))
            for kind, stop, clock in zip(
                taps_of[network], way.split(">"), clocks.split("-"), strict=False
            ):
                at = f"{day} {clock}"
                taps.append(ExampleTap(at=at, tap=kind, network=network, stop=stop))  # type: ignore[arg-type]
            ends.append(len(taps))
        who = ExampleRider(category=rider, media=media)
        folded, ridden = fold_example(
            Example(name="rides", rider=who, taps=tuple(taps), total=None), self.book
        )
        ride_of = {
            tap.tap_id: sum(index >= end for end in ends) for index, tap in enumerate(ridden)
        }
        fares = [0] * len(rides)
        for charge in folded.charges.values():
            fares[ride_of[charge.tap_id]] += charge.fare_fen
        return fares, folded.refused

    def fare(self, ride: str, rider: str | None = None, media: str | None = None) -> int:
        """Price one ride; on Monday at noon, if it does not say when."""
        if len(ride.split()) == 2:
            ride += " mon 12:00-12:30"
        return self.fares(ride, rider=rider, media=media)[0]

    def transfer(
        self, first: str, second: str, rider: str | None = None, media: str | None = None
    ) -> int:
        """Price a second ride, begun at once after a first."""
        rides = (f"{first} mon 12:00-12:20", f"{second} mon 12:25-12:50")
        return self.fares(*rides, rider=rider, media=media)[1]


@pytest.fixture
def make_feed(tmp_path: Path) -> MakeFeed:
    """Write a feed: a keyword is a file, its text the table; blanks around cells are dropped."""

    def make(**tables: str) -> Path:
        folder = tmp_path / "feed"
        folder.mkdir()
        for name, text in {"agency": AGENCY, **tables}.items():
            lines = (
                ",".join(cell.strip() for cell in line.split(","))
                for line in text.strip().splitlines()
            )
            (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder

    return make


@pytest.fixture
def imported(make_feed: MakeFeed, tmp_path: Path) -> Callable[..., City]:
    """Make a feed and import it."""

    def make(**tables: str) -> City:
        folder = tmp_path / "tariff"
        remarks = import_gtfs(make_feed(**tables), folder, tariff_id="city", effective_from=DAY)
        return City(folder, remarks)

    return make


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., City]:
    """Write a tariff in the language, with its tables."""

    def make(text: str, **tables: str) -> City:
        folder = tmp_path / "written"
        folder.mkdir()
        (folder / f"{DAY}.yaml").write_text(text, encoding="utf-8")
        for name, table in tables.items():
            (folder / f"{name}.csv").write_text(table, encoding="utf-8")
        return City(folder, [])

    return make


@pytest.fixture
def there_and_back(tmp_path: Path) -> Callable[[City], City]:
    """Export a tariff and import what was written; the remarks are those of the export."""

    def make(city: City) -> City:
        feed, folder = tmp_path / "exported", tmp_path / "back"
        remarks = export_gtfs(*city.parts, feed)
        import_gtfs(feed, folder, tariff_id="city", effective_from=DAY)
        return City(folder, remarks)

    return make
