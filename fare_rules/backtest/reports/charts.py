"""Bar charts as SVG inside a page: every bar says its value in words, so colour alone says nothing.

Drawn by hand, since a chart of bars is rectangles and words, and has to stay byte for byte the same
whenever and wherever it is drawn.
"""

from xml.etree.ElementTree import Element

from msgspec import Struct

_WIDTH = 760
_LABEL_WIDTH = 200
_VALUE_WIDTH = 170
_BAR_HEIGHT = 18
_GROUP_GAP = 10
# A bar that stands for something can be seen.
_BAR_WIDTH_MIN = 2
_LABEL_LENGTH_MAX = 28


class Bar(Struct, frozen=True):
    """One bar: its length, what it says, and the class that colours it."""

    size: int
    said: str
    style: str


class BarGroup(Struct, frozen=True):
    """The bars of one thing."""

    label: str
    bars: tuple[Bar, ...]


def bar_chart(chart_id: str, title: str, description: str, groups: list[BarGroup]) -> Element:
    """Draw groups of level bars from zero to the right; they share one scale."""
    largest = max((bar.size for group in groups for bar in group.bars), default=0) or 1
    height = sum(len(group.bars) * _BAR_HEIGHT + _GROUP_GAP for group in groups) + _GROUP_GAP
    svg = Element(
        "svg",
        {
            "viewBox": f"0 0 {_WIDTH} {height}",
            "role": "img",
            "aria-labelledby": f"{chart_id}-title {chart_id}-description",
        },
    )
    _add(svg, "title", {"id": f"{chart_id}-title"}, title)
    _add(svg, "desc", {"id": f"{chart_id}-description"}, description)
    top = _GROUP_GAP
    for group in groups:
        middle = top + len(group.bars) * _BAR_HEIGHT // 2 + 4
        place = {"x": f"{_LABEL_WIDTH - 8}", "y": f"{middle}", "text-anchor": "end"}
        _add(svg, "text", place, _shortened(group.label))
        for bar in group.bars:
            _bar(svg, bar, top, largest)
            top += _BAR_HEIGHT
        top += _GROUP_GAP
    axis = {"x1": f"{_LABEL_WIDTH}", "x2": f"{_LABEL_WIDTH}", "y1": "0", "y2": f"{height}"}
    _add(svg, "line", {**axis, "class": "axis"})
    return svg


def _bar(svg: Element, bar: Bar, top: int, largest: int) -> None:
    room = _WIDTH - _LABEL_WIDTH - _VALUE_WIDTH
    width = max(bar.size * room // largest, _BAR_WIDTH_MIN) if bar.size > 0 else 0
    shape = {
        "x": f"{_LABEL_WIDTH}",
        "y": f"{top}",
        "width": f"{width}",
        "height": f"{_BAR_HEIGHT - 3}",
        "class": bar.style,
    }
    _add(svg, "rect", shape)
    place = {"x": f"{_LABEL_WIDTH + width + 6}", "y": f"{top + 12}", "class": "value"}
    _add(svg, "text", place, bar.said)


def _shortened(label: str) -> str:
    return label if len(label) <= _LABEL_LENGTH_MAX else f"{label[: _LABEL_LENGTH_MAX - 1]}…"


def _add(parent: Element, tag: str, attributes: dict[str, str], text: str = "") -> None:
    child = Element(tag, attributes)
    child.text = text or None
    parent.append(child)
