"""Campaigns: what sponsors promised, and what has become of it."""

from __future__ import annotations

from aiohttp import web
from msgspec import Struct

from fare_rules.quotes import sponsor_account
from gateway.api.given import Given
from gateway.shell.campaign_store import (
    CampaignDay,
    CampaignState,
    list_campaign_days,
    list_campaigns,
)
from gateway.shell.messages import JSON, encode
from gateway.shell.problems import not_found
from gateway.shell.web import Caller, answer


class CampaignReport(Struct, frozen=True):
    """One campaign, and what it paid for on each service day."""

    campaign: CampaignState
    days: tuple[CampaignDay, ...]


class CampaignRequests:
    """Campaigns' money."""

    def __init__(self, given: Given) -> None:
        self._given = given

    async def list_campaigns(
        self, _request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        caller.check_operator(None)
        return answer(encode(await list_campaigns(self._given.long_pool), JSON))

    async def get_campaign(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        caller.check_operator(None)
        asked = request.match_info
        account = sponsor_account(asked["sponsor_id"], asked["campaign_id"])
        found = await list_campaigns(self._given.long_pool, account)
        if not found:
            raise not_found("No such campaign has begun.")
        days = await list_campaign_days(self._given.long_pool, account)
        return answer(encode(CampaignReport(found[0], tuple(days)), JSON))
