"""What the gateway says of itself: metrics and logs. No card, gate or rider is ever a label."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.core.taps import looks_like_card_number

METRICS = CollectorRegistry()
TAPS = Counter("faregate_taps", "Taps answered, by outcome.", ["outcome"], registry=METRICS)
REQUESTS = Counter("faregate_requests", "Requests answered.", ["route", "status"], registry=METRICS)
REQUEST_SECONDS = Histogram(
    "faregate_request_seconds",
    "Time from a request's last byte to its answer.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    registry=METRICS,
)
QUEUE_TAPS = Gauge("faregate_queue_taps", "Taps waiting for their batch.", registry=METRICS)
BATCH_TAPS = Histogram(
    "faregate_batch_taps",
    "Taps in one database transaction.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
    registry=METRICS,
)
BATCH_SECONDS = Histogram(
    "faregate_batch_seconds", "Time of one tap batch, commit included.", registry=METRICS
)
OVERLOADS = Counter("faregate_overloads", "Requests refused at a full queue.", registry=METRICS)
OUTAGES = Counter("faregate_outages", "Times the database was away.", registry=METRICS)
BUILD = Gauge("faregate_build_info", "The version that runs.", ["version"], registry=METRICS)


def start_logging(level: str, form: str) -> None:
    """Write one line an event to stderr: JSON, or coloured text on a terminal."""
    is_console = form == "console" or (form == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _mask_card_numbers,
            structlog.dev.ConsoleRenderer()
            if is_console
            else structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )


def _mask_card_numbers(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """The last guard: whatever looks like a card number does not reach a log."""
    for key, value in event.items():
        if isinstance(value, str) and looks_like_card_number(value):
            event[key] = "(looks like a card number)"
    return event
