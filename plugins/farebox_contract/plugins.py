"""The configuration schemas of our three gateway plugins, as JSON Schema (the dialect APISIX checks).

One schema per place where APISIX lets a plugin's configuration stand: on a route, a consumer group
(= plan version), a consumer (= organization), a credential (= API key). The control plane writes by them,
the embedded edge and the Lua plugins refuse by them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from farebox_contract.billable import RULES

AUTH: Final = "farebox-auth"
LIMIT: Final = "farebox-limit"
METER: Final = "farebox-meter"

Schema = Mapping[str, Any]

_POSITIVE: Final = {"type": "integer", "minimum": 1, "maximum": 10**12}
_MILLISECONDS: Final = {"type": "integer", "minimum": 0, "maximum": 253_402_300_799_999}
_NAME: Final = {"type": "string", "pattern": r"^[a-zA-Z0-9_.-]{1,64}$"}
_PUBLIC_ID: Final = {"type": "string", "pattern": "^[a-z0-9]{10}$"}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**properties, "_meta": {"type": "object"}},
        "required": list(required),
        "additionalProperties": False,
    }


LIMITS: Final = {
    "type": "array",
    "maxItems": 8,
    "items": _object(
        {"name": _NAME, "requests": _POSITIVE, "window": _POSITIVE}, "name", "requests", "window"
    ),
}
"""Short windows: at most `requests` in each `window` seconds, windows aligned to the Unix epoch."""

QUOTA: Final = _object({"units": _POSITIVE, "kind": {"enum": ["hard", "soft"]}}, "units", "kind")
"""Units in a billing period. Soft: beyond it requests pass and are billed as overage."""

PERIODS: Final = {
    "type": "array",
    "minItems": 1,
    "maxItems": 4,
    "items": _object({"start": _MILLISECONDS, "end": _MILLISECONDS}, "start", "end"),
}
"""The current and next billing periods, wall-clock milliseconds, end excluded; made by the control plane,
because there is no time zone data at the edge."""

_WITHOUT_COUNTER: Final = {"enum": ["open", "closed"]}

TIER: Final = _object({"limits": LIMITS, "without_counter": _WITHOUT_COUNTER}, "limits")
"""What callers without a key get. `without_counter` is a plan's: what holds while counters are away."""

AUTH_ON_ROUTE: Final[Schema] = _object(
    {
        "query_parameter": {"type": "string", "minLength": 1, "maxLength": 64},
        "key_prefix": {"type": "string", "pattern": "^[a-z][a-z0-9]{0,15}$"},
        "tiers": _object({"anonymous": TIER, "polite": TIER}),
    }
)
"""`query_parameter` opts this route in to keys in the query string; without it they are not read. `tiers`
lets callers without a key in (`farebox_contract.tiers`): `polite` those with a contact, counted by contact
and by address; `anonymous` everybody else, by address. A tier that is not there lets nobody in."""

AUTH_ON_CONSUMER: Final[Schema] = _object({"state": {"enum": ["active", "suspended"]}}, "state")

AUTH_ON_CREDENTIAL: Final[Schema] = _object(
    {
        "digest": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "environment": {"enum": ["live", "test"]},
        "expires_at": _MILLISECONDS,
        "cidrs": {"type": "array", "maxItems": 64, "items": {"type": "string", "maxLength": 64}},
        "scopes": {"type": "array", "maxItems": 64, "items": {"type": "string", "maxLength": 128}},
        "organization": _PUBLIC_ID,
        "key": _PUBLIC_ID,
    },
    "digest",
    "environment",
)
"""`scopes` are `METHOD route` patterns, `*` for any; without `scopes` or `cidrs` nothing is restricted.
`organization` and `key` go together and say whose an imported key is (`farebox_contract.imported_keys`)."""

LIMIT_ON_GROUP: Final[Schema] = _object(
    {"limits": LIMITS, "quota": QUOTA, "without_counter": _WITHOUT_COUNTER}, "limits"
)
"""`without_counter`: what happens when the counter's store (Redis) cannot be reached."""

LIMIT_ON_CONSUMER: Final[Schema] = _object(
    {"subscription": _NAME, "periods": PERIODS, "limits": LIMITS, "quota": QUOTA}, "subscription", "periods"
)
"""`limits` and `quota` here are overrides for one organization; absent, the group's hold. Test keys have
the same short windows and do not take from the quota."""

LIMIT_ON_ROUTE: Final[Schema] = _object({})

METER_ON_ROUTE: Final[Schema] = _object(
    {
        "units": {"type": "integer", "minimum": 0, "maximum": 10**6},
        "upstream_units": {"type": "boolean"},
        "rule": {"enum": sorted(RULES)},
    }
)
"""`units` is the weight of one request (1 unless set); with `upstream_units` the upstream's
`X-Farebox-Units` header replaces it. `rule` names the billable rule by which the quota gives units back
(`farebox_contract.billable`). The usage line's `route` is the route's id."""

SCHEMAS: Final[Mapping[str, Mapping[str, Schema]]] = MappingProxyType(
    {
        AUTH: MappingProxyType(
            {"route": AUTH_ON_ROUTE, "consumer": AUTH_ON_CONSUMER, "credential": AUTH_ON_CREDENTIAL}
        ),
        LIMIT: MappingProxyType(
            {"route": LIMIT_ON_ROUTE, "consumer_group": LIMIT_ON_GROUP, "consumer": LIMIT_ON_CONSUMER}
        ),
        METER: MappingProxyType({"route": METER_ON_ROUTE}),
    }
)
