"""Play a day of the city: say how fast it is made, and write it as JSON lines if asked.

python -m loadtest.city --riders 300000 --taps 1000000
python -m loadtest.city --riders 1000 --day 2026-03-02 --out day.jsonl
"""

import argparse
import contextlib
import sys
import time
from collections import Counter
from datetime import date
from pathlib import Path

import msgspec

from loadtest.city import City


def main() -> int:
    options = _options()
    city = City(
        options.seed,
        riders_count=options.riders,
        bus_operators_count=options.bus_operators,
        zipf=options.zipf,
    )
    actions: Counter[str] = Counter()
    encode = msgspec.json.Encoder().encode
    started_at = time.perf_counter()
    with options.out.open("wb") if options.out else contextlib.nullcontext() as out:
        for tap in city.day(options.day, taps_count=options.taps):
            actions[tap.action] += 1
            if out:
                out.write(encode(tap) + b"\n")
    seconds = time.perf_counter() - started_at
    for action, count in sorted(actions.items()):
        print(f"{action:<8}{count:>12,}")
    taps_count = actions.total()
    print(f"{taps_count:,} taps in {seconds:.1f} s: {taps_count / seconds:,.0f} taps/s on one core")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest.city", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--riders", type=int, default=300_000)
    parser.add_argument("--bus-operators", type=int, default=7)
    parser.add_argument("--zipf", type=float, default=0.0, help="0: everyone in turn")
    parser.add_argument("--day", type=date.fromisoformat, default=date(2026, 3, 2))
    parser.add_argument("--taps", type=int, help="about so many; else two journeys a rider")
    parser.add_argument("--out", type=Path, help="a file to write, one tap a line")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
