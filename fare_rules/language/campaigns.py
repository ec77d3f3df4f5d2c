"""campaigns.yaml, beside the tariffs: which promotions a sponsor pays for, and how much of them."""

from typing import Annotated

from msgspec import Meta

from fare_rules.language.conditions import Ids
from fare_rules.language.scalars import Count, Id, Moment, Money, Quota, Record


class Claims(Record, frozen=True, kw_only=True):
    """Coupons that riders claim at the desk."""

    count: Annotated[Quota | None, Meta(description="So many in all; any number if left out.")] = (
        None
    )
    per_rider: Annotated[
        Count | None, Meta(description="So many for one wallet; any number if left out.")
    ] = None
    begins: Annotated[Moment | None, Meta(description="First moment to claim, local.")] = None
    ends: Annotated[Moment | None, Meta(description="First moment after, local.")] = None


class CampaignMoney(Record, frozen=True, kw_only=True):
    """One campaign. What its promotions take off, the sponsor pays until the money is gone."""

    id: Annotated[Id, Meta(description="A name of your own choice; it stands in the ledger.")]
    reference: Annotated[str, Meta(description="The contract.")]
    sponsor: Annotated[Id, Meta(description="Who pays; it bears the promotions, too.")]
    promotions: Annotated[
        Ids, Meta(min_length=1, description="Promotions of the tariff that it pays for.")
    ]
    budget: Annotated[Money | None, Meta(description="So much in all; no limit if left out.")] = (
        None
    )
    uses: Annotated[
        Quota | None, Meta(description="So many rides in all; any number if left out.")
    ] = None
    claims: Annotated[Claims, Meta(description="Coupons, where riders claim them.")] = Claims()


class Campaigns(Record, frozen=True, kw_only=True):
    """All campaigns."""

    campaigns: Annotated[
        tuple[CampaignMoney, ...], Meta(min_length=1, description="Each campaign.")
    ]
