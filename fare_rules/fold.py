"""A rider's taps, folded in the order of their events: which legs they make, and what each costs.

The fold looks at event time, whatever order the taps arrived in, so the same taps always cost the
same. Each charge hangs on one tap, and that tap's operator is paid it:

    enter, exit          one leg, charged at the exit
    board                one leg, charged at the boarding (networks that tap on only)
    board, alight        one leg, charged at the alighting
    exit alone           a leg without its entry, charged at the exit
    enter alone          open until another leg begins, or its time has passed; charged at the entry
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from uuid import UUID

from msgspec import Struct, structs

from fare_rules.base_fare import FareRefusal
from fare_rules.book import TariffBook
from fare_rules.charges import Charge, SharedLeg, shared_leg
from fare_rules.compiled import CompiledTariff
from fare_rules.disruptions import touches
from fare_rules.full_fares import FullFares
from fare_rules.language.places import HABITS_MAX, SameStopExit
from fare_rules.legs import Leg, minutes_begun
from fare_rules.money import Fen
from fare_rules.networks import NetworkRules
from fare_rules.periods import is_over, rule_of
from fare_rules.plans import PurseTerms
from fare_rules.price import Priced, price_leg
from fare_rules.quotes import Quote, QuoteLine, quote_of
from fare_rules.states import NOTHING, Habit, LastTap, Reentry, RiderState
from fare_rules.taps import Action, RideTap

# Bounds of what is remembered of a rider.
TRAIL_LEGS_MAX = 16
# Looking a member of an enumeration up takes longer than comparing it.
_TOUCH = Action.TOUCH
_NO_OFFSET = timedelta(0)


class Fold(Struct, frozen=True):
    """What some taps of one rider came to, and what is remembered after them."""

    charges: dict[tuple[UUID, str], Charge]
    # The journey of each tap: the id of the journey's first tap.
    journeys: dict[UUID, UUID]
    double_beeps: frozenset[UUID]
    # Taps that no rule can price, with the tariff's reason.
    refused: dict[UUID, FareRefusal]
    state: RiderState
    # When the leg that is open can no longer be closed.
    open_until: datetime | None


def fold(
    taps: Iterable[RideTap],
    book: TariffBook,
    *,
    state: RiderState = NOTHING,
    swept_until: datetime | None = None,
) -> Fold:
    """Price a rider's taps after all that is remembered of him.

    Shape:  taps of one media token. Of the legs still open at the end, those whose time had passed
            by `swept_until` are charged as incomplete.
    """
    folding = RiderFold(book, state)
    for tap in sorted(taps, key=lambda tap: tap.order):
        folding.take(tap)
    if swept_until is not None:
        folding.sweep(swept_until)
    return folding.result()


class RiderFold:
    """A fold under way. `take` expects the taps in the order of their events.

    It has the fields of `Fold`, as they are by now.
    """

    def __init__(self, book: TariffBook, state: RiderState = NOTHING) -> None:
        self._book = book
        self.state = state
        self.charges: dict[tuple[UUID, str], Charge] = {}
        self.journeys: dict[UUID, UUID] = {}
        self.double_beeps: set[UUID] = set()
        self.refused: dict[UUID, FareRefusal] = {}

    def result(self) -> Fold:
        return Fold(
            dict(self.charges),
            dict(self.journeys),
            frozenset(self.double_beeps),
            dict(self.refused),
            self.state,
            self.open_until,
        )

    def take(self, tap: RideTap) -> None:
        # A charge that may be taken back is another step's.
        if self._book.steps is None or self.state.reentry is not None:
            self._take(tap)
            return
        after = _step(tap, self.state, self._book, self._book.steps).after
        self.state = after.state
        if after.charges:
            self.charges |= after.charges
        if after.journeys:
            self.journeys |= after.journeys
        if after.double_beeps:
            self.double_beeps |= after.double_beeps
        if after.refused:
            self.refused |= after.refused

    def _take(self, tap: RideTap) -> None:
        assert tap.tapped_at.utcoffset() == _NO_OFFSET, "instants of one zone differ by wall clock"
        if tap.action is _TOUCH:
            self._touch(tap)
            return
        network, last = self._network(tap), self.state.last_tap
        if last is not None and _is_same_tap(last, tap, network):
            self.double_beeps.add(tap.tap_id)
            return
        if not tap.action.opens:
            opening = self.state.open_tap
            if opening is not None and self._may_close(opening, tap):
                self._close(opening, tap)
            else:
                self._leave_open(tap)
                self._exit_alone(tap)
        else:
            self._leave_open(tap)
            self._take_back(tap)
            if network is not None and network.taps != "board":
                self.journeys[tap.tap_id] = tap.tap_id
                self.state = structs.replace(self.state, open_tap=tap, via_stops=())
            else:
                self._charge(_leg(tap, tap), tap, tap)
        last = LastTap(tap.action, tap.place, tap.tapped_at)
        self.state = structs.replace(self.state, last_tap=last)

    def sweep(self, instant: datetime) -> None:
        """Charge the open leg if nobody could close it any more at an instant."""
        until = self.open_until
        if until is not None and until <= instant:
            self._leave_open()

    @property
    def open_until(self) -> datetime | None:
        """When the leg that is open can no longer be closed."""
        opening = self.state.open_tap
        if opening is None:
            return None
        network = self._network(opening)
        return opening.tapped_at + (network.longest if network else timedelta(0))

    def _network(self, tap: RideTap) -> NetworkRules | None:
        tariff = self._book.tariff_at(tap.tapped_at)
        return tariff.network(tap.network) if tariff else None

    def _touch(self, tap: RideTap) -> None:
        opening, state = self.state.open_tap, self.state
        if opening is None or opening.network != tap.network or tap.stop_id is None:
            return
        self.journeys[tap.tap_id] = opening.tap_id
        if tap.stop_id not in state.via_stops:
            self.state = structs.replace(state, via_stops=(*state.via_stops, tap.stop_id))

    def _may_close(self, opening: RideTap, closing: RideTap) -> bool:
        if opening.network != closing.network:
            return False
        if opening.action is not Action.BOARD:
            return True
        vehicles = {opening.vehicle_id, closing.vehicle_id} - {None}
        return len(vehicles) <= 1

    def _close(self, opening: RideTap, closing: RideTap) -> None:
        tariff = self._book.tariff_at(opening.tapped_at)
        network = tariff.network(opening.network) if tariff else None
        if tariff is None or network is None:
            self._leave_open(closing)
            self._exit_alone(closing)
            return
        leg = _leg(opening, closing, via_stops=self.state.via_stops)
        stay = closing.tapped_at - opening.tapped_at
        allowed = network.always_allowed or self._time_allowed(leg, tariff, network)
        is_late = stay > allowed and not any(
            disruption.waives_journey_time and touches(disruption, leg, tariff)
            for disruption in tariff.file.disruptions
        )
        time = network.journey_time
        if is_late and (time is None or time.over == "incomplete"):
            self._leave_open(closing)
            self._exit_alone(closing)
            return
        self.state = structs.replace(self.state, open_tap=None, via_stops=())
        band = (
            tariff.same_stop_band(network, leg, stay) if _is_same_stop(opening, closing) else None
        )
        if band is not None and band.charge != "ride":
            self._same_stop(opening, closing, band, network)
            return
        if is_late:
            leg = structs.replace(leg, over_minutes=minutes_begun(stay - allowed))
        self._charge(leg, opening, closing)

    def _time_allowed(self, leg: Leg, tariff: CompiledTariff, network: NetworkRules) -> timedelta:
        plan, fare_fen = tariff.plan_of(leg), None
        if network.journey_time and network.journey_time.by_fare:
            fares = FullFares(leg, plan, tariff)
            fare = fares.full_fare(plan, fares.trip(plan.facts, plan, None, None))
            fare_fen = None if isinstance(fare, FareRefusal) else fare
        return network.time_allowed(plan.span, tariff.timeframes.at(leg.boarded_at), fare_fen)

    def _same_stop(
        self, opening: RideTap, closing: RideTap, band: SameStopExit, network: NetworkRules
    ) -> None:
        before, state = set(self.charges), self.state
        if band.charge in ("incomplete", "two_incomplete"):
            left = opening.left_by(closing)
            self._charge(_leg(left, left, missing="exit"), left, left)
            if band.charge == "two_incomplete":
                self._charge(_leg(closing, closing, missing="entry"), closing, closing)
        else:
            amount = int(band.amount or 0) * closing.riders_count
            line = QuoteLine(network.same_stop_id, Fen(amount), network.reference)
            quote = quote_of((line,), network.same_stop_id, self._tariff_id(opening))
            self.journeys[opening.tap_id] = self.journeys[closing.tap_id] = opening.tap_id
            self._put(closing, closing.tapped_at, quote)
        if band.cancelled_by_entry_minutes is not None and opening.stop_id is not None:
            charged = tuple(key for key in self.charges if key not in before)
            until = closing.tapped_at + timedelta(minutes=band.cancelled_by_entry_minutes)
            where = opening.stop_id if band.cancelled_at == "same_stop" else None
            reentry = Reentry(
                network.id,
                where,
                until,
                charged,
                state.trail,
                state.journey,
                state.windows,
                state.uses,
            )
            self.state = structs.replace(self.state, reentry=reentry)

    def _tariff_id(self, tap: RideTap) -> str:
        tariff = self._book.tariff_at(tap.tapped_at)
        return tariff.tariff_id if tariff else ""

    def _take_back(self, tap: RideTap) -> None:
        """A charge for leaving at once is taken back from the rider who enters again."""
        reentry = self.state.reentry
        if reentry is None:
            return
        is_there = tap.network == reentry.network and reentry.stop_id in (None, tap.stop_id)
        if is_there and tap.tapped_at <= reentry.until:
            for key in reentry.charged:
                self.charges.pop(key, None)
            self.state = structs.replace(
                self.state,
                trail=reentry.trail,
                journey=reentry.journey,
                windows=reentry.windows,
                uses=self.state.uses if reentry.uses is None else reentry.uses,
            )
        self.state = structs.replace(self.state, reentry=None)

    def _leave_open(self, tap: RideTap | None = None) -> None:
        """Charge the open leg, if there is one, as a leg that was never closed."""
        opening = self.state.open_tap
        if opening is None:
            return
        opening = opening.left_by(tap) if tap else opening
        via_stops = self.state.via_stops
        self.state = structs.replace(self.state, open_tap=None, via_stops=())
        usual = self._usual_end(opening, "from_stop")
        if usual is None:
            self._charge(
                _leg(opening, opening, via_stops=via_stops, missing="exit"), opening, opening
            )
        else:
            leg = _leg(opening, opening, via_stops=via_stops)
            leg = structs.replace(leg, to_stop=usual, is_completed=True)
            self._charge(leg, opening, opening)

    def _exit_alone(self, closing: RideTap) -> None:
        usual = self._usual_end(closing, "to_stop")
        if usual is None:
            self._charge(_leg(closing, closing, missing="entry"), closing, closing)
        else:
            leg = _leg(closing, closing)
            leg = structs.replace(leg, from_stop=usual, to_stop=closing.stop_id, is_completed=True)
            self._charge(leg, closing, closing)

    def _usual_end(self, tap: RideTap, known_end: str) -> str | None:
        """Where the rider usually comes from, or goes to, when one end of a leg is known."""
        network = self._network(tap)
        completion = network.completion if network else None
        if completion is None or tap.stop_id is None:
            return None
        since = self._book.service_day_of(tap.tapped_at) - timedelta(days=completion.within_days)
        other_end = "to_stop" if known_end == "from_stop" else "from_stop"
        counts: dict[str, int] = {}
        for habit in self.state.habits:
            if (
                habit.network == tap.network
                and getattr(habit, known_end) == tap.stop_id
                and habit.day >= since
            ):
                end = getattr(habit, other_end)
                counts[end] = counts.get(end, 0) + 1
        usual = max(sorted(counts), key=lambda end: counts[end], default=None)
        return usual if usual is not None and counts[usual] >= completion.legs_min else None

    def _charge(self, leg: Leg, opening: RideTap, charged: RideTap) -> None:
        day = self._book.service_day_of(leg.boarded_at)
        tariff, priced = self._price(leg, day, opening.tap_id)
        if isinstance(priced, FareRefusal):
            self.refused[charged.tap_id] = priced
            return
        assert tariff is not None
        quote = priced.quote
        if leg.is_completed:
            network = tariff.networks[leg.network]
            line = QuoteLine(network.completion_id, Fen(0), network.reference)
            quote = structs.replace(quote, lines=(*quote.lines, line))
        # A leg never closed that costs nothing is no sale; a free ride is one.
        is_sale = quote.fare_fen or quote.rider_fen or len(quote.lines) > 1
        if is_sale or leg.missing != "exit":
            purses = tariff.plan_of(leg).purses if tariff.purse_rules else ()
            shared = (
                shared_leg(leg, tariff, priced.past.journey_id, quote)
                if tariff.shares_fares
                else None
            )
            self._put(charged, charged.tapped_at, quote, purses, shared)
        self.journeys[charged.tap_id] = priced.past.journey_id
        if opening is not charged:
            self.journeys[opening.tap_id] = priced.past.journey_id
        self._remember(leg, priced, tariff, day)

    def _price(
        self, leg: Leg, day: date, journey_id: UUID
    ) -> tuple[CompiledTariff | None, Priced | FareRefusal]:
        """Price a leg by the tariff in force, or by either where a change falls into it."""
        earlier = self._book.tariff_at(leg.boarded_at)
        later = self._book.tariff_at(leg.alighted_at) if leg.alighted_at else earlier
        if earlier is None or later is None:
            return None, FareRefusal.NO_TARIFF

        def by(tariff: CompiledTariff) -> Priced | FareRefusal:
            return price_leg(leg, tariff, self.state, day=day, journey_id=journey_id)

        journey = self.state.journey
        began = self._book.tariff_at(journey.boarded_at) if journey else None
        if began is not None and began is not earlier:
            joined = by(began)
            if isinstance(joined, Priced) and joined.is_joined:
                earlier = began
        priced = by(earlier)
        if later is earlier or later.file.journeys_under_way == "old":
            return earlier, priced
        other = by(later)
        if later.file.journeys_under_way == "new" or isinstance(priced, FareRefusal):
            return later, other
        if isinstance(other, FareRefusal) or other.quote.rider_fen >= priced.quote.rider_fen:
            return earlier, priced
        return later, other

    def _put(
        self,
        tap: RideTap,
        effective_at: datetime,
        quote: Quote,
        purses: tuple[PurseTerms, ...] = (),
        shared: SharedLeg | None = None,
    ) -> None:
        day = self._book.service_day_of(tap.tapped_at)
        charge = Charge(tap.tap_id, tap.operator_id, effective_at, day, quote, purses, shared)
        self.charges[charge.key] = charge

    def _remember(self, leg: Leg, priced: Priced, tariff: CompiledTariff, day: date) -> None:
        state = self.state
        earliest = leg.boarded_at - tariff.lookback
        trail = [each for each in state.trail if each.last_tap_at >= earliest]
        habits = state.habits
        is_complete = leg.missing is None and not leg.is_completed
        has_habits = tariff.networks[leg.network].completion is not None
        if has_habits and is_complete and leg.from_stop and leg.to_stop:
            habits = (*habits, Habit(leg.network, leg.from_stop, leg.to_stop, day))[-HABITS_MAX:]
        self.state = structs.replace(
            state,
            trail=(*trail, priced.past)[-TRAIL_LEGS_MAX:],
            journey=priced.journey,
            windows={**state.windows, **priced.windows} if priced.windows else state.windows,
            uses={**state.uses, **priced.uses} if priced.uses else state.uses,
            habits=habits,
        )


class Step(Struct, frozen=True):
    """What one tap of a rider comes to after what was remembered before it, and nothing else."""

    tap: RideTap
    before: RiderState
    after: RiderFold


def _step(tap: RideTap, before: RiderState, book: TariffBook, steps: dict[UUID, Step]) -> Step:
    """Take a tap, unless the same one has been taken after the very same already."""
    known = steps.get(tap.tap_id)
    if known is not None:
        is_same = known.tap is tap and known.before is before
        if is_same or (known.tap, known.before) == (tap, before):
            return known
    after = RiderFold(book, before)
    after._take(tap)
    steps[tap.tap_id] = found = Step(tap, before, after)
    return found


def carried(state: RiderState, book: TariffBook, starts_at: datetime) -> RiderState:
    """What of a rider's memory still matters to a service day that begins at an instant."""
    # A leg that is open then belongs to the day and the moment of its entry.
    begins_at = state.open_tap.tapped_at if state.open_tap else starts_at
    tariff = book.tariff_at(begins_at)
    if tariff is None:
        return state
    earliest = begins_at - tariff.lookback
    trail = tuple(past for past in state.trail if past.last_tap_at >= earliest)
    journey = state.journey if trail else None
    # A leg that is joined to others counts for the moment of their first boarding.
    counted_at = min(begins_at, journey.boarded_at) if journey else begins_at
    day = book.service_day_of(counted_at)
    since = day - timedelta(
        days=max(
            (n.completion.within_days for n in tariff.networks.values() if n.completion), default=0
        )
    )
    last = state.last_tap
    network = tariff.network(last.network or "") if last else None
    may_beep = (
        last is not None
        and network is not None
        and (starts_at - last.tapped_at <= network.pass_back)
    )
    windows = {
        key: window
        for key, window in state.windows.items()
        if (rule := tariff.accumulators.get(rule_of(key))) is not None
        and not is_over(rule.period, window, day, counted_at)
    }
    return RiderState(
        open_tap=state.open_tap,
        via_stops=state.via_stops,
        last_tap=last if may_beep else None,
        trail=trail,
        journey=journey,
        windows=windows,
        uses=state.uses,
        habits=tuple(habit for habit in state.habits if habit.day >= since),
        # A charge of a day before is not taken back.
        reentry=None,
    )


def _is_same_tap(first: LastTap, second: RideTap, network: NetworkRules | None) -> bool:
    return (
        network is not None
        and bool(network.pass_back)
        and first.action is second.action
        and first.place == second.place
        and second.tapped_at - first.tapped_at <= network.pass_back
    )


def _is_same_stop(opening: RideTap, closing: RideTap) -> bool:
    return opening.stop_id is not None and opening.stop_id == closing.stop_id


def _leg(
    first: RideTap, last: RideTap, *, via_stops: tuple[str, ...] = (), missing: str | None = None
) -> Leg:
    named_fare = last.full_fare if last.full_fare is not None else first.full_fare
    is_one_tap = first is last
    has_end = not is_one_tap or missing == "entry"
    # With more names than these, CPython 3.11 would make a dictionary of them first.
    return Leg(
        last.network,
        last.operator_id,
        last.rider_category,
        last.fare_media,
        first.tapped_at,
        None if is_one_tap else last.tapped_at,
        None if missing == "entry" else first.stop_id,
        last.stop_id if has_end else None,
        via_stops=via_stops,
        route_id=last.route_id or first.route_id,
        vehicle_id=last.vehicle_id or first.vehicle_id,
        gate_fare_fen=None if named_fare is None else Fen(named_fare),
        distance_m=last.distance_m,
        carriage_class=last.carriage_class,
        riders_count=last.riders_count,
        transfer_proven=last.transfer_proven or first.transfer_proven,
        missing=missing,
        issuer_id=last.issuer_id,
        coupons=last.coupons,
        without=(*first.without, *last.without) if first.without else last.without,
    )
