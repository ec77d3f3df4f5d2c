"""Who pays in a feed, and with what, and what each product costs each of them."""

from collections import defaultdict
from collections.abc import Iterable

from msgspec import Struct

from fare_rules.currency import currency_digits
from fare_rules.gtfs.files import Feed
from fare_rules.language.conditions import Named
from fare_rules.language.tariff import RiderCategory

# A kind of rider, and of media.
Combo = tuple[str, str]
Prices = dict[Combo, int]
# Lists of kinds of rider and of media, as conditions have them; an empty one is all.
Buyers = tuple[tuple[str, ...], tuple[str, ...]]
ANY_MEDIA = "any_media"
OTHER_MEDIA = "other_media"


class Riders(Struct, frozen=True):
    """Kinds of rider and of media, and what each product of the feed costs each."""

    categories: tuple[RiderCategory, ...]
    media: tuple[Named, ...]
    prices: dict[str, Prices]

    def conditions(self, combos: Iterable[Combo]) -> list[Buyers]:
        """Say who these are in as few pairs of lists as need be."""
        media_of: dict[str, set[str]] = defaultdict(set)
        for category, media in combos:
            media_of[category].add(media)
        alike: dict[frozenset[str], list[str]] = defaultdict(list)
        for each in self.categories:
            if each.id in media_of:
                alike[frozenset(media_of[each.id])].append(each.id)
        return [
            (
                () if len(categories) == len(self.categories) else tuple(categories),
                ()
                if len(media_set) == len(self.media)
                else tuple(each.id for each in self.media if each.id in media_set),
            )
            for media_set, categories in alike.items()
        ]


def read_riders(feed: Feed, remarks: list[str]) -> Riders:
    """Read who pays, and with what.

    A price without a kind of rider or media is for all that have none of their own; where there
    are media, it is also for riders with some other one.
    """
    categories = tuple(
        RiderCategory(
            id=each.rider_category_id,
            name=each.rider_category_name,
            default=bool(each.is_default_fare_category),
        )
        for each in feed.rider_categories
    ) or (RiderCategory(id="rider", name="Any rider", default=True),)
    if not any(each.default for each in categories):
        first = categories[0]
        categories = (RiderCategory(id=first.id, name=first.name, default=True), *categories[1:])
        remarks.append(f"rider_categories.txt:1: None is the default; '{first.id}' is taken")
    media = tuple(Named(id=m.fare_media_id, name=m.fare_media_name) for m in feed.fare_media)
    if not media:
        media = (Named(id=ANY_MEDIA, name="Any media"),)
    elif any(not row.fare_media_id for row in feed.fare_products):
        media = (*media, Named(id=OTHER_MEDIA, name="Any other media"))
    said: dict[str, dict[Combo, int]] = defaultdict(dict)
    digits = _digits(feed)
    for row in feed.fare_products:
        combo = (row.rider_category_id, row.fare_media_id)
        said[row.fare_product_id][combo] = int(row.amount.scaleb(digits))
    prices = {
        product_id: {
            (category.id, each.id): price
            for category in categories
            for each in media
            if (price := _price(rows, category.id, each.id)) is not None
        }
        for product_id, rows in said.items()
    }
    return Riders(categories, media, prices)


def _digits(feed: Feed) -> int:
    return currency_digits(feed.fare_products[0].currency)


def _price(rows: dict[Combo, int], category: str, media: str) -> int | None:
    if (category, media) in rows:
        return rows[category, media]
    partly = [rows[key] for key in ((category, ""), ("", media)) if key in rows]
    return min(partly) if partly else rows.get(("", ""))
