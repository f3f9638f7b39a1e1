"""Conditions on variables, `[["arg_name", "==", "jack"], ["http_x_tier", "in", ["a", "b"]]]`.

The language of lua-resty-expr 1.x as APISIX takes it: a list of conditions is their AND; `OR`, `!OR`, `!AND`
may stand first in a list; a `!` before the operator negates.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from farebox_gateway.edge.schema import InvalidError

Read = Callable[[str], str | None]
Condition = Callable[[Read], bool]

_LOGIC: Final = frozenset({"OR", "!OR", "AND", "!AND"})


def compile_expression(rules: Any) -> Condition:
    """Return the condition. Raises `InvalidError` in lua-resty-expr's words."""
    if not isinstance(rules, list):
        raise InvalidError("missing argument rule")
    if not rules:
        return lambda _: True
    if not isinstance(rules[0], list) and str(rules[0]).upper() not in _LOGIC:
        raise InvalidError("rule should be wrapped inside brackets")
    return _compile(rules)


def _compile(rules: Sequence[Any]) -> Condition:
    if not rules:
        raise InvalidError("rule too short")
    if isinstance(rules[0], list):
        return _all([_compile(_listed(rule)) for rule in rules])
    logic = str(rules[0]).upper()
    if logic in _LOGIC:
        if len(rules) <= 2:
            raise InvalidError("rule too short")
        parts = [_compile(_listed(rule)) for rule in rules[1:]]
        met = _all(parts) if logic.endswith("AND") else _any(parts)
        return _not(met) if logic.startswith("!") else met
    return _comparison(rules)


def _listed(rule: Any) -> Sequence[Any]:
    if not isinstance(rule, list):
        raise InvalidError("invalid expression")
    return rule


def _comparison(rule: Sequence[Any]) -> Condition:
    negated = len(rule) == 4
    if negated:
        if rule[1] != "!":
            raise InvalidError("bad 'not' expression")
        rule = [rule[0], rule[2], rule[3]]
    name = rule[0]
    operator = str(rule[1]).lower() if len(rule) > 1 and rule[1] is not None else None
    wanted = rule[2] if len(rule) > 2 else None
    if wanted is None and operator not in _OPERATORS:
        wanted, operator = (rule[1] if len(rule) > 1 else None), "=="
        if wanted is None:
            raise InvalidError("invalid expression")
    if name is None or operator is None:
        raise InvalidError("invalid expression")
    if operator not in _OPERATORS:
        raise InvalidError(f"invalid operator '{operator}'")
    compare = _OPERATORS[operator](wanted)

    def met(read: Read) -> bool:
        return compare(read(str(name))) is not negated

    return met


def _all(parts: Sequence[Condition]) -> Condition:
    return lambda read: all(part(read) for part in parts)


def _any(parts: Sequence[Condition]) -> Condition:
    return lambda read: any(part(read) for part in parts)


def _not(part: Condition) -> Condition:
    return lambda read: not part(read)


Compare = Callable[[str | None], bool]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(wanted: Any) -> Compare:
    if _is_number(wanted):
        return lambda found: _number(found) == float(wanted)
    return lambda found: found == wanted


def _unequal(wanted: Any) -> Compare:
    equal = _equal(wanted)
    return lambda found: not equal(found)


def _ordered(than: Callable[[float, float], bool]) -> Callable[[Any], Compare]:
    def make(wanted: Any) -> Compare:
        right = _number(wanted)

        def compare(found: str | None) -> bool:
            left = _number(found)
            return left is not None and right is not None and than(left, right)

        return compare

    return make


def _matching(flags: int) -> Callable[[Any], Compare]:
    def make(wanted: Any) -> Compare:
        try:
            pattern = re.compile(str(wanted), flags)
        except re.error as error:
            raise InvalidError(f"invalid pattern '{wanted}': {error}") from None
        return lambda found: bool(found) and pattern.search(str(found)) is not None

    return make


def _in(wanted: Any) -> Compare:
    return lambda found: isinstance(wanted, list) and found in wanted


def _has(wanted: Any) -> Compare:
    del wanted
    return lambda found: isinstance(found, list)


def _in_networks(wanted: Any) -> Compare:
    texts = wanted if isinstance(wanted, list) else [wanted]
    if not texts or not all(texts):
        raise InvalidError("invalid ip address")
    try:
        networks = [ipaddress.ip_network(str(text), strict=False) for text in texts]
    except ValueError:
        raise InvalidError("invalid ip address") from None

    def compare(found: str | None) -> bool:
        try:
            address = ipaddress.ip_address(found or "")
        except ValueError:
            return False
        return any(address.version == network.version and address in network for network in networks)

    return compare


_OPERATORS: Final[dict[str | None, Callable[[Any], Compare]]] = {
    "==": _equal,
    "~=": _unequal,
    ">": _ordered(lambda left, right: left > right),
    ">=": _ordered(lambda left, right: left >= right),
    "<": _ordered(lambda left, right: left < right),
    "<=": _ordered(lambda left, right: left <= right),
    "~~": _matching(0),
    "~*": _matching(re.IGNORECASE),
    "in": _in,
    "has": _has,
    "ipmatch": _in_networks,
}
