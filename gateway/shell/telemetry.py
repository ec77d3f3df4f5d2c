"""What the gateway says of itself: metrics and logs. No card, gate or rider is ever a label."""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any, Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.core.taps import TapOutcome, TapResult, looks_like_card_number

METRICS = CollectorRegistry()
# Where several workers write what one of them shows; their supervisor names the folder.
_SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

_QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(name, meaning, labels, registry=METRICS)


def _histogram(name: str, meaning: str, *labels: str, buckets: Sequence[float]) -> Histogram:
    return Histogram(name, meaning, labels, buckets=buckets, registry=METRICS)


def _gauge(
    name: str,
    meaning: str,
    *labels: str,
    of_all: Literal["livesum", "livemax", "livemin"] = "livesum",
) -> Gauge:
    """`of_all` is how the values of several workers become one. A dead worker's do not count."""
    return Gauge(name, meaning, labels, registry=METRICS, multiprocess_mode=of_all)


# Requests.
REQUESTS = _counter("faregate_requests", "Requests answered.", "route", "status")
REQUEST_SECONDS = _histogram(
    "faregate_request_seconds",
    "Time from a request's last byte to its answer.",
    "route",
    buckets=_QUICK,
)
REFUSALS = _counter("faregate_refusals", "Requests refused as a whole, by reason.", "reason")
IN_FLIGHT = _gauge("faregate_requests_in_flight", "Requests that wait for their answer.")

STREAMS = _gauge("faregate_streams", "Streams that are open.")
STREAM_FRAMES = _counter("faregate_stream_frames", "Frames of streams answered.", "status")

# Taps, from the door to the disk. Observed once a batch, never once a tap.
TAPS = _counter("faregate_taps", "Taps answered, by outcome.", "outcome")
QUEUE_TAPS = _gauge("faregate_queue_taps", "Taps taken in and not yet answered.")
OLDEST_SECONDS = _gauge(
    "faregate_oldest_tap_seconds", "How long the oldest of them has waited.", of_all="livemax"
)
QUEUE_SECONDS = _histogram(
    "faregate_queue_seconds", "Time that a batch's oldest tap waited for it.", buckets=_QUICK
)
BATCH_TAPS = _histogram("faregate_batch_taps", "Taps in one transaction.", buckets=_COUNTS)
BATCH_SECONDS = _histogram(
    "faregate_batch_seconds", "Time of one tap batch, commit included.", buckets=_QUICK
)
COMMIT_SECONDS = _histogram(
    "faregate_commit_seconds",
    "Time of a tap batch's COMMIT, or of the one statement that saves few taps.",
    buckets=_QUICK,
)
RACES = _counter("faregate_races", "Batches run again because another process was first.")
OUTAGES = _counter("faregate_outages", "Batches run again because the database was away.")

# Everything but the hot path shares a pool of connections.
POOL_SIZE = _gauge("faregate_pool_connections", "Connections open in the pool.")
POOL_IN_USE = _gauge("faregate_pool_connections_in_use", "Connections of the pool in use.")
POOL_WAIT_SECONDS = _histogram(
    "faregate_pool_wait_seconds",
    "Time to get a connection from the pool, seen once a registry poll.",
    buckets=_QUICK,
)

# Operators' files and money. Every worker looks at the same database, so the greatest is the one.
DELIVERY_WAIT_SECONDS = _gauge(
    "faregate_delivery_wait_seconds",
    "Since the settlement whose files have waited longest for their delivery.",
    of_all="livemax",
)
DELIVERIES_GIVEN_UP = _gauge(
    "faregate_deliveries_given_up", "Deliveries that wait for a person.", of_all="livemax"
)
CLOSE_AGE_SECONDS = _gauge(
    "faregate_close_age_seconds",
    "Since the last close of a service day, or since the first day of a city without any.",
    of_all="livemax",
)

# The process.
CONNECTIONS = _gauge("faregate_connections", "Open connections, streams among them.")
BUILD = _gauge("faregate_build_info", "The version that runs.", "version", of_all="livemax")
WORKERS = _gauge("faregate_workers", "Processes that serve.")
WORKERS_WANTED = _gauge("faregate_workers_wanted", "Processes that should.", of_all="livemax")
WORKER_SEEN = _gauge(
    "faregate_worker_seen_timestamp_seconds",
    "When the process that is most behind last looked at itself, which each does once a second.",
    of_all="livemin",
)
WORKER_STARTS = _counter("faregate_worker_starts", "Processes started, the first ones included.")
WORKERS_SILENT = _counter(
    "faregate_workers_silent", "Processes killed because their event loop did not turn."
)
LIMIT = _gauge("faregate_limit", "A setting that bounds something, of all workers.", "setting")
MEMORY_BYTES = _gauge("faregate_memory_bytes", "Resident memory.")
LOOP_LAG_SECONDS = _histogram(
    "faregate_loop_lag_seconds",
    "How late the event loop wakes a sleeper; seen once a second.",
    buckets=_QUICK,
)
REGISTRY_AGE_SECONDS = _gauge(
    "faregate_registry_age_seconds",
    "Since the city and its keys were last looked up.",
    of_all="livemax",
)


# Finding a child by its labels costs more than counting does, so each is found once.
_requests_of = functools.cache(REQUESTS.labels)
_request_seconds_of = functools.cache(REQUEST_SECONDS.labels)
_frames_of = functools.cache(STREAM_FRAMES.labels)
_taps_of = functools.cache(TAPS.labels)
_refusals_of = functools.cache(REFUSALS.labels)


# Prometheus sees no increase where a series begins, and no 0 where there is none: what alerts look
# at is there from the start.
_WATCHED_REFUSALS = (
    "forbidden",
    "internal",
    "outcome_unknown",
    "queue_full",
    "too_many_requests",
    "unauthorized",
)


def begin_counting() -> None:
    """Show each outcome, and each refusal that an alert looks at, before there is any."""
    for outcome in TapOutcome:
        _taps_of(outcome).inc(0)
    for reason in _WATCHED_REFUSALS:
        _refusals_of(reason).inc(0)


def count_request(route: str, status: int, seconds: float) -> None:
    _requests_of(route, str(status)).inc()
    _request_seconds_of(route).observe(seconds)


def count_refusal(reason: str) -> None:
    _refusals_of(reason).inc()


def count_frame(status: int) -> None:
    _frames_of(str(status)).inc()


def count_taps(results: Sequence[TapResult]) -> None:
    """Count a batch's outcomes."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result.outcome] = counts.get(result.outcome, 0) + 1
    for outcome, count in counts.items():
        _taps_of(outcome).inc(count)


def exposition() -> bytes:
    """What Prometheus reads: the sum of all workers, where there are several."""
    registry = METRICS
    if os.environ.get(_SHARED_FOLDER):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def resident_bytes() -> int:
    """This process's memory, or 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def start_logging(level: str, form: str) -> None:
    """Write one line an event to stderr: JSON, or coloured text on a terminal."""
    is_console = form == "console" or (form == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _leave_rows_out,
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


# PostgreSQL tells of a row that it refused in the DETAIL of its message, with all of its columns.
_DETAIL = re.compile(
    r"^DETAIL:  .*?(?=^HINT:  |^\n(?:The above|During)|\Z)", re.DOTALL | re.MULTILINE
)


def _leave_rows_out(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A row may hold a card's token, a wallet and what is in it."""
    if "exception" in event:
        event["exception"] = _DETAIL.sub("DETAIL:  (left out)\n", event["exception"])
    return event


def _mask_card_numbers(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """The last guard: whatever looks like a card number does not reach a log."""
    for key, value in event.items():
        if isinstance(value, str) and looks_like_card_number(value):
            event[key] = "(looks like a card number)"
    return event
