"""`make bench`: one run of the race, one line a row.

Exit codes: 0 every `at least` is kept, 1 one is missed or the audit failed, 2 usage, 3 cannot run.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime

from loadtest.bench import close_race
from loadtest.bench.campaign_race import race_campaign
from loadtest.bench.close_race import race_close
from loadtest.bench.engine_race import race_engine
from loadtest.bench.faregate_command import faregate
from loadtest.bench.growth_race import TAPS, WALLETS, race_growth
from loadtest.bench.history_race import race_history
from loadtest.bench.http_race import FORMS, race_http
from loadtest.bench.inside.server import stage
from loadtest.bench.latency_race import HTTP, STREAM, race_latency, race_overload
from loadtest.bench.peers import PEERS, Peer, calibrated, load_peers
from loadtest.bench.results import append_results, machine
from loadtest.bench.skew_race import race_one_operator, race_one_wallet, race_zipf
from loadtest.bench.soak_race import SOAK_SECONDS, race_soak
from loadtest.bench.stage import Stage
from loadtest.bench.table import ON_DEMAND, ROWS, Line, Measured, lines_of

_CALIBRATION_SECONDS = 2.0
_ROWS_HELP = "such as P1,P4; only when asked for: K, the soak, and growth and close, without a row"
_GROWTH, _CLOSE = "growth", "close"
# Which rows are held against which peer.
_RACED = {"A": {"P1", "P3", "P4", "P5", "P10"}, "B": {"P2"}}


class Wish(argparse.Namespace):
    """What the command line asks for."""

    rows: frozenset[str]
    rounds: int
    seconds: float
    wallets: int
    no_results: bool
    soak_seconds: float
    growth_wallets: list[int]
    growth_taps: list[int]
    close_taps: list[int]


def _wish(arguments: Sequence[str] | None) -> Wish:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rows", type=_rows, default=ROWS.keys() - ON_DEMAND, help=_ROWS_HELP)
    parser.add_argument("--rounds", type=int, default=3, help="there and back again, so often")
    parser.add_argument("--seconds", type=float, default=5, help="of each turn")
    parser.add_argument("--wallets", type=int, default=300_000)
    parser.add_argument("--no-results", action="store_true", help="leave RESULTS.md alone")
    parser.add_argument("--soak-seconds", type=float, default=SOAK_SECONDS, help="of row K")
    parser.add_argument(
        "--growth-wallets", type=_numbers, default=list(WALLETS), help="such as 10000,300000"
    )
    parser.add_argument("--growth-taps", type=_numbers, default=list(TAPS), help="stored before")
    parser.add_argument(
        "--close-taps", type=_numbers, default=list(close_race.TAPS), help="of the day closed"
    )
    return parser.parse_args(arguments, namespace=Wish())


def _numbers(text: str) -> list[int]:
    return sorted(int(number) for number in text.split(","))


def _rows(text: str) -> frozenset[str]:
    """Rows by their ids, or by the first words of them: O means all of the overload."""
    asked = set(text.split(","))
    known = (*ROWS, _GROWTH, _CLOSE)
    found = frozenset(row_id for row_id in known if asked & {row_id, row_id.split()[0]})
    if unknown := asked - found - {row_id.split()[0] for row_id in found}:
        raise argparse.ArgumentTypeError(f"no rows {sorted(unknown)}; there are {', '.join(known)}")
    return found


async def _race(wish: Wish) -> int:
    started_at = time.monotonic()
    wallets = min(wish.growth_wallets) if _GROWTH in wish.rows else wish.wallets
    async with stage(wallets) as made:
        async with made.connected() as connection:
            version = await connection.fetchval("SHOW server_version")
        print(f"{machine()}, PostgreSQL {version}, {wallets:,} wallets", flush=True)
        printed: list[str] = []
        measured: list[Measured] = []
        async for said in _run_races(made, wish):
            if isinstance(said, str):
                printed.append(said)
                print(said, flush=True)
            else:
                measured.append(said)
        lines = [line for line in lines_of(measured) if line.row_id in wish.rows]
        is_audited = await _audit(made)
    printed += [line.text() for line in lines]
    printed.append(f"audit {'passed' if is_audited else 'FAILED'}")
    print("\n".join(printed[-len(lines) - 1 :]))
    print(f"{time.monotonic() - started_at:.0f} s")
    if not wish.no_results:
        day = datetime.now(UTC).date()
        command = " ".join(("make bench", *sys.argv[1:]))
        append_results(command, f"PostgreSQL {version}", printed, day=day)
    return _exit_code(lines, is_audited=is_audited)


def _exit_code(lines: Sequence[Line], *, is_audited: bool) -> int:
    return 0 if is_audited and all(line.is_ok() for line in lines) else 1


async def _run_races(made: Stage, wish: Wish) -> AsyncIterator[Measured | str]:
    needed = {name for name, rows in _RACED.items() if wish.rows & rows}
    peers: dict[str, Peer] = {}
    if needed:
        await load_peers(made, made.wallets_count)
    for name in sorted(needed):
        peers[name] = await calibrated(made, PEERS[name], _CALIBRATION_SECONDS)
        yield f"    pgbench {name} is fastest with {peers[name].clients_count} clients"
    for race in _races(made, wish, peers):
        async for said in race:
            yield said


def _races(
    made: Stage, wish: Wish, peers: dict[str, Peer]
) -> Iterator[AsyncIterator[Measured | str]]:
    """Those that the wished rows need, one after another."""
    rounds, seconds = wish.rounds, wish.seconds
    if wish.rows & {"P1", "P2", "P9", "P10"}:
        yield race_engine(made, peers, rounds, seconds)
    for name, form in FORMS.items():
        if form.row_id in wish.rows or ("P10" in wish.rows and form.cost_position is not None):
            yield race_http(made, peers["A"], name, rounds, seconds)
    if "P6" in wish.rows:
        yield race_one_operator(made, rounds, seconds)
    if "P7" in wish.rows:
        yield race_one_wallet(made, rounds, seconds)
    if "P8" in wish.rows:
        yield race_history(made, rounds, seconds)
    if "P11" in wish.rows:
        yield race_campaign(made, rounds, seconds)
    if "P12" in wish.rows:
        yield race_zipf(made, rounds, seconds)
    if any(row_id.startswith("L") for row_id in wish.rows):
        yield race_latency(made, HTTP, rounds, seconds)
    if any(row_id.startswith("S") for row_id in wish.rows):
        yield race_latency(made, STREAM, rounds, seconds)
    if any(row_id.startswith("O") for row_id in wish.rows):
        yield race_overload(made, rounds, seconds)
    if any(row_id.startswith("K") for row_id in wish.rows):
        yield race_soak(made, wish.soak_seconds)
    if _GROWTH in wish.rows:
        yield race_growth(made, wish.growth_wallets, wish.growth_taps, rounds, seconds)
    if _CLOSE in wish.rows:
        yield race_close(made, wish.close_taps, seconds)


async def _audit(made: Stage) -> bool:
    said, is_passed = await faregate(made, "audit")
    if not is_passed:
        print(said)
    return is_passed


if __name__ == "__main__":
    sys.exit(asyncio.run(_race(_wish(None))))
