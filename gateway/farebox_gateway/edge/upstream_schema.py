"""What an upstream may look like: APISIX 3.18's schema, and the rules that no schema says.

Service discovery, `grpc`, `kafka` and client certificates are left out: this gateway could not honour them.
"""

from collections.abc import Mapping
from typing import Any, Final

from farebox_gateway.edge.schema import CheckedSchema, InvalidError

ID_FORMS: Final = [
    {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[a-zA-Z0-9-_.]+$"},
    {"type": "integer", "minimum": 1},
]
ID: Final = {"anyOf": ID_FORMS}
DESC: Final = {"type": "string", "maxLength": 256}
NAME: Final = {"type": "string", "minLength": 1, "maxLength": 256}
LABELS: Final = {
    "type": "object",
    "patternProperties": {".*": {"type": "string", "minLength": 1, "maxLength": 256, "pattern": r"^\S+$"}},
}
HOST: Final = {"type": "string", "pattern": r"^\*$|^\*?[0-9a-zA-Z-._\[\]:]+$"}
HOSTS: Final = {"type": "array", "items": HOST, "minItems": 1, "uniqueItems": True}
_WEIGHT: Final = {"type": "integer", "minimum": 0}
_SECONDS: Final = {"type": "number", "exclusiveMinimum": 0}
TIMEOUT: Final = {
    "type": "object",
    "properties": {"connect": _SECONDS, "send": _SECONDS, "read": _SECONDS},
    "required": ["connect", "send", "read"],
}
_NODES: Final = {
    "anyOf": [
        {"type": "object", "patternProperties": {".*": _WEIGHT}},
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "host": HOST,
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
NODES_GIVEN: Final = [{"required": ["nodes"]}]


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
        "host": HOST,
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
UPSTREAM: Final[dict[str, Any]] = {
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
    "upstream_host": HOST,
    "retries": {"type": "integer", "minimum": 0},
    "retry_timeout": {"type": "number", "minimum": 0},
    "timeout": TIMEOUT,
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
    "name": NAME,
    "desc": DESC,
    "labels": LABELS,
    "id": ID,
}
INLINE_UPSTREAM: Final = {
    "type": "object",
    "properties": UPSTREAM,
    "oneOf": NODES_GIVEN,
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
