"""Which rules of a tariff remember rides, and how: found once, when it is compiled."""

from datetime import timedelta
from typing import Literal

from fare_rules.language.discounts import Accumulating, Trailing
from fare_rules.language.tariff import Tariff


def accumulators(tariff: Tariff) -> dict[str, Accumulating]:
    """The rules with a memory."""
    return {rule.id: rule for rule in (*tariff.fare_tiers, *tariff.fare_caps, *tariff.subsidies)}


def counts_apart(tariff: Tariff) -> dict[str, Literal["route", "stops"]]:
    """Those that keep one for each route, or for each two stops."""
    return {
        rule.id: rule.for_each
        for rule in (*tariff.fare_tiers, *tariff.subsidies)
        if rule.for_each is not None
    }


def trailing(tariff: Tariff) -> frozenset[str]:
    """Those that count the days just behind each ride."""
    rules = accumulators(tariff).values()
    return frozenset(rule.id for rule in rules if isinstance(rule.period, Trailing))


def counts_journeys(tariff: Tariff) -> frozenset[str]:
    """Those of which it must be known what journeys were counted."""
    joins = bool(tariff.fare_leg_join_rules)
    return frozenset(
        [cap.id for cap in tariff.fare_caps if cap.rides is not None]
        + [
            tier.id
            for tier in tariff.fare_tiers
            if joins or any(step.after_rides is not None for step in tier.steps)
        ]
        + [subsidy.id for subsidy in tariff.subsidies if subsidy.steps]
    )


def lookback(tariff: Tariff) -> timedelta:
    """How long a leg that is over can still matter to the next."""
    windows = [
        *(
            rule.window_minutes + (60 if rule.window_starts == "next_full_hour" else 0)
            for rule in tariff.fare_transfer_rules
        ),
        *(rule.window_minutes for rule in tariff.fare_leg_join_rules),
        *(pair.minutes or 0 for rule in tariff.fare_leg_join_rules for pair in rule.pairs),
        *(rule.same_place_minutes for rule in accumulators(tariff).values()),
    ]
    return timedelta(minutes=max(windows, default=0))
