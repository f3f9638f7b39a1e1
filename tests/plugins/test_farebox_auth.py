"""farebox-auth: who is let through, who is refused and how, and what the upstream learns."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.gateway.harness import raw_exchange
from tests.plugins.accounts import Account

import farebox_contract
from farebox_contract import keys

VECTORS = json.loads((Path(farebox_contract.__file__).parent / "key_vectors.json").read_text())


async def test_the_key_in_either_header(account: Account) -> None:
    """`Authorization: Bearer` (in any case) and `X-API-Key` are both taken, and not forwarded."""
    text = account.key.text
    for headers in ({"Authorization": f"bearer\t{text}"}, {"X-API-Key": text}, {"x-api-key": f" {text} "}):
        async with account.session.get(account.url, headers=headers) as response:
            assert response.status == 200, headers
            seen = await response.json()
        assert text not in json.dumps(seen)


async def test_the_upstream_learns_who_calls(account: Account) -> None:
    """Organization and key are set; what the client says about them is overwritten or removed."""
    claims = {
        "X-Consumer-Username": "evil",
        "X-Credential-Identifier": "evil",
        "X-Consumer-Group-Id": "evil",
        "X-Consumer-Custom-ID": "evil",
        "X-Farebox-Units": "0",
        "X-Farebox-Anything": "evil",
        "X_Consumer_Username": "evil",
        "x_farebox-units": "evil",
        "X-Kept": "kept",
    }
    response = await account.get(headers=claims)
    headers = {name.lower(): value for name, value in json.loads(await response.text())["headers"]}
    assert headers["x-consumer-username"] == account.organization
    assert headers["x-credential-identifier"] == account.key.name.key
    assert headers["x-kept"] == "kept"
    assert "evil" not in headers.values()
    ours = {name.removeprefix("x-farebox-") for name in headers if name.startswith("x-farebox")}
    assert ours - {"signature"} == {"tier", "time", "request-id", "environment"}
    assert headers["x-farebox-tier"] == "keyed"


async def test_claims_without_authentication_are_removed(account: Account) -> None:
    """On a route without farebox-auth the client's consumer headers do not reach the upstream either."""
    await account.admin.put(
        f"/routes/{account.route}",
        {"uri": f"/{account.route}/*", "upstream": {"nodes": account.upstream.node}},
    )
    async with account.session.get(account.url, headers={"X-Consumer-Username": "evil"}) as response:
        seen = await response.json()
    assert "evil" not in [value for _, value in seen["headers"]]


async def test_no_key(account: Account) -> None:
    """Without a key: 401 in the API's error shape, with a challenge."""
    for headers in ({}, {"Authorization": "Basic abc"}, {"Authorization": "Bearer "}, {"X-API-Key": ""}):
        async with account.session.get(account.url, headers=headers) as response:
            body = await response.json()
            assert response.status == 401, headers
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
            assert body["success"] is False
            assert body["error"]["code"] == "missing_api_key"
            assert len(body["error"]["request_id"]) == 32
    assert account.upstream.seen == []


async def _refused(account: Account, text: str) -> None:
    async with account.session.get(account.url, headers={"X-API-Key": text}) as response:
        body = await response.json()
    assert response.status == 401
    assert body["error"]["code"] == "invalid_api_key"
    assert text not in json.dumps(body)


async def test_every_wrong_key_reads_the_same(account: Account) -> None:
    """Unknown organization, unknown key, wrong secret, wrong environment, wrong check: one answer."""
    name = account.key.name
    elsewhere = keys.issue("live", keys.public_id(), name.key)
    unknown = keys.issue("live", name.organization, keys.public_id())
    guessed = keys.issue("live", name.organization, name.key)
    as_test = keys.compose("fbx", keys.KeyName("test", name.organization, name.key), account.key.text[31:63])
    cut = account.key.text[:-1]
    for text in (elsewhere.text, unknown.text, guessed.text, as_test, cut, "nonsense", "x" * 5000):
        await _refused(account, text)
    assert account.upstream.seen == []


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=[one["why"] for one in VECTORS["invalid"]])
async def test_the_contract_s_invalid_keys(account: Account, vector: dict[str, str]) -> None:
    """What the contract calls no key is 401, and never an error of ours, however it is sent."""
    text = vector["text"]
    head = f"GET /{account.route}/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-API-Key: ".encode()
    raw = head + text.encode("utf-8", "surrogateescape") + b"\r\n\r\n"
    answer = await raw_exchange(account.admin.gateway.data_port, raw)
    assert answer.startswith((b"HTTP/1.1 401", b"HTTP/1.1 400", b"HTTP/1.1 431")) or text.strip() in {
        one["text"] for one in VECTORS["valid"]
    }


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    position=st.integers(0, 68),
    letter=st.characters(min_codepoint=33, max_codepoint=126),
    cut=st.integers(0, 68),
    junk=st.binary(max_size=60),
)
async def test_a_key_that_is_changed_anywhere_is_refused(
    account: Account, position: int, letter: str, cut: int, junk: bytes
) -> None:
    """One letter changed, an end cut off, or any bytes at all: 401 or a refused request, never 200 or 500."""
    text = account.key.text
    changed = text[:position] + letter + text[position + 1 :]
    clean = junk.translate(None, b"\r\n\0")
    head = (
        f"GET /{account.route}/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer ".encode()
    )
    for sent in (changed.encode(), text[:cut].encode(), clean, text.encode() + clean):
        if sent.strip(b" \t") == text.encode():
            continue
        answer = await raw_exchange(account.admin.gateway.data_port, head + sent + b"\r\n\r\n")
        assert answer.startswith((b"HTTP/1.1 401", b"HTTP/1.1 400")), (sent, answer[:80])


async def test_the_query_only_where_the_route_opts_in(account: Account) -> None:
    """A key in the query string is not read, unless the route says so; then the upstream does not see it."""
    text = account.key.text
    url = f"{account.url}?a=1&key={text}&b=2"
    async with account.session.get(url) as response:
        assert response.status == 401
    await account.put_route(farebox_auth={"query_parameter": "key"})
    for _ in range(200):
        async with account.session.get(url) as response:
            if response.status == 200:
                seen = await response.json()
                break
    assert seen["target"] == "/x?a=1&b=2"
    response = await account.get(url=f"{account.url}?key=other&c=3")
    assert json.loads(await response.text())["target"] == "/x?c=3"


async def test_a_route_s_own_key_prefix(account: Account) -> None:
    """Where a route names another prefix, keys with ours are none."""
    key = keys.issue("live", account.organization, keys.public_id(), prefix="acme")
    await account.put_key(key)
    assert (await account.get(key)).status == 401
    await account.put_route(farebox_auth={"key_prefix": "acme"})
    assert (await account.until(200, key)).status == 200
    assert (await account.get()).status == 401


async def test_a_revoked_key(account: Account) -> None:
    """Once its credential is deleted a key is as unknown as any."""
    other = await account.new_key()
    await account.until(200, other)
    await account.admin.delete(f"/consumers/{account.organization}/credentials/{other.name.key}")
    refused = await account.until(401, other)
    assert json.loads(await refused.text())["error"]["code"] == "invalid_api_key"
    assert (await account.get()).status == 200


async def test_an_expired_key(account: Account) -> None:
    """`expires_at` is the first instant at which a key is no longer valid."""
    now = int(time.time() * 1000)
    assert (await account.until(200, await account.new_key(expires_at=now + 3_600_000))).status == 200
    assert (await account.until(401, await account.new_key(expires_at=now - 1))).status == 401


async def test_a_suspended_account(account: Account) -> None:
    """A suspended organization gets 403 `account_suspended`, and is let in again when it is active."""
    await account.put_consumer(state="suspended")
    refused = await account.until(403)
    assert json.loads(await refused.text())["error"]["code"] == "account_suspended"
    await account.put_consumer(state="active")
    assert (await account.until(200)).status == 200


@pytest.mark.parametrize(
    ("cidrs", "allowed"),
    [
        (["127.0.0.0/8"], True),
        (["10.0.0.0/8", "127.0.0.1"], True),
        (["::1/128"], False),
        (["10.0.0.0/8"], False),
        ([], False),
    ],
)
async def test_networks(account: Account, cidrs: list[str], allowed: bool) -> None:
    """A key with networks works from these alone; without a match it is 403 `api_key_not_allowed`."""
    key = await account.new_key(cidrs=cidrs)
    answer = await account.until(200 if allowed else 403, key)
    if not allowed:
        assert json.loads(await answer.text())["error"]["code"] == "api_key_not_allowed"


async def test_forwarded_addresses_are_not_believed(account: Account) -> None:
    """A client cannot get into a network by saying that it is there."""
    key = await account.new_key(cidrs=["10.0.0.0/8"])
    await account.until(403, key)
    for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Client-IP"):
        assert (await account.get(key, headers={name: "10.1.2.3"})).status == 403


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (["GET {route}"], True),
        (["POST {route}", "GET *"], True),
        (["* {route}"], True),
        (["* *"], True),
        (["POST {route}"], False),
        (["GET other"], False),
        ([], False),
    ],
)
async def test_scopes(account: Account, scopes: list[str], allowed: bool) -> None:
    """A key with scopes may do what one of them names: a method, or any, at a route, or any."""
    key = await account.new_key(scopes=[scope.format(route=account.route) for scope in scopes])
    answer = await account.until(200 if allowed else 403, key)
    if not allowed:
        assert json.loads(await answer.text())["error"]["code"] == "api_key_not_allowed"


@pytest.mark.parametrize(
    "conf",
    [
        {"digest": "a" * 63, "environment": "live"},
        {"digest": "A" * 64, "environment": "live"},
        {"digest": "a" * 64, "environment": "prod"},
        {"digest": "a" * 64},
        {"digest": "a" * 64, "environment": "live", "expires_at": -1},
        {"digest": "a" * 64, "environment": "live", "key": "plain"},
        {"digest": "a" * 64, "environment": "live", "cidrs": ["x"] * 65},
    ],
)
async def test_what_is_no_credential_is_refused(account: Account, conf: dict[str, object]) -> None:
    """The Admin API refuses a credential that could never be right."""
    path = f"/consumers/{account.organization}/credentials/{keys.public_id()}"
    refused = await account.admin.call("PUT", path, {"plugins": {"farebox-auth": conf}})
    assert refused.status == 400
    assert "failed to check the configuration of plugin farebox-auth" in refused.error


async def test_keys_of_deleted_accounts(account: Account) -> None:
    """With its organization every key is gone."""
    await account.admin.delete(f"/consumers/{account.organization}")
    assert (await account.until(401)).status == 401


def _odd_requests(text: str) -> dict[str, list[bytes]]:
    """Header lines that must not get in, by what is odd about them."""
    key = text.encode()
    return {
        "a NUL before it": [b"X-API-Key: \0" + key],
        "a NUL behind it": [b"X-API-Key: " + key + b"\0"],
        "a NUL in Bearer": [b"Authorization: Bearer " + key + b"\0"],
        "cut": [b"Authorization: Bearer " + key[:-1]],
        "padded": [b"Authorization: Bearer " + key + b"A"],
        "10 kB long": [b"X-API-Key: " + key + b"x" * 10_000],
        "10 kB and nothing else": [b"Authorization: Bearer " + b"x" * 10_000],
        "a list": [b"X-API-Key: " + key + b", " + key],
        "a no-break space": [b"X-API-Key: " + key + b"\xc2\xa0"],
        "two Authorization": [b"Authorization: Bearer " + key, b"Authorization: Bearer " + key],
        "a wrong one first": [b"X-API-Key: " + key[:-1], b"X-API-Key: " + key],
        "a wrong Bearer before": [b"X-API-Key: " + key, b"Authorization: Bearer " + key[:-1]],
        "folded": [b"X-API-Key: " + key[:30] + b"\r\n " + key[30:]],
        "an underscore": [b"X_API_Key: " + key],
    }


@pytest.mark.parametrize("why", list(_odd_requests("")))
async def test_odd_headers_do_not_get_in(account: Account, why: str) -> None:
    """Bad bytes, lengths and doublings are refused, by the plugin or before it, and reach no upstream."""
    lines = b"\r\n".join(_odd_requests(account.key.text)[why])
    head = f"GET /{account.route}/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n".encode()
    answer = await raw_exchange(account.admin.gateway.data_port, head + lines + b"\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401", b"HTTP/1.1 431")), answer[:60]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["success"] is False
    assert account.key.text.encode() not in answer
    assert account.upstream.seen == []
