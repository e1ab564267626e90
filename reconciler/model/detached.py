"""Detached signatures of archives, as `minisign` and `cosign sign-blob --key` write them. Bytes in, a verdict out.

The formats: https://jedisct1.github.io/minisign/#signature-format, and an ECDSA signature over SHA-256 in base64.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

SIGNATURE_BYTES_MAX = 64 << 10
PEM = "-----BEGIN PUBLIC KEY-----"
TRUSTED = b"trusted comment: "
LEGACY, PREHASHED = b"Ed", b"ED"


class Key(Struct, frozen=True):
    """A public key. `text`: what a person wrote, and would look for."""

    kind: Literal["minisign", "cosign"]
    text: str
    number: bytes = b""
    """minisign's own 8 bytes that say which key it is."""
    point: bytes = b""
    """minisign's 32 bytes of Ed25519."""


def parse_key(text: str) -> Key:
    """The key that a line of minisign's, or a PEM of cosign's, holds. Raises ValueError."""
    if text.lstrip().startswith(PEM):
        _curve_key(text)
        return Key("cosign", text)
    raw = _decoded(text.strip().encode())
    if len(raw) != 42 or raw[:2] != LEGACY:
        raise ValueError(
            "this is neither minisign's public key nor a PEM; write the last line of minisign.pub"
        )
    return Key("minisign", text.strip(), raw[2:10], raw[10:])


def unsigned(keys: tuple[Key, ...], signature: bytes, archive: bytes | memoryview) -> str:
    """Why a signature by none of these keys stands on these bytes; empty when one does."""
    if len(signature) > SIGNATURE_BYTES_MAX:
        return f"the signature is larger than {SIGNATURE_BYTES_MAX} bytes"
    if signature.startswith(b"untrusted comment:"):
        return _minisign(keys, signature, archive)
    return _cosign(keys, signature, archive)


def _minisign(keys: tuple[Key, ...], signature: bytes, archive: bytes | memoryview) -> str:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    lines = signature.splitlines()
    raw = _decoded(lines[1]) if len(lines) == 4 else b""
    if len(raw) != 74 or not lines[2].startswith(TRUSTED) or raw[:2] not in {LEGACY, PREHASHED}:
        return "what is there is not minisign's signature"
    key = next((key for key in keys if key.kind == "minisign" and key.number == raw[2:10]), None)
    if key is None:
        return f"it is signed with the key {raw[2:10][::-1].hex().upper()}, which is none of artifacts.keys"
    ed25519 = Ed25519PublicKey.from_public_bytes(key.point)
    signed = hashlib.blake2b(archive).digest() if raw[:2] == PREHASHED else archive
    try:
        ed25519.verify(raw[10:], signed)
        ed25519.verify(_decoded(lines[3]), raw[10:] + lines[2].removeprefix(TRUSTED))
    except InvalidSignature:
        return "the signature is of something else, or altered"
    return ""


def _cosign(keys: tuple[Key, ...], signature: bytes, archive: bytes | memoryview) -> str:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, utils
    from cryptography.hazmat.primitives.hashes import SHA256

    raw, digest = _decoded(signature.strip()), hashlib.sha256(archive).digest()
    for key in keys:
        if key.kind == "cosign":
            try:
                _curve_key(key.text).verify(raw, digest, ec.ECDSA(utils.Prehashed(SHA256())))
            except InvalidSignature:
                continue
            return ""
    return "the signature is by none of artifacts.keys, or of something else"


def _curve_key(pem: str) -> EllipticCurvePublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("this PEM holds no public key; write what cosign.pub holds") from error
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("this key is not ECDSA on P-256; write what cosign.pub holds")
    return key


def _decoded(text: bytes) -> bytes:
    """Empty where it is not base64."""
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        return b""
