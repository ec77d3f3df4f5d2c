"""From a tariff file to a tariff that can price, or to all that is wrong with it.

The steps: what the file says (source.py), its shape (shape.py), its meaning (check.py), its
look-ups (compiled.py). Faults of meaning are looked for once the shape is right.
"""

import re
from pathlib import Path
from typing import TypeVar

import msgspec

from fare_rules.check import find_faults
from fare_rules.compiled import CompiledTariff, compile_tariff
from fare_rules.faults import FaultCode, TariffFault, TariffFaults
from fare_rules.links import Links, read_links
from fare_rules.model import Tariff
from fare_rules.shape import shape_faults
from fare_rules.source import Document, read_document

T = TypeVar("T")

_DAY_AT_START = re.compile(r"\d{4}-\d{2}-\d{2}")


def load_tariff(path: Path) -> CompiledTariff:
    """Read a tariff that is to be used.

    Raises: TariffFaults, with every fault, when it must not be.
    """
    tariff, document = read_tariff(path)
    if tariff is None:
        raise TariffFaults(document.faults)
    return tariff


def check_tariff(path: Path) -> list[TariffFault]:
    """List the faults of a tariff file and of the CSV files it names, in order of their lines."""
    _, document = read_tariff(path)
    return sorted(document.faults)


def read_tariff(path: Path) -> tuple[CompiledTariff | None, Document]:
    """Read a tariff together with the places in its file.

    Shape:  the tariff is None when the document has faults.
    """
    tariff, document = read_as(path, Tariff)
    if tariff is None:
        return None, document
    links = _links(tariff, document)
    _check_date(tariff, document)
    document.faults += [document.fault(*finding) for finding in find_faults(tariff, links)]
    return (None if document.faults else compile_tariff(tariff, links)), document


def read_as(path: Path, shape: type[T]) -> tuple[T | None, Document]:
    """Read a YAML file as a type; None when its document has faults."""
    document = read_document(path)
    if document.data is not None or not document.faults:
        document.faults += shape_faults(document, shape)
    return (None if document.faults else msgspec.convert(document.data, shape)), document


def _links(tariff: Tariff, document: Document) -> dict[str, Links]:
    links: dict[str, Links] = {}
    for name in sorted({network.links for network in tariff.networks if network.links}):
        links[name], faults = read_links(document.path.parent / name)
        document.faults += faults
    return links


def _check_date(tariff: Tariff, document: Document) -> None:
    day = _DAY_AT_START.match(document.path.name)
    if day and day[0] != str(tariff.effective_from):
        message = f"The file is named for {day[0]}, but says {tariff.effective_from}"
        remedy = "Make the two the same day; a published file is never changed"
        code = FaultCode.DATE_NOT_FILE_NAME
        document.faults.append(document.fault(("effective_from",), code, message, remedy))
