"""Conditions on variables as lua-resty-expr evaluates them."""

from typing import Any

import pytest

from farebox_gateway.edge.expression import compile_expression
from farebox_gateway.edge.schema import InvalidError

KNOWN = {"arg_name": "jack", "arg_age": "20", "remote_addr": "10.1.2.3", "http_x_tier": "gold"}


@pytest.mark.parametrize(
    ("rules", "met"),
    [
        ([], True),
        ([["arg_name", "==", "jack"]], True),
        ([["arg_name", "jack"]], True),
        ([["arg_age", "==", 20]], True),
        ([["arg_none", "~=", 20]], True),
        ([["arg_name", "~=", "jack"]], False),
        ([["arg_age", ">", 18], ["arg_age", "<=", "20"]], True),
        ([["arg_name", ">", 1]], False),
        ([["arg_name", "~~", "^j.c"]], True),
        ([["arg_name", "~*", "^JA"]], True),
        ([["arg_none", "~~", ".*"]], False),
        ([["http_x_tier", "IN", ["gold", "silver"]]], True),
        ([["http_x_tier", "!", "in", ["gold", "silver"]]], False),
        ([["remote_addr", "ipmatch", ["10.0.0.0/8"]]], True),
        ([["remote_addr", "ipmatch", "::1"]], False),
        (["OR", ["arg_name", "==", "x"], ["arg_age", "==", "20"]], True),
        (["!OR", ["arg_name", "==", "x"], ["arg_age", "==", "20"]], False),
        (["!AND", ["arg_name", "==", "jack"], ["arg_age", "==", "2"]], True),
        (["and", ["arg_name", "==", "jack"], ["OR", ["arg_age", "==", "2"], ["arg_age", ">", 1]]], True),
    ],
)
def test_what_is_met(rules: Any, met: bool) -> None:
    """Each operator, each logic, and an absent variable."""
    assert compile_expression(rules)(KNOWN.get) is met


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (["a"], "rule should be wrapped inside brackets"),
        (["OR"], "rule too short"),
        ([["a", "=", "b"]], "invalid operator '='"),
        ([["a", "==", "b", "c"]], "bad 'not' expression"),
        ([["a"]], "invalid expression"),
        ([["a", "ipmatch", "nowhere"]], "invalid ip address"),
        ([["a", "~~", "("]], "invalid pattern"),
    ],
)
def test_what_is_no_condition(rules: Any, words: str) -> None:
    """A wrong expression is refused when it is put, not when a request comes."""
    with pytest.raises(InvalidError, match=words.replace("(", r"\(")):
        compile_expression(rules)
