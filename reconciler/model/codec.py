"""Values to JSON and back, for the journal and the API: one place that knows our own types."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from reconciler.model.version import Version, version_of

T = TypeVar("T")


def _encode_own(value: Any) -> Any:
    if isinstance(value, Version):
        return value.text
    raise NotImplementedError(type(value))


def _decode_own(kind: type, value: Any) -> Any:
    if kind is Version:
        return version_of(value)
    raise NotImplementedError(kind)


_unordered = msgspec.json.Encoder(enc_hook=_encode_own)
_packer = msgspec.msgpack.Encoder(enc_hook=_encode_own)
_encoder = msgspec.json.Encoder(enc_hook=_encode_own, order="deterministic")


def encode(value: object) -> bytes:
    """Canonical JSON of a model value: sorted keys, no spaces."""
    return _encoder.encode(value)


def encode_unordered(value: object) -> bytes:
    """The same for a reader who does not mind the order of keys; in half the time."""
    return _unordered.encode(value)


def builtins(value: object) -> Any:
    """The value as plain dicts, lists and scalars, datetimes as RFC 3339 text."""
    return msgspec.to_builtins(value, enc_hook=_encode_own, order="deterministic")


def decode(data: bytes | str, kind: type[T]) -> T:
    """The value that `encode` wrote. Raises msgspec.ValidationError on anything else."""
    return msgspec.json.decode(data, type=kind, dec_hook=_decode_own)


def packed(value: object) -> bytes:
    """The value as MessagePack, for files that only this version reads."""
    return _packer.encode(value)


def unpacker(kind: type[T]) -> Callable[[bytes], T]:
    """What reads values of this type that `packed` wrote; to be made at import. Raises msgspec.MsgspecError."""
    return msgspec.msgpack.Decoder(kind, dec_hook=_decode_own).decode


def resolve_types(*kinds: type) -> None:
    """Have msgspec look at these types now, while one thread imports their module: where two threads decode a type for
    the first time at once, it crashes the process."""
    for kind in kinds:
        msgspec.json.Decoder(kind, dec_hook=_decode_own)


def convert(data: object, kind: type[T], *, strict: bool = True) -> T:
    """A typed value from plain dicts and lists (already checked by a schema); not `strict`: numbers may be text."""
    return msgspec.convert(data, kind, dec_hook=_decode_own, strict=strict)
