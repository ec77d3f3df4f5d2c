"""What a rider is told through the desk: journeys, progress, an export; and being forgotten."""

from __future__ import annotations

from aiohttp import web
from msgspec import Struct

from gateway.api.desk import Desk
from gateway.api.given import archive_at_hand, now, refuse_erased
from gateway.core.wallet_wishes import WalletView
from gateway.core.wallets import WalletStatus
from gateway.rider_path import progress_of, run_export, run_journeys
from gateway.shell import rider_store, wallet_store
from gateway.shell.held_store import load_held
from gateway.shell.messages import JSON, encode
from gateway.shell.problems import Problem
from gateway.shell.web import Caller, answer

_JOURNEY_TAPS_MAX = 400


class Erased(Struct, frozen=True):
    """How many cards were forgotten."""

    media_count: int


class RiderRequests(Desk):
    """The rider's side of a wallet."""

    async def get_journeys(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        wallet = await self._told_wallet(request, caller)
        found = await run_journeys(
            self._given.pool,
            wallet.wallet_id,
            now=now(),
            history_days=self._given.settings.history_days,
            limit=_JOURNEY_TAPS_MAX,
        )
        return answer(encode(found, JSON))

    async def get_progress(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        view = await self._told_wallet(request, caller)
        wallet = await wallet_store.load_wallet(self._given.pool, view.wallet_id)
        assert wallet is not None
        return answer(encode(progress_of(wallet, self._given.book, now()), JSON))

    async def export(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        view = await self._told_wallet(request, caller)
        wallet = await wallet_store.load_wallet(self._given.pool, view.wallet_id)
        assert wallet is not None
        with archive_at_hand():
            found = await run_export(
                self._given.long_pool, wallet, self._given.settings.archive_dir
            )
        return answer(encode(found, JSON))

    async def _told_wallet(self, request: web.Request, caller: Caller) -> WalletView:
        """The wallet of a rider that may be told of it."""
        view = await self.own_wallet(request, caller)
        await refuse_erased(self._given.pool, view.wallet_id)
        return view

    async def erase(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        view = await self.own_wallet(request, caller)
        if view.status is not WalletStatus.CLOSED:
            detail = "Close the wallet first, which pays its balance out. Nothing was done."
            raise Problem(409, "wallet_open", "The wallet is open", detail)
        count = await rider_store.erase(
            self._given.pool, view.wallet_id, caller.token_id or "", now()
        )
        return answer(encode(Erased(count), JSON))

    async def get_held(self, _request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        caller.check_operator(None)
        given = self._given
        with archive_at_hand():
            found = await load_held(given.long_pool, now(), given.settings.archive_dir)
        return answer(encode(found, JSON))
