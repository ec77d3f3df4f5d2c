"""A Monday: 20,000 riders, three operators, two banks, and everything that goes wrong in a city.

Real processes over loopback; it ends by itself, and every figure that it ends with is explained.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo

import aiohttp

from gateway.demo import city
from gateway.demo.stack import Office, SftpServer, Stack
from gateway.example_bank import Booking, camt_053, debit, orders, pain_002
from gateway.exit_codes import OK, PROBLEMS_FOUND

_SEED = "the seed of Monday's lottery, promised beforehand"
_ZONE = ZoneInfo(city.TIMEZONE)


def say(text: str) -> None:
    print(text, flush=True)


async def run_monday(folder: Path, dsn: str, *, riders_count: int) -> int:
    """Tell the day; 0 when the books are right and nothing is left unexplained."""
    began = time.monotonic()
    # The evening ends on a whole minute, far enough off that everything can happen before it.
    seconds = 20 + riders_count // 400
    ends_at = (datetime.now(_ZONE) + timedelta(seconds=seconds + 59)).replace(
        second=0, microsecond=0
    )
    city.write_tariffs(folder / "tariffs", ends_at)
    (folder / "secrets").mkdir()
    stack, sftp = Stack(folder, dsn), SftpServer(folder / "operators")
    upgraded = stack.command("db", "upgrade")
    if upgraded.returncode:
        raise RuntimeError(upgraded.stderr + upgraded.stdout)
    stack.serve()
    try:
        await sftp.start()
        tokens = [
            stack.command("token", "create", name, "--role", role).stdout.strip()
            for name, role in (("anna", "admin"), ("ben", "checker"), ("carla", "desk"))
        ]
        async with aiohttp.ClientSession() as session:
            anna, ben, carla = (Office(session, stack.address, token) for token in tokens)
            await asyncio.sleep(0.5)
            story = Monday(folder, stack, sftp, anna, ben, carla, ends_at, riders_count)
            code = await story.tell()
    finally:
        await sftp.stop()
        stack.stop()
    say(f"\n{time.monotonic() - began:.0f} s")
    return code


class Monday:
    """The story, and what it has counted."""

    def __init__(
        self,
        folder: Path,
        stack: Stack,
        sftp: SftpServer,
        anna: Office,
        ben: Office,
        carla: Office,
        ends_at: datetime,
        riders_count: int,
    ) -> None:
        self.folder, self.stack, self.sftp = folder, stack, sftp
        self.anna, self.ben, self.carla = anna, ben, carla
        self.ends_at, self.riders_count = ends_at, riders_count
        self.dawn = ends_at - timedelta(hours=18)
        self.day = (ends_at - timedelta(days=1)).date()
        self.timetable = city.Timetable(seed=1)
        self.outcomes: Counter[str] = Counter()

    async def tell(self) -> int:
        await self.open_the_city()
        await self.announce_envelopes()
        await self.morning()
        await self.late_buses()
        await self.put_right()
        await self.evening()
        await self.close()
        return await self.reconcile()

    async def open_the_city(self) -> None:
        await self.anna.ask("POST", "/v1/registry", city.registry())
        hubs = ["metro-hub", "city_bus-hub", "west_bus-hub"]
        issued = await self.anna.ask("POST", "/v1/gate-keys", {"gate_ids": hubs})
        self.anna.keys = {
            key["gate_id"]: (key["key_id"], bytes.fromhex(key["secret"])) for key in issued["keys"]
        }
        for start in range(0, self.riders_count, 1000):
            numbers = range(start, min(start + 1000, self.riders_count))
            await self.anna.ask("POST", "/v1/wallets", city.wallets(numbers))
        (self.folder / "secrets" / "sftp").write_bytes(self.sftp.client_key.export_private_key())
        host_key = self.sftp.host_key.export_public_key().decode().strip()
        for operator in city.OPERATORS:
            channel = {
                "kind": "sftp", "host": "127.0.0.1", "port": self.sftp.port, "user": operator,
                "host_key": host_key, "secret": "sftp", "folder": operator,
            }  # fmt: skip
            await self.anna.ask("PUT", f"/v1/operators/{operator}/delivery", channel)
        await asyncio.sleep(0.5)
        say(f"A Monday, told on {self.day}: {self.riders_count:,} riders, 3 operators, 2 banks")

    async def announce_envelopes(self) -> None:
        now = datetime.now(_ZONE)
        count = min(city.ENVELOPES_COUNT, self.riders_count // 4)
        self.envelopes = {
            "campaign_id": "monday",
            "rule_id": "envelope",
            "funder_id": "city",
            "envelopes_count": count,
            "amount_fen": city.ENVELOPE_FEN,
            "registration_opens": (now + timedelta(seconds=1)).isoformat(),
            "registration_closes": (now + timedelta(seconds=6)).isoformat(),
            "valid_from": (now + timedelta(seconds=6)).isoformat(),
            "valid_until": self.ends_at.isoformat(),
            "seed_sha256": hashlib.sha256(_SEED.encode()).hexdigest(),
        }
        await self.anna.ask("POST", "/v1/envelope-campaigns", self.envelopes)
        await asyncio.sleep(1.2)
        path = "/v1/envelope-campaigns/monday"
        registered = min(self.riders_count // 2, 4_000)
        for start in range(0, registered, 1000):
            ids = [str(city.wallet_id(n)) for n in range(start, min(start + 1000, registered))]
            await self.anna.ask("POST", f"{path}/registrations", {"wallet_ids": ids})
        say(f"  {registered:,} registered for {count} red envelopes; the seed was promised first")

    async def send(self, rides: list[city.Ride]) -> list[dict[str, Any]]:
        answers = await self.anna.send(rides)
        self.outcomes.update(answer["outcome"] for answer in answers)
        return answers

    async def morning(self) -> None:
        self.rides = list(self.timetable.morning(range(self.riders_count), self.dawn))
        sending = asyncio.create_task(self.send(self.rides))
        await asyncio.sleep(min(1.5, self.riders_count / 4_000))
        pid = self.stack.kill_a_worker()
        answers = await sending
        say(f"  morning: {len(answers):,} taps; worker {pid} was killed meanwhile, none was lost")
        again = await self.send(self.rides[:400])
        known = {answer["tap_id"]: answer for answer in answers}
        same = sum(known[answer["tap_id"]] == answer for answer in again)
        self.outcomes.subtract(answer["outcome"] for answer in again)
        say(f"  {same} taps were sent a second time and answered as before")

    async def late_buses(self) -> None:
        """Two buses had no network all morning; their taps come in hours late."""
        late = [
            self.timetable.bus(number, self.dawn + timedelta(minutes=30), offline=True)
            for number in range(0, self.riders_count, 25)
        ]
        await self.send(late)
        say(f"  late buses: {len(late):,} taps from before, priced in the order of the day")

    async def put_right(self) -> None:
        """A line breaks down, a rider complains, a gate beeped twice."""
        at = self.dawn + timedelta(hours=4)
        stranded = [
            self.timetable.tap(
                f"{city.BROKEN_AT}-in", at, number, "enter", stop_id=city.BROKEN_AT, offline=True
            )
            for number in range(3, min(self.riders_count, 600), 6)
        ]
        await self.send(stranded)
        identifier = str(uuid5(NAMESPACE_URL, "monday breakdown"))
        declared = {
            "disruption_id": identifier,
            "stops": [city.BROKEN_AT],
            "begins": (at - timedelta(minutes=5)).isoformat(),
            "ends": (at + timedelta(minutes=5)).isoformat(),
            "treatment": "free",
        }
        await self.carla.ask("POST", "/v1/disruptions", declared)
        await self.ben.ask("POST", f"/v1/disruptions/{identifier}/approve")
        self.stranded = len(stranded)
        say(f"  breakdown at {city.BROKEN_AT}: {self.stranded} riders let in and never out; free")
        ride = next(one for one in self.rides if one.tap["action"] == "board")
        number = int(ride.tap["media_token"].removeprefix("rider-"))
        wish = {
            "correction_id": str(uuid5(NAMESPACE_URL, "monday void")),
            "wallet_id": str(city.wallet_id(number)),
            "kind": "void",
            "reason": "gate_fault",
            "tap_id": ride.tap["tap_id"],
        }
        await self.carla.ask("POST", "/v1/corrections", wish)
        goodwill = {
            "correction_id": str(uuid5(NAMESPACE_URL, "monday goodwill")),
            "wallet_id": str(city.wallet_id(1)),
            "kind": "goodwill",
            "reason": "complaint",
            "amount_fen": 100,
            "sponsor_id": "city",
        }
        await self.carla.ask("POST", "/v1/corrections", goodwill)
        for correction in (wish, goodwill):
            path = f"/v1/corrections/{correction['correction_id']}"
            if (await self.anna.ask("GET", path))["correction"]["state"] == "proposed":
                await self.ben.ask("POST", f"{path}/approve")
        say("  desk: a bus tap taken back, a complaint made good, each by two people where it must")

    async def evening(self) -> None:
        closes = datetime.fromisoformat(str(self.envelopes["registration_closes"]))
        await asyncio.sleep(max((closes - datetime.now(_ZONE)).total_seconds() + 0.2, 0))
        path = "/v1/envelope-campaigns/monday"
        drawn = await self.anna.ask(
            "POST", f"{path}/draw", {"seed": _SEED, "public_value": "3312.67"}
        )
        while (await self.anna.ask("POST", f"{path}/grants"))["left_count"]:
            pass
        listed = await self.anna.ask("GET", f"{path}/list")
        (self.folder / "envelopes.json").write_bytes(_json(listed))
        verified = await self.stack.run("envelopes", "verify", str(self.folder / "envelopes.json"))
        say(f"  envelopes: {drawn['winners_count']} drawn and granted; {verified.stdout.strip()}")
        tickets = {one["ticket"] for one in listed["winners"]}
        now = datetime.now(_ZONE)
        home = [
            self.timetable.bus(number, now)
            for number in range(self.riders_count)
            if _ticket(number) in tickets
        ]
        home += [self.timetable.bus(n, now) for n in range(1, self.riders_count, 40)]
        await self.send(home)
        say(f"  evening: {len(home):,} taps, the winners' paid from their envelopes")

    async def close(self) -> None:
        wait = (self.ends_at - datetime.now(_ZONE)).total_seconds() + 1
        if wait > 0:
            say(f"  the day ends in {wait:.0f} s, and what is left in envelopes goes back")
            await asyncio.sleep(wait)
        closed = await self.stack.run("settle", "close", "--service-day", str(self.day))
        if closed.returncode:
            raise RuntimeError(closed.stdout + closed.stderr)
        again = await self.stack.run("settle", "close", "--service-day", str(self.day))
        say(f"  closed; a second close gave {'the same' if again.stdout == closed.stdout else '?'}")
        self.settled = self.folder / "data" / "settlement" / str(self.day)
        sent = await self.stack.run("deliver")
        for operator in city.OPERATORS:
            arrived = next((self.sftp.root / operator).glob("0001_*"))
            keys = str(self.settled.parent / "keys.json")
            checked = await self.stack.run("verify", str(arrived), "--key", keys)
            if checked.returncode:
                raise RuntimeError(checked.stdout)
        say(f"  delivered: {sent.stdout.strip()}; each operator verified its own files")

    async def reconcile(self) -> int:
        ordered = orders((self.settled / "pain001.xml").read_bytes())
        rejected = ordered[0]
        bank = [debit(order, f"B{n}") for n, order in enumerate(ordered[1:], 1)]
        invoices = (self.settled / "invoices.csv").read_text("utf-8").splitlines()[1:]
        owed: Counter[str] = Counter()
        for line in invoices:
            cells = line.split(",")
            owed[cells[0]] += int(cells[5])
        for reference, fen in sorted(owed.items()):
            bank.append(Booking(Decimal(fen).scaleb(-2), reference, text=reference))
        answers = self.folder / "pain002.xml"
        answers.write_bytes(pain_002(ordered, {rejected.end_to_end_id: "AC04"}))
        statement = self.folder / "camt053.xml"
        statement.write_bytes(camt_053(bank, account="OURS", currency="CNY", day=self.day))
        taken = await self.stack.run("bank", "import", str(answers), str(statement))
        say(f"  bank: {len(ordered)} payments ordered, one refused; statement taken in")
        if taken.returncode:
            raise RuntimeError(taken.stdout)
        page = self.folder / "reconciliation.html"
        reconciled = await self.stack.run("reconcile", str(self.day), "--html", str(page))
        say("\n" + reconciled.stdout)
        campaigns = await self.anna.ask("GET", "/v1/campaigns")
        for one in campaigns:
            used = one["spent_fen"] - one["reversed_fen"]
            exact = one["left_fen"] + used == one["budget_fen"]
            say(
                f"campaign {one['account']}: budget {_yuan(one['budget_fen'])}, "
                f"paid {_yuan(used)}, left {_yuan(one['left_fen'])}"
                f"{'' if exact else ' DOES NOT ADD UP'}"
            )
        say("\n" + "  ".join(f"{name} {count:,}" for name, count in sorted(self.outcomes.items())))
        audited = await self.stack.run("audit")
        say("\n" + audited.stdout.rstrip())
        say(f"\nfiles: {self.settled}\npage:  {page}")
        is_right = reconciled.returncode == 0 and audited.returncode == 0
        return OK if is_right else PROBLEMS_FOUND


def _ticket(number: int) -> str:
    text = f"monday\n{city.wallet_id(number)}"
    return hashlib.sha256(text.encode()).hexdigest()


def _yuan(fen: int) -> str:
    return f"{Decimal(fen).scaleb(-2)}"


def _json(message: Any) -> bytes:
    import msgspec

    return msgspec.json.encode(message)
