"""Several gateways with several nodes: naming them, their commands, and what goes wrong with one of them."""

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from tests.gateway.harness import ADMIN_KEY, running_edge, start_edge
from tests.integration.sync.test_commands import command
from tests.integration.sync.world import World

from farebox.settings import Settings
from farebox_contract.node_status import EDGE_PATH
from farebox_gateway.client import open_admin
from farebox_gateway.edge import server
from farebox_gateway.edge.plugins import registry
from farebox_gateway.edge.settings import from_environment
from farebox_gateway.resources import Kind, Ref
from farebox_worker.sync import standing
from farebox_worker.targets import GatewaysFileError, targets

GATEWAY: dict[str, Any] = {
    "code": "eu", "admin_url": "http://127.0.0.1:9180", "key_env": "EU_KEY",
    "nodes": [{"code": "eu-1", "data_url": "http://127.0.0.1:9080"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ("gateways: [", "no YAML"),
        ({}, "gateways"),
        ({"gateways": []}, "gateways"),
        ({"gateways": [{**GATEWAY, "code": "e u"}]}, "gateways.0.code"),
        ({"gateways": [{**GATEWAY, "admin_url": "eu"}]}, "gateways.0.admin_url"),
        ({"gateways": [{**GATEWAY, "nodes": []}]}, "gateways.0.nodes"),
        ({"gateways": [{**GATEWAY, "key": "secret"}]}, "gateways.0.key"),
        ({"gateways": [{**GATEWAY, "timeout": 0}]}, "gateways.0.timeout"),
        ({"gateways": [GATEWAY, GATEWAY]}, "twice"),
        ({"gateways": [GATEWAY, {**GATEWAY, "code": "us"}]}, "node eu-1"),
        ({"gateways": [{**GATEWAY, "key_env": "NO_KEY"}]}, "NO_KEY"),
    ],
)
def test_a_bad_gateways_file_is_refused_naming_the_place(tmp_path: Path, document: Any, named: str) -> None:
    """Nothing starts with a file that cannot be meant so, and the message says where it is wrong."""
    file = tmp_path / "gateways.yaml"
    file.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    with pytest.raises(GatewaysFileError) as refused:
        targets(Settings(_env_file=None, gateways_file=file), {"EU_KEY": "the-secret"})
    assert named in str(refused.value)
    assert "the-secret" not in str(refused.value)


def test_a_gateways_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    """The message names the setting and the path."""
    settings = Settings(_env_file=None, gateways_file=tmp_path / "nowhere.yaml")
    with pytest.raises(GatewaysFileError, match=r"nowhere\.yaml.*FAREBOX_GATEWAYS_FILE"):
        targets(settings, {})


def test_the_file_and_the_settings_name_the_same_things(tmp_path: Path) -> None:
    """What the file leaves out the settings say; no repr shows a key."""
    file = tmp_path / "gateways.yaml"
    file.write_text(yaml.safe_dump({"gateways": [{**GATEWAY, "timeout": 2}]}))
    settings = Settings(_env_file=None, gateways_file=file, full_pass_seconds=7)
    [target] = targets(settings, {"EU_KEY": "the-secret"})
    assert (target.code, target.timeout, target.full_pass, target.admin_key) == ("eu", 2, 7, "the-secret")
    assert "the-secret" not in repr(target)
    [single] = targets(Settings(_env_file=None, node="n1"))
    assert (single.code, [node.code for node in single.nodes]) == ("default", ["n1"])


@pytest.mark.usefixtures("our_gateway")
async def test_two_gateways_and_two_workers_at_once(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both gateways get every change, each by one writer; killed in the middle, nothing older lands last."""
    monkeypatch.setenv("TEST_GATEWAY_KEY", ADMIN_KEY)
    async with running_edge(tmp_path / "second", NODE="gw-2") as second:
        file = tmp_path / "gateways.yaml"
        file.write_text(yaml.safe_dump({"gateways": [
            {"code": code, "admin_url": each.admin, "key_env": "TEST_GATEWAY_KEY",
             "nodes": [{"code": node, "data_url": each.data, "status_url": each.admin + EDGE_PATH}]}
            for code, node, each in (("default", "gw-1", world.gateway), ("second", "gw-2", second))
        ]}))  # fmt: skip
        world.overrides["gateways_file"] = file
        workers = [await world.start_worker(), await world.start_worker()]
        try:
            await world.until(lambda: _registered(world, 2), "both gateways are registered")
            customers = [await world.found() for _ in range(4)]
            keys = [await world.issue(customer) for customer in customers for _ in range(5)]
            await asyncio.sleep(0.05)
            workers[0].send_signal(signal.SIGKILL)
            for index, customer in enumerate(customers):
                await world.revoke(customer, keys[index * 5])
            await world.settled(*customers)
            for gateway in (world.gateway, second):
                world.gateway = gateway
                answers = [await world.call(key.text) for key in keys]
                assert answers == [401, 200, 200, 200, 200] * 4
            rows = await world.rows("SELECT code, writer FROM gateways ORDER BY code")
            assert all(f":{workers[1].pid}:" in row["writer"] for row in rows)
        finally:
            for worker in workers:
                if worker.returncode is None:
                    worker.terminate()
                await worker.wait()


@pytest.mark.usefixtures("our_gateway")
async def test_a_gateway_restored_from_an_older_backup_is_noticed_and_healed(
    world: World, tmp_path: Path
) -> None:
    """A key that was revoked after the backup is refused again within seconds of the restore."""
    customer = await world.found()
    key = await world.issue(customer)
    ports = {
        "DATA_PORT": world.gateway.data.rpartition(":")[2],
        "ADMIN_PORT": world.gateway.admin.rpartition(":")[2],
    }
    folder = world.gateway.folder
    async with world.working():
        await world.settled(customer)
        await world.until(lambda: _marked(world), "the marker stands")
    await world.gateway.stop()
    shutil.copytree(folder / "state", tmp_path / "backup")
    world.gateway = await start_edge(folder, **ports)
    async with world.working():
        await world.revoke(customer, key)
        await world.settled(customer)
        await world.until(lambda: _answers(world, key.text, 401), "revoked")
        await world.until(lambda: _marked(world), "the marker stands")
        await world.gateway.stop()
        shutil.rmtree(folder / "state")
        shutil.copytree(tmp_path / "backup", folder / "state")
        world.gateway = await start_edge(folder, **ports)
        try:
            await world.until(lambda: _answers(world, key.text, 401), "healed")
        finally:
            await world.gateway.stop()


async def test_the_global_rule_is_written_kept_and_shared(world: World) -> None:
    """`farebox-meter` runs for every request; what somebody else put into the rule stays in it."""
    await world.full_pass()
    async with world.admin() as admin:
        rule = await admin.get(standing.GLOBAL_RULE)
        assert rule is not None
        assert "farebox-meter" in rule.body["plugins"]
        await admin.put(standing.GLOBAL_RULE, {"id": "farebox", "plugins": {"cors": {}}})
        await world.full_pass()
        healed = await admin.get(standing.GLOBAL_RULE)
        assert healed is not None
        assert healed.body["plugins"].keys() == {"farebox-meter", "cors"}
        before = await world.writes()
        await world.full_pass()
        assert await world.writes() == before


@pytest.mark.usefixtures("our_gateway")
async def test_no_route_is_pushed_while_one_node_lacks_a_plugin(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway whose Admin API knows every plugin and whose node has one not loaded gets no route."""
    monkeypatch.setenv("TEST_GATEWAY_KEY", ADMIN_KEY)
    whole = registry.load_plugins

    @asynccontextmanager
    async def lame_plugins(*given: Any) -> AsyncIterator[Any]:
        async with whole(*given) as loaded:
            kept = {name: each for name, each in loaded.plugins.items() if name != "farebox-limit"}
            yield replace(loaded, plugins=kept)

    monkeypatch.setattr(server, "load_plugins", lame_plugins)
    given = {
        "FAREBOX_EDGE_ADMIN_KEY": ADMIN_KEY,
        "FAREBOX_EDGE_DATA_PORT": "0",
        "FAREBOX_EDGE_ADMIN_PORT": "0",
        "FAREBOX_EDGE_STATE_FOLDER": str(tmp_path / "lame"),
        "FAREBOX_EDGE_LOG_PATH": "",
    }
    async with server.running(from_environment(given)) as lame:
        host, port = lame.addresses.admin
        status_url = f"http://{host}:{port}{EDGE_PATH}"
        node = {"code": "gw-2", "data_url": world.gateway.data, "status_url": status_url}
        file = tmp_path / "gateways.yaml"
        gateway = {"code": "default", "admin_url": world.gateway.admin, "key_env": "TEST_GATEWAY_KEY"}
        file.write_text(yaml.safe_dump({"gateways": [{**gateway, "nodes": [node]}]}))
        world.overrides["gateways_file"] = file
        report = await world.full_pass()
        assert "farebox-limit at node gw-2" in str(report.catalogue_error)
        async with world.admin() as admin:
            assert await admin.get(Ref(Kind.ROUTE, "api")) is None


@pytest.mark.usefixtures("our_gateway")
async def test_timeouts_and_errors_in_mid_sync_lose_nothing(world: World) -> None:
    """Behind an Admin API that answers 500, 400, 503 and late in turn, all is enforced in the end."""
    world.overrides["gateway_timeout_seconds"] = 0.5
    faults = iter(["500", "400", "503", "hang"] * 3)
    admin = world.gateway.admin

    async def pass_on(request: web.Request) -> web.StreamResponse:
        if request.method == "PUT" and "credentials" in request.path:
            match next(faults, None):
                case "hang":
                    await asyncio.sleep(1)
                case str(status):
                    return web.json_response({"error_msg": "a fault"}, status=int(status))
        async with world.http.request(
            request.method, admin + request.raw_path, data=await request.read(),
            headers={"X-API-KEY": request.headers["X-API-KEY"]},
        ) as answer:  # fmt: skip
            return web.Response(
                status=answer.status, body=await answer.read(), content_type=answer.content_type
            )

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", pass_on)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    world.overrides["gateway_admin_url"] = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        customers = [await world.found() for _ in range(3)]
        keys = [await world.issue(customer) for customer in customers for _ in range(2)]
        async with world.working():
            await world.settled(*customers)
            assert {await world.call(key.text) for key in keys} == {200}
    finally:
        await runner.cleanup()


async def test_drift_and_gateway_commands(world: World, tmp_path: Path) -> None:
    """`drift` exits 0, or 1 with item and remedy; `gateway list` says who answers, `remove` forgets."""
    customer = await world.found()
    key = await world.issue(customer)
    await world.full_pass()
    await world.rows("UPDATE gateway_organizations SET accepted_at = now() - interval '1 minute'")
    code, _, errors = await command(world, tmp_path, "drift")
    assert code == 0, errors
    async with world.admin() as admin:
        await admin.delete(Ref(Kind.CREDENTIAL, key.name.key, customer.public_id))
    code, output, errors = await command(world, tmp_path, "drift", "--json")
    document = json.loads(output)
    assert (code, document["drifts"]) == (1, True), errors
    [difference] = document["nodes"]["gw-1"]["differences"][:1]
    assert difference["name"] == f"{customer.public_id}/credentials/{key.name.key}"
    assert (difference["sort"], difference["cause"]) == ("missing", "store")
    code, output, _ = await command(world, tmp_path, "gateway", "list", "--json")
    [listed] = json.loads(output)
    assert (listed["code"], listed["nodes"][0]["code"]) == ("default", "gw-1")
    assert listed["nodes"][0]["drift_since"] is not None
    code, _, errors = await command(world, tmp_path, "drift", "--repair")
    assert code == 0, errors
    assert await world.call(key.text) == 200
    await world.rows("INSERT INTO gateways (id, code) VALUES (gen_random_uuid(), 'old')")
    assert not await world.enforced(customer)
    code, _, errors = await command(world, tmp_path, "gateway", "remove", "default")
    assert (code, "still name" in errors) == (1, True)
    code, _, errors = await command(world, tmp_path, "gateway", "remove", "old")
    assert code == 0, errors
    assert await world.enforced(customer)


async def test_a_gateway_that_does_not_answer_is_shown_with_its_age(world: World) -> None:
    """The worker notes since when the Admin API is away, and that it is back."""
    url = world.gateway.admin
    world.overrides["gateway_admin_url"] = "http://127.0.0.1:9"
    async with world.working():
        await world.until(lambda: _silent(world, silent=True), "noted")
    world.overrides["gateway_admin_url"] = url
    async with world.working():
        await world.until(lambda: _silent(world, silent=False), "noted")


async def _silent(world: World, *, silent: bool) -> bool:
    [row] = await world.rows("SELECT error, error_since, answered_at FROM gateways")
    if silent:
        return row["error"] is not None and row["error_since"] is not None
    return row["error"] is None and row["answered_at"] is not None


async def _registered(world: World, count: int) -> bool:
    [row] = await world.rows("SELECT count(*) AS n FROM gateways")
    return int(row["n"]) == count


async def _marked(world: World) -> bool:
    [row] = await world.rows("SELECT marker FROM gateways")
    async with open_admin(world.gateway.admin, key=world.gateway.admin_key, timeout=5) as admin:
        found = await admin.get(standing.MARKER)
    return found is not None and found.labels.get("farebox-marker") == row["marker"]


async def _answers(world: World, key: str, status: int) -> bool:
    try:
        return await world.call(key) == status
    except OSError:
        return False
