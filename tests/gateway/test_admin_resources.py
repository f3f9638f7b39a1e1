"""The Admin API's envelopes, statuses and words, as APISIX 3.18 has them."""

import asyncio

import pytest
from tests.gateway.harness import Admin, unique

UPSTREAM = {"nodes": {"127.0.0.1:1": 1}}


async def test_put_creates_with_201_and_replaces_with_200(admin: Admin) -> None:
    """A first PUT answers 201 and a second 200, both with the key and the stored value and no indexes."""
    path = f"/upstreams/{unique('u')}"
    first = await admin.call("PUT", path, UPSTREAM)
    second = await admin.call("PUT", path, UPSTREAM)
    assert (first.status, second.status) == (201, 200)
    assert set(first.json) == {"key", "value"}
    assert first.json["key"] == f"/apisix{path}"
    assert first.headers.get("X-API-VERSION") == "v3"


async def test_get_has_both_indexes(admin: Admin) -> None:
    """GET answers key, value, createdIndex and modifiedIndex; a replacement moves the second only."""
    path = f"/upstreams/{unique('u')}"
    await admin.put(path, UPSTREAM)
    before = (await admin.get(path)).json
    await admin.put(path, {**UPSTREAM, "desc": "changed"})
    after = (await admin.get(path)).json
    assert set(before) == {"key", "value", "createdIndex", "modifiedIndex"}
    assert after["createdIndex"] == before["createdIndex"]
    assert after["modifiedIndex"] > before["modifiedIndex"]
    assert after["value"]["desc"] == "changed"


async def test_what_was_put_is_stored_with_its_times(admin: Admin) -> None:
    """Stored is what was put, without defaults, with id and times; create_time stays."""
    upstream, route = unique("u"), unique("r")
    stored = await admin.put(f"/upstreams/{upstream}", UPSTREAM)
    assert set(stored) == {"id", "nodes", "create_time", "update_time"}
    first = await admin.put(f"/routes/{route}", {"uri": f"/{route}", "upstream_id": upstream})
    assert set(first) == {"id", "uri", "upstream_id", "create_time", "update_time"}
    again = await admin.put(f"/routes/{route}", {"uri": f"/{route}", "upstream_id": upstream})
    assert again["create_time"] == first["create_time"]
    assert again["update_time"] >= first["update_time"]


async def test_a_consumer_is_stored_without_an_id(admin: Admin) -> None:
    """A consumer's name is its `username`; PUT on the collection and on its own path are the same."""
    name = unique("c")
    stored = await admin.put("/consumers", {"username": name, "desc": "first"})
    assert "id" not in stored
    assert (await admin.call("PUT", f"/consumers/{name}", {"username": name})).status == 200
    assert (await admin.get(f"/consumers/{name}")).value["username"] == name


async def test_delete_says_what_is_gone(admin: Admin) -> None:
    """DELETE answers the key and `deleted: "1"`; a second DELETE and a GET find nothing."""
    path = f"/upstreams/{unique('u')}"
    await admin.put(path, UPSTREAM)
    deleted = await admin.delete(path)
    assert deleted.status == 200
    assert deleted.json == {"key": f"/apisix{path}", "deleted": "1"}
    for method in ("GET", "DELETE"):
        missing = await admin.call(method, path)
        assert missing.status == 404
        assert missing.json == {"message": "Key not found"}


async def test_post_chooses_an_id(admin: Admin) -> None:
    """POST creates under an id of the gateway's choosing."""
    made = await admin.call("POST", "/upstreams", UPSTREAM)
    assert made.status == 201
    assert made.json["key"] == f"/apisix/upstreams/{made.value['id']}"


async def test_patch_merges(admin: Admin) -> None:
    """PATCH merges objects, replaces the rest, and a missing resource is 404."""
    path = f"/upstreams/{unique('u')}"
    await admin.put(path, {**UPSTREAM, "desc": "keep", "labels": {"a": "1"}})
    patched = await admin.call("PATCH", path, {"labels": {"b": "2"}, "retries": 3})
    assert patched.status == 200
    assert patched.value["labels"] == {"a": "1", "b": "2"}
    assert (patched.value["desc"], patched.value["retries"]) == ("keep", 3)
    assert (await admin.call("PATCH", f"/upstreams/{unique('u')}", {"desc": "x"})).status == 404


async def test_patch_of_a_part(admin: Admin) -> None:
    """PATCH on a sub-path replaces that part alone."""
    path = f"/consumer_groups/{unique('g')}"
    await admin.put(path, {"plugins": {"cors": {}}, "desc": "keep"})
    patched = await admin.call("PATCH", f"{path}/plugins", {"proxy-rewrite": {"uri": "/x"}})
    assert patched.status == 200
    stored = (await admin.get(path)).value
    assert set(stored["plugins"]) == {"proxy-rewrite"}
    assert stored["desc"] == "keep"


@pytest.mark.parametrize(
    ("method", "path", "noun"),
    [
        ("POST", "/consumers", "consumer"),
        ("PATCH", "/consumers/x", "consumer"),
        ("POST", "/consumer_groups", "consumer_group"),
    ],
)
async def test_methods_that_a_kind_does_not_have(admin: Admin, method: str, path: str, noun: str) -> None:
    """A kind's missing methods are 405 and named."""
    refused = await admin.call(method, path, {"username": "x", "plugins": {}})
    assert refused.status == 405
    assert refused.error.lower().replace("_", " ") == (
        f"not supported `{method}` method for {noun}".lower().replace("_", " ")
    )


async def test_an_unknown_kind(admin: Admin) -> None:
    """A resource type that does not exist is 404 and named."""
    answer = await admin.get("/nonexist")
    assert answer.status == 404
    assert "Unsupported resource type: nonexist" in answer.text


async def test_ttl_ends_a_resource(admin: Admin) -> None:
    """`?ttl=1` makes a resource that vanishes by itself."""
    path = f"/upstreams/{unique('u')}"
    assert (await admin.call("PUT", f"{path}?ttl=1", UPSTREAM)).status == 201
    for _ in range(600):
        if (await admin.get(path)).status == 404:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("still there")


async def test_plugins_are_listed(admin: Admin) -> None:
    """GET /plugins/list names the plugins, GET /plugins/{name} gives a schema."""
    names = (await admin.get("/plugins/list")).json
    assert {"key-auth", "limit-count", "cors", "proxy-rewrite"} <= set(names)
    schema = (await admin.get("/plugins/key-auth")).json
    assert schema["properties"]["header"]["default"] == "apikey"
    consumer = (await admin.get("/plugins/key-auth?schema_type=consumer")).json
    assert consumer["required"] == ["key"]
