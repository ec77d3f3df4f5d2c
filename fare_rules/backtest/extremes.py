"""Why one rider pays so much more or less: the taps that make it, under both tariffs."""

from collections.abc import Mapping
from uuid import UUID

from fare_rules.backtest.tally import Extreme, TapPrices
from fare_rules.book import TariffBook
from fare_rules.charges import Charge
from fare_rules.explain import explain_charge, refusal_said
from fare_rules.fold import Fold
from fare_rules.taps import RideTap

# A token that many people share may have any number of taps.
TAPS_SHOWN_MAX = 40


def explain_rider(
    media_token: str,
    reported: Mapping[UUID, RideTap],
    folds: tuple[Fold, Fold],
    books: tuple[TariffBook, TariffBook],
) -> Extreme:
    """Tell both prices of all journeys that are charged otherwise, in the order of their taps."""
    taps = sorted(reported.values(), key=lambda tap: tap.order)
    told = [_by_tap(folded) for folded in folds]
    unlike = [
        tap.tap_id for tap in taps if _said(tap, told[0], folds[0]) != _said(tap, told[1], folds[1])
    ]
    journeys = [{folded.journeys.get(tap_id, tap_id) for tap_id in unlike} for folded in folds]
    shown = [
        tap
        for tap in taps
        if any(
            folded.journeys.get(tap.tap_id, tap.tap_id) in wanted
            for folded, wanted in zip(folds, journeys, strict=True)
        )
    ][:TAPS_SHOWN_MAX]
    old_fen, new_fen = (
        sum(charge.rider_fen for tap in taps for charge in charges.get(tap.tap_id, ()))
        for charges in told
    )
    prices = [
        TapPrices(
            tap,
            _explained(tap, told[0], folds[0], books[0]),
            _explained(tap, told[1], folds[1], books[1]),
        )
        for tap in shown
    ]
    return Extreme(media_token, old_fen, new_fen, prices, len(taps) - len(shown))


def _by_tap(folded: Fold) -> dict[UUID, list[Charge]]:
    charges: dict[UUID, list[Charge]] = {}
    for charge in folded.charges.values():
        charges.setdefault(charge.tap_id, []).append(charge)
    return charges


def _said(tap: RideTap, charges: Mapping[UUID, list[Charge]], folded: Fold) -> object:
    """All that matters of a tap's price: its lines, whatever their clause, or why it has none."""
    lines = [
        (line.rule_id, line.amount_fen, line.borne_by)
        for charge in charges.get(tap.tap_id, ())
        for line in charge.quote.lines
    ]
    return (lines, folded.refused.get(tap.tap_id), tap.tap_id in folded.double_beeps)


def _explained(
    tap: RideTap, charges: Mapping[UUID, list[Charge]], folded: Fold, book: TariffBook
) -> list[str]:
    if tap.tap_id in folded.refused:
        return [refusal_said(folded.refused[tap.tap_id])]
    if tap.tap_id in folded.double_beeps:
        return ["a second beep of the same tap: nothing is charged"]
    lines = [line for one in charges.get(tap.tap_id, ()) for line in explain_charge(one, book)]
    return lines or ["nothing is charged at this tap"]
