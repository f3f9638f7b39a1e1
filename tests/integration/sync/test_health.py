"""`farebox health`: no before a process does its work, yes while it does, no again when it has stopped."""

import asyncio
import sys

from tests.integration.sync.world import World


async def health(world: World, what: str) -> int:
    """Ask as a container's health check does: a process of its own, its exit code."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "farebox_cli",
        "health",
        what,
        env=world.variables,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()


async def test_a_worker_is_healthy_while_it_holds_its_lock(world: World) -> None:
    """Any worker counts: the lock is one of all."""
    assert await health(world, "worker") == 1
    async with world.working():

        async def healthy() -> bool:
            return await health(world, "worker") == 0

        await world.until(healthy, "a worker at work")
    assert await health(world, "worker") == 1


async def test_a_collector_is_healthy_while_it_reports(world: World) -> None:
    """Unknown, silent or stuck is not healthy; reporting is."""
    node = world.settings.node
    assert await health(world, "collect") == 1
    await world.rows(
        "INSERT INTO nodes (code, reported_at) VALUES (:code, now() - interval '1 minute')", code=node
    )
    assert await health(world, "collect") == 1
    await world.rows("UPDATE nodes SET reported_at = now()")
    assert await health(world, "collect") == 0
    await world.rows("UPDATE nodes SET reported_at = now(), last_error = 'disk full'")
    assert await health(world, "collect") == 1


async def test_a_web_process_that_does_not_answer_is_not_healthy(world: World) -> None:
    """Nobody listens: exit 1, no traceback."""
    world.overrides["web_port"] = 1
    assert await health(world, "web") == 1
