"""What was put right of wallets' taps, read back in the order in which the wallets took it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.amendments import Amendment
from gateway.core.audit_books import KeptCorrection
from gateway.core.correction_wishes import CorrectionWish

decode_amendment = msgspec.json.Decoder(Amendment).decode
decode_wish = msgspec.json.Decoder(CorrectionWish).decode
encode_amendment = msgspec.json.Encoder().encode


async def load_amendments(
    connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy | asyncpg.Pool,
    wallet_ids: Sequence[UUID],
) -> dict[UUID, list[tuple[int, Amendment]]]:
    """Each wallet's booked amendments, with the version that it had then."""
    found: dict[UUID, list[tuple[int, Amendment]]] = {}
    for row in await connection.fetch(_READ_AMENDMENTS, wallet_ids):
        one = (row["wallet_version"], decode_amendment(row["amendment"]))
        found.setdefault(row["wallet_id"], []).append(one)
    return found


def correction_from_row(row: asyncpg.Record) -> KeptCorrection:
    """All that is kept of a correction, for the audit."""
    said = dict(row)
    amendment = decode_amendment(said["amendment"]) if said["amendment"] else None
    return KeptCorrection(**said | {"wish": decode_wish(said["wish"]), "amendment": amendment})


READ_CORRECTIONS = """
SELECT
    correction_id, wallet_id, kind, reason, note, subject, by_rider, amount_fen, proposed_at, wish,
    amendment, state, checker, wallet_version, decided_at
FROM correction LEFT JOIN correction_decision USING (correction_id)
WHERE wallet_id = ANY($1::uuid[])
"""
_READ_AMENDMENTS = """
SELECT wallet_id, wallet_version, amendment FROM correction
JOIN correction_decision USING (correction_id)
WHERE wallet_id = ANY($1::uuid[]) AND amendment IS NOT NULL AND state = 'booked'
ORDER BY wallet_id, wallet_version
"""
