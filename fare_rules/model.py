"""A tariff as its file says it, key by key.

The map: Tariff holds lists of records; each record has an `id`, so that every fault and every quote
line can name it. What may be left out has a default here. README.md explains the keys in words.
"""

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta, Struct

from fare_rules.money import Fen, Rounding

# Far above any fare, and far below what a 64-bit column holds even after a year of sums.
AMOUNT_FEN_MAX = 1_000_000_000

Id = Annotated[
    str, Meta(pattern=r"^\S(.{0,78}\S)?$", description="a name of 1 to 80 characters, not blank")
]
Amount = Annotated[Fen, Meta(ge=0, le=AMOUNT_FEN_MAX)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Metres = Annotated[int, Meta(ge=1)]
Priority = Annotated[int, Meta(ge=0)]
TimeOfDay = Annotated[
    str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="a time of day such as 04:00")
]
CurrencyCode = Annotated[
    str, Meta(pattern=r"^[A-Z]{3}$", description="a currency code such as CNY")
]
# A bare name: a tariff reads nothing outside its own folder.
CsvName = Annotated[
    str, Meta(pattern=r"^[\w-]+\.csv$", description="the name of a CSV file in the same folder")
]
Taps = Literal["enter_exit", "board", "board_alight"]


class _Record(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A group of keys in a tariff file."""


class Named(_Record, frozen=True):
    """A name that rules may use: an operator, a carriage class, a fare media."""

    id: Id


class RiderCategory(Named, frozen=True):
    """A kind of rider. Exactly one is the default."""

    default: bool = False


class Network(Named, frozen=True):
    """A group of lines that are tapped, and travelled, in one way."""

    taps: Taps
    reference: str
    links: CsvName | None = None
    minimum_balance_fen: Amount = Fen(0)
    pass_back_seconds: Annotated[int, Meta(ge=0, le=3600)] = 0
    journey_minutes_max: Annotated[int, Meta(ge=1, le=1440)] | None = None
    unclosed_leg_fen: Amount | None = None
    unmatched_exit_fen: Amount | None = None


class Flat(_Record, frozen=True, tag="flat", tag_field="kind"):
    """One fare, however far."""

    amount_fen: Amount


class DistanceBand(_Record, frozen=True):
    """The fare up to and including a distance."""

    up_to_m: Metres
    amount_fen: Amount


class Beyond(_Record, frozen=True):
    """What is added for every distance, begun or whole, past the last band."""

    every_m: Metres
    add_fen: Amount


class DistanceBands(_Record, frozen=True, tag="distance_bands", tag_field="kind"):
    """A fare that rises with the distance."""

    bands: Annotated[tuple[DistanceBand, ...], Meta(min_length=1)]
    beyond: Beyond | None = None


class GateNames(_Record, frozen=True, tag="gate_names", tag_field="kind"):
    """Only the gate knows the fare."""


class Multiple(_Record, frozen=True, tag="multiple", tag_field="kind"):
    """Another product's fare, some times over."""

    of_product: Id
    times: Annotated[int, Meta(ge=1, le=100)]


Pricing = Flat | DistanceBands | GateNames | Multiple


class FareProduct(Named, frozen=True):
    """What is sold, and its full fare."""

    reference: str
    pricing: Pricing
    gate_may_name_fare: bool = False


class FareLegRule(Named, frozen=True):
    """Which legs need which product."""

    product: Id
    network: Id
    operator: Id | None = None
    route: Id | None = None
    carriage_class: Id | None = None
    from_stop: Id | None = None
    to_stop: Id | None = None
    priority: Priority = 0


class PaysPercent(_Record, frozen=True, tag="percent", tag_field="kind"):
    """One percentage of the full fare."""

    percent: Percent
    rounding: Rounding


class PercentBand(_Record, frozen=True):
    """The percentage of one part of the full fare; the last part has no end."""

    percent: Percent
    up_to_fen: Annotated[Fen, Meta(ge=1, le=AMOUNT_FEN_MAX)] | None = None


class PaysBands(_Record, frozen=True, tag="bands", tag_field="kind"):
    """A percentage of each part of the full fare; the sum is rounded once."""

    bands: Annotated[tuple[PercentBand, ...], Meta(min_length=1)]
    rounding: Rounding


class Concession(Named, frozen=True):
    """Who pays less than the full fare."""

    reference: str
    pays: PaysPercent | PaysBands
    products: tuple[Id, ...] = ()
    rider_categories: tuple[Id, ...] = ()
    fare_media: tuple[Id, ...] = ()
    priority: Priority = 0


class FareTransferRule(Named, frozen=True):
    """What a change of vehicles takes off the second leg."""

    reference: str
    from_networks: Annotated[tuple[Id, ...], Meta(min_length=1)]
    to_network: Id
    discount_fen: Amount
    window_minutes: Annotated[int, Meta(ge=0, le=1440)]
    different_route: bool = False
    proven: bool = False
    products: tuple[Id, ...] = ()
    rider_categories: tuple[Id, ...] = ()
    fare_media: tuple[Id, ...] = ()
    priority: Priority = 0


class Tariff(_Record, frozen=True):
    """One price list, from one service day on."""

    tariff: Id
    effective_from: date
    reference: str
    timezone: str
    service_day_starts: TimeOfDay
    currency: CurrencyCode
    rider_categories: Annotated[tuple[RiderCategory, ...], Meta(min_length=1)]
    fare_media: Annotated[tuple[Named, ...], Meta(min_length=1)]
    networks: Annotated[tuple[Network, ...], Meta(min_length=1)]
    fare_products: Annotated[tuple[FareProduct, ...], Meta(min_length=1)]
    fare_leg_rules: Annotated[tuple[FareLegRule, ...], Meta(min_length=1)]
    operators: tuple[Named, ...] = ()
    carriage_classes: tuple[Named, ...] = (Named(id="ordinary"),)
    concessions: tuple[Concession, ...] = ()
    fare_transfer_rules: tuple[FareTransferRule, ...] = ()
