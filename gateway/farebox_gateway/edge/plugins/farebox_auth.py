"""`farebox-auth`: who sends this request, from the key's own text and one direct look-up.

The check of the key is verified before any look-up, the digest is compared in constant time, and every
refusal of a key that is not valid reads the same, so that nothing can be learnt by trying.
"""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from aiohttp.hdrs import AUTHORIZATION
from multidict import istr

from farebox_contract import keys, problems
from farebox_contract.plugins import AUTH, AUTH_ON_CONSUMER, AUTH_ON_CREDENTIAL, AUTH_ON_ROUTE
from farebox_gateway.edge.exchange import Exchange, Refusal
from farebox_gateway.edge.plugins.base import Decision, Place, Plugin, take_from_query
from farebox_gateway.edge.schema import CheckedSchema, InvalidError

_X_API_KEY: Final = istr("X-API-Key")
_CHALLENGE: Final = ((b"WWW-Authenticate", b'Bearer realm="api"'),)
_INVALID_CHALLENGE: Final = ((b"WWW-Authenticate", b'Bearer realm="api", error="invalid_token"'),)
_SCOPE: Final = re.compile(r"(\*|[A-Z]{1,32}) (\*|[a-zA-Z0-9_.-]{1,64}\*?)")
_MOST_KNOWN: Final = 20_000
_NO_DIGEST: Final = bytes(32)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class OnRoute:
    """What a route says: which prefix its keys have, and whether one may stand in the query string."""

    prefix: str
    query_parameter: str | None


@dataclass(frozen=True, slots=True)
class OnCredential:
    """What is kept of a key."""

    digest: bytes
    environment: str
    expires_at: int | None
    networks: tuple[Network, ...] | None
    scopes: tuple[tuple[str, str], ...] | None


@dataclass(frozen=True, slots=True)
class _Known:
    """Whose digest it was when it was last looked up."""

    consumer: Any
    credential: Any
    found: OnCredential
    prefix: str


class FareboxAuth(Plugin):
    """See the module."""

    name: ClassVar = AUTH
    priority: ClassVar = 2600
    authenticates: ClassVar = True
    schemas: ClassVar = {
        "route": CheckedSchema(AUTH_ON_ROUTE),
        "consumer": CheckedSchema(AUTH_ON_CONSUMER),
        "credential": CheckedSchema(AUTH_ON_CREDENTIAL),
    }

    def __init__(self, find_consumer: Callable[[str], Any], *, default_prefix: str) -> None:
        self._find_consumer = find_consumer
        self._default_prefix = default_prefix
        self._known: dict[bytes, _Known] = {}

    def check(self, place: Place, conf: Any) -> dict[str, Any]:
        """Also refuse networks and scopes that could never match."""
        merged = super().check(place, conf)
        for text in merged.get("cidrs", ()):
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError as error:
                raise InvalidError(f'property "cidrs" validation failed: {error}') from None
        for text in merged.get("scopes", ()):
            if not _SCOPE.fullmatch(text):
                raise InvalidError(f'property "scopes" validation failed: "{text}" is not "METHOD route"')
        return merged

    def compile(self, place: Place, conf: dict[str, Any]) -> Any:
        """Prepare networks, scopes and digests for comparing."""
        if place == "consumer":
            return conf["state"]
        if place == "credential":
            return OnCredential(
                digest=bytes.fromhex(conf["digest"]),
                environment=conf["environment"],
                expires_at=conf.get("expires_at"),
                networks=tuple(ipaddress.ip_network(text, strict=False) for text in conf["cidrs"])
                if "cidrs" in conf
                else None,
                scopes=tuple((text.partition(" ")[0], text.partition(" ")[2]) for text in conf["scopes"])
                if "scopes" in conf
                else None,
            )
        return OnRoute(conf.get("key_prefix", self._default_prefix), conf.get("query_parameter"))

    def rewrite(self, exchange: Exchange, conf: OnRoute) -> Decision:
        """Find the key, take it out of the request, and set whose request this is."""
        text = _take_key(exchange, conf.query_parameter)
        if text is None:
            return exchange.refuse(
                401,
                problems.MISSING_KEY,
                "Send your API key as `Authorization: Bearer <key>` or in the X-API-Key header.",
                outcome="unauthorized",
                headers=_CHALLENGE,
            )
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        known = self._known.get(digest)
        if known is None or not self._still(known, conf):
            known = self._look_up(text, digest, conf)
            if known is None:
                return _invalid(exchange)
        found = known.found
        if found.expires_at is not None and exchange.started_ms >= found.expires_at:
            return _invalid(exchange)
        exchange.consumer = known.consumer
        exchange.credential = known.credential
        exchange.environment = found.environment
        return _authorize(exchange, found)

    def _still(self, known: "_Known", conf: OnRoute) -> bool:
        """Return whether what was found for a key is still what stands there."""
        consumer = known.consumer
        return (
            self._find_consumer(consumer.name) is consumer
            and consumer.credentials.get(known.credential.id) is known.credential
            and known.prefix == conf.prefix
        )

    def _look_up(self, text: str, digest: bytes, conf: OnRoute) -> "_Known | None":
        """Find the credential that a key names and compare it; remember whose digest this is."""
        try:
            name = keys.parse(text, prefix=conf.prefix)
        except keys.MalformedKeyError:
            return None
        consumer = self._find_consumer(name.organization)
        credential = None if consumer is None else consumer.credentials.get(name.key)
        found = None if credential is None else credential.plugins.get(AUTH)
        matches = hmac.compare_digest(digest, _NO_DIGEST if found is None else found.digest)
        if not matches or found is None or credential is None or found.environment != name.environment:
            return None
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        known = self._known[digest] = _Known(consumer, credential, found, conf.prefix)
        return known


def _invalid(exchange: Exchange) -> Refusal:
    return exchange.refuse(
        401,
        problems.INVALID_KEY,
        "This API key is not valid: it is mistyped, revoked or expired.",
        outcome="unauthorized",
        headers=_INVALID_CHALLENGE,
    )


def _authorize(exchange: Exchange, found: OnCredential) -> Decision:
    """Check what an authentic key may do here."""
    consumer, route = exchange.consumer, exchange.route
    if consumer is not None and consumer.plugins.get(AUTH) == "suspended":
        return exchange.refuse(
            403,
            problems.ACCOUNT_SUSPENDED,
            "This account is suspended. Its owner finds the reason in the portal.",
            outcome="forbidden",
        )
    if found.networks is not None and not _within(exchange.remote, found.networks):
        return exchange.refuse(
            403,
            problems.KEY_NOT_ALLOWED,
            "This API key may not be used from this address.",
            outcome="forbidden",
            details={"reason": "address", "address": exchange.remote},
        )
    if found.scopes is not None and route is not None:
        method = exchange.request.method
        if not any(verb in {"*", method} and _names(pattern, route.id) for verb, pattern in found.scopes):
            return exchange.refuse(
                403,
                problems.KEY_NOT_ALLOWED,
                "This API key's scopes do not include this request.",
                outcome="forbidden",
                details={"reason": "scope", "needed": f"{method} {route.id}"},
            )
    return None


def _names(pattern: str, route: str) -> bool:
    return route.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == route


def _within(remote: str, networks: tuple[Network, ...]) -> bool:
    """Return whether an address is in one of the networks; an IPv4-mapped IPv6 address is its IPv4 one."""
    try:
        address: Address = ipaddress.ip_address(remote)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    candidates = (address,) if mapped is None else (address, mapped)
    return any(one in network for network in networks for one in candidates if one.version == network.version)


def _take_key(exchange: Exchange, query_parameter: str | None) -> str | None:
    """Return the first key sent, every place where one may stand being emptied for the upstream."""
    headers = exchange.headers
    found: str | None = None
    authorization = headers.popall(AUTHORIZATION, None)
    if authorization is not None:
        kept = []
        for value in authorization:
            scheme, _, token = value.strip().partition(" ")
            if scheme.lower() == "bearer":
                found = found or token.strip()
            else:
                kept.append(value)
        for value in kept:
            headers.add(AUTHORIZATION, value)
    for value in headers.popall(_X_API_KEY, ()):
        found = found or value.strip()
    if query_parameter is not None:
        in_query = take_from_query(exchange, query_parameter, remove=True)
        found = found or in_query
    return found or None
