"""An insider with SQL changes one value of one row: the audit finds it, or it is listed here.

A town in which everything has happened is changed in each column of each table in turn, one row of
each kind, past triggers and constraints, and put back. What no audit can vouch for is a closed list
with a reason for each, told in gateway/MONEY.md, so that a new column must be decided upon.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

import asyncpg
import pytest
from _stores import REGISTRY
from _town import Town, moment

from fare_rules import TariffBook, load_book
from gateway.audit_path import run_audit
from gateway.core.correction_wishes import (
    CorrectionKind,
    CorrectionTerms,
    CorrectionWish,
    Reason,
)
from gateway.core.purse_desk import GrantMoney, Transfer
from gateway.core.wallet_classes import AutoTopUp
from gateway.core.wallet_wishes import BindMedia, OpenWallet, TopUp, Wish
from gateway.core.wallets import WalletStatus
from gateway.correction_path import run_correction
from gateway.purse_path import run_expiry, run_rule_return
from gateway.shell.campaign_store import prepare_campaigns
from gateway.shell.correction_store import Correction

HERE = Path(__file__).parent
TERMS = CorrectionTerms(2_000, 100, *[timedelta(days=40)] * 3)


def book_of(folder: Path) -> TariffBook:
    """Campaigns, purses and shared fares in one tariff."""
    folder.mkdir()
    for name in ("2018-08-01.yaml", "campaigns.yaml"):
        shutil.copy(HERE / "midnight_campaign" / name, folder)
    shutil.copy(HERE / "harbour_shared" / "clearing.yaml", folder)
    return load_book(folder)


class Desk:
    """What the desk does in a town."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.count = 0

    def wish(self, name: str, when: str, **told: object) -> None:
        day, clock = when.split()
        done = self.town.store.take_wishes([Wish(wallet_of(name), **told)], moment(int(day), clock))
        assert not isinstance(done, str), done

    def put_right(self, name: str, kind: CorrectionKind, when: str, **told: object) -> Correction:
        day, clock = when.split()
        self.count += 1
        if tap := told.pop("tap", None):
            told["tap_id"] = self.town.taps[str(tap)].tap_id
        wish = CorrectionWish(
            uuid5(NAMESPACE_URL, f"correction {self.count}"),
            wallet_of(name),
            kind,
            Reason.COMPLAINT,
            **told,
        )
        done = self.town.store.run(
            run_correction(
                self.town.store.pool,
                wish,
                maker="anna",
                registry=REGISTRY,
                book=self.town.book,
                terms=TERMS,
                now=moment(int(day), clock),
            )
        )
        assert isinstance(done, Correction), done
        return done


def wallet_of(name: str) -> UUID:
    return uuid5(NAMESPACE_URL, name)


def live(town: Town) -> None:
    """Three days of which two are closed; each kind of entry on an open day and on a closed one."""
    desk = Desk(town)
    town.store.run(prepare_campaigns(town.store.pool, town.book, moment(0, "04:30")))
    for name in ("ann", "bob", "cai", "eve"):
        town.rider(name, issuer="icbc" if name == "eve" else None)
    child = OpenWallet(wallet_of("dan"), None, None, wallet_of("cai"), media=(BindMedia("dan"),))
    desk.wish("dan", "0 05:00", opens=child)
    desk.wish("ann", "0 05:30", sets_auto_top_up=AutoTopUp(100_000, 500))
    for day in (0, 2):
        town.tap("ann", "board", "bus M390", day, "08:00")
        town.tap("ann", "enter", "metro luohu", day, "08:30")
        town.tap("ann", "exit", "metro laojie", day, "08:50")
        town.tap("ann", "board", "bus M506", day, "09:10")
        town.tap("eve", "enter", "metro luohu", day, "10:00")
        town.tap("eve", "exit", "metro laojie", day, "10:20")
        desk.wish("bob", f"{day} 06:00", top_up=TopUp(uuid5(NAMESPACE_URL, f"up {day}"), 700))
        for number, funder in enumerate(("icbc", None)):
            given = GrantMoney(
                uuid5(NAMESPACE_URL, f"gift {day} {number}"), "gift", 90, funder, None,
                moment(day, "12:00"),
            )  # fmt: skip
            desk.wish("bob", f"{day} 07:0{number}", grants=given)
        aside = GrantMoney(uuid5(NAMESPACE_URL, f"bus {day}"), "bus_money", 400, "abc")
        desk.wish("bob", f"{day} 07:10", grants=aside)
        town.tap("bob", "board", "bus M390", day, "08:00")
        town.tap("bob", "board", "bus M506", day, "08:20")
        # Bob never comes out.
        town.tap("bob", "enter", "metro luohu", day, "08:30")
        town.store.run(run_expiry(town.store.pool, town.book, moment(day, "12:00")))
        moves = Transfer(uuid5(NAMESPACE_URL, f"moves {day}"), wallet_of("dan"), 600)
        desk.wish("cai", f"{day} 09:00", transfers=moves)
        town.tap("cai", "board", "bus M390", day, "10:00")
        town.tap("cai", "board", "bus M390", day, "10:00:20")
        town.tap("cai", "enter", "metro luohu", day, "11:00")
        desk.put_right("cai", CorrectionKind.VOID, f"{day} 12:00", tap=f"cai {day} 10:00:20")
        desk.put_right(
            "cai", CorrectionKind.MISSING_EXIT, f"{day} 12:10", tap=f"cai {day} 11:00",
            stop_id="laojie", at=moment(day, "11:30"),
        )  # fmt: skip
        ride = {"gate_id": "M390 board", "route_id": "M390", "since": moment(day, "12:30")}
        desk.put_right(
            "cai", CorrectionKind.MISSING_RIDE, f"{day} 13:00", media_token="cai", **ride
        )
        by_operator = {"tap": f"cai {day} 10:00", "amount_fen": 10}
        desk.put_right("cai", CorrectionKind.REFUND, f"{day} 13:10", **by_operator)
        by_sponsor = {**by_operator, "sponsor_id": "abc"}
        desk.put_right("cai", CorrectionKind.REFUND, f"{day} 13:20", **by_sponsor)
        goodwill = {"amount_fen": 30, "sponsor_id": "icbc"}
        desk.put_right("cai", CorrectionKind.GOODWILL, f"{day} 13:30", **goodwill)
        void = {"top_up_id": uuid5(NAMESPACE_URL, f"up {day}")}
        desk.put_right("bob", CorrectionKind.TOP_UP_VOID, f"{day} 13:40", **void)
        name = f"gone {day}"
        town.rider(name)
        desk.wish(name, f"{day} 15:00", status=WalletStatus.CLOSED)
        if day == 0:
            town.close(0)
    town.store.run(run_rule_return(town.store.pool, town.book, moment(2, "16:00"), "gift", None, 9))
    town.tap("ann", "board", "bus M506", 0, "08:10", arrives=2)
    town.tap("cai", "board", "bus M506", 2, "17:00", arrives=2)
    town.close(1)


@pytest.fixture
def town(database: str, tmp_path: Path) -> Iterator[Town]:
    town = Town(book_of(tmp_path / "tariffs"), database, tmp_path)
    try:
        live(town)
        yield town
    finally:
        town.store.close()


# Of each kind one row of the newest day is changed; elsewhere, one row of the table.
KINDS = {
    "journal_entry": "kind",
    "tap": "outcome",
    "correction": "kind",
    "settlement": "settlement_day",
    "purse_grant": "funder_id, ended_at IS NULL",
    "wallet": "status, length(state) > 60",
}
# Tables that an audit does not read, or only where something lies in them that a day in town lacks.
UNWALKED = {
    "audit_head": "its name is its hash, and an audit may be told which to go on from",
    "bank_balance bank_file bank_line payment_answer": "the bank's word; reconciliation asks it",
    "campaign_claim campaign_old_day wallet_base wallet_day": "counted, or rules where days begin",
    "credential gate_key registry_version schema_migrations": "no money",
    "delivery_channel delivery_event delivery_job": "how files travel",
    "disruption disruption_approval": "what follows of one are corrections",
    "envelope envelope_campaign envelope_draw envelope_registration": "drawn again, if drawn",
    "erasure payout_hold payout_return": "decisions of people, held against the bank's word",
    "operator stop route gate": "the city as it is now; each tap and settlement keeps its own",
    "wallet_class": "which classes a gateway was started with; a wallet keeps its own",
}
# What the audit does not see, or not in each kind of row.
UNSEEN = {
    "campaign": {"claims_max", "began_at"},
    "campaign_budget": {"at"},
    "campaign_slot": {"account", "slot"},
    "correction": {"maker", "amount_fen"},
    "correction_decision": {"checker"},
    "delivery": {"created_at"},
    "gate_sequence": {"sequence", "gate_id"},
    "journal_entry": {"wallet_version"},
    "log_day": {"service_day", "opened_at", "manifest_sha256", "settled_through", "unlinked_at"},
    "media": {"media_token", "wallet_id", "rider_category", "fare_media", "is_blocked", "coupons"},
    "purse_grant": {"rule_id", "valid_until", "ended_at"},
    "settlement_clock": {"only_row"},
    "tap": {
        "wallet_id", "wallet_version", "received_at", "needs_person", "outcome", "said", "facts",
        "answer",
    },
    "wallet": {
        "opened_at", "floor_fen", "status", "issuer_id", "version", "open_until"
    },
}  # fmt: skip
ANOTHER = "(SELECT max(other.{column}{cast}) FROM {table} AS other WHERE other.{column} <> {own})"
CHANGED = {
    "bigint": ["coalesce({own}, 6) + 1"],
    "text": [f"coalesce({ANOTHER}, {{own}} || 'x', 'icbc')", "coalesce({own}, '') || 'x'"],
    "bytea": ["'nonsense'"],
    "timestamp with time zone": ["coalesce({own}, now()) + interval '1 hour'"],
    "date": [
        "(SELECT max(log_day.service_day) FROM log_day WHERE log_day.service_day <> {own})",
        "coalesce({own}, '2018-09-04') + 1",
    ],
    "uuid": [f"{ANOTHER}::uuid", "gen_random_uuid()"],
    "boolean": ["NOT {own}"],
    "text[]": ["array_append({own}, 'abc')", "ARRAY['abc']"],
    "bigint[]": ["array_append({own}, 1::bigint)", "ARRAY[1::bigint]"],
    "uuid[]": ["array_append({own}, gen_random_uuid())", "ARRAY[gen_random_uuid()]"],
}
# What is moved from one account to another, so that the entry sums to zero all the same.
MOVED = {
    "journal_entry": [
        ("purse_fen", "debt_fen"), ("purse_fen", "operator_fen"), ("purse_fen", "bank_fen"),
        ("operator_fen", "bank_fen"), ("operator_fen", "debt_fen"),
    ],
    "settlement_batch": [("paid_fen", "carried_out_fen"), ("gross_fen", "carried_in_fen")],
}  # fmt: skip


class Insider:
    """Who may write to the database past its triggers, and drops its constraints."""

    def __init__(self, town: Town, connection: asyncpg.Connection) -> None:
        self.town, self.connection = town, connection
        self.changed: set[tuple[str, str]] = set()
        self.unseen: set[tuple[str, str]] = set()

    async def begin(self) -> None:
        await self.connection.execute("SET session_replication_role = replica")
        for table, name in await self.connection.fetch(
            """SELECT conrelid::regclass::text, conname FROM pg_constraint
            WHERE contype = 'c' AND connamespace = 'public'::regnamespace AND coninhcount = 0"""
        ):
            await self.connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")

    async def columns(self) -> dict[str, dict[str, str]]:
        """Each table's columns and their types."""
        found: dict[str, dict[str, str]] = {}
        for table, column, type_ in await self.connection.fetch(
            """SELECT relname, attname, format_type(atttypid, NULL)
            FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
            AND NOT relispartition AND attnum > 0 AND NOT attisdropped"""
        ):
            found.setdefault(table, {})[column] = type_
        return found

    async def walk(self, table: str, types: dict[str, str]) -> None:
        kinds = f"({KINDS.get(table, '1')})::text"
        found = await self.connection.fetch(f"SELECT DISTINCT {kinds} AS kind FROM {table}")
        for one in sorted(row["kind"] for row in found):
            for column, type_ in types.items():
                cast = "::text" if type_ == "uuid" else ""
                for said in CHANGED[type_]:
                    own = f"{table}.{column}"
                    new = said.format(own=own, table=table, column=column, cast=cast)
                    if await self.change(table, {column: new}, kinds, one):
                        break
            for gains, loses in MOVED.get(table, ()):
                new = {gains: f"coalesce({gains}, 0) + 1", loses: f"coalesce({loses}, 0) - 1"}
                await self.change(table, new, kinds, one)

    async def change(self, table: str, new: dict[str, str], kinds: str, kind: str) -> bool:
        """Change a row, audit, and put it back; whether a key let it be changed."""
        names = ", ".join(new)
        was = await self.connection.fetchrow(
            f"SELECT tableoid, ctid, {names} FROM {table} WHERE {kinds} = $1 "
            "ORDER BY tableoid DESC, ctid LIMIT 1",
            kind,
        )
        assert was is not None, (table, kind)
        said = ", ".join(f"{name} = {one}" for name, one in new.items())
        where = "WHERE tableoid = $1 AND ctid = $2"
        try:
            now = await self.connection.fetchrow(
                f"UPDATE {table} SET {said} {where} RETURNING tableoid, ctid, {names}", *was[:2]
            )
        except asyncpg.PostgresError:
            return False
        if is_changed := now[2:] != was[2:]:
            self.changed |= {(table, name) for name in new}
            archive = self.town.settings.archive_dir
            report = await run_audit(self.town.store.pool, self.town.book, archive)
            if report.is_passed:
                self.unseen |= {(table, name) for name in new}
        back = ", ".join(f"{name} = ${number}" for number, name in enumerate(new, 3))
        await self.connection.execute(f"UPDATE {table} SET {back} {where}", *now[:2], *was[2:])
        return is_changed


@pytest.mark.parametrize("is_ledger", [True, False], ids=["the ledger", "all else"])
def test_a_change_of_any_column_is_found_or_known_not_to_be(town: Town, is_ledger: bool) -> None:
    town.check_audit()
    unwalked = {table for tables in UNWALKED for table in tables.split()}

    async def walk() -> Insider:
        connection = await asyncpg.connect(town.dsn)
        insider = Insider(town, connection)
        await insider.begin()
        columns = await insider.columns()
        for table in columns.keys() - unwalked:
            if (table == "journal_entry") is is_ledger:
                await insider.walk(table, columns[table])
                unchanged = {(table, column) for column in columns[table]} - insider.changed
                assert not unchanged, f"nothing was changed of {sorted(unchanged)}"
        await connection.close()
        return insider

    unseen = town.store.run(walk()).unseen
    known = {(table, column) for table, columns in UNSEEN.items() for column in columns}
    assert unseen == {one for one in known if (one[0] == "journal_entry") is is_ledger}
    town.check_audit()
