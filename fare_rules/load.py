"""From a tariff file to a tariff that can price, or to all that is wrong with it.

The steps: what the file says (source.py), its shape (shape.py), its tables (tables.py), its meaning
(check.py), its look-ups (compiled.py). Meaning is looked at once the shape is right; look-ups are
made when nothing is wrong.
"""

import re
from pathlib import Path
from typing import TypeVar

import msgspec

from fare_rules.check import ON_LINES, find_faults
from fare_rules.compiled import CompiledTariff
from fare_rules.currency import currency_digits, is_currency
from fare_rules.faults import FaultCode, TariffFault, TariffFaults
from fare_rules.language.scalars import read_scalar
from fare_rules.language.tariff import Tariff
from fare_rules.shape import shape_faults
from fare_rules.source import Document, read_document
from fare_rules.tables import RulePlaces, Tables, read_tables

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
    _, _, document = read_parts(path)
    return sorted(document.faults)


def read_tariff(path: Path) -> tuple[CompiledTariff | None, Document]:
    """Read a tariff together with the places in its file.

    Shape:  the tariff is None when the document has faults.
    """
    tariff, tables, document = read_parts(path)
    if tariff is None or document.faults:
        return None, document
    return CompiledTariff(tariff, tables, _places_of_rules(tariff, document)), document


def read_parts(path: Path) -> tuple[Tariff | None, Tables, Document]:
    """Read a tariff and its tables as they are written.

    Shape:  the tariff is None when its file lacks the shape of one; other faults leave it.
    """
    document = read_document(path)
    said = document.data.get("currency") if isinstance(document.data, dict) else None
    tariff = _shaped(document, Tariff, currency_digits(said) if isinstance(said, str) else 2)
    if tariff is None:
        return None, Tables(), document
    _check_currency(tariff, document)
    _check_date(tariff, document)
    tables = read_tables(tariff, document, currency_digits(tariff.currency))
    document.faults += [document.fault(*finding) for finding in find_faults(tariff, tables)]
    return tariff, tables, document


def read_as(path: Path, shape: type[T], digits: int = 2) -> tuple[T | None, Document]:
    """Read a YAML file as a type; None when its document has faults.

    Units:  digits are the decimals of the currency that its amounts are in.
    """
    document = read_document(path)
    return _shaped(document, shape, digits), document


def _shaped(document: Document, shape: type[T], digits: int) -> T | None:
    if document.data is not None or not document.faults:
        document.faults += shape_faults(document, shape, digits)
    if document.faults:
        return None
    return msgspec.convert(document.data, shape, dec_hook=read_scalar(digits))


def _check_currency(tariff: Tariff, document: Document) -> None:
    if not is_currency(tariff.currency):
        message = f"'{tariff.currency}' is not a currency"
        remedy = "Write its code of ISO 4217, such as CNY"
        code = FaultCode.UNKNOWN_CURRENCY
        document.faults.append(document.fault(("currency",), code, message, remedy))


def _check_date(tariff: Tariff, document: Document) -> None:
    day = _DAY_AT_START.match(document.path.name)
    if day and day[0] != str(tariff.effective_from):
        message = f"The file is named for {day[0]}, but says {tariff.effective_from}"
        remedy = "Make the two the same day; a published file is never changed"
        code = FaultCode.DATE_NOT_FILE_NAME
        document.faults.append(document.fault(("effective_from",), code, message, remedy))


def _places_of_rules(tariff: Tariff, document: Document) -> RulePlaces:
    """Say where the id of each rule, product and network stands."""
    found: dict[tuple[str, str], str] = {}
    for section in ("networks", "fare_leg_rules", *ON_LINES):
        for index, record in enumerate(getattr(tariff, section)):
            line, _ = document.values_at[section, index, "id"]
            found[section, record.id] = f"{document.path.name}:{line}"
    return found
