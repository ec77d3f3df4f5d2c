"""Register a made-up city with a gateway: its places, its gates' keys, its riders' wallets.

python -m loadtest.register --base-url URL --admin-token-file FILE --keys keys.json

It may be run again: what is there already stays as it is, but gates get new keys.
"""

import argparse
import sys
import time
from pathlib import Path

from loadtest.back_office import BackOffice, Refused, chunks
from loadtest.keys_file import KeysFile


def main() -> int:
    options = _options()
    keys_file = KeysFile(
        options.seed, options.riders, options.bus_operators, options.gates_per_line
    )
    token = options.admin_token_file.read_text().strip()
    started_at = time.monotonic()
    try:
        with BackOffice(options.base_url, token) as office:
            register(office, keys_file)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 3
    keys_file.write(options.keys)
    seconds = time.monotonic() - started_at
    print(
        f"registered {keys_file.riders_count:,} wallets and {len(keys_file.keys):,} gates "
        f"in {seconds:.0f} s; keys in {options.keys}"
    )
    return 0


def register(office: BackOffice, keys_file: KeysFile) -> None:
    """Register all of the city, and put the keys issued into the keys file."""
    city = keys_file.city()
    registry = city.registry()
    # In this order: routes and gates name what stands before them, and gates their centre.
    for kind in ("operators", "stops", "routes", "gates"):
        for records in chunks(registry[kind]):
            office.ask("POST", "/v1/registry", {kind: records})
    for gates in chunks([gate["gate_id"] for gate in registry["gates"]]):
        issued = office.ask("POST", "/v1/gate-keys", {"gate_ids": gates, "replace": True})
        for key in issued["keys"]:
            keys_file.keys[key["gate_id"]] = (key["key_id"], key["secret"])
    for wallets in chunks(city.wallets()):
        office.ask("POST", "/v1/wallets", wallets)


def add_city_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--riders", type=int, default=20_000)
    parser.add_argument("--bus-operators", type=int, default=7)
    parser.add_argument(
        "--gates-per-line",
        type=int,
        default=4,
        help="also the most processes that can play the city together",
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest.register", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--base-url", default="http://127.0.0.1:8080")
    parser.add_argument("--admin-token-file", type=Path, required=True)
    parser.add_argument("--keys", type=Path, required=True, help="the file to write")
    add_city_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
