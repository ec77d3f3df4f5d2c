"""The key that settlements are signed with, and the public keys by which they are checked."""

from __future__ import annotations

import secrets
from hashlib import sha256
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.core.settlement_files import MANIFEST, json_file, sha256_of
from gateway.core.signed_books import OPERATORS, SIGNATURE, PublicKey, Signature, public_key_of
from gateway.shell.files import sync_folder, write_secret, write_whole
from gateway.shell.settings import Settings

ALGORITHM = "Ed25519"
KEYS = "keys.json"


class Signer:
    """Signs manifests. Its public key is published beside the settlements when it is first used."""

    def __init__(self, secret: bytes) -> None:
        # Whatever a secret's length, the key is made of all of it.
        seed = secret if len(secret) == 32 else sha256(b"faregate signing key\0" + secret).digest()
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = public_key_of(self._key.public_key().public_bytes_raw())

    def sign(self, manifest: bytes) -> bytes:
        """The signature of a manifest, as the file beside it."""
        signed = self._key.sign(manifest).hex()
        signature = Signature(ALGORITHM, self.public.key_id, sha256_of(manifest), signed)
        return json_file(signature)

    def publish(self, folder: Path) -> None:
        """Add the public key to those that are published; the old ones stay, for old manifests."""
        known = published_keys(folder)
        if self.public not in known:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / KEYS, json_file([*known, self.public]))


def signer_of(settings: Settings) -> Signer:
    """The key of the setting, else one kept in the data folder."""
    if settings.signing_key is not None:
        return Signer(bytes(settings.signing_key))
    path = settings.data_dir / "signing_key"
    if not path.exists():
        write_secret(path, secrets.token_hex(32))
    return Signer(bytes.fromhex(path.read_text().strip()))


def published_keys(folder: Path) -> list[PublicKey]:
    path = folder / KEYS
    return msgspec.json.decode(path.read_bytes(), type=list[PublicKey]) if path.exists() else []


def is_signed_by(key: PublicKey, signature: Signature, manifest: bytes) -> bool:
    """Whether a key signed exactly these bytes."""
    if signature.algorithm != ALGORITHM or signature.key_id != key.key_id:
        return False
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.public_key))
    try:
        public.verify(bytes.fromhex(signature.signature), manifest)
    except (InvalidSignature, ValueError):
        return False
    return True


def sign_settlement(folder: Path, signer: Signer) -> list[Path]:
    """Put a signature beside each manifest of a settlement that has none yet."""
    signed: list[Path] = []
    for manifest in [*sorted(folder.glob(f"{OPERATORS}/*/{MANIFEST}")), folder / MANIFEST]:
        path = manifest.with_name(SIGNATURE)
        if not path.exists():
            write_whole(path, signer.sign(manifest.read_bytes()))
            sync_folder(path.parent)
        signed.append(path)
    return signed
