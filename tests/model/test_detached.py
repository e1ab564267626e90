"""Detached signatures, against files that minisign 0.11 and OpenSSL really made."""

from __future__ import annotations

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.detached import SIGNATURE_BYTES_MAX, parse_key, unsigned

ARCHIVE = b"an archive\n"
MINISIGN = "RWSA9C/23M2C2uHc9Zpv4kqwIo7j0yzllo3WblVV+oOJ/o3nx93PVs+z"
SIGNED = b"""\
untrusted comment: signature from minisign secret key
RUSA9C/23M2C2ol2jG0in9/HqcHZmPRRA7knZxvfgCYMsn6GvcSHD3QKGQxPjDkLYD8J+8jFLKUONhKF+6PW5pr7teoLwqzzbQg=
trusted comment: api 1.5.0
j5Uf6o1abERbLC2CZvyw1YGYHir+1wcMBRWAAPO1IgvhW59pgcL/a37dZ75EczmzGoqZBn1NERKsQYUA4uQkAA==
"""
SIGNED_BEFORE_0_10 = b"""\
untrusted comment: signature from minisign secret key
RWSA9C/23M2C2kCchlJLaMNWnlC1Ns2nd9MB9qpTYYeOEn6AXG1abYvjBvkrueCik0Ve56325ohDvBUh7TU0/x2v9H/lpYCmUgk=
trusted comment: legacy
fshMDiIo1YsIw3uBturvn9JoXLlfO1nTaKTZfs3ks5MXMwZIPgI7KKwpq7QdVDacT0QsO+bdPCe7P8DJC9V9AA==
"""
COSIGN = """\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEuienAJef5319Vzmr2UitByO1+p9A
HTI59vW6REuzvOlgkGlv/QNMcjgQtowi/BQ9eW+CBrrZo9bPGLda2g5YRA==
-----END PUBLIC KEY-----
"""
COSIGNED = (
    b"MEUCIQD4zfcWDx6ejdcIZkgkLHr8Vn7qboQApqCyY7UdQH7oTAIgFezF/ANhE7Zgsy8aSRMnV+xBe2INRTrJuBaDYw3rBWU=\n"
)
KEYS = (parse_key(COSIGN), parse_key(MINISIGN))


@pytest.mark.parametrize("signature", [SIGNED, SIGNED_BEFORE_0_10, COSIGNED])
def test_a_signature_by_one_of_the_keys_counts_for_its_own_archive_alone(signature: bytes) -> None:
    assert unsigned(KEYS, signature, ARCHIVE) == ""
    assert "of something else" in unsigned(KEYS, signature, ARCHIVE + b"\n")


@pytest.mark.parametrize(
    ("signature", "why"),
    [
        (SIGNED.replace(b"api 1.5.0", b"api 1.6.0"), "of something else, or altered"),
        (SIGNED.replace(b"RUSA9C", b"RUSA9D"), "signed with the key DA82CDDCF63FF480, which is none of"),
        (SIGNED.replace(b"RUSA9C", b"RXSA9C"), "not minisign's signature"),
        (SIGNED.replace(b"j5Uf6o1a", b"not base"), "of something else, or altered"),
        (SIGNED.partition(b"trusted comment: a")[0], "not minisign's signature"),
        (COSIGNED[4:], "by none of artifacts.keys"),
        (b"", "by none of artifacts.keys"),
        (b"x" * (SIGNATURE_BYTES_MAX + 1), "is larger than 65536 bytes"),
    ],
)
def test_what_is_altered_or_no_signature_at_all_does_not_count(signature: bytes, why: str) -> None:
    assert why in unsigned(KEYS, signature, ARCHIVE)


def test_a_key_of_the_other_kind_counts_for_nothing() -> None:
    assert "none of artifacts.keys" in unsigned(KEYS[:1], SIGNED, ARCHIVE)
    assert "none of artifacts.keys" in unsigned(KEYS[1:], COSIGNED, ARCHIVE)


@given(st.binary(max_size=300) | st.binary(max_size=300).map(b"untrusted comment: ".__add__))
def test_anything_at_all_is_a_verdict(signature: bytes) -> None:
    assert unsigned(KEYS, signature, ARCHIVE)


def other_curve() -> str:
    key = generate_private_key(SECP384R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("minisign.pub", "neither minisign's public key nor a PEM"),
        (b64encode(b"ED" + bytes(40)).decode(), "neither minisign's public key nor a PEM"),
        (MINISIGN[:-4], "neither minisign's public key nor a PEM"),
        (COSIGN.replace("MFkw", "MFkx"), "this PEM holds no public key"),
        (other_curve(), "this key is not ECDSA on P-256"),
    ],
)
def test_what_is_no_key_is_said_to_be_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_key(text)
