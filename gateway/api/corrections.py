"""The refund desk: what is to be put right, who agrees, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from msgspec import Struct

from gateway.api.desk import Desk, EntryView, entry_view
from gateway.api.given import Given, as_uuid, granted, now, uuid_of
from gateway.core.correction_wishes import CorrectionRefusal, CorrectionWish
from gateway.correction_path import correction_terms, run_correction, run_decision
from gateway.shell.correction_store import (
    Correction,
    find_correction,
    load_correction_entries,
)
from gateway.shell.correction_store import (
    list_corrections as load_corrections,
)
from gateway.shell.messages import JSON, encode, read_message
from gateway.shell.problems import not_found
from gateway.shell.web import Caller, answer

_LISTED_MAX = 500


class CorrectionView(Struct, frozen=True):
    """A correction, and the entries that it made."""

    correction: Correction
    entries: tuple[EntryView, ...]


class Corrections(Struct, frozen=True):
    """Corrections as they were proposed. With `after`, the next ones."""

    corrections: Sequence[Correction]


_STATUS = {
    CorrectionRefusal.UNKNOWN_CORRECTION: 404,
    CorrectionRefusal.UNKNOWN_WALLET: 404,
    CorrectionRefusal.UNKNOWN_TAP: 404,
    CorrectionRefusal.UNKNOWN_TOP_UP: 404,
    CorrectionRefusal.FIELDS_DIFFER: 422,
    CorrectionRefusal.CARD_NUMBER: 422,
    CorrectionRefusal.UNKNOWN_GATE: 422,
    CorrectionRefusal.UNKNOWN_MEDIA: 422,
    CorrectionRefusal.UNKNOWN_STOP: 422,
    CorrectionRefusal.UNKNOWN_ROUTE: 422,
    CorrectionRefusal.UNKNOWN_RIDER_CATEGORY: 422,
    CorrectionRefusal.UNKNOWN_SPONSOR: 422,
    CorrectionRefusal.SAME_PERSON: 403,
}
_REMEDIES = {
    CorrectionRefusal.CORRECTION_ID_REUSED: "This correction_id was used for another correction.",
    CorrectionRefusal.UNKNOWN_CORRECTION: (
        "No such correction of this wallet's rides was proposed, or it is not booked."
    ),
    CorrectionRefusal.ALREADY_DECIDED: "It was booked or rejected already; propose another.",
    CorrectionRefusal.SAME_PERSON: "Let another person agree than the one who proposed it.",
    CorrectionRefusal.FIELDS_DIFFER: (
        "Send exactly the fields that this kind of correction has; of a ride both ends where "
        "riders tap out, and one elsewhere."
    ),
    CorrectionRefusal.CARD_NUMBER: "Write a note without card numbers.",
    CorrectionRefusal.NOT_SELF_SERVICE: "Riders may name a missing end; the rest is the desk's.",
    CorrectionRefusal.UNKNOWN_WALLET: "Open the wallet first.",
    CorrectionRefusal.UNKNOWN_TAP: (
        "This wallet let no such tap through, or its day is archived: then give goodwill."
    ),
    CorrectionRefusal.UNKNOWN_TOP_UP: "No such top-up was paid into this wallet.",
    CorrectionRefusal.UNKNOWN_GATE: "Name the registered gate that did not see the ride.",
    CorrectionRefusal.UNKNOWN_MEDIA: "Name a card of this wallet.",
    CorrectionRefusal.UNKNOWN_STOP: "Register the stop first.",
    CorrectionRefusal.UNKNOWN_ROUTE: "Register the route first.",
    CorrectionRefusal.UNKNOWN_RIDER_CATEGORY: "Use one of the tariff's rider categories.",
    CorrectionRefusal.UNKNOWN_SPONSOR: "Use one of the tariff's sponsors.",
    CorrectionRefusal.TOO_OLD: "It is longer ago than rides are priced again; refund money.",
    CorrectionRefusal.NOT_YET: "Name a time that has passed.",
    CorrectionRefusal.ALREADY_CORRECTED: "Reverse the other correction of it first.",
    CorrectionRefusal.WRONG_ACTION: "This kind of correction is not for a tap of that action.",
    CorrectionRefusal.NOT_INCOMPLETE: "The ride has both its ends.",
    CorrectionRefusal.WRONG_TIME: (
        "Name a time on the same service day that a ride may take, with no tap in between; an "
        "entry is cleared within its minutes, where the rider came in."
    ),
    CorrectionRefusal.MORE_THAN_CHARGED: "Refund at most what the rider paid and has not got back.",
    CorrectionRefusal.NO_FARE: "The tariff has no price for the ride that would come of it, or its "
    "campaign not the money; move money instead.",
    CorrectionRefusal.REFUNDED: "A ride that would cost less was refunded already; leave it out, "
    "or move money for the others instead.",
    CorrectionRefusal.WALLET_CLOSED: "A closed wallet takes what its rider gets back, and is "
    "closed again to pay that out; nothing more can be charged to it.",
    CorrectionRefusal.TOO_MANY_SELF_SERVICE: "Ask a person at the desk.",
}


class CorrectionRequests(Desk):
    """Corrections."""

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self._terms = correction_terms(given.settings)

    async def propose_correction(
        self, request: web.Request, body: bytes, caller: Caller
    ) -> web.Response:
        wish = read_message(body, request.content_type, CorrectionWish)
        caller.check_operator((await self.view(wish.wallet_id)).issuer_id)
        given = self._given
        found = await run_correction(
            given.pool,
            wish,
            maker=_name(caller),
            registry=given.door.registry.current,
            book=given.book,
            terms=self._terms,
            now=now(),
        )
        return answer(encode(granted(found, _REMEDIES, _STATUS), JSON))

    async def approve_correction(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        return await self._decide(request, caller, is_approved=True)

    async def reject_correction(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        return await self._decide(request, caller, is_approved=False)

    async def _decide(
        self, request: web.Request, caller: Caller, *, is_approved: bool
    ) -> web.Response:
        given, known = self._given, await self._own(request, caller)
        found = await run_decision(
            given.pool,
            known.wish.correction_id,
            is_approved=is_approved,
            checker=_name(caller),
            registry=given.door.registry.current,
            book=given.book,
            terms=self._terms,
            now=now(),
        )
        return answer(encode(granted(found, _REMEDIES, _STATUS), JSON))

    async def get_correction(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        known = await self._own(request, caller)
        entries = await load_correction_entries(self._given.pool, known.wish)
        return answer(encode(CorrectionView(known, tuple(map(entry_view, entries))), JSON))

    async def list_corrections(
        self, request: web.Request, _body: bytes, caller: Caller
    ) -> web.Response:
        caller.check_operator(None)
        after = as_uuid(request.query["after"], "after") if "after" in request.query else None
        found = await load_corrections(self._given.pool, after, _LISTED_MAX)
        return answer(encode(Corrections(found), JSON))

    async def _own(self, request: web.Request, caller: Caller) -> Correction:
        known = await find_correction(self._given.pool, uuid_of(request, "correction_id"))
        if known is None:
            raise not_found("No such correction was proposed.")
        caller.check_operator((await self.view(known.wish.wallet_id)).issuer_id)
        return known


def _name(caller: Caller) -> str:
    assert caller.token_id is not None
    return caller.token_id
