"""Red envelopes: announced, registered for, drawn, granted; and what anyone may verify."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from gateway.api.given import IDS_MAX, Done, Given, granted, now
from gateway.core.envelopes import Draw, EnvelopeCampaign, EnvelopeRefusal, Win
from gateway.envelope_path import (
    announce,
    grant_envelopes,
    register,
    report,
    run_draw,
    ticket_lists,
)
from gateway.shell.messages import JSON, encode, read_message
from gateway.shell.problems import not_found
from gateway.shell.web import Caller, answer

# In one request, so that it ends in time.
_ENVELOPES_MAX = 5_000


class Registrations(Struct, frozen=True, forbid_unknown_fields=True):
    """Wallets that want to be in the draw."""

    wallet_ids: Annotated[tuple[UUID, ...], Meta(min_length=1, max_length=IDS_MAX)]


class Registered(Struct, frozen=True):
    new_count: int


class DrawWish(Struct, frozen=True, forbid_unknown_fields=True):
    """The promised seed, and the public value that was said to be mixed with it."""

    seed: Annotated[str, Meta(min_length=16, max_length=200)]
    public_value: Annotated[str, Meta(min_length=1, max_length=200)]


class EnvelopesLeft(Struct, frozen=True):
    """How many envelopes have still to be granted: ask again until there are none."""

    left_count: int


class DrawList(Struct, frozen=True):
    """All that is needed to make the draw again: `faregate envelopes verify`."""

    campaign: EnvelopeCampaign
    draw: Draw | None
    tickets: Sequence[str]
    winners: Sequence[Win]


_STATUS = {EnvelopeRefusal.UNKNOWN_CAMPAIGN: 404, EnvelopeRefusal.UNKNOWN_WALLET: 422}
_REMEDIES = {
    EnvelopeRefusal.UNKNOWN_CAMPAIGN: "Announce the campaign first.",
    EnvelopeRefusal.CAMPAIGN_DIFFERS: "A campaign never changes; announce another under a new id.",
    EnvelopeRefusal.UNKNOWN_PURSE_RULE: "Use one of the tariff's purse rules.",
    EnvelopeRefusal.UNKNOWN_FUNDER: "Use one of the tariff's sponsors.",
    EnvelopeRefusal.AMOUNT_IMPOSSIBLE: (
        "Say amount_fen or random_amount, the total between all at least and all at most."
    ),
    EnvelopeRefusal.TIMES_OUT_OF_ORDER: (
        "Registration opens, then closes, then the envelopes are valid, then they end."
    ),
    EnvelopeRefusal.ANNOUNCED_TOO_LATE: "Announce it before registration opens.",
    EnvelopeRefusal.REGISTRATION_CLOSED: "Register between opening and close.",
    EnvelopeRefusal.REGISTRATION_OPEN: "Draw when registration has closed.",
    EnvelopeRefusal.UNKNOWN_WALLET: "Send wallets that are open, and yours.",
    EnvelopeRefusal.SEED_DIFFERS: "Send the seed whose SHA-256 was announced.",
    EnvelopeRefusal.DRAWN_OTHERWISE: "It was drawn with another public value, and stays so.",
    EnvelopeRefusal.CAMPAIGN_OVER: "Its envelopes have ended.",
}


class EnvelopeRequests:
    """Red envelopes."""

    def __init__(self, given: Given) -> None:
        self._given = given

    async def announce(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        caller.check_operator(None)
        campaign = read_message(body, request.content_type, EnvelopeCampaign)
        found = await announce(self._given.long_pool, campaign, self._given.book, now())
        granted(found, _REMEDIES, _STATUS)
        return answer(encode(Done(), JSON))

    async def register(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        wish = read_message(body, request.content_type, Registrations)
        found = await register(
            self._given.pool,
            request.match_info["campaign_id"],
            wish.wallet_ids,
            issuer_id=caller.operator_id,
            now=now(),
        )
        return answer(encode(Registered(granted(found, _REMEDIES, _STATUS)), JSON))

    async def draw(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        caller.check_operator(None)
        wish = read_message(body, request.content_type, DrawWish)
        drawn = await run_draw(
            self._given.long_pool,
            request.match_info["campaign_id"],
            seed=wish.seed,
            public_value=wish.public_value,
            now=now(),
        )
        return answer(encode(granted(drawn, _REMEDIES, _STATUS), JSON))

    async def grant(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        caller.check_operator(None)
        left = await grant_envelopes(
            self._given.long_pool,
            request.match_info["campaign_id"],
            registry=self._given.door.registry.current,
            book=self._given.book,
            now=now(),
            envelopes_max=_ENVELOPES_MAX,
        )
        return answer(encode(EnvelopesLeft(granted(left, _REMEDIES, _STATUS)), JSON))

    async def get_report(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        caller.check_operator(None)
        found = await report(self._given.long_pool, request.match_info["campaign_id"])
        if found is None:
            raise not_found("No such campaign was announced.")
        return answer(encode(found, JSON))

    async def get_list(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        campaign_id = request.match_info["campaign_id"]
        found = await ticket_lists(self._given.long_pool, campaign_id)
        if found is None:
            raise not_found("No such campaign was announced.")
        campaign, tickets, wins = found
        told = await report(self._given.long_pool, campaign_id)
        assert told is not None
        listed = DrawList(campaign, told.draw, tickets, wins)
        return answer(msgspec.json.format(encode(listed, JSON), indent=1))
