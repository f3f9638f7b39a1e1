"""What a gateway adds to a resource by itself, so that what was sent and what is read can be compared.

APISIX fills in defaults when it checks a resource against its schema; whether they are stored with it has
changed between its releases. So both sides of a comparison are brought to one form: defaults merged, what
the gateway stamps taken away, Lua's one empty table (`{}` and `[]` alike) made one value.
Source: the schemas of APISIX 3.18 (`apisix/schema_def.lua`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from farebox_gateway.resources import Body, Kind

STAMPED: Final = frozenset({"create_time", "update_time"})
_NO_SCHEMAS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
DEFAULTS: Final[Mapping[Kind, Mapping[str, Any]]] = MappingProxyType(
    {
        Kind.UPSTREAM: MappingProxyType(
            {"type": "roundrobin", "scheme": "http", "hash_on": "vars", "pass_host": "pass"}
        ),
        Kind.ROUTE: MappingProxyType({"priority": 0, "status": 1}),
    }
)
_EMPTY: Final[Any] = ()


def normal(
    kind: Kind, id_: str, body: Body, *, plugin_schemas: Mapping[str, Mapping[str, Any]] = _NO_SCHEMAS
) -> dict[str, Any]:
    """Return a resource in the form in which two of them can be compared.

    `plugin_schemas` are the schemas of foreign plugins as the Admin API shows them
    (`/apisix/admin/schema/plugins/{name}`); ours have no defaults.
    """
    merged: dict[str, Any] = {**DEFAULTS.get(kind, {}), **{k: v for k, v in body.items() if k not in STAMPED}}
    if kind is Kind.CONSUMER:
        merged.pop("id", None)
        merged.setdefault("username", id_)
    else:
        merged["id"] = id_
    if isinstance(merged.get("plugins"), Mapping):
        merged["plugins"] = {
            name: _with_defaults(plugin_schemas.get(name, {}), conf)
            for name, conf in merged["plugins"].items()
        }
    if not merged.get("labels"):
        merged.pop("labels", None)
    return {name: _plain(value) for name, value in merged.items()}


def _with_defaults(schema: Mapping[str, Any], value: Any) -> Any:
    """Fill in a JSON schema's defaults as the gateway's validator does: members, and members of items."""
    if isinstance(value, Mapping) or (value == [] and schema.get("type") == "object"):
        merged = dict(value) if isinstance(value, Mapping) else {}
        for name, part in schema.get("properties", {}).items():
            if name in merged:
                merged[name] = _with_defaults(part, merged[name])
            elif "default" in part:
                merged[name] = part["default"]
        return merged
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [_with_defaults(schema["items"], item) for item in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()} if value else _EMPTY
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value] if value else _EMPTY
    return value
