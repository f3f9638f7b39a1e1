"""Identifiers: UUIDv7 inside, prefixed text outside.

Organizations, keys and subscriptions also stand in key texts and usage lines, so they carry a short public
id of 10 random characters (`farebox_contract.keys.public_id`). Everything else shows its UUIDv7 as a TypeID
(prefix, underscore, 26 characters of Crockford base 32, https://github.com/jetify-com/typeid), which sorts
by the time it was made.
"""

import base64
import secrets
import time
import uuid
from functools import lru_cache
from typing import Final

_CROCKFORD: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUE: Final = {character: value for value, character in enumerate(_CROCKFORD)}
_ENCODED_LENGTH: Final = 26
_PADDING: Final = bytes(4)
"""Makes 16 bytes 20, which base 32 writes without a remainder: 6 digits of zero before the 26."""
_FROM_HEX: Final = str.maketrans("0123456789ABCDEFGHIJKLMNOPQRSTUV", _CROCKFORD)


class MalformedIdError(ValueError):
    """The text is no id of the expected kind."""


def uuid7() -> uuid.UUID:
    """Return a new UUIDv7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    value = milliseconds << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return uuid.UUID(int=value)


@lru_cache(maxsize=8192)
def encode(prefix: str, value: uuid.UUID) -> str:
    """Return the public text of `value`, such as `inv_01kaj…`."""
    padded = base64.b32hexencode(_PADDING + value.bytes).decode().translate(_FROM_HEX)
    return f"{prefix}_{padded[-_ENCODED_LENGTH:]}"


def decode(prefix: str, text: str) -> uuid.UUID:
    """Read the UUID out of a public text. Raises `MalformedIdError` unless it has this prefix and form."""
    head, _, body = text.rpartition("_")
    if head != prefix or len(body) != _ENCODED_LENGTH or body[0] > "7":
        raise MalformedIdError(f"expected an id of the form {prefix}_ and {_ENCODED_LENGTH} characters")
    number = 0
    for character in body:
        if character not in _VALUE:
            raise MalformedIdError(f"expected an id of the form {prefix}_ and {_ENCODED_LENGTH} characters")
        number = number * 32 + _VALUE[character]
    return uuid.UUID(int=number)


def strip(prefix: str, text: str) -> str:
    """Return the 10-character public id behind `org_`, `key_` or `sub_`. Raises `MalformedIdError`."""
    head, _, body = text.partition("_")
    if head != prefix or len(body) != 10 or not (body.isascii() and body.isalnum() and body == body.lower()):
        raise MalformedIdError(f"expected an id of the form {prefix}_ and 10 characters of a-z, 0-9")
    return body
