"""JSON Schemas as people read them: tables of fields, and values that fit. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_DEEPEST: Final = 4
Schemas = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A field or parameter as a line of a table; nested fields have their path as the name."""

    name: str
    kind: str
    required: bool
    description: str


def rows(schema: Mapping[str, Any], schemas: Schemas, *, prefix: str = "", depth: int = 0) -> Iterable[Row]:
    """Yield a line for each field of an object schema, and for each field of the objects within."""
    resolved = _resolve(schema, schemas)
    required = set(resolved.get("required", ()))
    for name, member in resolved.get("properties", {}).items():
        full = f"{prefix}{name}"
        yield Row(full, kind(member, schemas), name in required, _described(member, schemas))
        inner, mark = _inside(member, schemas)
        if depth < _DEEPEST and inner is not None:
            yield from rows(inner, schemas, prefix=f"{full}{mark}.", depth=depth + 1)


def sample(schema: Mapping[str, Any], schemas: Schemas, *, depth: int = 0) -> Any:
    """Return a value that fits the schema, its examples and defaults where it has them."""
    resolved = _resolve(schema, schemas)
    for key in ("examples", "enum"):
        if resolved.get(key):
            return resolved[key][0]
    for key in ("const", "default"):
        if resolved.get(key) is not None:
            return resolved[key]
    if "anyOf" in resolved:
        return sample(resolved["anyOf"][0], schemas, depth=depth)
    return _sample_of_type(resolved, schemas, depth)


def _sample_of_type(resolved: Mapping[str, Any], schemas: Schemas, depth: int) -> Any:
    match resolved.get("type"):
        case "object":
            members = resolved.get("properties", {})
            return {name: sample(member, schemas, depth=depth + 1) for name, member in members.items()}
        case "array":
            return [sample(resolved["items"], schemas, depth=depth + 1)] if depth <= _DEEPEST else []
        case "string" if resolved.get("format") == "date-time":
            return "2030-03-01T00:00:00.000Z"
        case kind:
            return _PLAIN.get(str(kind))


_PLAIN: Final[Mapping[str, Any]] = {"string": "…", "integer": 1, "number": 1, "boolean": True}


def kind(schema: Mapping[str, Any], schemas: Schemas) -> str:
    """Say in a few words what values the schema takes."""
    resolved = _resolve(schema, schemas)
    if "anyOf" in resolved:
        return " or ".join(dict.fromkeys(kind(option, schemas) for option in resolved["anyOf"]))
    if "const" in resolved:
        return json.dumps(resolved["const"])
    if "enum" in resolved:
        return " | ".join(str(value) for value in resolved["enum"])
    name = str(resolved.get("type", "any"))
    return f"list of {kind(resolved['items'], schemas)}" if name == "array" else name + _bounds(resolved)


def _bounds(resolved: Mapping[str, Any]) -> str:
    if resolved.get("format"):
        return f", {resolved['format']}"
    if "maxLength" in resolved:
        return f", {resolved.get('minLength', 0)} to {resolved['maxLength']} characters"
    if "minimum" in resolved and "maximum" in resolved:
        return f", {resolved['minimum']:,} to {resolved['maximum']:,}"
    return ""


def _resolve(schema: Mapping[str, Any], schemas: Schemas) -> Mapping[str, Any]:
    if "$ref" in schema:
        named = schemas[schema["$ref"].rpartition("/")[2]]
        return {**named, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def _inside(schema: Mapping[str, Any], schemas: Schemas) -> tuple[Mapping[str, Any] | None, str]:
    resolved = _resolve(schema, schemas)
    if "anyOf" in resolved:
        resolved = _resolve(resolved["anyOf"][0], schemas)
    if resolved.get("type") == "array":
        return _inside(resolved["items"], schemas)[0], "[]"
    return (resolved, "") if "properties" in resolved else (None, "")


def _described(schema: Mapping[str, Any], schemas: Schemas) -> str:
    return str(schema.get("description") or _resolve(schema, schemas).get("description", ""))
