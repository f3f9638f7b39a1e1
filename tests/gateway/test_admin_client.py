"""Our Admin API client and planner against a gateway: ours, or the one that the environment names."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from tests.gateway.harness import Gateway, unique

from farebox_gateway import resources
from farebox_gateway.client import (
    AdminClient,
    GatewayDeniedError,
    GatewayRefusedError,
    GatewayUnreachableError,
    open_admin,
)
from farebox_gateway.planner import Plan, plan
from farebox_gateway.resources import Kind, Observed, Ref, Resource


@pytest_asyncio.fixture
async def api(gateway: Gateway) -> AsyncIterator[AdminClient]:
    """The client of the product."""
    async with open_admin(gateway.admin, key=gateway.admin_key, timeout=10) as client:
        yield client


async def carry_out(api: AdminClient, made: Plan) -> None:
    """Send the steps in their order."""
    for step in made.steps:
        if step.body is None:
            await api.delete(step.ref)
        else:
            await api.put(step.ref, step.body)


async def read(api: AdminClient, wanted: list[Resource]) -> list[Observed]:
    """Read what stands where these are to stand."""
    found = [await api.get(resource.ref) for resource in wanted]
    return [each for each in found if each is not None]


async def schemas(api: AdminClient, *names: str) -> dict[str, dict[str, object]]:
    """The schemas of plugins that are not ours."""
    return {name: dict(await api.plugin_schema(name)) for name in names}


async def test_what_was_written_is_no_difference(api: AdminClient) -> None:
    """Every kind, with stock plugins and their defaults: after one plan the next is empty."""
    name = unique("rt")
    plugins = {
        "limit-count": {"count": 2, "time_window": 60, "rejected_code": 429, "key": "remote_addr"},
        "cors": {},
        "proxy-rewrite": {"regex_uri": ["^/a(.*)", "$1"]},
    }
    wanted = [
        resources.upstream(name, nodes={"127.0.0.1:1980": 1, "127.0.0.1:1981": 0}, revision=1),
        resources.consumer_group(name, plugins={"limit-count": plugins["limit-count"]}, revision=1),
        resources.route(
            name,
            uris=[f"/{name}/*"],
            methods=["GET", "POST"],
            hosts=[f"{name}.example.com"],
            plugins={"key-auth": {}, **plugins},
            upstream_id=name,
            revision=1,
        ),
        resources.route(f"{name}-bare", uris=[f"/{name}-bare"], plugins={}, revision=1),
        resources.consumer(name, plugins={}, group=name, revision=7, period=1795219218123),
        resources.credential(name, f"{name}-k", plugins={"key-auth": {"key": unique("secret")}}, revision=7),
    ]
    known = await schemas(api, "limit-count", "cors", "proxy-rewrite", "key-auth")
    try:
        await carry_out(api, plan(wanted, await read(api, wanted), plugin_schemas=known))
        assert plan(wanted, await read(api, wanted), plugin_schemas=known).settled
        changed = [
            resources.upstream(name, nodes={"127.0.0.1:1980": 1}, revision=2)
            if resource.ref.kind is Kind.UPSTREAM
            else resource
            for resource in wanted
        ]
        again = plan(changed, await read(api, changed), plugin_schemas=known)
        assert [(step.ref.kind, step.fields) for step in again.steps] == [(Kind.UPSTREAM, ("nodes",))]
    finally:
        await carry_out(api, plan([], await read(api, wanted)))
    assert await read(api, wanted) == []
    assert plan([], await read(api, wanted)).settled


async def test_pages_show_everything_once(api: AdminClient) -> None:
    """A list of several pages is read whole; its last page, full or not, ends it."""
    stem = unique("pg")
    made = [resources.consumer(f"{stem}x{number}", plugins={}, revision=1) for number in range(20)]
    try:
        await asyncio.gather(*(api.put(each.ref, each.body) for each in made))
        seen = [
            found.ref.id async for page in api.pages(Kind.CONSUMER, size=10) for found in page
            if found.ref.id.startswith(stem)
        ]  # fmt: skip
        assert sorted(seen) == sorted(each.ref.id for each in made)
    finally:
        await asyncio.gather(*(api.delete(each.ref) for each in made))


async def test_what_is_not_there_is_no_error(api: AdminClient) -> None:
    """What is missing reads as nothing, and deleting twice is deleting once."""
    name = unique("no")
    assert await api.get(Ref(Kind.CONSUMER, name)) is None
    assert await api.credentials(name) == []
    made = resources.consumer(name, plugins={}, revision=1)
    await api.put(made.ref, made.body)
    assert await api.credentials(name) == []
    found = await api.get(made.ref)
    assert found is not None
    assert (found.ours, found.revision) == (True, 1)
    await api.delete(made.ref)
    await api.delete(made.ref)


async def test_a_refusal_names_the_resource_and_carries_the_gateways_words(api: AdminClient) -> None:
    """What is refused says why, and shows nothing that looks like a secret."""
    secret = "s3cr3t" * 8
    ref = Ref(Kind.ROUTE, unique("bad"))
    with pytest.raises(GatewayRefusedError) as refused:
        await api.put(ref, {"uri": "/x", "plugins": {"no-such-plugin": {"key": secret}}})
    assert str(ref) in str(refused.value)
    assert "unknown plugin [no-such-plugin]" in str(refused.value)
    with pytest.raises(GatewayRefusedError) as refused:
        await api.put(ref, {"uri": "/x", "labels": {"a": f"has a space {secret}"}})
    assert secret not in str(refused.value)
    with pytest.raises(GatewayRefusedError, match="consumer not found"):
        await api.put(Ref(Kind.CREDENTIAL, "k", unique("nobody")), {"plugins": {}})
    with pytest.raises(GatewayRefusedError, match="1572864"):
        await api.put(ref, {"uri": "/x", "desc": "x" * 1_600_000})


async def test_a_wrong_key_is_denied_and_not_shown(gateway: Gateway) -> None:
    """The error says that the key is not accepted, never what it was."""
    wrong = "wrong-key-of-this-test"
    async with open_admin(gateway.admin, key=wrong, timeout=5) as client:
        with pytest.raises(GatewayDeniedError) as denied:
            await client.plugins()
    assert wrong not in str(denied.value)


async def test_nobody_there_is_unreachable_within_the_timeout() -> None:
    """A closed port and a server that never answers both end as unreachable, in bounded time."""
    async with open_admin("http://127.0.0.1:9", key="k", timeout=1) as client:
        with pytest.raises(GatewayUnreachableError, match="plugins/list"):
            await client.plugins()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with open_admin(f"http://127.0.0.1:{port}", key="k", timeout=0.3) as client:
            with pytest.raises(GatewayUnreachableError, match=r"within 0\.3 s"):
                await client.plugins()


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (503, '{"error_msg":"has no healthy etcd endpoint available"}', GatewayUnreachableError),
        (404, "<html>nginx</html>", GatewayRefusedError),
        (200, "<html>hello</html>", GatewayRefusedError),
    ],
)
async def test_something_else_than_a_working_admin_api_is_told_apart(
    status: int, body: str, error: type[Exception]
) -> None:
    """An Admin API that cannot work now is waited for; no other server is taken for an empty one."""

    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(status=status, text=body)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with open_admin(f"http://127.0.0.1:{runner.addresses[0][1]}", key="k", timeout=2) as client:
            with pytest.raises(error):
                await client.get(Ref(Kind.ROUTE, "r"))
    finally:
        await runner.cleanup()
