"""The back-test: recorded taps, priced again by two tariffs through the fold that prices at a gate.

The beats: part the taps by rider (buckets.py), price each bucket in some process (pricing.py), add
up (tally.py). A rider's memory carries over from day to day, and taps before the first reported day
fill it, so that a weekly cap is as full on that day as it was then.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from fare_rules.backtest.buckets import Bucket, Buckets
from fare_rules.backtest.comparison import Comparison
from fare_rules.backtest.pricing import Job, Pricer, price_bucket, start_process
from fare_rules.backtest.sides import check_comparable, load_side, notes_on, side_of
from fare_rules.backtest.tally import Tally, unpacked
from fare_rules.taps import RideTap

EXTREMES_COUNT = 10
_REPORT_EVERY_TAPS = 20_000


class Progress(Struct, frozen=True):
    """How far a back-test is."""

    # Taps read so far; none is priced before all are read.
    read_count: int
    is_read: bool
    priced_count: int


def backtest(
    taps: Iterable[RideTap],
    old: Path,
    new: Path,
    *,
    first_day: date | None = None,
    last_day: date | None = None,
    workers: int | None = None,
    extremes_count: int = EXTREMES_COUNT,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Comparison:
    """Price taps by two tariffs and compare what they come to.

    Shape:  taps of any riders in any order, which take some 150 bytes each in temporary files.
            A tariff is a folder, or one file as if it had been in force for all of the taps
            (sides.py). Service days from first_day to last_day are reported, both included, and a
            ride on the day of the tap that is charged; taps before and after them are priced and
            not reported. Legs still open at the end are charged as incomplete. `workers` are
            processes, as many as there are cores if left out; the result is the same for any
            number of them.
    Raises: TariffFaults, BacktestFault.
    """
    assert workers is None or workers >= 1
    assert extremes_count >= 0
    job = Job(old.resolve(), new.resolve(), first_day, last_day, extremes_count)
    old_book, new_book = load_side(old), load_side(new)
    check_comparable(old_book, new_book)
    total = Tally()
    # Tokens of riders are in these files: the folder is this user's alone, and is removed.
    with TemporaryDirectory(prefix="backtest-") as folder:
        buckets, read_count = Buckets(Path(folder)), 0
        for read_count, tap in enumerate(taps, start=1):
            buckets.add(tap)
            if read_count % _REPORT_EVERY_TAPS == 0:
                progress(Progress(read_count, is_read=False, priced_count=0))
        filled = buckets.close()
        progress(Progress(read_count, is_read=True, priced_count=0))
        priced_count = 0
        for bucket, tally in zip(filled, _tallies(job, filled, workers), strict=True):
            total.add(tally, extremes_count)
            priced_count += bucket.taps_count
            progress(Progress(read_count, is_read=True, priced_count=priced_count))
    return Comparison(
        old=side_of(old, old_book),
        new=side_of(new, new_book),
        currency=old_book.tariffs[0].currency,
        currency_digits=old_book.tariffs[0].currency_digits,
        timezone=old_book.timezone,
        first_day=old_book.service_day_of(total.first_at) if total.first_at else None,
        last_day=old_book.service_day_of(total.last_at) if total.last_at else None,
        notes=notes_on(old_book, new_book),
        tally=total,
    )


def _tallies(job: Job, buckets: list[Bucket], workers: int | None) -> Iterator[Tally]:
    """Price the buckets, and give their results in the order of the buckets."""
    processes_count = min(workers or os.cpu_count() or 1, max(len(buckets), 1))
    if processes_count == 1:
        pricer = Pricer(job)
        yield from map(pricer.price, buckets)
        return
    # A spawned process inherits no threads, connections or locks, on every system.
    with ProcessPoolExecutor(
        processes_count,
        mp_context=get_context("spawn"),
        initializer=start_process,
        initargs=(job,),
    ) as executor:
        yield from map(unpacked, executor.map(price_bucket, buckets))
