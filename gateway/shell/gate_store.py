"""Gates on one service day, as the tap log has them.

It reads the day's rows alone: gate_sequence by its BRIN index, of tap one partition. What is looked
up besides is one number below each gap, by key. Taps have no index for this and need none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date

import asyncpg
from msgspec import structs

from gateway.core.decide import KeptTap
from gateway.core.gate_days import GAPS_MAX, Gap, GateDay, Seen, gate_day
from gateway.core.registry import Gate
from gateway.core.taps import LET_THROUGH, TapOutcome
from gateway.shell import rows
from gateway.shell.transactions import Connection, reading

# Of so many taps, the newest of a gate, the clock is judged.
_CLOCK_TAPS_COUNT = 20
# Taps are decoded in so small portions that gates are answered in between.
_ROWS_AT_ONCE = 500


async def load_gate_days(
    pool: asyncpg.Pool, day: date, gates: Sequence[Gate]
) -> list[GateDay] | None:
    """Each of some gates on a day, in their order, also those that sent nothing.

    Shape:  None when the day is archived: the log can tell nothing of it any more.
    """
    gate_ids = [gate.gate_id for gate in gates]
    async with reading(pool) as connection:
        if await connection.fetchval(_IS_ARCHIVED, day):
            return None
        seen = await _load_seen(connection, day, gate_ids)
        newest: dict[str, list[KeptTap]] = defaultdict(list)
        async for row in connection.cursor(
            _READ_NEWEST, day, gate_ids, _CLOCK_TAPS_COUNT, prefetch=_ROWS_AT_ONCE
        ):
            kept = rows.kept_from_row(row)
            newest[kept.tap.gate_id].append(kept)
        await _add_reused(connection, day, seen)
    return [gate_day(gate, seen[gate.gate_id], newest[gate.gate_id]) for gate in gates]


async def _load_seen(connection: Connection, day: date, gate_ids: Sequence[str]) -> dict[str, Seen]:
    found = defaultdict[str, Seen](Seen)
    for row in await connection.fetch(_READ_SEEN, day, gate_ids, LET_THROUGH):
        gate_id, *figures = row
        found[gate_id] = Seen(*figures)
    for row in await connection.fetch(_READ_GAPS, day, gate_ids, GAPS_MAX):
        found[row["gate_id"]] = structs.replace(
            found[row["gate_id"]],
            missing_count=int(row["missing_count"]),
            gaps_count=row["gaps_count"],
            gaps=tuple(map(Gap, row["firsts"], row["lasts"])),
        )
    return found


async def _add_reused(connection: Connection, day: date, seen: dict[str, Seen]) -> None:
    """Taps whose number another one had. Only what they said tells their gate."""
    async for row in connection.cursor(
        _READ_REUSED, day, str(TapOutcome.SEQUENCE_REUSED), prefetch=_ROWS_AT_ONCE
    ):
        kept = rows.kept_from_row(row)
        known, received_at = seen[kept.tap.gate_id], kept.received_at
        seen[kept.tap.gate_id] = structs.replace(
            known,
            taps_count=known.taps_count + 1,
            refused_count=known.refused_count + 1,
            sequence_reused_count=known.sequence_reused_count + 1,
            newest_received_at=max(known.newest_received_at or received_at, received_at),
        )


_IS_ARCHIVED = """
SELECT archived_at IS NOT NULL FROM log_day WHERE service_day = $1
"""
# OFFSET 0 keeps the gates out of the search for the day's rows: by key, it would read each gate's
# numbers of all days.
_OWN = """
WITH own AS MATERIALIZED (
    SELECT gate_id, sequence, tap_id FROM (
        SELECT gate_id, sequence, tap_id FROM gate_sequence WHERE service_day = $1 OFFSET 0
    ) AS of_day
    WHERE gate_id = ANY($2::text[])
)
"""
_READ_SEEN = f"""{_OWN}
SELECT gate_id, count(*) AS taps_count,
    count(*) FILTER (WHERE outcome <> ALL($3::text[])) AS refused_count,
    count(*) FILTER (WHERE needs_person) AS for_a_person_count,
    max(received_at) AS newest_received_at,
    min(sequence) AS first_sequence, max(sequence) AS last_sequence
FROM own JOIN tap USING (tap_id) WHERE tap.service_day = $1 GROUP BY gate_id
"""
# Where the number before is not of this day, the next one below is looked up over all days.
_READ_GAPS = f"""{_OWN}, step AS (
    SELECT gate_id, sequence,
        lag(sequence) OVER (PARTITION BY gate_id ORDER BY sequence) AS before
    FROM own
), gap AS (
    SELECT step.gate_id, known.sequence + 1 AS first, step.sequence - 1 AS last,
        row_number() OVER (PARTITION BY step.gate_id ORDER BY step.sequence) AS place
    FROM step CROSS JOIN LATERAL (
        SELECT sequence FROM gate_sequence
        WHERE gate_id = step.gate_id AND sequence < step.sequence
        ORDER BY sequence DESC LIMIT 1
    ) AS known
    WHERE step.before IS DISTINCT FROM step.sequence - 1 AND known.sequence < step.sequence - 1
)
SELECT gate_id, count(*) AS gaps_count, sum(last - first + 1) AS missing_count,
    array_agg(first ORDER BY place) FILTER (WHERE place <= $3) AS firsts,
    array_agg(last ORDER BY place) FILTER (WHERE place <= $3) AS lasts
FROM gap GROUP BY gate_id
"""
_READ_NEWEST = f"""{_OWN}, newest AS (
    SELECT tap_id FROM (
        SELECT tap_id, row_number() OVER (PARTITION BY gate_id ORDER BY received_at DESC) AS place
        FROM own JOIN tap USING (tap_id) WHERE tap.service_day = $1
    ) AS placed
    WHERE place <= $3
)
SELECT {rows.KEPT_COLUMNS} FROM newest JOIN tap USING (tap_id) WHERE tap.service_day = $1
"""
_READ_REUSED = f"SELECT {rows.KEPT_COLUMNS} FROM tap WHERE service_day = $1 AND outcome = $2"
