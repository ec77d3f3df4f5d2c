"""A price and every reason for it."""

from msgspec import Struct

from fare_rules.language.discounts import Promotion
from fare_rules.money import Fen

# Of one change of what a leg costs. A tariff under which there could be more is refused.
CHANGE_SPONSORS_MAX = 13
# Sponsors with what each bears.
Borne = tuple[tuple[str, int], ...]


def sponsor_account(sponsor_id: str, campaign_id: str) -> str:
    """Under which name a sponsor pays for one of its campaigns."""
    return f"{sponsor_id}/{campaign_id}"


def sponsored_by(account: str) -> tuple[str, str]:
    """The sponsor and the campaign that an account is of: `icbc/one_cent`, or `icbc` alone."""
    sponsor_id, _, campaign_id = account.partition("/")
    return sponsor_id, campaign_id


class QuoteLine(Struct, frozen=True, gc=False):
    """One reason in a price: the rule that acted, the clause it is from, and who bears it.

    A line below zero that names a sponsor is paid by it; any other is forgone by the operator.
    """

    rule_id: str
    amount_fen: Fen
    reference: str
    borne_by: str | None = None


class Quote(Struct, frozen=True, gc=False):
    """The price of a leg as a sum of reasons, the full fare first. Made by `quote_of`."""

    lines: tuple[QuoteLine, ...]
    product_id: str
    tariff_id: str
    # The leg continues the ride before it, even where no fare was left to take a discount off.
    is_transfer: bool
    rider_fen: Fen
    # What the operator is due: the rider's part and the sponsors'.
    fare_fen: Fen
    # What each sponsor pays.
    sponsored: dict[str, Fen]


def quote_of(
    lines: tuple[QuoteLine, ...], product_id: str, tariff_id: str = "", *, is_transfer: bool = False
) -> Quote:
    """Sum up the reasons of a price."""
    rider_fen = fare_fen = 0
    sponsored: dict[str, Fen] = {}
    for line in lines:
        rider_fen += line.amount_fen
        if line.borne_by is None:
            fare_fen += line.amount_fen
        else:
            sponsored[line.borne_by] = Fen(sponsored.get(line.borne_by, 0) - line.amount_fen)
    return Quote(
        lines, product_id, tariff_id, is_transfer, Fen(rider_fen), Fen(fare_fen), sponsored
    )


class Fare(Struct, frozen=True, gc=False):
    """What a leg comes to: its price, and what later legs may ask of it, each for one rider."""

    quote: Quote
    # What the holder pays, but for surcharges outside caps.
    paid_fen: int
    # After concessions, before all other steps, for the whole journey; with what first legs alone
    # are spared.
    through_fen: int
    # Before surcharges and concessions.
    full_fen: int
    promotion: Promotion | None = None
    # What each sponsor bears by concessions, for the whole journey; first legs' own apart.
    borne: Borne = ()
    # The same for this leg alone, whatever bore it before taken off.
    borne_of_leg: Borne = ()
