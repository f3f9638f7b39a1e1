"""The form of the usage line, version 1."""

import json
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox_contract import billable, usage_line

EXAMPLE = (
    b'{"v":1,"ts":1795219218123,"node":"gw-1","boot":"m2x9k4","worker":0,"seq":42,'
    b'"rid":"a467bc9c7d641e34712653be650b1919","env":"live","org":"4f7q2k","key":"9tz3m1","sub":"x81k",'
    b'"group":"starter-1","route":"messages","method":"POST","path":"/v1/messages/send","status":200,'
    b'"outcome":"served","units":1,"in":192,"out":793,"us":1530,"up_us":1010,"ip":"203.0.113.7","ua":"curl/8"}'
)
MINIMAL: dict[str, Any] = {
    "v": 1,
    "ts": 1,
    "node": "n",
    "boot": "b",
    "worker": 0,
    "seq": 1,
    "rid": "r",
    "method": "GET",
    "path": "/",
    "status": 401,
    "outcome": "unauthorized",
    "units": 1,
    "in": 0,
    "out": 0,
    "us": 1,
    "ip": "::1",
}


def test_the_contracts_example_is_read_and_written_byte_for_byte() -> None:
    """Members keep the contract's order and nothing is added."""
    assert usage_line.encode(usage_line.decode(EXAMPLE)) == EXAMPLE + b"\n"


@pytest.mark.parametrize("member", sorted(MINIMAL))
def test_a_missing_member_is_named(member: str) -> None:
    """Every required member, left out, is refused with its name in the message."""
    line = {name: value for name, value in MINIMAL.items() if name != member}
    with pytest.raises(usage_line.MalformedLineError, match=f"`{member}`"):
        usage_line.decode(json.dumps(line).encode())


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("v", 2),
        ("ts", -1),
        ("ts", "1"),
        ("ts", 1.5),
        ("ts", True),
        ("node", ""),
        ("seq", -1),
        ("seq", 2**63),
        ("status", 1000),
        ("outcome", "eaten"),
        ("units", -1),
        ("units", 10**12 + 1),
        ("units", 1.0),
        ("env", "prod"),
        ("path", None),
        ("us", "9"),
        ("boot", ""),
        ("seq", 0),
        ("key", "k-without-org"),
    ],
)
def test_a_wrong_value_is_refused(member: str, value: object) -> None:
    """No coercion: a string is no number, a float no count, an unknown word no outcome."""
    with pytest.raises(usage_line.MalformedLineError):
        usage_line.decode(json.dumps({**MINIMAL, member: value}).encode())


def test_a_line_without_a_stream_is_recognised() -> None:
    """A worker that answered before its plugins were loaded writes no boot and seq 0."""
    assert not usage_line.decode(json.dumps({**MINIMAL, "boot": "", "seq": 0}).encode()).has_stream
    assert usage_line.decode(json.dumps(MINIMAL).encode()).has_stream


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_never_crashes(garbage: bytes) -> None:
    """Any bytes give a line or a `MalformedLineError`."""
    try:
        usage_line.decode(garbage)
    except usage_line.MalformedLineError:
        return


def test_the_schema_is_valid_and_accepts_the_example() -> None:
    """The JSON Schema is made from the type, so a reader without our code can check a line."""
    schema = usage_line.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(json.loads(EXAMPLE))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate({**json.loads(EXAMPLE), "outcome": "eaten"})


@pytest.mark.parametrize(
    ("environment", "outcome", "status", "reason"),
    [
        ("live", "served", 200, None),
        ("live", "served", 404, None),
        ("live", "served", 499, None),
        ("live", "served", 500, "server_error"),
        ("live", "client_closed", 200, None),
        ("live", "client_closed", 499, "client_closed_before_answer"),
        ("live", "client_closed", 0, "client_closed_before_answer"),
        ("live", "rate_limited", 429, "rate_limited"),
        ("live", "quota_exceeded", 429, "quota_exceeded"),
        ("live", "forbidden", 403, "forbidden"),
        ("live", "upstream_error", 502, "upstream_error"),
        ("test", "served", 200, "test_key"),
        ("test", "rate_limited", 429, "test_key"),
        (None, "unauthorized", 401, "unauthenticated"),
        (None, "served", 200, "unauthenticated"),
    ],
)
def test_the_default_rule_bills_or_names_a_reason(
    environment: str | None, outcome: str, status: int, reason: str | None
) -> None:
    """Each line is billable or has exactly one named reason why not."""
    decision = billable.RULES[billable.DEFAULT_RULE](environment, outcome, status)
    assert decision.reason == reason
    assert decision.billable is (reason is None)


def test_a_line_cannot_be_changed() -> None:
    """A line is a fact."""
    line = usage_line.decode(EXAMPLE)
    with pytest.raises(AttributeError):
        line.units = 2  # type: ignore[misc]
    assert isinstance(line, msgspec.Struct)
