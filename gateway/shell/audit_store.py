"""The audit's statements: one scan of the tap log, one of the ledger, and what must not exist.

A row is new since a head when the transaction that wrote it is not below the head's. PostgreSQL
keeps that transaction's number with each row, in `xmin`, and renews it with each UPDATE, whoever
runs it. It has 32 bits: age(xmin) counts back from now, and is no longer told once it is below 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
from msgspec import Struct

from gateway.core.audit_books import Break
from gateway.core.audit_heads import NO_ROWS, DayDigest, Head, head_content, head_from, head_name
from gateway.core.purse_desk import given_id, taken_id
from gateway.core.taps import TapOutcome
from gateway.shell import rows
from gateway.shell.database import connect_for_reading
from gateway.shell.transactions import Connection

# A scan takes as long as the log is long; the audit waits for it.
_SCAN_SECONDS = 24 * 3600.0


class Picture(Struct, frozen=True):
    """The database as one transaction sees it, and its clock of transactions."""

    # Numbers below this one belong to transactions that have all ended.
    settled_below: int
    # What age(xmin) counts back from.
    counted_from: int
    server: str
    columns: str
    closed_through: date | None
    wallets_count: int

    def ages_since(self, settled_below: int) -> int:
        """The greatest age of a row that is new since a head."""
        return self.counted_from - settled_below


class Scan(Struct, frozen=True):
    """What the log and the ledger come to, day by day: as verified, all of it, and what is new."""

    verified: Mapping[date, DayDigest]
    # All that can be verified now, for the next head.
    settled: Mapping[date, DayDigest]
    whole: Mapping[date, DayDigest]
    quarantined_count: int
    days_with_new_rows: frozenset[date]
    # The first settlement day of any new entry.
    first_settled_anew: date | None
    breaks: tuple[Break, ...]

    def total(self) -> DayDigest:
        found = NO_ROWS
        for digest in self.whole.values():
            found = found.with_rows(digest)
        return found


class _Newness(NamedTuple):
    """0: verified by the head. 1: new since. 2: new, and of a transaction that may have others."""

    since_age: int
    unsettled_age: int


async def look_at(connection: Connection) -> Picture:
    """Read a picture's clocks. It is the first statement with age() in its transaction."""
    row = await connection.fetchrow(_READ_PICTURE, timeout=_SCAN_SECONDS)
    assert row is not None
    ahead = (row["age_of_three"] + 3 - row["next"]) % 2**32
    return Picture(
        row["settled_below"],
        row["next"] + ahead,
        f"{row['system']} {row['major']} {row['database']} {row['ledger']}",
        _COLUMNS_SHA256,
        row["closed_through"],
        row["wallets_count"],
    )


async def export_picture(connection: Connection) -> str:
    """A name by which other sessions can see the database as this transaction does."""
    found: str = await connection.fetchval("SELECT pg_export_snapshot()")
    return found


@asynccontextmanager
async def same_picture(dsn: str, name: str) -> AsyncIterator[asyncpg.Connection]:
    """A session of its own that sees what the one sees that exported the picture."""
    connection = await connect_for_reading(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(f"SET TRANSACTION SNAPSHOT '{name}'")
            yield connection
    finally:
        await connection.close()


async def scan_log(connection: Connection, picture: Picture, since: Head | None) -> Scan:
    """Read every row of the tap log and the ledger once."""
    unsettled_age = picture.ages_since(picture.settled_below)
    newness = _Newness(
        picture.ages_since(since.settled_below) if since else unsettled_age, unsettled_age
    )
    taps = await connection.fetch(_SCAN_TAPS, *newness, _QUARANTINED, timeout=_SCAN_SECONDS)
    entries = await connection.fetch(_SCAN_ENTRIES, *newness, timeout=_SCAN_SECONDS)
    breaks = [
        Break("entry_unbalanced", name, "its postings do not sum to zero")
        for row in entries
        for name in row["unbalanced"] or ()
    ]
    found = [(row["service_day"], row["newness"], _taps_digest(row)) for row in taps]
    found += [(row["service_day"], row["newness"], _entries_digest(row)) for row in entries]
    new = [row["settlement_day"] for row in entries if row["newness"]]
    return Scan(
        _by_day(found, {0}),
        _by_day(found, {0, 1}),
        _by_day(found, {0, 1, 2}),
        sum(row["quarantined_count"] for row in taps),
        frozenset(day for day, age, _ in found if age),
        min(new, default=None),
        tuple(breaks),
    )


def _taps_digest(row: asyncpg.Record) -> DayDigest:
    return DayDigest(taps_count=row["rows_count"], taps_hash=row["hash"])


def _entries_digest(row: asyncpg.Record) -> DayDigest:
    return DayDigest(
        entries_count=row["rows_count"],
        entries_hash=row["hash"],
        riders_fen=row["riders_fen"],
        operators_fen=row["operators_fen"],
        bank_fen=row["bank_fen"],
        sponsors_fen=row["sponsors_fen"],
    )


def _by_day(found: Sequence[tuple[date, int, DayDigest]], ages: set[int]) -> dict[date, DayDigest]:
    days: dict[date, DayDigest] = {}
    for day, age, digest in found:
        if age in ages:
            days[day] = days.get(day, NO_ROWS).with_rows(digest)
    return days


async def list_forbidden(connection: Connection, days: Sequence[date] | None) -> list[Break]:
    """Rows that must not exist, among those of some days or of all."""
    of_days, of_their_taps, since = _OF_DAYS, _OF_THEIR_TAPS, _SINCE
    if days is None:
        of_days, of_their_taps, since = "true", "true", "'-infinity'::timestamptz"
    breaks: list[Break] = []
    for kind, query in FORBIDDEN.items():
        said = query.format(of_days=of_days, of_their_taps=of_their_taps, since=since, old=_OLD)
        given = (list(days or ()),) if "$1" in said else ()
        found = await connection.fetch(said, *given, timeout=_SCAN_SECONDS)
        breaks += [Break(kind, row[0], "") for row in found]
    return breaks + await _list_strange_transfers(connection, days)


async def _list_strange_transfers(
    connection: Connection, days: Sequence[date] | None
) -> list[Break]:
    """Entries that move money between wallets otherwise than somebody has asked."""
    asked: dict[UUID, tuple[UUID, int, datetime]] = {}
    for transfer_id, giver, taker, fen, at in await connection.fetch(_READ_TRANSFERS):
        asked[given_id(transfer_id)] = (giver, fen, at)
        asked[taken_id(transfer_id)] = (taker, -fen, at)
    found = await connection.fetch(_READ_TRANSFER_ENTRIES, days, timeout=_SCAN_SECONDS)
    return [
        Break("transfer_differs", f"{wallet_id} {version}", "nobody asked for it as it is")
        for wallet_id, version, cause_id, bank_fen, at in found
        if asked.get(cause_id) != (wallet_id, bank_fen, at)
    ]


async def list_changed_wallets(connection: Connection, picture: Picture, since: Head) -> list[UUID]:
    """Wallets with anything new since a head: their row, a tap, an entry or a grant."""
    age = picture.ages_since(since.settled_below)
    found = await connection.fetch(_READ_CHANGED_WALLETS, age, timeout=_SCAN_SECONDS)
    return [row["wallet_id"] for row in found]


async def list_changed_settlements(
    connection: Connection, picture: Picture, since: Head
) -> set[date]:
    """Settlements of which any row is new since a head."""
    age = picture.ages_since(since.settled_below)
    return {row[0] for row in await connection.fetch(_READ_CHANGED_SETTLEMENTS, age)}


async def find_shared_since(connection: Connection) -> datetime | None:
    """When the first ride of the open days was written that says how it is shared."""
    found: datetime | None = await connection.fetchval(_READ_SHARED_SINCE, timeout=_SCAN_SECONDS)
    return found


async def list_bounds(connection: Connection, wallets_count: int) -> list[UUID]:
    """Every so many wallets one, in the order of their ids."""
    found = await connection.fetch(_READ_BOUNDS, wallets_count, timeout=_SCAN_SECONDS)
    return [row["wallet_id"] for row in found]


async def count_incomplete(connection: Connection) -> int:
    """Taps of wallets, in the database, that lack something a fare needs."""
    found = await connection.fetch(_READ_FOR_A_PERSON, timeout=_SCAN_SECONDS)
    return sum(rows.is_incomplete(row["answer"]) for row in found)


class HeadEdited(Exception):
    """A head is not what its name says."""


async def find_head(connection: Connection | asyncpg.Pool, name: str = "") -> Head | None:
    """The newest head whose name begins so. Raises: HeadEdited when it says something else."""
    row = await connection.fetchrow(_READ_HEAD, name)
    if row is None:
        return None
    if head_name(row["content"]) != row["sha256"]:
        raise HeadEdited(
            f"The verified head {row['sha256']} has been edited. Run `faregate audit --full`."
        )
    return head_from(row["content"])


async def save_head(pool: asyncpg.Pool, head: Head) -> str:
    """Keep a head; its name."""
    content = head_content(head)
    name = head_name(content)
    await pool.execute(_INSERT_HEAD, name, head.made_at, content)
    return name


_TAP_COLUMNS = ", ".join(rows.TAP_COLUMNS)
_ENTRY_COLUMNS = ", ".join(rows.ENTRY_COLUMNS)
_COLUMNS_SHA256 = hashlib.sha256(f"{_TAP_COLUMNS}; {_ENTRY_COLUMNS}".encode()).hexdigest()
_QUARANTINED = [str(outcome) for outcome in TapOutcome if outcome.is_quarantined]
_READ_PICTURE = """
SELECT
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS settled_below,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next,
    age('3'::xid) AS age_of_three,
    (SELECT system_identifier FROM pg_control_system()) AS system,
    -- A dump that is restored on the same server has rows of other transactions, too.
    (SELECT oid FROM pg_database WHERE datname = current_database()) AS database,
    'journal_entry'::regclass::oid AS ledger,
    current_setting('server_version_num')::int / 10000 AS major,
    (SELECT closed_through FROM settlement_clock) AS closed_through,
    (SELECT count(*) FROM wallet) AS wallets_count
"""
_NEWNESS = """
    CASE WHEN age(xmin) BETWEEN 0 AND $2 THEN 2 WHEN age(xmin) BETWEEN 0 AND $1 THEN 1 ELSE 0 END
"""
_SCAN_TAPS = f"""
SELECT
    service_day, newness, count(*) AS rows_count, bit_xor(hash) AS hash,
    count(*) FILTER (WHERE outcome = ANY($3::text[])) AS quarantined_count
FROM (
    SELECT
        service_day, outcome, {_NEWNESS} AS newness,
        hash_record_extended(ROW({_TAP_COLUMNS}), 0) AS hash
    FROM tap
) AS one
GROUP BY service_day, newness
"""
_SCAN_ENTRIES = f"""
SELECT
    service_day, newness, count(*) AS rows_count, bit_xor(hash) AS hash,
    sum(riders_fen)::bigint AS riders_fen, sum(operators_fen)::bigint AS operators_fen,
    sum(bank_fen)::bigint AS bank_fen, sum(sponsors_fen)::bigint AS sponsors_fen,
    min(settlement_day) AS settlement_day,
    array_agg(wallet_id || ' ' || wallet_version)
        FILTER (WHERE riders_fen + operators_fen + bank_fen + sponsors_fen <> 0) AS unbalanced
FROM (
    SELECT
        service_day, settlement_day, wallet_id, wallet_version, {_NEWNESS} AS newness,
        hash_record_extended(ROW({_ENTRY_COLUMNS}), 0) AS hash,
        purse_fen + coalesce(debt_fen, 0) + CASE WHEN purses_fen IS NULL THEN 0
            ELSE (SELECT coalesce(sum(fen), 0) FROM unnest(purses_fen) AS fen) END AS riders_fen,
        coalesce(operator_fen, 0) AS operators_fen,
        coalesce(bank_fen, 0) AS bank_fen,
        CASE WHEN sponsors_fen IS NULL THEN 0
            ELSE (SELECT coalesce(sum(fen), 0) FROM unnest(sponsors_fen) AS fen) END AS sponsors_fen
    FROM journal_entry
) AS one
GROUP BY service_day, newness
"""
_OF_DAYS = "service_day = ANY($1::date[])"
_OF_THEIR_TAPS = f"tap_id IN (SELECT tap_id FROM tap WHERE {_OF_DAYS})"
# From when on things done at a desk are looked at, and from when on their entries are surely in the
# database; a day's difference covers those just after midnight, which may be of the day before.
_SINCE = "(SELECT coalesce(min(day) - 1, 'infinity') FROM unnest($1::date[]) AS day)::timestamptz"
_OLD = """coalesce(
            (SELECT max(service_day) + 2 FROM log_day WHERE archived_at IS NOT NULL), '-infinity'
        )::timestamptz"""
# Each finds rows that must not exist: what kind of break they are, and a name for each. {of_days}
# stands for the condition on the rows that are looked at; without it, all are.
FORBIDDEN = {
    "entry_without_tap": """
        SELECT wallet_id || ' ' || wallet_version FROM journal_entry
        WHERE {of_days} AND tap_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM tap WHERE tap.tap_id = journal_entry.tap_id)
        AND NOT EXISTS (
            SELECT FROM correction WHERE correction.correction_id = journal_entry.tap_id
        )""",
    "entry_without_wallet": """
        SELECT wallet_id || ' ' || wallet_version FROM journal_entry WHERE {of_days}
        AND NOT EXISTS (SELECT FROM wallet WHERE wallet.wallet_id = journal_entry.wallet_id)""",
    "tap_answered_twice": """
        SELECT tap_id::text FROM tap WHERE outcome <> 'sequence_reused'
        AND {of_their_taps}
        GROUP BY tap_id HAVING count(*) > 1""",
    "tap_without_sequence": """
        SELECT tap_id::text FROM tap LEFT JOIN gate_sequence USING (tap_id, service_day)
        WHERE {of_days} AND outcome <> 'sequence_reused' AND gate_sequence.tap_id IS NULL""",
    "entry_shared_in_part": """
        SELECT wallet_id || ' ' || wallet_version FROM journal_entry
        WHERE {of_days} AND num_nulls(journey_id, own_fen, distance_m, change_fen) NOT IN (0, 4)""",
    "correction_without_wallet": """
        SELECT correction_id::text FROM correction
        WHERE NOT EXISTS (SELECT FROM wallet WHERE wallet.wallet_id = correction.wallet_id)""",
    "correction_without_checker": """
        SELECT correction_id::text FROM correction
        JOIN correction_decision USING (correction_id)
        WHERE checker = maker""",
    "correction_without_decision": """
        SELECT wallet_id || ' ' || wallet_version FROM journal_entry AS entry
        WHERE {of_days} AND kind IN ('refund', 'goodwill') AND NOT EXISTS (
            SELECT FROM correction JOIN correction_decision AS decided USING (correction_id)
            WHERE correction_id = entry.cause_id AND state = 'booked'
            AND correction.wallet_id = entry.wallet_id
            AND decided.wallet_version = entry.wallet_version
            AND amount_fen = abs(entry.purse_fen + coalesce(entry.debt_fen, 0))
        )""",
    "correction_without_entry": """
        SELECT correction_id::text FROM correction
        JOIN correction_decision AS decided USING (correction_id)
        WHERE kind IN ('refund', 'goodwill', 'top_up_void') AND state = 'booked'
        AND decided_at >= greatest({since}, {old}) AND NOT EXISTS (
            SELECT FROM journal_entry AS entry
            WHERE entry.cause_id = correction_id AND entry.wallet_id = correction.wallet_id
        )""",
    "campaign_inexact": """
        WITH slots AS (
            SELECT account, sum(left_fen) AS left_fen FROM campaign_slot GROUP BY account
        ), paid AS (
            SELECT share.sponsor AS account, -sum(share.amount_fen) AS paid_fen
            FROM journal_entry
            CROSS JOIN unnest(sponsors, sponsors_fen) AS share (sponsor, amount_fen)
            WHERE sponsors IS NOT NULL GROUP BY share.sponsor
        ), archived AS (
            SELECT account, sum(spent_fen - reversed_fen) AS old_fen FROM campaign_old_day
            GROUP BY account
        )
        SELECT account FROM campaign JOIN slots USING (account) LEFT JOIN paid USING (account)
        LEFT JOIN archived USING (account)
        WHERE left_fen + coalesce(paid_fen, 0) + coalesce(old_fen, 0) <> budget_fen""",
    "campaign_uses_inexact": """
        WITH slots AS (
            SELECT account, sum(left_uses) AS left_uses FROM campaign_slot GROUP BY account
        ), rides AS (
            SELECT share.sponsor AS account FROM journal_entry
            CROSS JOIN unnest(sponsors, sponsors_fen) AS share (sponsor, amount_fen)
            WHERE sponsors IS NOT NULL AND share.sponsor LIKE '%/%'
            GROUP BY share.sponsor, tap_id, product_id HAVING sum(share.amount_fen) < 0
        ), used AS (
            SELECT account, count(*) AS used_count FROM rides GROUP BY account
        )
        SELECT account FROM campaign JOIN slots USING (account) LEFT JOIN used USING (account)
        -- How many rides of archived days a campaign paid for is not kept.
        WHERE left_uses + coalesce(used_count, 0) > uses_max
        OR left_uses + coalesce(used_count, 0) < uses_max
        AND NOT EXISTS (SELECT FROM campaign_old_day AS old WHERE old.account = campaign.account)
        """,
    "campaign_budget_differs": """
        SELECT account FROM campaign LEFT JOIN (
            SELECT DISTINCT ON (account) * FROM campaign_budget ORDER BY account, at DESC
        ) AS newest USING (account)
        WHERE coalesce(newest.budget_fen, 0) <> campaign.budget_fen
        OR coalesce(newest.uses_max, 0) <> campaign.uses_max""",
    "campaign_claims_differ": """
        SELECT account FROM campaign WHERE claims_count <> (
            SELECT count(*) FROM campaign_claim WHERE campaign_claim.account = campaign.account
        )""",
    "entry_without_top_up": """
        SELECT wallet_id || ' ' || wallet_version FROM journal_entry AS entry
        WHERE {of_days} AND kind = 'top_up' AND NOT EXISTS (
            SELECT FROM top_up WHERE top_up_id = entry.cause_id
            AND top_up.wallet_id = entry.wallet_id AND amount_fen = -bank_fen
            AND top_up.recorded_at = entry.recorded_at
        )""",
    "top_up_without_entry": """
        SELECT top_up_id::text FROM top_up
        WHERE recorded_at >= greatest({since}, {old}) AND NOT EXISTS (
            SELECT FROM journal_entry AS entry
            WHERE kind = 'top_up' AND cause_id = top_up_id
            AND entry.wallet_id = top_up.wallet_id AND -bank_fen = amount_fen
        )""",
    "payout_without_close": """
        SELECT entry.wallet_id || ' ' || wallet_version FROM journal_entry AS entry
        JOIN wallet USING (wallet_id)
        WHERE {of_days} AND kind = 'payout' AND status <> 'closed'""",
    "transfers_differ": """
        SELECT 'received and given ' || sum(bank_fen) FROM journal_entry
        WHERE {of_days} AND kind = 'transfer' HAVING sum(bank_fen) <> 0""",
    "grant_without_entry": """
        SELECT grant_id::text FROM purse_grant
        WHERE granted_at >= greatest({since}, {old}) AND NOT EXISTS (
            SELECT FROM journal_entry AS entry
            WHERE kind = 'grant' AND cause_id = grant_id AND entry.wallet_id = purse_grant.wallet_id
        )""",
    "delivery_differs": """
        SELECT coalesce(delivery.settlement_day, batch.settlement_day) || ' '
            || coalesce(delivery.operator_id, batch.operator_id)
        FROM delivery FULL JOIN (
            settlement_batch AS batch JOIN settlement_manifest USING (settlement_day)
        ) USING (settlement_day, operator_id)
        WHERE delivery.paid_fen IS DISTINCT FROM batch.paid_fen""",
    "batch_without_settlement": """
        SELECT settlement_day || ' ' || operator_id FROM settlement_batch AS batch
        WHERE NOT EXISTS (
            SELECT FROM settlement WHERE settlement.settlement_day = batch.settlement_day
        )""",
    "return_without_bank": """
        SELECT end_to_end_id FROM payout_return AS back
        WHERE NOT EXISTS (
            SELECT FROM delivery WHERE delivery.end_to_end_id = back.end_to_end_id
            AND delivery.operator_id = back.operator_id AND paid_fen = back.amount_fen
        ) OR NOT EXISTS (
            SELECT FROM payment_answer AS answer
            WHERE answer.end_to_end_id = back.end_to_end_id AND status IN ('RJCT', 'CANC')
            UNION ALL SELECT FROM bank_line AS line
            WHERE line.end_to_end_id = back.end_to_end_id AND line.amount_fen > 0
        )""",
    "clock_differs": """
        SELECT 'closed through ' || coalesce(max(closed_through)::text, 'no day')
        FROM settlement_clock
        HAVING count(*) <> 1
        OR max(closed_through) IS DISTINCT FROM (SELECT max(settlement_day) FROM settlement)""",
    "entry_in_wrong_period": """
        SELECT wallet_id || ' ' || wallet_version FROM journal_entry AS entry
        WHERE {of_days} AND settlement_day <> service_day AND NOT EXISTS (
            SELECT FROM settlement WHERE settlement.settlement_day = entry.settlement_day - 1
        )""",
    "entry_in_no_period": """
        WITH wrong AS (
            SELECT settlement_day FROM (
                SELECT DISTINCT settlement_day FROM journal_entry
                WHERE operator_id IS NOT NULL
            ) AS booked CROSS JOIN settlement_clock
            WHERE settlement_day <= closed_through AND 1 <> (
                SELECT count(*) FROM settlement
                WHERE settlement.settlement_day >= booked.settlement_day
                AND (days_after IS NULL OR days_after < booked.settlement_day)
            )
        )
        SELECT wallet_id || ' ' || wallet_version FROM journal_entry JOIN wrong
        USING (settlement_day) WHERE operator_id IS NOT NULL""",
}
_READ_TRANSFERS = """
SELECT transfer_id, from_wallet_id, to_wallet_id, amount_fen, recorded_at FROM transfer
"""
_READ_TRANSFER_ENTRIES = """
SELECT wallet_id, wallet_version, cause_id, bank_fen, recorded_at FROM journal_entry
WHERE kind = 'transfer' AND ($1::date[] IS NULL OR service_day = ANY($1))
"""
_READ_CHANGED_WALLETS = """
SELECT wallet_id FROM (
    SELECT wallet_id FROM wallet WHERE age(xmin) BETWEEN 0 AND $1
    UNION SELECT wallet_id FROM tap WHERE age(xmin) BETWEEN 0 AND $1
    UNION SELECT wallet_id FROM journal_entry WHERE age(xmin) BETWEEN 0 AND $1
    UNION SELECT wallet_id FROM purse_grant WHERE age(xmin) BETWEEN 0 AND $1
    UNION SELECT wallet_id FROM wallet_base WHERE age(xmin) BETWEEN 0 AND $1
    UNION SELECT wallet_id FROM correction LEFT JOIN correction_decision AS decided
        USING (correction_id)
        WHERE age(correction.xmin) BETWEEN 0 AND $1 OR age(decided.xmin) BETWEEN 0 AND $1
) AS changed
WHERE wallet_id IS NOT NULL ORDER BY wallet_id
"""
_READ_CHANGED_SETTLEMENTS = """
SELECT settlement_day FROM settlement WHERE age(xmin) BETWEEN 0 AND $1
UNION SELECT settlement_day FROM settlement_batch WHERE age(xmin) BETWEEN 0 AND $1
UNION SELECT settlement_day FROM settlement_manifest WHERE age(xmin) BETWEEN 0 AND $1
UNION SELECT settlement_day FROM delivery WHERE age(xmin) BETWEEN 0 AND $1
"""
_READ_SHARED_SINCE = """
SELECT min(recorded_at) FROM journal_entry
WHERE journey_id IS NOT NULL
    AND settlement_day > coalesce((SELECT closed_through FROM settlement_clock), '-infinity')
"""
_READ_BOUNDS = """
SELECT wallet_id FROM (
    SELECT wallet_id, row_number() OVER (ORDER BY wallet_id) AS position FROM wallet
) AS one WHERE position % $1 = 0 ORDER BY wallet_id
"""
_READ_FOR_A_PERSON = "SELECT answer FROM tap WHERE needs_person AND wallet_id IS NOT NULL"
_READ_HEAD = """
SELECT sha256, content FROM audit_head WHERE starts_with(sha256, $1) ORDER BY number DESC LIMIT 1
"""
_INSERT_HEAD = """
INSERT INTO audit_head (sha256, made_at, content) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
