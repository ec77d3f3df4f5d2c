"""A reconciliation as finance reads it: one screen, a CSV, or a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from html import escape

from fare_rules.amounts import said
from gateway.core.reconciliation import Row, age_bucket
from gateway.reconcile_path import Reconciliation

BREAKS_SHOWN_MAX = 40


def as_text(found: Reconciliation, digits: int) -> str:
    return "\n".join(_text(found, digits)) + "\n"


def _text(found: Reconciliation, digits: int) -> Iterator[str]:
    days = f"{found.since}" if found.since == found.through else f"{found.since} to {found.through}"
    yield f"Reconciliation of {days}, seen on {found.today}"
    for title, rows in (("operator", found.operators), ("sponsor", found.sponsors)):
        if rows:
            yield ""
            yield f"{title:<24}{'taps':>14}{'ledger':>14}{'settled':>14}{'bank':>14}"
            for row in (*rows, _sum(rows)):
                yield f"{row.name:<24}" + "".join(f"{said(fen, digits):>14}" for fen in _fen(row))
    yield ""
    open_count = sum(not one.is_explained for one in found.breaks)
    if not found.breaks:
        yield "no breaks"
        return
    for one in found.breaks[:BREAKS_SHOWN_MAX]:
        mark = " " if one.is_explained else "!"
        age = age_bucket(one.age_days(found.today))
        amount = said(one.amount_fen, digits)
        yield f"{mark} {one.kind:<20}{age:>4} d {amount:>12}  {one.subject}: {one.explanation}"
    if len(found.breaks) > BREAKS_SHOWN_MAX:
        yield f"  and {len(found.breaks) - BREAKS_SHOWN_MAX} more: --csv has all of them"
    yield f"{len(found.breaks)} breaks, {open_count} of them not explained"


def as_csv(found: Reconciliation) -> str:
    """All rows, then all breaks; amounts in minor units."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("part", "name", "taps_fen", "ledger_fen", "settled_fen", "bank_fen"))
    for part, rows in (("operator", found.operators), ("sponsor", found.sponsors)):
        writer.writerows((part, row.name, *_fen(row)) for row in rows)
    writer.writerow(())
    writer.writerow(
        ("kind", "subject", "since", "age_days", "amount_fen", "is_explained", "explanation")
    )
    writer.writerows(
        (
            str(one.kind),
            one.subject,
            one.since,
            one.age_days(found.today),
            one.amount_fen,
            "yes" if one.is_explained else "no",
            one.explanation,
        )
        for one in found.breaks
    )
    return text.getvalue()


def as_html(found: Reconciliation, digits: int) -> str:
    """One page that needs nothing else."""
    days = f"{found.since}" if found.since == found.through else f"{found.since} – {found.through}"
    tables = "".join(
        f"<h2>{title}</h2><table><tr><th>{name}</th><th>taps</th><th>ledger</th>"
        f"<th>settled</th><th>bank</th></tr>"
        + "".join(
            f"<tr><td>{escape(row.name)}</td>"
            + "".join(f"<td class=n>{said(fen, digits)}</td>" for fen in _fen(row))
            + "</tr>"
            for row in (*rows, _sum(rows))
        )
        + "</table>"
        for title, name, rows in (
            ("Operators", "operator", found.operators),
            ("Sponsors", "sponsor", found.sponsors),
        )
        if rows
    )
    breaks = "".join(
        f"<tr class={'ok' if one.is_explained else 'open'}><td>{one.kind}</td>"
        f"<td>{age_bucket(one.age_days(found.today))}</td>"
        f"<td class=n>{said(one.amount_fen, digits)}</td><td>{escape(one.subject)}</td>"
        f"<td>{escape(one.explanation)}</td></tr>"
        for one in found.breaks
    )
    listed = (
        "<h2>Breaks</h2><table><tr><th>kind</th><th>days</th><th>amount</th><th>about</th>"
        f"<th>what is known</th></tr>{breaks}</table>"
        if breaks
        else "<p>No breaks.</p>"
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f"<title>Reconciliation of {days}</title><style>{_STYLE}</style>"
        f"<h1>Reconciliation of {days}</h1><p>Seen on {found.today}. Taps = ledger = bank; what "
        f"differs is listed below.</p>{tables}{listed}</html>\n"
    )


_STYLE = (
    "body{font:15px/1.4 system-ui,sans-serif;margin:2em;max-width:75em}"
    "table{border-collapse:collapse}th,td{padding:.25em .8em;text-align:left;"
    "border-bottom:1px solid #ccc;vertical-align:top}.n{text-align:right;"
    "font-variant-numeric:tabular-nums}.open td{background:#fde8e8}"
)


def _fen(row: Row) -> tuple[int, int, int, int]:
    return row.taps_fen, row.ledger_fen, row.settled_fen, row.bank_fen


def _sum(rows: tuple[Row, ...]) -> Row:
    sums = [sum(column) for column in zip(*map(_fen, rows), strict=True)]
    return Row("all", *sums)
