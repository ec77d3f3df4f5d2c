"""`faregate gates`: what each gate has sent of a service day, and what seems to be missing."""

from __future__ import annotations

from datetime import UTC, date, datetime

from fare_rules import load_book
from gateway.core.gate_days import GateDay
from gateway.exit_codes import OK, PROBLEMS_FOUND
from gateway.shell.database import open_pool
from gateway.shell.gate_store import load_gate_days
from gateway.shell.registry_store import load_registry
from gateway.shell.settings import Settings


async def tell_gates(
    settings: Settings, dsn: str, operator_id: str | None, day: date | None
) -> int:
    """A gate a line; exit 1 when the day is archived, or the operator unknown."""
    book, pool = load_book(settings.tariffs_dir), await open_pool(dsn)
    day = day or book.service_day_of(datetime.now(UTC))
    try:
        registry = await load_registry(pool)
        if operator_id is not None and operator_id not in registry.operators:
            print(f"there is no operator {operator_id}")
            return PROBLEMS_FOUND
        found = await load_gate_days(pool, day, registry.gates_of(operator_id))
    finally:
        await pool.close()
    if found is None:
        print(f"{day} is archived: look in the archive")
        return PROBLEMS_FOUND
    for gate in found:
        print("  ".join(_told(gate)))
    silent_count = sum(gate.taps_count == 0 for gate in found)
    missing_count = sum(gate.missing_count for gate in found)
    print(
        f"{day}: {len(found)} gates, {silent_count} sent nothing, {missing_count} numbers not seen"
    )
    return OK


def _told(gate: GateDay) -> list[str]:
    parts = [gate.gate_id, gate.operator_id, gate.network]
    if not gate.taps_count:
        return [*parts, "sent nothing"]
    parts.append(f"{gate.taps_count} taps")
    if gate.first_sequence is not None:
        parts.append(f"{gate.first_sequence}..{gate.last_sequence}")
    parts.append(f"newest {gate.newest_received_at:%Y-%m-%d %H:%M:%SZ}")
    if gate.missing_count:
        gaps = [
            str(gap.first) if gap.first == gap.last else f"{gap.first}..{gap.last}"
            for gap in gate.gaps
        ]
        more = ["..."] if gate.gaps_count > len(gaps) else []
        parts.append(f"{gate.missing_count} not seen: {', '.join([*gaps, *more])}")
    if gate.clock_behind_ms is not None:
        where = "behind" if gate.clock_behind_ms >= 0 else "ahead"
        parts.append(f"clock {abs(gate.clock_behind_ms) / 1000:.1f} s {where}")
    for count, what in (
        (gate.refused_count, "refused"),
        (gate.sequence_reused_count, "of them with a reused number"),
        (gate.for_a_person_count, "for a person"),
    ):
        if count:
            parts.append(f"{count} {what}")
    return parts
