"""The Lua plugins and the Python contract say the same: keys, schemas, codes, billable rule, counters."""

import inspect
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.plugins.lua.runner import Nginx

import farebox_contract
from farebox_contract import billable, counters, keys, plugins, problems, usage_line

VECTORS = json.loads((Path(farebox_contract.__file__).parent / "key_vectors.json").read_text())
shared = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda one: one["prefix"])
def test_the_contract_s_valid_keys(lua: Nginx, vector: dict[str, str]) -> None:
    """Each valid vector names its organization, key and environment, and has the vector's digest."""
    parsed = lua.call("keys", "parse", vector["text"], vector["prefix"])
    assert parsed == [vector["organization"], vector["key"], vector["environment"]]
    assert lua.call("digest", "sha256", vector["text"]) == [vector["sha256"]]


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda one: one["why"])
def test_the_contract_s_invalid_keys(lua: Nginx, vector: dict[str, str]) -> None:
    """No invalid vector is a key."""
    assert lua.call("keys", "parse", vector["text"], "fbx") in ([], [None])


@shared
@given(
    secret=st.text(alphabet=st.sampled_from("09azAZ"), min_size=32, max_size=32),
    prefix=st.sampled_from(["a", "fbx"]),
)
def test_any_key_that_python_makes(lua: Nginx, secret: str, prefix: str) -> None:
    """Checks with leading zeros and of any value are computed alike."""
    name = keys.KeyName("test", "0123456789", "abcdefghij")
    text = keys.compose(prefix, name, secret)
    assert lua.call("keys", "checksum", text[:-6]) == [text[-6:]]
    assert lua.call("keys", "parse", text, prefix) == [name.organization, name.key, name.environment]


@shared
@given(position=st.integers(0, 68), letter=st.characters(max_codepoint=255))
def test_what_is_no_key_for_python_is_none_here(lua: Nginx, position: int, letter: str) -> None:
    """One letter changed anywhere: both read the same, or both nothing."""
    text = keys.compose("fbx", keys.KeyName("live", "0123456789", "abcdefghij"), "x" * 32)
    changed = text[:position] + letter + text[position + 1 :]
    expected: list[str | None] = [None]
    try:
        parsed = keys.parse(changed)
        expected = [parsed.organization, parsed.key, parsed.environment]
    except keys.MalformedKeyError:
        pass
    assert (lua.call("keys", "parse", changed, "fbx") or [None]) == expected


def test_digests_are_compared_whole(lua: Nginx) -> None:
    """Equal digests are equal; another, a shorter one and nobody's are not."""
    digest = keys.digest("text")
    assert lua.call("digest", "equal", digest, digest) == [True]
    for other in (keys.digest("Text"), digest[:-1], digest[:-1] + "\0", "-" * 64, ""):
        assert lua.call("digest", "equal", digest, other) == [False]


def _plain(schema: Any) -> Any:
    """Lua has no empty list, and its JSON writes numbers with 14 digits."""
    if isinstance(schema, int) and not isinstance(schema, bool):
        return float(f"{schema:.14g}")
    if hasattr(schema, "items"):
        return {name: _plain(part) for name, part in schema.items() if part not in ([], {})}
    return [_plain(one) for one in schema] if isinstance(schema, list | tuple) else schema


@pytest.mark.parametrize("name", sorted(plugins.SCHEMAS))
def test_schemas_are_the_contract_s(lua: Nginx, name: str) -> None:
    """Each plugin has the contract's schema for each place."""
    (found,) = lua.call("schemas", None)
    places = found[name.removeprefix("farebox-")]
    assert places.keys() == plugins.SCHEMAS[name].keys()
    for place, schema in plugins.SCHEMAS[name].items():
        expected = _plain(schema)
        if place == "route":
            del expected["properties"]["_meta"]  # APISIX adds it itself
            expected = _plain(expected)
        assert _plain(places[place]) == expected, place


def test_codes_are_the_contract_s(lua: Nginx) -> None:
    """Codes and envelope of refusals are the contract's."""
    for name, code in vars(problems).items():
        if name.isupper():
            body = lua.call("problems", "body", code, 'a "message"/', "ab" * 16, {"reason": "x/y", "n": 1})[0]
            assert json.loads(body) == problems.envelope(
                code, 'a "message"/', request_id="ab" * 16, details={"reason": "x/y", "n": 1}
            )
    empty = json.loads(lua.call("problems", "body", "c", "m", "r")[0])
    assert empty == problems.envelope("c", "m", request_id="r")


def test_the_lua_modules_have_every_code() -> None:
    """Each code of the contract that an edge may send has its name in the Lua module."""
    source = (Path(farebox_contract.__file__).parents[1] / "apisix/plugins/farebox/problems.lua").read_text()
    codes = {code for name, code in vars(problems).items() if name.isupper()}
    assert {code for code in codes if f'"{code}"' not in source} == set()


def test_what_is_billable(lua: Nginx) -> None:
    """Over all environments, outcomes and statuses that matter the rule is the contract's."""
    statuses = (0, 101, 200, 204, 302, 400, 404, 499, 500, 502, 599)
    for environment, outcome, status in itertools.product(("live", "test"), usage_line.OUTCOMES, statuses):
        expected = billable.RULES[billable.DEFAULT_RULE](environment, outcome, status).billable
        assert lua.call("billable", "served_v1", environment, outcome, status) == [expected]
    assert lua.call("billable", "served_v1", None, "served", 200) == [False]


@shared
@given(
    now=st.integers(1_500_000_000_000, 4_000_000_000_000), window=st.sampled_from([1, 60, 3600, 86_400, 7])
)
def test_counters_are_named_as_in_the_contract(lua: Nginx, now: int, window: int) -> None:
    """Names, bounds and life of counters are the contract's."""
    start, end = counters.window_bounds(now, window)
    own = {"subscription": "s-1", "periods": [{"start": now - 5, "end": now + 10}]}
    plan = {
        "limits": [{"name": "w", "requests": 3, "window": window}],
        "quota": {"units": 10, "kind": "hard"},
    }
    (wants,) = lua.call("terms", "wants", "acme", own, plan, "live", 4, now)
    assert [want["key"] for want in wants] == [
        counters.window_key("acme", "w", start),
        counters.quota_key("s-1", now - 5),
    ]
    assert (wants[0]["start"], wants[0]["ends"]) == (start, end)
    assert wants[0]["kept"] == max(end, now) + counters.WINDOW_KEPT_MS
    assert wants[1]["kept"] == counters.quota_expires_at(now + 10, now)
    assert [want["units"] for want in wants] == [1, 4]


def test_the_marker_is_the_contract_s(lua: Nginx) -> None:
    """The generation marker has the contract's name."""
    assert lua.call("redis_scripts", None)[0]["GENERATION_KEY"] == counters.GENERATION_KEY


def test_the_line_has_every_member(lua: Nginx) -> None:
    """A full line decodes to what was put in, and its members stand in the contract's order."""
    fields = {
        "ts": 1_795_219_218_123, "node": "gw-1", "boot": "m2x9k4", "worker": 3, "seq": 42, "rid": "ab" * 16,
        "env": "live", "org": "4f7q2k", "key": "9tz3m1", "sub": "x81k", "group": "starter-1",
        "route": "messages", "method": "POST", "target": "/v1/messages/send?a=1", "status": 200,
        "outcome": "served", "units": 10**12,
        "in": 192, "out": 2**40, "us": 1530, "up_us": 1010, "ip": "203.0.113.7", "ua": "curl/8",
    }  # fmt: skip
    (text,) = lua.call("usage_line", "encode", fields)
    line = usage_line.decode(text.encode())
    expected = {**fields, "path": "/v1/messages/send", "in_": fields["in"]}
    for name in inspect.signature(usage_line.UsageLine).parameters:
        assert getattr(line, name) == (1 if name == "v" else expected[name]), name
    assert text.encode() + b"\n" == usage_line.encode(line)


@shared
@given(
    target=st.binary(max_size=3000),
    agent=st.binary(max_size=700),
    method=st.text(st.characters(max_codepoint=127)),
)
def test_any_bytes_make_a_good_line(lua: Nginx, target: bytes, agent: bytes, method: str) -> None:
    """Whatever a client sends as path and agent, the line decodes, within the contract's bounds."""
    fields = {
        "ts": 1, "node": "n", "boot": "b", "worker": 0, "seq": 1, "rid": "r", "method": method, "status": 404,
        "outcome": "served", "units": 0, "in": 0, "out": 0, "us": 0, "ip": "::1",
        "target": (b"/" + target).decode("utf-8", "surrogateescape"),
        "ua": agent.decode("utf-8", "surrogateescape"),
    }  # fmt: skip
    (text,) = lua.call("usage_line", "encode", fields)
    raw = text.encode("utf-8", "surrogateescape")
    assert b"\n" not in raw
    line = usage_line.decode(raw)
    assert line.path.isascii()
    assert "?" not in line.path
    assert len(line.path) <= usage_line.MAX_PATH_CHARACTERS
    assert (
        line.ua
        == agent.decode("utf-8", "surrogateescape")
        .encode("utf-8", "surrogateescape")
        .decode("utf-8", "replace")[:256]
        or len(line.ua) <= usage_line.MAX_USER_AGENT_CHARACTERS
    )
    assert (line.org, line.key, line.sub, line.group, line.env, line.route) == (None,) * 6


def test_each_boot_is_another(lua: Nginx) -> None:
    """Streams are told apart by ten random characters."""
    boots = {lua.call("usage_line", "boot")[0] for _ in range(50)}
    assert len(boots) == 50
    assert all(len(boot) == 10 and boot.isalnum() and boot == boot.lower() for boot in boots)
