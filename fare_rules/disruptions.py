"""Declared hours of trouble: which legs fall into them."""

from fare_rules.compiled import CompiledTariff
from fare_rules.language.journeys import Disruption
from fare_rules.legs import Leg


def touches(rule: Disruption, leg: Leg, tariff: CompiledTariff) -> bool:
    """Whether a leg falls into a declared disruption."""
    campaign = tariff.campaigns[rule.id]
    ends = {leg.from_stop, leg.to_stop}
    return (
        (not rule.networks or leg.network in rule.networks)
        and (not rule.stops or not ends.isdisjoint(rule.stops))
        and (
            campaign.holds(leg.boarded_at)
            or campaign.holds(leg.last_tap_at)
            or leg.boarded_at < campaign.begins_at <= leg.last_tap_at
        )
    )
