"""GTFS Schedule with Fares v2: read as a tariff, and written from one.

The map: `files.py` says what is read of each file; `feed.py` reads a feed and finds its faults;
`importing.py` makes a folder of ours of it, with `stops.py`, `hours.py`, `prices.py` and
`changes.py` for its parts; `exporting.py` writes the files of a tariff, with `grids.py` and
`columns.py` for what a leg and a rider pay; `text.py` writes tariffs as YAML and pages of remarks.
"""

from fare_rules.gtfs.exporting import export_gtfs
from fare_rules.gtfs.feed import UnusableFeed
from fare_rules.gtfs.importing import import_gtfs

__all__ = ["UnusableFeed", "export_gtfs", "import_gtfs"]
