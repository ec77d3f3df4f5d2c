"""Taps told in one line, a little city, and what the desk would have loaded for them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from fare_rules import RideTap, TariffBook, load_book
from gateway.core.days import ride_tap
from gateway.core.decide import Limits, Plan, Snapshot, decide
from gateway.core.registry import Gate, Registry, Route, Stop
from gateway.core.taps import Action, Tap
from gateway.core.wallets import Media, Wallet, WalletStatus

ZONE = ZoneInfo("Asia/Shanghai")
NETWORKS = {"luohu": "metro", "laojie": "metro", "east": "ferry", "M390": "bus", "M506": "bus"}


class Desk:
    """Makes taps and decides them against wallets of some riders: alice, and others in trouble."""

    def __init__(self, book: TariffBook) -> None:
        self.book = book
        self.limits = Limits(tap_ahead_max=timedelta(minutes=5), tap_age_max=timedelta(days=7))
        purse = {"alice": 5_000, "blocked": 5_000, "closed": 0, "poor": 100}
        self.wallets = {
            self.id(name): Wallet(self.id(name), balance_fen=fen) for name, fen in purse.items()
        }
        for name in ("blocked", "closed"):
            wallet = self.wallets[self.id(name)]
            self.wallets[wallet.wallet_id] = structs.replace(wallet, status=WalletStatus(name))
        media = [Media(name, self.id(name), "adult", "card") for name in purse]
        media += [
            Media("blocked card", self.id("alice"), "adult", "card", is_blocked=True),
            Media("blocked card of blocked", self.id("blocked"), "adult", "card", is_blocked=True),
            Media("unbound", None, "adult", "card"),
        ]
        self.snapshot = Snapshot(
            received_at=self.at("12:00"),
            registry=Registry(
                stops={spot: Stop(spot) for spot, network in NETWORKS.items() if network != "bus"},
                routes={spot: Route(spot, "bus") for spot in ("M390", "M506")},
                gates={spot: Gate(spot, network, network) for spot, network in NETWORKS.items()}
                | {"monorail": Gate("monorail", "mono", "monorail")},
            ),
            media={one.media_token: one for one in media},
            wallets=self.wallets,
        )

    @staticmethod
    def id(name: str) -> UUID:
        return uuid5(NAMESPACE_URL, name)

    @staticmethod
    def at(clock: str, day: str = "2018-09-01") -> datetime:
        return datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=ZONE)

    def tap(self, action: str, spot: str, clock: str, **said: object) -> Tap:
        name = str(said.pop("name", f"{action} {spot} {clock}"))
        is_bus = NETWORKS.get(spot) == "bus"
        told = {
            "tap_id": self.id(name),
            "gate_id": spot,
            "sequence": self.id(name).int % 2**40,
            "tapped_at": self.at(clock, str(said.pop("day", "2018-09-01"))),
            "media_token": "alice",
            "action": Action(action),
            "stop_id": None if is_bus else spot,
            "route_id": spot if is_bus else None,
        }
        return Tap(**(told | said))

    def facts(self, action: str, spot: str, clock: str, **said: object) -> RideTap:
        category, media = said.pop("category", "adult"), said.pop("media", "card")
        network = NETWORKS[spot]
        return ride_tap(
            self.tap(action, spot, clock, **said),
            network=network,
            operator_id=network,
            rider_category=category,
            fare_media=media,
        )

    def decide(self, *taps: Tap, **known: object) -> Plan:
        return decide(taps, structs.replace(self.snapshot, **known), self.book, self.limits)

    def outcome(self, tap: Tap, **known: object) -> str:
        return str(self.decide(tap, **known).results[0].outcome)


@pytest.fixture(scope="session")
def harbour() -> TariffBook:
    return load_book(Path(__file__).parents[1] / "stories" / "harbour")


@pytest.fixture(scope="session")
def midnight() -> TariffBook:
    return load_book(Path(__file__).parents[1] / "stories" / "midnight")


@pytest.fixture
def desk(harbour: TariffBook) -> Desk:
    return Desk(harbour)
