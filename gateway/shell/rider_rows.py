"""What a wallet remembers of its riders, as MessagePack and back.

Of a row's new version the database logs what lies between the first and the last byte that differ.
So what a tap changes stands in front, past legs follow from the newest back, and each of them says
only what the one before it does not: of a leg that continues a chain, the leg alone. That is a
third of the log that the plain records would need, and two thirds of their size.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Raw, Struct, structs

from fare_rules import RiderState, RideTap
from fare_rules.legs import LegFacts
from fare_rules.periods import Window
from fare_rules.quotes import Borne
from fare_rules.states import Chain, ChainLeg, Habit, Journey, LastTap, PastLeg, Reentry, Uses
from gateway.core.days import Opening, Riders, RiderToday
from gateway.core.purses import Purse
from gateway.core.wallet_classes import Spent, Terms
from gateway.core.wallets import Wallet

# Its two instants, the second None where it is the first again; and _facts.
_Leg = tuple[datetime, datetime | None, Raw]
# The leg; those before it in its chain, None where they are the chain of the past leg before; what
# was paid, with what sponsors have borne where they have; transfers; journey and tariff, None where
# they are those of the past leg before; and its place, True where the leg says it.
_Past = tuple[
    datetime, datetime | None, Raw, tuple[_Leg, ...] | None,
    int | tuple[int, Borne], int, UUID | None, str | None,
    str | bool | None,
]  # fmt: skip
# The newest tap's instant (None where it is the last tap's), its gate's number, until when its leg
# is open (True where the wallet's row says it), and the fields of RiderState.
_Rider = tuple[
    tuple[datetime | None, int] | None, datetime | bool | None,
    RideTap | None, tuple[str, ...], LastTap | None, Journey | None, dict[str, Window],
    dict[str, Uses], Reentry | None, tuple[Habit, ...], tuple[_Past, ...],
]  # fmt: skip

_encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode


class _State(Struct, array_like=True):
    """All of a wallet that has no column of its own, those last that hardly any wallet has."""

    riders: dict[str, _Rider]
    day: date | None
    opening: Opening
    swept_until: datetime | None
    purses: tuple[Purse, ...] = ()
    terms: Terms | None = None
    spent: Spent | None = None
    amended_until: datetime | None = None


_decode = msgspec.msgpack.Decoder(_State).decode


def state_bytes(wallet: Wallet) -> bytes:
    riders = {token: _rider(rider, wallet.open_until) for token, rider in wallet.riders.items()}
    usual = (riders, wallet.day, wallet.opening, wallet.swept_until)
    if wallet.purses or wallet.terms or wallet.amended_until:
        more = (wallet.purses, wallet.terms, wallet.spent, wallet.amended_until)
        return _encode((*usual, *(more if wallet.amended_until else more[:-1])))
    return _encode(usual)


def state_from(
    column: bytes, open_until: datetime | None
) -> tuple[
    date | None, Riders, Opening, datetime | None, tuple[Purse, ...], Terms | None, Spent | None,
    datetime | None,
]:  # fmt: skip
    """A wallet's day, riders, opening, swept_until, purses, terms, what was spent, amended_until.

    Its open_until has a column of its own.
    """
    state = _decode(column)
    return (
        state.day,
        {token: _rider_from(rider, open_until) for token, rider in state.riders.items()},
        state.opening,
        state.swept_until,
        state.purses,
        state.terms,
        state.spent,
        state.amended_until,
    )


def _rider(rider: RiderToday, open_until: datetime | None) -> tuple[Any, ...]:
    state = rider.state
    newest: Any = rider.newest
    last_tap = state.last_tap
    if newest is not None and last_tap is not None and newest[0] == last_tap.tapped_at:
        newest = (None, newest[1])
    until = rider.open_until
    return (
        newest,
        until if until is None or until != open_until else True,
        state.open_tap, state.via_stops, last_tap, state.journey, state.windows, state.uses,
        state.reentry, state.habits, _trail(state.trail) if state.trail else (),
    )  # fmt: skip


def _rider_from(wire: _Rider, wallet_open_until: datetime | None) -> RiderToday:
    (
        newest, open_until, open_tap, via_stops, last_tap, journey, windows, uses, reentry, habits,
        trail,
    ) = wire  # fmt: skip
    if newest is not None:
        newest_at, sequence = newest
        if newest_at is None:
            assert last_tap is not None
            newest_at = last_tap.tapped_at
        newest = (newest_at, sequence)
    state = RiderState(
        open_tap, via_stops, last_tap, _trail_from(trail) if trail else (), journey, windows, uses,
        habits, reentry,
    )  # fmt: skip
    until = wallet_open_until if isinstance(open_until, bool) else open_until
    return RiderToday(state, newest, until)


def _trail(trail: Iterable[PastLeg]) -> list[tuple[Any, ...]]:
    wire: list[tuple[Any, ...]] = []
    chain_before: tuple[ChainLeg, ...] = ()
    journey_before = tariff_before = None
    for past in trail:
        legs, journey_id, tariff_id, place = (
            past.chain.legs, past.journey_id, past.tariff_id, past.place
        )  # fmt: skip
        leg = legs[-1]
        facts, boarded_at, last_tap_at = leg.facts, leg.boarded_at, leg.last_tap_at
        before: list[Any] | None = []
        if len(legs) > 1:
            before = None if legs[:-1] == chain_before else list(map(_leg, legs[:-1]))
        wire.append((
            boarded_at, None if last_tap_at == boarded_at else last_tap_at, _facts(facts), before,
            (past.chain.paid_fen, past.chain.borne) if past.chain.borne else past.chain.paid_fen,
            past.chain.transfers_count,
            # Nearly always the same record where it is the same journey.
            None if journey_id is journey_before else journey_id,
            None if tariff_id == tariff_before else tariff_id,
            True if place and place == (facts.from_stop or facts.route_id) else place,
        ))  # fmt: skip
        chain_before, journey_before, tariff_before = legs, journey_id, tariff_id
    wire.reverse()
    return wire


def _trail_from(wire: tuple[_Past, ...]) -> tuple[PastLeg, ...]:
    trail: list[PastLeg] = []
    legs: tuple[ChainLeg, ...] = ()
    journey_id = tariff_id = None
    for past in reversed(wire):
        boarded_at, last_tap_at, raw, before, paid, transfers, journey, tariff, place = past
        paid_fen, borne = (paid, ()) if isinstance(paid, int) else paid
        facts = _facts_from(bytes(raw))
        leg = ChainLeg(facts, boarded_at, last_tap_at or boarded_at)
        if before is None:
            legs = (*legs, leg)
        else:
            legs = (*map(_leg_from, before), leg) if before else (leg,)
        journey_id, tariff_id = journey or journey_id, tariff or tariff_id
        assert journey_id is not None
        assert tariff_id is not None
        if isinstance(place, bool):
            place = facts.from_stop or facts.route_id
        trail.append(PastLeg(journey_id, tariff_id, place, Chain(legs, paid_fen, transfers, borne)))
    return tuple(trail)


def _leg_from(wire: _Leg) -> ChainLeg:
    boarded_at, last_tap_at, raw = wire
    return ChainLeg(_facts_from(bytes(raw)), boarded_at, last_tap_at or boarded_at)


def _leg(leg: ChainLeg) -> tuple[datetime, datetime | None, Raw]:
    boarded_at, last_tap_at = leg.boarded_at, leg.last_tap_at
    return boarded_at, None if last_tap_at == boarded_at else last_tap_at, _facts(leg.facts)


class _Facts(Struct, array_like=True):
    """LegFacts, those last that hardly any leg has."""

    network: str
    operator_id: str
    route_id: str | None
    from_stop: str | None
    to_stop: str | None
    rider_category: str
    fare_media: str
    from_frames: int
    to_frames: int
    carriage_class: str = "ordinary"
    via_stops: tuple[str, ...] = ()
    issuer_id: str | None = None
    missing: str | None = None
    is_joined: bool = False


_USUAL = _Facts.__struct_defaults__
_decode_facts = msgspec.msgpack.Decoder(_Facts).decode


@lru_cache(maxsize=65_536)
def _facts(facts: LegFacts) -> Raw:
    """Facts of a leg, without the last ones where they are as usual."""
    fields = [getattr(facts, name) for name in _Facts.__struct_fields__]
    given, more = fields[: -len(_USUAL)], fields[-len(_USUAL) :]
    return Raw(_encode(given if tuple(more) == _USUAL else fields))


# Legs of the same facts share one record of them.
@lru_cache(maxsize=65_536)
def _facts_from(column: bytes) -> LegFacts:
    return LegFacts(**structs.asdict(_decode_facts(column)))
