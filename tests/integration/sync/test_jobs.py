"""What follows from the outbox besides the gateways, and a worker whose servers go away and come back."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis
from tests.integration.sync.world import World
from tests.support.servers import TEST_POSTGRES_SETTINGS

from farebox import migrations, outbox
from farebox.clock import SystemClock
from farebox.db import Database
from farebox.sandbox.mail import mail_sink, mails, wait_for_mail
from farebox_cli.servers import EmbeddedPostgres, EmbeddedRedis
from farebox_contract.counters import GENERATION_KEY, quota_key
from farebox_worker.jobs import outbox_row, recurring
from farebox_worker.jobs.counters import reseed_if_lost
from farebox_worker.jobs.outbox_row import Context


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where mails arrive."""
    return tmp_path / "mail"


async def enqueue_mail(world: World, to: str, template: str = "welcome") -> None:
    """Write a mail beside some change."""
    async with world.app.transaction() as session:
        await outbox.enqueue(
            session,
            outbox.SEND_MAIL,
            payload={"template": template, "to": to, "context": {"name": "Ada"}},
        )


async def test_a_mail_is_sent_and_its_row_completed(world: World, folder: Path) -> None:
    """A row becomes one mail, soon, and is completed by its job."""
    async with mail_sink(folder) as port:
        world.overrides["smtp_url"] = f"smtp://127.0.0.1:{port}"
        async with world.working():
            await enqueue_mail(world, "ada@example.com")
            await wait_for_mail(folder, to="ada@example.com")
            await world.until(lambda: _mail_done(world), "completed")
    assert len(mails(folder)) == 1


async def test_a_mail_waits_for_a_mail_server_that_is_away(world: World, folder: Path) -> None:
    """A failure stands on the row, is tried again later, and the mail arrives in the end."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    world.overrides["smtp_url"] = f"smtp://127.0.0.1:{port}"
    async with world.working():
        await enqueue_mail(world, "ada@example.com")
        await world.until(lambda: _mail_failed(world), "the failure is visible")
        async with mail_sink(folder, port=port):
            await world.until(lambda: _mail_done(world), "completed")
    assert [mail["To"] for mail in mails(folder)] == ["ada@example.com"]


async def test_a_row_is_leased_to_one_and_again_when_the_lease_is_over(world: World) -> None:
    """Two relays never hold one row; a stale job does nothing; a lease that ran out is given anew."""
    await enqueue_mail(world, "ada@example.com", "no such template")
    [first] = await outbox_row.lease(world.worker, limit=10)
    assert await outbox_row.lease(world.worker, limit=10) == []
    await world.rows("UPDATE outbox SET leased_until = now() - interval '1 second'")
    [second] = await outbox_row.lease(world.worker, limit=10)
    assert (second.row, second.attempt) == (first.row, first.attempt + 1)
    context = Context(world.worker, world.settings, SystemClock())
    await outbox_row.run(context, first)
    [row] = await world.rows("SELECT last_error, leased_until FROM outbox WHERE job = 'mail.send'")
    assert row["last_error"] is None
    await outbox_row.run(context, second)
    [row] = await world.rows(
        "SELECT last_error, leased_until, available_at > now() AS later, done_at FROM outbox "
        "WHERE job = 'mail.send'"
    )
    assert "no such template" in row["last_error"]
    assert row["later"]
    assert row["done_at"] is None
    assert row["leased_until"] is None


async def test_jobs_wait_for_redis_and_gateways_do_not(world: World, tmp_path: Path, folder: Path) -> None:
    """Without Redis keys are still enforced; mails are sent when it is back. The worker never ends."""
    redis = EmbeddedRedis(tmp_path / "redis", appendonly=False)
    server = await redis.start()
    world.overrides["redis_url"] = server.url
    try:
        async with mail_sink(folder) as port:
            world.overrides["smtp_url"] = f"smtp://127.0.0.1:{port}"
            async with world.working():
                await redis.kill()
                customer = await world.found()
                key = await world.issue(customer)
                await enqueue_mail(world, "ada@example.com")
                await world.settled(customer)
                assert await world.call(key.text) == 200
                assert mails(folder) == []
                await redis.start()
                await wait_for_mail(folder, to="ada@example.com")
                await world.until(lambda: _mail_done(world), "completed")
    finally:
        await redis.stop()


async def test_a_worker_outlives_its_database(world: World, tmp_path: Path) -> None:
    """PostgreSQL killed and started again: the worker waits, takes its lock anew, and enforces what came."""
    async with _postgres(tmp_path / "postgres", world) as postgres, world.working():
        customer = await world.found()
        key = await world.issue(customer)
        await world.settled(customer)
        await postgres.kill()
        await asyncio.sleep(0.3)
        assert await world.call(key.text) == 200
        await postgres.start()
        for database in (world.app, world.worker):
            await database.engine.dispose()
        await world.revoke(customer, key)
        await world.settled(customer)
        assert await world.call(key.text) == 401


async def test_a_flushed_redis_is_filled_from_what_was_metered(world: World) -> None:
    """Without the marker the billable units of running periods are written, and then the marker."""
    customer, idle = await world.found(), await world.found()
    [running] = await world.rows(
        "SELECT id, public_id, started_at FROM subscriptions WHERE organization_id = :id", id=customer.id
    )
    for environment, outcome, status, units in (
        ("live", "served", 200, 41),
        ("live", "served", 201, 1),
        ("live", "rate_limited", 429, 500),
        ("test", "served", 200, 600),
    ):
        await _use(world, customer.id, running, environment, outcome, status, units)
    async with Redis.from_url(world.redis_url) as redis:
        context = Context(world.worker, world.settings, SystemClock())
        assert await reseed_if_lost(context, redis)
        start = int(running["started_at"].timestamp() * 1_000_000) // 1000
        assert await redis.get(quota_key(running["public_id"], start)) == b"42"
        assert await redis.pttl(quota_key(running["public_id"], start)) > 0
        assert await redis.exists(GENERATION_KEY)
        assert await redis.dbsize() == 2, f"nothing for {idle.public_id}, who used nothing"
        assert not await reseed_if_lost(context, redis)


async def test_old_rows_are_tidied_away(world: World) -> None:
    """Completed rows of last week and answers of yesterday go; open rows stay, however old."""
    await world.rows(
        "INSERT INTO outbox (job, payload, created_at, done_at) VALUES "
        "('mail.send', '{}', now() - interval '30 days', now() - interval '8 days'), "
        "('mail.send', '{}', now() - interval '30 days', NULL), "
        "('mail.send', '{}', now(), now())"
    )
    await recurring.prune(Context(world.worker, world.settings, SystemClock()))
    [row] = await world.rows(
        "SELECT count(*) FILTER (WHERE done_at IS NULL) AS open, "
        "count(*) FILTER (WHERE done_at IS NOT NULL) AS done FROM outbox WHERE job = 'mail.send'"
    )
    assert (row["open"], row["done"]) == (1, 1)


async def _use(
    world: World, organization: UUID, subscription: dict[str, Any], environment: str, outcome: str,
    status: int, units: int,
) -> None:  # fmt: skip
    bucket = int(subscription["started_at"].timestamp()) // 900 * 900
    await world.rows(
        "WITH d AS (INSERT INTO usage_dimensions (organization_id, subscription_id, org, sub, key, "
        "plan_group, route, environment, outcome, status) VALUES (:organization, :subscription, 'o', :name, "
        "'k', 'g', 'r', :environment, :outcome, :status) RETURNING id) "
        "INSERT INTO usage_rollups (dimension_id, bucket, organization_id, requests, units, bytes_in, "
        "bytes_out, microseconds) SELECT id, :bucket, :organization, :units, :units, 0, 0, 0 FROM d",
        organization=organization, subscription=subscription["id"], name=subscription["public_id"],
        environment=environment, outcome=outcome, status=status, bucket=bucket, units=units,
    )  # fmt: skip


@asynccontextmanager
async def _postgres(folder: Path, world: World) -> AsyncIterator[EmbeddedPostgres]:
    """Move the world to a PostgreSQL of its own, which the test may kill."""
    durable = {**TEST_POSTGRES_SETTINGS, "synchronous_commit": "on"}
    postgres = EmbeddedPostgres(folder, settings=durable)
    before = (world.urls, world.app, world.worker)
    try:
        server = await postgres.start()
        passwords = {role: f"test-{role}" for role in migrations.ROLES}
        urls = await asyncio.to_thread(
            migrations.bootstrap, server.superuser_url, database="farebox", passwords=passwords
        )
        await asyncio.to_thread(migrations.upgrade, urls.owner)
        world.urls = urls
        world.app, world.worker = Database(urls.app, pool_size=2), Database(urls.worker, pool_size=2)
        await world.sell()
        yield postgres
        await world.app.close()
        await world.worker.close()
    finally:
        world.urls, world.app, world.worker = before
        await postgres.stop()


async def _mail_done(world: World) -> bool:
    [row] = await world.rows(
        "SELECT done_at FROM outbox WHERE job = 'mail.send' AND payload ->> 'template' = 'welcome'"
    )
    return row["done_at"] is not None


async def _mail_failed(world: World) -> bool:
    [row] = await world.rows("SELECT last_error FROM outbox WHERE job = 'mail.send'")
    return row["last_error"] is not None
