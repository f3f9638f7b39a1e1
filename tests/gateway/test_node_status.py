"""What a node says that it enforces: the same hashes as whoever knows what should be there works out."""

from typing import Any

import pytest
from aiohttp import ClientSession
from tests.gateway.harness import Admin, Gateway, enforced, running_edge, unique

from farebox_contract import node_status as contract

CREDENTIAL = {
    "farebox-auth": {
        "digest": "ab" * 32, "environment": "live", "expires_at": 1_900_000_000_000,
        "cidrs": ["10.0.0.0/8"], "scopes": ["GET v1", "POST *"],
    }
}  # fmt: skip
CONSUMER = {
    "farebox-auth": {"state": "active"},
    "farebox-limit": {"subscription": "sub0000001", "periods": [{"start": 1, "end": 2}], "limits": []},
}


async def ask(gateway: Gateway, client: ClientSession, **query: Any) -> dict[str, Any]:
    """Ask the node's first worker."""
    url, headers = gateway.admin + contract.EDGE_PATH, {"X-API-KEY": gateway.admin_key}
    if "items" in query:
        response = await client.post(url, json=query, headers=headers)
    else:
        response = await client.get(url, params=query, headers=headers)
    answer = await response.json()
    assert response.status == 200, answer
    assert answer["v"] == contract.VERSION
    found: dict[str, Any] = answer["workers"][0]
    return found


@pytest.fixture(autouse=True)
def only_ours(gateway: Gateway) -> None:
    """Another gateway's endpoint stands elsewhere; `tests/plugins/lua` holds its plugins to the vectors."""
    if gateway.foreign:
        pytest.skip("the endpoint of the embedded gateway")


@pytest.mark.parametrize("query", [{}, {"bucket": "1"}, {"item": "x"}])
async def test_a_stranger_learns_nothing(
    gateway: Gateway, client: ClientSession, query: dict[str, str]
) -> None:
    """Without the admin key, with a wrong one, and on the data plane there is no answer."""
    for headers in ({}, {"X-API-KEY": "wrong"}):
        response = await client.get(gateway.admin + contract.EDGE_PATH, params=query, headers=headers)
        assert response.status == 401
        assert "buckets" not in await response.text()
    headers = {"X-API-KEY": gateway.admin_key}
    response = await client.get(gateway.data + contract.EDGE_PATH, params=query, headers=headers)
    assert response.status == 404


async def test_hashes_are_those_of_what_was_put(
    admin: Admin, gateway: Gateway, client: ClientSession
) -> None:
    """Every put, change and delete shows in the item's hash and in its bucket, and in no other."""
    user, key = unique("u"), unique("k")
    name = contract.item_name(user, key)
    before = (await ask(gateway, client))["buckets"]
    await admin.put(f"/consumers/{user}", {"username": user, "plugins": CONSUMER})
    await admin.put(f"/consumers/{user}/credentials/{key}", {"plugins": CREDENTIAL})
    expected = [
        contract.hash_of(contract.consumer_text(user, {"plugins": CONSUMER})),
        contract.hash_of(contract.credential_text(user, key, {"plugins": CREDENTIAL})),
    ]
    shown = [contract.shown(each) for each in expected]
    assert (await ask(gateway, client, items=[user, name, "nobody"]))["hashes"] == [*shown, None]
    status = await ask(gateway, client)
    assert status["settled"]
    changed = {index for index, each in enumerate(status["buckets"]) if each != before[index]}
    assert changed == {contract.bucket_of(user), contract.bucket_of(name)}
    listed = await ask(gateway, client, bucket=contract.bucket_of(name))
    assert listed["items"][name] == shown[1]
    text = (await ask(gateway, client, item=name))["text"]
    assert contract.hash_of(text.encode()) == expected[1]
    tampered = {"farebox-auth": {**CREDENTIAL["farebox-auth"], "scopes": ["GET v1"]}}
    await admin.put(f"/consumers/{user}/credentials/{key}", {"plugins": tampered})
    [other] = (await ask(gateway, client, items=[name]))["hashes"]
    assert other not in {None, shown[1]}
    await admin.delete(f"/consumers/{user}")
    assert (await ask(gateway, client, items=[user, name]))["hashes"] == [None, None]
    assert (await ask(gateway, client))["buckets"] == before


async def test_labels_and_revisions_are_not_enforced(
    admin: Admin, gateway: Gateway, client: ClientSession
) -> None:
    """What decides about no request is in no hash: labels, descriptions, times."""
    user = unique("u")
    hashes = set()
    for labels in ({}, {"farebox-revision": "7"}):
        await admin.put(f"/consumers/{user}", {"username": user, "plugins": CONSUMER, "labels": labels})
        hashes |= set((await ask(gateway, client, items=[user]))["hashes"])
    assert len(hashes) == 1


async def test_groups_routes_plugins_and_the_stream_are_told(
    admin: Admin, gateway: Gateway, client: ClientSession, upstream: Any
) -> None:
    """A node names its plugins with versions, its groups and routes with hashes, and its last usage line."""
    group, route = unique("g"), unique("r")
    limit = {"farebox-limit": {"limits": [{"name": "minute", "requests": 5, "window": 60}]}}
    served = {
        "uris": [f"/{route}/*"], "methods": ["GET"], "upstream": {"nodes": upstream.node},
        "plugins": {"farebox-meter": {"units": 2}, "cors": {}},
    }  # fmt: skip
    await admin.put(f"/consumer_groups/{group}", {"plugins": limit})
    await admin.put(f"/routes/{route}", served)
    status = await ask(gateway, client)
    assert status["groups"][group] == contract.shown(
        contract.hash_of(contract.group_text(group, {"plugins": limit}))
    )
    assert status["routes"][route] == contract.shown(contract.hash_of(contract.route_text(route, served)))
    assert {"farebox-auth", "farebox-limit", "farebox-meter"} <= status["plugins"].keys()
    await enforced(lambda: client.get(f"{gateway.data}/{route}/x"), lambda answer: answer.status == 200)
    after = await ask(gateway, client)
    assert after["seq"] > status["seq"]
    assert after["boot"] == status["boot"] == gateway.lines()[-1]["boot"]


async def test_a_restarted_node_says_the_same(client: ClientSession, tmp_path: Any) -> None:
    """What was loaded from the disk has the hashes that it had before."""
    async with running_edge(tmp_path) as first:
        admin = Admin(first, client)
        for number in range(200):
            await admin.put(f"/consumers/u{number}", {"username": f"u{number}", "plugins": CONSUMER})
            await admin.put(f"/consumers/u{number}/credentials/k{number}", {"plugins": CREDENTIAL})
        before = await ask(first, client)
    async with running_edge(tmp_path) as second:
        after = await ask(second, client)
    assert after["settled"]
    assert (after["buckets"], after["counts"]) == (before["buckets"], before["counts"])
    assert after["boot"] != before["boot"]


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"items": "x"}', b'{"items": [1]}', b"\xff"])
async def test_a_bad_question_is_explained(gateway: Gateway, client: ClientSession, raw: bytes) -> None:
    """The answer is 400 and says what to send."""
    url, headers = gateway.admin + contract.EDGE_PATH, {"X-API-KEY": gateway.admin_key}
    response = await client.post(url, data=raw, headers=headers)
    assert (response.status, "items" in await response.text()) == (400, True)
    response = await client.get(url, params={"bucket": "256"}, headers=headers)
    assert response.status == 400
