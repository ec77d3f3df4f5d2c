"""One YAML file as plain data, with the place of everything in it.

YAML 1.2: 16:30 is text and `no` is a word. All but plain whole numbers stay text too, for there is
no place in a tariff where one is right. There are no merge keys, and a repeated key is a fault.
"""

import re
from pathlib import Path

import yaml
import yamlcore  # type: ignore[import-untyped]
from msgspec import Struct, field

from fare_rules.faults import FaultCode, TariffFault

# A city's rules take some tens of kilobytes.
FILE_BYTES_MAX = 1_000_000
# A fare for every pair of 700 stops.
TABLE_BYTES_MAX = 20_000_000
# Counted with aliases followed, so that a few lines cannot unfold into millions of values.
VALUES_COUNT_MAX = 50_000
DEPTH_MAX = 20
# 0x10, 0o17 and 010 are numbers to YAML, and to nobody who sets a fare or names a zone.
_PLAIN_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)")

Place = tuple[str | int, ...]


class UnusableFile(Exception):
    """Nothing more can be read from a file."""

    def __init__(self, fault: TariffFault) -> None:
        self.fault = fault
        super().__init__(str(fault))


class Document(Struct):
    """What a file says, where it says it, and what is wrong with how it says it."""

    path: Path
    data: object = None
    values_at: dict[Place, tuple[int, int]] = field(default_factory=dict)
    keys_at: dict[Place, tuple[int, int]] = field(default_factory=dict)
    faults: list[TariffFault] = field(default_factory=list)

    def fault(
        self, place: Place, code: FaultCode, message: str, remedy: str, *, at_key: bool = False
    ) -> TariffFault:
        """Make a fault at a place, or at the nearest thing around it that the file has."""
        if at_key and place in self.keys_at:
            line, column = self.keys_at[place]
        else:
            while place and place not in self.values_at:
                place = place[:-1]
            line, column = self.values_at.get(place, (1, 1))
        return TariffFault(str(self.path), line, column, code, message, remedy)


def read_document(path: Path) -> Document:
    """Read a YAML file, with the place of each value and every fault of its writing.

    Shape:  data is None when a fault leaves nothing to look at.
    """
    document = Document(path)
    try:
        document.data = _compose(document, read_text(path))
    except UnusableFile as unusable:
        document.faults.append(unusable.fault)
    return document


def read_text(path: Path, bytes_max: int = FILE_BYTES_MAX) -> str:
    """Read a file that is not too large.

    Raises: UnusableFile when it is missing, larger, or not UTF-8.
    """

    def unusable(code: FaultCode, message: str, remedy: str, *, line: int = 1) -> UnusableFile:
        return UnusableFile(TariffFault(str(path), line, 1, code, message, remedy))

    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        message = f"The file cannot be read ({error.strerror})"
        raise unusable(FaultCode.UNREADABLE_FILE, message, "Check its name") from error
    if len(content) > bytes_max:
        message = f"The file is larger than {bytes_max} bytes"
        raise unusable(FaultCode.FILE_TOO_LARGE, message, "Split it into networks or tariffs")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"Byte {error.start} is not UTF-8"
        raise unusable(FaultCode.NOT_UTF8, message, "Save the file as UTF-8", line=line) from error


def _compose(document: Document, text: str) -> object:
    loader = yamlcore.CCoreLoader(text)
    try:
        root = loader.get_single_node()
        if root is not None:
            return _Builder(document, loader).build(root, ())
    except yaml.YAMLError as error:
        raise UnusableFile(_syntax_fault(document, error)) from error
    finally:
        loader.dispose()
    raise UnusableFile(
        document.fault((), FaultCode.BAD_YAML, "The file says nothing", "Write something in it")
    )


def _syntax_fault(document: Document, error: yaml.YAMLError) -> TariffFault:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        document.values_at[()] = (mark.line + 1, mark.column + 1)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    message = f"This is not YAML: {problem}"
    remedy = "Look at the indentation, brackets, quotes and tags up to here"
    return document.fault((), FaultCode.BAD_YAML, message, remedy)


class _Builder:
    """Turns nodes into data, noting in the document where each stood."""

    def __init__(self, document: Document, loader: yaml.constructor.BaseConstructor) -> None:
        self._document = document
        self._loader = loader
        self._values_count = 0

    def build(self, node: yaml.Node, place: Place) -> object:
        self._document.values_at[place] = (node.start_mark.line + 1, node.start_mark.column + 1)
        self._refuse_bombs(place)
        match node:
            case yaml.MappingNode():
                return self._mapping(node, place)
            case yaml.SequenceNode():
                return [self.build(item, (*place, i)) for i, item in enumerate(node.value)]
            case _:
                return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, object]:
        built: dict[str, object] = {}
        for key_node, value_node in node.value:
            # As it is written: a key is a word, even when it looks like a number.
            key = str(key_node.value)
            here = (*place, key)
            first_at = self._document.keys_at.get(here)
            mark = key_node.start_mark
            self._document.keys_at[here] = (mark.line + 1, mark.column + 1)
            if key in built:
                assert first_at is not None
                message = f"'{key}' is already said on line {first_at[0]}"
                fault = self._document.fault(
                    here, FaultCode.DUPLICATE_KEY, message, "Keep one of the two", at_key=True
                )
                self._document.faults.append(fault)
            built[key] = self.build(value_node, here)
        return built

    def _scalar(self, node: yaml.Node) -> object:
        try:
            value = self._loader.construct_object(node)
        except (ValueError, IndexError, KeyError):
            # Too many digits, or a tag such as !!int before what is none: it stays text.
            return node.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        return value if _PLAIN_NUMBER.fullmatch(node.value) else node.value

    def _refuse_bombs(self, place: Place) -> None:
        self._values_count += 1
        if self._values_count > VALUES_COUNT_MAX:
            message = f"The file unfolds into more than {VALUES_COUNT_MAX} values"
            remedy = "Write less by alias, or move a long table into a CSV"
            code = FaultCode.TOO_MANY_VALUES
        elif len(place) > DEPTH_MAX:
            message = f"This is nested more than {DEPTH_MAX} deep"
            remedy = "A tariff needs five levels; take out an alias that contains itself"
            code = FaultCode.TOO_DEEP
        else:
            return
        raise UnusableFile(self._document.fault(place, code, message, remedy))
