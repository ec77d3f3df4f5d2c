"""One bucket of riders, priced by both tariffs. This is what runs in every process."""

from __future__ import annotations

import gc
import heapq
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

from msgspec import Struct

from fare_rules.backtest.buckets import Bucket, read_bucket
from fare_rules.backtest.extremes import explain_rider
from fare_rules.backtest.sides import load_side
from fare_rules.backtest.tally import Extreme, Revenue, Sums, Tally, Unpriced, packed
from fare_rules.book import TariffBook
from fare_rules.charges import Charge
from fare_rules.fold import Fold, fold
from fare_rules.taps import RideTap

# All legs still open at the end of the taps have had their time.
_END = datetime.max.replace(tzinfo=UTC)


class Job(Struct, frozen=True):
    """What is to be compared; service days from the first to the last, both included."""

    old: Path
    new: Path
    first_day: date | None
    last_day: date | None
    extremes_count: int


class Pricer:
    """Both tariffs, loaded once."""

    def __init__(self, job: Job) -> None:
        self.old = load_side(job.old)
        self.new = load_side(job.new)
        self._extremes_count = job.extremes_count
        self._starts_at, self._ends_at = _bounds(job, self.old)

    def price(self, bucket: Bucket) -> Tally:
        """Price the riders of a bucket, each by one fold over all his taps."""
        tally = Tally()
        riders: dict[str, dict[UUID, RideTap]] = {}
        for tap in read_bucket(bucket):
            taps = riders.setdefault(tap.media_token, {})
            if tap.tap_id in taps:
                tally.repeated_count += 1
            else:
                taps[tap.tap_id] = tap
        counted = _Counted(tally)
        changed: list[tuple[int, str]] = []
        for token, taps in riders.items():
            reported = self._reported(taps)
            tally.taps_count += len(reported)
            tally.outside_count += len(taps) - len(reported)
            if not reported:
                continue
            difference_fen = counted.rider(reported, *self._folds(taps.values()))
            if difference_fen:
                changed.append((difference_fen, token))
        counted.close()
        best = heapq.nsmallest(self._extremes_count, (c for c in changed if c[0] < 0))
        worst = heapq.nsmallest(self._extremes_count, ((-c[0], c[1]) for c in changed if c[0] > 0))
        tally.better = [self._extreme(token, riders[token]) for _, token in best]
        tally.worse = [self._extreme(token, riders[token]) for _, token in worst]
        return tally

    def _reported(self, taps: dict[UUID, RideTap]) -> dict[UUID, RideTap]:
        starts_at, ends_at = self._starts_at, self._ends_at
        return {key: tap for key, tap in taps.items() if starts_at <= tap.tapped_at < ends_at}

    def _folds(self, taps: Iterable[RideTap]) -> tuple[Fold, Fold]:
        return (
            fold(taps, self.old, swept_until=_END),
            fold(taps, self.new, swept_until=_END),
        )

    def _extreme(self, token: str, taps: dict[UUID, RideTap]) -> Extreme:
        folds = self._folds(taps.values())
        return explain_rider(token, self._reported(taps), folds, (self.old, self.new))


def _bounds(job: Job, old: TariffBook) -> tuple[datetime, datetime]:
    """The reported time: whole service days as the old tariff has them, so both price the same."""
    first, last = job.first_day, job.last_day
    return (
        datetime.min.replace(tzinfo=UTC) if first is None else old.starts_at(first),
        _END if last is None else old.starts_at(last + timedelta(days=1)),
    )


class _Counted:
    """The sums of a bucket; one look-up a charge, since there are millions of them."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._cells: dict[tuple[str, str, str], Revenue] = {}

    def rider(self, reported: dict[UUID, RideTap], old: Fold, new: Fold) -> int:
        """Count what one rider's taps cost; say how much more he pays, if that can be said."""
        tally = self._tally
        old_fen = new_fen = 0
        for charge in old.charges.values():
            tap = reported.get(charge.tap_id)
            if tap is not None:
                old_fen += self._charge(self._cell(charge, tap).old, charge, is_old=True)
        for charge in new.charges.values():
            tap = reported.get(charge.tap_id)
            if tap is not None:
                new_fen += self._charge(self._cell(charge, tap).new, charge, is_old=False)
        instants = [tap.tapped_at for tap in reported.values()]
        tally.see(min(instants), max(instants))
        if old.double_beeps or new.double_beeps:
            tally.double_beeps_old_count += len(old.double_beeps & reported.keys())
            tally.double_beeps_new_count += len(new.double_beeps & reported.keys())
        if (old.refused or new.refused) and self._refusals(reported, old, new):
            tally.incomparable_count += 1
            return 0
        difference_fen = new_fen - old_fen
        tally.differences[difference_fen] = tally.differences.get(difference_fen, 0) + 1
        return difference_fen

    def _cell(self, charge: Charge, tap: RideTap) -> Revenue:
        key = (charge.operator_id, charge.quote.product_id, tap.rider_category)
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = Revenue()
        return cell

    def _charge(self, sums: Sums, charge: Charge, *, is_old: bool) -> int:
        rider_fen = sponsored_fen = 0
        for line in charge.quote.lines:
            rider_fen += line.amount_fen
            if line.borne_by is not None:
                sponsored_fen -= line.amount_fen
        sums.add(1, rider_fen + sponsored_fen, rider_fen)
        if sponsored_fen:
            for sponsor, amount_fen in charge.quote.sponsored.items():
                revenue = self._tally.by_sponsor.setdefault(sponsor, Revenue())
                (revenue.old if is_old else revenue.new).add(1, amount_fen, 0)
        return rider_fen

    def _refusals(self, reported: dict[UUID, RideTap], old: Fold, new: Fold) -> bool:
        """Name what has no price; say whether that is so for only one of the tariffs."""
        for refused, is_old in ((old.refused, True), (new.refused, False)):
            for tap_id, reason in refused.items():
                if tap_id in reported:
                    unpriced = self._tally.unpriced.setdefault(str(reason), Unpriced())
                    side = unpriced.old if is_old else unpriced.new
                    side.add(1, [(reported[tap_id].tapped_at, tap_id)])
        return old.refused.keys() & reported.keys() != new.refused.keys() & reported.keys()

    def close(self) -> None:
        tally = self._tally
        for (operator_id, product_id, category), revenue in self._cells.items():
            tally.total.add(revenue)
            tally.by_operator.setdefault(operator_id, Revenue()).add(revenue)
            tally.by_product.setdefault(product_id, Revenue()).add(revenue)
            tally.by_category.setdefault(category, Revenue()).add(revenue)


_pricer: Pricer | None = None


def start_process(job: Job) -> None:
    """Load the tariffs of a process."""
    global _pricer
    _pricer = Pricer(job)
    # The tables stay as long as the process does; looking through them for garbage is in vain.
    gc.freeze()


def price_bucket(bucket: Bucket) -> bytes:
    assert _pricer is not None
    return packed(_pricer.price(bucket))
