"""Fares as data: tariffs are YAML, prices come out with every reason. README.md is the way in.

Pure: a price depends on the taps, the tariff and what is remembered of the rider, and on nothing
else.
"""

from fare_rules.base_fare import FareRefusal
from fare_rules.book import TariffBook, load_book
from fare_rules.charges import Charge
from fare_rules.compiled import CompiledTariff
from fare_rules.faults import FaultCode, TariffFault, TariffFaults
from fare_rules.fold import Fold, RiderFold, carried, fold
from fare_rules.legs import Leg
from fare_rules.load import check_tariff, load_tariff
from fare_rules.money import Fen
from fare_rules.networks import NetworkRules
from fare_rules.quotes import CHANGE_SPONSORS_MAX, Quote, QuoteLine, quote_of
from fare_rules.states import RiderState
from fare_rules.taps import Action, RideTap

__all__ = [
    "CHANGE_SPONSORS_MAX",
    "Action",
    "Charge",
    "CompiledTariff",
    "FareRefusal",
    "FaultCode",
    "Fen",
    "Fold",
    "Leg",
    "NetworkRules",
    "Quote",
    "QuoteLine",
    "RideTap",
    "RiderFold",
    "RiderState",
    "TariffBook",
    "TariffFault",
    "TariffFaults",
    "carried",
    "check_tariff",
    "fold",
    "load_book",
    "load_tariff",
    "quote_of",
]
