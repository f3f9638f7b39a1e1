"""How any gateway spreads requests over the nodes of an upstream, and what it does when some of them fail."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import ClientSession, web
from tests.gateway.harness import Admin, Gateway, enforced, unique


class Backend:
    """A server that says its name; its status, its delay and its life can be changed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.status = 200
        self.seen: list[str] = []
        self.hang = asyncio.Event()
        self.hang.set()
        self.drop = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer with the name."""
        self.seen.append(f"{request.method} {request.path}")
        await request.read()
        if self.drop and not request.path.startswith("/probe"):
            assert request.transport is not None
            request.transport.close()
            raise asyncio.CancelledError
        await self.hang.wait()
        return web.Response(status=self.status, text=self.name, headers={"X-Host": request.host})


@contextlib.asynccontextmanager
async def backends(*names: str) -> AsyncIterator[list[Backend]]:
    """Run some servers."""
    made = [Backend(name) for name in names]
    runners = []
    for one in made:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", one.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        one.port = runner.addresses[0][1]
        runners.append(runner)
    try:
        yield made
    finally:
        for one in made:
            one.hang.set()
        for runner in runners:
            await runner.cleanup()


def closed_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def node(port: int, **more: Any) -> dict[str, Any]:
    """Return a node of this machine."""
    return {"host": "127.0.0.1", "port": port, "weight": 1, **more}


async def serve(
    admin: Admin, client: ClientSession, upstream: Mapping[str, Any], *, ready: bool = True, **route: Any
) -> str:
    """Make a route to an upstream and wait until it is enforced; return its address."""
    name = unique("b")
    await admin.put(f"/routes/{name}", {"uri": f"/{name}/*", "upstream": upstream, **route})
    url = f"{admin.gateway.data}/{name}"
    if ready:
        await enforced(lambda: client.get(f"{url}/ready"), lambda answer: answer.status != 404)
    return url


async def ask(client: ClientSession, url: str, times: int, **more: Any) -> Counter[str]:
    """Ask so often and count the answers."""
    counts: Counter[str] = Counter()
    for _ in range(times):
        async with client.request(
            more.get("method", "GET"), url, **{k: v for k, v in more.items() if k != "method"}
        ) as response:
            text = await response.text()
            counts[text if response.status == 200 else str(response.status)] += 1
    return counts


async def test_weights(admin: Admin, client: ClientSession) -> None:
    """Requests fall on nodes by weight; a node of weight 0 gets none."""
    async with backends("a", "b", "c") as (a, b, c):
        nodes = {f"127.0.0.1:{a.port}": 3, f"127.0.0.1:{b.port}": 1, f"127.0.0.1:{c.port}": 0}
        url = await serve(admin, client, {"nodes": nodes})
        assert await ask(client, f"{url}/x", 40) == {"a": 30, "b": 10}


async def test_priorities(admin: Admin, client: ClientSession) -> None:
    """A node of lower priority is asked only when those of higher priority cannot be reached."""
    async with backends("a", "b") as (a, b):
        spare = node(b.port, priority=-1)
        url = await serve(admin, client, {"nodes": [node(a.port), spare]})
        assert await ask(client, f"{url}/x", 5) == {"a": 5}
        url = await serve(admin, client, {"nodes": [node(closed_port()), spare]})
        assert await ask(client, f"{url}/x", 5) == {"b": 5}


async def test_a_key_keeps_its_node(admin: Admin, client: ClientSession) -> None:
    """`chash` sends equal keys to one node, and different keys to all."""
    async with backends("a", "b", "c") as nodes:
        upstream = {
            "type": "chash",
            "hash_on": "header",
            "key": "X-Key",
            "nodes": [node(one.port) for one in nodes],
        }
        url = await serve(admin, client, upstream)
        homes = set()
        for key in range(24):
            counts = await ask(client, f"{url}/x", 3, headers={"X-Key": f"key-{key}"})
            assert len(counts) == 1
            homes |= set(counts)
        assert homes == {"a", "b", "c"}


async def test_least_connections(admin: Admin, client: ClientSession) -> None:
    """`least_conn` leaves a node alone on which requests hang."""
    async with backends("a", "b") as (a, b):
        url = await serve(admin, client, {"type": "least_conn", "nodes": [node(a.port), node(b.port)]})
        a.hang.clear()
        a.seen.clear()
        hanging: list[asyncio.Task[Counter[str]]] = []
        while not a.seen:
            hanging.append(asyncio.create_task(ask(client, f"{url}/hang", 1)))
            await asyncio.sleep(0.02)
        assert await ask(client, f"{url}/x", 6) == {"b": 6}
        a.hang.set()
        await asyncio.gather(*hanging)


async def test_ewma_reaches_all_nodes(admin: Admin, client: ClientSession) -> None:
    """`ewma` serves, and loses no node from sight."""
    async with backends("a", "b") as (a, b):
        url = await serve(admin, client, {"type": "ewma", "nodes": [node(a.port), node(b.port)]})
        counts = await ask(client, f"{url}/x", 40)
        assert counts["a"] + counts["b"] == 40


async def test_a_dead_node_is_passed_over(admin: Admin, client: ClientSession) -> None:
    """No connection: another node answers, also for POST, for nothing was sent; without retries it is 502."""
    async with backends("a") as (a,):
        nodes = [node(closed_port()), node(a.port)]
        url = await serve(admin, client, {"nodes": nodes})
        assert await ask(client, f"{url}/x", 6) == {"a": 6}
        assert await ask(client, f"{url}/x", 6, method="POST", data=b"once") == {"a": 6}
        url = await serve(admin, client, {"nodes": nodes, "retries": 0})
        assert await ask(client, f"{url}/x", 6) == {"a": 3, "502": 3}


async def test_what_may_have_been_received_is_not_sent_twice(admin: Admin, client: ClientSession) -> None:
    """A node that breaks off: GET goes to the next, POST is 502 and no other node sees it."""
    async with backends("a", "b") as (a, b):
        url = await serve(admin, client, {"nodes": [node(a.port), node(b.port)]})
        a.drop = True
        assert await ask(client, f"{url}/x", 6) == {"b": 6}
        a.seen.clear()
        b.seen.clear()
        counts = await ask(client, f"{url}/post", 6, method="POST", data=b"once")
        assert counts == {"b": 3, "502": 3}
        assert len(a.seen) == 3
        assert len(b.seen) == 3


async def test_a_slow_node_is_given_up(admin: Admin, client: ClientSession) -> None:
    """Past the read timeout, the route's before the upstream's, another node answers a GET, a POST is 504."""
    async with backends("a", "b") as (a, b):
        brief = {"connect": 1, "send": 1, "read": 0.2}
        url = await serve(admin, client, {"nodes": [node(a.port), node(b.port)]}, timeout=brief)
        a.hang.clear()
        assert await ask(client, f"{url}/x", 2) == {"b": 2}
        assert await ask(client, f"{url}/x", 2, method="POST") == {"b": 1, "504": 1}
        alone = {"nodes": [node(a.port)], "retries": 0, "timeout": brief}
        url = await serve(admin, client, alone)
        assert await ask(client, f"{url}/x", 1) == {"504": 1}


async def test_the_host_header(admin: Admin, client: ClientSession) -> None:
    """`pass_host`: the client's, the node's, or a fixed one."""
    async with backends("a") as (a,):
        at = {"nodes": [node(a.port)]}
        for how, wanted in (
            ({}, "api.example"),
            ({"pass_host": "node"}, f"127.0.0.1:{a.port}"),
            ({"pass_host": "rewrite", "upstream_host": "inner.example"}, "inner.example"),
        ):
            url = await serve(admin, client, {**at, **how})
            async with client.get(f"{url}/x", headers={"Host": "api.example"}) as response:
                assert response.headers["X-Host"] == wanted


async def test_no_node_at_all(admin: Admin, client: ClientSession) -> None:
    """An upstream without nodes is 503, one whose only node is dead 502."""
    url = await serve(admin, client, {"nodes": []})
    assert await ask(client, f"{url}/x", 1) == {"503": 1}
    url = await serve(admin, client, {"nodes": [node(closed_port())]})
    assert await ask(client, f"{url}/x", 1) == {"502": 1}


async def test_probes_take_a_node_out_and_bring_it_back(admin: Admin, client: ClientSession) -> None:
    """Active checks: a node that fails its probes gets no request until it answers them again."""
    async with backends("a", "b") as (a, b):
        checks = {
            "active": {
                "http_path": "/probe",
                "healthy": {"interval": 1, "successes": 1},
                "unhealthy": {"interval": 1, "http_failures": 1},
            }
        }
        url = await serve(admin, client, {"nodes": [node(a.port), node(b.port)], "checks": checks})
        assert await ask(client, f"{url}/x", 4) == {"a": 2, "b": 2}
        a.status = 500
        await _until(client, url, {"b": 6})
        a.status = 200
        await _until(client, url, {"a": 3, "b": 3})


async def test_all_nodes_unhealthy_is_as_none(admin: Admin, client: ClientSession) -> None:
    """When every node fails its probes, all are asked again: some answer may be better than none."""
    async with backends("a", "b") as (a, b):
        checks = {
            "active": {
                "type": "http",
                "http_path": "/probe",
                "unhealthy": {"interval": 1, "http_failures": 1},
                "healthy": {"interval": 1, "successes": 1, "http_statuses": [201]},
            }
        }
        checks["active"]["unhealthy"]["http_statuses"] = [200]  # type: ignore[index]
        url = await serve(admin, client, {"nodes": [node(a.port), node(b.port)], "checks": checks})
        while len([one for one in a.seen if "/probe" in one]) < 2:
            await asyncio.sleep(0.05)
        assert await ask(client, f"{url}/x", 4) == {"a": 2, "b": 2}


async def test_answers_take_a_node_out(admin: Admin, client: ClientSession) -> None:
    """Passive checks: a node whose answers are bad gets no request; probes are what brings it back."""
    async with backends("a", "b") as (a, b):
        checks = {
            "active": {"http_path": "/probe", "healthy": {"interval": 60}, "unhealthy": {"interval": 60}},
            "passive": {"unhealthy": {"http_statuses": [500], "http_failures": 2}},
        }
        url = await serve(admin, client, {"nodes": [node(a.port), node(b.port)], "checks": checks})
        a.status = 500
        await _until(client, url, {"b": 6})


async def _until(client: ClientSession, url: str, wanted: Mapping[str, int]) -> None:
    for _ in range(400):
        if await ask(client, f"{url}/x", sum(wanted.values())) == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"never {wanted}")


async def test_services_lend_what_a_route_lacks(admin: Admin, client: ClientSession) -> None:
    """A route takes hosts, upstream and plugins of its service; its own plugin stands over the service's."""
    async with backends("a", "b") as (a, b):
        service, name = unique("s"), unique("r")
        await admin.put(
            f"/services/{service}",
            {
                "hosts": [f"{service}.example"],
                "upstream": {"nodes": [node(a.port)]},
                "plugins": {"proxy-rewrite": {"host": "service.example"}},
            },
        )
        await admin.put(f"/routes/{name}", {"uri": f"/{name}", "service_id": service})
        own = {"nodes": [node(b.port)]}
        plugins = {"proxy-rewrite": {"host": "route.example"}}
        await admin.put(
            f"/routes/{name}own",
            {"uri": f"/{name}own", "service_id": service, "upstream": own, "plugins": plugins},
        )
        host = {"Host": f"{service}.example"}
        url = f"{admin.gateway.data}/{name}"
        answer = await enforced(lambda: client.get(f"{url}own", headers=host), lambda one: one.status == 200)
        assert (await answer.text(), answer.headers["X-Host"]) == ("b", "route.example")
        async with client.get(url, headers=host) as response:
            assert (await response.text(), response.headers["X-Host"]) == ("a", "service.example")
        async with client.get(url) as response:
            assert response.status == 404


async def test_of_equal_paths_the_higher_priority(admin: Admin, client: ClientSession) -> None:
    """Two routes of one path: the higher priority serves, and the other where the first's method differs."""
    async with backends("a", "b") as (a, b):
        name = unique("p")
        await admin.put(f"/routes/{name}low", {"uri": f"/{name}", "upstream": {"nodes": [node(a.port)]}})
        high = {"uri": f"/{name}", "methods": ["GET"], "priority": 10, "upstream": {"nodes": [node(b.port)]}}
        await admin.put(f"/routes/{name}high", high)
        url = f"{admin.gateway.data}/{name}"
        await enforced(lambda: client.get(url), lambda answer: answer.status == 200)
        await enforced(lambda: client.post(url), lambda answer: answer.status == 200)
        assert await ask(client, url, 2) == {"b": 2}
        assert await ask(client, url, 2, method="POST") == {"a": 2}


async def test_health_is_to_be_seen(gateway: Gateway, admin: Admin, client: ClientSession) -> None:
    """Our gateway's admin port shows every watched node, its state and its counters."""
    if gateway.foreign:
        return
    async with backends("a") as (a,):
        dead = closed_port()
        checks = {
            "active": {"type": "tcp", "unhealthy": {"interval": 60}, "healthy": {"interval": 60}},
            "passive": {"unhealthy": {"tcp_failures": 1}},
        }
        url = await serve(admin, client, {"nodes": [node(a.port), node(dead)], "checks": checks})
        assert await ask(client, f"{url}/x", 2) == {"a": 2}
        async with client.get(
            f"{gateway.admin}/v1/healthcheck", headers={"X-API-KEY": gateway.admin_key}
        ) as response:
            found = await response.json()
        name = f"/apisix/routes/{url.rpartition('/')[2]}"
        (mine,) = [one for one in found if one["name"] == name]
        states = {one["port"]: one["status"] for one in mine["nodes"]}
        assert states == {a.port: "healthy", dead: "unhealthy"}
