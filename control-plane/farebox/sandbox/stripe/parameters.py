"""Which parameters an endpoint takes, and of what type: read from the typed parameters of Stripe's own SDK.

So the strictness is not copied by hand: what mypy refuses in an adapter is refused on the wire too. Pure.
"""

import re
import sys
import types
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from stripe._request_options import RequestOptions

from farebox.sandbox.stripe.errors import Refusal, invalid, missing_parameter, unknown_parameter

_OF_THE_REQUEST: Final = frozenset(RequestOptions.__annotations__)
_INTEGER: Final = re.compile(r"[+-]?\d{1,18}")
_EMPTY: Final = "cannot be unset. You should remove it from your request or supply a non-empty value."


@cache
def parameters_of(typed: type) -> Mapping[str, Any]:
    """Name → type of each parameter of one of the SDK's TypedDicts."""
    names = {"StripeContext": Any, "Mapping": Mapping}
    hints = get_type_hints(typed, vars(sys.modules[typed.__module__]), names)
    options = _OF_THE_REQUEST if typed.__name__.endswith("Params") else frozenset()
    return {name: hint for name, hint in hints.items() if name not in options}


def read(typed: type, given: Mapping[str, Any], *, within: str = "") -> dict[str, Any]:
    """The parameters with their types. Raises Refusal for one that is unknown, missing or of a wrong type."""
    hints = parameters_of(typed)
    for name in given:
        if name not in hints:
            raise unknown_parameter(_named(within, name))
    required: frozenset[str] = getattr(typed, "__required_keys__", frozenset())
    for name in hints:
        if name in required and name not in given:
            raise missing_parameter(_named(within, name))
    return {name: _value(hints[name], value, _named(within, name)) for name, value in given.items()}


def _named(within: str, name: str) -> str:
    return f"{within}[{name}]" if within else name


def _value(hint: Any, value: Any, name: str) -> Any:
    origin = get_origin(hint)
    if origin in {Union, types.UnionType}:
        return _one_of(get_args(hint), value, name)
    if origin is Literal:
        return _literal(get_args(hint), value, name)
    if origin is list:
        return _list(get_args(hint)[0], value, name)
    if isinstance(value, dict):
        return _hash(hint, value, name)
    if _is_hash(hint):
        raise invalid("Invalid object", name)
    return _scalar(hint, value, name)


def _one_of(choices: tuple[Any, ...], value: Any, name: str) -> Any:
    """A union: what the value looks like decides. A text may be one of several words, or free."""
    if isinstance(value, dict):
        lists = [choice for choice in choices if get_origin(choice) is list]
        nested = [choice for choice in choices if _is_hash(choice)]
        if lists and all(key.isdigit() for key in value):
            return _value(lists[0], value, name)
        if nested:
            return _value(nested[0], value, name)
        raise invalid("Invalid string: a hash was given", name)
    words = [word for choice in choices if get_origin(choice) is Literal for word in get_args(choice)]
    if value in words:
        return value
    if len([word for word in words if word]) > 1 and not {int, bool} & set(choices):
        return _literal(tuple(words), value, name)  # `Literal[…] | str`: open for later words, not for any
    simple = [choice for choice in choices if choice in {int, bool, float, Decimal}]
    if simple:
        return _scalar(simple[0], value, name)
    if str in choices:
        return _scalar(str, value, name)
    raise invalid(
        "Invalid object" if value else f"You passed an empty string for '{name}'; it {_EMPTY}", name
    )


def _literal(words: tuple[Any, ...], value: Any, name: str) -> Any:
    if value in words:
        return value
    for word in words:  # a Literal[True] arrives as text
        if isinstance(word, bool) and value == str(word).lower():
            return word
    shown = ", ".join(str(word) for word in words if word != "")
    raise invalid(f"Invalid {name}: must be one of {shown}", name)


def _list(inner: Any, value: Any, name: str) -> list[Any]:
    if value == "":
        return []
    if not isinstance(value, dict) or not all(key.isdigit() for key in value):
        raise invalid("Invalid array", name)
    return [_value(inner, value[key], f"{name}[{key}]") for key in sorted(value, key=int)]


def _hash(hint: Any, value: dict[str, Any], name: str) -> Any:
    if hint is Any:
        return value
    if isinstance(hint, type) and hasattr(hint, "__required_keys__"):
        return read(hint, value, within=name)
    if not _is_hash(hint):
        raise invalid("Invalid string: a hash was given", name)
    inner = (get_args(hint) or (str,))[-1]
    return {key: _value(inner, item, f"{name}[{key}]") for key, item in value.items()}


def _is_hash(hint: Any) -> bool:
    return hasattr(hint, "__required_keys__") or (
        isinstance(get_origin(hint), type) and get_origin(hint) is not list
    )


def _scalar(hint: Any, value: str, name: str) -> Any:
    if hint is bool:
        if value not in {"true", "false"}:
            raise invalid(f"Invalid boolean: {value}", name)
        return value == "true"
    if hint is int:
        if not _INTEGER.fullmatch(value) or not value.isascii():
            raise Refusal(400, f"Invalid integer: {value}", code="parameter_invalid_integer", param=name)
        return int(value)
    if hint in {Decimal, float}:
        try:
            number = Decimal(value)
        except InvalidOperation as error:
            raise invalid(f"Invalid decimal: {value}", name) from error
        if not number.is_finite():
            raise invalid(f"Invalid decimal: {value}", name)
        return value
    if value == "" and hint is str:
        message = (
            f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset it; "
        )
        raise invalid(f"{message}it {_EMPTY}", name, code="parameter_invalid_empty")
    return value
