"""An operator checks its settlement files: real files, a real process, and no database at hand."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import pytest

from gateway.core.payment_order import Debtor
from gateway.core.registry import Operator
from gateway.core.settlement import SettledLine, SettlementPeriod, settle
from gateway.core.settlement_files import settlement_files, sha256_of
from gateway.core.signed_books import operator_files
from gateway.shell.files import write_settlement
from gateway.shell.signing import Signer, sign_settlement
from gateway.verify_commands import verify

DAYS = ("2018-09-01", "2018-09-02", "2018-09-03")


def checked(*arguments: object) -> tuple[int, str]:
    ran = subprocess.run(
        [sys.executable, "-m", "gateway", "verify", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "FAREGATE_DATABASE_URL": "postgresql://nowhere/none"},
    )
    assert ran.stderr == "", ran.stderr
    return ran.returncode, ran.stdout


OPERATORS = {
    "metro": Operator("metro", "Harbour Metro", "DE89370400440532013000"),
    "bus": Operator("bus", "Harbour Bus", "44010123456789012"),
}
DEBTOR = Debtor("Harbour Clearing", "6222020200112233445", "ICBKCNBJSZN")


@pytest.fixture
def settled(tmp_path: Path) -> Path:
    return settle_days(tmp_path, "CNY")


def settle_days(tmp_path: Path, currency: str) -> Path:
    """Three settled days of two operators; the second is signed with another key."""
    signers = [Signer(bytes(32)), Signer(bytes([1] * 32)), Signer(bytes(32))]
    folder, previous, after = tmp_path / "settlement", None, None
    for number, (said, signer) in enumerate(zip(DAYS, signers, strict=True), start=1):
        day = date.fromisoformat(said)
        closed_at = datetime.combine(day + timedelta(days=1), time(5), UTC)
        period = SettlementPeriod(number, after, day, closed_at, currency, "Asia/Shanghai")
        lines = [_line(f"{said} {n}", "metro" if n % 2 else "bus", day, n) for n in range(1, 9)]
        files = settlement_files(
            settle(lines, period, operators=OPERATORS, carried_in={}),
            lines,
            operators=OPERATORS,
            debtor=DEBTOR,
            previous_manifest_sha256=previous,
        )
        settlement = settle(lines, period, operators=OPERATORS, carried_in={})
        write_settlement(folder / said, files, operator_files(settlement, files))
        signer.publish(folder)
        sign_settlement(folder / said, signer)
        previous, after = sha256_of(files["manifest.json"]), day
    return folder


def _line(name: str, operator_id: str, day: date, number: int) -> SettledLine:
    tap_id = uuid5(NAMESPACE_OID, name)
    at = datetime.combine(day, time(1, number), UTC)
    return SettledLine(
        tap_id, "fare", tap_id, tap_id, operator_id, "ride", day, day, at, at, 1, 100 * number
    )


def test_what_is_right_is_said_to_be(settled: Path):
    folders = [settled / day for day in DAYS]
    code, said = checked(*folders, "--key", settled / "keys.json")
    assert code == 0, said
    assert [line.rsplit(":", 2)[1] for line in said.splitlines()] == [
        f" settlement {n} of {day} is right" for n, day in enumerate(DAYS, start=1)
    ]
    code, said = checked(settled / DAYS[0] / "operators" / "bus", "--key", settled / "keys.json")
    assert (code, "paid to bus" in said) == (0, True)


@pytest.mark.parametrize(("currency", "earned"), [("EUR", "20.00 EUR"), ("JPY", "2000 JPY")])
def test_amounts_are_said_in_their_currency(
    tmp_path: Path, currency: str, earned: str, capsys: pytest.CaptureFixture[str]
):
    folder = settle_days(tmp_path, currency) / DAYS[0]
    assert verify(folder, folder / "operators" / "bus") == 0
    whole, own = capsys.readouterr().out.splitlines()[:2]
    assert whole.endswith(f"8 rides, {earned.replace('20', '36')} paid")
    assert f"4 rides earned {earned}, " in own
    assert own.endswith(f"; {earned} paid to bus")


def test_a_key_in_hexadecimal_is_enough_and_another_one_is_not(settled: Path):
    assert checked(settled / DAYS[0], "--key", Signer(bytes(32)).public.public_key)[0] == 0
    code, said = checked(settled / DAYS[1], "--key", Signer(bytes(32)).public.public_key)
    assert code == 1
    assert "signed by key" in said


def test_who_signed_is_not_checked_without_a_key_and_that_is_said(settled: Path):
    code, said = checked(settled / DAYS[0])
    assert (code, "who signed it was not checked" in said) == (0, True)


def test_what_cannot_be_looked_at_is_no_fault_of_the_files(settled: Path, tmp_path: Path):
    assert checked(tmp_path)[0] == 3
    assert checked()[0] == 3
    (tmp_path / "manifest.json").write_text("{}")
    assert checked(tmp_path)[0] == 3


FILES = [
    "manifest.json",
    "manifest.sig",
    "totals.csv",
    "pain001.xml",
    "operator_bus.csv",
    "operators/bus/manifest.json",
    "operators/bus/manifest.sig",
    "operators/bus/operator_bus.csv",
]


@pytest.mark.parametrize("name", FILES)
def test_any_byte_that_is_changed_is_found(settled: Path, name: str, capsys: Any):
    path = settled / DAYS[0] / name
    content = path.read_bytes()
    folder = path.parent if "operators/" in name else settled / DAYS[0]
    key = str(settled / "keys.json")
    assert verify(folder, key=key) == 0
    for at in range(0, len(content), max(len(content) // 40, 1)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert verify(folder, key=key) != 0, f"byte {at} of {name}"
    path.write_bytes(content)
    assert verify(folder, key=key) == 0
    path.unlink()
    assert verify(folder, key=key) != 0
    capsys.readouterr()


def test_a_forger_with_a_key_of_his_own_must_also_make_the_sums_right(settled: Path):
    """Hashes and signature fit, the lines do not."""
    folder = settled / DAYS[0] / "operators" / "bus"
    forger = Signer(bytes([9] * 32))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["batch"]["gross_fen"] += 100
    manifest["batch"]["paid_fen"] += 100
    manifest["batch"]["products"][0]["amount_fen"] += 100
    content = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(content)
    (folder / "manifest.sig").write_bytes(forger.sign(content))
    code, said = checked(folder, "--key", forger.public.public_key)
    assert code == 1
    assert "operator_bus.csv: the sum of amount_fen is" in said


def test_a_settlement_left_out_or_replaced_breaks_the_chain(settled: Path):
    code, said = checked(settled / DAYS[0], settled / DAYS[2], "--key", settled / "keys.json")
    assert (code, "the settlement before it, 2, is not among them" in said) == (1, True)
    own = [settled / day / "operators" / "bus" / "manifest.json" for day in DAYS]
    assert checked(*own, "--key", settled / "keys.json")[0] == 0
    forger = Signer(bytes(32))
    manifest = json.loads(own[1].read_text())
    manifest["head_sha256"] = "0" * 64
    content = json.dumps(manifest).encode()
    own[1].write_bytes(content)
    own[1].with_name("manifest.sig").write_bytes(forger.sign(content))
    code, said = checked(*own, "--key", settled / "keys.json")
    assert (code, "had the head" in said) == (1, True)
