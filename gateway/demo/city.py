"""The city of the demo: its tariff, its campaigns and contracts, its gates, and its riders' Monday.

The service day of the tariff ends when the story needs it to, so that a whole day can be told in
two minutes: what happened at dawn was at dawn, and the evening is now.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from msgspec import Struct

TIMEZONE = "Asia/Shanghai"
STATIONS = ("harbour", "museum", "market", "park", "university", "airport")
ROUTES = {"12": "city_bus", "27": "city_bus", "88": "west_bus", "99": "west_bus"}
OPERATORS = {"metro": "Harbour Metro", "city_bus": "City Bus", "west_bus": "West Bus"}
BANKS = {"icbc": "ICBC", "ccb": "CCB"}
# A journey that the metro did not finish: told in the story.
BROKEN_AT = "university"
ENVELOPES_COUNT, ENVELOPE_FEN = 500, 2_000
ONE_CENT_RIDES = 2_000

_TARIFF = """\
# The tariff of the demo's city. Its day starts when the story begins.
tariff: monday
effective_from: 2020-01-01
reference: Fare notice of a city that does not exist
timezone: {timezone}
service_day_starts: {starts}
currency: CNY
late_taps_days: 3
rider_categories: [{{id: adult, default: true}}, {{id: student}}]
fare_media: [{{id: card}}, {{id: phone}}]
issuers: [{{id: icbc}}, {{id: ccb}}]
sponsors: [{{id: icbc, name: ICBC}}, {{id: ccb, name: CCB}}, {{id: city, name: The city}}]
networks:
  - {{id: metro, taps: enter_exit, pass_back_seconds: 5, journey_time: {{minutes: 180}}, reference: m.1}}
  - {{id: bus, taps: board, reference: m.2}}
fare_products:
  - {{id: metro_ride, pricing: {{kind: flat, amount: 3.00}}, reference: m.3}}
  - {{id: bus_ride, pricing: {{kind: flat, amount: 2.00}}, reference: m.4}}
fare_leg_rules:
  - {{id: metro, networks: [metro], product: metro_ride}}
  - {{id: bus, networks: [bus], product: bus_ride}}
incomplete_leg_rules:
  - {{id: metro_incomplete, networks: [metro], charge: {{kind: amount, amount: 6.00}}, reference: m.5}}
concessions:
  - {{id: student, rider_categories: [student], pays: {{kind: percent, percent: 50, rounding: {{mode: down}}}}, borne_by: city, reference: m.6}}
fare_transfer_rules:
  - {{id: change, from: {{networks: [metro]}}, to: {{networks: [bus]}}, window_minutes: 60, pays: {{kind: less, amount: 0.40}}, reference: m.7}}
fare_caps:
  - {{id: day, period: {{kind: service_day}}, amount: 12.00, reference: m.8}}
promotions:
  - {{id: one_cent, issuers: [icbc], networks: [metro], pays: {{kind: amount, amount: 0.01}}, borne_by: icbc, sponsor_pays_max: 9.99, uses_max: 1, reference: m.9}}
  - {{id: ccb_half, issuers: [ccb], networks: [bus], pays: {{kind: percent, percent: 50, rounding: {{mode: down}}}}, borne_by: ccb, uses_per_day: 1, reference: m.10}}
purses:
  - {{id: envelope, kind: red_envelope, networks: [metro, bus], reference: m.11}}
"""  # noqa: E501
_CAMPAIGNS = f"""\
campaigns:
  - {{id: spring, sponsor: icbc, promotions: [one_cent], uses: {ONE_CENT_RIDES}, budget: 20000.00, reference: ICBC contract}}
  - {{id: buses, sponsor: ccb, promotions: [ccb_half], budget: 1500.00, reference: CCB contract}}
"""  # noqa: E501
_CLEARING = """\
agreements:
  - {id: changes, by: bearer, products: [bus_ride], bearers: before, reference: contract 1}
fees:
  - {id: clearing, paid_to: house, percent: 0.3, reference: contract 2}
"""


def write_tariffs(folder: Path, day_starts_at: datetime) -> None:
    """Write the city's rules, its day starting at the clock of an instant."""
    folder.mkdir(parents=True)
    starts = f"{day_starts_at:%H:%M}"
    tariff = _TARIFF.format(timezone=TIMEZONE, starts=starts)
    (folder / "2020-01-01.yaml").write_text(tariff, "utf-8")
    (folder / "campaigns.yaml").write_text(_CAMPAIGNS, "utf-8")
    (folder / "clearing.yaml").write_text(_CLEARING, "utf-8")


def registry() -> dict[str, Any]:
    """The body of POST /v1/registry: each operator's gates stand behind one concentrator."""
    parties = {**OPERATORS, **BANKS, "house": "Clearing House"}
    gates = [
        {"gate_id": f"{operator}-hub", "operator_id": operator, "network": network}
        for operator, network in (("metro", "metro"), ("city_bus", "bus"), ("west_bus", "bus"))
    ]
    gates += [
        {"gate_id": f"{station}-{way}", "operator_id": "metro", "network": "metro",
         "concentrator_id": "metro-hub"}
        for station in STATIONS for way in ("in", "out")
    ]  # fmt: skip
    gates += [
        {"gate_id": f"bus-{route}", "operator_id": operator, "network": "bus",
         "concentrator_id": f"{operator}-hub"}
        for route, operator in ROUTES.items()
    ]  # fmt: skip
    return {
        "operators": [
            {"operator_id": i, "name": name, "bank_account": f"CN{n:014d}", "bank_bic": "BKCHCNBJ"}
            for n, (i, name) in enumerate(parties.items(), 1)
        ],
        "stops": [{"stop_id": station} for station in STATIONS],
        "routes": [{"route_id": route, "network": "bus"} for route in ROUTES],
        "gates": gates,
    }


def wallet_id(number: int) -> UUID:
    return uuid5(NAMESPACE_URL, f"monday rider {number}")


def wallets(numbers: range) -> list[dict[str, Any]]:
    """The body of POST /v1/wallets: a third with each bank, a third with none; some students."""
    return [
        {
            "wallet_id": str(wallet_id(number)),
            "issuer_id": ("icbc", "ccb", None)[number % 3],
            "media": [
                {
                    "media_token": f"rider-{number}",
                    "rider_category": "student" if number % 7 == 0 else "adult",
                    "fare_media": "phone" if number % 2 else "card",
                }
            ],
            "top_up": {
                "top_up_id": str(uuid5(wallet_id(number), "first")),
                "amount_fen": 5_000,
            },
        }
        for number in numbers
    ]


class Ride(Struct, frozen=True):
    """A tap, and the concentrator that sends it."""

    hub: str
    tap: dict[str, Any]


class Timetable:
    """Makes the day's taps, each with its gate's next number."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self._sequences: dict[str, int] = {}

    def tap(self, gate_id: str, at: datetime, number: int, action: str, **more: Any) -> Ride:
        self._sequences[gate_id] = sequence = self._sequences.get(gate_id, 0) + 1
        hub = "metro-hub" if action != "board" else f"{ROUTES[more['route_id']]}-hub"
        tap = {
            "tap_id": str(uuid5(NAMESPACE_URL, f"monday {gate_id} {sequence}")),
            "gate_id": gate_id,
            "sequence": sequence,
            "tapped_at": at.isoformat(timespec="milliseconds"),
            "media_token": f"rider-{number}",
            "action": action,
            **more,
        }
        return Ride(hub, tap)

    def metro(self, number: int, at: datetime, *, exits: bool = True, **more: Any) -> list[Ride]:
        entry, exit_ = self.draw.sample(STATIONS, 2)
        taps = [self.tap(f"{entry}-in", at, number, "enter", stop_id=entry, **more)]
        if exits:
            later = at + timedelta(minutes=self.draw.randint(8, 40))
            taps.append(self.tap(f"{exit_}-out", later, number, "exit", stop_id=exit_, **more))
        return taps

    def bus(self, number: int, at: datetime, **more: Any) -> Ride:
        route = self.draw.choice(sorted(ROUTES))
        return self.tap(f"bus-{route}", at, number, "board", route_id=route, **more)

    def morning(self, riders: range, starts: datetime) -> Iterator[Ride]:
        """To work: by metro, or by metro and bus; one exit in fifty is lost."""
        for number in riders:
            at = starts + timedelta(minutes=self.draw.gauss(90, 30))
            if number % 5:
                taps = self.metro(number, at, exits=self.draw.random() > 0.02)
                yield from taps
                if number % 4 == 0:
                    yield self.bus(number, at + timedelta(minutes=45))
            else:
                yield self.bus(number, at)
