"""Replay a morning of Shenzhen taps through a gateway and hold its charges against the answer key.

A black box: it knows the gateway by its HTTP interface alone. `shenzhen_taps` reads the rows,
`replay_city` makes them known to the gateway, `gateway_client` talks to it, and
`replay_comparison` judges; here is the order in which it happens.
"""

import argparse
import asyncio
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import aiohttp
from gate_signature import GateKey
from gateway_client import GatewayClient, GatewayFailure, chunks, encode
from replay_city import issue_keys, open_wallets, register
from replay_comparison import Replay, compare, operator_table
from shenzhen_taps import StoredTap, StoredTaps, read_taps, service_day_of

FAULTS_SHOWN_MAX = 20


class Delivery(NamedTuple):
    """What one gate sends in one request."""

    gate_id: str
    tap_ids: list[str]
    body: bytes


async def converse(taps: list[StoredTap], options: argparse.Namespace) -> Replay:
    token = options.admin_token_file.read_text().strip()
    connector = aiohttp.TCPConnector(limit=options.connections)
    async with aiohttp.ClientSession(connector=connector) as session:
        return await replay(taps, GatewayClient(session, options.base_url, token), options)


async def replay(
    taps: list[StoredTap], gateway: GatewayClient, options: argparse.Namespace
) -> Replay:
    """Register, send and ask what it came to: the whole conversation with the gateway."""
    await register(taps, gateway)
    keys = await issue_keys(taps, gateway)
    await open_wallets(taps, gateway)
    deliveries = list(gate_by_gate(taps) if options.shuffle is None else one_by_one(taps))
    deliveries *= options.repeat
    if options.shuffle is not None:
        random.Random(options.shuffle).shuffle(deliveries)
    answers, answered_otherwise = await send(deliveries, keys, gateway, options.connections)
    return Replay(
        results={result["tap_id"]: result for body in answers for result in json.loads(body)},
        charges_fen=await load_charges(taps, gateway),
        answered_otherwise=answered_otherwise,
        settled_fen=await settle(taps, gateway) if options.settle and taps else None,
    )


def one_by_one(taps: list[StoredTap]) -> Iterator[Delivery]:
    for tap in taps:
        yield _delivery([tap])


def gate_by_gate(taps: list[StoredTap]) -> Iterator[Delivery]:
    """Every gate was offline all morning, and now sends what it stored."""
    by_gate: defaultdict[str, list[StoredTap]] = defaultdict(list)
    for tap in taps:
        by_gate[tap.gate_id].append(tap)
    for stored in by_gate.values():
        for some in chunks(stored):
            yield _delivery(some)


def _delivery(taps: list[StoredTap]) -> Delivery:
    body = encode([tap.as_sent() for tap in taps])
    return Delivery(taps[0].gate_id, [tap.tap_id for tap in taps], body)


async def send(
    deliveries: list[Delivery],
    keys: dict[str, GateKey],
    gateway: GatewayClient,
    connections_count: int,
) -> tuple[Collection[bytes], frozenset[str]]:
    """Send everything, some requests at a time.

    Shape: the first answer to each delivery, and the taps of those whose later copies had another.
    """
    answers: dict[str, bytes] = {}
    answered_otherwise: set[str] = set()
    waiting = _with_progress(deliveries)

    async def carry() -> None:
        for delivery in waiting:
            answer = await gateway.send_taps(keys[delivery.gate_id], delivery.body)
            if answers.setdefault(delivery.tap_ids[0], answer) != answer:
                answered_otherwise.update(delivery.tap_ids)

    await asyncio.gather(*(carry() for _ in range(connections_count)))
    return answers.values(), frozenset(answered_otherwise)


async def load_charges(taps: list[StoredTap], gateway: GatewayClient) -> dict[str, int]:
    """Ask what each tap is charged now that all have arrived: a late one may correct another."""
    charges_fen: dict[str, int] = {}
    for tap_ids in chunks(tap.tap_id for tap in taps):
        answer = await gateway.ask("POST", "v1/charges", {"tap_ids": tap_ids})
        charges_fen |= {charge["tap_id"]: charge["fare_fen"] for charge in answer["charges"]}
    return charges_fen


async def settle(taps: list[StoredTap], gateway: GatewayClient) -> Counter[str]:
    """Close the last service day; what each operator is paid in all settlements so far."""
    last_day = service_day_of(max(tap.tapped_at for tap in taps))
    await gateway.ask("POST", "v1/settlements", {"service_day": last_day.isoformat()})
    settled_fen: Counter[str] = Counter()
    for settlement in await gateway.ask("GET", "v1/settlements"):
        for batch in settlement["batches"]:
            settled_fen[batch["operator_id"]] += batch["gross_fen"]
    return settled_fen


def _with_progress(deliveries: list[Delivery]) -> Iterator[Delivery]:
    for count, delivery in enumerate(deliveries):
        if sys.stderr.isatty() and count % 100 == 0:
            print(f"\r{count} of {len(deliveries)} requests", end="", file=sys.stderr)
        yield delivery
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)


def drawn(stored: StoredTaps, limit: int | None, seed: int | None) -> StoredTaps:
    """The first rows of the file or, with a seed, a sample of it."""
    if limit is None or limit >= len(stored.lines):
        return stored
    if seed is None:
        return stored.on_lines(stored.lines[:limit])
    return stored.on_lines(random.Random(seed).sample(stored.lines, limit))


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", type=Path, metavar="CSV", help="Shenzhen Tong taps, UTF-8")
    parser.add_argument("--base-url", default="http://127.0.0.1:8080", help="%(default)s")
    parser.add_argument("--admin-token-file", type=Path, required=True)
    parser.add_argument("--repeat", type=_count, default=1, help="send every tap so many times")
    parser.add_argument("--shuffle", type=int, metavar="SEED", help="in random order, one by one")
    parser.add_argument("--limit", type=_count, help="the first rows only; shuffled, a sample")
    parser.add_argument("--settle", action="store_true", help="close the day, compare the totals")
    parser.add_argument("--connections", type=_count, default=16, help="%(default)s")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"not a count from 1: {text}")
    return int(text)


def main() -> int:
    """Exit with 0 when the gateway charged every row as the key, 1 if not, 3 if it cannot run."""
    options = read_options()
    try:
        with options.csv.open(encoding="utf-8-sig", newline="") as csv_lines:
            stored = drawn(read_taps(csv_lines), options.limit, options.shuffle)
        outcome = asyncio.run(converse(stored.taps, options))
    except (OSError, ValueError, GatewayFailure) as fault:
        print(f"cannot replay: {fault}", file=sys.stderr)
        return 3
    comparison = compare(stored, outcome)
    for line in islice(comparison.faults(), FAULTS_SHOWN_MAX):
        print(line, file=sys.stderr)
    for row in operator_table(stored.taps, outcome):
        print(row)
    print(comparison)
    return 0 if comparison.is_faultless else 1


if __name__ == "__main__":
    sys.exit(main())
