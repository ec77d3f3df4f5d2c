"""Which legs a rule is for. A condition that is left out fits every leg."""

from typing import Annotated

from msgspec import Meta, field

from fare_rules.language.scalars import Id, Record, Zones

Ids = tuple[Id, ...]


def _of(description: str) -> Meta:
    return Meta(description=description + " Any, if left out.")


class LegConditions(Record, frozen=True, kw_only=True):
    """Which legs. All the conditions that are said must hold; each lists what it accepts."""

    networks: Annotated[Ids, _of("Networks the leg is ridden on.")] = ()
    operators: Annotated[Ids, _of("Operators whose gate charges the leg.")] = ()
    routes: Annotated[Ids, _of("Routes or lines, by the ids that gates send.")] = ()
    carriage_classes: Annotated[Ids, _of("Classes of carriage.")] = ()
    from_stops: Annotated[Ids, _of("Stops where the leg begins.")] = ()
    to_stops: Annotated[Ids, _of("Stops where the leg ends.")] = ()
    between_stops: Annotated[Ids, _of("Stops of which the leg joins two, either way round.")] = ()
    from_areas: Annotated[Ids, _of("Areas that hold the stop where the leg begins.")] = ()
    to_areas: Annotated[Ids, _of("Areas that hold the stop where the leg ends.")] = ()
    via_stops: Annotated[Ids, _of("Stops whose route validator was touched on the way.")] = ()
    within_zones: Annotated[
        Zones | None, _of("A run of zones, such as 2-6, that holds the whole leg.")
    ] = None
    rider_categories: Annotated[Ids, _of("Kinds of rider.")] = ()
    fare_media: Annotated[Ids, _of("Kinds of card, phone or ticket.")] = ()
    issuers: Annotated[Ids, _of("Institutions that operate the wallet which pays.")] = ()
    from_timeframes: Annotated[
        Ids,
        _of(
            "Timeframes that hold the first tap of the leg; of one joined to others, that of the "
            "journey, unless leg_by_leg."
        ),
    ] = ()
    to_timeframes: Annotated[Ids, _of("Timeframes that hold the last tap of the leg.")] = ()


class LegFilter(LegConditions, frozen=True, kw_only=True):
    """Which legs, products included."""

    products: Annotated[Ids, _of("Fare products of the leg.")] = ()


class Named(Record, frozen=True, kw_only=True):
    """A name that rules may use: an operator, a carriage class, a fare media."""

    id: Annotated[Id, Meta(description="A name of your own choice, unique in its section.")]
    name: Annotated[str, Meta(description="What people call it.")] = ""


class Clause(Record, frozen=True, kw_only=True):
    """A rule that answers to the official notice."""

    id: Annotated[
        Id, Meta(description="A name of your own choice; it stands on quotes and receipts.")
    ]
    reference: Annotated[str, Meta(description="The clause of the notice that the rule is from.")]


class Rule(LegFilter, frozen=True, kw_only=True):
    """A rule for some legs, from a clause of the notice."""

    id: Annotated[
        Id, Meta(description="A name of your own choice; it stands on quotes and receipts.")
    ]
    reference: Annotated[str, Meta(description="The clause of the notice that the rule is from.")]
    priority: Annotated[
        int, Meta(ge=0, description="Of the rules that fit, the one with the highest acts.")
    ] = 0
    except_: Annotated[
        tuple[LegFilter, ...],
        Meta(description="Legs that the rule is not for, though the conditions above fit them."),
    ] = field(name="except", default=())
