"""What is remembered of a rider between two taps. One media token is one rider.

These records, and those of a price, hold one another only downwards. None can be part of a cycle,
so Python's collector need not look at them (`gc=False`).
"""

from datetime import date, datetime
from uuid import UUID

from msgspec import Struct

from fare_rules.legs import LegFacts
from fare_rules.periods import Window
from fare_rules.quotes import Borne
from fare_rules.taps import Action, RideTap


class ChainLeg(Struct, frozen=True, array_like=True, gc=False):
    """A leg of a chain, as far as a rule may ask of it later."""

    facts: LegFacts
    boarded_at: datetime
    last_tap_at: datetime


# Legs of a chain that are remembered between its first and its newest.
CHAIN_LEGS_MAX = 14


class Chain(Struct, frozen=True, array_like=True, gc=False):
    """Legs that continue one another, by whichever transfer or join rules."""

    legs: tuple[ChainLeg, ...]
    paid_fen: int
    transfers_count: int = 0
    # What each sponsor has borne of them by concessions.
    borne: Borne = ()

    def paid(self, *, by_all: bool) -> int:
        """What the rider has paid for its legs, or all who have."""
        return self.paid_fen + (sum(fen for _, fen in self.borne) if by_all else 0)

    def continued(self, leg: ChainLeg, paid_fen: int, borne: Borne, *, is_joined: bool) -> "Chain":
        first, *rest = self.legs
        return Chain(
            (first, *rest[-CHAIN_LEGS_MAX:], leg),
            self.paid_fen + paid_fen,
            self.transfers_count + (not is_joined),
            borne_in_all(self.borne, borne),
        )

    def has_ridden(self, facts: LegFacts) -> bool:
        """Whether a leg of it was on the same route."""
        return any(
            (leg.facts.network, leg.facts.route_id) == (facts.network, facts.route_id)
            for leg in self.legs
        )


def borne_in_all(before: Borne, now: Borne, *, is_one: bool = False) -> Borne:
    """What each sponsor bears of legs before and of another; `is_one` where that is the whole."""
    if not now:
        return before
    one, other = dict(before), dict(now)
    how = max if is_one else sum
    return tuple((name, how((one.get(name, 0), other.get(name, 0)))) for name in one | other)


class PastLeg(Struct, frozen=True, array_like=True, gc=False):
    """A leg that is over: what a transfer or a join may ask of it, and of the chain it ends."""

    journey_id: UUID
    tariff_id: str
    place: str | None
    # The leg itself is its last.
    chain: Chain

    @property
    def facts(self) -> LegFacts:
        return self.chain.legs[-1].facts

    @property
    def boarded_at(self) -> datetime:
        return self.chain.legs[-1].boarded_at

    @property
    def last_tap_at(self) -> datetime:
        return self.chain.legs[-1].last_tap_at


class JoinedLeg(Struct, frozen=True, array_like=True, gc=False):
    """A leg of a journey that is priced as one."""

    facts: LegFacts
    distance_m: int | None


class Journey(Struct, frozen=True, array_like=True, gc=False):
    """The legs that a further leg may be joined to, and what one rider was charged for them."""

    boarded_at: datetime
    legs: tuple[JoinedLeg, ...]
    charged_fen: int
    # Their full fare, before surcharges and concessions.
    full_fen: int
    # A leg of more riders is not joined.
    riders_count: int
    # Those that stand apart from caps; each is due once a journey.
    surcharges: tuple[str, ...] = ()
    # The join rules that have acted.
    rules: tuple[str, ...] = ()
    # What each sponsor bears of them by concessions.
    borne: Borne = ()


class Uses(Struct, frozen=True, array_like=True, gc=False):
    """How often a rider has had one promotion."""

    count: int
    first_at: datetime
    day: date
    day_count: int
    # The coupon that was used last, by its activation; and how often each was used.
    coupon_at: datetime | None = None
    by_coupon: tuple[tuple[datetime, int], ...] = ()
    # The journey of the last use.
    journey_id: UUID | None = None


class Habit(Struct, frozen=True, array_like=True, gc=False):
    """A complete leg of some day."""

    network: str
    from_stop: str
    to_stop: str
    day: date


class Reentry(Struct, frozen=True, array_like=True, gc=False):
    """Where entering again takes a charge back."""

    network: str
    # At any stop of the network, where none is said.
    stop_id: str | None
    until: datetime
    charged: tuple[tuple[UUID, str], ...]
    # What was remembered before.
    trail: tuple[PastLeg, ...]
    journey: Journey | None
    windows: dict[str, Window]
    # None in what was kept before this was.
    uses: dict[str, Uses] | None = None


class LastTap(Struct, frozen=True, array_like=True, gc=False):
    """As much of a tap as tells whether the next one is the same beep again."""

    action: Action
    place: tuple[str | None, ...]
    tapped_at: datetime

    @property
    def network(self) -> str | None:
        return self.place[0]


class RiderState(Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """All that pricing remembers of one rider."""

    open_tap: RideTap | None = None
    via_stops: tuple[str, ...] = ()
    last_tap: LastTap | None = None
    trail: tuple[PastLeg, ...] = ()
    journey: Journey | None = None
    windows: dict[str, Window] = {}
    uses: dict[str, Uses] = {}
    habits: tuple[Habit, ...] = ()
    reentry: Reentry | None = None


NOTHING = RiderState()
