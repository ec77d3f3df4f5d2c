"""The bank over HTTP: its files taken in, and the daily reconciliation."""

from __future__ import annotations

from datetime import date

from aiohttp import web

from gateway.api.given import Given, archive_at_hand, day_of, now
from gateway.core.bank_answers import BankFileFault, read_bank_file
from gateway.reconcile_path import run_reconciliation
from gateway.shell.bank_store import first_day, import_bank_file
from gateway.shell.messages import JSON, encode
from gateway.shell.problems import Problem, not_found
from gateway.shell.settlement_store import list_settlement_rows
from gateway.shell.web import Caller, answer


class BankRequests:
    """What the bank says, and what it says differently."""

    def __init__(self, given: Given) -> None:
        self._given = given

    async def import_file(self, _request: web.Request, body: bytes, caller: Caller) -> web.Response:
        caller.check_operator(None)
        try:
            file = read_bank_file(body)
        except BankFileFault as fault:
            detail = f"{fault}. Nothing of the file was taken."
            raise Problem(422, "bank_file", "The bank's file cannot be read", detail) from None
        found = await import_bank_file(
            self._given.long_pool, file, body, caller.token_id or "", now()
        )
        return answer(encode(found, JSON))

    async def reconcile(self, request: web.Request, _body: bytes, caller: Caller) -> web.Response:
        caller.check_operator(None)
        day, pool, book = day_of(request), self._given.long_pool, self._given.book
        row = next((r for r in await list_settlement_rows(pool) if r.settlement_day == day), None)
        if row is None:
            raise not_found("No such day is settled.")
        after = row.days_after
        since = date.fromordinal(after.toordinal() + 1) if after else await first_day(pool, day)
        today = now().astimezone(book.timezone).date()
        with archive_at_hand():
            found = await run_reconciliation(
                pool,
                book,
                since=since,
                through=day,
                today=today,
                archive=self._given.settings.archive_dir,
            )
        return answer(encode(found, JSON))
