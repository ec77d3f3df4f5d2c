"""The red envelopes of Luohu, October 2020, at full size: python -m loadtest.bench.inside.luohu

Fifty thousand envelopes of 200.00 for those whom the lot fell on: registered for, drawn, verified,
granted, one of them ridden with, and what was left taken back at the minute. Says how long each
took, and audits. Times are 2020's; the paths and the PostgreSQL are real.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5
from zoneinfo import ZoneInfo

import asyncpg

from fare_rules import load_book
from gateway.audit_path import run_audit
from gateway.core.decide import Limits
from gateway.core.envelopes import Draw, EnvelopeCampaign, draw
from gateway.core.registry import Gate, Operator, Registry, Stop
from gateway.core.taps import Action, Tap
from gateway.core.wallet_desk import WalletPlan
from gateway.core.wallet_wishes import BindMedia, OpenWallet, Wish
from gateway.envelope_path import announce, grant_envelopes, register, run_draw, ticket_lists
from gateway.purse_path import run_expiry
from gateway.registry_path import City, run_city_registration
from gateway.shell import migrations
from gateway.shell.database import connect, open_pool
from gateway.shell.embedded_postgres import EmbeddedPostgres
from gateway.tap_path import run_tap_batch
from gateway.wallet_path import run_wallet_wishes

BOOK = load_book(Path(__file__).parents[3] / "fare_rules" / "tariffs" / "luohu")
ZONE = ZoneInfo("Asia/Shanghai")
SEED = "the seed of Luohu, promised on 8 October"
CITY = City(
    operators=(Operator("metro", "Shenzhen Metro"),),
    stops=(Stop("laojie"), Stop("convention_center")),
    gates=(Gate("in", "metro", "metro"), Gate("out", "metro", "metro")),
)
REGISTRY = Registry(
    operators={one.operator_id: one for one in CITY.operators},
    stops={one.stop_id: one for one in CITY.stops},
    routes={},
    gates={one.gate_id: one for one in CITY.gates},
)


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2020-10-{clock}").replace(tzinfo=ZONE)


def token_of(wallet_id: UUID) -> str:
    """In letters, for so many digits can pass for a card's number."""
    return "ecny-" + wallet_id.hex.translate(str.maketrans("0123456789", "ghijklmnop"))


class Clock:
    """Says how long each step took."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def say(self, what: str) -> None:
        now = time.monotonic()
        print(f"{now - self._since:7.1f} s  {what}", flush=True)
        self._since = time.monotonic()


async def run(dsn: str, envelopes_count: int) -> bool:
    await migrations.upgrade(dsn)
    pool = await open_pool(dsn)
    await run_city_registration(pool, CITY)
    clock, registered_count = Clock(), envelopes_count * 6 // 5
    ids = [uuid5(NAMESPACE_URL, f"luohu rider {number}") for number in range(registered_count)]
    for start in range(0, registered_count, 1000):
        wishes = [
            Wish(one, opens=OpenWallet(one, media=(BindMedia(token_of(one), None, "ecny"),)))
            for one in ids[start : start + 1000]
        ]
        found = await run_wallet_wishes(
            pool, wishes, registry=REGISTRY, book=BOOK, now=at("08 12:00"), floor_fen=0
        )
        assert isinstance(found, WalletPlan), found
    clock.say(f"{registered_count:,} wallets opened")
    campaign = EnvelopeCampaign(
        campaign_id="luohu_2020",
        rule_id="envelope",
        funder_id="luohu_district",
        envelopes_count=envelopes_count,
        registration_opens=at("09 00:00"),
        registration_closes=at("11 00:00"),
        valid_from=at("12 18:00"),
        valid_until=at("19 00:00"),
        seed_sha256=sha256(SEED.encode()).hexdigest(),
        amount_fen=20_000,
    )
    assert await announce(pool, campaign, BOOK, at("08 13:00")) is None
    for start in range(0, registered_count, 1000):
        some = ids[start : start + 1000]
        new = await register(pool, "luohu_2020", some, issuer_id=None, now=at("10 12:00"))
        assert new == len(some), new
    clock.say("all registered")
    drawn = await run_draw(
        pool, "luohu_2020", seed=SEED, public_value="3272.08", now=at("11 12:00")
    )
    assert isinstance(drawn, Draw)
    clock.say(f"{drawn.winners_count:,} drawn")
    listed = await ticket_lists(pool, "luohu_2020")
    assert listed is not None
    _, tickets, wins = listed
    assert draw(campaign, tickets, seed=SEED, public_value="3272.08") == wins
    clock.say("drawn again from the published list, and the same")
    left = await grant_envelopes(
        pool, "luohu_2020", registry=REGISTRY, book=BOOK, now=at("12 18:00"),
        envelopes_max=envelopes_count,
    )  # fmt: skip
    clock.say(f"granted; {left} left")
    print(f"           {await _ride(dsn, pool)}")
    returned = await run_expiry(pool, BOOK, at("19 00:00"))
    clock.say(f"taken back at midnight: {returned.grants_count:,}, {returned.amount_fen:,} fen")
    report = await run_audit(pool, BOOK)
    clock.say(report.lines()[-1])
    await pool.close()
    return report.is_passed


async def _ride(dsn: str, pool: asyncpg.Pool) -> str:
    """One winner's ride for 4.75, a minute before the end: ECN-08."""
    wallet_id = await pool.fetchval(
        "SELECT wallet_id FROM envelope WHERE campaign_id = 'luohu_2020' AND rank = 1"
    )
    connection = await connect(dsn)
    taps = [
        Tap(
            tap_id=uuid5(wallet_id, action),
            gate_id=gate,
            sequence=1,
            tapped_at=when,
            media_token=token_of(wallet_id),
            action=action,
            stop_id=stop,
            full_fare=fare,
        )
        for action, gate, when, stop, fare in (
            (Action.ENTER, "in", at("18 23:30"), "convention_center", None),
            (Action.EXIT, "out", at("18 23:59"), "laojie", 475),
        )
    ]
    plan = await run_tap_batch(
        connection,
        taps,
        registry=REGISTRY,
        book=BOOK,
        limits=Limits(timedelta(minutes=5)),
        received_at=at("18 23:59") + timedelta(seconds=1),
    )
    await connection.close()
    (wallet,) = plan.wallets
    return f"a ride of 4.75 at 23:59 leaves {wallet.purses[0].held_fen} fen in the envelope"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--envelopes", type=int, default=50_000)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="faregate-luohu-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        with EmbeddedPostgres(folder) as server:
            return 0 if asyncio.run(run(server.dsn, options.envelopes)) else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
