"""Ids that follow from what they name, and are spread over their whole range as random ones are."""

from uuid import UUID

_BITS = 122
_MASK = (1 << _BITS) - 1
_ODD = 0x2545F4914F6CDD1D9E3779B97F4A7C15 & _MASK | 1


def tap_id(seed: int, gate_number: int, sequence: int) -> UUID:
    return _uuid(seed << 85 | gate_number << 63 | sequence)


def wallet_id(seed: int, rider: int) -> UUID:
    return _uuid(1 << 117 | seed << 85 | rider)


def top_up_id(seed: int, rider: int, number: int = 0) -> UUID:
    return _uuid(2 << 117 | seed << 85 | number << 32 | rider)


def _uuid(named: int) -> UUID:
    """Turn what is named into a UUID of version 8 (RFC 9562), never two into the same."""
    bits = named * _ODD & _MASK
    bits ^= bits >> 61
    high, middle, low = bits >> 74, bits >> 62 & 0xFFF, bits & (1 << 62) - 1
    return UUID(int=high << 80 | 8 << 76 | middle << 64 | 2 << 62 | low)
