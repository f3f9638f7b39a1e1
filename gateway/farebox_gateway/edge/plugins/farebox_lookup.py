"""Whose key a text is: one direct look-up by what the text names, or by its digest where it names nobody.

A text of our own grammar names its organization and itself. Any other text may be an imported key: its
credential stands under one consumer with the text's SHA-256 as its id, and says whose it is. Every text
that is no valid key gives None, whatever the reason. This module knows keys and nothing of requests.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from farebox_contract import imported_keys, keys
from farebox_contract.plugins import AUTH

if TYPE_CHECKING:
    import ipaddress

    from farebox_gateway.edge.accounts import Consumer, Credential

_MOST_KNOWN: Final = 20_000
_NO_DIGEST: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class OnCredential:
    """What is kept of a key. `owner` is set of an imported one: its organization's and its own public id."""

    digest: bytes
    environment: str
    expires_at: int | None
    networks: "tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] | None"
    scopes: tuple[tuple[str, str], ...] | None
    owner: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Known:
    """Whose digest it was when it was last looked up."""

    consumer: "Consumer"
    credential: "Credential"
    found: OnCredential
    prefix: str
    holder: "Consumer"
    """Under whom the credential stands: of an imported key not `consumer`."""
    held: "Credential"


class Lookup:
    """Finds keys, and remembers by digest which it has found."""

    def __init__(self, find_consumer: "Callable[[str], Consumer | None]") -> None:
        self._find_consumer = find_consumer
        self._known: dict[bytes, Known] = {}

    def find(self, text: str, digest: bytes, prefix: str) -> Known | None:
        """Return whose key a text with this SHA-256 is on a route whose own keys have `prefix`."""
        known = self._known.get(digest)
        if known is not None and self._still(known, prefix):
            return known
        known = self._look_up(text, digest, prefix)
        if known is not None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[digest] = known
        return known

    def _still(self, known: Known, prefix: str) -> bool:
        """Return whether what was found for a key is still what stands there."""
        find, consumer, holder = self._find_consumer, known.consumer, known.holder
        return (
            find(consumer.name) is consumer
            and (holder is consumer or find(holder.name) is holder)
            and holder.credentials.get(known.held.id) is known.held
            and known.prefix == prefix
        )

    def _look_up(self, text: str, digest: bytes, prefix: str) -> Known | None:
        try:
            name = keys.parse(text, prefix=prefix)
        except keys.MalformedKeyError:
            return self._look_up_imported(digest, prefix) if imported_keys.importable(text) else None
        holder = self._find_consumer(name.organization)
        held, found = _held(holder, name.key)
        if not _matches(digest, found) or found is None or found.environment != name.environment:
            return None
        if holder is None or held is None or found.owner is not None:
            return None
        return Known(holder, held, found, prefix, holder, held)

    def _look_up_imported(self, digest: bytes, prefix: str) -> Known | None:
        holder = self._find_consumer(imported_keys.CONSUMER)
        held, found = _held(holder, digest.hex())
        if not _matches(digest, found) or found is None or found.owner is None:
            return None
        organization, key = found.owner
        consumer = self._find_consumer(organization)
        if consumer is None or holder is None or held is None:
            return None
        return Known(consumer, replace(held, id=key), found, prefix, holder, held)


def _held(holder: "Consumer | None", key: str) -> "tuple[Credential | None, OnCredential | None]":
    held = None if holder is None else holder.credentials.get(key)
    return held, None if held is None else held.plugins.get(AUTH)


def _matches(digest: bytes, found: OnCredential | None) -> bool:
    return hmac.compare_digest(digest, _NO_DIGEST if found is None else found.digest)
