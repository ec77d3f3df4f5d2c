"""What the gate is told: the verdict on a tap that was priced, and the words on the display."""

from __future__ import annotations

from datetime import date

from msgspec import structs

from fare_rules import Action, CompiledTariff, NetworkRules, RideTap, TariffBook
from fare_rules.amounts import said
from gateway.core.holds import held_for_rides_fen
from gateway.core.ledger import spent_after
from gateway.core.rides import Ride
from gateway.core.taps import Payer, Tap, TapOutcome, TapResult
from gateway.core.wallet_classes import Spent, WalletClasses, exceeded
from gateway.core.wallets import Wallet

_LEAVING = (Action.EXIT, Action.ALIGHT)


def verdict(
    tap: Tap,
    wallet: Wallet,
    ride: Ride,
    book: TariffBook,
    classes: WalletClasses,
    *,
    debt_block_fen: int = 0,
) -> TapOutcome:
    if ride.moved.refused:
        return TapOutcome.NO_FARE
    may_refuse = tap.action.opens and not tap.offline
    if ride.moved.double_beeps and tap.tap_id in ride.moved.double_beeps:
        return TapOutcome.PASSED_BACK if may_refuse else TapOutcome.DOUBLE_BEEP
    if may_refuse:
        if debt_block_fen and wallet.owed_fen >= debt_block_fen:
            return TapOutcome.DEBT_TOO_HIGH
        tariff, network = _tariff_and_network(book, ride.tap)
        is_exempt = ride.tap.fare_media in network.no_minimum_balance
        needed_fen = wallet.floor_fen if is_exempt else network.minimum_balance_fen
        has_fen = _may_spend_fen(wallet, ride.tap, tariff)
        cannot_begin = has_fen < max(needed_fen, wallet.floor_fen)
        if tariff.has_holds and not is_exempt:
            held_fen = held_for_rides_fen(ride.wallet.riders, tariff, ride.tap.tapped_at)
            left_fen = _may_spend_fen(ride.wallet, ride.tap, tariff)
            cannot_begin |= left_fen < wallet.floor_fen + held_fen
        if cannot_begin or ride.wallet.owed_fen:
            return TapOutcome.BALANCE_TOO_LOW
    if wallet.terms and (limited := _limited(tap, wallet, ride, book, classes)):
        return limited
    return outcome_of(ride)


def outcome_of(ride: Ride) -> TapOutcome:
    """What a ride that goes on, or is over, is called."""
    # What the desk made free is over, too, and costs nothing.
    if ride.charge is None and ride.tap.action not in _LEAVING:
        return TapOutcome.LEG_OPENED
    return TapOutcome.RIDE_OWED if ride.wallet.owed_fen else TapOutcome.RIDE_CHARGED


def _may_spend_fen(wallet: Wallet, tap: RideTap, tariff: CompiledTariff) -> int:
    """What is in the main purse, and in others that may pay on the network of a tap; where the ride
    ends, nobody knows.
    """
    if not wallet.purses:
        return wallet.net_fen
    return wallet.net_fen + sum(
        purse.held_fen
        for purse in wallet.purses
        if purse.is_valid_at(tap.tapped_at)
        and (rule := tariff.purse_rules.get(purse.rule_id)) is not None
        and (not rule.networks or tap.network in rule.networks)
    )


def _limited(
    tap: Tap, wallet: Wallet, ride: Ride, book: TariffBook, classes: WalletClasses
) -> TapOutcome | None:
    """Whether a tap would pass a limit of its wallet's class.

    A ride that began is charged whatever it comes to: its operator carried the rider. Without a
    network the gate should have known; what it let through is for a person, with both its ends.
    """
    day = book.service_day_of(tap.tapped_at)
    if not tap.action.opens:
        # Alone because its entry waits for a person, so that does this.
        is_alone = ride.charge is not None and ride.moved.journeys.get(tap.tap_id) == tap.tap_id
        is_many = is_alone and _has_paid_often(tap, wallet, wallet.spent, day, classes)
        return TapOutcome.VERIFICATION_REQUIRED if is_many else None
    # What the tap charges for an earlier ride, left open till now, is spent, but no part of this.
    earlier = [entry for entry in ride.entries if entry.tap_id != tap.tap_id]
    amount_fen = -sum(entry.rider_fen for entry in ride.entries if entry.tap_id == tap.tap_id)
    spent = wallet.spent
    if earlier:
        spent = spent_after(spent or Spent(earlier[0].service_day), earlier)
    if tap.offline:
        most_fen = classes.offline(wallet.terms, day).single
        is_much = most_fen is not None and amount_fen > most_fen
        is_many = _is_payment(ride) and _has_paid_often(tap, wallet, spent, day, classes)
        return TapOutcome.VERIFICATION_REQUIRED if is_many or is_much else None
    bounds = classes.bounds(wallet.terms, day)
    # Where the fare is not known yet, nothing at all may be left to spend.
    least_fen = amount_fen if ride.charge else 1
    is_over = exceeded(bounds, spent, day, least_fen)
    return TapOutcome.LIMIT_REACHED if is_over else None


def _is_payment(ride: Ride) -> bool:
    """Whether a tap that opens is paid for, or will be: not if its exit came in first and was."""
    rider = ride.wallet.riders.get(ride.tap.media_token)
    opening = rider.state.open_tap if rider else None
    return ride.charge is not None or (opening is not None and opening.tap_id == ride.tap.tap_id)


def _has_paid_often(
    tap: Tap, wallet: Wallet, spent: Spent | None, day: date, classes: WalletClasses
) -> bool:
    """Whether a wallet had paid without a network as often as it may when a tap was made."""
    payments = classes.offline(wallet.terms, day).payments
    if payments is None or spent is None:
        return False
    is_seen_since = spent.online_at is not None and spent.online_at >= tap.tapped_at
    return not is_seen_since and spent.offline_count >= payments


def _tariff_and_network(book: TariffBook, tap: RideTap) -> tuple[CompiledTariff, NetworkRules]:
    tariff = book.tariff_at(tap.tapped_at)
    assert tariff is not None
    network = tariff.network(tap.network)
    assert network is not None
    return tariff, network


def ride_result(tap: Tap, outcome: TapOutcome, ride: Ride) -> TapResult:
    """What the gate is told of a tap that was let through."""
    quote = ride.charge.quote if ride.charge else None
    return TapResult(
        tap_id=tap.tap_id,
        outcome=outcome,
        open=True,
        display_text=_display_text(outcome, quote.rider_fen if quote else 0, ride),
        fare_fen=quote.fare_fen if quote else 0,
        payers=_payers(ride),
        balance_fen=ride.wallet.balance_fen,
        owed_fen=ride.wallet.owed_fen,
        journey_id=ride.moved.journeys.get(tap.tap_id),
        incomplete=tap.is_incomplete,
    )


def _payers(ride: Ride) -> tuple[Payer, ...]:
    tap_id = ride.tap.tap_id
    return tuple(
        [
            Payer(posting.account, -posting.amount_fen)
            for entry in ride.entries
            if entry.tap_id == tap_id
            for posting in entry.postings
            if posting.amount_fen < 0
        ]
    )


def refusal(
    tap: Tap, outcome: TapOutcome, *, wallet: Wallet | None = None, fault: str | None = None
) -> TapResult:
    """What the gate is told of a tap that was not let through.

    A gate that lets riders out opens even for a tap that a person must look at: nobody is locked
    in.
    """
    result = TapResult(
        tap_id=tap.tap_id,
        outcome=outcome,
        open=outcome.is_quarantined and not tap.action.opens,
        display_text=_REFUSAL_TEXTS.get(outcome, "See staff"),
        balance_fen=wallet.balance_fen if wallet else None,
        owed_fen=wallet.owed_fen if wallet else 0,
        incomplete=tap.is_incomplete,
    )
    return structs.replace(result, fault=fault) if fault else result


_REFUSAL_TEXTS = {
    TapOutcome.UNKNOWN_MEDIA: "Card not known",
    TapOutcome.MEDIA_BLOCKED: "Card blocked",
    TapOutcome.WALLET_BLOCKED: "Card blocked",
    TapOutcome.WALLET_CLOSED: "Card closed",
    TapOutcome.PASSED_BACK: "Card just used",
    TapOutcome.DEBT_TOO_HIGH: "Please pay debt",
    TapOutcome.BALANCE_TOO_LOW: "Please top up",
    TapOutcome.LIMIT_REACHED: "Limit reached",
    TapOutcome.VERIFICATION_REQUIRED: "Check card online",
}


def _display_text(outcome: TapOutcome, rider_fen: int, ride: Ride) -> str:
    wallet, digits = ride.wallet, ride.currency_digits
    left = said(wallet.balance_fen, digits)
    if outcome is TapOutcome.RIDE_CHARGED:
        return f"Fare {said(rider_fen, digits)} Left {left}"
    if outcome is TapOutcome.RIDE_OWED:
        return f"Fare {said(rider_fen, digits)} Owed {said(wallet.owed_fen, digits)}"
    return f"Balance {left}"
