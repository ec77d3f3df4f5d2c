"""What is read of the files of a GTFS feed: one record a row, one field a column.

Only what decides a fare is read; an importer's remarks name the other columns.
"""

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

Required = Annotated[str, Meta(min_length=1)]
GtfsTime = Annotated[str, Meta(pattern=r"^\s?\d{1,2}:[0-5]\d:[0-5]\d$")]
GtfsDate = Annotated[str, Meta(pattern=r"^\d{8}$")]
Flag = Literal[0, 1]


class Row(Struct, frozen=True, kw_only=True):
    """A row of a file; rows count from 1, which is the header."""

    row: int


class Agency(Row, frozen=True, kw_only=True):
    """Who runs the lines, and in which time zone."""

    agency_id: str = ""
    agency_name: str = ""
    agency_timezone: Required


class FeedStop(Row, frozen=True, kw_only=True):
    """A stop (0), a station (1), or a part of one."""

    stop_id: Required
    stop_name: str = ""
    stop_lat: float | None = None
    stop_lon: float | None = None
    zone_id: str = ""
    location_type: Literal[0, 1, 2, 3, 4] = 0
    parent_station: str = ""
    stop_timezone: str = ""


class Route(Row, frozen=True, kw_only=True):
    """A line."""

    route_id: Required
    route_type: int = 3
    network_id: str = ""


class VehicleTrip(Row, frozen=True, kw_only=True):
    """One run of a vehicle."""

    trip_id: Required
    route_id: Required


class StopTime(Row, frozen=True, kw_only=True):
    """A call of a run at a stop."""

    trip_id: Required
    stop_id: str = ""
    stop_sequence: Annotated[int, Meta(ge=0)]
    shape_dist_traveled: Annotated[float, Meta(ge=0)] | None = None


class Calendar(Row, frozen=True, kw_only=True):
    """The weekdays of a service."""

    service_id: Required
    monday: Flag
    tuesday: Flag
    wednesday: Flag
    thursday: Flag
    friday: Flag
    saturday: Flag
    sunday: Flag
    start_date: GtfsDate
    end_date: GtfsDate


class CalendarDate(Row, frozen=True, kw_only=True):
    """A day on which a service is added (1) or removed (2)."""

    service_id: Required
    date: GtfsDate
    exception_type: Literal[1, 2]


class FeedArea(Row, frozen=True, kw_only=True):
    """A group of stops."""

    area_id: Required
    area_name: str = ""


class StopArea(Row, frozen=True, kw_only=True):
    """A stop of an area."""

    area_id: Required
    stop_id: Required


class FeedNetwork(Row, frozen=True, kw_only=True):
    """A group of lines."""

    network_id: Required
    network_name: str = ""


class RouteNetwork(Row, frozen=True, kw_only=True):
    """A line of a network."""

    network_id: Required
    route_id: Required


class FeedTimeframe(Row, frozen=True, kw_only=True):
    """Some hours of the days of a service."""

    timeframe_group_id: Required
    start_time: GtfsTime | None = None
    end_time: GtfsTime | None = None
    service_id: Required


class FeedRiderCategory(Row, frozen=True, kw_only=True):
    """A kind of rider."""

    rider_category_id: Required
    rider_category_name: str = ""
    is_default_fare_category: Flag = 0


class FareMedia(Row, frozen=True, kw_only=True):
    """A kind of card, phone or ticket."""

    fare_media_id: Required
    fare_media_name: str = ""


class Product(Row, frozen=True, kw_only=True):
    """One price of a product, for all riders and media or for some."""

    fare_product_id: Required
    fare_product_name: str = ""
    rider_category_id: str = ""
    fare_media_id: str = ""
    amount: Decimal
    currency: Required


class LegRule(Row, frozen=True, kw_only=True):
    """Which legs need a product."""

    leg_group_id: str = ""
    network_id: str = ""
    from_area_id: str = ""
    to_area_id: str = ""
    from_timeframe_group_id: str = ""
    to_timeframe_group_id: str = ""
    fare_product_id: Required
    rule_priority: Annotated[int, Meta(ge=0)] = 0


class JoinRule(Row, frozen=True, kw_only=True):
    """Which legs are priced as one."""

    from_network_id: Required
    to_network_id: Required
    from_stop_id: str = ""
    to_stop_id: str = ""


class TransferRule(Row, frozen=True, kw_only=True):
    """What a change costs."""

    from_leg_group_id: str = ""
    to_leg_group_id: str = ""
    transfer_count: int | None = None
    duration_limit: Annotated[int, Meta(ge=1)] | None = None
    duration_limit_type: Literal[0, 1, 2, 3] | None = None
    fare_transfer_type: Literal[0, 1, 2]
    fare_product_id: str = ""


class Feed(Struct, frozen=True, kw_only=True):
    """All that is read; a field is a file. The first two every feed has."""

    agency: tuple[Agency, ...]
    fare_products: tuple[Product, ...]
    fare_leg_rules: tuple[LegRule, ...]
    stops: tuple[FeedStop, ...] = ()
    routes: tuple[Route, ...] = ()
    trips: tuple[VehicleTrip, ...] = ()
    stop_times: tuple[StopTime, ...] = ()
    calendar: tuple[Calendar, ...] = ()
    calendar_dates: tuple[CalendarDate, ...] = ()
    areas: tuple[FeedArea, ...] = ()
    stop_areas: tuple[StopArea, ...] = ()
    networks: tuple[FeedNetwork, ...] = ()
    route_networks: tuple[RouteNetwork, ...] = ()
    timeframes: tuple[FeedTimeframe, ...] = ()
    rider_categories: tuple[FeedRiderCategory, ...] = ()
    fare_media: tuple[FareMedia, ...] = ()
    fare_leg_join_rules: tuple[JoinRule, ...] = ()
    fare_transfer_rules: tuple[TransferRule, ...] = ()
    # Files and columns that are there and not read, and the files that are not there.
    notes: tuple[str, ...] = ()
    has_priorities: bool = False
