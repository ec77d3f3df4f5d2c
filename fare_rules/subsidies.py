"""What other payers give back after a period: a number for them, of which nothing is booked."""

from fare_rules.base_fare import percent_of
from fare_rules.compiled import CompiledTariff
from fare_rules.money import Fen
from fare_rules.states import RiderState


def subsidies_due(state: RiderState, tariff: CompiledTariff) -> dict[str, Fen]:
    """What each subsidy gives back for its newest period, as far as it has gone."""
    found: dict[str, Fen] = {}
    for rule in tariff.file.subsidies:
        window = state.windows.get(rule.id)
        above_fen = max(window.spent_fen - rule.above, 0) if window else 0
        percent = rule.percent or 0
        for step in rule.steps:
            if window is not None and window.rides_count > step.after_rides:
                percent = step.percent
        due_fen = percent_of(above_fen, percent, rule.rounding)
        found[rule.id] = Fen(due_fen if rule.maximum is None else min(due_fen, rule.maximum))
    return found
