"""The worker process: a change reaches the edge by itself, whatever goes away and comes back meanwhile."""

import asyncio
import random
import signal
from pathlib import Path

import pytest
from tests.gateway.harness import start_edge
from tests.integration.sync.world import World

from farebox_gateway.resources import Kind, Ref


async def test_a_key_works_and_stops_working_by_itself(world: World) -> None:
    """Issue, revoke, suspend and reinstate are each enforced, and the control plane knows when."""
    async with world.working():
        customer = await world.found()
        key = await world.issue(customer)
        await world.settled(customer)
        assert await world.call(key.text) == 200
        await world.set_state(customer, "suspended")
        await world.settled(customer)
        assert await world.call(key.text) == 403
        await world.set_state(customer, "active")
        await world.settled(customer)
        assert await world.call(key.text) == 200
        await world.revoke(customer, key)
        await world.settled(customer)
        assert await world.call(key.text) == 401
        await world.until(lambda: _none_open(world), "every row of the outbox is completed")


async def test_a_route_reaches_the_gateway_by_itself(world: World) -> None:
    """A route put while the worker runs is served soon; one removed is not."""
    async with world.working():
        customer = await world.found()
        key = await world.issue(customer)
        await world.sell("second", methods=["GET"])
        await world.until(lambda: _answers(world, key.text, "/second/x", 200), "the route is served")
        async with world.worker.transaction() as session:
            from farebox.products import service

            await service.remove_route(session, "second")
        await world.until(lambda: _answers(world, key.text, "/second/x", 404), "the route is gone")
    async with world.admin() as admin:
        assert await admin.get(Ref(Kind.UPSTREAM, "second")) is None


@pytest.mark.usefixtures("our_gateway")
async def test_a_gateway_that_is_away_gets_everything_when_it_is_back(world: World, tmp_path: Path) -> None:
    """What changes while the gateway is away is enforced when it is back; nobody is blamed for it."""
    first = await world.found()
    async with world.working():
        key = await world.issue(first)
        await world.settled(first)
        ports = _ports(world)
        await world.gateway.stop()
        second = await world.found()
        late = await world.issue(second)
        await world.revoke(first, key)
        await asyncio.sleep(0.5)
        assert not await world.enforced(second)
        world.gateway = await start_edge(tmp_path / "edge", **ports)
        try:
            await world.settled(first, second)
            assert await world.call(late.text) == 200
            assert await world.call(key.text) == 401
        finally:
            await world.gateway.stop()
    rows = await world.rows("SELECT attempts, last_error FROM gateway_organizations")
    assert all(row["attempts"] == 0 for row in rows)


@pytest.mark.usefixtures("our_gateway")
async def test_a_gateway_that_lost_its_state_is_noticed_and_rebuilt(world: World, tmp_path: Path) -> None:
    """A gateway that comes back empty is rebuilt within seconds, long before the next pass is due."""
    async with world.working():
        customer = await world.found()
        key = await world.issue(customer)
        await world.settled(customer)
        await world.until(lambda: _full_pass_done(world), "the first pass is over")
        ports = _ports(world)
        await world.gateway.stop()
        world.gateway = await start_edge(tmp_path / "another edge", **ports)
        try:
            await world.until(lambda: _answers(world, key.text, "/api/x", 200), "the gateway is rebuilt")
        finally:
            await world.gateway.stop()


@pytest.mark.usefixtures("our_gateway")
async def test_two_workers_at_once_write_as_one(world: World) -> None:
    """Two workers on one gateway enforce every change once; one takes over when the other is killed."""
    workers = [await world.start_worker(), await world.start_worker()]
    try:
        customers = [await world.found() for _ in range(5)]
        issued = [await world.issue(customer) for customer in customers]
        await world.settled(*customers)
        await world.until(lambda: _full_pass_done(world), "the first pass is over")
        before = await world.writes()
        key = await world.issue(customers[0])
        await world.settled(customers[0])
        assert await world.writes() - before == 2, "one consumer and one credential, written by one worker"
        [row] = await world.rows("SELECT writer FROM gateways")
        holder = next(worker for worker in workers if f":{worker.pid}:" in row["writer"])
        holder.send_signal(signal.SIGKILL)
        await world.revoke(customers[0], key)
        await world.settled(customers[0])
        assert await world.call(key.text) == 401
        assert [await world.call(each.text) for each in issued] == [200] * 5
    finally:
        for worker in workers:
            if worker.returncode is None:
                worker.terminate()
        ended = [await worker.wait() for worker in workers]
    assert sorted(ended) == [-signal.SIGKILL, 0]
    [row] = await world.rows("SELECT writer FROM gateways")
    assert row["writer"] is None, "the one that ended in order said so"


async def test_a_worker_killed_at_random_points_loses_nothing(world: World) -> None:
    """Killed again and again while keys come and go, the worker leaves a gateway that says what was sold."""
    chance = random.Random(20261121)
    customers = [await world.found() for _ in range(8)]
    living, dead = [], []
    for _ in range(4):
        worker = await world.start_worker()
        for customer in customers:
            key = await world.issue(customer)
            if chance.random() < 0.5:
                await world.revoke(customer, key)
                dead.append(key)
            else:
                living.append(key)
        await asyncio.sleep(chance.uniform(0.0, 1.6))
        worker.kill()
        await worker.wait()
    async with world.working():
        await world.settled(*customers)
        assert {await world.call(key.text) for key in living} == {200}
        assert {await world.call(key.text) for key in dead} == {401}
        await world.until(lambda: _full_pass_done(world), "a pass is over")
    report = await world.full_pass()
    assert (report.writes, report.failed) == (0, 0)


async def test_an_older_snapshot_never_lands_last(world: World) -> None:
    """Keys revoked right after they were issued, while passes run: none is left working."""
    async with world.working():
        customers = [await world.found() for _ in range(4)]
        await world.settled(*customers)

        async def churn(customer_index: int) -> list[str]:
            texts = []
            customer = customers[customer_index]
            for _ in range(10):
                key = await world.issue(customer)
                await world.revoke(customer, key)
                texts.append(key.text)
            return texts

        async def passes() -> None:
            from farebox.gateways import service

            for _ in range(4):
                async with world.worker.transaction() as session:
                    row = await service.request_pass(session, "default", scope="all")
                await world.until(lambda row=row: _done(world, row), "the pass is over")  # type: ignore[misc]

        *texts, _ = await asyncio.gather(*(churn(index) for index in range(4)), passes())
        await world.settled(*customers)
        assert {await world.call(text) for each in texts if each for text in each} == {401}
    report = await world.full_pass()
    assert report.writes == 0


def _ports(world: World) -> dict[str, str]:
    """Where the gateway listens, so that another can listen there after it."""
    addresses = {"DATA_PORT": world.gateway.data, "ADMIN_PORT": world.gateway.admin}
    return {name: url.rpartition(":")[2] for name, url in addresses.items()}


async def _none_open(world: World) -> bool:
    return await world.open_rows() == 0


async def _answers(world: World, key: str, path: str, status: int) -> bool:
    try:
        return await world.call(key, path) == status
    except OSError:
        return False


async def _full_pass_done(world: World) -> bool:
    [row] = await world.rows("SELECT last_full_pass_at FROM gateways")
    return row["last_full_pass_at"] is not None


async def _done(world: World, row_id: int) -> bool:
    [row] = await world.rows("SELECT done_at FROM outbox WHERE id = :id", id=row_id)
    return row["done_at"] is not None
