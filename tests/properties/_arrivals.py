"""Two service days of taps at a harbour, as Hypothesis draws them, and how they arrive."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import NAMESPACE_URL, UUID, uuid5
from zoneinfo import ZoneInfo

from _stores import HARBOUR, MIDNIGHT, PLACES, REGISTRY
from hypothesis import strategies as st

from fare_rules import load_book
from gateway.core.days import ride_tap
from gateway.core.taps import Action, Tap
from gateway.core.wallet_wishes import BindMedia, OpenWallet, TopUp, Wish

BOOK = load_book(HARBOUR)
# Where the day turns at another hour, and one day leaves more to the next.
BOOKS = st.sampled_from([BOOK, load_book(MIDNIGHT)])
FIRST = datetime(2018, 9, 1, 8, tzinfo=ZoneInfo("Asia/Shanghai"))
LATER = FIRST + timedelta(days=4)
ANN, BOB = uuid5(NAMESPACE_URL, "ann"), uuid5(NAMESPACE_URL, "bob")
WALLETS = {
    ANN: (BindMedia("ann's card"), BindMedia("ann's phone", fare_media="qr")),
    BOB: (BindMedia("bob's card", "student"), BindMedia("his child's card", "student")),
}
TOKENS = [bind.media_token for binds in WALLETS.values() for bind in binds]
ACTIONS = {
    "metro": (Action.ENTER, Action.EXIT),
    "tram": (Action.ENTER, Action.EXIT),
    "bus": (Action.BOARD,),
    "ferry": (Action.BOARD, Action.ALIGHT),
}
SPOTS = [
    (network, stop, route, action) for network, stop, route in PLACES for action in ACTIONS[network]
]
# Minutes in which a card meets itself: a double beep, a change, a ride, and the turn of the day.
MINUTES = st.one_of(
    st.integers(0, 120),
    st.integers(900, 1_000),
    st.integers(1_150, 1_250),
    st.integers(1_400, 1_500),
)
OPENING = [
    Wish(wallet_id, opens=OpenWallet(wallet_id, "icbc" if wallet_id == BOB else None, media=binds))
    for wallet_id, binds in WALLETS.items()
]


def tap_at(number: int, spot, token: str, moment: datetime, **more: object) -> Tap:
    _, stop, route, action = spot
    return Tap(
        tap_id=uuid5(NAMESPACE_URL, f"tap {number}"),
        gate_id=f"{stop or route} {action}",
        sequence=number,
        tapped_at=moment,
        media_token=token,
        action=action,
        stop_id=stop,
        route_id=route,
        **more,
    )


@st.composite
def days(draw, *, offline: st.SearchStrategy[bool] | None = None) -> list[Tap]:
    """Taps of two days; all are let through unless `offline` says otherwise."""
    told = draw(
        st.lists(
            st.tuples(
                st.sampled_from(SPOTS),
                st.sampled_from(TOKENS),
                MINUTES,
                st.integers(0, 59),
                st.sampled_from([None, None, 0, 450]),
                st.integers(1, 3),
                offline if offline is not None else st.just(True),
            ),
            min_size=1,
            max_size=12,
        )
    )
    return [
        tap_at(
            number,
            spot,
            token,
            FIRST + timedelta(minutes=minute, seconds=second),
            full_fare=fare,
            riders_count=riders,
            offline=is_offline,
        )
        for number, (spot, token, minute, second, fare, riders, is_offline) in enumerate(told, 1)
    ]


top_ups = st.lists(
    st.builds(
        lambda number, wallet_id, fen: Wish(
            wallet_id, top_up=TopUp(uuid5(NAMESPACE_URL, f"top-up {number}"), fen)
        ),
        st.integers(1, 4),
        st.sampled_from([ANN, BOB]),
        st.sampled_from([100, 1_000]),
    ),
    max_size=3,
    unique_by=lambda wish: wish.top_up.top_up_id,
)


def split(draw, taps: list[Tap]) -> list[list[Tap]]:
    """The same taps in the same order, in batches of any size."""
    batches: list[list[Tap]] = []
    rest = taps
    while rest:
        size = draw(st.integers(1, len(rest)))
        batches.append(rest[:size])
        rest = rest[size:]
    return batches


def account_sums(entries) -> dict[tuple[UUID | None, str], int]:
    """What each account holds; the riders' own accounts by wallet."""
    sums: dict = {}
    for entry in entries:
        for side in entry.postings:
            owner = entry.wallet_id if side.account in ("purse", "debt") else None
            key = (owner, side.account)
            sums[key] = sums.get(key, 0) + side.amount_fen
    return {key: amount for key, amount in sums.items() if amount}


def charges(entries) -> dict[tuple[UUID, str], tuple[int, int]]:
    """What each tap has been charged for each product in the end, and how many rides that is."""
    found: dict = {}
    for entry in entries:
        if entry.tap_id:
            fen, count = found.get((entry.tap_id, entry.product_id), (0, 0))
            found[entry.tap_id, entry.product_id] = (
                fen + entry.operator_fen,
                count + entry.ride_count,
            )
    return {key: charge for key, charge in found.items() if charge != (0, 0)}


def facts_of(tap):
    gate = REGISTRY.gates[tap.gate_id]
    bind = next(b for binds in WALLETS.values() for b in binds if b.media_token == tap.media_token)
    return ride_tap(
        tap,
        network=gate.network,
        operator_id=gate.operator_id,
        rider_category=bind.rider_category or "adult",
        fare_media=bind.fare_media,
    )
