"""What money that is bound to a purpose may pay for: red envelopes, coupons, subsidies, prepaid."""

from typing import Annotated, Literal

from msgspec import Meta

from fare_rules.language.conditions import Rule
from fare_rules.language.scalars import Count, Money

PurseKind = Literal["red_envelope", "coupon", "purpose_bound", "prepaid"]
KINDS: tuple[PurseKind, ...] = ("red_envelope", "coupon", "purpose_bound", "prepaid")

SpentBy = Literal["expiry", "restriction", "kind"]
SPENT_BY: tuple[SpentBy, ...] = ("expiry", "restriction", "kind")


class PurseRule(Rule, frozen=True, kw_only=True):
    """Rides that a purse of this kind may pay for; the money in it lies in each rider's wallet."""

    kind: Annotated[PurseKind, Meta(description="What the money is, as riders know it.")]
    ride_max: Annotated[
        Money | None,
        Meta(description="It pays so much of one ride at most; the whole if left out."),
    ] = None
    rides_per_day: Annotated[
        Count | None, Meta(description="It pays for so many rides of a service day; any number.")
    ] = None
