"""Money for a purpose: granted, one by one or to many, traced, and taken back."""

from __future__ import annotations

from uuid import UUID

from aiohttp import web
from msgspec import Struct

from gateway.api.desk import Desk, EntryView, entry_view
from gateway.api.given import IDS_MAX, Done, now, uuid_of
from gateway.core.purse_desk import GrantMoney, KnownGrant
from gateway.core.taps import Name
from gateway.core.wallet_wishes import Wish
from gateway.purse_path import run_rule_return
from gateway.shell import wallet_store
from gateway.shell.messages import JSON, encode, read_message
from gateway.shell.problems import not_found, not_granted
from gateway.shell.purse_store import load_grant_entries
from gateway.shell.web import Caller, answer

# In one request, so that it ends in time.
_GRANTS_RETURNED_MAX = 10_000


class WalletGrant(Struct, frozen=True, forbid_unknown_fields=True):
    """One of many grants."""

    wallet_id: UUID
    grant: GrantMoney


class ReturnWish(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whose money goes back; all funders' if none is named."""

    funder_id: Name | None = None


class GrantTrace(Struct, frozen=True):
    """A grant, and every entry that moved money of it."""

    grant: KnownGrant
    entries: tuple[EntryView, ...]


class GrantRequests(Desk):
    """Grants."""

    async def grant_money(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        granted = read_message(body, request.content_type, GrantMoney)
        wallet = await self.own_wallet(request, caller)
        await self.grant([Wish(wallet.wallet_id, grants=granted)])
        return answer(encode(await self.view(wallet.wallet_id), JSON))

    async def accept_grants(
        self, request: web.Request, body: bytes, caller: Caller
    ) -> web.Response:
        wishes = read_message(body, request.content_type, list[WalletGrant])
        if len(wishes) > IDS_MAX:
            raise not_granted(422, "too_many_grants", f"Send at most {IDS_MAX}.")
        caller.check_operator(None)
        await self.grant([Wish(wish.wallet_id, grants=wish.grant) for wish in wishes])
        return answer(encode(Done(), JSON))

    async def get_grant(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        known = await self._own_grant(request, caller)
        pool = self._given.pool
        entries = await load_grant_entries(pool, known.wallet_id, known.grant_id)
        return answer(encode(GrantTrace(known, tuple(map(entry_view, entries))), JSON))

    async def return_grant(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        known = await self._own_grant(request, caller)
        await self.grant([Wish(known.wallet_id, returns=known.grant_id)])
        return answer(encode(Done(), JSON))

    async def return_rule(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        wish = read_message(body, request.content_type, ReturnWish)
        caller.check_operator(None)
        rule_id = request.match_info["rule_id"]
        returned = await run_rule_return(
            self._given.pool, self._given.book, now(), rule_id, wish.funder_id, _GRANTS_RETURNED_MAX
        )
        if not returned.grants_count and not any(
            rule_id in tariff.purse_rules for tariff in self._given.book.tariffs
        ):
            raise not_found("No tariff has such a rule for purses, and nothing is left of one.")
        return answer(encode(returned, JSON))

    async def _own_grant(self, request: web.Request, caller: Caller) -> KnownGrant:
        grant_id = uuid_of(request, "grant_id")
        known = (await wallet_store.load_grants(self._given.pool, [grant_id])).get(grant_id)
        if known is None:
            raise not_found("No such grant was made.")
        caller.check_operator((await self.view(known.wallet_id)).issuer_id)
        return known
