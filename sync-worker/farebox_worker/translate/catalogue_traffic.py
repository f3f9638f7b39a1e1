"""Policies on traffic as the configurations of APISIX's own plugins. Pure.

The order in which plugins run is part of what is sold, and where APISIX's own differs it is said with
`_meta.priority`: plain HTTP is answered before a key is looked at, and a cache after limits have been taken.
Source: the plugins of APISIX 3.18.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from farebox.products.policies import Cache, Compression, Cors, PlainHttp, Release, Rewrite
from farebox_contract import problems
from farebox_gateway.resources import Kind, Ref, Resource

Plugins = dict[str, dict[str, Any]]
BEFORE_AUTH: Final = 3900
"""Below `cors` (4000), above every authentication: `farebox-auth` is 2600."""
AFTER_LIMITS: Final = 990
"""Below `farebox-limit` (1002) and above `traffic-split` (966): a hit takes from limits like any request."""
MEMORY_ZONE: Final = "memory_cache"
_STOCK_CONF: Final = {"gzip": {"comp_level": 5}, "brotli": {"comp_level": 4}}
_PLAIN_REFUSED: Final = "Use https: plain HTTP is not served here."


def cors(policy: Cors) -> Plugins:
    """Let pages of these origins call, and answer preflight requests."""
    conf: dict[str, Any] = {
        "allow_origins": ",".join(policy.origins),
        "allow_methods": ",".join(policy.methods),
        "allow_headers": ",".join(policy.headers) or "X-API-Key",
        "max_age": policy.max_age,
        "allow_credential": policy.credentials,
    }
    if policy.expose:
        conf["expose_headers"] = ",".join(policy.expose)
    return {"cors": conf}


def compression(policy: Compression) -> Plugins:
    """Compress by gzip, brotli or both; a caller that takes both gets brotli."""
    shared = {"types": list(policy.types), "min_length": policy.min_length, "vary": True}
    names = {"br": "brotli", "gzip": "gzip"}
    return {names[each]: {**shared, **_STOCK_CONF[names[each]]} for each in policy.encodings}


def plain_http(policy: PlainHttp) -> Plugins:
    """Redirect or refuse requests without TLS.

    The gateway sets X-Forwarded-Proto itself, and keeps the caller's only where it trusts the address.
    """
    if policy == "redirect":
        return {"redirect": {"http_to_https": True, "_meta": {"priority": BEFORE_AUTH}}}
    if policy == "refuse":
        abort = {
            "http_status": 403,
            "body": json.dumps(
                problems.envelope(problems.HTTPS_REQUIRED, _PLAIN_REFUSED, request_id="$request_id")
            ),
            "headers": {"Content-Type": "application/json"},
            "vars": [[["http_x_forwarded_proto", "~=", "https"]]],
        }
        return {"fault-injection": {"abort": abort, "_meta": {"priority": BEFORE_AUTH}}}
    return {}


def cache(policy: Cache) -> Plugins:
    """Keep answers in each node's memory, apart for each consumer.

    The consumer's name stands first in the key and a text that no name has after it, so that no Host header
    can spell another organization's key. Without a name (no key was needed) callers share.
    """
    return {
        "proxy-cache": {
            "cache_strategy": "memory",
            "cache_zone": MEMORY_ZONE,
            "cache_key": ["$consumer_name", "::", "$host", "$request_uri"],
            "cache_http_status": list(policy.statuses),
            "cache_method": ["GET", "HEAD"],
            "cache_ttl": policy.seconds,
            "cache_control": policy.obey_cache_control,
            "_meta": {"priority": AFTER_LIMITS},
        }
    }


def rewrite(policy: Rewrite) -> Plugins:
    """Change the path that the upstream sees; the query stays."""
    if policy.path is not None:
        return {"proxy-rewrite": {"uri": policy.path}}
    strip, add = (each.rstrip("/") if each else "" for each in (policy.strip_prefix, policy.add_prefix))
    pattern = f"^{re.escape(strip)}(?:/+|$)(.*)" if strip else "^/(.*)"
    return {"proxy-rewrite": {"regex_uri": [pattern, f"{add}/$1"]}}


def release(policy: Release) -> Plugins:
    """Send some organizations, who sends a header, and a share of the rest to the new version.

    The plugin runs after authentication, so the consumer's name is known, and cannot be claimed by a header.
    """
    new = [{"upstream_id": policy.upstream, "weight": 1}]
    rules: list[dict[str, Any]] = []
    if policy.organizations:
        names = [each.removeprefix("org_") for each in policy.organizations]
        rules.append({"match": [{"vars": [["consumer_name", "in", names]]}], "weighted_upstreams": new})
    if policy.header is not None:
        variable = "http_" + policy.header.name.lower().replace("-", "_")
        match = [{"vars": [[variable, "==", policy.header.value]]}]
        rules.append({"match": match, "weighted_upstreams": new})
    if policy.percentage == 100:
        rules.append({"weighted_upstreams": new})
    elif policy.percentage:
        share = [
            {"upstream_id": policy.upstream, "weight": policy.percentage},
            {"weight": 100 - policy.percentage},
        ]
        rules.append({"weighted_upstreams": share})
    return {"traffic-split": {"rules": rules}} if rules else {}


def plugins_of(resource: Resource) -> frozenset[str]:
    """Name the plugins that a gateway must have loaded for this resource."""
    return frozenset(resource.body.get("plugins", ()))


def lacking(desired: Iterable[Resource], loaded: Iterable[str]) -> dict[Ref, str]:
    """Say of each resource that a gateway with these plugins cannot serve what it lacks, and the remedy.

    A route lacks what its service lacks: the service is not pushed, so the route would stand on nothing.
    `desired` has services before their routes.
    """
    there = frozenset(loaded)
    found: dict[Ref, frozenset[str]] = {}
    for resource in desired:
        missing = plugins_of(resource) - there
        if resource.ref.kind is Kind.ROUTE and (service := resource.body.get("service_id")) is not None:
            missing |= found.get(Ref(Kind.SERVICE, service), frozenset())
        if missing:
            found[resource.ref] = missing
    return {
        ref: f"the gateway has not loaded {', '.join(sorted(missing))}; load it or take the feature away"
        for ref, missing in found.items()
    }
