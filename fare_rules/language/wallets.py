"""wallets.yaml, beside the tariffs: how much each class of wallet may hold and spend."""

from datetime import date
from typing import Annotated

from msgspec import Meta

from fare_rules.language.scalars import Count, Id, Money, Record


class OfflineLimits(Record, frozen=True, kw_only=True):
    """What a wallet may pay without a network before it is looked at again."""

    single: Annotated[Money | None, Meta(description="The most of one payment.")] = None
    payments: Annotated[Count | None, Meta(description="So many payments.")] = None


class WalletClass(Record, frozen=True, kw_only=True):
    """The limits of one class of wallet; what is left out has no limit."""

    id: Annotated[Id, Meta(description="A name of your own choice.")]
    reference: Annotated[str, Meta(description="Where the limits are published.")]
    effective_from: Annotated[
        date | None,
        Meta(description="The first service day of these limits; the same id may stand again."),
    ] = None
    single: Annotated[Money | None, Meta(description="The most of one payment.")] = None
    day: Annotated[Money | None, Meta(description="The most of a service day's payments.")] = None
    year: Annotated[Money | None, Meta(description="The most of a year's payments.")] = None
    balance: Annotated[
        Money | None, Meta(description="The most that its purses hold together.")
    ] = None
    offline: Annotated[OfflineLimits, Meta(description="Paying without a network.")] = (
        OfflineLimits()
    )


class Wallets(Record, frozen=True, kw_only=True):
    """All classes of wallet."""

    classes: Annotated[tuple[WalletClass, ...], Meta(min_length=1, description="Each class.")]
