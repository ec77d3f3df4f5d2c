"""The story builder: taps as a timetable tells them, and the ledger as an accountant would.

story.rider("alice", purse_fen=5_000)
story.tap("alice", "enter", "metro luohu", "08:00").tap("alice", "exit", "metro laojie", "08:20")
assert story.ledger() == "08:20 fare  purse:alice -190  operator:metro +190"

Clocks are of Saturday, 1 September 2018, unless they name another day: "Sun 08:00". A tap arrives a
second after it is made, or when `arrives` says.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from fare_rules import TariffBook, load_book
from gateway.core.purse_desk import GrantMoney
from gateway.core.taps import Action, Tap, TapResult
from gateway.core.wallet_desk import WalletPlan
from gateway.core.wallet_wishes import ActivateCoupon, BindMedia, OpenWallet, TopUp, Wish
from gateway.core.wallets import WalletStatus

# Test files are imported by path, so their helpers have to be found by name.
sys.path.insert(0, str(Path(__file__).parent))

from _stores import HARBOUR, MIDNIGHT, FakeStore, PostgresStore

SHENZHEN = Path(__file__).parents[2] / "fare_rules" / "tariffs" / "shenzhen"
ZONE = ZoneInfo("Asia/Shanghai")
DAYS = {"Fri": 31, "Sat": 32, "Sun": 33, "Mon": 34, "Tue": 35}


def at(clock: str) -> datetime:
    *day, hours = clock.split()
    first = datetime.fromisoformat(f"2018-08-01T{hours}").replace(tzinfo=ZONE)
    return first + timedelta(days=DAYS[day[0] if day else "Sat"] - 1)


class Story:
    """Tells a situation tap by tap. `answers` holds what each tap was told."""

    def __init__(self, store: FakeStore | PostgresStore) -> None:
        self.store = store
        self.answers: list[TapResult] = []
        self.sent: list[Tap] = []
        self._now = at("Fri 12:00")
        self._numbers = count(1)
        self._opening: set[UUID] = set()
        self._names: dict[UUID, str] = {}

    @property
    def said(self) -> TapResult:
        return self.answers[-1]

    @property
    def outcomes(self) -> list[str]:
        return [str(answer.outcome) for answer in self.answers]

    def rider(
        self,
        name: str,
        *,
        purse_fen: int,
        category: str | None = None,
        media: str = "card",
        issuer: str | None = None,
    ) -> Story:
        wallet_id = uuid5(NAMESPACE_URL, name)
        top_up = TopUp(uuid5(wallet_id, "opening"), purse_fen) if purse_fen else None
        bind = BindMedia(name, category, media)
        opens = OpenWallet(wallet_id, issuer, media=(bind,), top_up=top_up)
        self._names[wallet_id] = name
        self._opening |= {top_up.top_up_id} if top_up else set()
        return self._wish(Wish(wallet_id, opens=opens))

    def card(self, token: str, *, of: str, media: str = "card") -> Story:
        """One more card that pays from a rider's wallet."""
        bind = BindMedia(token, None, media)
        return self._wish(Wish(uuid5(NAMESPACE_URL, of), binds=bind))

    def top_up(self, name: str, amount_fen: int) -> Story:
        wallet_id = uuid5(NAMESPACE_URL, name)
        top_up = TopUp(uuid5(wallet_id, str(next(self._numbers))), amount_fen)
        return self._wish(Wish(wallet_id, top_up=top_up))

    def activate(self, name: str, promotion: str, clock: str) -> Story:
        coupon = ActivateCoupon(promotion, at(clock))
        return self._wish(Wish(uuid5(NAMESPACE_URL, name), activates=(name, coupon)))

    def grant(
        self, name: str, rule_id: str, amount_fen: int, *, funder: str | None = "icbc", until="Tue"
    ) -> Story:
        wallet_id = uuid5(NAMESPACE_URL, name)
        grant_id = uuid5(wallet_id, f"{rule_id} {next(self._numbers)}")
        self._names[grant_id] = f"{name}'s {rule_id}"
        until = at(until if " " in until else f"{until} 00:00")
        wish = GrantMoney(grant_id, rule_id, amount_fen, funder, None, until)
        return self._wish(Wish(wallet_id, grants=wish))

    def holds(self, name: str) -> dict[str, int]:
        """What each purse of a rider holds beside the main one."""
        purses = self.store.wallet(uuid5(NAMESPACE_URL, name)).purses
        return {purse.rule_id: purse.held_fen for purse in purses}

    def close(self, name: str) -> Story:
        return self._wish(Wish(uuid5(NAMESPACE_URL, name), status=WalletStatus.CLOSED))

    def refused_close(self, name: str, clock: str) -> str:
        """Why the desk does not close a wallet at a moment."""
        wish = Wish(uuid5(NAMESPACE_URL, name), status=WalletStatus.CLOSED)
        return str(self.store.take_wishes([wish], at(clock)))

    def refused_top_up(self, name: str, amount_fen: int, clock: str) -> str:
        """Why the desk takes no money for a wallet at a moment."""
        wallet_id = uuid5(NAMESPACE_URL, name)
        wish = Wish(wallet_id, top_up=TopUp(uuid5(wallet_id, clock), amount_fen))
        return str(self.store.take_wishes([wish], at(clock)))

    def refused_grant(self, name: str, rule_id: str, amount_fen: int, clock: str) -> str:
        """Why a rider may not set own money aside at a moment."""
        wallet_id = uuid5(NAMESPACE_URL, name)
        money = GrantMoney(uuid5(wallet_id, clock), rule_id, amount_fen)
        return str(self.store.take_wishes([Wish(wallet_id, grants=money)], at(clock)))

    def block(self, name: str) -> Story:
        return self._wish(Wish(uuid5(NAMESPACE_URL, name), status=WalletStatus.BLOCKED))

    def tap(
        self, name: str, action: str, place: str, clock: str, *, arrives: str = "", **more: object
    ) -> Story:
        network, _, spot = place.partition(" ")
        number = next(self._numbers)
        tap = Tap(
            tap_id=uuid5(NAMESPACE_URL, f"tap {number}"),
            gate_id=f"{spot} {action}",
            sequence=number,
            tapped_at=at(clock),
            media_token=name,
            action=Action(action),
            stop_id=None if network == "bus" else spot,
            route_id=spot if network == "bus" else None,
        )
        return self._send(structs.replace(tap, **more), at(arrives or clock))

    def tap_again(self, which: int = -1) -> Story:
        """The gate lost the answer, and sends the same tap once more."""
        return self._send(self.sent[which], self._now)

    def ledger(self) -> str:
        return "\n".join(
            self._line(entry)
            for entry in self.store.entries()
            if entry.entry_id not in self._opening
        )

    def balance(self, name: str) -> int:
        return self.store.wallet(uuid5(NAMESPACE_URL, name)).balance_fen

    def owed(self, name: str) -> int:
        return self.store.wallet(uuid5(NAMESPACE_URL, name)).owed_fen

    def _send(self, tap: Tap, arrives_at: datetime) -> Story:
        self._now = max(self._now, arrives_at) + timedelta(seconds=1)
        self.sent.append(tap)
        self.answers += self.store.take_taps([tap], self._now).results
        return self

    def _wish(self, wish: Wish) -> Story:
        self._now += timedelta(seconds=1)
        plan = self.store.take_wishes([wish], self._now)
        assert isinstance(plan, WalletPlan), plan
        return self

    def _said(self, account: str) -> str:
        kind, _, name = account.partition(":")
        return f"grant:{self._names[UUID(name)]}" if kind == "grant" else account

    def _line(self, entry) -> str:
        local = entry.effective_at.astimezone(ZONE)
        when = local.strftime("%H:%M" if local.day == 1 else "%a %H:%M")
        name = self._names[entry.wallet_id]
        sides = [
            f"{side.account}:{name} {side.amount_fen:+}"
            if side.account in ("purse", "debt")
            else f"{self._said(side.account)} {side.amount_fen:+}"
            for side in entry.postings
        ]
        if entry.kind in ("top_up", "grant", "grant_return", "payout"):
            when = "desk"
        return "  ".join([f"{when} {entry.kind}", *sides])


@pytest.fixture(scope="session")
def shenzhen_book() -> TariffBook:
    return load_book(SHENZHEN)


@pytest.fixture(scope="session")
def harbour_book() -> TariffBook:
    return load_book(HARBOUR)


@pytest.fixture(scope="session")
def midnight_book() -> TariffBook:
    return load_book(MIDNIGHT)


def _told(book: TariffBook, request: pytest.FixtureRequest):
    if request.param == "fake store":
        yield Story(FakeStore(book))
        return
    store = PostgresStore(book, request.getfixturevalue("database"))
    yield Story(store)
    store.close()


@pytest.fixture(params=["fake store", "postgres"])
def story(shenzhen_book: TariffBook, request: pytest.FixtureRequest):
    """A story in Shenzhen."""
    yield from _told(shenzhen_book, request)


@pytest.fixture(params=["fake store", "postgres"])
def harbour_story(harbour_book: TariffBook, request: pytest.FixtureRequest):
    """A story where what is left open costs money: tests/stories/harbour."""
    yield from _told(harbour_book, request)


@pytest.fixture(params=["fake store", "postgres"])
def midnight_story(midnight_book: TariffBook, request: pytest.FixtureRequest):
    """A story where days begin at midnight, and a week has a cap: tests/stories/midnight."""
    yield from _told(midnight_book, request)
