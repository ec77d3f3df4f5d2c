"""Grants: money for a purpose, given, taken back at its end, and moved within a family of wallets.

Each function takes wallets and gives the wallets and entries that follow; whether it may be done at
all, `wallet_desk.py` decides.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated
from uuid import UUID, uuid5

from msgspec import Meta, Struct, structs

from gateway.core.ledger import BANK, GRANT, SPONSOR, JournalEntry, Posting, rider_postings
from gateway.core.posting import settlement_day
from gateway.core.purses import PURSES_MAX, Purse, with_purse
from gateway.core.taps import Instant, Name
from gateway.core.wallets import Wallet

Amount = Annotated[int, Meta(ge=1, le=100_000_000, description="minor units; more than nothing")]


class GrantMoney(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Money for a purpose. The caller chooses the id, so sending twice grants once.

    `rule_id` is a purse rule of the tariff. Without `funder_id` it is the rider's own: it is set
    aside from the main purse, and goes back there.
    """

    grant_id: UUID
    rule_id: Name
    amount_fen: Amount
    funder_id: Name | None = None
    valid_from: Annotated[Instant | None, Meta(description="now, if left out")] = None
    valid_until: Annotated[Instant | None, Meta(description="the first moment after")] = None


class Transfer(Struct, frozen=True, forbid_unknown_fields=True):
    """Money for another wallet of the same family. The caller chooses the id."""

    transfer_id: UUID
    to_wallet_id: UUID
    amount_fen: Amount


class KnownGrant(Struct, frozen=True):
    """A grant as it was made."""

    grant_id: UUID
    wallet_id: UUID
    rule_id: str
    funder_id: str | None
    amount_fen: int
    valid_from: datetime
    valid_until: datetime | None
    granted_at: datetime
    ended_at: datetime | None = None

    @property
    def purse(self) -> Purse:
        return Purse(
            self.grant_id,
            self.rule_id,
            self.funder_id,
            self.valid_from,
            self.valid_until,
            self.amount_fen,
        )

    def is_same(self, wallet_id: UUID, wish: GrantMoney) -> bool:
        """Whether a wish asks for what was granted."""
        asked = (wallet_id, wish.rule_id, wish.funder_id, wish.amount_fen, wish.valid_until)
        mine = (self.wallet_id, self.rule_id, self.funder_id, self.amount_fen, self.valid_until)
        return asked == mine and wish.valid_from in (None, self.valid_from)


class Books(Struct, frozen=True):
    """When something is booked, and until when the books are closed."""

    now: datetime
    today: date
    closed_through: date | None

    def entry(
        self,
        kind: str,
        cause_id: UUID,
        before: Wallet,
        after: Wallet,
        others: tuple[Posting, ...],
        effective_at: datetime | None = None,
    ) -> JournalEntry:
        return JournalEntry(
            kind=kind,
            cause_id=cause_id,
            wallet_id=before.wallet_id,
            wallet_version=after.version,
            effective_at=effective_at or self.now,
            service_day=self.today,
            settlement_day=settlement_day(self.today, self.closed_through),
            postings=(*rider_postings(before, after), *others),
        )


def has_room(wallet: Wallet) -> bool:
    """Whether a wallet can take one more purse."""
    return sum(bool(purse.held_fen) for purse in wallet.purses) < PURSES_MAX


def grant_money(wallet: Wallet, granted: KnownGrant, books: Books) -> tuple[Wallet, JournalEntry]:
    """Put granted money into a purse of its own."""
    main_fen = 0 if granted.funder_id else -granted.amount_fen
    purses = with_purse(wallet.purses, granted.purse)
    moved = structs.replace(wallet.moved(main_fen), purses=purses)
    others = [Posting(f"{GRANT}{granted.grant_id}", granted.amount_fen)]
    if granted.funder_id:
        others.append(Posting(f"{SPONSOR}{granted.funder_id}", -granted.amount_fen))
    entry = books.entry("grant", granted.grant_id, wallet, moved, tuple(others))
    return moved, entry


def return_purse(
    wallet: Wallet, purse: Purse, books: Books, effective_at: datetime | None = None
) -> tuple[Wallet, JournalEntry | None]:
    """Give what is left in a purse back to its funder, and end it.

    An empty one stays until another needs its place: without an entry, nobody who replays the
    wallet's entries could tell when it went.
    """
    if not purse.held_fen:
        return wallet, None
    others = tuple(one for one in wallet.purses if one.grant_id != purse.grant_id)
    main_fen = 0 if purse.funder_id else purse.held_fen
    moved = structs.replace(wallet.moved(main_fen), purses=others)
    postings = [Posting(f"{GRANT}{purse.grant_id}", -purse.held_fen)]
    if purse.funder_id:
        postings.append(Posting(f"{SPONSOR}{purse.funder_id}", purse.held_fen))
    cause_id = uuid5(purse.grant_id, f"returned {wallet.version}")
    entry = books.entry(
        "grant_return", cause_id, wallet, moved, tuple(postings), effective_at=effective_at
    )
    return moved, entry


def transfer(
    giver: Wallet, taker: Wallet, wish: Transfer, books: Books
) -> tuple[Wallet, Wallet, tuple[JournalEntry, JournalEntry]]:
    """Move money between main purses. The two entries meet in the bank's account and leave it as
    it was.
    """
    given, taken = giver.moved(-wish.amount_fen), taker.moved(wish.amount_fen)
    paid_out = books.entry(
        "transfer",
        given_id(wish.transfer_id),
        giver,
        given,
        (Posting(BANK, wish.amount_fen),),
    )
    paid_in = books.entry(
        "transfer",
        taken_id(wish.transfer_id),
        taker,
        taken,
        (Posting(BANK, -wish.amount_fen),),
    )
    return given, taken, (paid_out, paid_in)


def given_id(transfer_id: UUID) -> UUID:
    """The cause of the giver's entry."""
    return uuid5(transfer_id, "given")


def taken_id(transfer_id: UUID) -> UUID:
    """The cause of the taker's entry."""
    return uuid5(transfer_id, "taken")
