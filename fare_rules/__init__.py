"""What a ride costs, and why: tariff files in, quotes with reasons out.

Nothing here knows the gateway. To write a tariff, read README.md; to see a price made, price.py.
"""

from fare_rules.book import TariffBook, load_book
from fare_rules.compiled import CompiledTariff, NetworkRules
from fare_rules.examples import ExampleResult, run_examples
from fare_rules.faults import FaultCode, TariffFault, TariffFaults
from fare_rules.legs import Leg
from fare_rules.load import check_tariff, load_tariff
from fare_rules.money import Fen, Rounding, percent_of
from fare_rules.price import FareRefusal, Quote, QuoteLine, quote
from fare_rules.service_day import service_day_of, service_day_starts_at

__all__ = [
    "CompiledTariff",
    "ExampleResult",
    "FareRefusal",
    "FaultCode",
    "Fen",
    "Leg",
    "NetworkRules",
    "Quote",
    "QuoteLine",
    "Rounding",
    "TariffBook",
    "TariffFault",
    "TariffFaults",
    "check_tariff",
    "load_book",
    "load_tariff",
    "percent_of",
    "quote",
    "run_examples",
    "service_day_of",
    "service_day_starts_at",
]
