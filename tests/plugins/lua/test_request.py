"""What is read from a request: keys in their places, addresses, scopes, what became of it."""

import ipaddress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.plugins.lua.runner import Nginx

shared = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
addresses = st.one_of(
    st.ip_addresses(v=4),
    st.ip_addresses(v=6),
    st.ip_addresses(v=4).map(lambda one: ipaddress.IPv6Address(f"::ffff:{one}")),
)


def _within(remote: str, cidrs: list[str]) -> bool:
    """The same question to Python's own library, an IPv4-mapped address being its IPv4 one too."""
    address = ipaddress.ip_address(remote)
    mapped = getattr(address, "ipv4_mapped", None)
    candidates = [one for one in (address, mapped) if one is not None]
    networks = [ipaddress.ip_network(cidr, strict=False) for cidr in cidrs]
    return any(one in network for network in networks for one in candidates if one.version == network.version)


@shared
@given(remote=addresses, near=addresses, bits=st.integers(0, 128), flipped=st.integers(0, 127))
def test_networks_hold_what_python_says(lua: Nginx, remote: Any, near: Any, bits: int, flipped: int) -> None:
    """For any address and any network around it or elsewhere the answer is that of Python's ipaddress."""
    size = remote.max_prefixlen
    neighbour = type(remote)(int(remote) ^ (1 << (flipped % size)))
    cidrs = [f"{neighbour}/{bits % (size + 1)}", f"{near}/{bits % (near.max_prefixlen + 1)}"]
    assert lua.call("addresses", "within", str(remote), cidrs) == [_within(str(remote), cidrs)]


@pytest.mark.parametrize(
    "text", ["", "x", "1.2.3", "1.2.3.4/33", "::/129", "1.2.3.4/", "1.2.3.4/-1", "::1\0", "1.2.3.4/a"]
)
def test_what_is_no_network(lua: Nginx, text: str) -> None:
    """A network that cannot be read is refused with a reason, and holds nobody."""
    network, reason = lua.call("addresses", "network", text)
    assert network is None
    assert reason
    assert lua.call("addresses", "within", "1.2.3.4", [text]) == [False]


def test_an_address_that_is_none_is_nowhere(lua: Nginx) -> None:
    """A client on a Unix socket has no address, and is in no network."""
    for remote in ("unix:", "", "1.2.3.4\0"):
        assert lua.call("addresses", "within", remote, ["0.0.0.0/0", "::/0"]) == [False]


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("::1", "::1"),
        ("::203.0.113.7", "::203.0.113.7"),
        ("unix:", "unix:"),
    ],
)
def test_how_an_address_is_shown(lua: Nginx, remote: str, shown: str) -> None:
    """An IPv4 address that is mapped into IPv6 is shown and logged as IPv4."""
    assert lua.call("addresses", "shown", remote) == [shown]


@pytest.mark.parametrize(
    ("scope", "valid"),
    [
        ("GET messages", True),
        ("* *", True),
        ("GET v1.*", True),
        ("* messages-2_x", True),
        ("get messages", False),
        ("GET", False),
        ("GET a b", False),
        ("GET *a", False),
        ("GET  a", False),
        ("G" * 33 + " a", False),
        ("GET " + "a" * 65, False),
        ("", False),
    ],
)
def test_what_is_a_scope(lua: Nginx, scope: str, valid: bool) -> None:
    """A scope is a method and a route's id, either `*`, the id perhaps with a `*` at its end."""
    assert lua.call("scopes", "valid", scope) == [valid]


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (["GET messages"], True),
        (["POST messages", "* messages"], True),
        (["GET mess*"], True),
        (["* *"], True),
        (["POST messages"], False),
        (["GET message"], False),
        (["GET messages2"], False),
        ([], False),
    ],
)
def test_what_scopes_allow(lua: Nginx, scopes: list[str], allowed: bool) -> None:
    """One scope that fits is enough; none allows nothing."""
    assert lua.call("scopes", "allow", scopes, "GET", "messages") == [allowed]


@pytest.mark.parametrize(
    ("value", "token", "bearer", "kept"),
    [
        ("Bearer k", "k", True, []),
        ("bEARER   k ", "k", True, []),
        ("Bearer\tk", "k", True, []),
        ("Bearer", None, True, []),
        ("Bearer ", None, True, []),
        ("Basic abc", None, False, ["Basic abc"]),
        ("Bearerk", None, False, ["Bearerk"]),
        (["Basic a", "Bearer k", "Bearer l"], "k", True, ["Basic a"]),
    ],
)
def test_the_key_in_authorization(
    lua: Nginx, value: str | list[str], token: str | None, bearer: bool, kept: list[str]
) -> None:
    """The first Bearer token is the key; other schemes are left to the upstream."""
    found = lua.call("request_key", "from_authorization", value)
    assert found[:2] == [token, bearer]
    assert list(found[2]) == kept


@pytest.mark.parametrize(
    ("query", "key", "rest", "texts"),
    [
        ("key=k", "k", "", ["k"]),
        ("a=1&key=k&b=2", "k", "a=1&b=2", ["k"]),
        ("key=&key=k%20x", "k x", "", ["", "k%20x"]),
        ("%6bey=k+x", "k x", "", ["k+x"]),
        ("a=1&&b", None, "a=1&&b", None),
        ("keys=k", None, "keys=k", None),
        ("key", None, "", [""]),
    ],
)
def test_the_key_in_the_query(
    lua: Nginx, query: str, key: str | None, rest: str, texts: list[str] | None
) -> None:
    """The parameter is taken out wherever it stands, and what is left keeps its bytes."""
    found = lua.call("request_key", "from_query", query, "key")
    assert (found + [None] * 3)[:3] == [key, rest, texts]


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        ({"status": 401, "answered": False}, "unauthorized"),
        ({"status": 403, "answered": False}, "forbidden"),
        ({"status": 429, "answered": False}, "rate_limited"),
        ({"status": 403, "answered": True, "complete": True, "ended": True}, "served"),
        ({"status": 200, "answered": True, "complete": True, "ended": True}, "served"),
        ({"status": 500, "answered": True, "complete": True, "ended": True}, "served"),
        ({"status": 200, "answered": True, "complete": True}, "upstream_error"),
        ({"status": 200, "answered": True, "ended": True}, "client_closed"),
        ({"status": 101, "answered": True}, "served"),
        ({"status": 499}, "client_closed"),
        ({"status": 502}, "upstream_error"),
        ({"status": 504}, "upstream_error"),
        ({"status": 404}, "served"),
        ({"status": 413}, "served"),
        ({"status": 429, "refusal": "rate_limited"}, "rate_limited"),
        ({"status": 403, "refusal": "forbidden"}, "forbidden"),
    ],
)
def test_what_became_of_it(lua: Nginx, facts: dict[str, Any], outcome: str) -> None:
    """nginx's facts are told apart as the contract's outcomes."""
    assert lua.call("outcome", "of", facts) == [outcome]


def test_attempts_at_upstreams(lua: Nginx) -> None:
    """Of several attempts the last one's head counts, and all their times."""
    for times, answered in (
        ("0.001", True),
        ("-", False),
        ("0.010, -", False),
        ("-, 0.002", True),
        ("0.1 : 0.2", True),
    ):
        assert lua.call("outcome", "answered", times) == [answered]
    assert lua.call("outcome", "answered") == [False]
    for times, microseconds in (
        ("0.001", 1000),
        ("0.010, 0.002", 12_000),
        ("-", 0),
        ("0.1 : 0.2", 300_000),
        ("3", 3_000_000),
    ):
        assert lua.call("outcome", "microseconds", times) == [microseconds]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", {"host": "h", "port": 6379, "database": 0, "tls": False}),
        ("redis://h:1/3", {"host": "h", "port": 1, "database": 3, "tls": False}),
        (
            "rediss://u:p%40@h:1",
            {"host": "h", "port": 1, "database": 0, "tls": True, "user": "u", "password": "p@"},
        ),
        ("redis://:p@[::1]:1/0", {"host": "::1", "port": 1, "database": 0, "tls": False, "password": "p"}),
        ("redis://h:1/3?x=1", {"host": "h", "port": 1, "database": 3, "tls": False}),
        ("http://h", None),
        ("redis://", None),
        ("redis://h/x", None),
    ],
)
def test_where_redis_is(lua: Nginx, url: str, expected: dict[str, Any] | None) -> None:
    """A URL of Redis is read whole, or refused with a reason."""
    found = lua.call("redis_url", "parse", url)
    assert found[0] == expected
    assert expected is not None or found[1]


def test_what_the_headers_say(lua: Nginx) -> None:
    """The limit nearest to its end is shown; of a refusal the one that refused, and when to come again."""
    now = 1_795_219_218_123
    plan = {
        "limits": [
            {"name": "minute", "requests": 10, "window": 60},
            {"name": "day", "requests": 12, "window": 86_400},
        ]
    }
    (wants,) = lua.call("terms", "wants", "acme", None, plan, "live", 1, now)
    (shown,) = lua.call("terms", "show_taken", wants, [3, 7], now)
    assert shown["policy"] == '"minute";q=10;w=60, "day";q=12;w=86400'
    assert (shown["limit"], shown["remaining"]) == ("12", "5")
    headers, retry = lua.call("terms", "show_refused", wants, wants[0], 10, now)
    end = (now // 60_000 + 1) * 60
    assert (headers["remaining"], headers["reset"]) == ("0", str(end))
    assert headers["retry_after"] == str(retry) == str(-(-(end * 1000 - now) // 1000))
    assert headers["rate_limit"] == f'"minute";r=0;t={retry}'


@pytest.mark.parametrize(
    ("periods", "now", "start"),
    [
        ([(0, 10), (10, 20)], 5, 0),
        ([(0, 10), (10, 20)], 10, 10),
        ([(10, 20), (0, 10)], 12, 10),
        ([(0, 10)], 99, 0),
        ([(50, 60), (40, 50)], 5, 40),
    ],
)
def test_the_period_of_an_instant(lua: Nginx, periods: list[tuple[int, int]], now: int, start: int) -> None:
    """The last that has begun; the first if none has; the last known goes on."""
    given = [{"start": one, "end": other} for one, other in periods]
    assert lua.call("terms", "period", given, now)[0]["start"] == start
