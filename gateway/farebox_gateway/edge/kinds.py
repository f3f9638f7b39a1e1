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
from farebox_gateway.edge.upstream_schema import (
    DESC,
    HOST,
    HOSTS,
    ID,
    ID_FORMS,
    INLINE_UPSTREAM,
    LABELS,
    NAME,
    NODES_GIVEN,
    TIMEOUT,
    UPSTREAM,
)

_PLUGINS: Final = {"type": "object"}
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
    Kind("upstreams", "upstream", _object(UPSTREAM, oneOf=NODES_GIVEN), _ALL),
    Kind(
        "services",
        "service",
        _object(
            {
                "id": ID,
                "name": NAME,
                "desc": DESC,
                "labels": LABELS,
                "plugins": _PLUGINS,
                "upstream": INLINE_UPSTREAM,
                "upstream_id": ID,
                "hosts": HOSTS,
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
                "name": NAME,
                "desc": DESC,
                "priority": {"type": "integer", "default": 0},
                "timeout": TIMEOUT,
                "methods": _METHODS,
                "host": HOST,
                "hosts": HOSTS,
                "plugins": _PLUGINS,
                "upstream": INLINE_UPSTREAM,
                "upstream_id": ID,
                "service_id": ID,
                "labels": LABELS,
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
        _object({"id": ID, "name": NAME, "desc": DESC, "labels": LABELS, "plugins": _PLUGINS}, "plugins"),
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
                "desc": DESC,
                "labels": LABELS,
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
                "id": {"oneOf": ID_FORMS},
                "name": {"type": "string", "maxLength": 256},
                "desc": DESC,
                "labels": LABELS,
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
