"""The wallet desk over HTTP: wallets, the media that pay from them, and money in and out."""

from typing import Any
from uuid import uuid4

import pytest


def top_up(fen: Any = 500, top_up_id: str | None = None) -> dict[str, Any]:
    return {"top_up_id": top_up_id or str(uuid4()), "amount_fen": fen}


async def act(door, wallet_id: str, what: str, message: Any = None, **more: Any):
    return await door.ask("POST", f"/v1/wallets/{wallet_id}/{what}", message, **more)


async def tap_at_bus(door, **changes: Any) -> dict[str, Any]:
    said = await door.post_taps(door.tap(**changes))
    assert said.status == 200, said.body
    found: dict[str, Any] = said.message
    return found


async def owe(door) -> str:
    """A wallet whose rider came out of the metro with 3.00 too little."""
    wallet_id = await door.open_wallet(fen=200)
    await door.post_taps(door.metro_tap("enter"))
    said = await door.post_taps(door.metro_tap("exit", stop_id="futian", full_fare=500))
    assert said.message["outcome"] == "ride_owed", said.body
    return wallet_id


async def test_opening_a_wallet_twice_opens_one(door):
    wallet = {
        "wallet_id": str(uuid4()), "issuer_id": "buses", "media": [{"media_token": "card-1"}],
        "top_up": top_up(1000),
    }  # fmt: skip
    first = await door.ask("POST", "/v1/wallets", [wallet])
    books = await door.books()
    again = await door.ask("POST", "/v1/wallets", [wallet])
    assert (first.status, again.status, again.body) == (200, 200, first.body)
    assert await door.books() == books
    assert (books["wallets"], books["media"], books["balances_fen"]) == (1, 1, 1000)


async def test_a_wallet_keeps_its_issuer(door):
    wallet_id = await door.open_wallet(issuer_id="buses")
    books = await door.books()
    said = await door.ask("POST", "/v1/wallets", [{"wallet_id": wallet_id, "issuer_id": "metro"}])
    said.check_problem(409, "issuer_differs", "use another id")
    assert await door.books() == books


@pytest.mark.parametrize(
    ("fault", "status", "slug"),
    [
        ({"issuer_id": "nobody"}, 422, "unknown_issuer"),
        ({"media": [{"media_token": "a", "rider_category": "x"}]}, 422, "unknown_rider_category"),
        ({"media": [{"media_token": "a", "fare_media": "coin"}]}, 422, "unknown_fare_media"),
        ({"media": [{"media_token": "4111111111111111"}]}, 422, "card_number"),
        ({"media": [{"media_token": "card-1"}]}, 409, "media_bound_elsewhere"),
        ({"media": [{"media_token": "\x00"}]}, 422, "invalid_message"),
        ({"wallet_id": "one"}, 422, "invalid_message"),
        ({"balance_fen": 100}, 422, "invalid_message"),
        ({"top_up": top_up(0)}, 422, "invalid_message"),
    ],
)
async def test_when_one_of_two_wallets_has_a_fault_neither_is_opened(door, fault, status, slug):
    await door.open_wallet("card-1")
    books = await door.books()
    good = {"wallet_id": str(uuid4()), "top_up": top_up()}
    said = await door.ask("POST", "/v1/wallets", [good, {"wallet_id": str(uuid4()), **fault}])
    said.check_problem(status, slug, "othing was done")
    assert await door.books() == books


async def test_more_wallets_than_can_be_opened_at_once_are_refused(door):
    wallets = [{"wallet_id": str(uuid4())} for _ in range(1001)]
    said = await door.ask("POST", "/v1/wallets", wallets)
    said.check_problem(422, "too_many_wallets", "at most 1000")
    assert (await door.books())["wallets"] == 0


async def test_a_media_pays_while_it_is_bound(door):
    wallet_id = await door.open_wallet()
    media = {"media_token": "phone/1", "fare_media": "qr"}
    assert (await act(door, wallet_id, "media", media)).status == 200
    assert (await tap_at_bus(door, media_token="phone/1"))["outcome"] == "ride_charged"
    path = f"/v1/wallets/{wallet_id}/media/phone%2F1"
    assert (await door.ask("DELETE", path)).status == 200
    assert (await tap_at_bus(door, media_token="phone/1"))["outcome"] == "unknown_media"
    (await door.ask("DELETE", path)).check_problem(404, "unknown_media")
    assert (await door.wallet(wallet_id))["balance_fen"] == 800


async def test_a_media_moves_to_another_wallet_only_when_it_is_unbound(door):
    first, second = await door.open_wallet(), await door.open_wallet("card-2")
    media = {"media_token": "card-1"}
    said = await act(door, second, "media", media)
    said.check_problem(409, "media_bound_elsewhere", "Unbind the media from its other wallet")
    said = await door.ask("DELETE", f"/v1/wallets/{second}/media/card-1")
    said.check_problem(404, "unknown_media")
    await door.ask("DELETE", f"/v1/wallets/{first}/media/card-1")
    assert (await act(door, second, "media", media)).status == 200
    await tap_at_bus(door)
    assert (await door.wallet(first))["balance_fen"] == 1000
    assert (await door.wallet(second))["balance_fen"] < 1000


async def test_a_blocked_card_does_not_open_until_it_is_unblocked(door):
    wallet_id = await door.open_wallet()
    for _ in range(2):
        assert (await act(door, wallet_id, "media/card-1/block")).status == 200
    said = await tap_at_bus(door)
    assert (said["outcome"], said["open"]) == ("media_blocked", False)
    assert (await act(door, wallet_id, "media/card-1/unblock")).status == 200
    assert (await tap_at_bus(door))["outcome"] == "ride_charged"
    assert (await door.wallet(wallet_id))["balance_fen"] == 800


async def test_a_blocked_wallet_does_not_open_until_it_is_unblocked(door):
    wallet_id = await door.open_wallet()
    assert (await act(door, wallet_id, "block")).message["status"] == "blocked"
    assert (await tap_at_bus(door))["outcome"] == "wallet_blocked"
    assert (await act(door, wallet_id, "unblock")).message["status"] == "open"
    assert (await tap_at_bus(door))["outcome"] == "ride_charged"


@pytest.mark.parametrize("token", ["%00", "a%0Ab", "%ff", "%ED%A0%80", "x" * 300])
async def test_a_path_with_what_no_media_token_holds_is_refused(door, token):
    wallet_id = await door.open_wallet()
    books = await door.books()
    for method, what in (("DELETE", ""), ("POST", "/block"), ("POST", "/unblock")):
        said = await door.ask(method, f"/v1/wallets/{wallet_id}/media/{token}{what}")
        assert said.status in (404, 422), said
        assert said.headers["Content-Type"] == "application/problem+json"
    assert await door.books() == books


async def test_a_top_up_is_paid_in_once_however_often_it_is_sent(door):
    wallet_id = await door.open_wallet(fen=0)
    message = top_up(500)
    first = await act(door, wallet_id, "top-ups", message)
    again = await act(door, wallet_id, "top-ups", message, packed=True)
    assert (first.status, again.status, again.body) == (200, 200, first.body)
    assert (await door.wallet(wallet_id))["balance_fen"] == 500
    assert (await door.books())["entries"] == 1


async def test_a_top_up_id_is_not_used_for_another_amount_or_wallet(door):
    first, second = await door.open_wallet(fen=0), await door.open_wallet("card-2", fen=0)
    message = top_up(500)
    await act(door, first, "top-ups", message)
    books = await door.books()
    for wallet_id, fen in ((first, 600), (second, 500)):
        said = await act(door, wallet_id, "top-ups", {**message, "amount_fen": fen})
        said.check_problem(409, "top_up_id_reused", "was used for another amount or wallet")
    assert await door.books() == books


@pytest.mark.parametrize(
    "fen", [0, -1, True, "500", 1.5, 2.0, 2**63, 100_000_001, None, [500]], ids=repr
)
async def test_an_amount_that_is_no_money_is_not_paid_in(door, fen):
    wallet_id = await door.open_wallet()
    books = await door.books()
    for packed in (False, True):
        said = await act(door, wallet_id, "top-ups", top_up(fen), packed=packed)
        said.check_problem(422, "invalid_message", "$.amount_fen")
    assert await door.books() == books


async def test_a_wallet_that_is_not_there_is_not_topped_up(door):
    said = await act(door, str(uuid4()), "top-ups", top_up())
    said.check_problem(404, "not_found", "No such wallet")
    said = await act(door, "one", "top-ups", top_up())
    said.check_problem(422, "invalid_id", "must be a UUID")
    assert (await door.books())["entries"] == 0


async def test_closing_a_wallet_pays_its_balance_out_and_it_stays_closed(door):
    wallet_id = await door.open_wallet(fen=700)
    for _ in range(2):
        said = await act(door, wallet_id, "close")
        assert (said.message["status"], said.message["balance_fen"]) == ("closed", 0)
    statement = await door.ask("GET", f"/v1/wallets/{wallet_id}/entries")
    payout, paid_in = statement.message["entries"]
    assert (payout["kind"], payout["postings"]) == ("payout", [["purse", -700], ["bank", 700]])
    assert paid_in["kind"] == "top_up"
    books = await door.books()
    for what, message in (
        ("unblock", None), ("block", None), ("top-ups", top_up()),
        ("media", {"media_token": "new"}),
    ):  # fmt: skip
        said = await act(door, wallet_id, what, message)
        said.check_problem(409, "wallet_closed", "A closed wallet stays closed")
    assert await door.books() == books
    assert (await tap_at_bus(door))["outcome"] == "wallet_closed"


async def test_a_rider_with_too_little_money_gets_out_and_owes(door):
    wallet_id = await door.open_wallet(fen=200)
    entered = await door.post_taps(door.metro_tap("enter"))
    assert entered.message["outcome"] == "leg_opened"
    said = await door.post_taps(door.metro_tap("exit", stop_id="futian", full_fare=500))
    assert (said.message["outcome"], said.message["open"]) == ("ride_owed", True)
    assert (said.message["fare_fen"], said.message["owed_fen"]) == (500, 300)
    assert "Owed 3.00" in said.message["display_text"]
    wallet = await door.wallet(wallet_id)
    assert (wallet["balance_fen"], wallet["owed_fen"]) == (0, 300)


async def test_the_next_top_up_settles_the_debt_first(door):
    wallet_id = await owe(door)
    for fen, balance_fen, owed_fen in ((100, 0, 200), (500, 300, 0)):
        await act(door, wallet_id, "top-ups", top_up(fen))
        wallet = await door.wallet(wallet_id)
        assert (wallet["balance_fen"], wallet["owed_fen"]) == (balance_fen, owed_fen)
    assert (await tap_at_bus(door))["outcome"] == "ride_charged"


async def test_a_wallet_that_owes_is_not_closed(door):
    wallet_id = await owe(door)
    books = await door.books()
    said = await act(door, wallet_id, "close")
    said.check_problem(409, "wallet_owes", "Top up what is owed, then close")
    assert await door.books() == books


async def test_one_who_owes_does_not_get_in(door):
    wallet_id = await owe(door)
    for tap in (door.tap(), door.metro_tap("enter")):
        said = await door.post_taps(tap)
        assert (said.message["outcome"], said.message["open"]) == ("balance_too_low", False)
    assert (await door.wallet(wallet_id))["owed_fen"] == 300


@pytest.mark.parametrize(("fen", "outcome"), [(199, "balance_too_low"), (200, "leg_opened")])
async def test_entry_needs_the_tariffs_minimum_balance(door, fen, outcome):
    wallet_id = await door.open_wallet(fen=fen)
    said = await door.post_taps(door.metro_tap("enter"))
    assert (said.message["outcome"], said.message["open"]) == (outcome, outcome == "leg_opened")
    assert (await door.wallet(wallet_id))["balance_fen"] == fen


async def test_a_token_of_one_operator_reaches_only_its_own_wallets(door):
    own = await door.open_wallet(issuer_id="buses")
    others = [await door.open_wallet("card-2", issuer_id="metro"), await door.open_wallet("card-3")]
    assert (await act(door, own, "top-ups", top_up(), who="buses_finance")).status == 200
    books = await door.books()
    for wallet_id in others:
        path = f"/v1/wallets/{wallet_id}"
        token = "card-2" if wallet_id == others[0] else "card-3"
        asked = [
            ("GET", path, None), ("GET", path + "/entries", None),
            ("POST", path + "/top-ups", top_up()), ("POST", path + "/media", {"media_token": "x"}),
            ("DELETE", f"{path}/media/{token}", None),
            ("POST", f"{path}/media/{token}/block", None),
            ("POST", path + "/block", None), ("POST", path + "/close", None),
        ]  # fmt: skip
        for method, asked_path, message in asked:
            said = await door.ask(method, asked_path, message, who="buses_finance")
            said.check_problem(403, "forbidden", "another operator's")
    for issuer in ({"issuer_id": "metro"}, {}):
        wallet = {"wallet_id": str(uuid4()), **issuer}
        said = await door.ask("POST", "/v1/wallets", [wallet], who="buses_finance")
        said.check_problem(403, "forbidden")
    assert await door.books() == books


async def test_a_database_that_is_away_is_no_refusal(open_door, unused_tcp_port):
    """Whether the money was booked is unknown; the desk sends the same again, to any gateway."""
    async with open_door() as door, open_door() as cut_off:
        wallet_id = await door.open_wallet(fen=1000)
        paid_in = top_up(500)
        cut_off.api.pool.set_connect_args(f"postgresql://postgres@127.0.0.1:{unused_tcp_port}/x")
        await cut_off.api.pool.expire_connections()
        said = await act(cut_off, wallet_id, "top-ups", paid_in)
        said.check_problem(503, "busy", "Send the same again")
        assert said.headers["Retry-After"] == "1"
        assert (await act(door, wallet_id, "top-ups", paid_in)).status == 200
        assert (await door.wallet(wallet_id))["balance_fen"] == 1500
