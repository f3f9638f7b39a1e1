"""Routes and upstreams: what is refused, what is kept, and that the gateways are told."""

from typing import Any

import pytest
from tests.integration.sync.world import World

from farebox.problems import Refusal
from farebox.products import service

GOOD: dict[str, Any] = {"upstream": "api", "uris": ["/v1/*"]}


@pytest.mark.parametrize(
    ("code", "given", "field"),
    [
        ("bad code", {}, "code"),
        ("farebox-canary", {}, "code"),
        ("x" * 65, {}, "code"),
        ("r", {"uris": []}, "uris"),
        ("r", {"uris": ["v1"]}, "uris"),
        ("r", {"uris": ["/a*b"]}, "uris"),
        ("r", {"uris": ["/a?b=1"]}, "uris"),
        ("r", {"uris": ["/a\n"]}, "uris"),
        ("r", {"uris": ["/a", "/a"]}, "uris"),
        ("r", {"methods": ["get"]}, "methods"),
        ("r", {"hosts": ["UPPER.example.com"]}, "hosts"),
        ("r", {"hosts": ["*"]}, "hosts"),
        ("r", {"units": -1}, "units"),
        ("r", {"upstream": "nowhere"}, "upstream"),
    ],
)
async def test_a_bad_route_is_refused_naming_the_field(
    world: World, code: str, given: dict[str, Any], field: str
) -> None:
    """Nothing of a refused route is kept, and no gateway is told."""
    before = await world.rows("SELECT catalogue_revision FROM gateways")
    with pytest.raises(Refusal) as refused:
        async with world.worker.transaction() as session:
            await service.put_route(session, code, **{**GOOD, **given})
    assert [each["field"] for each in refused.value.details["fields"]] == [field]
    assert await world.rows("SELECT catalogue_revision FROM gateways") == before
    async with world.worker.transaction() as session:
        assert [route.code for route in await service.list_routes(session)] == ["api"]


@pytest.mark.parametrize(
    "nodes",
    [{}, {"host": 1}, {"host:0": 1}, {"host:99999": 1}, {"http://host:80": 1}, {"h:1": -1}, {"h:1": 0}],
)
async def test_a_bad_upstream_is_refused(world: World, nodes: dict[str, int]) -> None:
    """A node is host:port with a weight, and one of them must take requests."""
    with pytest.raises(Refusal) as refused:
        async with world.worker.transaction() as session:
            await service.put_upstream(session, "u", nodes=nodes)
    assert refused.value.details["fields"][0]["field"] == "nodes"


async def test_put_replaces_and_remove_takes_the_upstream_that_nobody_needs(world: World) -> None:
    """A second put replaces the route; its upstream goes with the last route that leads there."""
    async with world.worker.transaction() as session:
        await service.put_upstream(session, "u", nodes={"[::1]:80": 1, "api.internal:8080": 2})
        await service.put_route(session, "r", upstream="u", uris=["/a"], methods=["GET", "GET"])
        await service.put_route(session, "r", upstream="u", uris=["/b"], units=3)
        await service.put_route(session, "other", upstream="u", uris=["/c"], hosts=["*.example.com"])
        [_, other, made] = await service.list_routes(session)
        assert (made.uris, made.methods, made.units) == (["/b"], [], 3)
        assert other.nodes == {"[::1]:80": 1, "api.internal:8080": 2}
        await service.remove_route(session, "r")
        assert {route.upstream for route in await service.list_routes(session)} == {"api", "u"}
        await service.remove_route(session, "other")
    assert await world.rows("SELECT code FROM upstreams") == [{"code": "api"}]
    with pytest.raises(Refusal):
        async with world.worker.transaction() as session:
            await service.remove_route(session, "r")


async def test_nothing_is_enforced_while_one_gateway_lacks_it(world: World) -> None:
    """With a second gateway that has applied nothing, no key counts as enforced."""
    customer = await world.found()
    await world.full_pass()
    assert await world.enforced(customer)
    await world.rows("INSERT INTO gateways (id, code) VALUES (gen_random_uuid(), 'second')")
    assert not await world.enforced(customer)
