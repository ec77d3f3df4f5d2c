"""clearing.yaml, beside the tariffs: how operators share what was paid, and what clearing costs."""

from typing import Annotated, Literal

from msgspec import Meta

from fare_rules.language.conditions import Ids
from fare_rules.language.scalars import Count, Id, Money, Percent, Record, RoundTo

ShareBy = Literal["own_fare", "distance", "table", "bearer"]


class Weight(Record, frozen=True, kw_only=True):
    """One operator's part of a table."""

    operator: Annotated[Id, Meta(description="Who has it.")]
    weight: Annotated[Count, Meta(description="So many parts of the sum of all weights.")]


class Agreement(Record, frozen=True, kw_only=True):
    """Rides whose fares are shared. Of the agreements that fit, the first one acts."""

    id: Annotated[Id, Meta(description="A name of your own choice; it stands in clearing_*.csv.")]
    reference: Annotated[str, Meta(description="The clause of the contract.")]
    by: Annotated[
        ShareBy,
        Meta(
            description="own_fare: all that a journey of several legs paid, by what each leg costs "
            "alone. distance: the same by kilometres. table: each ride, by the weights. bearer: "
            "what a change took off is borne by whom `bearers` says."
        ),
    ]
    products: Annotated[Ids, Meta(description="Fare products; any if left out.")] = ()
    operators: Annotated[
        Ids, Meta(description="Operators whose gates charged; any if left out.")
    ] = ()
    weights: Annotated[
        tuple[Weight, ...], Meta(description="For table, and for bearer where several bear it.")
    ] = ()
    bearers: Annotated[
        Literal["before", "after", "table"],
        Meta(description="Who bears what a change took off: the leg before, the leg after it."),
    ] = "before"


class Fee(Record, frozen=True, kw_only=True):
    """What an operator pays for being cleared, or an institution is paid for its wallets."""

    id: Annotated[Id, Meta(description="A name of your own choice; it stands in fees.csv.")]
    reference: Annotated[str, Meta(description="The clause of the contract.")]
    paid_to: Annotated[Id, Meta(description="The party that gets it: an operator's id.")]
    operators: Annotated[Ids, Meta(description="Who pays it; everybody if left out.")] = ()
    issuers: Annotated[
        Ids,
        Meta(
            description="Only for what wallets of these institutions paid, and for their rides; "
            "for all that was earned if left out."
        ),
    ] = ()
    percent: Annotated[
        Percent | None, Meta(description="Of what was earned, or what those wallets paid.")
    ] = None
    per_ride: Annotated[Money | None, Meta(description="For each ride.")] = None
    minimum: Annotated[Money | None, Meta(description="At least so much.")] = None
    maximum: Annotated[Money | None, Meta(description="At most so much.")] = None
    rounding: Annotated[
        RoundTo | None, Meta(description="Of the percentage; half up if left out.")
    ] = None


class PayoutTerms(Record, frozen=True, kw_only=True):
    """When an operator is paid."""

    operator: Annotated[Id, Meta(description="Whom it is about.")]
    minimum_payout: Annotated[
        Money | None, Meta(description="Less than this is carried into the next settlement.")
    ] = None


class Clearing(Record, frozen=True, kw_only=True):
    """All that is agreed between operators."""

    agreements: Annotated[tuple[Agreement, ...], Meta(description="What is shared.")] = ()
    fees: Annotated[tuple[Fee, ...], Meta(description="What clearing costs.")] = ()
    payouts: Annotated[tuple[PayoutTerms, ...], Meta(description="When who is paid.")] = ()
