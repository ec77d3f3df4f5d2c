"""What the desk grants, what it refuses, and that a refused request has no effect."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from fare_rules import RiderState, RideTap
from fare_rules.language.scalars import Money
from fare_rules.language.wallets import WalletClass
from gateway.core.days import RiderToday
from gateway.core.purse_desk import GrantMoney, KnownGrant, Transfer
from gateway.core.purses import PURSES_MAX, Purse
from gateway.core.taps import Action
from gateway.core.wallet_classes import Bounds, Terms, WalletClasses
from gateway.core.wallet_desk import COUPONS_MAX, WalletPlan, WalletSnapshot, grant
from gateway.core.wallet_wishes import (
    ActivateCoupon,
    BindMedia,
    ChildLimits,
    OpenWallet,
    TopUp,
    WalletRefusal,
    Wish,
)
from gateway.core.wallets import Media, Wallet, WalletStatus

ALICE, OWES, CLOSED, NEW = (UUID(int=number) for number in (1, 2, 3, 9))
PAID_ID = UUID(int=100)
NOON = datetime(2018, 9, 1, 4, tzinfo=UTC)
MANY_COUPONS = tuple(
    ("coupon_ride", NOON - timedelta(days=days)) for days in range(1, COUPONS_MAX + 1)
)
PARENT, CHILD, FULL, BOUNDLESS, RIDING = (UUID(int=number) for number in (11, 12, 13, 14, 15))
MOVED_ID = UUID(int=60)
GRANTED = KnownGrant(UUID(int=40), ALICE, "gift", "icbc", 200, NOON, None, NOON)
# On a ferry, for which 4.00 are held.
ON_BOARD = RiderToday(
    RiderState(
        RideTap(UUID(int=90), "east", 1, NOON, "r", Action.BOARD, "ferry", "ferry", "adult", "card")
    ),
    open_until=NOON + timedelta(hours=1),
)
SNAPSHOT = WalletSnapshot(
    now=NOON,
    today=date(2018, 9, 1),
    closed_through=date(2018, 9, 1),
    issuers=frozenset({"metro"}),
    wallets={
        ALICE: Wallet(ALICE, issuer_id="metro", balance_fen=500),
        OWES: Wallet(OWES, owed_fen=70),
        CLOSED: Wallet(CLOSED, status=WalletStatus.CLOSED),
        PARENT: Wallet(
            PARENT,
            balance_fen=700,
            terms=Terms("small", allotted=Bounds(None, 500, 0, 100), children_count=1),
        ),
        BOUNDLESS: Wallet(BOUNDLESS, terms=Terms(children_count=1)),
        CHILD: Wallet(CHILD, terms=Terms(None, PARENT, Bounds(1000, 500, 0, 100))),
        RIDING: Wallet(
            RIDING,
            balance_fen=500,
            riders={"r": ON_BOARD},
            terms=Terms(None, BOUNDLESS),
        ),
        FULL: Wallet(
            FULL,
            purses=tuple(
                Purse(UUID(int=100 + n), "gift", "icbc", NOON, None, 1) for n in range(PURSES_MAX)
            ),
        ),
    },
    media={
        "hers": Media("hers", ALICE, "adult", "card"),
        "lost": Media("lost", ALICE, "adult", "card", is_blocked=True),
        "free": Media("free", None, "adult", "card"),
        "full": Media("full", ALICE, "adult", "card", coupons=MANY_COUPONS),
    },
    top_ups={PAID_ID: (ALICE, 500)},
    grants={GRANTED.grant_id: GRANTED},
    transfers={MOVED_ID: (PARENT, CHILD, 1)},
)
CLASSES = WalletClasses.of(
    [
        WalletClass(
            id="small", reference="", single=Money(1000), day=Money(2000), year=Money(9000),
            balance=Money(800),
        ),
        WalletClass(id="tiny", reference="", balance=Money(499)),
        WalletClass(id="day", reference="", day=Money(499)),
    ]
)  # fmt: skip


def asked(midnight, *wishes: Wish, floor_fen: int = 0) -> WalletPlan | WalletRefusal:
    return grant(wishes, SNAPSHOT, midnight.tariffs[-1], floor_fen=floor_fen, classes=CLASSES)


def granted(amount_fen: int, wallet_id: UUID = ALICE, **said) -> Wish:
    """Money from the bank for any ride."""
    named = {"grant_id": UUID(int=50), "rule_id": "gift", "funder_id": "icbc", **said}
    return Wish(wallet_id, grants=GrantMoney(amount_fen=amount_fen, **named))


def opens(wallet_id: UUID = NEW, **said) -> Wish:
    return Wish(wallet_id, opens=OpenWallet(wallet_id, **said))


REFUSALS = [
    ("card_number", Wish(ALICE, binds=BindMedia("4111111111111111"))),
    ("card_number", Wish(ALICE, binds=BindMedia("4111111111111111", "pilot"))),
    ("unknown_wallet", Wish(NEW, top_up=TopUp(UUID(int=5), 1))),
    ("unknown_wallet", Wish(NEW, status=WalletStatus.BLOCKED)),
    ("unknown_media", Wish(ALICE, unbinds="nobody's")),
    ("unknown_media", Wish(OWES, unbinds="hers")),
    ("unknown_media", Wish(OWES, blocks_media=("hers", True))),
    ("unknown_media", Wish(ALICE, unbinds="free")),
    ("unknown_rider_category", Wish(ALICE, binds=BindMedia("a", "pilot", "ring"))),
    ("unknown_fare_media", Wish(ALICE, binds=BindMedia("a", None, "ring"))),
    ("unknown_promotion", Wish(ALICE, activates=("hers", ActivateCoupon("one_cent", NOON)))),
    ("unknown_issuer", opens(issuer_id="nobody")),
    ("issuer_differs", opens(ALICE)),
    ("wallet_closed", Wish(CLOSED, top_up=TopUp(UUID(int=5), 1))),
    ("wallet_closed", Wish(CLOSED, binds=BindMedia("a"))),
    ("wallet_closed", Wish(CLOSED, status=WalletStatus.OPEN)),
    ("wallet_owes", Wish(OWES, status=WalletStatus.CLOSED)),
    ("media_bound_elsewhere", Wish(OWES, binds=BindMedia("hers"))),
    ("too_many_coupons", Wish(ALICE, activates=("full", ActivateCoupon("coupon_ride", NOON)))),
    ("unknown_media", Wish(OWES, activates=("hers", ActivateCoupon("coupon_ride", NOON)))),
    ("top_up_id_reused", Wish(ALICE, top_up=TopUp(PAID_ID, 501))),
    ("top_up_id_reused", Wish(OWES, top_up=TopUp(PAID_ID, 500))),
    ("unknown_class", opens(class_id="gold")),
    ("unknown_class", Wish(ALICE, sets_class="gold")),
    ("unknown_parent", opens(parent_id=UUID(int=77))),
    ("unknown_parent", opens(parent_id=CLOSED)),
    ("unknown_parent", opens(parent_id=CHILD)),
    ("unknown_parent", opens(limits=ChildLimits(day_fen=100))),
    ("terms_differ", opens(ALICE, issuer_id="metro", class_id="small")),
    ("child_limits_too_high", opens(parent_id=PARENT, limits=ChildLimits(1000, 1600, 9000, 100))),
    ("child_limits_too_high", opens(parent_id=PARENT, limits=ChildLimits(1000, None, 9000, 100))),
    ("child_limits_too_high", Wish(PARENT, sets_class="day")),
    ("child_limits_too_high", Wish(BOUNDLESS, sets_class="tiny")),
    ("wallet_has_children", Wish(PARENT, status=WalletStatus.CLOSED)),
    ("wallet_rides", Wish(RIDING, status=WalletStatus.CLOSED)),
    ("unknown_purse_rule", granted(100, rule_id="nothing")),
    ("unknown_funder", granted(100, funder_id="nobody")),
    ("wallet_closed", granted(100, CLOSED)),
    ("grant_over", granted(100, valid_until=NOON)),
    ("grant_over", granted(100, valid_from=NOON, valid_until=NOON)),
    ("grant_id_reused", granted(100, grant_id=GRANTED.grant_id)),
    ("too_many_purses", granted(100, FULL)),
    ("balance_too_low", granted(501, funder_id=None)),
    ("balance_limit", granted(1, PARENT)),
    ("balance_limit", Wish(PARENT, top_up=TopUp(UUID(int=5), 1))),
    ("balance_limit", Wish(ALICE, sets_class="tiny")),
    ("unknown_grant", Wish(ALICE, returns=UUID(int=51))),
    ("unknown_grant", Wish(OWES, returns=GRANTED.grant_id)),
    ("unknown_wallet", Wish(ALICE, transfers=Transfer(UUID(int=6), NEW, 1))),
    ("not_of_one_family", Wish(ALICE, transfers=Transfer(UUID(int=6), OWES, 1))),
    ("balance_too_low", Wish(CHILD, transfers=Transfer(UUID(int=6), PARENT, 1))),
    ("balance_too_low", Wish(RIDING, transfers=Transfer(UUID(int=6), BOUNDLESS, 101))),
    ("balance_limit", Wish(PARENT, transfers=Transfer(UUID(int=6), CHILD, 101))),
    ("transfer_id_reused", Wish(PARENT, transfers=Transfer(MOVED_ID, CHILD, 2))),
]


@pytest.mark.parametrize(("refusal", "wish"), REFUSALS)
def test_each_refusal_has_its_situation(midnight, refusal, wish):
    assert asked(midnight, wish) == refusal


def test_money_that_no_ride_holds_may_be_moved(midnight):
    plan = asked(midnight, Wish(RIDING, transfers=Transfer(UUID(int=6), BOUNDLESS, 100)))
    assert {one.wallet_id: one.balance_fen for one in plan.changed} == {RIDING: 400, BOUNDLESS: 100}


def test_every_refusal_is_in_the_table():
    # What a campaign has left, the database knows: tests/processes/test_campaigns.py.
    assert {name for name, _ in REFUSALS} == set(WalletRefusal) - {"no_coupon_left"}


def test_one_wish_refused_is_all_refused(midnight):
    good = Wish(ALICE, top_up=TopUp(UUID(int=5), 100))
    assert asked(midnight, good, Wish(ALICE, unbinds="nobody's")) == "unknown_media"


def test_a_wallet_is_opened_with_its_card_and_money(midnight):
    wish = opens(issuer_id="metro", media=(BindMedia("a"),), top_up=TopUp(UUID(int=5), 300))
    plan = asked(midnight, wish, floor_fen=-200)
    (wallet,) = plan.opened
    assert (wallet.balance_fen, wallet.floor_fen, plan.changed) == (300, -200, ())
    assert plan.media == (Media("a", NEW, "adult", "card"),)
    (entry,) = plan.entries
    assert [(side.account, side.amount_fen) for side in entry.postings] == [
        ("purse", 300),
        ("bank", -300),
    ]


@pytest.mark.parametrize(
    "wish",
    [
        Wish(ALICE, top_up=TopUp(PAID_ID, 500)),
        Wish(ALICE, binds=BindMedia("hers")),
        Wish(ALICE, status=WalletStatus.OPEN),
        Wish(CLOSED, status=WalletStatus.CLOSED),
        opens(ALICE, issuer_id="metro", media=(BindMedia("hers"),), top_up=TopUp(PAID_ID, 500)),
    ],
)
def test_what_is_so_already_changes_nothing(midnight, wish):
    assert asked(midnight, wish) == WalletPlan((), (), (), ())


def test_the_same_top_up_twice_in_one_request_pays_once(midnight):
    wish = Wish(ALICE, top_up=TopUp(UUID(int=5), 100))
    plan = asked(midnight, wish, wish)
    assert [wallet.balance_fen for wallet in plan.changed] == [600]
    assert len(plan.entries) == 1


def test_a_top_up_pays_what_is_owed_first_and_joins_the_first_day_still_open(midnight):
    plan = asked(midnight, Wish(OWES, top_up=TopUp(UUID(int=5), 100)))
    assert [(wallet.balance_fen, wallet.owed_fen) for wallet in plan.changed] == [(30, 0)]
    assert plan.entries[0].settlement_day == date(2018, 9, 2)


def test_a_card_that_was_let_go_may_be_bound_again_and_stays_blocked(midnight):
    plan = asked(
        midnight, Wish(ALICE, unbinds="lost"), Wish(OWES, binds=BindMedia("lost", "student"))
    )
    assert plan.media == (Media("lost", OWES, "student", "card", is_blocked=True),)


def test_a_closed_wallet_is_paid_out_whole(midnight):
    plan = asked(midnight, Wish(ALICE, status=WalletStatus.CLOSED))
    (wallet,) = plan.changed
    assert (wallet.balance_fen, str(wallet.status)) == (0, "closed")
    assert [(side.account, side.amount_fen) for side in plan.entries[0].postings] == [
        ("purse", -500),
        ("bank", 500),
    ]


def test_a_card_is_blocked_and_unblocked(midnight):
    for wanted in (True, False):
        plan = asked(
            midnight,
            Wish(ALICE, blocks_media=("hers", True)),
            Wish(ALICE, blocks_media=("hers", wanted)),
        )
        assert plan.media[0].is_blocked is wanted


def test_a_coupon_is_activated_once_and_stays_behind_when_the_card_changes_hands(midnight):
    activates = Wish(ALICE, activates=("hers", ActivateCoupon("coupon_ride", NOON)))
    plan = asked(midnight, activates, activates)
    assert [media.coupons for media in plan.media] == [(("coupon_ride", NOON),)]
    bound = (activates, Wish(ALICE, unbinds="hers"), Wish(OWES, binds=BindMedia("hers")))
    assert [media.coupons for media in asked(midnight, *bound).media] == [()]
