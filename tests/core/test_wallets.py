"""A wallet has one true number, its net; purse and debt follow from it."""

from uuid import UUID

import pytest

from gateway.core.wallets import Wallet


@pytest.mark.parametrize(
    ("floor", "moves", "balance", "owed"),
    [
        (0, [500], 500, 0),
        (0, [500, -500], 0, 0),
        (0, [500, -501], 0, 1),
        (0, [-300, 200], 0, 100),
        (0, [-300, 500], 200, 0),
        (-1_000, [-1_000], -1_000, 0),
        (-1_000, [-1_001], -1_000, 1),
        (-1_000, [-1_500, 600], -900, 0),
    ],
)
def test_the_purse_stops_at_the_floor_and_the_rest_is_owed(floor, moves, balance, owed):
    wallet = Wallet(UUID(int=1), floor_fen=floor)
    for amount in moves:
        wallet = wallet.moved(amount)
    assert (wallet.balance_fen, wallet.owed_fen) == (balance, owed)
    assert wallet.net_fen == sum(moves)
    assert wallet.version == len(moves)
