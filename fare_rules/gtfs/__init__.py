"""GTFS Schedule with Fares v2: read as a tariff, and written from one.

The map: `files.py` says what is read of each file; `feed.py` reads a feed and finds its faults.
`importing.py` makes a tariff folder of it: `stops.py`, `hours.py` and `riders.py` read where, when
and who; `offers.py` what each leg rule stands for; `prices.py` and `matrices.py` make products and
leg rules of that; `changes.py` transfers and joined legs. `exporting.py` writes the files of a
tariff: `grids.py` and `columns.py` find what each kind of leg costs each rider, `sheets.py` and
`weeks.py` make rows of it, `leftovers.py` names the rest. `text.py` writes YAML, CSV and pages.
"""

from fare_rules.gtfs.exporting import export_gtfs
from fare_rules.gtfs.feed import UnusableFeed
from fare_rules.gtfs.importing import import_gtfs

__all__ = ["UnusableFeed", "export_gtfs", "import_gtfs"]
