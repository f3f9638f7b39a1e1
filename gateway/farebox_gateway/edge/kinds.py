"""The kinds of resources that the Admin API holds: their schemas, names and methods, as APISIX 3.18 has them.

Members that this gateway could not honour (`vars`, `filter_func`, `script`, service discovery…) are left out
of the schemas, so that they are refused instead of silently ignored: a route that should have been narrowed
must not serve everybody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from farebox_gateway.edge.schema import CheckedSchema

_ID_FORMS: Final = [
    {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[a-zA-Z0-9-_.]+$"},
    {"type": "integer", "minimum": 1},
]
_ID: Final = {"anyOf": _ID_FORMS}
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
                "additionalProperties": False,
            },
        },
    ]
}
_NODES_GIVEN: Final = [{"required": ["nodes"]}]
_UPSTREAM: Final[dict[str, Any]] = {
    "nodes": _NODES,
    "type": {"type": "string", "enum": ["roundrobin"], "default": "roundrobin"},
    "hash_on": {"type": "string", "enum": ["vars"], "default": "vars"},
    "scheme": {"type": "string", "enum": ["http", "https"], "default": "http"},
    "pass_host": {"type": "string", "enum": ["pass", "node", "rewrite"], "default": "pass"},
    "upstream_host": _HOST,
    "retries": {"type": "integer", "minimum": 0},
    "timeout": _TIMEOUT,
    "keepalive_pool": {"type": "object"},
    "name": _NAME,
    "desc": _DESC,
    "labels": _LABELS,
    "id": _ID,
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


_INLINE_UPSTREAM: Final = {
    "type": "object",
    "properties": _UPSTREAM,
    "oneOf": _NODES_GIVEN,
    "additionalProperties": False,
}


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
                "id": _ID,
                "name": _NAME,
                "desc": _DESC,
                "labels": _LABELS,
                "plugins": _PLUGINS,
                "upstream": _INLINE_UPSTREAM,
                "upstream_id": _ID,
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
                "id": _ID,
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
                "upstream": _INLINE_UPSTREAM,
                "upstream_id": _ID,
                "service_id": _ID,
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
        _object({"id": _ID, "name": _NAME, "desc": _DESC, "labels": _LABELS, "plugins": _PLUGINS}, "plugins"),
        _ALL - {"POST"},
    ),
    Kind(
        "consumers",
        "consumer",
        _object(
            {
                "id": _ID,
                "username": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 256,
                    "pattern": r"^[a-zA-Z0-9_\-]+$",
                },
                "group_id": _ID,
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
    Kind(
        "global_rules", "global_rule", _object({"id": _ID, "plugins": _PLUGINS}, "plugins"), _ALL - {"POST"}
    ),
    Kind(
        "plugin_metadata",
        "plugin_metadata",
        CheckedSchema({"type": "object"}),
        frozenset({"GET", "PUT", "DELETE"}),
    ),
)
BY_PLURAL: Final[Mapping[str, Kind]] = MappingProxyType({kind.plural: kind for kind in _KINDS})
