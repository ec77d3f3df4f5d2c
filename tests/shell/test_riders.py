"""What a rider is told, and what is forgotten, over HTTP on a real database."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from msgspec import structs

from gateway.audit_path import run_audit
from gateway.example_bank import camt_053
from gateway.shell.campaign_store import list_campaigns

STORIES = Path(__file__).parents[1] / "stories"


async def ask(door, wallet_id: str, what: str, method: str = "GET") -> Any:
    said = await door.ask(method, f"/v1/wallets/{wallet_id}/{what}")
    assert said.status == 200, said.body
    return said.message


async def test_a_journey_is_told_with_who_paid_for_it(open_door):
    async with open_door(tariffs_dir=STORIES / "harbour") as door:
        wallet_id = await door.open_wallet(fen=1_000)
        grant = {"grant_id": str(uuid4()), "rule_id": "gift", "funder_id": "icbc"}
        said = await door.ask(
            "POST", f"/v1/wallets/{wallet_id}/grants", {**grant, "amount_fen": 250}
        )
        assert said.status == 200
        await door.post_taps(door.metro_tap("enter"))
        out = (await door.post_taps(door.metro_tap("exit", stop_id="futian"))).message
        # The bus continues the journey, for 0.50 less.
        bus = (await door.post_taps(door.tap(full_fare=None))).message
        metro = await door.ask("GET", f"/v1/taps/{out['tap_id']}/explanation")
        assert metro.message["lines"][-1] == f"grant {grant['grant_id']} paid 2.50"
        own = await door.ask("GET", f"/v1/taps/{bus['tap_id']}/explanation")
        assert not any("grant" in line for line in own.message["lines"])
        (journey,) = await ask(door, wallet_id, "journeys")
        assert [(tap["action"], tap["fare_fen"]) for tap in journey["taps"]] == [
            ("enter", 0),
            ("exit", 300),
            ("board", 150),
        ]
        assert {p["account"].split(":")[0]: p["amount_fen"] for p in journey["payments"]} == {
            "grant": 250,
            "purse": 200,
        }


async def test_what_is_left_until_free_travel(open_door):
    async with open_door(tariffs_dir=STORIES / "midnight") as door:
        wallet_id = await door.open_wallet(fen=5_000)
        assert await ask(door, wallet_id, "progress") == []
        await door.post_taps(door.tap(full_fare=None))
        (card,) = await ask(door, wallet_id, "progress")
        assert card["media_token"] == "card-1"
        for cap in card["caps"]:
            assert cap["spent_fen"] + cap["left_fen"] == cap["limit_fen"]
        assert any(text.endswith("left until free travel") for text in card["text"])


async def test_old_journeys_are_told_to_nobody(open_door):
    async with open_door(tap_age_days_max=100) as door:
        wallet_id = await door.open_wallet(fen=1_000)
        for days in (0, 10):
            at = datetime.now(UTC) - timedelta(days=days)
            said = await door.post_taps(door.tap(tapped_at=at.isoformat(), offline=True))
            assert said.message["outcome"] == "ride_charged"
        assert len(await ask(door, wallet_id, "journeys")) == 2
        settings = structs.replace(door.api.settings, history_days=5)
    async with open_door(tap_age_days_max=100, history_days=settings.history_days) as door:
        assert len(await ask(door, wallet_id, "journeys")) == 1


async def test_an_export_has_everything_that_is_kept_of_a_wallet(open_door):
    async with open_door(tariffs_dir=STORIES / "midnight_campaign") as door:
        wallet_id = await door.open_wallet(fen=1_000)
        await door.post_taps(door.tap(full_fare=None))
        path = f"/v1/wallets/{wallet_id}"
        now = datetime.now(UTC).isoformat()
        wishes = {
            f"{path}/media/card-1/coupons": {"promotion_id": "coupon_ride", "activated_at": now},
            f"{path}/grants": {
                "grant_id": str(uuid4()),
                "rule_id": "gift",
                "funder_id": "icbc",
                "amount_fen": 250,
            },
            "/v1/corrections": {
                "correction_id": str(uuid4()),
                "wallet_id": wallet_id,
                "kind": "goodwill",
                "reason": "complaint",
                "note": "left in the rain",
                "amount_fen": 40,
                "sponsor_id": "icbc",
            },
        }
        for asked, wish in wishes.items():
            said = await door.ask("POST", asked, wish)
            assert said.status == 200, said.body
        await door.api.pool.execute("INSERT INTO envelope_campaign VALUES ('spring', '', now())")
        registers = "INSERT INTO envelope_registration VALUES ('spring', $1, now())"
        await door.api.pool.execute(registers, wallet_id)
        exported = await ask(door, wallet_id, "export")
        (media,), (coupon,) = exported["media"], exported["coupons_claimed"]
        assert (media["media_token"], media["rider_category"]) == ("card-1", "free")
        assert media["coupons"][0][0] == coupon["promotion_id"] == "coupon_ride"
        assert coupon["campaign"] == "abc/ferries"
        assert (len(exported["taps"]), len(exported["entries"])) == (1, 4)
        assert [grant["amount_fen"] for grant in exported["grants"]] == [250]
        assert [one["wish"]["note"] for one in exported["corrections"]] == ["left in the rain"]
        assert exported["registrations"] == ["spring"]


async def test_an_erased_wallet_has_no_card(door):
    wallet_id = await door.open_wallet(fen=1_000)
    tap = door.tap()
    explanation = f"/v1/taps/{tap['tap_id']}/explanation"
    await door.post_taps(tap)
    assert (await door.ask("GET", explanation)).status == 200
    said = await door.ask("POST", f"/v1/wallets/{wallet_id}/erase")
    said.check_problem(409, "wallet_open", "Close the wallet first")
    assert (await door.ask("POST", f"/v1/wallets/{wallet_id}/close")).status == 200
    assert await ask(door, wallet_id, "erase", "POST") == {"media_count": 1}
    assert await ask(door, wallet_id, "erase", "POST") == {"media_count": 0}
    assert await door.api.pool.fetchval("SELECT count(*) FROM media") == 0
    for what in ("journeys", "progress", "export"):
        told = await door.ask("GET", f"/v1/wallets/{wallet_id}/{what}")
        told.check_problem(410, "wallet_erased", "asked to be forgotten")
    told = await door.ask("GET", explanation)
    told.check_problem(410, "wallet_erased", "asked to be forgotten")
    assert (await ask(door, wallet_id, "entries"))["entries"][0]["kind"] == "payout"
    assert (await door.post_taps(door.tap())).message["outcome"] == "unknown_media"
    report = await run_audit(door.api.pool, door.api.book)
    assert report.is_passed, report.lines()


async def test_what_an_erased_card_has_claimed_counts_on_under_nobodys_name(open_door):
    async with open_door(tariffs_dir=STORIES / "midnight_campaign") as door:
        pool, now = door.api.pool, datetime.now(UTC)
        coupon = {"promotion_id": "coupon_ride", "activated_at": now.isoformat()}

        async def claim(wallet_id: str, token: str) -> None:
            path = f"/v1/wallets/{wallet_id}/media/{token}/coupons"
            said = await door.ask("POST", path, coupon)
            assert said.status == 200, said.body

        gone = await door.open_wallet(fen=1_000, media_token="card-1")
        stays = await door.open_wallet(fen=1_000, media_token="card-2")
        for wallet_id, token in ((gone, "card-1"), (stays, "card-2")):
            await claim(wallet_id, token)
        await door.post_taps(door.tap(full_fare=None))
        claims_of = "SELECT count(*) FROM campaign_claim WHERE wallet_id = $1"
        state = await list_campaigns(pool)
        assert state[0].claims_count == 2
        assert (await door.ask("POST", f"/v1/wallets/{gone}/close")).status == 200
        await ask(door, gone, "erase", "POST")
        assert await pool.fetchval(claims_of, gone) == 1
        tokens = {row[0] for row in await pool.fetch("SELECT media_token FROM campaign_claim")}
        assert "card-2" in tokens
        assert not any("card-1" in token for token in tokens)
        assert await list_campaigns(pool) == state
        # Whoever has the card next is another rider, with a claim of its own that counts.
        heir = await door.open_wallet(fen=1_000, media_token="card-1")
        await claim(heir, "card-1")
        assert (await list_campaigns(pool))[0].claims_count == 3
        report = await run_audit(pool, door.api.book)
        assert report.is_passed, report.lines()


async def test_of_a_claim_nothing_but_the_card_can_be_forgotten(open_door):
    async with open_door(tariffs_dir=STORIES / "midnight_campaign") as door:
        wallet_id, pool = await door.open_wallet(), door.api.pool
        path = f"/v1/wallets/{wallet_id}/media/card-1/coupons"
        coupon = {"promotion_id": "coupon_ride", "activated_at": datetime.now(UTC).isoformat()}
        assert (await door.ask("POST", path, coupon)).status == 200
        for edit in (
            "UPDATE campaign_claim SET media_token = 'card-2'",
            "UPDATE campaign_claim SET media_token = 'erased 1', claimed_at = now()",
            "DELETE FROM campaign_claim",
            "UPDATE erasure SET erased_by = 'nobody'",
        ):
            with pytest.raises(
                (asyncpg.RestrictViolationError, asyncpg.InsufficientPrivilegeError)
            ):
                await pool.execute(edit)


async def test_what_is_held_equals_what_riders_have(open_door):
    """For whom, how old, and where the money lies: money of a parent's, too, has its age."""
    async with open_door(tariffs_dir=STORIES / "harbour") as door:
        first = await door.open_wallet("card-1", fen=1_000, class_id="large")
        child = str(uuid4())
        limits = {"balance_fen": 500}
        opened = {"wallet_id": child, "parent_id": first, "limits": limits}
        await door.ask("POST", "/v1/wallets", [opened])
        await door.open_wallet("card-2", fen=300, issuer_id="metro")
        grant = {"grant_id": str(uuid4()), "rule_id": "gift", "funder_id": "icbc"}
        await door.ask("POST", f"/v1/wallets/{first}/grants", {**grant, "amount_fen": 250})
        await door.post_taps(door.tap())
        moves = {"transfer_id": str(uuid4()), "to_wallet_id": child, "amount_fen": 400}
        await door.ask("POST", f"/v1/wallets/{first}/transfers", moves)
        report = (await door.ask("GET", "/v1/held")).message
        for held in report["held"]:
            ages = ("under_30_days_fen", "under_365_days_fen", "older_fen")
            assert [held[age] for age in ages] == [held["amount_fen"], 0, 0]
        named = ("what", "issuer_id", "funder_id", "wallets_count", "amount_fen")
        assert [tuple(map(held.get, named)) for held in report["held"]] == [
            ("main purse", None, None, 2, 1_000),
            ("main purse", "metro", None, 1, 300),
            ("gift", None, "icbc", 1, 50),
        ]
        assert report["ledger_bank_fen"] == 1_300
        assert report["statements"] == []


async def test_what_the_bank_last_said_of_each_account_stands_beside_what_is_held(door):
    for account, day, fen in (("A", 1, 100), ("A", 2, 250), ("B", 1, 40)):
        said = await door.ask(
            "POST",
            "/v1/bank-files",
            camt_053(
                [],
                account=account,
                currency="CNY",
                day=date(2026, 3, day),
                opening=Decimal(fen) / 100,
            ),
        )
        assert said.status == 200, said.body
    report = (await door.ask("GET", "/v1/held")).message
    assert [
        (one["account"], one["balance_on"], one["amount_fen"]) for one in report["statements"]
    ] == [
        ("A", "2026-03-02", 250),
        ("B", "2026-03-01", 40),
    ]
