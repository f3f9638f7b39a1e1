"""What the Admin API refuses, and in which words."""

from typing import Any

import pytest
from tests.gateway.harness import ADMIN_KEY, Admin, unique

UPSTREAM = {"nodes": {"127.0.0.1:1": 1}}


async def test_the_key_is_needed(admin: Admin) -> None:
    """No key and a wrong key are 401 with a reason; the key may stand in the query; Bearer does not count."""
    missing = await admin.call("GET", "/routes", headers={})
    assert missing.status == 401
    assert missing.json == {"description": "missing apikey", "error_msg": "failed to check token"}
    wrong = await admin.call("GET", "/routes", headers={"X-API-KEY": "wrong"})
    assert wrong.status == 401
    assert wrong.json["description"] == "wrong apikey"
    assert (await admin.call("GET", f"/routes?api_key={ADMIN_KEY}", headers={})).status == 200
    bearer = await admin.call("GET", "/routes", headers={"Authorization": f"Bearer {ADMIN_KEY}"})
    assert bearer.status == 401


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/routes/{id}", {"uri": "/x", "zzz": 1}, "additional properties forbidden, found zzz"),
        ("/routes/{id}", {"uri": "/x", "plugins": {"no-such": {}}}, "unknown plugin [no-such]"),
        (
            "/routes/{id}",
            {"uri": "/x", "plugins": {"limit-count": {"count": 0}}},
            "failed to check the configuration of plugin limit-count err: ",
        ),
        (
            "/routes/{id}",
            {"uri": "/x", "upstream_id": "nope"},
            "failed to fetch upstream info by upstream id [nope], response code: 404",
        ),
        (
            "/routes/{id}",
            {"uri": "/x", "service_id": "nope"},
            "failed to fetch service info by service id [nope], response code: 404",
        ),
        ("/routes/{id}", {"uri": 1, "upstream": UPSTREAM}, "wrong type: expected string, got number"),
        ("/routes/{id}", {"uri": None, "upstream": UPSTREAM}, "wrong type: expected string, got userdata"),
        ("/routes/{id}", {"id": "other", "uri": "/x", "upstream": UPSTREAM}, "wrong route id"),
        ("/consumers/{id}", {"username": "other"}, "wrong username"),
        ("/consumers", {"username": "a.b"}, "failed to match pattern"),
        ("/consumers", {"username": ""}, "string too short, expected at least 1, got 0"),
        ("/consumers", {"username": "a" * 257}, "string too long, expected at most 256, got 257"),
        ("/consumers", {"desc": "x"}, 'property "username" is required'),
        ("/consumers/{id}", {"desc": "x" * 257}, "string too long, expected at most 256, got 257"),
        (
            "/consumers/{id}",
            {"group_id": "missing"},
            "failed to fetch consumer group info by consumer group id [missing], response code: 404",
        ),
        ("/consumers/{id}", {"labels": {"a": ""}}, "string too short"),
        ("/consumers/{id}", {"labels": {"a": "b c"}}, "failed to match pattern"),
        ("/consumers/{id}", {"labels": {"a": 1}}, "wrong type: expected string, got number"),
        ("/consumer_groups/{id}", {"desc": "x"}, 'property "plugins" is required'),
        ("/upstreams/{id}", {**UPSTREAM, "create_time": 1}, "the property is forbidden:  create_time"),
        ("/upstreams/{id}", {**UPSTREAM, "update_time": 1}, "the property is forbidden:  update_time"),
        ("/plugin_metadata/no-such", {}, "invalid plugin name"),
        (
            "/consumers",
            {"username": "a.b"},
            r'property "username" validation failed: failed to match pattern "^[a-zA-Z0-9_\\-]+$" with "a.b"',
        ),
        (
            "/consumers/{id}",
            {"labels": {"a": ""}},
            'property "labels" validation failed: failed to validate a (matching ".*"): string too short',
        ),
        ("/routes/{id}", {"plugins": {}}, "allOf 1 failed: value should match only one schema"),
        (
            "/routes/{id}",
            {"uri": "/x"},
            'object matches none of the required: ["plugins","uri"] or ["upstream","uri"]',
        ),
        ("/routes/{id}", {"uri": "", "plugins": {}}, "string too short, expected at least 1, got 0"),
        ("/routes/{id}", {"uri": "/x", "plugins": {}, "status": 2}, "matches none of the enum values"),
        (
            "/routes/{id}",
            {"uri": "/x", "plugins": {}, "methods": ["get"]},
            'property "methods" validation failed: failed to validate item 1: matches none of the enum',
        ),
        (
            "/routes/{id}",
            {"uri": "/x", "plugins": {}, "hosts": []},
            'property "hosts" validation failed: expect array to have at least 1 items',
        ),
        ("/upstreams/{id}", {}, "value should match only one schema, but matches none"),
        ("/upstreams/{id}", {**UPSTREAM, "retries": -1}, "expected -1 to be at least 0"),
        (
            "/upstreams/{id}",
            {**UPSTREAM, "timeout": {"connect": 0, "send": 1, "read": 1}},
            'property "connect" validation failed: expected 0 to be greater than 0',
        ),
        (
            "/upstreams/{id}",
            {"nodes": {"a:1": -1}},
            'property "nodes" validation failed: object matches none of the required',
        ),
        (
            "/consumers/{id}",
            {"plugins": {"key-auth": {}}},
            "invalid plugins configuration: failed to check the configuration of plugin key-auth err: ",
        ),
        (
            "/consumer_groups/{id}",
            {"plugins": {"cors": {"allow_credential": True}}},
            "you can not set '*' for other option when 'allow_credential' is true",
        ),
        ("/global_rules/{id}", {}, 'property "plugins" is required'),
    ],
)
async def test_refusals_say_what_is_wrong(admin: Admin, path: str, body: dict[str, Any], words: str) -> None:
    """Each refusal is a 400 whose `error_msg` holds APISIX's words."""
    name = unique("x")
    if path == "/consumers/{id}":
        body = {"username": name, **body}
    refused = await admin.call("PUT", path.format(id=name), body)
    assert refused.status == 400, refused.text
    assert words in refused.error


async def test_bad_json_is_told_with_the_body(admin: Admin) -> None:
    """What is no JSON comes back with the reason."""
    refused = await admin.call("PUT", f"/routes/{unique('r')}", raw=b"{bad json")
    assert refused.status == 400
    assert refused.error.startswith("invalid request body: ")
    assert refused.json["req_body"] == "{bad json"


async def test_a_body_over_one_and_a_half_mebibytes(admin: Admin) -> None:
    """The largest body is 1,572,864 bytes."""
    size = 1_572_865
    refused = await admin.call("PUT", f"/upstreams/{unique('u')}", raw=b" " * size)
    assert refused.status == 400
    assert f"request size {size} is greater than the maximum size 1572864 allowed" in refused.text


@pytest.mark.parametrize(
    ("used", "user", "noun", "by"),
    [
        ("upstreams", "routes", "upstream", "route"),
        ("upstreams", "services", "upstream", "service"),
        ("services", "routes", "service", "route"),
    ],
)
async def test_what_is_in_use_stays(admin: Admin, used: str, user: str, noun: str, by: str) -> None:
    """A resource that another refers to is not deleted, unless by force."""
    target, name = unique("t"), unique("n")
    await admin.put(f"/{used}/{target}", UPSTREAM if used == "upstreams" else {"upstream": UPSTREAM})
    reference = {f"{noun}_id": target}
    await admin.put(f"/{user}/{name}", {"uri": f"/{name}", **reference} if user == "routes" else reference)
    await admin.settled()
    refused = await admin.delete(f"/{used}/{target}")
    assert refused.status == 400
    what = f"{noun} directly" if noun == "service" else noun
    assert refused.error == f"can not delete this {what}, {by} [{name}] is still using it now"
    assert (await admin.delete(f"/{used}/{target}?force=true")).status == 200


async def test_a_group_with_members_stays(admin: Admin) -> None:
    """A consumer group that a consumer is in is not deleted."""
    group, name = unique("g"), unique("c")
    await admin.put(f"/consumer_groups/{group}", {"plugins": {}})
    await admin.put("/consumers", {"username": name, "group_id": group})
    await admin.settled()
    refused = await admin.delete(f"/consumer_groups/{group}")
    assert refused.status == 400
    assert refused.error == f"can not delete this consumer group, consumer [{name}] is still using it now"
    await admin.put("/consumers", {"username": name})
    await admin.settled()
    assert (await admin.delete(f"/consumer_groups/{group}")).status == 200


async def test_ids_have_their_letters(admin: Admin) -> None:
    """An id is 1 to 64 of letters, digits, `-`, `_`, `.`."""
    assert (await admin.call("PUT", f"/upstreams/{unique('u')}.-_", UPSTREAM)).status == 201
    for bad in ("a" * 65, "a:b", "a%20b"):
        assert (await admin.call("PUT", f"/upstreams/{bad}", UPSTREAM)).status == 400, bad


async def test_a_plugin_stands_in_one_global_rule(admin: Admin) -> None:
    """Two global rules with one plugin are refused."""
    first, second = unique("a"), unique("b")
    await admin.put(f"/global_rules/{first}", {"plugins": {"cors": {}}})
    refused = await admin.call("PUT", f"/global_rules/{second}", {"plugins": {"cors": {}}})
    assert refused.status == 400
    assert f"plugin 'cors' already exists in global rule with id '{first}'" in refused.error
