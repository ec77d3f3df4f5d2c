"""What an operator can check by itself: its own files, and the head of the chain of all books.

Each settlement's manifest names the hash of the one before, so whoever holds one hash, the head,
would notice a change in any earlier settlement. The head is in every operator's own manifest, and
a signature (Ed25519) beside each manifest says that it is ours.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from gateway.core.clearing_files import FEES, own_fees
from gateway.core.settlement import Settlement, SettlementBatch, SettlementPeriod
from gateway.core.settlement_files import (
    MANIFEST,
    ManifestFile,
    file_name,
    json_file,
    operator_file_name,
    sha256_of,
)

SIGNATURE = "manifest.sig"
OPERATORS = "operators"


class OperatorManifest(Struct, frozen=True, forbid_unknown_fields=True):
    """What one operator is due, and in which of its files.

    `head_sha256` is the hash of the whole settlement's manifest, `previous_head_sha256` that of
    the settlement before.
    """

    operator_id: str
    period: SettlementPeriod
    batch: SettlementBatch
    files: tuple[ManifestFile, ...]
    head_sha256: str
    previous_head_sha256: str | None


class Signature(Struct, frozen=True, forbid_unknown_fields=True):
    """Who signed a manifest. `signature` is Ed25519's over the manifest's bytes, in hexadecimal."""

    algorithm: str
    key_id: str
    manifest_sha256: str
    signature: str


class PublicKey(Struct, frozen=True, forbid_unknown_fields=True):
    """A key that settlements are, or were, signed with; both in hexadecimal."""

    key_id: str
    public_key: str


def public_key_of(raw: bytes) -> PublicKey:
    """A public key with the name that manifests are signed under."""
    return PublicKey(sha256_of(raw)[:16], raw.hex())


def operator_folder(operator_id: str) -> str:
    """Where an operator's own files lie, seen from the settlement's folder."""
    name = operator_file_name(operator_id).removeprefix("operator_").removesuffix(".csv")
    return f"{OPERATORS}/{name}"


def operator_files(
    settlement: Settlement, files: dict[str, bytes], *, tells_fees: bool = True
) -> dict[str, bytes]:
    """Each operator's own copy of its files, and its manifest, by their names in the settlement.

    Shape:  `files` are the settlement's, its manifest among them; of its fees an operator has those
            that it pays or is paid, where it `tells_fees`.
    """
    whole = files[MANIFEST]
    previous = msgspec.json.decode(whole)["previous_manifest_sha256"]
    period = settlement.period
    found: dict[str, bytes] = {}
    for batch in settlement.batches:
        folder = operator_folder(batch.operator_id)
        names = [operator_file_name(batch.operator_id), file_name("clearing", batch.operator_id)]
        own = {name: files[name] for name in names if name in files}
        if tells_fees and FEES in files:
            fees = own_fees(files[FEES], batch.operator_id)
            own |= {file_name("fees", batch.operator_id): fees} if fees else {}
        manifest = OperatorManifest(
            operator_id=batch.operator_id,
            period=period.as_written,
            batch=batch,
            files=tuple(
                ManifestFile(name, len(content), sha256_of(content))
                for name, content in sorted(own.items())
            ),
            head_sha256=sha256_of(whole),
            previous_head_sha256=previous,
        )
        found |= {f"{folder}/{name}": content for name, content in own.items()}
        found[f"{folder}/{MANIFEST}"] = json_file(manifest)
    return found
