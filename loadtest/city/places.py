"""The places of the city: stations, bus routes, and the gates at each.

Stations are those of the Shenzhen tariff's links; everything else is made up.
"""

from typing import Any, NamedTuple

# Each station with its share of homes and of workplaces: suburbs sleep, the centre works.
STATIONS = (
    ("luohu", 3, 4), ("guomao", 2, 4), ("laojie", 3, 4), ("grand_theater", 2, 5),
    ("science_museum", 2, 4), ("huaqiang_lu", 2, 6), ("gangxia", 4, 5), ("convention_center", 1, 9),
    ("shopping_park", 1, 8), ("xiangmihu", 2, 3), ("chegongmiao", 1, 10), ("zhuzilin", 2, 3),
    ("window_of_the_world", 2, 3), ("shenzhen_university", 2, 8), ("qianhaiwan", 3, 5),
    ("baoan_center", 6, 4), ("airport_east", 6, 2), ("futian_checkpoint", 3, 2), ("fumin", 4, 2),
    ("civic_center", 1, 6), ("childrens_palace", 2, 3), ("shangmeilin", 5, 3), ("minle", 6, 1),
    ("shenzhen_north", 4, 4), ("hongshan", 5, 2), ("longhua", 9, 2), ("qinghu", 9, 2),
    ("futian", 1, 8), ("tianbei", 4, 2), ("caopu", 5, 1), ("buji", 9, 1), ("danzhutou", 7, 1),
    ("shuanglong", 8, 2), ("wuhe", 7, 3), ("xili", 6, 3), ("airport", 2, 2), ("bitou", 5, 1),
    ("xiasha", 5, 2), ("shawei", 5, 2), ("jingtian", 3, 2),
)  # fmt: skip
METRO = "shenzhen_metro"
BUS_OPERATORS_MAX = 13
ROUTES_PER_OPERATOR = 6
# Full fares as often as in a sample of the city's open data (set 29200_00403601).
ROUTE_FARES_FEN = (200, 200, 250, 200, 100, 200, 200, 250, 200, 300)


class Gate(NamedTuple):
    """A device and all that is the same in each of its taps."""

    gate_id: str
    operator_id: str
    action: str
    stop_id: str | None = None
    route_id: str | None = None
    vehicle_id: str | None = None
    full_fare: int | None = None


class Places:
    """All gates of a city by number: each station's in and out, then each route's buses.

    A process that plays a part of the city has every `parts_count`th gate of each place to itself.
    """

    def __init__(self, bus_operators_count: int, gates_per_line: int) -> None:
        self.bus_operators = [
            f"bus_company_{number:02d}" for number in range(1, bus_operators_count + 1)
        ]
        self.gates_per_line = gates_per_line
        self.buses_per_route = 2 * gates_per_line
        self.stations = [station for station, _, _ in STATIONS]
        self.routes = [
            (f"M{100 * number + route}", operator)
            for number, operator in enumerate(self.bus_operators, 1)
            for route in range(1, ROUTES_PER_OPERATOR + 1)
        ]
        self.gates = [*self._turnstiles(), *self._buses()]
        self.first_bus = len(self.stations) * 2 * gates_per_line

    def _turnstiles(self) -> list[Gate]:
        return [
            Gate(f"{station}-{way}-{lane}", METRO, action, stop_id=station)
            for station in self.stations
            for way, action in (("in", "enter"), ("out", "exit"))
            for lane in range(1, self.gates_per_line + 1)
        ]

    def _buses(self) -> list[Gate]:
        return [
            Gate(
                f"bus-{route}-{bus}",
                operator,
                "board",
                route_id=route,
                vehicle_id=f"{route}-{bus}",
                full_fare=ROUTE_FARES_FEN[number % len(ROUTE_FARES_FEN)],
            )
            for number, (route, operator) in enumerate(self.routes)
            for bus in range(1, self.buses_per_route + 1)
        ]

    def turnstile(self, station: int, is_exit: bool, lane: int) -> int:
        return (station * 2 + is_exit) * self.gates_per_line + lane

    def bus(self, route: int, bus: int) -> int:
        return self.first_bus + route * self.buses_per_route + bus

    def registry(self) -> dict[str, list[dict[str, Any]]]:
        """The body of POST /v1/registry. Each operator's centre may sign for all of its gates."""
        operators = [METRO, *self.bus_operators]
        networks = {operator: "metro" if operator == METRO else "bus" for operator in operators}
        centres = [
            {"gate_id": centre_of(operator), "operator_id": operator, "network": networks[operator]}
            for operator in operators
        ]
        gates = [
            {
                "gate_id": gate.gate_id,
                "operator_id": gate.operator_id,
                "network": networks[gate.operator_id],
                "concentrator_id": centre_of(gate.operator_id),
            }
            for gate in self.gates
        ]
        return {
            "operators": [_operator(number, name) for number, name in enumerate(operators, 1)],
            "stops": [{"stop_id": station} for station in self.stations],
            "routes": [{"route_id": route, "network": "bus"} for route, _ in self.routes],
            "gates": [*centres, *gates],
        }


def centre_of(operator_id: str) -> str:
    """The gate that may sign for all of an operator's gates: its data centre or depot."""
    return f"{operator_id}-centre"


def _operator(number: int, operator_id: str) -> dict[str, str]:
    return {
        "operator_id": operator_id,
        "name": operator_id.replace("_", " ").title(),
        "bank_account": f"CN{number:014d}",
        "bank_bic": "BKCHCNBJ",
    }
