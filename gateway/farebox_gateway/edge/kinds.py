"""The kinds of resources that the Admin API holds: their schemas, names and methods, as APISIX 3.18 has them.

Members that this gateway could not honour (`vars`, `filter_func`, `script`, service discovery…) are left out
of the schemas, so that they are refused instead of silently ignored: a route that should have been narrowed
must not serve everybody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from farebox_gateway.edge.schema import CheckedSchema, InvalidError

_ID_FORMS: Final = [
    {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[a-zA-Z0-9-_.]+$"},
    {"type": "integer", "minimum": 1},
]
ID: Final = {"anyOf": _ID_FORMS}
_DESC: Final = {"type": "string", "maxLength": 256}
_NAME: Final = {"type": "string", "minLength": 1, "maxLength": 256}
_LABELS: Final = {
    "type": "object",
    "patternProperties": {".*": {"type": "string", "minLength": 1, "maxLength": 256, "pattern": r"^\S+$"}},
}
_PLUGINS: Final = {"type": "object"}
_HOST: Final = {"type": "string", "pattern": r"^\*$|^\*?[0-9a-zA-Z-._\[\]:]+$"}
_HOSTS: Final = {"type": "array", "items": _HOST, "minItems": 1, "uniqueItems": True}
_WEIGHT: Final = {"type": "integer", "minimum": 0}
_SECONDS: Final = {"type": "number", "exclusiveMinimum": 0}
_TIMEOUT: Final = {
    "type": "object",
    "properties": {"connect": _SECONDS, "send": _SECONDS, "read": _SECONDS},
    "required": ["connect", "send", "read"],
}
_METHODS: Final = {
    "type": "array",
    "uniqueItems": True,
    "items": {
        "type": "string",
        "enum": [
            "GET",
            "POST",
            "PUT",
            "DELETE",
            "PATCH",
            "HEAD",
            "OPTIONS",
            "CONNECT",
            "TRACE",
            "PURGE",
        ],
    },
}
_NODES: Final = {
    "anyOf": [
        {"type": "object", "patternProperties": {".*": _WEIGHT}},
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "host": _HOST,
                    "port": {"type": "integer", "minimum": 1, "maximum": 65_535},
                    "weight": _WEIGHT,
                    "priority": {"type": "integer", "default": 0},
                    "metadata": {"type": "object"},
                },
                "required": ["host", "weight"],
            },
        },
    ]
}
_NODES_GIVEN: Final = [{"required": ["nodes"]}]


def _count(default: int, least: int = 1) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": 254, "default": default}


def _statuses(*default: int) -> dict[str, Any]:
    return {
        "type": "array",
        "minItems": 1,
        "items": {"type": "integer", "minimum": 200, "maximum": 599},
        "uniqueItems": True,
        "default": list(default),
    }


_CHECK_TYPE: Final = {"type": "string", "enum": ["http", "https", "tcp"], "default": "http"}
_INTERVAL: Final = {"type": "integer", "minimum": 1, "default": 1}
_ACTIVE: Final = {
    "type": "object",
    "properties": {
        "type": _CHECK_TYPE,
        "timeout": {"type": "number", "default": 1},
        "concurrency": {"type": "integer", "default": 10},
        "host": _HOST,
        "port": {"type": "integer", "minimum": 1, "maximum": 65_535},
        "http_path": {"type": "string", "default": "/"},
        "https_verify_certificate": {"type": "boolean", "default": True},
        "healthy": {
            "type": "object",
            "properties": {
                "interval": _INTERVAL,
                "http_statuses": _statuses(200, 302),
                "successes": _count(2),
            },
        },
        "unhealthy": {
            "type": "object",
            "properties": {
                "interval": _INTERVAL,
                "http_statuses": _statuses(429, 404, 500, 501, 502, 503, 504, 505),
                "http_failures": _count(5),
                "tcp_failures": _count(2),
                "timeouts": _count(3),
            },
        },
        "req_headers": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    },
}
_PASSIVE: Final = {
    "type": "object",
    "properties": {
        "type": _CHECK_TYPE,
        "healthy": {
            "type": "object",
            "properties": {
                "http_statuses": _statuses(*range(200, 209), 226, *range(300, 309)),
                "successes": _count(5, 0),
            },
        },
        "unhealthy": {
            "type": "object",
            "properties": {
                "http_statuses": _statuses(429, 500, 503),
                "tcp_failures": _count(2, 0),
                "timeouts": _count(7, 0),
                "http_failures": _count(5, 0),
            },
        },
    },
}
_CHECKS: Final = {
    "type": "object",
    "properties": {"active": _ACTIVE, "passive": _PASSIVE},
    "anyOf": [{"required": ["active"]}, {"required": ["active", "passive"]}],
}
_UPSTREAM: Final[dict[str, Any]] = {
    "nodes": _NODES,
    "type": {
        "type": "string",
        "enum": ["roundrobin", "chash", "least_conn", "ewma"],
        "default": "roundrobin",
    },
    "hash_on": {
        "type": "string",
        "enum": ["vars", "header", "cookie", "consumer", "vars_combinations"],
        "default": "vars",
    },
    "key": {"type": "string"},
    "checks": _CHECKS,
    "scheme": {"type": "string", "enum": ["http", "https"], "default": "http"},
    "pass_host": {"type": "string", "enum": ["pass", "node", "rewrite"], "default": "pass"},
    "upstream_host": _HOST,
    "retries": {"type": "integer", "minimum": 0},
    "retry_timeout": {"type": "number", "minimum": 0},
    "timeout": _TIMEOUT,
    "tls": {
        "type": "object",
        "properties": {"verify": {"type": "boolean", "default": False}},
        "additionalProperties": False,
    },
    "keepalive_pool": {
        "type": "object",
        "properties": {
            "size": {"type": "integer", "default": 320, "minimum": 1},
            "idle_timeout": {"type": "number", "default": 60, "minimum": 0},
            "requests": {"type": "integer", "default": 1000, "minimum": 1},
        },
    },
    "name": _NAME,
    "desc": _DESC,
    "labels": _LABELS,
    "id": ID,
}


def _object(properties: dict[str, Any], *required: str, **more: Any) -> CheckedSchema:
    return CheckedSchema(
        {
            "type": "object",
            "properties": properties,
            "required": list(required),
            "additionalProperties": False,
            **more,
        }
    )


INLINE_UPSTREAM: Final = {
    "type": "object",
    "properties": _UPSTREAM,
    "oneOf": _NODES_GIVEN,
    "additionalProperties": False,
}
_CHASH_KEYS: Final = {
    "vars": CheckedSchema(
        {
            "type": "string",
            "pattern": r"^((uri|server_name|server_addr|request_uri|remote_port|remote_addr|query_string|host"
            r"|hostname|mqtt_client_id)|arg_[0-9a-zA-z_-]+)$",
        }
    ),
    "header": CheckedSchema({"type": "string", "pattern": r"^[a-zA-Z0-9-_]+$"}),
    "cookie": CheckedSchema({"type": "string", "pattern": r"^[a-zA-Z0-9-_]+$"}),
}


def check_upstream(value: Mapping[str, Any]) -> None:
    """Check what no schema says of an upstream. Raises `InvalidError` in APISIX's words."""
    nodes = value.get("nodes")
    for name in nodes if isinstance(nodes, Mapping) else ():
        port = name.rpartition(":")[2]
        if port.isdigit() and ":" in name and not 1 <= int(port) <= 65_535:
            raise InvalidError(f"invalid port {int(port)}")
    if value.get("pass_host") == "rewrite" and not value.get("upstream_host"):
        raise InvalidError("`upstream_host` can't be empty when `pass_host` is `rewrite`")
    if value.get("type") != "chash":
        return
    hash_on = value.get("hash_on", "vars")
    if hash_on != "consumer" and "key" not in value:
        raise InvalidError("missing key")
    schema = _CHASH_KEYS.get(hash_on)
    if schema is not None:
        try:
            schema.check(value["key"])
        except InvalidError as error:
            raise InvalidError(f"invalid configuration: {error}") from None


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of resource. `noun` is how APISIX names it in its errors, `id_field` where its id stands."""

    plural: str
    noun: str
    schema: CheckedSchema
    methods: frozenset[str]
    id_field: str = "id"

    @property
    def words(self) -> str:
        """The noun as it stands in APISIX's sentences."""
        return self.noun.replace("_", " ")


_ALL: Final = frozenset({"GET", "PUT", "POST", "PATCH", "DELETE"})
_KINDS: Final = (
    Kind("upstreams", "upstream", _object(_UPSTREAM, oneOf=_NODES_GIVEN), _ALL),
    Kind(
        "services",
        "service",
        _object(
            {
                "id": ID,
                "name": _NAME,
                "desc": _DESC,
                "labels": _LABELS,
                "plugins": _PLUGINS,
                "upstream": INLINE_UPSTREAM,
                "upstream_id": ID,
                "hosts": _HOSTS,
                "enable_websocket": {"type": "boolean"},
            }
        ),
        _ALL,
    ),
    Kind(
        "routes",
        "route",
        _object(
            {
                "id": ID,
                "uri": {"type": "string", "minLength": 1, "maxLength": 4096},
                "uris": {
                    "type": "array",
                    "items": {"type": "string", "minLength": 1, "maxLength": 4096},
                    "minItems": 1,
                    "uniqueItems": True,
                },
                "name": _NAME,
                "desc": _DESC,
                "priority": {"type": "integer", "default": 0},
                "timeout": _TIMEOUT,
                "methods": _METHODS,
                "host": _HOST,
                "hosts": _HOSTS,
                "plugins": _PLUGINS,
                "upstream": INLINE_UPSTREAM,
                "upstream_id": ID,
                "service_id": ID,
                "labels": _LABELS,
                "enable_websocket": {"type": "boolean"},
                "status": {"type": "integer", "enum": [1, 0], "default": 1},
            },
            allOf=[{"oneOf": [{"required": ["uri"]}, {"required": ["uris"]}]}],
            anyOf=[
                {"required": [served, path]}
                for path in ("uri", "uris")
                for served in ("plugins", "upstream", "upstream_id", "service_id")
            ],
        ),
        _ALL,
    ),
    Kind(
        "consumer_groups",
        "consumer_group",
        _object({"id": ID, "name": _NAME, "desc": _DESC, "labels": _LABELS, "plugins": _PLUGINS}, "plugins"),
        _ALL - {"POST"},
    ),
    Kind(
        "consumers",
        "consumer",
        _object(
            {
                "id": ID,
                "username": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 256,
                    "pattern": r"^[a-zA-Z0-9_\-]+$",
                },
                "group_id": ID,
                "desc": _DESC,
                "labels": _LABELS,
                "plugins": _PLUGINS,
            },
            "username",
        ),
        _ALL - {"POST", "PATCH"},
        "username",
    ),
    Kind(
        "credentials",
        "credential",
        _object(
            {
                "id": {"oneOf": _ID_FORMS},
                "name": {"type": "string", "maxLength": 256},
                "desc": _DESC,
                "labels": _LABELS,
                "plugins": {"type": "object", "maxProperties": 1},
            }
        ),
        _ALL - {"POST", "PATCH"},
    ),
    Kind("global_rules", "global_rule", _object({"id": ID, "plugins": _PLUGINS}, "plugins"), _ALL - {"POST"}),
    Kind(
        "plugin_metadata",
        "plugin_metadata",
        CheckedSchema({"type": "object"}),
        frozenset({"GET", "PUT", "DELETE"}),
    ),
)
BY_PLURAL: Final[Mapping[str, Kind]] = MappingProxyType({kind.plural: kind for kind in _KINDS})
