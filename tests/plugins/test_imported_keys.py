"""Keys that were issued elsewhere: taken by their digest, and in everything else like any key."""

import asyncio
import json
import secrets
from typing import Any

import pytest
from aiohttp import ClientResponse
from tests.gateway.harness import enforced, unique
from tests.plugins.accounts import Account, settled_window, this_month

from farebox_contract import imported_keys, keys, usage_line

_making = asyncio.Lock()


async def _import(account: Account, text: str, **conf: Any) -> str:
    """Write an imported key's credential; return the key's public id."""
    name = keys.public_id()
    async with _making:
        await account.admin.call(
            "PUT",
            "/consumers",
            {"username": imported_keys.CONSUMER, "plugins": {"farebox-auth": {"state": "active"}}},
        )
    digest = keys.digest(text)
    given = {
        "digest": digest,
        "environment": "live",
        "organization": account.organization,
        "key": name,
        **conf,
    }
    await account.admin.put(
        f"/consumers/{imported_keys.CONSUMER}/credentials/{digest}", {"plugins": {"farebox-auth": given}}
    )
    return name


async def _get(account: Account, text: str) -> ClientResponse:
    response = await account.session.get(account.url, headers={"Authorization": f"Bearer {text}"})
    await response.read()
    return response


async def _until(account: Account, text: str, status: int) -> ClientResponse:
    return await enforced(lambda: _get(account, text), lambda answer: answer.status == status)


def _text() -> str:
    return f"sk_live_{secrets.token_hex(32)}"


@pytest.mark.parametrize("length", [16, 72, 128])
async def test_an_imported_key_is_its_organization_s(account: Account, length: int) -> None:
    """Up to 128 characters; the upstream and the usage line name the organization and the key."""
    text = (_text() + secrets.token_hex(32))[:length]
    name = await _import(account, text)
    answer = await _until(account, text, 200)
    seen = {one.lower(): value for one, value in json.loads(await answer.text())["headers"]}
    assert (seen["x-consumer-username"], seen["x-credential-identifier"]) == (account.organization, name)
    assert text not in json.dumps(seen)
    gateway = account.admin.gateway
    if gateway.log_is_known:
        await gateway.written(account.session)
        raw = [line for line in gateway.raw_lines() if account.route.encode() in line][-1]
        line = usage_line.decode(raw)
        assert (line.org, line.key, line.env) == (account.organization, name, "live")
        assert text.encode() not in raw


async def test_it_shares_state_and_limits(account: Account) -> None:
    """Suspension, plan and limits are the organization's; its keys of both kinds share one allowance."""
    text = _text()
    await _import(account, text)
    await _until(account, text, 200)
    await settled_window(3600)
    group = unique("g")
    conf = {"limits": [{"name": "hourly", "requests": 3, "window": 3600}]}
    await account.admin.put(f"/consumer_groups/{group}", {"plugins": {"farebox-limit": conf}})
    await account.put_consumer(group=group, farebox_limit={"subscription": "s", "periods": this_month()})
    await account.admin.settled()
    assert [(await _get(account, text)).status for _ in range(2)] == [200, 200]
    assert [(await account.get()).status for _ in range(2)] == [200, 429]
    assert (await _get(account, text)).status == 429
    await account.put_consumer(state="suspended")
    assert (await _until(account, text, 403)).status == 403


async def test_what_is_on_the_key_holds(account: Account) -> None:
    """Expiry, networks and scopes are an imported key's too."""
    for conf, status in (
        ({"expires_at": 1}, 401),
        ({"cidrs": ["10.0.0.0/8"]}, 403),
        ({"scopes": ["POST *"]}, 403),
        ({"scopes": ["GET *"], "environment": "test"}, 200),
    ):
        text = _text()
        await _import(account, text, **conf)
        if status != 401:
            await _until(account, text, status)
        await account.admin.settled()
        assert (await _get(account, text)).status == status


async def test_a_revoked_import(account: Account) -> None:
    """Deleted it is as unknown as any: the same answer as to a text that never was a key."""
    text = _text()
    await _import(account, text)
    await _until(account, text, 200)
    await account.admin.delete(f"/consumers/{imported_keys.CONSUMER}/credentials/{keys.digest(text)}")
    gone = await _until(account, text, 401)
    never = await _get(account, _text())
    ours = await _get(account, keys.issue("live", account.organization, keys.public_id()).text)
    errors = [json.loads(await answer.text())["error"] for answer in (gone, never, ours)]
    for error in errors:
        error.pop("request_id")
    assert errors[0] == errors[1] == errors[2]
    assert gone.headers["WWW-Authenticate"] == ours.headers["WWW-Authenticate"]


async def test_an_import_whose_organization_is_gone(account: Account) -> None:
    """A key that names an organization the gateway does not have lets nobody in."""
    text = _text()
    await _import(account, text)
    await _until(account, text, 200)
    await account.admin.delete(f"/consumers/{account.organization}")
    assert (await _until(account, text, 401)).status == 401


async def test_our_own_grammar_never_goes_that_way(account: Account) -> None:
    """A key of ours that stands among the imported ones is not taken from there, right check or not."""
    stranger = keys.issue("live", keys.public_id(), keys.public_id())
    await _import(account, stranger.text)
    broken = stranger.text[:-1] + ("0" if stranger.text[-1] != "0" else "1")
    await _import(account, broken)
    known = _text()
    await _import(account, known)
    await _until(account, known, 200)
    for text in (stranger.text, broken):
        assert (await _get(account, text)).status == 401


async def test_an_owner_only_among_the_imported(account: Account) -> None:
    """A credential that stands under an organization cannot name another one; an import must name one."""
    key = keys.issue("live", account.organization, keys.public_id())
    owner = {"organization": keys.public_id(), "key": keys.public_id()}
    conf = {"digest": key.digest, "environment": "live", **owner}
    await account.admin.put(
        f"/consumers/{account.organization}/credentials/{key.name.key}", {"plugins": {"farebox-auth": conf}}
    )
    text = _text()
    path = f"/consumers/{imported_keys.CONSUMER}/credentials/{keys.digest(text)}"
    await _import(account, _text())
    await account.admin.put(
        path, {"plugins": {"farebox-auth": {"digest": keys.digest(text), "environment": "live"}}}
    )
    await account.admin.settled()
    assert (await account.get(key)).status == 401
    assert (await _get(account, text)).status == 401
    half = {"digest": keys.digest(text), "environment": "live", "organization": account.organization}
    refused = await account.admin.call("PUT", path, {"plugins": {"farebox-auth": half}})
    assert refused.status == 400
    assert "go together" in refused.error
