"""What may be done with wallets, fare media and money paid in.

Pure: wishes and a snapshot in, a plan out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from uuid import UUID, uuid5

from msgspec import Struct, structs

from fare_rules import CompiledTariff
from gateway.core.holds import held_for_rides_fen
from gateway.core.ledger import BANK, JournalEntry, Posting
from gateway.core.purse_desk import (
    Books,
    GrantMoney,
    KnownGrant,
    Transfer,
    grant_money,
    has_room,
    return_purse,
    transfer,
)
from gateway.core.purses import Purse
from gateway.core.taps import looks_like_card_number
from gateway.core.wallet_classes import (
    NO_CLASSES,
    UNBOUND,
    Bounds,
    Spent,
    Terms,
    WalletClasses,
    in_use,
    joined,
)
from gateway.core.wallet_wishes import (
    ActivateCoupon,
    BindMedia,
    OpenWallet,
    TopUp,
    WalletRefusal,
    Wish,
)
from gateway.core.wallets import Media, Wallet, WalletStatus

# Each rides along with every tap of its card.
COUPONS_MAX = 20


class WalletSnapshot(Struct, frozen=True):
    """All that was loaded for some wishes."""

    now: datetime
    today: date
    closed_through: date | None
    issuers: frozenset[str]
    wallets: dict[UUID, Wallet]
    media: dict[str, Media]
    top_ups: dict[UUID, tuple[UUID, int]]
    grants: dict[UUID, KnownGrant] = {}
    # From, to, and how much.
    transfers: dict[UUID, tuple[UUID, UUID, int]] = {}

    @property
    def books(self) -> Books:
        return Books(self.now, self.today, self.closed_through)


class WalletPlan(Struct, frozen=True):
    """All that is to be saved."""

    opened: tuple[Wallet, ...]
    changed: tuple[Wallet, ...]
    media: tuple[Media, ...]
    entries: tuple[JournalEntry, ...]
    grants: tuple[KnownGrant, ...] = ()
    ended_grants: tuple[UUID, ...] = ()
    transfers: dict[UUID, tuple[UUID, UUID, int]] = {}


def grant(
    wishes: Sequence[Wish],
    snapshot: WalletSnapshot,
    tariff: CompiledTariff,
    *,
    floor_fen: int,
    classes: WalletClasses = NO_CLASSES,
) -> WalletPlan | WalletRefusal:
    """Grant all wishes or none."""
    desk = _Desk(snapshot, tariff, floor_fen, classes)
    for wish in wishes:
        if refusal := desk.grant(wish):
            return refusal
    known = snapshot.wallets
    return WalletPlan(
        opened=tuple(w for w in desk.wallets.values() if w.wallet_id not in known),
        changed=tuple(w for i, w in desk.wallets.items() if i in known and w is not known[i]),
        media=tuple(m for t, m in desk.media.items() if m is not snapshot.media.get(t)),
        entries=tuple(desk.entries),
        grants=tuple(one for i, one in desk.grants.items() if i not in snapshot.grants),
        ended_grants=tuple(desk.ended),
        transfers={i: one for i, one in desk.transfers.items() if i not in snapshot.transfers},
    )


class _Desk:
    def __init__(
        self,
        snapshot: WalletSnapshot,
        tariff: CompiledTariff,
        floor_fen: int,
        classes: WalletClasses,
    ) -> None:
        self.snapshot = snapshot
        self.tariff = tariff
        self.floor_fen = floor_fen
        self.wallets = dict(snapshot.wallets)
        self.media = dict(snapshot.media)
        self.top_ups = dict(snapshot.top_ups)
        self.classes = classes
        self.books = snapshot.books
        self.grants = dict(snapshot.grants)
        self.transfers = dict(snapshot.transfers)
        self.ended: list[UUID] = []
        self.entries: list[JournalEntry] = []

    def grant(self, wish: Wish) -> WalletRefusal | None:
        if wish.opens:
            return self._open(wish.opens)
        wallet = self.wallets.get(wish.wallet_id)
        if wallet is None:
            return WalletRefusal.UNKNOWN_WALLET
        if wish.binds:
            return self._bind(wallet, wish.binds)
        if wish.unbinds is not None:
            return self._change_media(wallet, wish.unbinds, wallet_id=None)
        if wish.blocks_media:
            token, is_blocked = wish.blocks_media
            return self._change_media(wallet, token, is_blocked=is_blocked)
        if wish.activates:
            return self._activate(wallet, *wish.activates)
        if wish.top_up:
            return self._top_up(wallet, wish.top_up)
        if wish.status:
            return self._set_status(wallet, wish.status)
        if wish.grants:
            return self._grant_money(wallet, wish.grants)
        if wish.returns:
            return self._return_grant(wallet, wish.returns)
        if wish.transfers:
            return self._transfer(wallet, wish.transfers)
        return self._set_terms(wallet, wish)

    def _open(self, wish: OpenWallet) -> WalletRefusal | None:
        wallet = self.wallets.get(wish.wallet_id)
        if wallet is None:
            if wish.issuer_id is not None and wish.issuer_id not in self.snapshot.issuers:
                return WalletRefusal.UNKNOWN_ISSUER
            wallet = Wallet(wish.wallet_id, issuer_id=wish.issuer_id, floor_fen=self.floor_fen)
            # A purse that may go below zero starts at zero all the same.
            terms = self._agree(wish)
            if isinstance(terms, WalletRefusal):
                return terms
            self.wallets[wallet.wallet_id] = wallet = structs.replace(wallet, terms=terms)
        elif wallet.issuer_id != wish.issuer_id:
            return WalletRefusal.ISSUER_DIFFERS
        elif _asked(wallet.terms) != (wish.class_id, wish.parent_id, wish.limits.bounds):
            return WalletRefusal.TERMS_DIFFER
        for media in wish.media:
            if refusal := self._bind(wallet, media):
                return refusal
        return self._top_up(wallet, wish.top_up) if wish.top_up else None

    def _agree(self, wish: OpenWallet) -> Terms | WalletRefusal | None:
        """The terms of a new wallet; a child's limits are cut out of its parent's."""
        own = wish.limits.bounds
        if wish.class_id is None and wish.parent_id is None:
            return None if own == UNBOUND else WalletRefusal.UNKNOWN_PARENT
        today = self.snapshot.today
        if wish.class_id is not None and self.classes.at(wish.class_id, today) is None:
            return WalletRefusal.UNKNOWN_CLASS
        if wish.parent_id is not None:
            parent = self.wallets.get(wish.parent_id)
            if parent is None or parent.status is WalletStatus.CLOSED:
                return WalletRefusal.UNKNOWN_PARENT
            terms = parent.terms or Terms()
            if terms.parent_id is not None:
                return WalletRefusal.UNKNOWN_PARENT
            bounds = self.classes.bounds(terms, today)
            # What the parent holds, and has spent by now, is no child's any more.
            used = in_use(parent.held_fen, parent.spent, today)
            if not (bounds.holds(own) and bounds.less(own).covers(used)):
                return WalletRefusal.CHILD_LIMITS_TOO_HIGH
            self._allot(parent, own, 1)
        elif own != UNBOUND:
            return WalletRefusal.UNKNOWN_PARENT
        return Terms(wish.class_id, wish.parent_id, own)

    def _allot(self, parent: Wallet, own: Bounds, sign: int, **more: object) -> None:
        terms = parent.terms or Terms()
        self._change(
            parent,
            terms=structs.replace(
                terms,
                allotted=terms.allotted.plus(own, sign),
                children_count=terms.children_count + sign,
            ),
            **more,
        )

    def _change(self, wallet: Wallet, **changes: object) -> None:
        self.wallets[wallet.wallet_id] = structs.replace(
            wallet, version=wallet.version + 1, **changes
        )

    def _set_terms(self, wallet: Wallet, wish: Wish) -> WalletRefusal | None:
        terms, today = wallet.terms or Terms(), self.snapshot.today
        if wallet.status is WalletStatus.CLOSED:
            return WalletRefusal.WALLET_CLOSED
        if wish.sets_class is not None:
            if self.classes.at(wish.sets_class, today) is None:
                return WalletRefusal.UNKNOWN_CLASS
            allotted, before = terms.allotted, self.classes.bounds(terms, today)
            terms = structs.replace(terms, class_id=wish.sets_class)
            whole = self.classes.bounds(structs.replace(terms, allotted=UNBOUND), today)
            if terms.children_count and not whole.still_holds(allotted, before):
                return WalletRefusal.CHILD_LIMITS_TOO_HIGH
            most_fen = self.classes.bounds(terms, today).balance_fen
            if most_fen is not None and wallet.held_fen > most_fen:
                return WalletRefusal.BALANCE_LIMIT
        if wish.sets_auto_top_up is not None:
            rule = None if wish.sets_auto_top_up == "never" else wish.sets_auto_top_up
            terms = structs.replace(terms, auto_top_up=rule)
        if terms != wallet.terms:
            self._change(wallet, terms=terms)
        if wish.verifies and wallet.terms:
            spent = wallet.spent or Spent(today)
            seen = spent.seen(self.snapshot.now, is_offline=False, is_paid=False)
            self._change(wallet, spent=seen)
        return None

    def _is_over(self, wallet: Wallet) -> bool:
        """Whether a wallet would hold more than it may."""
        most_fen = self.classes.bounds(wallet.terms, self.snapshot.today).balance_fen
        return most_fen is not None and wallet.held_fen > most_fen

    def _grant_money(self, wallet: Wallet, wish: GrantMoney) -> WalletRefusal | None:
        known = self.grants.get(wish.grant_id)
        if known:
            is_same = known.is_same(wallet.wallet_id, wish)
            return None if is_same else WalletRefusal.GRANT_ID_REUSED
        if wish.rule_id not in self.tariff.purse_rules:
            return WalletRefusal.UNKNOWN_PURSE_RULE
        if wish.funder_id is not None and wish.funder_id not in self.tariff.sponsors:
            return WalletRefusal.UNKNOWN_FUNDER
        if wallet.status is WalletStatus.CLOSED:
            return WalletRefusal.WALLET_CLOSED
        now = self.snapshot.now
        granted = KnownGrant(
            wish.grant_id,
            wallet.wallet_id,
            wish.rule_id,
            wish.funder_id,
            wish.amount_fen,
            wish.valid_from or now,
            wish.valid_until,
            now,
        )
        if granted.valid_until and granted.valid_until <= max(granted.valid_from, now):
            return WalletRefusal.GRANT_OVER
        if not has_room(wallet):
            return WalletRefusal.TOO_MANY_PURSES
        free_fen = wallet.net_fen - self._held_for_rides_fen(wallet)
        if wish.funder_id is None and free_fen < wish.amount_fen:
            return WalletRefusal.BALANCE_TOO_LOW
        moved, entry = grant_money(wallet, granted, self.books)
        if self._is_over(moved):
            return WalletRefusal.BALANCE_LIMIT
        self.wallets[wallet.wallet_id] = moved
        self.grants[wish.grant_id] = granted
        self.entries.append(entry)
        return None

    def _return_grant(self, wallet: Wallet, grant_id: UUID) -> WalletRefusal | None:
        known = self.grants.get(grant_id)
        if known is None or known.wallet_id != wallet.wallet_id:
            return WalletRefusal.UNKNOWN_GRANT
        self._return_purses(wallet, [p for p in wallet.purses if p.grant_id == grant_id])
        return None

    def _return_purses(self, wallet: Wallet, purses: Sequence[Purse]) -> Wallet:
        for purse in purses:
            wallet, entry = return_purse(wallet, purse, self.books)
            self.entries += [entry] if entry else []
            self.ended.append(purse.grant_id)
            self.wallets[wallet.wallet_id] = wallet
        return wallet

    def _transfer(self, wallet: Wallet, wish: Transfer) -> WalletRefusal | None:
        asked = (wallet.wallet_id, wish.to_wallet_id, wish.amount_fen)
        known = self.transfers.get(wish.transfer_id)
        if known:
            return None if known == asked else WalletRefusal.TRANSFER_ID_REUSED
        taker = self.wallets.get(wish.to_wallet_id)
        if taker is None:
            return WalletRefusal.UNKNOWN_WALLET
        mine, theirs = wallet.terms or Terms(), taker.terms or Terms()
        if wallet.wallet_id != theirs.parent_id and taker.wallet_id != mine.parent_id:
            return WalletRefusal.NOT_OF_ONE_FAMILY
        if WalletStatus.CLOSED in (wallet.status, taker.status):
            return WalletRefusal.WALLET_CLOSED
        if wallet.net_fen - self._held_for_rides_fen(wallet) < wish.amount_fen:
            return WalletRefusal.BALANCE_TOO_LOW
        given, taken, entries = transfer(wallet, taker, wish, self.books)
        if self._is_over(taken):
            return WalletRefusal.BALANCE_LIMIT
        self.wallets |= {given.wallet_id: given, taken.wallet_id: taken}
        self.transfers[wish.transfer_id] = asked
        self.entries += entries
        return None

    def _bind(self, wallet: Wallet, wish: BindMedia) -> WalletRefusal | None:
        category = wish.rider_category or self.tariff.default_rider_category
        if looks_like_card_number(wish.media_token):
            return WalletRefusal.CARD_NUMBER
        if category not in self.tariff.rider_categories:
            return WalletRefusal.UNKNOWN_RIDER_CATEGORY
        if wish.fare_media not in self.tariff.fare_media:
            return WalletRefusal.UNKNOWN_FARE_MEDIA
        if wallet.status is WalletStatus.CLOSED:
            return WalletRefusal.WALLET_CLOSED
        known = self.media.get(wish.media_token)
        if known and known.wallet_id not in (None, wallet.wallet_id):
            return WalletRefusal.MEDIA_BOUND_ELSEWHERE
        media = Media(
            wish.media_token,
            wallet.wallet_id,
            category,
            wish.fare_media,
            known.is_blocked if known else False,
            # Whoever has a card next has not activated what the last rider did.
            known.coupons if known and known.wallet_id else (),
        )
        if media != known:
            self.media[wish.media_token] = media
        return None

    def _change_media(self, wallet: Wallet, token: str, **changes: object) -> WalletRefusal | None:
        media = self.media.get(token)
        if media is None or media.wallet_id != wallet.wallet_id:
            return WalletRefusal.UNKNOWN_MEDIA
        self.media[token] = structs.replace(media, **changes)
        return None

    def _activate(self, wallet: Wallet, token: str, wish: ActivateCoupon) -> WalletRefusal | None:
        media = self.media.get(token)
        if media is None or media.wallet_id != wallet.wallet_id:
            return WalletRefusal.UNKNOWN_MEDIA
        if wish.promotion_id not in self.tariff.coupon_promotions:
            return WalletRefusal.UNKNOWN_PROMOTION
        coupon = (wish.promotion_id, wish.activated_at.astimezone(UTC))
        if coupon in media.coupons:
            return None
        if len(media.coupons) >= COUPONS_MAX:
            return WalletRefusal.TOO_MANY_COUPONS
        self.media[token] = structs.replace(media, coupons=(*media.coupons, coupon))
        return None

    def _top_up(self, wallet: Wallet, wish: TopUp) -> WalletRefusal | None:
        known = self.top_ups.get(wish.top_up_id)
        if known == (wallet.wallet_id, wish.amount_fen):
            return None
        if known:
            return WalletRefusal.TOP_UP_ID_REUSED
        # What a tap that came in later made a closed wallet owe may be paid, and no more.
        if wallet.status is WalletStatus.CLOSED and wallet.net_fen + wish.amount_fen > 0:
            return WalletRefusal.WALLET_CLOSED
        if self._is_over(wallet.moved(wish.amount_fen)):
            return WalletRefusal.BALANCE_LIMIT
        self.top_ups[wish.top_up_id] = (wallet.wallet_id, wish.amount_fen)
        self._move(wallet, wish.amount_fen, "top_up", wish.top_up_id)
        return None

    def _set_status(self, wallet: Wallet, status: WalletStatus) -> WalletRefusal | None:
        if wallet.status is status is WalletStatus.CLOSED:
            # A late tap may have given money back since.
            if not self._held_for_rides_fen(wallet):
                self._pay_out(wallet)
            return None
        if wallet.status is status:
            return None
        if wallet.status is WalletStatus.CLOSED:
            return WalletRefusal.WALLET_CLOSED
        if status is WalletStatus.CLOSED:
            terms = wallet.terms or Terms()
            if wallet.net_fen < 0:
                return WalletRefusal.WALLET_OWES
            if terms.children_count:
                return WalletRefusal.WALLET_HAS_CHILDREN
            if self._held_for_rides_fen(wallet):
                return WalletRefusal.WALLET_RIDES
            if terms.parent_id in self.wallets:
                parent = self.wallets[terms.parent_id]
                spent = joined(parent.spent, wallet.spent)
                self._allot(parent, terms.own, -1, spent=spent)
            wallet = self._pay_out(wallet)
        self._change(wallet, status=status)
        return None

    def _pay_out(self, wallet: Wallet) -> Wallet:
        """Give back what purses hold, to those who gave it, and the rest to the rider."""
        wallet = self._return_purses(wallet, wallet.purses)
        if wallet.net_fen > 0:
            wallet = self._move(wallet, -wallet.net_fen, "payout", payout_id(wallet))
        return wallet

    def _held_for_rides_fen(self, wallet: Wallet) -> int:
        return held_for_rides_fen(wallet.riders, self.tariff, self.snapshot.now)

    def _move(self, wallet: Wallet, amount_fen: int, kind: str, cause_id: UUID) -> Wallet:
        moved = wallet.moved(amount_fen)
        paid = (Posting(BANK, -amount_fen),)
        self.entries.append(self.books.entry(kind, cause_id, wallet, moved, paid))
        self.wallets[wallet.wallet_id] = moved
        return moved


def payout_id(wallet: Wallet) -> UUID:
    """The cause of paying out what a wallet holds."""
    return uuid5(wallet.wallet_id, f"payout {wallet.version}")


def _asked(terms: Terms | None) -> tuple[str | None, UUID | None, Bounds]:
    """What a wallet was opened with."""
    terms = terms or Terms()
    return terms.class_id, terms.parent_id, terms.own
