"""What the gateway tells an upstream about a request, signed, so that an upstream can refuse everything else.

The gateway sets the headers below on every request that passed `farebox-auth`; what a client sends under
these names is removed first. `X-Farebox-Signature` holds an HMAC-SHA256 (RFC 2104) over a canonical text
for each of the gateway's secrets, one or, while they are changed, two. An upstream calls `verify`; it needs
nothing else of Farebox, and may copy this file. Test vectors stand in `identity_vectors.json`; every
implementation runs them.

It proves that the gateway let this request (this method and path, at this time, for this key) through. It
covers neither query, body nor other headers, and within `max_age_ms` it may be sent again: who can read the
connection to the upstream can repeat what stands there. Use TLS between them if others can.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

VERSION: Final = "v1"
MIN_SECRET_BYTES: Final = 32
MAX_AGE_MS: Final = 300_000

TIER_HEADER: Final = "X-Farebox-Tier"
TIME_HEADER: Final = "X-Farebox-Time"
REQUEST_ID_HEADER: Final = "X-Farebox-Request-Id"
ENVIRONMENT_HEADER: Final = "X-Farebox-Environment"
SIGNATURE_HEADER: Final = "X-Farebox-Signature"
ORGANIZATION_HEADER: Final = "X-Consumer-Username"
KEY_HEADER: Final = "X-Credential-Identifier"
GROUP_HEADER: Final = "X-Consumer-Group-Id"

_TIME: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


class UnsignedError(ValueError):
    """The request did not come through the gateway, or not as it is; the message says what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who sends a request. `organization`, `key`, `environment`, `group` are empty where there is none.

    `time_ms` is when the gateway let it through, Unix milliseconds; `path` the path that the upstream sees,
    as bytes on the wire (no query string), `request_id` the one in the usage line.
    """

    time_ms: int
    request_id: str
    method: str
    path: str
    organization: str = ""
    key: str = ""
    environment: str = ""
    group: str = ""
    tier: str = "keyed"


def canonical(identity: Identity) -> str:
    """Return the text that is signed: ten lines, joined by a newline, none after the last."""
    return "\n".join(
        (
            f"farebox-identity-{VERSION}",
            str(identity.time_ms),
            identity.request_id,
            identity.method,
            identity.path,
            identity.organization,
            identity.key,
            identity.environment,
            identity.group,
            identity.tier,
        )
    )


class Signer:
    """Signs many identities by the same secrets: each secret's part of HMAC (RFC 2104) is done once."""

    __slots__ = ("_pads",)

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._pads = tuple((_pad(secret, 0x36), _pad(secret, 0x5C)) for secret in secrets)

    def sign(self, identity: Identity) -> str:
        """Return the signature header: `v1=` and 64 hexadecimal digits for each secret, parted by commas."""
        text = canonical(identity).encode("utf-8", "surrogateescape")
        signatures = []
        for inner, outer in self._pads:
            digest, seal = inner.copy(), outer.copy()
            digest.update(text)
            seal.update(digest.digest())
            signatures.append(f"{VERSION}={seal.hexdigest()}")
        return ",".join(signatures)


def _pad(secret: bytes, byte: int) -> "hashlib._Hash":
    block = hashlib.sha256().block_size
    key = hashlib.sha256(secret).digest() if len(secret) > block else secret
    return hashlib.sha256(bytes(part ^ byte for part in key.ljust(block, b"\0")))


def sign(identity: Identity, secrets: Sequence[bytes]) -> str:
    """Return the signature header of one identity (see `Signer`)."""
    return Signer(secrets).sign(identity)


def read_secrets(text: str) -> tuple[bytes, ...]:
    """Read one or two secrets, separated by a comma; empty: none. Raises `ValueError` with the remedy."""
    secrets = tuple(part.strip().encode() for part in text.split(",") if part.strip())
    if len(secrets) > 2:
        raise ValueError("give one secret, or two separated by a comma while they are changed")
    if any(len(secret) < MIN_SECRET_BYTES for secret in secrets):
        raise ValueError(f"an identity secret needs {MIN_SECRET_BYTES} characters: `openssl rand -hex 32`")
    return secrets


def verify(
    headers: Mapping[str, str],
    *,
    method: str,
    target: str,
    secrets: Sequence[bytes],
    now_ms: int,
    max_age_ms: int = MAX_AGE_MS,
) -> Identity:
    """Return whose request this is. Raises `UnsignedError` if the gateway did not sign it.

    `headers` finds a name in any case, as the mappings of web frameworks do; each header of ours must be
    there once. `target` is the request target as it arrived, still encoded. One secret that fits is enough.
    """
    found = {name: headers.get(name, "") for name in _ALL}
    if not found[SIGNATURE_HEADER]:
        raise UnsignedError(f"there is no {SIGNATURE_HEADER}: the request did not come through the gateway")
    if not _TIME.fullmatch(found[TIME_HEADER]):
        raise UnsignedError(f"{TIME_HEADER} is no time")
    identity = Identity(
        time_ms=int(found[TIME_HEADER]),
        request_id=found[REQUEST_ID_HEADER],
        method=method,
        path=target.partition("?")[0],
        organization=found[ORGANIZATION_HEADER],
        key=found[KEY_HEADER],
        environment=found[ENVIRONMENT_HEADER],
        group=found[GROUP_HEADER],
        tier=found[TIER_HEADER],
    )
    given = [part.strip() for part in found[SIGNATURE_HEADER].split(",")]
    expected = [sign(identity, (secret,)) for secret in secrets]
    matches = [
        hmac.compare_digest(one.encode("utf-8", "replace"), ours.encode())
        for one in given
        for ours in expected
    ]
    if not any(matches):
        raise UnsignedError(
            "the signature does not fit the request: another secret, method, path or identity"
        )
    if abs(now_ms - identity.time_ms) > max_age_ms:
        raise UnsignedError(
            f"the signature is older or newer than {max_age_ms // 1000} s: compare the clocks"
        )
    return identity


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


_ALL: Final = (
    TIER_HEADER,
    TIME_HEADER,
    REQUEST_ID_HEADER,
    ENVIRONMENT_HEADER,
    SIGNATURE_HEADER,
    ORGANIZATION_HEADER,
    KEY_HEADER,
    GROUP_HEADER,
)
