"""Shortest paths over a network's links, from one stop at a time and only when asked."""

import heapq
from collections.abc import Mapping
from typing import NamedTuple

from fare_rules.links import Links


class Path(NamedTuple):
    """How to reach a stop: metres, links, and the stop before it."""

    distance_m: int
    links_count: int
    before: str


class Paths:
    """The shortest path between any two stops; of two as short, the one with fewer links.

    Source: Dijkstra's algorithm.
    """

    def __init__(self, links: Links) -> None:
        self._neighbours: dict[str, list[tuple[str, int]]] = {}
        for (one, other), metres in links.items():
            self._neighbours.setdefault(one, []).append((other, metres))
            self._neighbours.setdefault(other, []).append((one, metres))
        self._from: dict[str, Mapping[str, Path]] = {}

    def between(self, start: str, end: str) -> Path | None:
        """Find the path; None where no links lead there."""
        return self._paths_from(start).get(end)

    def stops_on(self, start: str, end: str) -> tuple[str, ...]:
        """List the stops of the path, both ends included; empty where there is none."""
        paths = self._paths_from(start)
        if end not in paths:
            return ()
        stops = [end]
        while stops[-1] != start:
            stops.append(paths[stops[-1]].before)
        return tuple(reversed(stops))

    @property
    def stops(self) -> frozenset[str]:
        return frozenset(self._neighbours)

    def _paths_from(self, start: str) -> Mapping[str, Path]:
        if start not in self._from:
            self._from[start] = self._find(start) if start in self._neighbours else {}
        return self._from[start]

    def _find(self, start: str) -> dict[str, Path]:
        shortest: dict[str, Path] = {}
        waiting = [(0, 0, start, start)]
        while waiting:
            distance_m, links_count, stop, before = heapq.heappop(waiting)
            if stop in shortest:
                continue
            shortest[stop] = Path(distance_m, links_count, before)
            for neighbour, metres in self._neighbours[stop]:
                if neighbour not in shortest:
                    heapq.heappush(waiting, (distance_m + metres, links_count + 1, neighbour, stop))
        return shortest
