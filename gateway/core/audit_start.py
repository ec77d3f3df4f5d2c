"""Where the replay of a wallet begins once some of its days are unlinked.

What it took until then is as posted: money moved by its entries, purses too; what is remembered
is that of its base, and of the taps of later days that came before the last of an unlinked one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

from msgspec import structs

from fare_rules import TariffBook
from gateway.core.amendments import Amendment
from gateway.core.days import LoadedDays, fold_days
from gateway.core.decide import KeptTap
from gateway.core.ledger import JournalEntry
from gateway.core.purse_desk import KnownGrant
from gateway.core.purses import Paid, Purse, merged, with_purse
from gateway.core.unlinking import Base, days_from, rides_of, swept_at
from gateway.core.wallets import Wallet


def start(
    wallet: Wallet,
    base: Base,
    *,
    swept_until: datetime | None,
    taps: Sequence[KeptTap],
    entries: Sequence[JournalEntry],
    grants: Mapping[UUID, KnownGrant],
    amendments: Sequence[tuple[int, Amendment]],
    book: TariffBook,
) -> tuple[Wallet, LoadedDays]:
    """An empty wallet brought to where its base is, and its days by then.

    `swept_until` is when its legs were given up last, whether by then or later.
    """
    paid: Paid = {}
    posted = [entry for entry in entries if entry.wallet_version <= base.version]
    for entry in sorted(posted, key=lambda entry: entry.wallet_version):
        wallet, paid = _take_posted(wallet, entry, grants, paid)
    known = [one for version, one in amendments if version <= base.version]
    earlier = [kept for kept in taps if (kept.wallet_version or 0) <= base.version]
    days = days_from(base, rides_of(earlier))
    folded = fold_days(days, book, amendments=known)
    newest = folded.days[-1]
    wallet = structs.replace(
        wallet,
        version=base.version,
        day=newest.day,
        riders=folded.riders,
        opening=newest.opening,
        swept_until=swept_at(base.swept_until, swept_until, earlier, posted, book),
        amended_until=max((one.until for one in known), default=None),
    )
    return wallet, LoadedDays(date.min, folded.days, paid, tuple(known))


def _take_posted(
    wallet: Wallet, entry: JournalEntry, grants: Mapping[UUID, KnownGrant], paid: Paid
) -> tuple[Wallet, Paid]:
    purses = {purse.grant_id: purse for purse in wallet.purses}
    gained_fen = entry.grants_fen
    wallet = wallet.moved(entry.main_fen)
    if entry.kind == "grant":
        for grant_id in gained_fen:
            wallet = structs.replace(
                wallet, purses=with_purse(wallet.purses, grants[grant_id].purse)
            )
    elif entry.kind == "grant_return":
        left = tuple(purse for i, purse in purses.items() if i not in gained_fen)
        wallet = structs.replace(wallet, purses=left)
    elif gained_fen:
        assert entry.tap_id is not None
        assert entry.product_id is not None
        ride = (entry.tap_id, entry.product_id)
        shares = {share.grant_id: share.amount_fen for share in paid.get(ride, ())}
        for grant_id, fen in gained_fen.items():
            purse = purses.get(grant_id, grants[grant_id].purse.emptied)
            purses[grant_id] = _paying(purse, fen, shares.get(grant_id, 0), entry.service_day)
        wallet = structs.replace(wallet, purses=tuple(purses.values()))
        paid = merged(paid, ride, entry.service_day, gained_fen, purses)
    return wallet, paid


def _paying(purse: Purse, gained_fen: int, paid_fen: int, day: date) -> Purse:
    """A purse that pays more of a ride, or gets back of it: the ride counts while it pays any."""
    rides_count = (paid_fen - gained_fen > 0) - (paid_fen > 0)
    return purse.moved(gained_fen, rides_count, day)
