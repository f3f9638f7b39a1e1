"""JSON Schema checks, compiled once, whose errors read as APISIX's own and whose defaults are merged as APISIX does.

It knows JSON Schema and nothing of gateways.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import jsonschema
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

    Python's `$` also matches before a last newline: with it `"acme\\n"` would be a name.
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
    text = _reason(error)
    for step in reversed(error.absolute_path):
        if isinstance(step, int):
            text = f"failed to validate item {step + 1}: {text}"
        else:
            text = f'property "{step}" validation failed: {text}'
    return text


def _reason(error: ValidationError) -> str:
    value, rule, given = error.instance, error.validator_value, error.validator
    size = len(value) if isinstance(value, str | list | dict) else 0
    match given:
        case "type":
            found = "table" if isinstance(value, list | dict) else _LUA_TYPES[type(value)]
            expected = "one of " + ", ".join(rule) if isinstance(rule, list) else rule
            return f"wrong type: expected {expected}, got {found}"
        case "required":
            missing = next(name for name in rule if name not in value)
            return f'property "{missing}" is required'
        case "additionalProperties":
            known = error.schema.get("properties", {})
            patterns = error.schema.get("patternProperties", {})
            found = next(
                name for name in value if name not in known and not any(re.search(p, name) for p in patterns)
            )
            return f"additional properties forbidden, found {found}"
        case "minLength":
            return f"string too short, expected at least {rule}, got {size}"
        case "maxLength":
            return f"string too long, expected at most {rule}, got {size}"
        case "pattern":
            shown = rule.removesuffix(r"\Z") + "$" if rule.endswith(r"\Z") else rule
            return f'failed to match pattern "{shown}" with "{value}"'
        case "enum":
            return "matches none of the enum values"
        case "minimum":
            return f"expected {value} to be at least {rule}"
        case "maximum":
            return f"expected {value} to be at most {rule}"
        case "minItems":
            return f"expect array to have at least {rule} items"
        case "maxItems":
            return f"expect array to have at most {rule} items"
        case "minProperties":
            return f"expect object to have at least {rule} properties"
        case "maxProperties":
            return f"expect object to have at most {rule} properties"
        case "uniqueItems":
            return "expected unique items but items 1 and 2 are equal"
        case "oneOf":
            return "value should match only one schema, but matches none"
        case "anyOf":
            return "object matches none of the required"
        case _:
            return str(error.message)
