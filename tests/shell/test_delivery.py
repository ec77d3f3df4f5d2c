"""Settlement files brought to operators: a real SFTP server, a real webhook, real failures."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncssh
import pytest
from aiohttp import web
from msgspec import structs

from gateway.delivery_path import run_deliveries
from gateway.shell import delivery_store
from gateway.verify_commands import verify

SECRET = b"webhook secret"


class Server:
    """An operator's SFTP server, on a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir()
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.client_key = asyncssh.generate_private_key("ssh-ed25519")
        self.port = 0
        self.bytes_until_cut: int | None = None
        # Where the server falls silent: in the middle of a file, or once all are in place.
        self.stalls_at = ""
        self.is_stalled = asyncio.Event()
        self.goes_on = asyncio.Event()
        self._acceptor: asyncssh.SSHAcceptor | None = None

    async def start(self) -> None:
        server = self

        class Files(asyncssh.SFTPServer):
            def __init__(self, channel: asyncssh.SSHServerChannel[bytes]) -> None:
                super().__init__(channel, chroot=str(server.root).encode())

            async def write(self, file: object, offset: int, data: bytes) -> int:
                if server.bytes_until_cut is not None:
                    server.bytes_until_cut -= len(data)
                    if server.bytes_until_cut < 0:
                        server.bytes_until_cut = None
                        self.channel.get_connection().abort()
                        raise asyncssh.SFTPConnectionLost("cut")
                written = await asyncio.to_thread(super().write, file, offset, data)
                if server.stalls_at == "a file's middle":
                    await self._stall()
                return written

            async def rename(self, old: bytes, new: bytes) -> None:
                await asyncio.to_thread(super().rename, old, new)
                if server.stalls_at == "the last rename" and new.endswith(b"manifest.sig"):
                    await self._stall()

            async def _stall(self) -> None:
                server.is_stalled.set()
                await server.goes_on.wait()

        known = asyncssh.import_authorized_keys(self.client_key.export_public_key().decode())
        self._acceptor = await asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_host_keys=[self.host_key],
            authorized_client_keys=known,
            sftp_factory=Files,
        )
        self.port = self._acceptor.get_port()

    async def stop(self) -> None:
        if self._acceptor:
            self._acceptor.close()
            await self._acceptor.wait_closed()
            self._acceptor = None

    def channel(self, **changes: Any) -> dict[str, Any]:
        host_key = self.host_key.export_public_key().decode().strip()
        told = {"kind": "sftp", "host": "127.0.0.1", "port": self.port, "user": "metro",
                "host_key": host_key, "secret": "metro_key"}  # fmt: skip
        return {**told, **changes}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    found = Server(tmp_path / "operator")
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
async def settled(open_door, tmp_path: Path, server: Server) -> AsyncIterator[Any]:
    """A gateway with one settled day, of which nobody has been sent anything."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "metro_key").write_bytes(server.client_key.export_private_key())
    (secrets / "hook").write_bytes(SECRET)
    async with open_door(
        data_dir=tmp_path, delivery_secrets_dir=secrets, delivery_to_loopback=True,
        delivery_timeout_seconds=10, delivery_attempts_max=3,
    ) as door:  # fmt: skip
        # On the hour, so that no service day begins between two taps.
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        at = hour - timedelta(days=1)
        await door.open_wallet(fen=10_000)
        for number in range(40):
            tap = door.tap(
                tapped_at=(at + timedelta(seconds=number)).isoformat(),
                offline=True,
                full_fare=200,
            )
            assert (await door.post_taps(tap)).status == 200
        tap = door.metro_tap("exit", tapped_at=at.isoformat(), offline=True, full_fare=300)
        assert (await door.post_taps(tap)).status == 200
        door.day = str(door.api.book.service_day_of(at))
        said = await door.ask("POST", "/v1/settlements", {"service_day": door.day})
        assert said.status == 200, said.body
        yield door


async def set_channel(door, operator_id: str, channel: dict[str, Any]) -> None:
    said = await door.ask("PUT", f"/v1/operators/{operator_id}/delivery", channel)
    assert said.status == 200, said.body


async def run(door) -> tuple[int, int, int]:
    found = await run_deliveries(door.api.pool, door.api.settings)
    return found.sent_count, found.failed_count, found.acknowledged_count


async def due_now(door) -> None:
    await door.api.pool.execute("UPDATE delivery_job SET due_at = now() WHERE NOT is_dead")


async def statuses(door, operator_id: str) -> list[str]:
    listed = (await door.ask("GET", "/v1/deliveries")).message
    (own,) = [one for one in listed if one["operator_id"] == operator_id]
    return [event["status"] for event in own["events"]]


def arrived(server: Server) -> list[str]:
    return sorted(str(path.relative_to(server.root)) for path in server.root.rglob("*.*"))


async def test_files_arrive_whole_and_can_be_verified(settled, server: Server, tmp_path: Path):
    await set_channel(settled, "buses", server.channel())
    assert await run(settled) == (1, 0, 0)
    name = f"0001_{settled.day}_buses"
    assert arrived(server) == [
        f"{name}/manifest.json", f"{name}/manifest.sig", f"{name}/operator_buses.csv"
    ]  # fmt: skip
    keys = settled.api.settings.settlement_dir / "keys.json"
    assert verify(server.root / name, key=str(keys)) == 0
    assert await statuses(settled, "buses") == ["pending", "sent"]
    assert await statuses(settled, "metro") == ["pending"]
    assert await run(settled) == (0, 0, 0)


async def test_what_a_killed_close_left_half_written_is_not_sent(settled, server: Server):
    folder = settled.api.settings.settlement_dir / settled.day / "operators" / "buses"
    (folder / ".partial-0yd_ts62").write_bytes(b"half a li")
    await set_channel(settled, "buses", server.channel())
    assert await run(settled) == (1, 0, 0)
    sent = [path.name for path in server.root.rglob("*") if path.is_file()]
    assert sorted(sent) == ["manifest.json", "manifest.sig", "operator_buses.csv"]


async def test_a_file_that_went_away_is_missed_before_anything_is_sent(settled, server: Server):
    folder = settled.api.settings.settlement_dir / settled.day / "operators" / "buses"
    kept = (folder / "operator_buses.csv").rename(folder / "elsewhere.csv")
    await set_channel(settled, "buses", server.channel())
    assert await run(settled) == (0, 1, 0)
    assert arrived(server) == []
    kept.rename(folder / "operator_buses.csv")
    await due_now(settled)
    assert await run(settled) == (1, 0, 0)


async def test_a_city_that_has_closed_no_day_waits_since_it_began(door):
    await door.open_wallet()
    await door.post_taps(door.tap())
    later = datetime.now(UTC) + timedelta(hours=40)
    backlog = await delivery_store.load_backlog(door.api.pool, later)
    assert 40 * 3_600 <= backlog.close_age_seconds < 41 * 3_600


async def test_what_operators_wait_for_is_seen(settled, server: Server):
    soon = datetime.now(UTC) + timedelta(hours=2)
    backlog = await delivery_store.load_backlog(settled.api.pool, soon)
    assert backlog.wait_seconds == 0, "nobody has said where to"
    assert 7_200 <= backlog.close_age_seconds < 7_300
    await set_channel(settled, "buses", server.channel())
    backlog = await delivery_store.load_backlog(settled.api.pool, soon)
    assert 7_200 <= backlog.wait_seconds < 7_300
    await run(settled)
    backlog = await delivery_store.load_backlog(settled.api.pool, soon)
    assert (backlog.wait_seconds, backlog.given_up_count) == (0, 0)


async def test_a_server_that_is_down_is_tried_again(settled, server: Server):
    await set_channel(settled, "buses", server.channel())
    await server.stop()
    assert await run(settled) == (0, 1, 0)
    assert await run(settled) == (0, 0, 0), "not before it is due"
    await server.start()
    await due_now(settled)
    assert await run(settled) == (1, 0, 0)
    assert await statuses(settled, "buses") == ["pending", "failed", "sent"]


async def test_a_connection_cut_in_the_middle_leaves_no_half_file(settled, server: Server):
    await set_channel(settled, "buses", server.channel())
    server.bytes_until_cut = 100
    assert await run(settled) == (0, 1, 0)
    assert all(name.endswith(".part") for name in arrived(server))
    await due_now(settled)
    assert await run(settled) == (1, 0, 0)
    assert not any(name.endswith(".part") for name in arrived(server))
    assert len(arrived(server)) == 3


async def test_a_line_that_falls_silent_is_left_when_the_time_is_over(settled, server: Server):
    settings = structs.replace(settled.api.settings, delivery_timeout_seconds=2)
    server.stalls_at = "a file's middle"
    async with line_to(server) as port:
        await set_channel(settled, "buses", server.channel(port=port))
        async with asyncio.timeout(60):
            found = await run_deliveries(settled.api.pool, settings)
    assert (found.sent_count, found.failed_count) == (0, 1)
    listed = (await settled.ask("GET", "/v1/deliveries")).message
    (own,) = [one for one in listed if one["operator_id"] == "buses"]
    assert own["events"][-1]["detail"].endswith("not done within 2 seconds")
    server.stalls_at = ""
    server.goes_on.set()
    await set_channel(settled, "buses", server.channel())
    await due_now(settled)
    assert await run(settled) == (1, 0, 0)


@contextlib.asynccontextmanager
async def line_to(server: Server) -> AsyncIterator[int]:
    """A port that leads to the server until it stalls; then nothing goes through any more."""
    ends: list[asyncio.StreamWriter] = []

    async def carry(here: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_connection("127.0.0.1", server.port)
        ends.extend([back, onward])
        await asyncio.gather(pump(here, onward), pump(there, back))

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while part := await source.read(10_000):
            if not server.is_stalled.is_set():
                target.write(part)

    async with await asyncio.start_server(carry, "127.0.0.1", 0) as line:
        yield line.sockets[0].getsockname()[1]
        for end in ends:
            end.close()


async def test_what_is_there_already_counts_as_sent_and_is_never_overwritten(
    settled, server: Server
):
    await set_channel(settled, "buses", server.channel())
    assert await run(settled) == (1, 0, 0)
    before = {path: path.stat().st_mtime_ns for path in server.root.rglob("*.*")}
    pool = settled.api.pool
    delivery_id = await pool.fetchval("SELECT delivery_id FROM delivery WHERE operator_id='buses'")
    # A worker that died after the last file, before it could say so.
    await pool.execute("INSERT INTO delivery_job VALUES ($1, now())", delivery_id)
    assert await run(settled) == (1, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in server.root.rglob("*.*")} == before
    (lines,) = server.root.rglob("operator_buses.csv")
    lines.write_bytes(b"something else")
    await pool.execute("INSERT INTO delivery_job VALUES ($1, now())", delivery_id)
    assert await run(settled) == (0, 1, 0)
    assert lines.read_bytes() == b"something else"


@pytest.mark.parametrize("where", ["a file's middle", "the last rename"])
async def test_a_killed_worker_has_sent_each_file_once_when_another_takes_over(
    settled, server: Server, server_dsn: str, where: str
):
    await set_channel(settled, "buses", server.channel())
    server.stalls_at = where
    async with worker(settled, server_dsn) as killed:
        await asyncio.wait_for(server.is_stalled.wait(), 30)
        killed.kill()
        await killed.wait()
    assert await statuses(settled, "buses") == ["pending"], "nobody said that it was sent"
    before = {path: path.stat().st_mtime_ns for path in server.root.rglob("*.*")}
    whole = [path for path in before if path.suffix != ".part"]
    assert len(whole) == (0 if where == "a file's middle" else 3)
    assert await run(settled) == (0, 0, 0), "it may still be at work"
    server.stalls_at = ""
    server.goes_on.set()
    await due_now(settled)
    async with worker(settled, server_dsn) as other:
        assert await asyncio.wait_for(other.wait(), 60) == 0
    assert await statuses(settled, "buses") == ["pending", "sent"]
    assert {path: path.stat().st_mtime_ns for path in whole} == {
        path: before[path] for path in whole
    }
    name = f"0001_{settled.day}_buses"
    assert arrived(server) == [
        f"{name}/manifest.json", f"{name}/manifest.sig", f"{name}/operator_buses.csv"
    ]  # fmt: skip
    keys = settled.api.settings.settlement_dir / "keys.json"
    assert verify(server.root / name, key=str(keys)) == 0


@contextlib.asynccontextmanager
async def worker(settled, server_dsn: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`faregate deliver`, as a process of its own."""
    database = await settled.api.pool.fetchval("SELECT current_database()")
    settings = settled.api.settings
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "deliver",
        env={
            "PATH": os.environ["PATH"],
            "FAREGATE_DATABASE_URL": urlsplit(server_dsn)._replace(path=f"/{database}").geturl(),
            "FAREGATE_DATA_DIR": str(settings.data_dir),
            "FAREGATE_SETTLEMENT_DIR": str(settings.settlement_dir),
            "FAREGATE_DELIVERY_SECRETS_DIR": str(settings.delivery_secrets_dir),
        },
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_server_with_another_key_is_sent_nothing(settled, server: Server):
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    await set_channel(settled, "buses", server.channel(host_key=stranger))
    assert await run(settled) == (0, 1, 0)
    assert arrived(server) == []


@pytest.mark.parametrize("secret", ["no key", "its public half", "not to be read"])
async def test_an_operator_whose_key_is_wrong_stands_in_nobodys_way(
    settled, server: Server, secret: str
):
    wrong = settled.api.settings.delivery_secrets_dir / "wrong"
    wrong.write_bytes(b"no key" if secret == "no key" else server.client_key.export_public_key())
    if secret == "not to be read":
        # Nobody may read this one, root neither.
        wrong.unlink()
        wrong.symlink_to("/proc/1/mem")
    await set_channel(settled, "buses", server.channel(secret="wrong"))
    await set_channel(settled, "metro", server.channel())
    assert await run(settled) == (1, 1, 0)
    assert await statuses(settled, "buses") == ["pending", "failed"]
    assert await statuses(settled, "metro") == ["pending", "sent"]


@pytest.mark.parametrize("url", ["http://a:99999/", "http://[::1", f"https://{'a' * 64}.org/"])
async def test_an_address_that_leads_nowhere_fails_like_any_other(settled, url: str):
    await set_channel(settled, "buses", {"kind": "webhook", "url": url, "secret": "hook"})
    assert await run(settled) == (0, 1, 0)
    assert await statuses(settled, "buses") == ["pending", "failed"]


async def test_a_host_key_that_is_none_is_refused_when_it_is_said(settled, server: Server):
    for host_key in ("SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8", "", "ssh-ed25519"):
        channel = server.channel(host_key=host_key)
        said = await settled.ask("PUT", "/v1/operators/buses/delivery", channel)
        said.check_problem(422, "bad_host_key")
    scanned = f"127.0.0.1 {server.channel()['host_key']}\n"
    await set_channel(settled, "buses", server.channel(host_key=scanned))
    assert await run(settled) == (1, 0, 0)


async def test_two_workers_send_each_file_once(settled, server: Server):
    await set_channel(settled, "buses", server.channel())
    await set_channel(settled, "metro", server.channel(folder="metro"))
    runs = await asyncio.gather(*(run(settled) for _ in range(3)))
    assert sum(sent for sent, _, _ in runs) == 2
    assert await statuses(settled, "buses") == ["pending", "sent"]
    assert await statuses(settled, "metro") == ["pending", "sent"]


async def test_an_operator_acknowledges_by_a_file_or_at_the_desk(settled, server: Server):
    await set_channel(settled, "buses", server.channel())
    await run(settled)
    (server.root / "ack").mkdir()
    (server.root / "ack" / f"0001_{settled.day}_buses.ack").write_text("")
    assert await run(settled) == (0, 0, 1)
    assert await statuses(settled, "buses") == ["pending", "sent", "acknowledged"]
    listed = (await settled.ask("GET", f"/v1/settlements/{settled.day}/deliveries")).message
    metro = next(one for one in listed if one["operator_id"] == "metro")
    path = f"/v1/deliveries/{metro['delivery_id']}/acknowledgements"
    (await settled.ask("POST", path, {})).check_problem(409, "not_sent")
    await set_channel(settled, "metro", server.channel(folder="metro"))
    await run(settled)
    for _ in range(2):
        assert (await settled.ask("POST", path, {"detail": "by hand"})).status == 200
    assert await statuses(settled, "metro") == ["pending", "sent", "acknowledged"]


class Hook:
    """An operator's webhook, which answers what it is told to."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.calls: list[tuple[dict[str, str], bytes]] = []

    async def take(self, request: web.Request) -> web.Response:
        self.calls.append((dict(request.headers), await request.read()))
        status = self.answers.pop(0) if self.answers else 200
        return web.json_response({"acknowledged": status == 200}, status=status)


@pytest.fixture
async def hook() -> AsyncIterator[tuple[Hook, str]]:
    found = Hook()
    app = web.Application()
    app.router.add_post("/hook", found.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield found, f"http://127.0.0.1:{port}/hook"
    await runner.cleanup()


async def test_a_webhook_is_signed_and_its_answer_acknowledges(settled, hook):
    found, url = hook
    await set_channel(settled, "buses", {"kind": "webhook", "url": url, "secret": "hook"})
    assert await run(settled) == (1, 0, 0)
    ((headers, body),) = found.calls
    signed = ".".join([headers["webhook-id"], headers["webhook-timestamp"], body.decode()])
    expected = base64.b64encode(hmac.digest(SECRET, signed.encode(), "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    told = json.loads(body)
    for file in told["files"]:
        said = await settled.ask("GET", told["path"] + file["name"])
        assert len(said.body) == file["size_bytes"]
    assert await statuses(settled, "buses") == ["pending", "sent", "acknowledged"]


async def test_a_webhook_that_fails_too_often_waits_for_a_person(settled, hook):
    found, url = hook
    found.answers = [500, 503, 302]
    await set_channel(settled, "buses", {"kind": "webhook", "url": url, "secret": "hook"})
    for _ in range(3):
        assert await run(settled) == (0, 1, 0)
        await due_now(settled)
    assert await run(settled) == (0, 0, 0), "given up"
    backlog = await delivery_store.load_backlog(settled.api.pool, datetime.now(UTC))
    assert backlog.given_up_count == 1
    assert backlog.wait_seconds == 0, "nobody tries any more; the other operator has no channel"
    listed = (await settled.ask("GET", "/v1/deliveries")).message
    dead_one = next(one for one in listed if one.get("is_dead"))
    path = f"/v1/deliveries/{dead_one['delivery_id']}/retries"
    assert (await settled.ask("POST", path)).status == 200
    assert await run(settled) == (1, 0, 0)
    assert len({headers["webhook-id"] for headers, _ in found.calls}) == 1
    (await settled.ask("POST", path)).check_problem(409, "already_sent")


@pytest.mark.parametrize("url", ["http://example.com/", "https://127.0.0.1/", "https://10.0.0.1/"])
async def test_a_webhook_never_leads_into_a_network_of_ours(settled, url: str):
    await set_channel(settled, "buses", {"kind": "webhook", "url": url, "secret": "hook"})
    settings = structs.replace(settled.api.settings, delivery_to_loopback=False)
    found = await run_deliveries(settled.api.pool, settings)
    assert (found.sent_count, found.failed_count) == (0, 1)


async def test_an_operator_reads_its_own_files_and_no_others_by_any_name(settled):
    path = f"/v1/settlements/{settled.day}/operators/buses/files"
    for name in ("manifest.json", "manifest.sig", "operator_buses.csv"):
        assert (await settled.ask("GET", f"{path}/{name}", who="buses_finance")).status == 200
    beside = (
        "..%2Fmetro%2Foperator_metro.csv",
        "..%2F..%2Foperator_metro.csv",
        "..%2F..%2F..%2Fkeys.json",
        ".%2Fmanifest.json",
        "%2E%2E%2Fmetro%2Fmanifest.json",
        quote(str(settled.api.settings.settlement_dir / "keys.json"), safe=""),
        "%00.json",
    )
    for name in beside:
        said = await settled.ask("GET", f"{path}/{name}", who="buses_finance")
        assert (name, said.status) == (name, 404)


async def test_closing_again_makes_no_second_delivery(settled, server: Server):
    await set_channel(settled, "buses", server.channel())
    await run(settled)
    said = await settled.ask("POST", "/v1/settlements", {"service_day": settled.day})
    assert said.status == 200
    assert await run(settled) == (0, 0, 0)
    assert await settled.api.pool.fetchval("SELECT count(*) FROM delivery") == 2
