"""`farebox-auth`: who sends this request, and what the upstream is told about it.

The check of the key is verified before any look-up, the digest is compared in constant time, and every
refusal of a key that is not valid reads the same, so that nothing can be learnt by trying. Who sends no key
at all may be let in by the route's tiers; who sends a wrong one never is.
"""

import hashlib
import ipaddress
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import unquote_plus

from aiohttp.hdrs import AUTHORIZATION
from multidict import istr

from farebox_contract import identity, problems
from farebox_contract.plugins import AUTH, AUTH_ON_CONSUMER, AUTH_ON_CREDENTIAL, AUTH_ON_ROUTE
from farebox_gateway.edge.counters.base import Counters
from farebox_gateway.edge.exchange import Exchange, Refusal
from farebox_gateway.edge.plugins.base import Decision, Place, Plugin
from farebox_gateway.edge.plugins.farebox_limit import check_limits
from farebox_gateway.edge.plugins.farebox_lookup import Lookup, OnCredential
from farebox_gateway.edge.plugins.farebox_tiers import Tiers, compile_tiers, take_tier
from farebox_gateway.edge.schema import CheckedSchema, InvalidError
from farebox_gateway.edge.wall_clock import now_ms

if TYPE_CHECKING:
    from farebox_gateway.edge.accounts import Consumer

_X_API_KEY: Final = istr("X-API-Key")
_CHALLENGE: Final = ((b"WWW-Authenticate", b'Bearer realm="api"'),)
_INVALID_CHALLENGE: Final = ((b"WWW-Authenticate", b'Bearer realm="api", error="invalid_token"'),)
_SCOPE: Final = re.compile(r"(\*|[A-Z]{1,32}) (\*|[a-zA-Z0-9_.-]{1,64}\*?)")
_GAP: Final = re.compile(r"[ \t]")
_SPACE: Final = " \t\n\r\v\f"
"""What may stand around a key. Not all that Python calls space: a no-break space belongs to the text."""
_TIER: Final = istr(identity.TIER_HEADER)
_TIME: Final = istr(identity.TIME_HEADER)
_REQUEST_ID: Final = istr(identity.REQUEST_ID_HEADER)
_ENVIRONMENT: Final = istr(identity.ENVIRONMENT_HEADER)
_SIGNATURE: Final = istr(identity.SIGNATURE_HEADER)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class OnRoute:
    """What a route says: its keys' prefix, whether one may stand in the query string, who needs none."""

    prefix: str
    query_parameter: str | None
    tiers: Tiers


@dataclass(frozen=True, slots=True)
class _Sent:
    """The key in a request, if any; `tried` when there was a place for one, even an empty one."""

    text: str | None
    tried: bool


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

    def __init__(
        self,
        find_consumer: "Callable[[str], Consumer | None]",
        store: Counters,
        *,
        default_prefix: str,
        identity_secrets: Sequence[bytes] = (),
    ) -> None:
        self._lookup = Lookup(find_consumer)
        self._store = store
        self._default_prefix = default_prefix
        self._signer = identity.Signer(identity_secrets) if identity_secrets else None

    def check(self, place: Place, conf: Any) -> dict[str, Any]:
        """Also refuse what could never match: networks, scopes, half an owner, two limits of one name."""
        merged = super().check(place, conf)
        for text in merged.get("cidrs", ()):
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError as error:
                raise InvalidError(f'property "cidrs" validation failed: {error}') from None
        for text in merged.get("scopes", ()):
            if not _SCOPE.fullmatch(text):
                raise InvalidError(f'property "scopes" validation failed: "{text}" is not "METHOD route"')
        if ("organization" in merged) != ("key" in merged):
            raise InvalidError('properties "organization" and "key" go together')
        for tier in ("anonymous", "polite"):
            check_limits(merged.get("tiers", {}).get(tier, {}))
        return merged

    def compile(self, place: Place, conf: dict[str, Any]) -> Any:
        """Prepare networks, scopes, digests and tiers for comparing."""
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
                owner=(conf["organization"], conf["key"]) if "organization" in conf else None,
            )
        return OnRoute(
            conf.get("key_prefix", self._default_prefix),
            conf.get("query_parameter"),
            compile_tiers(conf.get("tiers", {})),
        )

    def rewrite(self, exchange: Exchange, conf: OnRoute) -> Decision:
        """Find the key, take it out of the request, and set whose request this is."""
        if len(exchange.headers.getall(AUTHORIZATION, ())) > 1:
            return exchange.refuse(400, "bad_request", "This is not a valid HTTP request.")
        sent = _take_key(exchange, conf.query_parameter)
        if sent.text is None:
            tier = None if sent.tried else conf.tiers.of(exchange)
            if tier is None:
                return exchange.refuse(
                    401,
                    problems.MISSING_KEY,
                    "Send your API key as `Authorization: Bearer <key>` or in the X-API-Key header.",
                    outcome="unauthorized",
                    headers=_CHALLENGE,
                )
            exchange.tier, exchange.contact = tier
            return None
        digest = hashlib.sha256(sent.text.encode("utf-8", "surrogateescape")).digest()
        known = self._lookup.find(sent.text, digest, conf.prefix)
        if known is None:
            return _invalid(exchange)
        found = known.found
        if found.expires_at is not None and exchange.started_ms >= found.expires_at:
            return _invalid(exchange)
        exchange.consumer = known.consumer
        exchange.credential = known.credential
        exchange.environment = found.environment
        exchange.tier = "keyed"
        return _authorize(exchange, found)

    def access(self, exchange: Exchange, conf: OnRoute) -> Decision | Awaitable[Decision]:
        """Tell the upstream who calls, now that the path it will see is known; count who has no key."""
        self._introduce(exchange)
        if exchange.tier == "keyed":
            return None
        return take_tier(self._store, exchange, conf.tiers)

    def _introduce(self, exchange: Exchange) -> None:
        headers, now = exchange.headers, now_ms()
        headers[_TIER] = exchange.tier
        headers[_TIME] = str(now)
        headers[_REQUEST_ID] = exchange.rid
        if exchange.environment is not None:
            headers[_ENVIRONMENT] = exchange.environment
        if self._signer is not None:
            consumer, credential = exchange.consumer, exchange.credential
            signed = identity.Identity(
                time_ms=now,
                request_id=exchange.rid,
                method=exchange.upstream_method,
                path=exchange.upstream_target.partition("?")[0],
                organization="" if consumer is None else consumer.name,
                key="" if credential is None else credential.id,
                environment=exchange.environment or "",
                group="" if consumer is None else consumer.group_id or "",
                tier=exchange.tier,
            )
            headers[_SIGNATURE] = self._signer.sign(signed)


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


def _take_key(exchange: Exchange, query_parameter: str | None) -> _Sent:
    """Return the first key sent, every place where one may stand being emptied for the upstream."""
    headers = exchange.headers
    found, tried = "", False
    authorization = headers.get(AUTHORIZATION)
    if authorization is not None:
        scheme, *token = _GAP.split(authorization.strip(_SPACE), maxsplit=1)
        if scheme.lower() == "bearer":
            del headers[AUTHORIZATION]
            found, tried = "".join(token).strip(_SPACE), True
    for value in headers.popall(_X_API_KEY, ()):
        found, tried = found or value.strip(_SPACE), True
    if query_parameter is not None:
        for value in _take_from_query(exchange, query_parameter):
            found, tried = found or value, True
    return _Sent(found or None, tried)


def _take_from_query(exchange: Exchange, parameter: str) -> list[str]:
    """Take a parameter out of the target that the upstream will see; return its values, decoded."""
    path, mark, query = exchange.upstream_target.partition("?")
    if not mark:
        return []
    values, kept = [], []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if unquote_plus(name) == parameter:
            values.append(unquote_plus(value))
        else:
            kept.append(part)
    if values:
        exchange.upstream_target = path + ("?" + "&".join(kept) if kept else "")
    return values
