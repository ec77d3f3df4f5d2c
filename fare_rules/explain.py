"""A price in words: each step with its rule, its place in the file, its clause, and who bears it.

The lines are plain text without alignment, so that a receipt, an answer of the API and the auditor
show the very same ones. The total, and what everybody pays of it, come last.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from msgspec import Struct

from fare_rules.amounts import said
from fare_rules.base_fare import FareRefusal
from fare_rules.book import TariffBook
from fare_rules.charges import Charge
from fare_rules.compiled import CompiledTariff
from fare_rules.fold import Fold
from fare_rules.price import NEVER_DEARER
from fare_rules.quotes import Quote

OPERATOR = "the operator"

# What the rules of each section do to a fare.
_STEPS = {
    "fare_products": "full fare",
    "incomplete_leg_rules": "leg without entry or exit",
    "disruptions": "leg in a disruption",
    "surcharges": "surcharge",
    "concessions": "concession",
    "fare_leg_join_rules": "joined to the legs before",
    "fare_transfer_rules": "transfer",
    "fare_tiers": "tier",
    "fare_caps": "cap",
    "promotions": "promotion",
}

REFUSALS = {
    FareRefusal.NO_TARIFF: "no tariff is in force then; ask for a later day, or add a tariff file",
    FareRefusal.UNKNOWN_NETWORK: "the tariff has no such network; see its `networks`",
    FareRefusal.UNKNOWN_RIDER_CATEGORY: "the tariff has no such rider category; see its "
    "`rider_categories`",
    FareRefusal.UNKNOWN_FARE_MEDIA: "the tariff has no such fare media; see its `fare_media`",
    FareRefusal.NO_FARE_RULE: "no rule says what such a leg costs; add one to `fare_leg_rules`, "
    "or to `incomplete_leg_rules` for a leg without entry or exit",
    FareRefusal.NO_GATE_FARE: "only the gate knows this fare, and it named none",
    FareRefusal.NO_DISTANCE: "the distance is not known; the network's tables must join the two "
    "stops, or the gate must measure it",
    FareRefusal.NO_ZONE: "the zone of a stop is not known; give the stop its zones in `stops`",
    FareRefusal.NO_PAIR: "the product has no fare between these two places; add one to its table",
    FareRefusal.NO_TIME: "the fare goes by the time ridden, which is not known",
}


class ExplainedLine(Struct, frozen=True):
    """One step of a fare."""

    rule_id: str
    # What kind of rule it is: full fare, concession, cap...
    step: str
    amount_fen: int
    # What the rider pays after this step.
    leaves_fen: int
    # Of what is taken off: a sponsor or the operator. None where something is added, and where it
    # was charged with the legs before, by whoever paid for those.
    borne_by: str | None
    # The clause of the official notice.
    reference: str
    # The file and line of the rule, 2018-08-01.yaml:41; empty where there is none.
    place: str


def explained(quote: Quote, tariff: CompiledTariff) -> tuple[ExplainedLine, ...]:
    """Say of each line of a quote what it is and where it comes from.

    Shape:  one for one; the tariff is the one that made the quote.
    """
    steps = _steps_of(tariff)
    # A joined leg costs the whole journey, less what was charged before. Where the rule itself
    # makes the whole cheaper, that is its first line.
    charged_before = {rule.id for rule in tariff.file.fare_leg_join_rules if not rule.less}
    lines: list[ExplainedLine] = []
    rider_fen = 0
    for line in quote.lines:
        rider_fen += line.amount_fen
        step, place = steps.get(line.rule_id, ("rule", ""))
        is_forgone = line.amount_fen < 0 and line.rule_id not in charged_before
        lines.append(
            ExplainedLine(
                rule_id=line.rule_id,
                step=step,
                amount_fen=line.amount_fen,
                leaves_fen=rider_fen,
                borne_by=line.borne_by or (OPERATOR if is_forgone else None),
                reference=line.reference,
                place=place,
            )
        )
        if step == _STEPS["fare_leg_join_rules"]:
            charged_before.add(line.rule_id)
    return tuple(lines)


def explain(quote: Quote, tariff: CompiledTariff) -> list[str]:
    """Tell a fare step by step, and last the total and what everybody pays of it."""

    def money(amount_fen: int) -> str:
        return f"{said(amount_fen, tariff.currency_digits)} {tariff.currency}"

    lines = [f"tariff {tariff.tariff_id}: {tariff.reference}"]
    for index, line in enumerate(explained(quote, tariff)):
        parts = [f"{line.step} {line.rule_id}: {money(line.amount_fen)}"]
        if line.borne_by is not None:
            parts.append(f"borne by {line.borne_by}")
        if index > 0:
            parts.append(f"leaves {money(line.leaves_fen)}")
        source = "; ".join(part for part in (line.reference, line.place) if part)
        lines.append(f"{', '.join(parts)} ({source})")
    lines.append(f"fare: {money(quote.fare_fen)}")
    lines.append(f"the rider pays {money(quote.rider_fen)}")
    lines += [f"{name} pays {money(fen)}" for name, fen in sorted(quote.sponsored.items())]
    return lines


def explain_charge(charge: Charge, book: TariffBook) -> list[str]:
    """Tell what one tap costs, by the tariff that priced it."""
    return explain(charge.quote, priced_by(charge.quote, book))


def explain_fold(fold: Fold, book: TariffBook) -> dict[UUID, list[str]]:
    """Tell what each tap costs, or why it has no price.

    Shape:  only taps that are charged or refused, in the order of their events; the refused last.
    """
    found: dict[UUID, list[str]] = {}
    for charge in sorted(fold.charges.values(), key=lambda one: (one.effective_at, one.tap_id)):
        found.setdefault(charge.tap_id, []).extend(explain_charge(charge, book))
    for tap_id, refusal in sorted(fold.refused.items()):
        found.setdefault(tap_id, []).append(refusal_said(refusal))
    return found


def refusal_said(refusal: FareRefusal) -> str:
    """Say why a leg has no price, and what to do."""
    return f"no price ({refusal}): {REFUSALS[refusal]}"


def priced_by(quote: Quote, book: TariffBook) -> CompiledTariff:
    """Find the tariff that made a quote; it must be in the book."""
    return next(one for one in book.tariffs if one.tariff_id == quote.tariff_id)


def _steps_of(tariff: CompiledTariff) -> dict[str, tuple[str, str]]:
    """What each id that a quote line may carry stands for, and where its rule stands."""
    return dict(_steps(tariff))


def _steps(tariff: CompiledTariff) -> Iterator[tuple[str, tuple[str, str]]]:
    places = tariff.places
    for network in tariff.networks.values():
        place = places.get(("networks", network.id), "")
        yield network.same_stop_id, ("exit at the stop of entry", place)
        yield network.completion_id, ("missing tap taken from habit", place)
    yield NEVER_DEARER, ("the earlier tariff's lower fare", "")
    for section, step in _STEPS.items():
        for rule in getattr(tariff.file, section):
            yield rule.id, (step, places.get((section, rule.id), ""))
