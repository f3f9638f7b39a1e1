"""The grammar of an API key: `fbx_{env}_{org}_{key}_{secret}{check}`.

The text of a key names its organization and itself, so that an edge looks the credential up directly
instead of searching an index. The check is verified before any look-up: a mistyped or random key costs
no read. Test vectors stand in `key_vectors.json` beside this module; every implementation runs them.

This module knows no storage: what is kept of a key is `digest(text)`, never the text.
"""

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass
from typing import Final, Literal

Environment = Literal["live", "test"]

ENVIRONMENTS: Final[tuple[Environment, ...]] = ("live", "test")
DEFAULT_PREFIX: Final = "fbx"
PUBLIC_ID_LENGTH: Final = 10
SECRET_LENGTH: Final = 32
CHECK_LENGTH: Final = 6
MAX_LENGTH: Final = 128
"""No well-formed key is longer; an edge refuses a longer text before it looks at it."""

_PUBLIC_ID_ALPHABET: Final = string.digits + string.ascii_lowercase
_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_GRAMMAR: Final = re.compile(
    r"(?P<prefix>[a-z][a-z0-9]{0,15})_(?P<env>live|test)_(?P<org>[a-z0-9]{10})_(?P<key>[a-z0-9]{10})"
    r"_(?P<secret>[0-9A-Za-z]{32})(?P<check>[0-9A-Za-z]{6})",
    re.ASCII,
)


class MalformedKeyError(ValueError):
    """The text is no key of ours. It never carries the text itself: errors reach logs."""


@dataclass(frozen=True, slots=True)
class KeyName:
    """What the text of a key names: whose it is and which, not whether it is valid."""

    environment: Environment
    organization: str
    key: str


@dataclass(frozen=True, slots=True, repr=False)
class IssuedKey:
    """A new key: `text` is shown once and then forgotten; `digest` is what is stored."""

    name: KeyName
    text: str
    digest: str

    def __repr__(self) -> str:
        """Show which key it is, and never the text: reprs reach logs."""
        return f"IssuedKey({self.name!r})"


def public_id() -> str:
    """Return 10 random characters of `[a-z0-9]`: 51 bits, unique by the database's constraint."""
    return "".join(secrets.choice(_PUBLIC_ID_ALPHABET) for _ in range(PUBLIC_ID_LENGTH))


def checksum(body: str) -> str:
    """Return the 6 base-62 digits (0-9, A-Z, a-z) of the CRC-32 (IEEE 802.3) of `body` in ASCII."""
    number = zlib.crc32(body.encode("ascii"))
    digits = []
    for _ in range(CHECK_LENGTH):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))


def digest(text: str) -> str:
    """Return the SHA-256 of the whole key text as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def compose(prefix: str, name: KeyName, secret: str) -> str:
    """Join the parts to a key text with its check."""
    body = f"{prefix}_{name.environment}_{name.organization}_{name.key}_{secret}"
    return body + checksum(body)


def issue(
    environment: Environment, organization: str, key: str, *, prefix: str = DEFAULT_PREFIX
) -> IssuedKey:
    """Make a new key for two public ids (without `org_` and `key_`), its secret of 190 random bits."""
    name = KeyName(environment, organization, key)
    secret = "".join(secrets.choice(_BASE62) for _ in range(SECRET_LENGTH))
    text = compose(prefix, name, secret)
    return IssuedKey(name, text, digest(text))


def has_our_form(text: str) -> bool:
    """Return whether a text looks like a key of ours with any prefix, its check not looked at."""
    return len(text) <= MAX_LENGTH and _GRAMMAR.fullmatch(text) is not None


def parse(text: str, *, prefix: str = DEFAULT_PREFIX) -> KeyName:
    """Read which organization and key a text names, its check verified.

    Raises `MalformedKeyError` for anything that is no key of ours with this prefix.
    """
    if len(text) > MAX_LENGTH:
        raise MalformedKeyError("the key is too long")
    match = _GRAMMAR.fullmatch(text)
    if match is None or match["prefix"] != prefix:
        raise MalformedKeyError(f"the key does not have the form {prefix}_live_… or {prefix}_test_…")
    if checksum(text[:-CHECK_LENGTH]) != match["check"]:
        raise MalformedKeyError("the key's check does not match: it was cut or mistyped")
    return KeyName("live" if match["env"] == "live" else "test", match["org"], match["key"])
