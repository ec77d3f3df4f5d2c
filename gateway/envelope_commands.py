"""`faregate envelopes verify`: anyone makes a draw again, with nothing but its published list."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec
from cyclopts import App

from gateway.api.envelopes import DrawList
from gateway.core.envelopes import draw, tickets_sha256, winners_sha256
from gateway.exit_codes import CANNOT_RUN, OK, PROBLEMS_FOUND

envelopes_app = App(name="envelopes", help="Red envelopes: make a published draw again.")


@envelopes_app.command
def verify(path: Path) -> int:
    """Make the draw of a published list again; exit 1 where it comes to something else.

    Parameters
    ----------
    path
        What `GET /v1/envelope-campaigns/{id}/list` answered.
    """
    try:
        listed = msgspec.json.decode(path.read_bytes(), type=DrawList)
    except (OSError, msgspec.DecodeError) as error:
        print(f"{path}: {error}")
        return CANNOT_RUN
    said = listed.draw
    if said is None:
        print(f"{path}: not drawn yet; {len(listed.tickets)} tickets")
        return CANNOT_RUN
    promised = listed.campaign.seed_sha256
    faults = []
    if sha256(said.seed.encode()).hexdigest() != promised:
        faults.append(f"the seed is not the one that was promised, {promised}")
    elif len(set(listed.tickets)) < len(listed.tickets):
        faults.append("a ticket is in the list twice")
    else:
        wins = draw(listed.campaign, listed.tickets, seed=said.seed, public_value=said.public_value)
        both = zip(wins, listed.winners, strict=False)
        differing = [win.rank for win, other in both if win != other]
        if len(wins) != len(listed.winners):
            faults.append(f"{len(wins)} win, but {len(listed.winners)} are listed")
        if differing:
            faults.append(f"envelope {differing[0]} went to another ticket, or held another amount")
        if winners_sha256(wins) != said.winners_sha256:
            faults.append("the winners' hash is another")
    if tickets_sha256(listed.tickets) != said.tickets_sha256:
        faults.append("the tickets' hash is another: the list is not the one that was drawn from")
    for fault in faults:
        print(f"{path}: {fault}")
    if not faults:
        total_fen = sum(win.amount_fen for win in listed.winners)
        print(
            f"{said.winners_count} envelopes of {len(listed.tickets)} tickets, {total_fen} fen in "
            "all: drawn again, and the same"
        )
    return PROBLEMS_FOUND if faults else OK
