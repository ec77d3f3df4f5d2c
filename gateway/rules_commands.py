"""`faregate rules`: check tariffs, explain and quote fares, compare tariffs, read and write GTFS.

No command needs a database, but for `backtest --database`, whose reader comes in as an argument of
rules_app. What only a command or two need is loaded when one of them is run.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, ParamSpec

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from fare_rules import (
    CompiledTariff,
    Fold,
    RideTap,
    TariffBook,
    TariffFault,
    TariffFaults,
    check_tariff,
    load_book,
)
from fare_rules.beside import BESIDE, EXAMPLES_FILE
from fare_rules.book import load_page
from gateway.exit_codes import CANNOT_RUN, OK, PROBLEMS_FOUND
from gateway.journey_options import CannotAnswer, JourneyOptions, folded_journey

if TYPE_CHECKING:
    from uuid import UUID

    from fare_rules.backtest import Comparison
    from fare_rules.examples import ExampleResult

    # From the first to the last service day; and the taps before it that fill the riders' memory.
    TapLog = Callable[[date | None, date | None], Iterable[RideTap]]

P = ParamSpec("P")
FaultFormat = Literal["text", "json", "github"]
TextFormat = Literal["text", "json"]
ReportFormat = Literal["text", "csv", "html"]


def answered(command: Callable[P, int]) -> Callable[P, int]:
    """Turn what is wrong with a tariff, a feed or a file into a sentence and an exit code."""

    @functools.wraps(command)
    def answer(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return command(*args, **kwargs)
        except TariffFaults as faults:
            _complain(_faults_said(list(faults.faults), "text").rstrip())
            return PROBLEMS_FOUND
        except CannotAnswer as wrong:
            _complain(str(wrong))
            return wrong.exit_code
        except BrokenPipeError:
            # Whoever reads has seen enough; what is left must not fail again on leaving.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return OK
        except OSError as error:
            if error.filename is None:
                # Not a file's fault but the database's: told where the command line starts.
                raise
            _complain(f"{error.filename}: {error.strerror}; check the path")
            return CANNOT_RUN

    return answer


def check(*paths: Path, format: FaultFormat = "text") -> int:
    """List every fault of tariff files or folders; exit 1 on any."""
    checked, faults = 0, []
    for path in dict.fromkeys(_tariff_paths(paths)):
        checked += 1
        faults += _folder_faults(path) if path.is_dir() else check_tariff(path)
    # A file may be named itself and lie in a folder that is, too.
    faults = list(dict.fromkeys(faults))
    print(_faults_said(faults, format), end="")
    if format == "text":
        where = "folder or file" if checked == 1 else "folders or files"
        print(f"{_count(len(faults), 'fault')} in {checked} {where}")
    return PROBLEMS_FOUND if faults else OK


def schema(
    *,
    for_: Annotated[Literal["tariff", "examples"], Parameter(name="--for")] = "tariff",
    currency: str = "CNY",
) -> int:
    """Print the JSON Schema of a file, for completion in an editor."""
    from fare_rules.currency import currency_digits, is_currency
    from fare_rules.editor_schema import editor_schema
    from fare_rules.language.example import Example
    from fare_rules.language.tariff import Tariff

    if not is_currency(currency):
        raise CannotAnswer(f"--currency: '{currency}' is no ISO 4217 code; write one such as CNY")
    shape = Tariff if for_ == "tariff" else tuple[Example, ...]
    print(json.dumps(editor_schema(shape, currency_digits(currency)), indent=2, ensure_ascii=False))
    return OK


def examples(folder: Path) -> int:
    """Price the examples of a folder and show where the tariff says otherwise; exit 1 then."""
    from fare_rules.examples import run_examples

    _need_examples(_folder(folder))
    results = run_examples(folder)
    wrong = [result for result in results if not result.is_right]
    if wrong:
        _wide(_differences_table(wrong))
    print(f"{len(results) - len(wrong)} of {len(results)} examples pass")
    return PROBLEMS_FOUND if wrong else OK


def explain(
    folder: Path,
    *,
    example: str | None = None,
    journey: Annotated[JourneyOptions | None, Parameter(name="*")] = None,
) -> int:
    """Tell a fare step by step: of an example, or of a journey as `quote` takes it."""
    from fare_rules.explain import explain_fold

    book = load_book(_folder(folder))
    if example is not None:
        folded, taps = _folded_example(folder, book, example)
    else:
        folded, taps = folded_journey(book, journey or JourneyOptions())
    said = explain_fold(folded, book)
    for tap in taps:
        print(_tap_said(tap, book))
        for line in said.get(tap.tap_id, ["nothing is charged here"]):
            print(f"  {line}")
    return PROBLEMS_FOUND if folded.refused else OK


def quote(
    folder: Path,
    *,
    journey: Annotated[JourneyOptions | None, Parameter(name="*")] = None,
    format: TextFormat = "text",
) -> int:
    """Price a journey before it is travelled; the answer is the gate's own."""
    book = load_book(_folder(folder))
    folded, taps = folded_journey(book, journey or JourneyOptions())
    asked = {tap.tap_id for tap in taps if tap.media_token == "asked"}
    refused = [refusal for tap_id, refusal in folded.refused.items() if tap_id in asked]
    if refused:
        from fare_rules.explain import refusal_said

        raise CannotAnswer(refusal_said(refused[0]), PROBLEMS_FOUND)
    print("\n".join(_quote_lines(folded, asked, book, format)))
    return OK


def diff(old: Path, new: Path, *, format: TextFormat = "text") -> int:
    """Compare two tariffs, files or folders (their newest), in meaning and in price."""
    from fare_rules.diff import as_json, as_text, diff_tariffs

    found = diff_tariffs(_newest_tariff(old), _newest_tariff(new))
    print(as_json(found) if format == "json" else as_text(found))
    return OK


def import_gtfs(
    feed: Path, folder: Path, *, name: str | None = None, effective_from: date | None = None
) -> int:
    """Make a tariff folder of a GTFS feed with Fares v2, and list what is not carried over."""
    from fare_rules.gtfs import UnusableFeed, import_gtfs

    if effective_from is None:
        raise CannotAnswer("say from which day it is in force: --effective-from 2026-01-01")
    try:
        remarks = import_gtfs(
            feed, folder, tariff_id=name or folder.name, effective_from=effective_from
        )
    except UnusableFeed as unusable:
        raise CannotAnswer(str(unusable), PROBLEMS_FOUND) from unusable
    for remark in remarks:
        print(remark)
    print(f"{folder} is written; {_count(len(remarks), 'remark')}")
    return OK


def export_gtfs(file: Path, target: Path) -> int:
    """Write a tariff file as GTFS Fares v2, and list what GTFS cannot say."""
    from fare_rules.gtfs import export_gtfs

    tariff = _newest_tariff(file)
    remarks = export_gtfs(tariff.file, tariff.tables, target)
    for remark in remarks:
        print(remark)
    print(f"{target} is written; {_count(len(remarks), 'remark')}")
    return OK


def rules_app(read_tap_log: TapLog | None = None) -> App:
    """Make the commands; read_tap_log reads the gateway's own taps for `backtest --database`."""
    app = App(name="rules", help="Tariff files: check, explain, quote, compare, exchange.")
    for command in (check, schema, examples, explain, quote, diff, import_gtfs, export_gtfs):
        app.command(answered(command))

    @app.command
    @answered
    def backtest(
        *,
        old: Path,
        tariff: Path,
        from_day: Annotated[date | None, Parameter(name="--from")] = None,
        to_day: Annotated[date | None, Parameter(name="--to")] = None,
        taps: Path | None = None,
        database: bool = False,
        format: ReportFormat = "text",
        out: Path | None = None,
        workers: int | None = None,
    ) -> int:
        """Price recorded taps again by another tariff: revenue, and who would gain and lose.

        Parameters
        ----------
        old
            The folder of tariffs in force; or one file, as if it had always been in force.
        tariff
            The same of the tariff to compare with.
        from_day
            The first service day to report; taps before it fill the riders' memory.
        to_day
            The last service day to report.
        taps
            A CSV file of taps: tap_id, gate_id, sequence, tapped_at (2026-03-02T08:05:11+08:00),
            media_token, action, network, operator_id, rider_category and fare_media, and any of
            stop_id, route_id, vehicle_id, full_fare (290 for 2.90), transfer_proven,
            carriage_class, riders_count, distance_m, issuer_id and coupons.
        database
            Read the taps that this gateway recorded.
        out
            A file for the report.
        workers
            Processes; as many as there are cores if left out.
        """
        if (taps is not None) is database:
            raise CannotAnswer("say where the taps are: --taps FILE, or --database")
        if database and read_tap_log is None:
            raise CannotAnswer("there is no database here; write --taps FILE")
        if workers is not None and workers < 1:
            raise CannotAnswer(f"--workers: {workers} is too few; write 1 or more")
        recorded = read_tap_log(from_day, to_day) if database and read_tap_log else taps
        assert recorded is not None
        comparison = _compared(recorded, old, tariff, from_day, to_day, workers)
        _report(comparison, format, out)
        return OK

    return app


# What the commands share.


def _compared(
    taps: Path | Iterable[RideTap],
    old: Path,
    new: Path,
    from_day: date | None,
    to_day: date | None,
    workers: int | None,
) -> Comparison:
    from fare_rules.backtest import BacktestFault, backtest, read_taps
    from fare_rules.backtest.command import shown_progress

    with contextlib.ExitStack() as stack:
        # Nobody watches a bar in a log.
        is_watched = sys.stderr.isatty()
        progress = stack.enter_context(shown_progress()) if is_watched else lambda _: None
        try:
            return backtest(
                read_taps(taps) if isinstance(taps, Path) else taps,
                old,
                new,
                first_day=from_day,
                last_day=to_day,
                workers=workers,
                progress=progress,
            )
        except BacktestFault as fault:
            raise CannotAnswer(str(fault), PROBLEMS_FOUND) from fault


def _report(comparison: Comparison, format: ReportFormat, out: Path | None) -> None:
    from fare_rules.backtest import as_csv, as_html, as_text

    text = {"text": as_text, "csv": as_csv, "html": as_html}[format](comparison)
    if out is None:
        print(text, end="")
        return
    out.write_text(text, encoding="utf-8")
    print(f"{out} is written")


def _tariff_paths(paths: tuple[Path, ...]) -> Iterator[Path]:
    """Files and folders of tariffs; a folder of such folders is all of them."""
    if not paths:
        from gateway.shell.environment import read_settings

        paths = (read_settings().tariffs_dir.parent,)
    for path in paths:
        if not path.exists():
            raise CannotAnswer(f"{path}: there is no such file or folder; check its name")
        inner = (
            [each for each in sorted(path.iterdir()) if _has_tariffs(each)] if path.is_dir() else []
        )
        if inner and not _has_tariffs(path):
            yield from inner
        elif path.name in BESIDE:
            # What it names stands in the tariffs beside it.
            yield path.parent
        else:
            yield path


def _has_tariffs(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob("*.yaml"))


def _folder_faults(folder: Path) -> list[TariffFault]:
    from fare_rules.examples import load_examples

    try:
        book = load_book(folder)
        if (folder / EXAMPLES_FILE).exists():
            load_examples(folder, book)
    except TariffFaults as faults:
        return list(faults.faults)
    return []


def _faults_said(faults: list[TariffFault], format: FaultFormat) -> str:
    from fare_rules import faults as writing

    write = {"text": writing.as_text, "json": writing.as_json, "github": writing.as_github}
    return write[format](faults)


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise CannotAnswer(f"{path} is no folder; name the folder that holds the tariff files")
    return path


def _need_examples(folder: Path) -> None:
    if not (folder / EXAMPLES_FILE).exists():
        raise CannotAnswer(f"{folder} has no {EXAMPLES_FILE}; add one, or name another folder")


def _newest_tariff(path: Path) -> CompiledTariff:
    """The tariff of a file, or the newest of a folder."""
    return load_book(path).tariffs[-1] if path.is_dir() else load_page(path)


def _folded_example(folder: Path, book: TariffBook, name: str) -> tuple[Fold, list[RideTap]]:
    import difflib

    from fare_rules.examples import fold_example, load_examples

    _need_examples(folder)
    found = {one.name: one for one in load_examples(folder, book)}
    if name not in found:
        near = difflib.get_close_matches(name, found, n=3, cutoff=0.3)
        starts = [each for each in found if each.startswith(name)]
        if len(starts) == 1:
            return fold_example(found[starts[0]], book)
        offer = "; ".join(f"'{each}'" for each in starts[:3] or near or list(found)[:3])
        raise CannotAnswer(f"no example of {folder} is named '{name}'; there is {offer}")
    return fold_example(found[name], book)


def _tap_said(tap: RideTap, book: TariffBook) -> str:
    local = tap.tapped_at.astimezone(book.timezone)
    where = (tap.network, tap.stop_id, tap.route_id, tap.vehicle_id)
    return " ".join([f"{local:%Y-%m-%d %H:%M:%S}", tap.action, *filter(None, where)])


def _quote_lines(
    folded: Fold, asked: set[UUID], book: TariffBook, format: TextFormat
) -> Iterator[str]:
    from fare_rules.amounts import said
    from fare_rules.examples import line_said, payers

    charges = [each for each in folded.charges.values() if each.tap_id in asked]
    digits, currency = book.tariffs[0].currency_digits, book.tariffs[0].currency
    fare = said(sum(each.fare_fen for each in charges), digits)
    lines = [line_said(line, digits) for each in charges for line in each.quote.lines]
    shares = {name: said(fen, digits) for name, fen in payers(charges).items()}
    if format == "json":
        tariff = charges[0].quote.tariff_id if charges else None
        answer = {"fare": fare, "currency": currency, "pays": shares, "lines": lines}
        yield json.dumps({**answer, "tariff": tariff}, ensure_ascii=False, indent=2)
        return
    yield from lines
    yield f"fare {fare} {currency}"
    yield from (f"{name} pays {amount} {currency}" for name, amount in shares.items())


def _differences_table(wrong: Iterable[ExampleResult]) -> Table:
    table = Table(box=None)
    for title in ("example", "what", "expected", "priced"):
        table.add_column(title, overflow="fold")
    for result in wrong:
        for index, each in enumerate(result.differences):
            table.add_row("" if index else result.name, each.what, each.expected, each.priced)
    return table


def _wide(table: Table) -> None:
    Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False).print(table)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _complain(sentence: str) -> None:
    print(sentence, file=sys.stderr)
