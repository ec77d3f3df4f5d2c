"""What a tap costs and why, and what a journey would cost: the gate's own fold, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import asyncpg
from msgspec import Meta, Struct, structs

from fare_rules import Charge, TariffBook
from fare_rules.amounts import said
from fare_rules.ask import Question, asked_taps, question_faults
from fare_rules.examples import payers
from fare_rules.explain import explain_charge, refusal_said
from gateway.core.amendments import freed_with
from gateway.core.days import fold_days, priced_taps, with_tap
from gateway.core.ledger import JournalEntry
from gateway.core.taps import Fare, Name
from gateway.core.wallets import Media, Wallet
from gateway.shell.correction_store import Correction, list_corrections_of_tap
from gateway.shell.kept_store import load_kept, load_wallet_days
from gateway.shell.rider_store import load_entries_of_taps
from gateway.shell.wallet_store import load_media, load_wallet

_EVER = datetime.max.replace(tzinfo=UTC)


class QuoteWish(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A journey that somebody thinks of. With a media token, after all that card has done."""

    network: Name
    at: Annotated[datetime, Meta(tz=True, description="when it begins")]
    from_stop: Name | None = None
    to_stop: Name | None = None
    route_id: Name | None = None
    minutes: Annotated[
        Annotated[int, Meta(ge=0, le=1440)] | None, Meta(description="how long it takes")
    ] = None
    distance_m: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)] | None,
        Meta(description="metres, where the gate measures them"),
    ] = None
    full_fare: Annotated[Fare | None, Meta(description="where the gate itself knows the fare")] = (
        None
    )
    carriage_class: Name = "ordinary"
    riders_count: Annotated[int, Meta(ge=1, le=99)] = 1
    media_token: Name | None = None
    rider_category: Name | None = None
    fare_media: Name | None = None


class Quotation(Struct, frozen=True):
    """What a journey would cost, and why; or why it has no price."""

    fare_fen: int
    pays: dict[str, int]
    explanation: tuple[str, ...]
    refusal: str | None = None


class Explanation(Struct, frozen=True):
    """What a tap costs by now, step by step; no lines where it costs nothing."""

    tap_id: UUID
    lines: tuple[str, ...]


class QuoteRefused(Exception):
    """Something in the wish is not known; the text says what, and what is."""


async def run_explanation(pool: asyncpg.Pool, tap_id: UUID, book: TariffBook) -> Explanation | None:
    """Tell what a tap has been charged for; None for a tap that nobody has sent."""
    kept = await load_kept(pool, tap_id)
    if kept is None:
        return None
    if kept.wallet_id is None:
        return Explanation(tap_id, (f"not charged: {kept.result.outcome}",))
    wallet = await load_wallet(pool, kept.wallet_id)
    assert wallet is not None
    days = await load_wallet_days(pool, wallet, kept.service_day)
    folded = fold_days(days.days, book, swept_until=wallet.swept_until, amendments=days.amendments)
    lines: list[str] = []
    for charge in folded.charges.values():
        if charge.tap_id == tap_id:
            lines += explain_charge(charge, book)
    lines += _granted(await load_entries_of_taps(pool, kept.wallet_id, [tap_id]), book)
    is_priced = any(tap.tap_id == tap_id for tap in priced_taps(days))
    ride = freed_with(kept.facts, days.amendments) if kept.facts and not is_priced else set()
    for one in sorted({tap_id, *ride}):
        lines += [_corrected(each) for each in await list_corrections_of_tap(pool, one)]
    if not kept.result.outcome.is_let_through:
        lines.append(f"not charged: {kept.result.outcome}")
    return Explanation(tap_id, tuple(lines))


def _granted(entries: Iterable[JournalEntry], book: TariffBook) -> list[str]:
    """What money for a purpose paid of a ride; the rest of the rider's part, the main purse did."""
    digits, paid_fen = book.tariffs[-1].currency_digits, Counter[UUID]()
    for entry in entries:
        paid_fen.subtract(entry.grants_fen)
    return [f"grant {one} paid {said(fen, digits)}" for one, fen in paid_fen.items() if fen]


def _corrected(one: Correction) -> str:
    who = f"{one.maker} for the rider" if one.wish.by_rider else one.maker
    agreed = f", agreed by {one.checker}" if one.checker and one.state == "booked" else ""
    return f"{one.wish.kind} {one.state}: {one.wish.reason}, by {who}{agreed}"


async def run_quote(
    pool: asyncpg.Pool, wish: QuoteWish, book: TariffBook, *, issuer_id: str | None = None
) -> Quotation:
    """Price a journey before travel, with nothing saved.

    Whoever asks for one issuer is told nothing of another's card.
    Raises: QuoteRefused when it names what the tariff, or the gateway, does not know.
    """
    media = None if wish.media_token is None else await load_media(pool, wish.media_token)
    if wish.media_token is not None and (media is None or media.wallet_id is None):
        raise QuoteRefused("The media token is bound to no wallet; bind it, or leave it out.")
    wallet = Wallet(UUID(int=0))
    if media is not None and media.wallet_id is not None:
        wallet = await load_wallet(pool, media.wallet_id) or wallet
        if issuer_id not in (None, wallet.issuer_id):
            raise QuoteRefused("The media token is bound to no wallet of yours; leave it out.")
    question = _question(wish, media, wallet)
    faults = question_faults(question, book)
    if faults:
        raise QuoteRefused("; ".join(faults))
    return await _quotation(pool, question, wish, wallet, book)


def _question(wish: QuoteWish, media: Media | None, wallet: Wallet) -> Question:
    return Question(
        network=wish.network,
        at=wish.at,
        from_stop=wish.from_stop,
        to_stop=wish.to_stop,
        minutes=wish.minutes,
        route=wish.route_id,
        carriage_class=wish.carriage_class,
        distance_m=wish.distance_m,
        gate_fare_fen=wish.full_fare,
        rider_category=media.rider_category if media else wish.rider_category,
        fare_media=media.fare_media if media else wish.fare_media,
        issuer=wallet.issuer_id,
        riders_count=wish.riders_count,
        coupons=media.coupons if media else (),
    )


async def _quotation(
    pool: asyncpg.Pool, question: Question, wish: QuoteWish, wallet: Wallet, book: TariffBook
) -> Quotation:
    token = wish.media_token or "asked"
    taps = [structs.replace(tap, media_token=token) for tap in asked_taps(question, book)]
    day = book.service_day_of(taps[0].tapped_at)
    loaded = await load_wallet_days(pool, wallet, day)
    days = loaded.days
    for tap in taps:
        days = with_tap(days, book.service_day_of(tap.tapped_at), tap)
    folded = fold_days(days, book, swept_until=_EVER, amendments=loaded.amendments)
    asked = {tap.tap_id for tap in taps}
    refusals = [str(reason) for tap_id, reason in folded.refused.items() if tap_id in asked]
    if refusals:
        reason = next(r for tap_id, r in folded.refused.items() if tap_id in asked)
        return Quotation(0, {}, (refusal_said(reason),), refusals[0])
    charges: list[Charge] = [one for one in folded.charges.values() if one.tap_id in asked]
    lines = tuple(line for charge in charges for line in explain_charge(charge, book))
    return Quotation(sum(charge.fare_fen for charge in charges), payers(charges), lines)
