"""The back-test as a command: taps from a file, a progress bar on standard error, reports to files.

python -m fare_rules.backtest taps.csv --old tariffs/harbour --new drafts/2027-01-01.yaml
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from fare_rules.backtest.faults import BacktestFault
from fare_rules.backtest.page import as_html
from fare_rules.backtest.run import EXTREMES_COUNT, Progress, backtest
from fare_rules.backtest.tap_files import read_taps
from fare_rules.backtest.text import as_text
from fare_rules.backtest.tidy import as_csv
from fare_rules.faults import TariffFaults


def backtest_command(
    taps: Path,
    *,
    old: Path,
    new: Path,
    from_day: date | None = None,
    to_day: date | None = None,
    workers: int | None = None,
    extremes: int = EXTREMES_COUNT,
    csv: Path | None = None,
    html: Path | None = None,
) -> None:
    """Price recorded taps again by two tariffs, and report who gains and who loses.

    Parameters
    ----------
    taps
        A CSV file of taps; its columns are the fields of RideTap.
    old
        A folder of tariffs, or one file as if it had been in force for all of the taps.
    new
        The same of the tariff to compare with.
    from_day
        The first service day to report; taps before it fill the riders' memory.
    to_day
        The last service day to report.
    workers
        Processes; as many as there are cores if left out.
    extremes
        How many riders of either extreme are explained.
    csv
        Where to write all figures as a CSV file.
    html
        Where to write the report as a page with charts.
    """
    try:
        with shown_progress() as progress:
            comparison = backtest(
                read_taps(taps),
                old,
                new,
                first_day=from_day,
                last_day=to_day,
                workers=workers,
                extremes_count=extremes,
                progress=progress,
            )
    except (BacktestFault, TariffFaults) as faults:
        raise SystemExit(str(faults)) from None
    if csv is not None:
        csv.write_text(as_csv(comparison), encoding="utf-8")
    if html is not None:
        html.write_text(as_html(comparison), encoding="utf-8")
    print(as_text(comparison), end="")


@contextmanager
def shown_progress() -> Iterator[Callable[[Progress], None]]:
    """Show how far a back-test is, on standard error."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("reading taps", total=None)

        def show(progress: Progress) -> None:
            if progress.is_read:
                bars.update(
                    task,
                    description=f"pricing {progress.read_count} taps",
                    total=progress.read_count,
                    completed=progress.priced_count,
                )
            else:
                bars.update(task, description=f"reading taps: {progress.read_count}")

        yield show
