"""What the upstream is told about a request, and how it knows that the gateway said it."""

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestServer
from multidict import CIMultiDict
from tests.gateway.harness import IDENTITY_SECRETS, enforced, raw_exchange, unique
from tests.plugins.accounts import Account, this_month

from farebox.sandbox.upstream import create_app
from farebox_contract import identity


def _secret(account: Account) -> bytes:
    secret = account.admin.gateway.identity_secret
    if secret is None:
        pytest.skip("FAREBOX_TEST_GATEWAY_IDENTITY_SECRET does not say by which secret this gateway signs")
    return secret.encode()


def _verify(seen: Mapping[str, Any], secret: bytes) -> identity.Identity:
    headers = CIMultiDict((name, value) for name, value in seen["headers"])
    return identity.verify(
        headers,
        method=seen["method"],
        target=seen["target"],
        secrets=[secret],
        now_ms=int(time.time() * 1000),
    )


async def _seen(response: ClientResponse) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await response.text())
    return found


async def test_the_upstream_can_check_who_calls(account: Account) -> None:
    """The signature covers organization, key, environment, plan version, tier, method and path."""
    secret = _secret(account)
    group = unique("g")
    await account.admin.put(f"/consumer_groups/{group}", {"plugins": {"farebox-limit": {"limits": []}}})
    await account.put_consumer(group=group, farebox_limit={"subscription": "s", "periods": this_month()})
    await account.admin.settled()
    said = _verify(await _seen(await account.get(url=f"{account.url}/y?a=1")), secret)
    assert (said.organization, said.key) == (account.organization, account.key.name.key)
    assert (said.environment, said.group, said.tier) == ("live", group, "keyed")
    assert (said.method, said.path) == ("GET", "/x/y")


async def test_what_clients_say_is_not_believed(account: Account) -> None:
    """A client that sends the headers itself, spelled in any way, changes nothing of what is signed."""
    secret = _secret(account)
    good = await _seen(await account.get())
    claims = {name: value for name, value in good["headers"] if name.lower().startswith("x-")}
    claims |= {"X-Consumer-Username": "evil", "x_farebox_signature": "v1=00", "X-Farebox-Time": "1"}
    seen = await _seen(await account.get(headers=claims))
    said = _verify(seen, secret)
    assert said.organization == account.organization
    names = [name.lower().replace("_", "-") for name, _ in seen["headers"]]
    assert len([name for name in names if name == "x-farebox-signature"]) == 1


async def test_a_copied_signature_fits_no_other_request(account: Account) -> None:
    """Headers taken from one request are refused on another path or method, and when they are old."""
    secret = _secret(account)
    seen = await _seen(await account.get())
    for other in ({"target": "/y"}, {"method": "DELETE"}):
        with pytest.raises(identity.UnsignedError):
            _verify({**seen, **other}, secret)
    with pytest.raises(identity.UnsignedError):
        _verify(seen, b"not-the-secret-of-this-gateway-at-all")


async def test_the_method_that_is_signed_is_the_one_that_arrives(account: Account) -> None:
    """Where the route changes the method, the upstream checks the signature with what it sees."""
    secret = _secret(account)
    await account.put_route(proxy_rewrite={"regex_uri": [f"^/{account.route}(/.*)$", "$1"], "method": "POST"})
    answer = await enforced(account.get, lambda _: account.upstream.seen[-1]["method"] == "POST")
    assert _verify(await _seen(answer), secret).method == "POST"


@pytest.mark.parametrize(
    "path",
    [
        "/caf%C3%A9",
        "/a%2Fb",
        "/%7euser",
        "/a//b",
        "/a;p=1",
        "/a+b",
        "/a%20b?x=/y?z",
        "/%41",
        "/",
    ],
)
async def test_any_path_is_signed_as_it_arrives(account: Account, path: str) -> None:
    """However a path is spelled, what is signed is what stands on the wire to the upstream."""
    secret = _secret(account)
    account.upstream.seen.clear()
    for rewriting in (True, False):
        if not rewriting:
            await account.admin.put(
                f"/routes/{account.route}",
                {
                    "uri": f"/{account.route}/*",
                    "plugins": {"farebox-auth": {"query_parameter": "k"}},
                    "upstream": {"nodes": account.upstream.node},
                },
            )
            await account.admin.settled()
        head = f"GET /{account.route}{path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
        raw = f"{head}X-API-Key: {account.key.text}\r\n\r\n".encode()
        assert (await raw_exchange(account.admin.gateway.data_port, raw)).startswith(b"HTTP/1.1 200")
        assert _verify(account.upstream.seen[-1], secret).organization == account.organization
    mark = "&" if "?" in path else "?"
    head = f"GET /{account.route}{path}{mark}k={account.key.text}&b=2 HTTP/1.1\r\nHost: h\r\n"
    raw = f"{head}Connection: close\r\n\r\n".encode()
    assert (await raw_exchange(account.admin.gateway.data_port, raw)).startswith(b"HTTP/1.1 200")
    seen = account.upstream.seen[-1]
    assert _verify(seen, secret).organization == account.organization
    assert "k=" not in seen["target"]


async def test_the_sample_upstream_refuses_what_did_not_come_through(account: Account) -> None:
    """With the gateway's secret the sample API answers what came through it, and 403 to others."""
    secret = _secret(account)
    async with TestServer(create_app(identity_secrets=[secret])) as sample:
        await account.admin.put(
            f"/routes/{account.route}",
            {
                "uri": f"/{account.route}/*",
                "plugins": {
                    "farebox-auth": {},
                    "proxy-rewrite": {"regex_uri": [f"^/{account.route}(/.*)$", "$1"]},
                },
                "upstream": {"nodes": {f"127.0.0.1:{sample.port}": 1}},
            },
        )
        url = account.url.removesuffix("/x") + "/v1/messages/none"
        answer = await enforced(lambda: account.get(url=url), lambda answer: answer.status == 404)
        assert json.loads(await answer.text())["error"]["code"] == "not_found"
        direct = str(sample.make_url("/v1/messages/none"))
        stolen = {"X-Consumer-Username": account.organization, "X-Farebox-Tier": "keyed"}
        for headers in ({}, stolen, {**stolen, "X-Farebox-Time": "1", "X-Farebox-Signature": "v1=00"}):
            async with account.session.get(direct, headers=headers) as refused:
                assert refused.status == 403
                assert (await refused.json())["error"]["code"] == "not_from_the_gateway"
        async with account.session.get(str(sample.make_url("/healthz"))) as healthy:
            assert healthy.status == 200


async def test_both_secrets_sign_while_they_change(account: Account) -> None:
    """With two secrets either is enough for the upstream."""
    if account.admin.gateway.foreign:
        pytest.skip("how many secrets another gateway has is its own affair")
    seen = await _seen(await account.get())
    for secret in IDENTITY_SECRETS:
        assert _verify(seen, secret.encode()).organization == account.organization
