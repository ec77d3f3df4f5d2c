"""Taps: posted by gates, looked up and explained afterwards."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from aiohttp import web
from msgspec import Struct

from gateway.api.given import IDS_MAX, Given, as_uuid, refuse_erased, uuid_of
from gateway.core.answers import refusal
from gateway.core.decide import KeptTap
from gateway.core.taps import Tap, TapOutcome, TapResult, looks_like_card_number
from gateway.fares_path import run_explanation
from gateway.shell import kept_store
from gateway.shell.batcher import Answer, OutcomeUnknown, Overloaded
from gateway.shell.log_days import load_archived_days
from gateway.shell.messages import JSON, REPEATS_HEADER, encode, read_message, read_taps
from gateway.shell.problems import busy, not_found, not_granted
from gateway.shell.web import Caller, answer


class ChargesWish(Struct, frozen=True, forbid_unknown_fields=True):
    """Taps whose net charge is asked for."""

    tap_ids: tuple[UUID, ...]


class TapCharge(Struct, frozen=True):
    """What a tap has come to by now, all corrections included."""

    tap_id: UUID
    operator_id: str
    product_id: str
    ride_count: int
    fare_fen: int


class Charges(Struct, frozen=True):
    charges: tuple[TapCharge, ...]


class TapForAPerson(Struct, frozen=True):
    """A tap that is incomplete, or that no rule could price."""

    tap: Tap
    result: TapResult
    received_at: datetime


class TapsForAPerson(Struct, frozen=True):
    """The oldest first; ask for more with ?after= and the last tap_id."""

    taps: tuple[TapForAPerson, ...]


_SINGLE_STATUS = {
    TapOutcome.GATE_NOT_SIGNERS: 403,
    TapOutcome.UNKNOWN_GATE: 422,
    TapOutcome.CARD_NUMBER: 422,
    TapOutcome.TAP_ID_REUSED: 409,
}
_TAP_REMEDIES = {
    TapOutcome.GATE_NOT_SIGNERS: "A gate signs for itself and for the gates behind it.",
    TapOutcome.UNKNOWN_GATE: "Register the gate first.",
    TapOutcome.CARD_NUMBER: "media_token looks like a card number; send an opaque token.",
    TapOutcome.TAP_ID_REUSED: "This tap_id was sent with other content; choose a new id.",
}


class TapRequests:
    """What gates post, and what became of it."""

    def __init__(self, given: Given) -> None:
        self._given = given

    async def accept_taps(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        said, headers = await self.take_taps(body, request.content_type, caller)
        return web.Response(body=said, headers=headers)

    async def take_taps(
        self, body: bytes, content_type: str, caller: Caller
    ) -> tuple[bytes, dict[str, str]]:
        """What is answered to one tap or an array of taps, and its headers."""
        read, is_array = read_taps(
            body,
            content_type,
            taps_max=self._given.settings.request_taps_max,
            chars_max=self._given.settings.text_chars_max,
        )
        assert caller.gate_id is not None
        answers = await self.answer_taps(read, caller.gate_id)
        if not is_array:
            _raise_if_refused_whole(answers[0].result)
        said = [answer.result for answer in answers] if is_array else answers[0].result
        headers = {"Content-Type": content_type}
        if repeats := [i for i, one in enumerate(answers) if one.is_repeat]:
            headers[REPEATS_HEADER] = _ranges(repeats)
        return encode(said, content_type), headers

    async def answer_taps(self, read: list[Tap | TapResult], signer_id: str) -> list[Answer]:
        """Answer what one gate signed, in order. Raises: Problem 503, and nothing is known then."""
        answers: list[Answer | None] = [self._refuse_at_door(one, signer_id) for one in read]
        mine = [
            (position, tap)
            for position, (tap, known) in enumerate(zip(read, answers, strict=True))
            if known is None and isinstance(tap, Tap)
        ]
        if mine:
            if self._given.door.is_draining:
                raise busy("The gateway is stopping; another one answers.", "stopping")
            try:
                decided = await self._given.batcher.submit([tap for _, tap in mine])
            except Overloaded:
                raise busy("Too many taps are waiting. Nothing was taken.", "queue_full") from None
            except OutcomeUnknown:
                raise busy(
                    "The database is away: what became of the taps is not known. Send the same "
                    "taps again, or ask by tap id.",
                    "outcome_unknown",
                ) from None
            for (position, _), one in zip(mine, decided, strict=True):
                answers[position] = one
        return [one for one in answers if one is not None]

    def _refuse_at_door(self, tap: Tap | TapResult, signer_id: str) -> Answer | None:
        if isinstance(tap, TapResult):
            return Answer(tap, False)
        registry = self._given.door.registry.current
        if not registry.may_sign_for(signer_id, tap.gate_id):
            return Answer(refusal(tap, TapOutcome.GATE_NOT_SIGNERS), False)
        if looks_like_card_number(tap.media_token):
            return Answer(refusal(tap, TapOutcome.CARD_NUMBER), False)
        return None

    async def get_tap(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        kept = await self._load_kept(uuid_of(request, "tap_id"), caller)
        return answer(encode(kept.result, JSON))

    async def explain_tap(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        tap_id = uuid_of(request, "tap_id")
        kept = await self._load_kept(tap_id, caller)
        if kept.wallet_id is not None:
            await refuse_erased(self._given.pool, kept.wallet_id)
        return answer(
            encode(await run_explanation(self._given.pool, tap_id, self._given.book), JSON)
        )

    async def _load_kept(self, tap_id: UUID, caller: Caller) -> KeptTap:
        kept = await kept_store.load_kept(self._given.pool, tap_id)
        if kept is not None and self._may_see(kept, caller):
            return kept
        days = await load_archived_days(self._given.pool)
        if not days:
            raise not_found("No such tap was answered. If the gate has sent it, send it again.")
        unlinked = [day.service_day for day in days if day.is_unlinked]
        nobody = f" Of {unlinked[-1]} and before, nobody can tell any more." if unlinked else ""
        raise not_found(
            f"No such tap is kept here. If it was made on {days[-1].service_day} or before, it may "
            f"have been answered and archived: look in the archive.{nobody} If it is newer and the "
            "gate has sent it, send it again."
        )

    def _may_see(self, kept: KeptTap, caller: Caller) -> bool:
        registry = self._given.door.registry.current
        if caller.gate_id is not None:
            return registry.may_sign_for(caller.gate_id, kept.tap.gate_id)
        # What the desk put in has no gate of the registry, but an operator that carried the rider.
        carrier = registry.gates.get(kept.tap.gate_id) or kept.facts
        is_own = carrier is not None and carrier.operator_id == caller.operator_id
        return caller.operator_id is None or is_own

    async def list_taps(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        after = as_uuid(request.query["after"], "after") if "after" in request.query else None
        found = await kept_store.list_taps_for_a_person(
            self._given.pool, after, IDS_MAX, operator_id=caller.operator_id
        )
        said = tuple(TapForAPerson(kept.tap, kept.result, kept.received_at) for kept in found)
        return answer(encode(TapsForAPerson(said), JSON))

    async def list_charges(self, request: web.Request, body: bytes, caller: Caller) -> web.Response:
        wish = read_message(body, request.content_type, ChargesWish)
        if len(wish.tap_ids) > IDS_MAX:
            raise not_granted(422, "too_many_ids", f"Ask for at most {IDS_MAX}.")
        charges = [
            TapCharge(**row)
            for row in await kept_store.load_charges(self._given.pool, wish.tap_ids)
            if caller.operator_id in (None, row["operator_id"])
        ]
        return answer(encode(Charges(tuple(charges)), JSON))


def _raise_if_refused_whole(result: TapResult) -> None:
    status = _SINGLE_STATUS.get(result.outcome)
    if status is None:
        return
    field = result.fault if isinstance(result.fault, str) else None
    detail = _TAP_REMEDIES[result.outcome]
    if field:
        detail = f"The field {field!r} differs. {detail}"
    raise not_granted(status, result.outcome, detail, field=field)


def _ranges(positions: list[int]) -> str:
    """0,1,2,5 as "0-2,5": a header must stay short."""
    spans: list[tuple[int, int]] = []
    for position in positions:
        if spans and spans[-1][1] == position - 1:
            spans[-1] = (spans[-1][0], position)
        else:
            spans.append((position, position))
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
