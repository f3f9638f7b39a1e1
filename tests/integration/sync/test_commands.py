"""`farebox sync` and `farebox route`, run as people run them."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

from tests.integration.sync.world import World

from farebox_gateway.resources import Kind, Ref


async def command(world: World, folder: Path, *words: str) -> tuple[int, str, str]:
    """Run a command; return exit code, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "farebox_cli", *words, env=world.variables, cwd=folder, stdout=PIPE, stderr=PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_diff_tells_and_changes_nothing(world: World, tmp_path: Path) -> None:
    """`sync diff` exits 1 with the plan while anything would change, and 0 when nothing would."""
    customer = await world.found()
    key = await world.issue(customer)
    before = await world.writes()
    code, output, _ = await command(world, tmp_path, "sync", "diff")
    assert code == 1
    assert f"put    consumers/{customer.public_id}  (missing)" in output
    assert f"put    consumers/{customer.public_id}/credentials/{key.name.key}  (missing)" in output
    code, output, _ = await command(world, tmp_path, "sync", "diff", "--json")
    document: dict[str, Any] = json.loads(output)
    assert (code, document["changes"]) == (1, len(document["plan"]))
    assert {line["do"] for line in document["plan"]} == {"put"}
    assert await world.writes() == before
    code, output, errors = await command(world, tmp_path, "sync", "all", "--json")
    assert (code, json.loads(output)["failed"]) == (0, 0), errors
    code, output, errors = await command(world, tmp_path, "sync", "diff")
    assert (code, output) == (0, ""), errors
    assert await world.call(key.text) == 200


async def test_a_command_asks_the_worker_that_holds_the_lock(world: World, tmp_path: Path) -> None:
    """With a worker running, `sync all` waits for its pass and shows its report."""
    customer = await world.found()
    async with world.working():
        await world.settled(customer)
        async with world.admin() as admin:
            await admin.delete(Ref(Kind.CONSUMER, customer.public_id))
        code, output, errors = await command(world, tmp_path, "sync", "all", "--json")
    assert code == 0, errors
    assert json.loads(output)["drift"] == {"missing": 1}
    assert "A worker holds the gateway's lock" in errors


async def test_a_gateway_that_is_away_is_said_so(world: World, tmp_path: Path) -> None:
    """The error names the Admin API, what failed and the remedy, and exits 3; no traceback, no key."""
    world.overrides["gateway_admin_url"] = "http://127.0.0.1:9"
    code, _, errors = await command(world, tmp_path, "sync", "all")
    assert code == 3
    assert "http://127.0.0.1:9" in errors
    assert "Traceback" not in errors
    assert world.gateway.admin_key not in errors


async def test_a_wrong_admin_key_is_said_so(world: World, tmp_path: Path) -> None:
    """A key that the gateway does not accept is named as such and never shown."""
    world.overrides["gateway_admin_key"] = "not-the-right-key-at-all"
    code, _, errors = await command(world, tmp_path, "sync", "diff")
    assert code == 3
    assert "admin key is not accepted" in errors
    assert "not-the-right-key" not in errors


async def test_routes_are_put_listed_and_removed(world: World, tmp_path: Path) -> None:
    """`put` makes route and upstream, `list` shows them, `remove` takes both; a bad one is explained."""
    code, _, errors = await command(
        world,
        tmp_path,
        "route",
        "put",
        "shop",
        "--uri",
        "/shop/*",
        "--method",
        "get",
        "--node",
        "10.0.0.1:80=3",
    )
    assert code == 0, errors
    code, output, _ = await command(world, tmp_path, "route", "list", "--json")
    [_, shop] = json.loads(output)
    assert (shop["upstream"], shop["methods"], shop["paths"]) == ("shop", ["GET"], ["/shop/*"])
    code, _, errors = await command(world, tmp_path, "route", "put", "shop", "--uri", "shop")
    assert code == 1
    assert "paths" in errors
    code, _, errors = await command(world, tmp_path, "route", "remove", "shop")
    assert code == 0, errors
    code, _, errors = await command(world, tmp_path, "route", "remove", "shop")
    assert code == 1
    assert "there is no route 'shop'" in errors
