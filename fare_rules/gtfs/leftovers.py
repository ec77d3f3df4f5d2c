"""Which rules of a tariff GTFS has no words for, whatever they say."""

from collections.abc import Iterator

import msgspec

from fare_rules.language.places import Network
from fare_rules.language.tariff import STEPS, Tariff

# Sections of which GTFS has nothing, and what to call it.
_SECTIONS = {
    "incomplete_leg_rules": "what a missing tap costs",
    "fare_tiers": "rates by what was spent or ridden before",
    "fare_caps": "limits in a period",
    "promotions": "promotions and passes of sponsors",
    "subsidies": "money given back after a period",
    "disruptions": "hours of trouble",
}
_TERMS = ("name", "id", "reference", "taps", "links", "distances", "route_stops")


def left_out(tariff: Tariff) -> Iterator[str]:
    """Name every rule that is left out whole, and what is left out of others."""
    for section, what in _SECTIONS.items():
        for rule in getattr(tariff, section):
            yield f"{section} {rule.id}: GTFS cannot say {what}; left out"
    for network in tariff.networks:
        if terms := list(_terms(network)):
            yield f"networks {network.id}: GTFS cannot say {', '.join(terms)}"
    for concession in tariff.concessions:
        if concession.borne_by:
            yield f"concessions {concession.id}: GTFS cannot say who bears it"
    for media in tariff.fare_media:
        yield f"fare_media {media.id}: Its fare_media_type is taken to be 2, a transit card"
    if tariff.order != STEPS:
        yield f"order: GTFS cannot say the order of steps ({', '.join(tariff.order)})"
    if tariff.never_dearer_than:
        yield f"never_dearer_than: GTFS cannot compare tariffs ({tariff.never_dearer_than})"
    defaults = {field.name: field.default for field in msgspec.structs.fields(Tariff)}
    if tariff.journeys_under_way != defaults["journeys_under_way"]:
        yield "journeys_under_way: GTFS cannot say it"


def _terms(network: Network) -> Iterator[str]:
    for field in msgspec.structs.fields(Network):
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        if field.name not in _TERMS and getattr(network, field.name) != default:
            yield field.name
