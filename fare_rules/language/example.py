"""The language of examples.yaml: situations in an operator's words, with what they must cost."""

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta

from fare_rules.language.scalars import (
    Count,
    Id,
    Kilometres,
    Moment,
    Money,
    Record,
    Zones,
    _text,
    no_money,
)

At = Annotated[
    str,
    _text(
        r"^(\d{4}-\d{2}-\d{2} )?([01]\d|2\d):[0-5]\d(:[0-5]\d)?$",
        "a time such as 08:35, of another day 2026-01-31 08:35; 25:10 is ten past one",
    ),
]


class ExampleCoupon(Record, frozen=True, kw_only=True):
    """A coupon that the rider has activated."""

    promotion: Annotated[Id, Meta(description="The promotion it is of.")]
    activated: Annotated[Moment, Meta(description="When, local.")]
    used: Annotated[int, Meta(ge=0, description="How often this coupon was used before.")] = 0


class ExampleRider(Record, frozen=True, kw_only=True):
    """Who rides, and with what."""

    category: Annotated[Id | None, Meta(description="Rider category; the default one.")] = None
    media: Annotated[Id | None, Meta(description="Fare media; the first of the tariff.")] = None
    issuer: Annotated[Id, Meta(description="Operating institution of the wallet.")] = ""
    coupons: Annotated[tuple[ExampleCoupon, ...], Meta(description="Activated coupons.")] = ()


class ExampleBefore(Record, frozen=True, kw_only=True):
    """What a tier, cap, promotion or subsidy remembers when the example begins."""

    rule: Annotated[Id, Meta(description="The rule.")]
    spent: Annotated[Money, Meta(description="Spent in its period so far.")] = no_money()
    rides: Annotated[int, Meta(ge=0, description="Rides, or uses, so far.")] = 0
    zones: Annotated[Zones | None, Meta(description="Zones travelled so far.")] = None
    network: Annotated[Id | None, Meta(description="With for_each: route, of which network.")] = (
        None
    )
    route: Annotated[Id | None, Meta(description="With for_each: route, of which.")] = None
    stops: Annotated[
        tuple[Id, ...], Meta(description="With for_each: stops, between which two.")
    ] = ()
    since: Annotated[
        Moment | None,
        Meta(
            description="When a rolling period, or the first use, began: the example's first tap."
        ),
    ] = None


class ExampleTap(Record, frozen=True, kw_only=True):
    """A tap, and what is charged for it once the whole example has happened."""

    at: Annotated[At, Meta(description="Local time, of the example's day if no other is said.")]
    tap: Annotated[
        Literal["enter", "exit", "board", "alight", "touch"],
        Meta(description="What the rider does; touch is a route validator on the way."),
    ]
    network: Annotated[Id, Meta(description="Network of the gate.")]
    stop: Annotated[Id | None, Meta(description="Stop of the gate.")] = None
    route: Annotated[Id | None, Meta(description="Route of the vehicle.")] = None
    vehicle: Annotated[Id | None, Meta(description="The vehicle.")] = None
    operator: Annotated[Id, Meta(description="Operator of the gate.")] = "operator"
    full_fare: Annotated[Money | None, Meta(description="The full fare, if the gate names it.")] = (
        None
    )
    distance_km: Annotated[
        Kilometres | None, Meta(description="The distance, if the gate measures it.")
    ] = None
    carriage_class: Annotated[Id, Meta(description="Class of carriage.")] = "ordinary"
    riders: Annotated[Count, Meta(description="Riders on this one tap; of two, the exit's.")] = 1
    transfer_proven: Annotated[bool, Meta(description="The card proves its last ride.")] = False
    fare: Annotated[
        Money | None, Meta(description="Expected: what all pay for this tap together.")
    ] = None
    lines: Annotated[
        tuple[str, ...] | None,
        Meta(description="Expected: its steps: `metro_ride 2.00`, `one_cent -1.99 by icbc`."),
    ] = None
    pays: Annotated[
        dict[str, Money] | None,
        Meta(description="Expected: all who pay something of it, the `rider` and sponsors."),
    ] = None
    purses: Annotated[
        tuple[Id, ...] | None,
        Meta(description="Expected: by which purse rules money bound to a purpose may pay it."),
    ] = None
    refusal: Annotated[
        Id | None, Meta(description="Expected: why it has no price, such as `no_fare_rule`.")
    ] = None


class Example(Record, frozen=True, kw_only=True):
    """One situation. What is not expected is not looked at; something must be."""

    name: Annotated[str, Meta(description="The situation in a few words.")]
    reference: Annotated[str, Meta(description="The clause that it shows.")] = ""
    day: Annotated[
        date | None, Meta(description="Day of its clocks; the first tariff's first day.")
    ] = None
    rider: Annotated[ExampleRider, Meta(description="Who rides.")] = ExampleRider()
    before: Annotated[tuple[ExampleBefore, ...], Meta(description="What went before.")] = ()
    taps: Annotated[tuple[ExampleTap, ...], Meta(min_length=1, description="In any order.")]
    total: Annotated[
        Money | None, Meta(description="Expected: the sum over all taps, whoever pays.")
    ] = None
    pays: Annotated[
        dict[str, Money] | None, Meta(description="Expected: all who pay something of the total.")
    ] = None
    subsidies: Annotated[
        dict[str, Money] | None,
        Meta(description="Expected: what each subsidy gives back for its period so far."),
    ] = None
    leg_under_way: Annotated[
        bool,
        Meta(description="The last leg may still be closed; otherwise its exit never comes."),
    ] = False
