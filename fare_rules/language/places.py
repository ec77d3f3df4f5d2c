"""Where and when: stops, zones, areas, networks, timeframes, holidays."""

from datetime import date
from typing import Annotated, Literal, get_args

from msgspec import Meta

from fare_rules.language.conditions import Ids, LegConditions, Named
from fare_rules.language.scalars import (
    Clock,
    Count,
    CsvName,
    Id,
    Kilometres,
    Minutes,
    Money,
    Percent,
    Record,
    ZoneId,
    Zones,
    no_money,
)

Taps = Literal["enter_exit", "board", "board_alight"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)
WORKDAYS = frozenset(WEEKDAYS[:5])


class Stop(Record, frozen=True, kw_only=True):
    """A stop or station, by the id that gates send."""

    id: Annotated[Id, Meta(description="The id that gates send.")]
    name: Annotated[str, Meta(description="What people call it.")] = ""
    zones: Annotated[
        tuple[ZoneId, ...],
        Meta(description="Its zone. With two, on a boundary, the cheaper one counts."),
    ] = ()
    areas: Annotated[Ids, Meta(description="Areas that it belongs to.")] = ()


class Area(Named, frozen=True, kw_only=True):
    """A group of stops (GTFS areas and stop_areas)."""

    stops: Annotated[
        Ids, Meta(description="Its stops, besides those whose own record names it.")
    ] = ()


class HolidayCalendar(Record, frozen=True, kw_only=True):
    """Public holidays: those of a country, and the days that the operator says itself."""

    country: Annotated[
        str | None, Meta(description="ISO 3166 code, such as GB; the holidays library knows it.")
    ] = None
    subdivision: Annotated[
        str | None, Meta(description="Part of the country with holidays of its own, such as ENG.")
    ] = None
    also: Annotated[
        tuple[date, ...],
        Meta(
            description="Days that are holidays, whatever the library says; all of them, where the "
            "notice names its holidays itself, and country is left out."
        ),
    ] = ()
    never: Annotated[
        tuple[date, ...], Meta(description="Days that are none, whatever the library says.")
    ] = ()
    workdays: Annotated[
        tuple[date, ...],
        Meta(description="Weekend days that are worked: they belong to hours of mon to fri, too."),
    ] = ()


class TimeframePeriod(Record, frozen=True, kw_only=True):
    """Some hours of some weekdays."""

    start: Annotated[Clock, Meta(description="First minute.")] = "00:00"
    end: Annotated[Clock, Meta(description="First minute after it; 24:00 is midnight.")] = "24:00"
    days: Annotated[tuple[Weekday, ...], Meta(description="Weekdays; every day if left out.")] = ()


class Timeframe(Named, frozen=True, kw_only=True):
    """A named part of the week (GTFS timeframes)."""

    periods: Annotated[
        tuple[TimeframePeriod, ...], Meta(min_length=1, description="Its hours; any of them.")
    ]
    holidays: Annotated[
        Literal["as_usual", "excluded", "included", "only"],
        Meta(
            description="What a public holiday is: a day as_usual; excluded from the timeframe; "
            "included with its hours whatever the weekday; or the only days of it."
        ),
    ] = "as_usual"
    first_day: Annotated[date | None, Meta(description="It has no hours before this day.")] = None
    last_day: Annotated[date | None, Meta(description="It has no hours after this day.")] = None
    day: Annotated[
        Literal["calendar", "service"],
        Meta(
            description="Whose day and clock count: the calendar's, or the service day's, where "
            "25:10 is ten past one at night of the day before."
        ),
    ] = "calendar"

    @property
    def season(self) -> tuple[date, date]:
        """Its first and last day."""
        return self.first_day or date.min, self.last_day or date.max


class ZoneMinutes(Record, frozen=True, kw_only=True):
    """The time allowed within a run of zones."""

    zones: Annotated[Zones, Meta(description="The run of zones that the journey stays within.")]
    minutes: Annotated[Minutes, Meta(description="Time allowed.")]


class FareMinutes(Record, frozen=True, kw_only=True):
    """The time allowed for a fare."""

    up_to: Annotated[Money, Meta(description="Full fares up to this.")]
    minutes: Annotated[Minutes, Meta(description="Time allowed.")]


class LongerTime(Record, frozen=True, kw_only=True):
    """More time at some hours."""

    timeframes: Annotated[Ids, Meta(min_length=1, description="Where the entry falls in one.")]
    percent: Annotated[Percent, Meta(description="How much longer: 10 makes 100 minutes 110.")]


class JourneyTime(Record, frozen=True, kw_only=True):
    """How long a rider may stay between entry and exit, both ends included."""

    minutes: Annotated[Minutes, Meta(description="Time allowed where no run of zones says it.")]
    by_zones: Annotated[
        tuple[ZoneMinutes, ...],
        Meta(description="Time by zones travelled; the narrowest run that holds them counts."),
    ] = ()
    by_fare: Annotated[
        tuple[FareMinutes, ...],
        Meta(
            description="Time by the leg's own full fare, where no run of by_zones says it; the "
            "first that reaches it counts."
        ),
    ] = ()
    longer: Annotated[
        tuple[LongerTime, ...], Meta(description="More time at some hours; the first that fits.")
    ] = ()
    round_up_to_minutes: Annotated[
        Count, Meta(description="A longer time is rounded up to a multiple of this.")
    ] = 1
    over: Annotated[
        Literal["incomplete", "ride"],
        Meta(
            description="What a longer stay is: two incomplete legs, or a ride all the same, on "
            "which surcharges with over_time are due."
        ),
    ] = "incomplete"


class SameStopExit(LegConditions, frozen=True, kw_only=True):
    """What an exit at the stop of entry comes to, by the minutes between the two taps."""

    up_to_minutes: Annotated[
        Minutes | None, Meta(description="Minutes, included; the last band has no end.")
    ] = None
    charge: Annotated[
        Literal["ride", "free", "amount", "incomplete", "two_incomplete"],
        Meta(
            description="A ride of no distance; free; a fixed amount that is no fare, so nothing "
            "is added to it or taken off, and no cap counts it; one incomplete leg, charged at the "
            "entry; or two, one at each tap."
        ),
    ]
    amount: Annotated[Money | None, Meta(description="With charge: amount.")] = None
    cancelled_by_entry_minutes: Annotated[
        Minutes | None,
        Meta(description="Entering again within this takes the charge back."),
    ] = None
    cancelled_at: Annotated[
        Literal["same_stop", "any_stop"], Meta(description="Where one must enter again for that.")
    ] = "same_stop"


# So many are remembered of a rider; a habit of more would never be seen.
HABITS_MAX = 40


class Completion(Record, frozen=True, kw_only=True):
    """A missing tap is taken from the rider's own habit (GTFS has no such thing)."""

    legs_min: Annotated[
        Annotated[int, Meta(ge=1, le=HABITS_MAX)],
        Meta(
            description="So many complete legs between the same two stops make a habit, among the "
            f"rider's newest {HABITS_MAX} on networks with a completion."
        ),
    ]
    within_days: Annotated[
        Annotated[int, Meta(ge=1, le=60)], Meta(description="Days that are looked back.")
    ] = 28


class Network(Named, frozen=True, kw_only=True):
    """A group of lines that are tapped, and travelled, in one way."""

    taps: Annotated[
        Taps,
        Meta(
            description="board: riders tap on only; board_alight: on and off the vehicle; "
            "enter_exit: in and out at gates."
        ),
    ]
    reference: Annotated[str, Meta(description="The clause with the terms below.")]
    links: Annotated[
        CsvName | None,
        Meta(description="from_stop,to_stop,distance_m; both ways. Distance is the shortest path."),
    ] = None
    distances: Annotated[
        CsvName | None,
        Meta(description="from_stop,to_stop,distance_m; one row a pair. Goes before links."),
    ] = None
    route_stops: Annotated[
        CsvName | None,
        Meta(
            description="route_id,stop_id,stop_sequence and, if known, distance_m from the start: "
            "for fares by the number of stops, or by distance along the route."
        ),
    ] = None
    distance_max_km: Annotated[
        Kilometres | None, Meta(description="A longer leg counts as being of this distance.")
    ] = None
    zones_travelled: Annotated[
        Literal["ends", "path"],
        Meta(
            description="Which zones a leg counts as travelled: those of its two ends, or all "
            "along the shortest path over links, by way of the route validators touched."
        ),
    ] = "ends"
    minimum_balance: Annotated[
        Money, Meta(description="What a purse must hold to begin a leg.")
    ] = no_money()
    no_minimum_balance: Annotated[
        Ids, Meta(description="Fare media that need no money to begin: passes, free travel.")
    ] = ()
    hold_at_entry: Annotated[
        Money,
        Meta(
            description="What is kept of a purse from the entry to the exit, such as the dearest "
            "fare: other rides and transfers cannot spend it. For each rider of the leg."
        ),
    ] = no_money()
    pass_back_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=3600,
            description="A like tap of the same media at the same place within this is the same "
            "tap again; 0 is never.",
        ),
    ] = 0
    journey_time: Annotated[
        JourneyTime | None, Meta(description="Time allowed inside; needed where riders tap out.")
    ] = None
    same_stop_exit: Annotated[
        tuple[SameStopExit, ...],
        Meta(description="Exits at the stop of entry; if left out, each is a ride of no distance."),
    ] = ()
    completion: Annotated[
        Completion | None, Meta(description="Whether a missing tap is taken from habit.")
    ] = None
