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

import asyncpg
import pytest
from _stores import MIDNIGHT
from _town import RETENTION_DAYS, UNLINK_DAYS, Town, day_of, moment
from msgspec import structs

from fare_rules import load_book
from gateway.core.bank_answers import read_bank_file
from gateway.core.purse_desk import GrantMoney
from gateway.core.wallet_desk import WalletPlan
from gateway.core.wallet_wishes import Wish
from gateway.example_bank import Booking, camt_053
from gateway.purse_path import run_expiry
from gateway.reconcile_path import Reconciliation, run_reconciliation
from gateway.shell.archive_files import ArchiveMissing
from gateway.shell.bank_store import import_bank_file
from gateway.shell.campaign_store import prepare_campaigns

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
    town.close(1)
    town.tap(RIDERS[1], "exit", "metro laojie", 1, "08:20", arrives=3)
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

    found = reconciled(town, 0, 1)
    assert [structs.astuple(row) for row in found.sponsors] == [
        ("abc", 0, 0, 800, 0),
        ("icbc", 2_990, 2_990, 2_990, 0),
    ]
    assert {str(one.kind) for one in found.breaks if "icbc" in one.subject} == {"invoice_open"}


SETTLED = [(0, 1), (2, 3), (4, ARCHIVING_DAY - 1)]


@pytest.mark.parametrize("is_unlinked", [False, True])
def test_what_was_settled_is_reconciled_the_same_from_the_archive(
    town: Town, is_unlinked: bool
) -> None:
    before = [reconciled(town, *days) for days in SETTLED]
    assert "late" in {one.kind for one in before[0].breaks}
    town.archive(ARCHIVING_DAY)
    assert {day_of(0), day_of(1)} <= set(town.archived_days())
    if is_unlinked:
        assert town.unlink(UNLINK_DAYS + 4)
    after = [reconciled(town, *days) for days in SETTLED]
    for was, found in zip(before, after, strict=True):
        assert found.breaks == was.breaks
        for old, new in ((was.operators, found.operators), (was.sponsors, found.sponsors)):
            assert [(row.name, row.settled_fen) for row in new] == [
                (row.name, row.settled_fen) for row in old
            ]


def test_money_that_no_settlement_has_is_a_break_also_where_its_day_is_archived(
    town: Town,
) -> None:
    """Somebody with the owner's password made a settled sum smaller."""
    town.archive(ARCHIVING_DAY)
    town.store.run(_settle_less(town.dsn, "metro", 7))
    (found,) = (one for one in reconciled(town, 0, 1).breaks if one.kind == "ledger_not_settled")
    assert (found.subject, found.amount_fen, found.is_explained) == ("operator metro", 7, False)


def test_a_missing_archive_is_said_and_not_taken_for_money_lost(town: Town) -> None:
    town.archive(ARCHIVING_DAY)
    town.settings.archive_dir.rename(town.folder / "elsewhere")
    with pytest.raises(ArchiveMissing):
        reconciled(town, 0, 1)
    newest = (ARCHIVING_DAY - 1, ARCHIVING_DAY - 1)
    assert reconciled(town, *newest).since == day_of(ARCHIVING_DAY - 1)


def reconciled(town: Town, since: int, through: int) -> Reconciliation:
    return town.store.run(
        run_reconciliation(
            town.store.pool,
            town.book,
            since=day_of(since),
            through=day_of(through),
            today=day_of(through + 1),
            archive=town.settings.archive_dir,
        )
    )


async def _settle_less(dsn: str, operator_id: str, fen: int) -> None:
    owner = await asyncpg.connect(dsn)
    try:
        async with owner.transaction():
            await owner.execute("SET LOCAL session_replication_role = replica")
            await owner.execute(
                """UPDATE settlement_batch SET
                gross_fen = gross_fen - $2, carried_out_fen = carried_out_fen - $2
                WHERE settlement_day = $3 AND operator_id = $1""",
                operator_id,
                fen,
                day_of(1),
            )
    finally:
        await owner.close()


def test_what_a_gift_did_not_need_is_paid_back_under_its_invoice(town: Town) -> None:
    """ABC paid the whole gift; when it was over, the rest of it is ABC's again."""
    day = day_of(ARCHIVING_DAY - 1)

    def about_abc() -> list[tuple[str, int, bool]]:
        found = reconciled(town, ARCHIVING_DAY - 1, ARCHIVING_DAY - 1)
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
    for settled in SETTLED:
        kinds = {one.kind for one in reconciled(town, *settled).breaks}
        assert "unmatched_bank_line" not in kinds


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


def test_a_close_leaves_a_leg_open_that_its_campaign_has_no_money_for(
    database: str, tmp_path: Path
) -> None:
    """Tapping out is optional, and a campaign pays for one ride: of two, the other one waits."""
    text = (MIDNIGHT / "2018-08-01.yaml").read_text("utf-8")
    charge = "{kind: product, product: metro_ride}"
    text = text.replace("{kind: amount, amount: 9.00}", charge, 1)
    folder = tmp_path / "tariffs"
    folder.mkdir()
    (folder / "2018-08-01.yaml").write_text(text, "utf-8")
    terms = "id: metro, sponsor: icbc, promotions: [one_cent], reference: k.1"
    books = []
    for uses in (1, 2):
        campaign = f"campaigns: [{{{terms}, budget: 50.00, uses: {uses}}}]"
        (folder / "campaigns.yaml").write_text(campaign, "utf-8")
        books.append(load_book(folder))
    town = Town(books[0], database, tmp_path)
    for name in RIDERS[:2]:
        town.rider(name, issuer="icbc")
    for day, town.book in enumerate(books):
        town.store.run(prepare_campaigns(town.store.pool, town.book, moment(day, "05:00")))
        if day == 0:
            town.tap(RIDERS[0], "enter", "metro luohu", 0, "08:00")
            town.tap(RIDERS[1], "enter", "metro luohu", 0, "08:01")
        town.close(day)
        held = [town.store.wallet(uuid5(NAMESPACE_URL, name)).net_fen for name in RIDERS[:2]]
        assert sum(held) == 200_000 - (day + 1)
        town.check_audit()
    town.store.close()
