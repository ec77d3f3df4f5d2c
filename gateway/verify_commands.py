"""`faregate verify`: an operator checks its files with our public key, and nothing else of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
from pyiso20022.pain import pain_001_001_09 as iso
from xsdata.formats.dataclass.parsers import XmlParser

from fare_rules.amounts import said
from fare_rules.currency import currency_digits
from gateway.core import verification
from gateway.core.settlement_files import MANIFEST, PAYMENT_ORDER, Manifest, sha256_of
from gateway.core.signed_books import (
    SIGNATURE,
    OperatorManifest,
    PublicKey,
    Signature,
    public_key_of,
)
from gateway.core.tides import PACKAGE, PACKAGE_SIGNATURE, TripPackage
from gateway.core.verification import Link, Open
from gateway.exit_codes import CANNOT_RUN, OK, PROBLEMS_FOUND
from gateway.shell.files import file_sha256
from gateway.shell.signing import is_signed_by


def verify(*paths: Path, key: str | None = None) -> int:
    """Check settlement files: signature, hashes, sums, the order to the bank, and the chain.

    Also exported trips: signature, hashes, rows and sums.

    Exit 0 when all is right, 1 when something is not, 3 when it could not be looked at.

    Parameters
    ----------
    paths
        Manifests and packages of trips, or folders that hold one. Of several settlements, the
        chain is checked, too.
    key
        The public key in hexadecimal, or a keys.json with several.
    """
    if not paths:
        print(f"name a {MANIFEST} or {PACKAGE}, or a folder that holds one")
        return CANNOT_RUN
    try:
        keys = _keys(key)
    except (OSError, ValueError, msgspec.DecodeError) as error:
        print(f"--key: {error}")
        return CANNOT_RUN
    faults: list[str] = []
    links: list[Link] = []
    for path in paths:
        manifest_path = _described(path)
        try:
            content = manifest_path.read_bytes()
            if manifest_path.name == PACKAGE:
                faults += _trip_faults(content, manifest_path, keys)
                continue
            manifest = _manifest(content)
        except (OSError, msgspec.DecodeError) as error:
            print(f"{manifest_path}: {error}")
            return CANNOT_RUN
        except AssertionError as error:
            faults.append(f"{manifest_path}: contradicts itself: {error}")
            continue
        found = list(_faults(manifest, content, manifest_path, keys))
        faults += found
        links.append(_link(manifest, str(manifest_path), content))
        if not found:
            print(f"{manifest_path}: {_summary(manifest)}")
    faults += verification.chain_faults(links)
    for fault in faults:
        print(fault)
    if not keys:
        print("no --key was given: who signed it was not checked")
    return PROBLEMS_FOUND if faults else OK


def _described(path: Path) -> Path:
    if not path.is_dir():
        return path
    return path / (MANIFEST if (path / MANIFEST).exists() else PACKAGE)


def _keys(key: str | None) -> list[PublicKey]:
    if key is None:
        return []
    if re.fullmatch("[0-9a-f]{64}", key):
        return [public_key_of(bytes.fromhex(key))]
    return msgspec.json.decode(Path(key).read_bytes(), type=list[PublicKey])


def _manifest(content: bytes) -> Manifest | OperatorManifest:
    try:
        return msgspec.json.decode(content, type=OperatorManifest)
    except msgspec.ValidationError:
        return msgspec.json.decode(content, type=Manifest)


def _link(manifest: Manifest | OperatorManifest, name: str, content: bytes) -> Link:
    return verification.link_of(manifest, name, sha256_of(content))


def _summary(manifest: Manifest | OperatorManifest) -> str:
    period = manifest.period

    def money(fen: int) -> str:
        return f"{said(fen, currency_digits(period.currency))} {period.currency}"

    if isinstance(manifest, OperatorManifest):
        batch = manifest.batch
        what = (
            f"{batch.ride_count} rides earned {money(batch.gross_fen)}, agreements bring "
            f"{money(batch.shared_fen)}, fees {money(batch.fees_fen)}; {money(batch.paid_fen)} "
            f"paid to {manifest.operator_id}"
        )
        if batch.fees_fen and not verification.fees_name(
            batch, {file.name for file in manifest.files}
        ):
            what += " (no file shows the fees)"
    else:
        what = f"{manifest.totals.ride_count} rides, {money(manifest.totals.paid_fen)} paid"
    return f"settlement {period.number} of {period.service_day} is right: {what}"


def _faults(
    manifest: Manifest | OperatorManifest, content: bytes, path: Path, keys: list[PublicKey]
) -> Iterator[str]:
    folder, opened = path.parent, _opener(path.parent)
    if keys:
        yield from _signature_faults(content, path.with_name(SIGNATURE), path, keys)
    whole = set()
    for file in manifest.files:
        if fault := _file_fault(folder / file.name, file.name, file.size_bytes, file.sha256):
            yield fault
        else:
            whole.add(file.name)

    batches = (manifest.batch,) if isinstance(manifest, OperatorManifest) else manifest.batches
    named = {file.name for file in manifest.files}
    for batch in batches:
        # Of a file that is not as it was, nothing more is worth saying.
        if named - whole:
            continue
        for fault in verification.batch_faults(batch, manifest.period, named, opened):
            yield f"{folder}/{fault}"
    if not isinstance(manifest, OperatorManifest):
        for fault in verification.total_faults(manifest):
            yield f"{folder}/{fault}"
        if PAYMENT_ORDER in whole:
            payments, totals = _payments(folder / PAYMENT_ORDER)
            for fault in verification.order_faults(payments, totals, batches, manifest.period):
                yield f"{folder}/{fault}"
        elif any(batch.paid_fen for batch in batches) and PAYMENT_ORDER not in named:
            yield f"{folder}: somebody is paid, but there is no {PAYMENT_ORDER}"


def _trip_faults(content: bytes, path: Path, keys: list[PublicKey]) -> list[str]:
    package = msgspec.json.decode(content, type=TripPackage)
    folder, faults = path.parent, list[str]()
    if keys:
        faults += _signature_faults(content, path.with_name(PACKAGE_SIGNATURE), path, keys)
    for one in package.resources:
        sha256 = one.sha256.removeprefix("sha256:")
        if fault := _file_fault(folder / one.path, one.path, one.size_bytes, sha256):
            faults.append(fault)
        else:
            faults += [
                f"{folder}/{fault}" for fault in verification.trip_faults(one, _opener(folder))
            ]
    if not faults:
        told = ", ".join(
            f"{one.rows_count} rows and {one.amount} {one.currency} in {one.path}"
            for one in package.resources
        )
        print(f"{path}: {package.name} is right: {told}")
    return faults


def _file_fault(place: Path, name: str, size_bytes: int, sha256: str) -> str | None:
    """What is wrong with a file that is named with its size and hash."""
    if "/" in name or not place.is_file():
        return f"{place}: is in the manifest, but not in the folder"
    size, digest = place.stat().st_size, file_sha256(place)
    if (size, digest) == (size_bytes, sha256):
        return None
    return (
        f"{place}: has {size} bytes and SHA-256 {digest}, but the manifest says "
        f"{size_bytes} and {sha256}"
    )


def _opener(folder: Path) -> Open:
    return lambda name: (folder / name).open(encoding="utf-8", newline="")


def _signature_faults(
    content: bytes, place: Path, path: Path, keys: list[PublicKey]
) -> Iterator[str]:
    try:
        signature = msgspec.json.decode(place.read_bytes(), type=Signature)
    except (OSError, msgspec.DecodeError) as error:
        yield f"{place}: {error}"
        return
    digest = sha256_of(content)
    if signature.manifest_sha256 != digest:
        yield (
            f"{place}: is of a manifest with SHA-256 {signature.manifest_sha256}, but {path} has "
            f"{digest}"
        )
    elif not any(is_signed_by(key, signature, content) for key in keys):
        known = ", ".join(key.key_id for key in keys)
        yield f"{place}: signed by key {signature.key_id}, which is not right for {known}"


def _payments(
    path: Path,
) -> tuple[list[tuple[str, str, str]], tuple[str | None, Decimal | None]]:
    """Each payment's EndToEndId, amount and currency; NbOfTxs and CtrlSum."""
    document = XmlParser().from_bytes(path.read_bytes(), iso.Document)
    initiation = document.cstmr_cdt_trf_initn
    assert initiation is not None
    payments = [
        (str(one.pmt_id.end_to_end_id), str(one.amt.instd_amt.value), str(one.amt.instd_amt.ccy))
        for information in initiation.pmt_inf
        for one in information.cdt_trf_tx_inf
    ]
    header = initiation.grp_hdr
    return payments, (header.nb_of_txs, header.ctrl_sum)
