"""What a sponsor is sent for a settlement: every ride and grant it pays, as the ledger has it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import pytest
from _stores import MIDNIGHT
from _town import RETENTION_DAYS, Town, day_of, moment
from msgspec import structs

from fare_rules import load_book
from gateway.core.bank_answers import read_bank_file
from gateway.core.purse_desk import GrantMoney
from gateway.core.wallet_desk import WalletPlan
from gateway.core.wallet_wishes import Wish
from gateway.example_bank import Booking, camt_053
from gateway.purse_path import run_expiry
from gateway.reconcile_path import Reconciliation, run_reconciliation
from gateway.shell.bank_store import import_bank_file

RIDERS = [f"rider {number}" for number in range(5)]
ARCHIVING_DAY = RETENTION_DAYS + 4
# Of a gift of 8.00 the rides took 5.02.
BACK_FEN = 298


@pytest.fixture
def town(database: str, tmp_path: Path) -> Iterator[Town]:
    """Riders with ICBC's wallets ride twice for one cent each; the third time ICBC pays nothing.

    One of them is granted 8.00 by ABC, and rides the bus of it. One ride is told of a day late.
    """
    town = Town(load_book(MIDNIGHT), database, tmp_path)
    for name in RIDERS:
        town.rider(name, issuer="icbc")
    wallet_id = uuid5(NAMESPACE_URL, RIDERS[0])
    grant = GrantMoney(uuid5(wallet_id, "gift"), "gift", 800, "abc", valid_until=moment(9, "00:00"))
    made = town.store.take_wishes([Wish(wallet_id, grants=grant)], moment(0, "05:30"))
    assert isinstance(made, WalletPlan), made
    for name in RIDERS:
        for clock in ("08:00", "12:00", "18:00"):
            town.tap(name, "enter", "metro luohu", 0, clock)
            town.tap(name, "exit", "metro laojie", 0, clock[:3] + "20")
    town.tap(RIDERS[0], "board", "bus M390", 0, "20:00")
    town.tap(RIDERS[1], "enter", "metro luohu", 1, "08:00")
    town.tap(RIDERS[1], "exit", "metro laojie", 1, "08:20", arrives=3)
    town.close(1)
    town.close(3)
    town.tap(RIDERS[0], "board", "bus M390", ARCHIVING_DAY - 1, "08:00")
    town.store.run(run_expiry(town.store.pool, town.book, moment(ARCHIVING_DAY - 1, "09:00")))
    town.close(ARCHIVING_DAY - 1)
    yield town
    town.store.close()


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))


def owed(town: Town, sponsor_id: str, after: date | None, through: date) -> int:
    return town.store.run(
        town.store.pool.fetchval(
            """SELECT -coalesce(sum(amount_fen), 0)::bigint FROM posting
            WHERE account = $1
            AND settlement_day <= $3 AND ($2::date IS NULL OR settlement_day > $2)""",
            f"sponsor:{sponsor_id}",
            after,
            through,
        )
    )


def test_a_sponsor_is_invoiced_for_each_ride_as_the_ledger_has_it(town: Town) -> None:
    """SET-03: riders pay one cent, the sponsor the rest, the operator has its fare."""
    files = town.settlement_files()[day_of(1)]
    lines = rows(files["invoice_icbc.csv"])
    assert len(lines) == 2 * len(RIDERS)
    taps = {str(tap.tap_id) for tap in town.taps.values()}
    assert {line["tap_id"] for line in lines} <= taps
    assert {line["amount_fen"] for line in lines} == {"299"}
    invoiced = {
        (row["sponsor_id"], row["service_day"]): (int(row["lines_count"]), int(row["amount_fen"]))
        for row in rows(files["invoices.csv"])
    }
    assert invoiced == {("icbc", "2018-09-03"): (10, 2_990), ("abc", "2018-09-03"): (1, 800)}
    assert owed(town, "icbc", None, day_of(1)) == 2_990
    assert owed(town, "abc", None, day_of(1)) == 800


def test_the_invoices_of_all_settlements_come_to_what_sponsors_paid(town: Town) -> None:
    invoiced: Counter[str] = Counter()
    for settlement in town.settlements():
        period = settlement.period
        files = town.settlement_files()[period.service_day]
        for row in rows(files.get("invoices.csv", b"")):
            invoiced[row["sponsor_id"]] += int(row["amount_fen"])
    for sponsor_id in ("icbc", "abc"):
        assert invoiced[sponsor_id] == owed(town, sponsor_id, None, date.max)
    # The gift was over on the tenth day; what was not ridden with went back, on the last invoice.
    assert invoiced["abc"] == 1 + 1 + 300 + 200
    assert invoiced["icbc"] == 10 * 299


def test_taps_ledger_and_invoice_of_a_sponsor_are_held_against_each_other(town: Town) -> None:
    """What ABC granted is on its invoice, and comes of no tap."""

    def reconciled(since: int, through: int) -> Reconciliation:
        days = {"since": day_of(since), "through": day_of(through), "today": day_of(through + 1)}
        return town.store.run(run_reconciliation(town.store.pool, town.book, **days))

    found = reconciled(0, 1)
    assert [structs.astuple(row) for row in found.sponsors] == [
        ("abc", 0, 0, 800, 0),
        ("icbc", 2_990, 2_990, 2_990, 0),
    ]
    assert {str(one.kind) for one in found.breaks if "icbc" in one.subject} == {"invoice_open"}
    newest = reconciled(ARCHIVING_DAY - 1, ARCHIVING_DAY - 1)
    town.archive(ARCHIVING_DAY)
    assert reconciled(ARCHIVING_DAY - 1, ARCHIVING_DAY - 1) == newest
    assert all(
        one.is_explained for one in reconciled(0, 1).breaks if one.kind == "ledger_not_settled"
    )


def test_what_a_gift_did_not_need_is_paid_back_under_its_invoice(town: Town) -> None:
    """ABC paid the whole gift; when it was over, the rest of it is ABC's again."""
    day = day_of(ARCHIVING_DAY - 1)

    def about_abc() -> list[tuple[str, int, bool]]:
        days = {"since": day, "through": day, "today": day}
        found = town.store.run(run_reconciliation(town.store.pool, town.book, **days))
        return [
            (str(one.kind), one.amount_fen, one.is_explained)
            for one in found.breaks
            if one.kind not in ("not_payable", "not_paid_yet")
        ]

    assert about_abc() == [("credit_open", -BACK_FEN, True)]
    number = len(town.settlements())
    for reference, paid, left in (
        ("R1", BACK_FEN - 1, [("credit_open", -1, True)]),
        ("R2", 1, []),
        ("R3", 1, [("invoice_overpaid", 1, False)]),
    ):
        booking = Booking(Decimal(-paid) / 100, reference, text=f"back INV-{number}-abc")
        content = camt_053([booking], account="OURS", currency="CNY", day=day, message_id=reference)
        file = read_bank_file(content)
        town.store.run(
            import_bank_file(town.store.pool, file, content, "bank", moment(ARCHIVING_DAY, "12:00"))
        )
        assert about_abc() == left
    first = day_of(0)
    days = {"since": first, "through": day_of(1), "today": day_of(2)}
    found = town.store.run(run_reconciliation(town.store.pool, town.book, **days))
    assert "unmatched_bank_line" not in {one.kind for one in found.breaks}


def test_wallets_of_an_institution_paid_what_their_riders_lost(town: Town) -> None:
    paid: Counter[str] = Counter()
    earned: Counter[str] = Counter()
    for files in town.settlement_files().values():
        for row in rows(files.get("institutions.csv", b"")):
            paid[row["issuer_id"]] += int(row["amount_fen"])
    for settlement in town.settlements():
        for batch in settlement.batches:
            earned[batch.operator_id] += batch.gross_fen
    of_rides = town.store.run(
        town.store.pool.fetchval(
            """SELECT -sum(amount_fen)::bigint FROM posting
            WHERE tap_id IS NOT NULL AND account ~ '^sponsor:'"""
        )
    )
    assert dict(paid) == {"icbc": sum(earned.values()) - of_rides}


def test_invoices_come_out_the_same_from_the_archive(town: Town) -> None:
    files = town.settlement_files()
    town.archive(ARCHIVING_DAY)
    assert day_of(1) in town.archived_days()
    assert town.settlement_files() == files
    town.check_audit()
