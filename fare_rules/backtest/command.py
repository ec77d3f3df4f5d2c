"""What a command shows while a back-test runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from fare_rules.backtest.run import Progress


@contextmanager
def shown_progress() -> Iterator[Callable[[Progress], None]]:
    """Show how far a back-test is, as a bar on standard error."""
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
