"""What each node enforces against what was sold: found, told apart, explained, repaired."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.gateway.harness import ADMIN_KEY, Gateway, running_edge
from tests.integration.sync.world import World

from farebox_contract.node_status import EDGE_PATH
from farebox_gateway.client import open_admin
from farebox_gateway.resources import WRITE_ORDER, Kind, Ref
from farebox_worker.sync import drift, node_records
from farebox_worker.sync.drift_report import Remedy, Report
from farebox_worker.sync.reading import reader
from farebox_worker.targets import targets

AUTH = "farebox-auth"


@pytest.fixture(autouse=True)
def key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the gateways file says that the admin key stands."""
    monkeypatch.setenv("TEST_GATEWAY_KEY", ADMIN_KEY)


async def compare(world: World) -> Report:
    """Compare every node, as `farebox drift` does."""
    [target] = targets(world.settings)
    async with reader(target, world.worker) as reconciler:
        await world.rows("UPDATE gateway_organizations SET accepted_at = now() - interval '1 minute'")
        report = await drift.compare(reconciler, pause=0.01)
        async with world.worker.transaction() as session:
            await node_records.record(session, reconciler.gateway_id, target, report)
    return report


def found(report: Report, node: str = "gw-1") -> set[tuple[str, str, str]]:
    """Return name, sort and cause of every difference at a node."""
    return {(each.name, each.sort, each.remedy.name) for each in report.nodes[node].differences}


@asynccontextmanager
async def second_node(world: World, folder: Path) -> AsyncIterator[Gateway]:
    """Give the world's gateway a second node that holds what the first holds, until it is told otherwise."""
    async with running_edge(folder / "second", NODE="gw-2") as other:
        name_nodes(world, folder, other)
        await copy(world, other)
        yield other


def name_nodes(world: World, folder: Path, other: Gateway, **more: Any) -> None:
    """Write the gateways file."""
    nodes = [
        {"code": code, "data_url": each.data, "status_url": each.admin + EDGE_PATH}
        for code, each in (("gw-1", world.gateway), ("gw-2", other))
    ]
    nodes[1].update(more)
    file = folder / "gateways.yaml"
    gateway = {
        "code": "default",
        "admin_url": world.gateway.admin,
        "key_env": "TEST_GATEWAY_KEY",
        "nodes": nodes,
    }
    file.write_text(yaml.safe_dump({"gateways": [gateway]}))
    world.overrides["gateways_file"] = file


async def copy(world: World, other: Gateway) -> None:
    """Bring the second node to what the first holds, as its watch on the store would."""
    async with world.admin() as one, open_admin(other.admin, key=other.admin_key, timeout=5) as two:
        for kind in (*WRITE_ORDER, Kind.GLOBAL_RULE):
            if kind is Kind.CREDENTIAL:
                continue
            async for page in one.pages(kind):
                for each in page:
                    await two.put(each.ref, plain(each.body))
        async for page in one.pages(Kind.CONSUMER):
            for each in page:
                for credential in await one.credentials(each.ref.id):
                    await two.put(credential.ref, plain(credential.body))


def plain(body: Any) -> dict[str, Any]:
    """Return a body as it is put."""
    return {name: value for name, value in body.items() if name not in {"create_time", "update_time"}}


async def test_what_was_pushed_is_no_drift(world: World) -> None:
    """After a pass the node holds what was sold, and the report says so, with the node's own figures."""
    customer = await world.found()
    await world.issue(customer)
    await world.full_pass()
    report = await compare(world)
    assert not report.drifts
    [row] = await world.rows("SELECT code, error, drift, drift_since, answered_at FROM gateway_nodes")
    assert (row["code"], row["error"], row["drift_since"]) == ("gw-1", None, None)
    for worker in row["drift"]["workers"]:
        assert (worker["counts"]["consumers"], worker["counts"]["credentials"]) == (1, 1)
        assert {"farebox-auth", "farebox-limit", "farebox-meter"} <= worker["plugins"].keys()


async def test_each_sort_of_difference_is_found_named_and_repaired(world: World) -> None:
    """A changed key, a lifted suspension, a missing key, a revived key, a changed limit: each by name."""
    first, second = await world.found(), await world.found()
    kept, gone, revoked = [await world.issue(first) for _ in range(3)]
    await world.full_pass()
    names = {key: f"{first.public_id}/credentials/{key.name.key}" for key in (kept, gone, revoked)}
    async with world.admin() as admin:
        living = await admin.get(Ref(Kind.CREDENTIAL, revoked.name.key, first.public_id))
        assert living is not None
        await world.revoke(first, revoked)
        await world.set_state(second, "suspended")
        await world.full_pass()
        await admin.put(living.ref, plain(living.body))
        await admin.delete(Ref(Kind.CREDENTIAL, gone.name.key, first.public_id))
        for ref, path, value in (
            (Ref(Kind.CREDENTIAL, kept.name.key, first.public_id), (AUTH, "expires_at"), 1_900_000_000_000),
            (Ref(Kind.CONSUMER, second.public_id), (AUTH, "state"), "active"),
            (Ref(Kind.CONSUMER_GROUP, "starter-1"), ("farebox-limit", "limits"), []),
        ):
            standing = await admin.get(ref)
            assert standing is not None
            body = plain(standing.body)
            body["plugins"][path[0]][path[1]] = value
            await admin.put(ref, body)
    report = await compare(world)
    assert found(report) == {
        (names[kept], "differs", "STORE"),
        (names[gone], "missing", "STORE"),
        (names[revoked], "extra", "STORE"),
        (second.public_id, "differs", "STORE"),
        ("consumer_groups/starter-1", "differs", "STORE"),
    }
    fields = {each.name: each.fields for each in report.nodes["gw-1"].differences}
    assert fields[names[kept]] == ("farebox-auth.expires_at",)
    assert fields[second.public_id] == ("farebox-auth.state",)
    assert await world.call(revoked.text) == 200
    await world.full_pass()
    assert not (await compare(world)).drifts
    assert await world.call(revoked.text) == 401


@pytest.mark.usefixtures("our_gateway")
async def test_a_nodes_memory_is_told_from_the_gateways_store(world: World, tmp_path: Path) -> None:
    """Where the store is right and one node is not, that node is named, and what helps."""
    customer = await world.found()
    key = await world.issue(customer)
    await world.full_pass()
    async with second_node(world, tmp_path) as other:
        assert not (await compare(world)).drifts
        async with open_admin(other.admin, key=other.admin_key, timeout=5) as admin:
            await admin.delete(Ref(Kind.CREDENTIAL, key.name.key, customer.public_id))
        report = await compare(world)
        name = f"{customer.public_id}/credentials/{key.name.key}"
        assert found(report, "gw-1") == set()
        assert found(report, "gw-2") == {(name, "missing", "MEMORY")}
        assert "restart" in str(Remedy.MEMORY)
        assert drift.names_to_rewrite(report) == [name]
        rows = await world.rows("SELECT code, drift_since FROM gateway_nodes ORDER BY code")
        assert [row["drift_since"] is not None for row in rows] == [False, True]


@pytest.mark.usefixtures("our_gateway")
async def test_nothing_is_enforced_that_one_node_has_not_taken_up(world: World, tmp_path: Path) -> None:
    """One node lags behind its gateway: the key waits, the reason names the node, and it is proven late."""
    customer = await world.found()
    await world.full_pass()
    async with second_node(world, tmp_path) as other:
        key = await world.issue(customer)
        async with world.working():
            await world.until(lambda: _says(world, "gw-2"), "the node is named")
            assert await world.call(key.text) == 200
            assert not await world.enforced(customer)
            await copy(world, other)
            await world.settled(customer)
            await world.revoke(customer, key)
            await world.until(lambda: _says(world, "gw-2"), "the node is named")
            assert not await world.enforced(customer)
            async with open_admin(other.admin, key=other.admin_key, timeout=5) as admin:
                await admin.delete(Ref(Kind.CREDENTIAL, key.name.key, customer.public_id))
            await copy(world, other)
            await world.settled(customer)


@pytest.mark.usefixtures("our_gateway")
async def test_a_dead_node_is_shown_and_waited_for_unless_optional(world: World, tmp_path: Path) -> None:
    """A node that does not answer keeps changes pending, visibly; an optional one is only shown."""
    customer = await world.found()
    await world.full_pass()
    async with second_node(world, tmp_path) as other:
        await other.stop()
        await world.issue(customer)
        report = await world.full_pass()
        assert report.catalogue_error is not None
        assert other.data in report.catalogue_error
        assert not await world.enforced(customer)
        shown = await compare(world)
        assert "cannot be reached" in str(shown.nodes["gw-2"].error)
        [row] = await world.rows("SELECT error, error_since FROM gateway_nodes WHERE code = 'gw-2'")
        assert row["error_since"] is not None
        name_nodes(world, tmp_path, other, optional=True)
        await world.set_state(customer, "active")
        report = await world.full_pass()
        assert report.catalogue_error is None
        assert await world.enforced(customer)


async def test_the_worker_repairs_by_itself(world: World) -> None:
    """What somebody changed at the gateway is put right by the drift that is seen, with no pass due."""
    world.overrides["drift_seconds"] = 0.2
    customer = await world.found()
    key = await world.issue(customer)
    async with world.working():
        await world.settled(customer)
        await world.until(lambda: _compared(world), "compared once")
        async with world.admin() as admin:
            await admin.delete(Ref(Kind.CREDENTIAL, key.name.key, customer.public_id))
        await world.rows("UPDATE gateway_organizations SET accepted_at = now() - interval '1 minute'")
        await world.until(lambda: _answers(world, key.text, 200), "repaired")


async def test_what_the_node_follows_by_itself_is_no_drift(world: World) -> None:
    """A key that expired since it was written is due for removal, and neither missing nor extra."""
    customer = await world.found()
    key = await world.issue(customer)
    await world.full_pass()
    await world.rows(
        "UPDATE api_keys SET expires_at = now() + interval '1 hour' WHERE digest = :digest",
        digest=key.digest,
    )
    await world.set_state(customer, "active")
    await world.full_pass()
    [target] = targets(world.settings)
    async with reader(target, world.worker) as reconciler:
        await world.rows("UPDATE gateway_organizations SET accepted_at = now() - interval '1 minute'")
        reconciler.clock = Later()
        report = await drift.compare(reconciler, pause=0.01)
    assert not report.drifts
    assert report.nodes["gw-1"].due == len(report.nodes["gw-1"].workers)


class Later:
    """A clock two hours ahead of everybody's."""

    def now(self) -> Any:
        """Return the instant."""
        from datetime import UTC, datetime, timedelta

        return datetime.now(UTC) + timedelta(hours=2)


async def test_somebody_elses_consumers_are_nobodys_drift(world: World) -> None:
    """What carries neither our label nor our plugins is passed over; a back door with our plugin is shown."""
    customer = await world.found()
    await world.full_pass()
    async with world.admin() as admin:
        await admin.put(Ref(Kind.CONSUMER, "somebody-else"), {"username": "somebody-else", "plugins": {}})
        assert not (await compare(world)).drifts
        backdoor = Ref(Kind.CREDENTIAL, "backdoor", customer.public_id)
        await admin.put(backdoor, {"plugins": {AUTH: {"digest": "1" * 64, "environment": "live"}}})
    name = f"{customer.public_id}/credentials/backdoor"
    assert found(await compare(world)) == {(name, "extra", "FOREIGN")}


async def _says(world: World, text: str) -> bool:
    rows = await world.rows("SELECT last_error FROM gateway_organizations")
    await asyncio.sleep(0.02)
    return any(text in (row["last_error"] or "") for row in rows)


async def _compared(world: World) -> bool:
    return bool(await world.rows("SELECT 1 FROM gateway_nodes WHERE drift_at IS NOT NULL"))


async def _answers(world: World, key: str, status: int) -> bool:
    return await world.call(key) == status
