"""The API and the worker against the real SDK, and a sandbox that answers it on the wire."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from tests.integration.payments.house import House
from tests.support.api_client import Api
from tests.support.web import SECRET, calling, worker

from farebox.clock import ManualClock
from farebox.db import Database
from farebox.migrations import DatabaseUrls
from farebox.payments import providers
from farebox.sandbox.app import Options, Sandbox, running
from farebox.settings import Settings

__all__ = ["worker"]


@pytest_asyncio.fixture
async def sandbox(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Sandbox]:
    """A sandbox of the test's own, on its clock; webhooks are sent when the test says so."""
    options = Options(
        folder=tmp_path / "sandbox", seed="payments", machine_clock=lambda: clock.now().timestamp()
    )
    async with running(options) as server:
        yield server


@pytest.fixture
def clock() -> ManualClock:
    """The present, by which the sandbox lives and signs; a test moves it."""
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def settings(database: DatabaseUrls, redis_url: str, sandbox: Sandbox) -> Settings:
    """Settings of an installation that has both providers."""
    return Settings.model_validate(
        {
            "database_url": database.app,
            "database_worker_url": database.worker,
            "database_owner_url": database.owner,
            "redis_url": redis_url,
            "token_secret": SECRET,
            "link_secret": SECRET,
            "api_rate_limit": 100_000,
            "auth_rate_limit": 100_000,
            "stripe_secret_key": sandbox.keys.stripe_secret_key,
            "stripe_publishable_key": sandbox.keys.stripe_publishable_key,
            "stripe_webhook_secret": sandbox.keys.stripe_webhook_secret,
            "stripe_api_url": sandbox.url,
            "paystack_secret_key": sandbox.keys.paystack_secret_key,
            "paystack_api_url": sandbox.url,
            "payment_timeout_seconds": 2.0,
        }
    )


@pytest_asyncio.fixture
async def api(settings: Settings, clock: ManualClock) -> AsyncIterator[Api]:
    """A client of the whole application."""
    async with calling(settings, clock) as client:
        yield client


@pytest_asyncio.fixture
async def house(
    api: Api,
    worker: Database,
    settings: Settings,
    clock: ManualClock,
    sandbox: Sandbox,
) -> AsyncIterator[House]:
    """Everything at once, with a customer who has signed up."""
    async with providers.opened(settings) as opened, asyncio.timeout(120):
        made = House(api, worker, settings, clock, sandbox, opened)
        await made.begin()
        yield made
        await made.close()
