"""The links of a network, from a CSV beside the tariff."""

import csv
import re
from pathlib import Path

from fare_rules.faults import FaultCode, TariffFault
from fare_rules.source import TABLE_BYTES_MAX, UnusableFile, read_text

Links = dict[tuple[str, str], int]

COLUMNS = ["from_stop", "to_stop", "distance_m"]
_METRES = re.compile(r"[1-9][0-9]{0,5}")


def read_links(path: Path) -> tuple[Links, list[TariffFault]]:
    """Read the links that are right, and the faults of those that are not.

    Shape:  one entry per pair of stops; a link is travelled both ways.
    Units:  metres.
    """
    links: Links = {}
    faults: list[TariffFault] = []

    def refuse(line: int, message: str, remedy: str) -> None:
        faults.append(TariffFault(str(path), line, 1, FaultCode.BAD_LINKS, message, remedy))

    try:
        rows = csv.reader(read_text(path, TABLE_BYTES_MAX).splitlines())
        header = next(rows, [])
        if header != COLUMNS:
            refuse(1, f"The columns are '{','.join(header)}'", f"Write {','.join(COLUMNS)}")
            return links, faults
        for row in rows:
            wrong = _row_fault(row, links)
            if wrong:
                refuse(rows.line_num, *wrong)
            else:
                links[row[0], row[1]] = int(row[2])
    except UnusableFile as unusable:
        faults.append(unusable.fault)
    except csv.Error as error:
        refuse(rows.line_num, f"This is not CSV ({error})", "Write three short values per line")
    return links, faults


def _row_fault(row: list[str], links: Links) -> tuple[str, str] | None:
    if len(row) != len(COLUMNS):
        return f"There are {len(row)} values", f"Write {len(COLUMNS)}: {', '.join(COLUMNS)}"
    from_stop, to_stop, distance = row
    if not from_stop.strip() or not to_stop.strip():
        return "A stop has no name", "Write the ids of both stops"
    if from_stop == to_stop:
        return f"The link leads from '{from_stop}' to itself", "Take it out"
    if not _METRES.fullmatch(distance):
        return f"'{distance}' is not a distance", "Write whole metres, from 1 to 999999"
    if (from_stop, to_stop) in links or (to_stop, from_stop) in links:
        return f"'{from_stop}' and '{to_stop}' are already linked", "One row serves both ways"
    return None
