"""Ids that follow from what they name."""

from uuid import UUID

_BITS = 122
_MASK = (1 << _BITS) - 1
_ODD = 0x2545F4914F6CDD1D9E3779B97F4A7C15 & _MASK | 1
_TAP_BITS = 74
_TAP_MASK = (1 << _TAP_BITS) - 1
_SEQUENCE_BITS = 54


def tap_id(seed: int, gate_number: int, sequence: int, at_ms: int) -> UUID:
    """What a gate should choose: a UUID of version 7 (RFC 9562), the time first."""
    bits = (gate_number << _SEQUENCE_BITS | sequence) * _ODD & _TAP_MASK
    bits ^= (bits >> 37) ^ (seed * _ODD & _TAP_MASK)
    high, low = bits >> 62, bits & (1 << 62) - 1
    return UUID(int=at_ms << 80 | 7 << 76 | high << 64 | 2 << 62 | low)


def wallet_id(seed: int, rider: int) -> UUID:
    return _uuid(1 << 117 | seed << 85 | rider)


def top_up_id(seed: int, rider: int, number: int = 0) -> UUID:
    return _uuid(2 << 117 | seed << 85 | number << 32 | rider)


def _uuid(named: int) -> UUID:
    """A UUID of version 8, never two the same, spread over the whole range as random ones are."""
    bits = named * _ODD & _MASK
    bits ^= bits >> 61
    high, middle, low = bits >> 74, bits >> 62 & 0xFFF, bits & (1 << 62) - 1
    return UUID(int=high << 80 | 8 << 76 | middle << 64 | 2 << 62 | low)
