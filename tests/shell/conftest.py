"""Gateways whose books are right at the end, too."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

# Test files are imported by path, so their helpers have to be found by name.
sys.path.insert(0, str(Path(__file__).parent))

from _refund_desk import audited

STORIES = Path(__file__).parents[1] / "stories"


@pytest.fixture
async def desk(open_door) -> AsyncIterator[Any]:
    """A gateway where the refund desk puts rides right."""
    async with open_door(correction_unchecked_fen_max=500, correction_self_count_max=1) as client:
        yield client
        assert (await audited(client))[-1] == "audit passed"


@pytest.fixture
async def harbour(open_door) -> AsyncIterator[Any]:
    """A gateway of a city with grants, classes of wallets and red envelopes."""
    async with open_door(tariffs_dir=STORIES / "harbour") as client:
        yield client
        assert (await audited(client))[-1] == "audit passed"
