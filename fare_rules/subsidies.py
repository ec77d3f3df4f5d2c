"""What other payers give back after a period: a number for them, of which nothing is booked."""

from fare_rules.base_fare import percent_of
from fare_rules.compiled import CompiledTariff
from fare_rules.language.discounts import Subsidy
from fare_rules.money import Fen
from fare_rules.periods import Window, rule_of
from fare_rules.states import RiderState


def subsidies_due(state: RiderState, tariff: CompiledTariff) -> dict[str, Fen]:
    """What each subsidy gives back for its newest period, as far as it has gone."""
    found: dict[str, Fen] = {}
    for rule in tariff.file.subsidies:
        of_rule = [each for key, each in state.windows.items() if rule_of(key) == rule.id]
        days = [window.first_day for window in of_rule if window.first_day is not None]
        due_fen = sum(
            _due_fen(rule, window)
            for window in of_rule
            # What is kept apart may be of a period before the newest.
            if window.first_day is None or window.first_day == max(days)
        )
        found[rule.id] = Fen(due_fen if rule.maximum is None else min(due_fen, rule.maximum))
    return found


def _due_fen(rule: Subsidy, window: Window) -> int:
    percent = rule.percent or 0
    for step in rule.steps:
        if window.rides_count > step.after_rides:
            percent = step.percent
    return percent_of(max(window.spent_fen - rule.above, 0), percent, rule.rounding)
