"""JSON Schema checks, compiled once, whose errors and defaults are as APISIX's own.

It knows JSON Schema and nothing of gateways.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import jsonschema
import msgspec
from jsonschema.exceptions import ValidationError

Schema = Mapping[str, Any]

_LUA_TYPES: Final = {str: "string", bool: "boolean", int: "number", float: "number", type(None): "userdata"}


class InvalidError(ValueError):
    """A value does not fit its schema; the message is what APISIX would have said."""


class CheckedSchema:
    """A schema with its validator."""

    __slots__ = ("_validator", "source")

    def __init__(self, source: Schema) -> None:
        self.source = source
        self._validator = jsonschema.Draft202012Validator(_plain(source))

    def check(self, value: Any) -> None:
        """Raise `InvalidError` for the first fault in `value`."""
        error = next(self._validator.iter_errors(value), None)
        if error is not None:
            raise InvalidError(_say(error))

    def merge_defaults(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return `value` with the schema's defaults where it has none."""
        return _with_defaults(self.source, value)


def _plain(schema: Any) -> Any:
    """Return mutable copies (jsonschema wants real dictionaries and lists), patterns ended as ECMA 262 means.

    Python's `$` also matches before a last newline: with it a name could end in one.
    """
    if isinstance(schema, Mapping):
        return {
            name: re.sub(r"\$$", r"\\Z", part)
            if name == "pattern" and isinstance(part, str)
            else _plain(part)
            for name, part in schema.items()
        }
    return [_plain(part) for part in schema] if isinstance(schema, list | tuple) else schema


def _with_defaults(schema: Schema, value: dict[str, Any]) -> dict[str, Any]:
    merged = dict(value)
    for name, part in schema.get("properties", {}).items():
        if name not in merged:
            if "default" in part:
                merged[name] = _plain(part["default"])
        elif isinstance(merged[name], dict):
            merged[name] = _with_defaults(part, merged[name])
        elif isinstance(merged[name], list) and isinstance(part.get("items"), Mapping):
            items = part["items"]
            merged[name] = [
                _with_defaults(items, one) if isinstance(one, dict) else one for one in merged[name]
            ]
    return merged


def _say(error: ValidationError) -> str:
    """Return the reason, told from the outermost value inwards as APISIX's validator does."""
    rules, steps = iter(error.absolute_schema_path), iter(error.absolute_path)
    outer: list[str] = []
    for rule in rules:
        if rule == "properties":
            outer.append(f'property "{next(rules)}" validation failed: ')
            next(steps)
        elif rule == "patternProperties":
            outer.append(f'failed to validate {next(steps)} (matching "{next(rules)}"): ')
        elif rule == "items":
            outer.append(f"failed to validate item {int(next(steps)) + 1}: ")
        elif rule == "allOf":
            outer.append(f"allOf {int(next(rules)) + 1} failed: ")
    return "".join(outer) + _reason(error)


def _reason(error: ValidationError) -> str:
    rule: Any = error.validator_value
    say = _SAYINGS.get(str(error.validator))
    return str(error.message) if say is None else say(rule, error.instance, error.schema)


def _wrong_type(rule: Any, value: Any, schema: Any) -> str:
    del schema
    found = "table" if isinstance(value, list | dict) else _LUA_TYPES[type(value)]
    return (
        f"wrong type: expected {'one of ' + ', '.join(rule) if isinstance(rule, list) else rule}, got {found}"
    )


def _unknown(rule: Any, value: Any, schema: Any) -> str:
    del rule
    patterns = schema.get("patternProperties", {})
    known = schema.get("properties", {})
    found = (
        name for name in value if name not in known and not any(re.search(one, name) for one in patterns)
    )
    return f"additional properties forbidden, found {next(found)}"


def _no_match(rule: Any, value: Any, schema: Any) -> str:
    del schema
    shown = str(rule)
    shown = shown.removesuffix(r"\Z") + "$" if shown.endswith(r"\Z") else shown
    shown = shown.replace("\\", "\\\\")  # as Lua quotes a string
    return f'failed to match pattern "{shown}" with "{value}"'


def _one_of(rule: Any, value: Any, schema: Any) -> str:
    del schema
    met = [
        number for number, part in enumerate(rule, 1) if jsonschema.Draft202012Validator(part).is_valid(value)
    ]
    found = f"both schemas {met[0]} and {met[1]}" if len(met) > 1 else "none"
    return f"value should match only one schema, but matches {found}"


def _none_of(rule: Any, value: Any, schema: Any) -> str:
    del value, schema
    required = [msgspec.json.encode(part["required"]).decode() for part in rule if "required" in part]
    return "object matches none of the required" + (": " + " or ".join(required) if required else "")


_SAYINGS: Final[Mapping[str, Callable[[Any, Any, Any], str]]] = {
    "type": _wrong_type,
    "required": lambda rule, value, _: f'property "{next(n for n in rule if n not in value)}" is required',
    "additionalProperties": _unknown,
    "minLength": lambda rule, value, _: f"string too short, expected at least {rule}, got {len(value)}",
    "maxLength": lambda rule, value, _: f"string too long, expected at most {rule}, got {len(value)}",
    "pattern": _no_match,
    "enum": lambda *_: "matches none of the enum values",
    "minimum": lambda rule, value, _: f"expected {value} to be at least {rule}",
    "maximum": lambda rule, value, _: f"expected {value} to be at most {rule}",
    "exclusiveMinimum": lambda rule, value, _: f"expected {value} to be greater than {rule}",
    "minItems": lambda rule, *_: f"expect array to have at least {rule} items",
    "maxItems": lambda rule, *_: f"expect array to have at most {rule} items",
    "minProperties": lambda rule, *_: f"expect object to have at least {rule} properties",
    "maxProperties": lambda rule, *_: f"expect object to have at most {rule} properties",
    "uniqueItems": lambda *_: "expected unique items but items 1 and 2 are equal",
    "oneOf": _one_of,
    "anyOf": _none_of,
}
