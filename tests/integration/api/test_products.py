"""Products, upstreams and routes over HTTP: managed by operators, refused with the field and the remedy."""

from typing import Any

from sqlalchemy import text
from tests.support.api_client import Api, Person

from farebox.db import Database

UPSTREAM: dict[str, Any] = {"code": "api", "nodes": [{"address": "10.0.0.1:80"}]}
ROUTE: dict[str, Any] = {"code": "messages", "upstream": "api", "paths": ["/v1/*"], "units": 3}


async def operator(api: Api, worker: Database) -> Person:
    """Sign up somebody and make him an operator."""
    person = await api.sign_up("root@example.com", "Operators")
    async with worker.transaction() as session:
        await session.execute(text("UPDATE users SET is_operator = true WHERE email = 'root@example.com'"))
    return person


async def test_an_operator_puts_shows_lists_and_removes(api: Api, worker: Database) -> None:
    """What is put is shown whole; what is used cannot be removed; what is the same tells no gateway."""
    root = await operator(api, worker)
    put = await api.call("PUT", "/admin/upstreams/api", by=root, json=UPSTREAM)
    assert (put.status, put.data["changed"]) == (200, True)
    assert put.data["definition"]["timeouts"] == {"connect": 60, "send": 60, "read": 60}
    product = {"code": "p", "name": "Produkt", "upstream": "api", "compression": {}}
    assert (await api.call("PUT", "/admin/products/p", by=root, json=product)).status == 200
    assert (await api.call("PUT", "/admin/routes/messages", by=root, json=ROUTE)).data["changed"]
    again = await api.call("PUT", "/admin/routes/messages", by=root, json=ROUTE)
    assert (again.status, again.data["changed"]) == (200, False)
    shown = await api.call("GET", "/admin/routes/messages", by=root)
    assert shown.data["definition"]["units"] == 3
    listed = await api.call("GET", "/admin/routes", by=root, params={"limit": "1"})
    assert [each["definition"]["code"] for each in listed.data["items"]] == ["messages"]
    refused = await api.call("DELETE", "/admin/upstreams/api", by=root)
    assert (refused.status, refused.body["error"]["code"]) == (409, "still_in_use")
    assert refused.body["error"]["details"]["used_by"] == ["product p", "route messages"]
    for path in ("routes/messages", "products/p", "upstreams/api"):
        assert (await api.call("DELETE", f"/admin/{path}", by=root)).status == 200
        assert (await api.call("GET", f"/admin/{path}", by=root)).status == 404


async def test_a_dry_run_checks_and_changes_nothing(api: Api, worker: Database) -> None:
    """With Dry-Run a good definition is answered as if put, and is not there afterwards."""
    root = await operator(api, worker)
    dry = await api.call("PUT", "/admin/upstreams/api", by=root, json=UPSTREAM, headers={"Dry-Run": "true"})
    assert (dry.status, dry.data["changed"]) == (200, True)
    assert (await api.call("GET", "/admin/upstreams/api", by=root)).status == 404


async def test_what_cannot_be_accepted_names_field_and_remedy(api: Api, worker: Database) -> None:
    """Each bad definition is a 422 that names the field, and nothing of it is kept."""
    root = await operator(api, worker)
    assert (await api.call("PUT", "/admin/upstreams/api", by=root, json=UPSTREAM)).status == 200
    for noun, given, field in (
        ("upstreams", {**UPSTREAM, "nodes": []}, "nodes"),
        ("upstreams", {**UPSTREAM, "nodes": [{"address": "nowhere"}]}, "nodes.0.address"),
        ("upstreams", {**UPSTREAM, "nodes": [{"address": "h:1", "weight": 0}]}, "(body)"),
        ("upstreams", {**UPSTREAM, "balancing": {"algorithm": "chash"}}, "balancing"),
        ("upstreams", {**UPSTREAM, "retires": 1}, "retires"),
        ("routes", {**ROUTE, "paths": ["v1"]}, "paths.0"),
        ("routes", {**ROUTE, "paths": ["/a*b"]}, "paths.0"),
        ("routes", {**ROUTE, "upstream": "nowhere"}, "upstream"),
        ("routes", {**ROUTE, "release": {"upstream": "api"}}, "release.upstream"),
        ("routes", {**ROUTE, "cache": {"seconds": 9}, "upstream_units": True}, "cache"),
        ("routes", {**ROUTE, "code": "another"}, "code"),
        ("products", {"code": "p", "name": "P", "plain_http": "maybe"}, "plain_http"),
    ):
        code = "messages" if noun == "routes" else given["code"]
        answer = await api.call("PUT", f"/admin/{noun}/{code}", by=root, json=given)
        assert answer.status == 422, given
        assert [each["field"] for each in answer.body["error"]["details"]["fields"]] == [field]
    assert (await api.call("GET", "/admin/routes", by=root)).data["items"] == []
