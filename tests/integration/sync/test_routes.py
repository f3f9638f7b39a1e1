"""Routes and upstreams: what is refused, what is kept, and that the gateways are told."""

import pytest
from tests.integration.sync.world import World

from farebox.problems import Refusal
from farebox.products import service
from farebox.products.offers import ProductSpec, RouteSpec
from farebox.products.upstreams import UpstreamSpec


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (RouteSpec(code="r", upstream="nowhere", paths=["/v1"]), "upstream"),
        (RouteSpec(code="r", product="nowhere", paths=["/v1"]), "product"),
        (ProductSpec(code="p", name="P", upstream="nowhere"), "upstream"),
        (
            RouteSpec.model_validate(
                {"code": "r", "upstream": "api", "paths": ["/v1"], "release": {"upstream": "nowhere"}}
            ),
            "release.upstream",
        ),
    ],
)
async def test_what_leads_nowhere_is_refused(world: World, spec: RouteSpec | ProductSpec, field: str) -> None:
    """Nothing of what is refused is kept, and no gateway is told."""
    before = await world.rows("SELECT catalogue_revision FROM gateways")
    with pytest.raises(Refusal) as refused:
        async with world.worker.transaction() as session:
            await service.put(session, spec)
    assert [each["field"] for each in refused.value.details["fields"]] == [field]
    assert await world.rows("SELECT catalogue_revision FROM gateways") == before
    async with world.worker.transaction() as session:
        assert [kept.spec.code for kept in await service.everything(session, RouteSpec)] == ["api"]


async def test_put_replaces_and_remove_takes_the_upstream_that_was_made_with_it(world: World) -> None:
    """A second put replaces the route; the upstream of its name goes with it once nothing leads there."""
    async with world.worker.transaction() as session:
        await service.put(session, UpstreamSpec.simple("r", {"[::1]:80": 1, "api.internal:8080": 2}))
        await service.put(session, RouteSpec(code="r", upstream="r", paths=["/a"], methods=["GET"]))
        assert await service.put(session, RouteSpec(code="r", upstream="r", paths=["/b"], units=3))
        assert not await service.put(session, RouteSpec(code="r", upstream="r", paths=["/b"], units=3))
        await service.put(session, RouteSpec(code="s", upstream="r", paths=["/c"], hosts=["*.example.com"]))
        made = (await service.show(session, RouteSpec, "r")).spec
        assert (made.paths, made.methods, made.units) == (["/b"], [], 3)
        with pytest.raises(Refusal) as refused:
            await service.remove(session, UpstreamSpec, "r")
        assert refused.value.details["used_by"] == ["route r", "route s"]
        await service.remove_route(session, "r")
        assert len(await service.everything(session, UpstreamSpec)) == 2
        await service.put(session, RouteSpec(code="r", upstream="r", paths=["/b"]))
        await service.remove_route(session, "s")
        await service.remove_route(session, "r")
    assert await world.rows("SELECT code FROM upstreams") == [{"code": "api"}]
    with pytest.raises(Refusal):
        async with world.worker.transaction() as session:
            await service.remove_route(session, "r")


async def test_nothing_is_told_where_nothing_changed(world: World) -> None:
    """Putting what is so already bumps no revision and leaves no work."""
    before = await world.rows("SELECT catalogue_revision FROM gateways")
    await world.sell()
    assert await world.rows("SELECT catalogue_revision FROM gateways") == before


async def test_a_product_and_its_routes_hold_together(world: World) -> None:
    """A product cannot lose what its routes need, neither its upstream nor itself."""
    async with world.worker.transaction() as session:
        await service.put(session, ProductSpec(code="p", name="P", upstream="api"))
        await service.put(session, RouteSpec(code="r", product="p", paths=["/p"]))
    for spec, field in ((ProductSpec(code="p", name="P"), "upstream"),):
        with pytest.raises(Refusal) as refused:
            async with world.worker.transaction() as session:
                await service.put(session, spec)
        assert refused.value.details["fields"][0]["field"] == field
    with pytest.raises(Refusal) as refused:
        async with world.worker.transaction() as session:
            await service.remove(session, ProductSpec, "p")
    assert refused.value.problem.code == "still_in_use"


async def test_nothing_is_enforced_while_one_gateway_lacks_it(world: World) -> None:
    """With a second gateway that has applied nothing, no key counts as enforced."""
    customer = await world.found()
    await world.full_pass()
    assert await world.enforced(customer)
    await world.rows("INSERT INTO gateways (id, code) VALUES (gen_random_uuid(), 'second')")
    assert not await world.enforced(customer)


async def test_a_product_is_pushed_once_and_a_second_pass_writes_nothing(world: World) -> None:
    """Service, upstream and route with their policies compare equal with what the gateway shows of them."""
    policies = {
        "compression": {},
        "cors": {"origins": ["*"]},
        "cache": {"seconds": 5},
        "tiers": {"anonymous": {"limits": [{"name": "minute", "requests": 5, "window": 60}]}},
    }
    checks = {"active": {"path": "/status/200"}, "passive": {}}
    [node] = world.upstream.node
    async with world.worker.transaction() as session:
        for code in ("old", "new"):
            given = {"code": code, "nodes": [{"address": node}], "checks": checks, "retries": 1}
            await service.put(session, UpstreamSpec.model_validate(given))
        product = {"code": "p", "name": "P", "upstream": "old", **policies}
        await service.put(session, ProductSpec.model_validate(product))
        route = {
            "code": "r",
            "product": "p",
            "paths": ["/p/*"],
            "release": {"upstream": "new", "percentage": 5},
        }
        await service.put(session, RouteSpec.model_validate(route))
    first = await world.full_pass()
    assert first.writes > 0
    assert first.catalogue_error is None
    assert (await world.full_pass()).writes == 0
