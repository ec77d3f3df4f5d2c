"""What lies beside the tariffs: classes of wallets, campaigns, agreements; and what is wrong there.

What they name must stand in a tariff of the folder, in any: a promotion that a later tariff drops
is paid for until then, and one that the next tariff brings may have its budget before.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from fare_rules.checks.finding import Finding
from fare_rules.compiled import CompiledTariff
from fare_rules.faults import FaultCode, TariffFault
from fare_rules.language.campaigns import CampaignMoney, Campaigns
from fare_rules.language.clearing import Agreement, Clearing, Fee
from fare_rules.language.wallets import WalletClass, Wallets
from fare_rules.load import read_as
from fare_rules.money import WHOLE
from fare_rules.shape import remedy_for_name
from fare_rules.source import Place

EXAMPLES_FILE = "examples.yaml"
WALLETS_FILE = "wallets.yaml"
CLEARING_FILE = "clearing.yaml"
CAMPAIGNS_FILE = "campaigns.yaml"
# What lies beside the tariffs and is none.
BESIDE = frozenset({EXAMPLES_FILE, WALLETS_FILE, CAMPAIGNS_FILE, CLEARING_FILE})

T = TypeVar("T")
Tariffs = Sequence[CompiledTariff]


class Beside(Struct, frozen=True):
    """All that was read, and every fault of it."""

    wallet_classes: tuple[WalletClass, ...]
    clearing: Clearing
    campaigns: tuple[CampaignMoney, ...]
    faults: tuple[TariffFault, ...]


def read_beside(folder: Path, tariffs: Tariffs) -> Beside:
    """Read the files beside some tariffs; one that is not there says nothing."""
    digits, faults = tariffs[0].currency_digits, list[TariffFault]()

    def read(
        name: str, shape: type[T], check: Callable[[T, Tariffs], Iterator[Finding]]
    ) -> T | None:
        if not (folder / name).exists():
            return None
        found, document = read_as(folder / name, shape, digits)
        if found is not None:
            document.faults += [document.fault(*finding) for finding in check(found, tariffs)]
        faults.extend(document.faults)
        return found

    wallets = read(WALLETS_FILE, Wallets, _of_wallets)
    clearing = read(CLEARING_FILE, Clearing, _of_clearing)
    campaigns = read(CAMPAIGNS_FILE, Campaigns, _of_campaigns)
    return Beside(
        wallets.classes if wallets else (),
        clearing or Clearing(),
        campaigns.campaigns if campaigns else (),
        tuple(faults),
    )


def _of_wallets(wallets: Wallets, tariffs: Tariffs) -> Iterator[Finding]:
    keys = [(one.id, one.effective_from) for one in wallets.classes]
    for index in _again(keys):
        message = f"The class '{keys[index][0]}' has two sets of limits from the same day"
        remedy = "Keep one of them, or write another effective_from"
        yield Finding(("classes", index, "id"), FaultCode.DUPLICATE_ID, message, remedy)


def _of_campaigns(campaigns: Campaigns, tariffs: Tariffs) -> Iterator[Finding]:
    found = campaigns.campaigns
    yield from _taken([(("campaigns", i, "id"), one.id) for i, one in enumerate(found)])
    promotions = [rule for tariff in tariffs for rule in tariff.file.promotions]
    known, taken = {rule.id for rule in promotions}, set[str]()
    for index, campaign in enumerate(found):
        has_coupons = any(rule.coupon for rule in promotions if rule.id in campaign.promotions)
        yield from _claims(campaign, ("campaigns", index, "claims"), has_coupons)
        for number, name in enumerate(campaign.promotions):
            place: Place = ("campaigns", index, "promotions", number)
            bearers = {rule.borne_by for rule in promotions if rule.id == name}
            others = [one or "nobody" for one in bearers if one != campaign.sponsor]
            if name not in known:
                message = f"'{name}' is no promotion of any tariff in this folder"
                yield Finding(place, FaultCode.UNKNOWN_NAME, message, remedy_for_name(name, known))
            elif others:
                message = f"The promotion '{name}' is borne by {others[0]}"
                remedy = f"Write borne_by: {campaign.sponsor} there, or another sponsor here"
                yield Finding(place, FaultCode.UNKNOWN_NAME, message, remedy)
            elif name in taken:
                message, remedy = f"Another campaign pays for '{name}'", "Keep it in one of the two"
                yield Finding(place, FaultCode.DUPLICATE_ID, message, remedy)
            taken.add(name)


def _claims(campaign: CampaignMoney, place: Place, has_coupons: bool) -> Iterator[Finding]:
    claims = campaign.claims
    if claims.begins is not None and claims.ends is not None and claims.ends <= claims.begins:
        message, remedy = "Nobody could claim: it ends before it begins", "Write a later moment"
        yield Finding((*place, "ends"), FaultCode.ENDS_BEFORE_IT_BEGINS, message, remedy)
    if claims != type(claims)() and not has_coupons:
        message = "None of these promotions is by coupon, so there is nothing to claim"
        remedy = "Write coupon in the promotion, or take claims out"
        yield Finding(place, FaultCode.NEVER_ACTS, message, remedy)


def _of_clearing(clearing: Clearing, tariffs: Tariffs) -> Iterator[Finding]:
    yield from _taken(
        [
            ((section, index, "id"), one.id)
            for section in ("agreements", "fees")
            for index, one in enumerate(getattr(clearing, section))
        ]
    )
    known = set[str]()
    for tariff in tariffs:
        # What an incomplete leg costs stands in the ledger under the rule that says so.
        known.update(one.id for one in tariff.file.fare_products)
        known.update(one.id for one in tariff.file.incomplete_leg_rules)
        known.update(one.id for one in tariff.file.disruptions)
    for index, agreement in enumerate(clearing.agreements):
        yield from _of_agreement(agreement, ("agreements", index), known)
    for index, fee in enumerate(clearing.fees):
        yield from _of_fee(fee, ("fees", index))
    operators = [one.operator for one in clearing.payouts]
    for index in _again(operators):
        message = f"How '{operators[index]}' is paid is said twice"
        place: Place = ("payouts", index, "operator")
        yield Finding(place, FaultCode.DUPLICATE_ID, message, "Keep one of the two")


def _of_agreement(agreement: Agreement, place: Place, known: set[str]) -> Iterator[Finding]:
    needs = agreement.by == "table" or agreement.bearers == "table"
    if needs and not agreement.weights:
        message, remedy = "A table needs weights", "Add weights, one for each operator"
        yield Finding((*place, "by"), FaultCode.NEEDS_ANOTHER_KEY, message, remedy)
    if agreement.weights and not needs:
        message = "Weights are for a table, and nothing is shared by one here"
        remedy = "Write by: table, or bearers: table, or take weights out"
        yield Finding((*place, "weights"), FaultCode.NEVER_ACTS, message, remedy)
    operators = [one.operator for one in agreement.weights]
    for index in _again(operators):
        message = f"'{operators[index]}' has a weight already"
        within = (*place, "weights", index, "operator")
        yield Finding(within, FaultCode.DUPLICATE_ID, message, "Write the sum in one of the two")
    for index, name in enumerate(agreement.products):
        if name not in known:
            message = f"'{name}' is no fare product of any tariff in this folder"
            within = (*place, "products", index)
            yield Finding(within, FaultCode.UNKNOWN_NAME, message, remedy_for_name(name, known))


def _of_fee(fee: Fee, place: Place) -> Iterator[Finding]:
    if fee.percent is None and fee.per_ride is None and fee.minimum is None:
        message, remedy = "This fee comes to nothing", "Add percent, per_ride or minimum"
        yield Finding((*place, "id"), FaultCode.NEEDS_ANOTHER_KEY, message, remedy)
    if fee.percent is not None and fee.percent > WHOLE:
        message, remedy = "This is more than the whole", "Write 100 or less"
        yield Finding((*place, "percent"), FaultCode.OUT_OF_RANGE, message, remedy)
    if fee.minimum is not None and fee.maximum is not None and fee.maximum < fee.minimum:
        message, remedy = "The most is less than the least", "Write minimum or more"
        yield Finding((*place, "maximum"), FaultCode.OUT_OF_RANGE, message, remedy)


def _taken(ids: Iterable[tuple[Place, str]]) -> Iterator[Finding]:
    """Ids that stand a second time."""
    said = list(ids)
    for index in _again([name for _, name in said]):
        place, name = said[index]
        message, remedy = f"The id '{name}' is already taken", "Choose another id"
        yield Finding(place, FaultCode.DUPLICATE_ID, message, remedy)


def _again(keys: Sequence[Any]) -> Iterator[int]:
    """Where a list has what it has had before."""
    seen = set()
    for index, key in enumerate(keys):
        if key in seen:
            yield index
        seen.add(key)
